#include "worker/options.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "os/arguments.h"
#include "os/log.h"
#include "worker/backends.h"
#include "worker/config_file.h"

static const char PROGRAM[] = "worker";

enum {
  PAGES_MAX = 65536, /* 1 TiB a GPU */
  JITTER_PPM_MAX = 100000,
  CORES_MAX = 1024,
  MODELS_MAX = 1 << 20,
  ACTIONS_MAX = 1 << 20,
};

#define MEBIBYTE ((uint64_t)1 << 20)
#define TEBIBYTE ((uint64_t)1 << 40)
#define AT(member) offsetof(struct options, member)
#define SIZE(member) sizeof(((struct options *)NULL)->member)

static const struct setting SETTINGS[] = {
    {"backend", "backend", SETTING_TEXT, AT(backend), 0, SIZE(backend), "NAME", "auto",
     "what runs the models; auto takes the best that this machine can, and with --profile "
     "emulated"},
    {"gpus", "gpus", SETTING_NUMBER, AT(gpus), 1, WORKER_GPUS_MAX, "N", NULL,
     "how many GPUs; without it all that this machine has, or one emulated"},
    {"cores-per-gpu", "cores_per_gpu", SETTING_NUMBER, AT(cores_per_gpu), 1, CORES_MAX, "N", NULL,
     "with --backend cpu: cores that compute as one GPU; without it an equal share of all but one"},
    {"profile", "profile", SETTING_TEXT, AT(profile), 0, SIZE(profile), "FILE", NULL,
     "what emulated GPUs know of models, a table of measured durations; the built-in one has the "
     "64 models of a V100"},
    {"listen", "listen", SETTING_ADDRESS, AT(listen), 0, 0, "ADDR:PORT", "0.0.0.0:12345",
     "where controllers connect; port 0 takes a free one"},
    {"pages", "pages", SETTING_NUMBERS, AT(pages), 1, PAGES_MAX, "N[,N...]", NULL,
     "weights cache of a GPU in pages of 16 MiB: one number for all, or one each; without it all "
     "that a GPU has free, or 1376 of an emulated one"},
    {"clock", "clock", SETTING_NUMBERS, AT(clock_mhz), 1, MODEL_CLOCK_MAX_MHZ, "MHZ[,MHZ...]", NULL,
     "clock of an emulated GPU: one number for all, or one each; without it the profile's"},
    {"lose-after", "lose_after", SETTING_NUMBERS, AT(lose_after), 0, INT64_MAX, "N[,N...]", NULL,
     "an emulated GPU is lost after so many executions, for tests: one number for all, or one "
     "each; 0: never"},
    {"seed", "seed", SETTING_NUMBER, AT(seed), 0, INT64_MAX, "N", "1",
     "for the random numbers of emulated GPUs"},
    {"jitter-ppm", "jitter_ppm", SETTING_NUMBER, AT(jitter_ppm), 0, JITTER_PPM_MAX, "N", "80",
     "standard deviation of an emulated execution, in millionths of its duration"},
    {"transfer-jitter-ppm", "transfer_jitter_ppm", SETTING_NUMBER, AT(transfer_jitter_ppm), 0,
     JITTER_PPM_MAX, "N", "2000", "the same for transfers of weights, inputs and outputs"},
    {"models", "models", SETTING_NUMBER, AT(models), 1, MODELS_MAX, "N", "65536",
     "how many model instances there may be; ids are below"},
    {"actions", "actions", SETTING_NUMBER, AT(actions), 1, ACTIONS_MAX, "N", "65536",
     "how many actions may be under way; more are refused"},
    {"name", "name", SETTING_TEXT, AT(name), 0, SIZE(name), "NAME", NULL,
     "of this worker, in logs and in its state; without it the machine's"},
    {NULL, "weights_cache_size", SETTING_CACHE_BYTES, AT(pages), MODEL_PAGE_BYTES,
     (uint64_t)PAGES_MAX *MODEL_PAGE_BYTES, "BYTES", NULL, "the same as pages, in bytes"},
    {NULL, "weights_cache_page_size", SETTING_NUMBER, AT(page_bytes), MODEL_PAGE_BYTES,
     MODEL_PAGE_BYTES, "BYTES", "16777216", "the only size there is"},
    {NULL, "io_pool_size", SETTING_NUMBER, AT(io_bytes), MEBIBYTE, TEBIBYTE, "BYTES", "536870912",
     "GPU memory for inputs and outputs"},
    {NULL, "workspace_pool_size", SETTING_NUMBER, AT(workspace_bytes), MEBIBYTE, TEBIBYTE, "BYTES",
     "536870912", "GPU memory for intermediate results"},
    {NULL, "host_io_pool_size", SETTING_NUMBER, AT(host_io_bytes), MEBIBYTE, TEBIBYTE, "BYTES",
     "536870912",
     "host memory for inputs received, once more for inputs decompressed, for outputs"},
};

static const size_t SETTINGS_COUNT = sizeof(SETTINGS) / sizeof(SETTINGS[0]);

const struct setting *setting_of_field(const char *field) {
  for (size_t i = 0; i < SETTINGS_COUNT; i++) {
    if (strcmp(SETTINGS[i].field, field) == 0) {
      return &SETTINGS[i];
    }
  }
  return NULL;
}

void settings_list_fields(size_t capacity, char *ret_text) {
  size_t used = 0;
  ret_text[0] = '\0';
  for (size_t i = 0; i < SETTINGS_COUNT && used < capacity; i++) {
    used += (size_t)snprintf(ret_text + used, capacity - used, "%s%s", i == 0 ? "" : ", ",
                             SETTINGS[i].field);
  }
}

/* ---- values ---------------------------------------------------------------------------------- */

uint64_t gpu_values_at(const struct gpu_values *values, uint32_t gpu_index) {
  CHECK_GT(values->count, 0);
  return values->values[values->count == 1 ? 0 : gpu_index];
}

static enum err fault_of_range(const struct setting *setting, struct error_text *ret_error) {
  if (setting->min == setting->max) {
    error_text_set(ret_error, "must be %" PRIu64, setting->min);
  } else {
    error_text_set(ret_error, "must be %s from %" PRIu64 " to %" PRIu64,
                   setting->kind == SETTING_NUMBERS
                       ? "whole numbers, one for all GPUs or one each with commas between, each"
                       : "a whole number",
                   setting->min, setting->max);
  }
  return ERR_RANGE;
}

enum err setting_apply_numbers(const struct setting *setting, const uint64_t *numbers, size_t count,
                               struct options *options, struct error_text *ret_error) {
  if (setting->kind == SETTING_TEXT || setting->kind == SETTING_ADDRESS) {
    error_text_set(ret_error, "must be text in double quotes");
    return ERR_MALFORMED;
  }
  const bool takes_list = setting->kind == SETTING_NUMBERS;
  if (count == 0 || count > (takes_list ? WORKER_GPUS_MAX : 1)) {
    return fault_of_range(setting, ret_error);
  }
  for (size_t i = 0; i < count; i++) {
    if (numbers[i] < setting->min || numbers[i] > setting->max) {
      return fault_of_range(setting, ret_error);
    }
  }
  void *target = (unsigned char *)options + setting->offset_bytes;
  if (setting->kind == SETTING_NUMBER) {
    *(uint64_t *)target = numbers[0];
    return ERR_OK;
  }
  struct gpu_values *values = target;
  values->count = (uint32_t)count;
  for (size_t i = 0; i < count; i++) {
    values->values[i] =
        setting->kind == SETTING_CACHE_BYTES ? numbers[i] / MODEL_PAGE_BYTES : numbers[i];
  }
  return ERR_OK;
}

/* "4" or "4,5,6"; at most `capacity` of them. */
static bool parse_numbers(const char *text, size_t capacity, uint64_t *ret_numbers,
                          size_t *ret_count) {
  size_t count = 0;
  for (;;) {
    char *end = NULL;
    errno = 0;
    const unsigned long long number = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || errno != 0 || count == capacity) {
      return false;
    }
    ret_numbers[count++] = number;
    if (*end == '\0') {
      *ret_count = count;
      return true;
    }
    if (*end != ',') {
      return false;
    }
    text = end + 1;
  }
}

enum err setting_apply_text(const struct setting *setting, const char *text,
                            struct options *options, struct error_text *ret_error) {
  void *target = (unsigned char *)options + setting->offset_bytes;
  if (setting->kind == SETTING_ADDRESS) {
    return address_parse(text, WORKER_PORT, target, ret_error);
  }
  if (setting->kind == SETTING_TEXT) {
    const size_t length = strlen(text);
    if (length == 0 || length >= setting->max) {
      error_text_set(ret_error, "must have 1 to %" PRIu64 " characters", setting->max - 1);
      return ERR_RANGE;
    }
    for (size_t i = 0; i < length; i++) {
      if ((unsigned char)text[i] < ' ' || text[i] == 0x7f) {
        error_text_set(ret_error, "must not have control characters");
        return ERR_MALFORMED;
      }
    }
    memcpy(target, text, length + 1);
    return ERR_OK;
  }
  uint64_t numbers[WORKER_GPUS_MAX];
  size_t count = 0;
  if (!parse_numbers(text, WORKER_GPUS_MAX, numbers, &count)) {
    return fault_of_range(setting, ret_error);
  }
  return setting_apply_numbers(setting, numbers, count, options, ret_error);
}

static void apply_defaults(struct options *options) {
  *options = (struct options){.gpus = 0};
  for (size_t i = 0; i < SETTINGS_COUNT; i++) {
    const char *text = SETTINGS[i].default_text;
    CHECK(text == NULL || setting_apply_text(&SETTINGS[i], text, options, NULL) == ERR_OK);
  }
  if (gethostname(options->name, sizeof(options->name) - 1) != 0 || options->name[0] == '\0') {
    snprintf(options->name, sizeof(options->name), "worker");
  }
}

/* ---- help ------------------------------------------------------------------------------------ */

/* `text` from column `indent` on, broken between words before column 100. */
static void print_wrapped(int indent, const char *text) {
  int column = indent;
  while (*text != '\0') {
    const int length = (int)strcspn(text, " ");
    const bool is_first = column == indent;
    if (!is_first && column + 1 + length > 99) {
      printf("\n%*s", indent, "");
      column = indent;
    } else if (!is_first) {
      printf(" ");
      column++;
    }
    printf("%.*s", length, text);
    column += length;
    text += length;
    text += strspn(text, " ");
  }
  printf("\n");
}

static void print_setting(const char *prefix, const char *name, const struct setting *setting) {
  char head[64];
  char tail[512];
  snprintf(head, sizeof(head), "%s%s %s", prefix, name, setting->argument);
  snprintf(tail, sizeof(tail), "%s%s%s%s", setting->help,
           setting->default_text != NULL ? " (default " : "",
           setting->default_text != NULL ? setting->default_text : "",
           setting->default_text != NULL ? ")" : "");
  printf("  %-31s ", head);
  print_wrapped(34, tail);
}

static void print_help(void) {
  printf("USAGE\n"
         "  worker [OPTIONS]\n"
         "DESCRIPTION\n"
         "  Run models on all GPUs of this machine, as controllers tell it. Without options it\n"
         "  listens on 0.0.0.0:12345 and takes the best backend that this machine can run.\n"
         "  Ends on SIGINT and SIGTERM when the actions under way are answered.\n"
         "OPTIONS\n");
  for (size_t i = 0; i < SETTINGS_COUNT; i++) {
    if (SETTINGS[i].option != NULL) {
      print_setting("--", SETTINGS[i].option, &SETTINGS[i]);
    }
  }
  printf("  %-31s this text\n  %-31s which version this is\nBACKENDS, best first\n", "-h, --help",
         "-v, --version");
  for (size_t i = 0; i < backend_kinds_count; i++) {
    printf("  %-31s %s\n", backend_kinds[i].name, backend_kinds[i].text);
  }
  printf("ENVIRONMENT\n"
         "  CLOCKWORK_MODEL_DIR             folder from which relative model paths are taken\n"
         "  CLOCKWORK_CONFIG_FILE           a file in the format of libconfig, for example\n"
         "                                    worker: { listen = \"0.0.0.0:12345\"; gpus = 2;\n"
         "                                              weights_cache_size = 23085449216L; }\n"
         "                                  The command line wins over it. Its fields have the\n"
         "                                  options' names with _ for -, and there are also\n");
  for (size_t i = 0; i < SETTINGS_COUNT; i++) {
    if (SETTINGS[i].option == NULL) {
      print_setting("  ", SETTINGS[i].field, &SETTINGS[i]);
    }
  }
}

/* ---- command line ---------------------------------------------------------------------------- */

enum { OPTION_SETTING = 256 };

/* One entry per long option; `val` of a setting is OPTION_SETTING + its index. */
static void list_long_options(struct option *ret_options) {
  size_t count = 0;
  for (size_t i = 0; i < SETTINGS_COUNT; i++) {
    if (SETTINGS[i].option != NULL) {
      ret_options[count++] =
          (struct option){SETTINGS[i].option, required_argument, NULL, OPTION_SETTING + (int)i};
    }
  }
  ret_options[count++] = (struct option){"help", no_argument, NULL, 'h'};
  ret_options[count++] = (struct option){"version", no_argument, NULL, 'v'};
  ret_options[count] = (struct option){NULL, 0, NULL, 0};
}

static enum options_outcome apply_command_line(int argc, char *const *argv,
                                               struct options *options) {
  struct option long_options[sizeof(SETTINGS) / sizeof(SETTINGS[0]) + 3];
  list_long_options(long_options);
  opterr = 0;
  optind = 0; /* glibc: begin anew, this runs twice */
  int option = 0;
  while ((option = arguments_next(argc, argv, ":hv", long_options)) != -1) {
    if (option == 'h') {
      print_help();
      return OPTIONS_EXIT_OK;
    }
    if (option == 'v') {
      printf("worker %s\n", CLOCKWORK_VERSION);
      return OPTIONS_EXIT_OK;
    }
    if (option < OPTION_SETTING) {
      log_usage_error(PROGRAM, "'%.60s': %s; worker -h lists the options",
                      argv[optind > 1 ? optind - 1 : 1],
                      option == ':' ? "a value must follow" : "there is no such option");
      return OPTIONS_EXIT_USAGE;
    }
    const struct setting *setting = &SETTINGS[option - OPTION_SETTING];
    struct error_text error;
    if (setting_apply_text(setting, optarg, options, &error) != ERR_OK) {
      log_usage_error(PROGRAM, "--%s '%.60s': %s", setting->option, optarg, error.text);
      return OPTIONS_EXIT_USAGE;
    }
  }
  if (optind < argc) {
    log_usage_error(PROGRAM,
                    "'%.60s': there are no arguments without --; worker -h lists the options",
                    argv[optind]);
    return OPTIONS_EXIT_USAGE;
  }
  return OPTIONS_RUN;
}

/* ---- together -------------------------------------------------------------------------------- */

static bool apply_environment(struct options *options) {
  const char *model_dir = getenv("CLOCKWORK_MODEL_DIR");
  if (model_dir == NULL) {
    return true;
  }
  if (strlen(model_dir) >= sizeof(options->model_dir)) {
    log_usage_error(PROGRAM,
                    "CLOCKWORK_MODEL_DIR: has %zu characters, may have %zu; give a shorter path",
                    strlen(model_dir), sizeof(options->model_dir) - 1);
    return false;
  }
  memcpy(options->model_dir, model_dir, strlen(model_dir) + 1);
  return true;
}

static bool is_one_or_each(const char *what, const struct gpu_values *values, uint64_t gpus) {
  gpus = gpus == 0 ? 1 : gpus;
  if (values->count <= 1 || values->count == gpus) {
    return true;
  }
  log_usage_error(PROGRAM, "%s: %u numbers for %" PRIu64 " GPUs; give one for all, or one each",
                  what, values->count, gpus);
  return false;
}

enum options_outcome options_parse(int argc, char *const *argv, struct options *ret_options) {
  /* First of all the command line alone: help must come out whatever the file says. */
  apply_defaults(ret_options);
  enum options_outcome outcome = apply_command_line(argc, argv, ret_options);
  if (outcome != OPTIONS_RUN) {
    return outcome;
  }
  const char *config_path = getenv("CLOCKWORK_CONFIG_FILE");
  if (config_path != NULL && config_path[0] != '\0') {
    struct error_text error;
    apply_defaults(ret_options);
    if (config_file_apply(config_path, ret_options, &error) != ERR_OK) {
      log_usage_error(PROGRAM, "%s", error.text);
      return OPTIONS_EXIT_USAGE;
    }
    outcome = apply_command_line(argc, argv, ret_options);
    CHECK_EQ(outcome, OPTIONS_RUN);
  }
  if (!apply_environment(ret_options) ||
      !is_one_or_each("pages", &ret_options->pages, ret_options->gpus) ||
      !is_one_or_each("clock", &ret_options->clock_mhz, ret_options->gpus)) {
    return OPTIONS_EXIT_USAGE;
  }
  /* A profile is for emulated GPUs: whoever names one wants them, on whatever machine. */
  if (strcmp(ret_options->backend, "auto") == 0 && ret_options->profile[0] != '\0') {
    snprintf(ret_options->backend, sizeof(ret_options->backend), "emulated");
  }
  if (backend_kind_choose(ret_options->backend) == NULL) {
    char names[128];
    backend_kinds_list(sizeof(names), names);
    log_usage_error(PROGRAM, "backend '%s' is not built in; give auto, %s", ret_options->backend,
                    names);
    return OPTIONS_EXIT_USAGE;
  }
  return OPTIONS_RUN;
}
