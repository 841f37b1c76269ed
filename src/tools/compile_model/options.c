#include "tools/compile_model/options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "os/arguments.h"
#include "os/log.h"

const char OPTIONS_PROGRAM[] = "compile_model";

const char OPTIONS_USAGE[] =
    "Usage: compile_model MODEL.onnx -o FOLDER [--batch 1,2,4,8,16] [--precision fp32|tf32|fp16]\n"
    "                     [--shape INPUT=1x3x224x224]... [--name NAME]\n"
    "Compile an ONNX model into a package that workers load: FOLDER/model.plan and model.weights.\n"
    "\n"
    "  -o, --output FOLDER      where the package goes; made if it isn't there\n"
    "  -b, --batch SIZES        batch sizes, rising from 1 (default 1,2,4,8,16)\n"
    "  -p, --precision P        fp32 (default), tf32: products of 10-bit mantissas allowed, fp16:\n"
    "                           weights and intermediate values in half precision\n"
    "  -s, --shape INPUT=DIMS   fix the dimensions that the file leaves open; N for the batch\n"
    "  -n, --name NAME          of the model (default: the file's name without .onnx)\n"
    "      --print              show the plan; with it, -o may be left out\n"
    "      --operators          list the operators that can be compiled, and their opsets\n"
    "  -h, --help               print this\n"
    "\n"
    "Opset 7 to 21. Exit status 2: the model or the command line can't be compiled as it is; the\n"
    "one line on standard error says what would help.\n";

enum { OPTION_PRINT = 1000, OPTION_OPERATORS };

static bool read_batch(const char *text, struct options *options) {
  uint32_t count = 0;
  const char *at = text;
  for (;;) {
    char *end = NULL;
    const unsigned long size = strtoul(at, &end, 10);
    const bool rises = count == 0 ? size == 1 : size > options->batch_sizes[count - 1];
    if (*at < '0' || *at > '9' || !rises || size > MODEL_BATCH_MAX || count == MODEL_BATCH_KINDS ||
        (*end != ',' && *end != '\0')) {
      log_usage_error(OPTIONS_PROGRAM,
                      "--batch is '%s'; give up to %d sizes that rise from 1 to at most %d, as in "
                      "1,2,4,8,16",
                      text, MODEL_BATCH_KINDS, MODEL_BATCH_MAX);
      return false;
    }
    options->batch_sizes[count++] = (uint32_t)size;
    if (*end == '\0') {
      break;
    }
    at = end + 1;
  }
  options->compile.batch_kinds = count;
  options->compile.batch_sizes_asked = true;
  return true;
}

static bool read_precision(const char *text, struct options *options) {
  static const struct {
    const char *name;
    enum plan_precision precision;
  } NAMES[] = {{"fp32", PLAN_FP32}, {"tf32", PLAN_TF32}, {"fp16", PLAN_FP16}};
  for (uint32_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++) {
    if (strcmp(text, NAMES[i].name) == 0) {
      options->compile.precision = NAMES[i].precision;
      return true;
    }
  }
  log_usage_error(OPTIONS_PROGRAM, "--precision is '%s'; give fp32, tf32 or fp16", text);
  return false;
}

static bool read_dims(const char *text, struct compile_shape *shape) {
  if (*text == '\0') {
    return true; /* a scalar */
  }
  for (;;) {
    char *end = NULL;
    unsigned long dim = 0;
    if (text[0] == 'N' && shape->rank == 0) {
      end = (char *)(uintptr_t)(text + 1);
    } else {
      errno = 0;
      dim = strtoul(text, &end, 10);
      if (*text < '1' || *text > '9' || errno != 0 || dim > INT32_MAX) {
        return false;
      }
    }
    if (shape->rank == PLAN_RANK_MAX || (*end != 'x' && *end != '\0')) {
      return false;
    }
    shape->dims[shape->rank++] = (uint32_t)dim;
    if (*end == '\0') {
      return true;
    }
    text = end + 1;
  }
}

static bool read_shape(const char *text, struct options *options) {
  const uint32_t index = options->compile.shapes_count;
  const char *equals = strrchr(text, '=');
  struct compile_shape *shape = &options->shapes[index < COMPILE_SHAPES_MAX ? index : 0];
  if (index == COMPILE_SHAPES_MAX) {
    log_usage_error(OPTIONS_PROGRAM, "--shape is given more than %d times", COMPILE_SHAPES_MAX);
    return false;
  }
  *shape = (struct compile_shape){.name = options->shape_names[index]};
  if (equals == NULL || equals == text || equals - text >= OPTIONS_SHAPE_TEXT_BYTES ||
      !read_dims(equals + 1, shape)) {
    log_usage_error(OPTIONS_PROGRAM,
                    "--shape is '%s'; give INPUT=DIMS with up to %d dimensions, as in "
                    "data=1x3x224x224",
                    text, PLAN_RANK_MAX);
    return false;
  }
  memcpy(options->shape_names[index], text, (size_t)(equals - text));
  options->shape_names[index][equals - text] = '\0';
  options->compile.shapes_count++;
  return true;
}

static void set_name(struct options *options, const char *text, size_t length) {
  if (length >= sizeof(options->name)) {
    length = sizeof(options->name) - 1;
  }
  memcpy(options->name, text, length);
  options->name[length] = '\0';
}

static bool read_option(int option, struct options *options) {
  switch (option) {
  case 'o':
    if (optarg[0] == '\0') {
      log_usage_error(OPTIONS_PROGRAM, "-o: a folder's name is missing");
      return false;
    }
    options->output = optarg;
    return true;
  case 'b':
    return read_batch(optarg, options);
  case 'p':
    return read_precision(optarg, options);
  case 's':
    return read_shape(optarg, options);
  case 'n':
    if (optarg[0] == '\0' || strlen(optarg) >= sizeof(options->name)) {
      log_usage_error(OPTIONS_PROGRAM, "--name has to have 1 to %zu characters",
                      sizeof(options->name) - 1);
      return false;
    }
    set_name(options, optarg, strlen(optarg));
    return true;
  case OPTION_PRINT:
    options->wants_print = true;
    return true;
  case OPTION_OPERATORS:
    options->wants_operators = true;
    return true;
  default:
    options->wants_help = true;
    return true;
  }
}

static void name_by_file(struct options *options) {
  const char *slash = strrchr(options->input, '/');
  const char *base = slash != NULL ? slash + 1 : options->input;
  size_t length = strlen(base);
  if (length > 5 && strcmp(base + length - 5, ".onnx") == 0) {
    length -= 5;
  }
  set_name(options, base, length);
}

static bool check_words(int count, char **words, struct options *options) {
  if (options->wants_help || options->wants_operators) {
    return true;
  }
  if (optind >= count) {
    log_usage_error(OPTIONS_PROGRAM, "name the ONNX file to compile; see compile_model -h");
    return false;
  }
  if (optind + 1 < count) {
    log_usage_error(OPTIONS_PROGRAM, "'%s' is too much; one model is compiled at a time",
                    words[optind + 1]);
    return false;
  }
  options->input = words[optind];
  if (options->output == NULL && !options->wants_print) {
    log_usage_error(OPTIONS_PROGRAM, "give the package's folder with -o");
    return false;
  }
  if (options->name[0] == '\0') {
    name_by_file(options);
  }
  return true;
}

bool options_read(int count, char **words, struct options *ret_options) {
  static const struct option LONG_OPTIONS[] = {
      {"output", required_argument, NULL, 'o'},
      {"batch", required_argument, NULL, 'b'},
      {"precision", required_argument, NULL, 'p'},
      {"shape", required_argument, NULL, 's'},
      {"name", required_argument, NULL, 'n'},
      {"print", no_argument, NULL, OPTION_PRINT},
      {"operators", no_argument, NULL, OPTION_OPERATORS},
      {"help", no_argument, NULL, 'h'},
      {NULL, 0, NULL, 0},
  };
  *ret_options = (struct options){
      .batch_sizes = {1, 2, 4, 8, 16},
      .compile = {.precision = PLAN_FP32, .batch_kinds = 5},
  };
  ret_options->compile.batch_sizes = ret_options->batch_sizes;
  ret_options->compile.shapes = ret_options->shapes;
  ret_options->compile.name = ret_options->name;
  opterr = 0;
  for (;;) {
    const int at = optind;
    const int option = arguments_next(count, words, ":o:b:p:s:n:h", LONG_OPTIONS);
    if (option == -1) {
      break;
    }
    if (option == '?' || option == ':') {
      log_usage_error(OPTIONS_PROGRAM,
                      option == ':' ? "%s lacks its value; see compile_model -h"
                                    : "there is no option %s; see compile_model -h",
                      words[optind > at ? optind - 1 : at]);
      return false;
    }
    if (!read_option(option, ret_options)) {
      return false;
    }
  }
  return check_words(count, words, ret_options);
}
