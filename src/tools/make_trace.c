/* make_trace: writes a synthetic day of calls in the schema of the Azure Functions Trace 2019. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "os/arguments.h"
#include "os/error_text.h"
#include "os/file.h"
#include "os/log.h"
#include "os/memory.h"
#include "workload/synthetic_day.h"
#include "workload/trace_text.h"

static const char PROGRAM[] = "make_trace";

enum {
  EXIT_DONE = 0,
  EXIT_FAILED = 1,
  EXIT_USAGE = 2,
  PATH_BYTES = 4096,
  BLOCK_BYTES = 1 << 20,
};

struct options {
  struct synthetic_day_config day;
  const char *output;
  bool wants_help;
};

static const char USAGE[] =
    "Usage: make_trace [--functions N] [--day D] [--seed S] [--load-scale X] [-o FOLDER|FILE]\n"
    "Write a synthetic day of calls per function and minute, in the schema of the Azure Functions\n"
    "Trace 2019, for the azure workloads of the client: point AZURE_TRACE_DIR at its folder.\n"
    "\n"
    "  -f, --functions N   how many functions, 1 to 1000000 (default 46000: 893 million calls)\n"
    "  -d, --day D         which day, 1 to 14: the same functions, other counts (default 1)\n"
    "  -s, --seed S        another seed makes other functions (default 1)\n"
    "  -x, --load-scale X  multiply every function's calls, 0.001 to 1000 (default 1)\n"
    "  -o, --output PATH   a folder, for the public name invocations_per_function_md.anon.dNN.csv\n"
    "                      in it, or a file (default: this folder)\n"
    "  -h, --help          print this\n"
    "\n"
    "The same arguments give the same bytes. The client without AZURE_TRACE_DIR replays what the\n"
    "defaults write.\n";

/* A whole number within its range; says what is wrong else. */
static bool read_whole(const char *name, const char *text, uint64_t min, uint64_t max,
                       uint64_t *ret_value) {
  char *end = NULL;
  errno = 0;
  const unsigned long long value = strtoull(text, &end, 10);
  if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value < min || value > max) {
    log_usage_error(PROGRAM, "--%s is '%s'; give a whole number from %" PRIu64 " to %" PRIu64, name,
                    text, min, max);
    return false;
  }
  *ret_value = value;
  return true;
}

static bool read_scale(const char *text, double *ret_scale) {
  char *end = NULL;
  const double scale = strtod(text, &end);
  if (text[0] == '\0' || *end != '\0' || !isfinite(scale) || scale < SYNTHETIC_SCALE_MIN ||
      scale > SYNTHETIC_SCALE_MAX) {
    log_usage_error(PROGRAM, "--load-scale is '%s'; give a number from %g to %g", text,
                    SYNTHETIC_SCALE_MIN, SYNTHETIC_SCALE_MAX);
    return false;
  }
  *ret_scale = scale;
  return true;
}

static bool read_option(int option, struct options *options) {
  uint64_t value = 0;
  switch (option) {
  case 'f':
    if (!read_whole("functions", optarg, 1, TRACE_FUNCTIONS_MAX, &value)) {
      return false;
    }
    options->day.function_count = (uint32_t)value;
    return true;
  case 'd':
    if (!read_whole("day", optarg, 1, TRACE_ID_MAX, &value)) {
      return false;
    }
    options->day.day = (uint32_t)value;
    return true;
  case 's':
    return read_whole("seed", optarg, 0, UINT64_MAX, &options->day.seed);
  case 'x':
    return read_scale(optarg, &options->day.load_scale);
  case 'o':
    options->output = optarg;
    return true;
  case 'h':
    options->wants_help = true;
    return true;
  default:
    return false;
  }
}

static bool read_options(int count, char **words, struct options *ret_options) {
  static const struct option LONG_OPTIONS[] = {
      {"functions", required_argument, NULL, 'f'},
      {"day", required_argument, NULL, 'd'},
      {"seed", required_argument, NULL, 's'},
      {"load-scale", required_argument, NULL, 'x'},
      {"output", required_argument, NULL, 'o'},
      {"help", no_argument, NULL, 'h'},
      {NULL, 0, NULL, 0},
  };
  *ret_options = (struct options){.day = synthetic_day_default(1), .output = "."};
  opterr = 0;
  for (;;) {
    const int at = optind;
    const int option = arguments_next(count, words, ":f:d:s:x:o:h", LONG_OPTIONS);
    if (option == -1) {
      break;
    }
    if (option == '?' || option == ':') {
      log_usage_error(PROGRAM,
                      option == ':' ? "%s lacks its value; see make_trace -h"
                                    : "there is no option %s; see make_trace -h",
                      words[optind > at ? optind - 1 : at]);
      return false;
    }
    if (!read_option(option, ret_options)) {
      return false;
    }
  }
  if (optind < count) {
    log_usage_error(PROGRAM, "'%s' is too much; all arguments are options, see make_trace -h",
                    words[optind]);
    return false;
  }
  return true;
}

/* The file to write: `output` itself, or the public name in it if it is a folder. */
static bool output_path(const struct options *options, char ret_path[PATH_BYTES]) {
  struct stat status;
  char name[TRACE_FILE_NAME_BYTES];
  trace_file_name(options->day.day, name);
  const bool is_folder = stat(options->output, &status) == 0 && S_ISDIR(status.st_mode);
  const int length = is_folder ? snprintf(ret_path, PATH_BYTES, "%s/%s", options->output, name)
                               : snprintf(ret_path, PATH_BYTES, "%s", options->output);
  /* Room for the ending of the file that is written first. */
  if (length <= 0 || length + 32 > PATH_BYTES) {
    log_usage_error(PROGRAM, "--output is empty or too long; give a folder or a file");
    return false;
  }
  return true;
}

static enum err write_day(const struct synthetic_day_config *day, struct file_log *file,
                          char *block, uint64_t *ret_calls, struct error_text *ret_error) {
  struct synthetic_function function;
  size_t used = trace_text_write_header(block);
  uint64_t calls = 0;
  for (uint32_t index = 0; index < day->function_count; index++) {
    if (used + TRACE_TEXT_ROW_BYTES_MAX > BLOCK_BYTES) {
      const enum err error = file_log_append(file, block, used, ret_error);
      if (error != ERR_OK) {
        return error;
      }
      used = 0;
    }
    synthetic_day_make_function(day, index, &function);
    used += trace_text_write_row(&function, block + used);
    calls += function.calls_count;
  }
  *ret_calls = calls;
  return file_log_append(file, block, used, ret_error);
}

/* Written beside `path` and renamed: nobody reads half a day. */
static int write_file(const struct synthetic_day_config *day, const char *path) {
  char beside[PATH_BYTES + 32];
  snprintf(beside, sizeof(beside), "%s.%ld.part", path, (long)getpid());
  struct error_text error;
  struct file_log file = {.fd = -1};
  if (file_log_open(beside, &file, &error) != ERR_OK) {
    log_warning("%s", error.text);
    return EXIT_FAILED;
  }
  char *block = os_memory_take(BLOCK_BYTES);
  uint64_t calls = 0;
  int code = EXIT_FAILED;
  if (block == NULL) {
    log_warning("Out of memory: a block of the file needs %d bytes", BLOCK_BYTES);
  } else if (write_day(day, &file, block, &calls, &error) != ERR_OK) {
    log_warning("%s", error.text);
  } else if (fsync(file.fd) != 0 || rename(beside, path) != 0) {
    log_warning("%s: %s; choose another --output", path, strerror(errno));
  } else {
    printf("%s: %" PRIu32 " functions, %" PRIu64 " calls, %.0f a second\n", path,
           day->function_count, calls, (double)calls / 86400);
    code = EXIT_DONE;
  }
  os_memory_give(block, BLOCK_BYTES);
  file_log_close(&file);
  if (code != EXIT_DONE) {
    unlink(beside);
  }
  return code;
}

int main(int argc, char **argv) {
  struct options options;
  if (!read_options(argc, argv, &options)) {
    return EXIT_USAGE;
  }
  if (options.wants_help) {
    fputs(USAGE, stdout);
    return EXIT_DONE;
  }
  char path[PATH_BYTES];
  if (!output_path(&options, path)) {
    return EXIT_USAGE;
  }
  return write_file(&options.day, path);
}
