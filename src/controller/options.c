#include "controller/options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "os/arguments.h"
#include "os/log.h"

static const char PROGRAM[] = "controller";

enum parameter_kind { PARAMETER_BOOL, PARAMETER_INT, PARAMETER_TEXT };

enum parameter_id {
  GENERATE_INPUTS,
  MAX_GPUS,
  SCHEDULE_AHEAD,
  DEFAULT_SLO,
  MAX_EXEC,
  MAX_BATCH,
  STRESS_MODEL,
  STRESS_COPIES,
  STRESS_CONCURRENCY,
  PARAMETER_IDS,
};

struct parameter {
  const char *name;
  enum parameter_kind kind;
  int64_t min;
  int64_t max;
  const char *default_text;
  const char *text;
};

static const int64_t HOUR_NS = 3600 * NS_PER_S;

static const struct parameter PARAMETERS[PARAMETER_IDS] = {
    [GENERATE_INPUTS] = {"generate_inputs", PARAMETER_BOOL, 0, 1, "false",
                         "Should inputs and outputs be generated if not present.  Set to true to "
                         "test network capacity"},
    [MAX_GPUS] = {"max_gpus", PARAMETER_INT, 1, 65536, "100",
                  "Set to a lower number to limit the number of GPUs."},
    [SCHEDULE_AHEAD] = {"schedule_ahead", PARAMETER_INT, 1, HOUR_NS, "10000000",
                        "How far ahead, in nanoseconds, should the scheduler schedule."},
    [DEFAULT_SLO] = {"default_slo", PARAMETER_INT, 1, HOUR_NS, "100000000",
                     "The default SLO to use if client's don't specify slo_factor.  Default 100ms"},
    [MAX_EXEC] = {"max_exec", PARAMETER_INT, 0, HOUR_NS, "25000000",
                  "Don't use batch sizes >1, whose exec time exceeds this number.  Default 25ms"},
    [MAX_BATCH] = {"max_batch", PARAMETER_INT, 1, MODEL_BATCH_MAX, "16",
                   "Don't use batch sizes that exceed this number.  Default 16."},
    [STRESS_MODEL] = {"model", PARAMETER_TEXT, 0, 0, "resnet50_v2",
                      "Path on the workers of the model to request."},
    [STRESS_COPIES] = {"copies", PARAMETER_INT, 1, 100000, "100",
                       "How many instances of the model to load."},
    [STRESS_CONCURRENCY] = {"concurrency", PARAMETER_INT, 1, 65536, "64",
                            "How many requests to keep under way."},
};

enum { TYPE_PARAMETERS_MAX = 7 };

/* Controller types: a policy, and which parameters it takes in which order. */
struct type {
  const char *name;
  const char *policy;
  const char *text;
  enum parameter_id parameters[TYPE_PARAMETERS_MAX];
  size_t parameters_count;
};

static const struct type TYPES[] = {
    {"INFER4",
     "infer4",
     "The Clockwork Scheduler, as published.",
     {GENERATE_INPUTS, MAX_GPUS, SCHEDULE_AHEAD, DEFAULT_SLO, MAX_EXEC, MAX_BATCH},
     6},
    {"PRICED",
     "priced",
     "Gives GPU time to what serves most requests with it: INFER4's answers at light load, more "
     "of\n"
     "            them in time when not all can be.  Recommended.",
     {GENERATE_INPUTS, MAX_GPUS, SCHEDULE_AHEAD, DEFAULT_SLO, MAX_EXEC, MAX_BATCH},
     6},
    {"DEFERRED",
     "deferred",
     "For comparison: a batch waits as long as one more request could join it in time, as in "
     "Symphony.",
     {GENERATE_INPUTS, MAX_GPUS, SCHEDULE_AHEAD, DEFAULT_SLO, MAX_EXEC, MAX_BATCH},
     6},
    {"CLIPPER",
     "clipper",
     "For comparison: batch sizes by additive increase and multiplicative decrease; late answers.",
     {GENERATE_INPUTS, MAX_GPUS, SCHEDULE_AHEAD, DEFAULT_SLO, MAX_EXEC, MAX_BATCH},
     6},
    {"FIFO",
     "fifo",
     "For comparison: on each GPU first come, first served, one by one; late answers.",
     {GENERATE_INPUTS, MAX_GPUS, SCHEDULE_AHEAD, DEFAULT_SLO},
     4},
    {"DIRECT",
     "direct",
     "For testing: passes requests on to the workers one by one, without deadlines or batches.",
     {GENERATE_INPUTS, MAX_GPUS},
     2},
    {"ECHO",
     "echo",
     "For testing: answers every request at once without running it.  WORKERS may be '-' for none.",
     {0},
     0},
    {"STRESS",
     "infer4",
     "For testing: INFER4 with requests made here instead of by clients.",
     {STRESS_MODEL, STRESS_COPIES, STRESS_CONCURRENCY, GENERATE_INPUTS, MAX_GPUS},
     5},
};

static const size_t TYPES_COUNT = sizeof(TYPES) / sizeof(TYPES[0]);

static const char *kind_text(enum parameter_kind kind) {
  return kind == PARAMETER_BOOL ? "bool" : kind == PARAMETER_INT ? "int" : "text";
}

static void print_help(void) {
  printf(
      "USAGE:\n"
      "  controller [TYPE] [WORKERS] [OPTIONS]\n"
      "DESCRIPTION\n"
      "  Run the controller of the specified TYPE.  It connects to all WORKERS, tries again when\n"
      "  one can't be reached or is lost, and serves clients.\n"
      "TYPE, in any case\n");
  for (size_t i = 0; i < TYPES_COUNT; i++) {
    printf("  %-9s %s%s\n", TYPES[i].name, TYPES[i].text,
           TYPES[i].parameters_count > 0 ? "  Options:" : "");
    for (size_t j = 0; j < TYPES[i].parameters_count; j++) {
      const struct parameter *parameter = &PARAMETERS[TYPES[i].parameters[j]];
      printf("       %-18s (%s, default %s)  %s\n", parameter->name, kind_text(parameter->kind),
             parameter->default_text, parameter->text);
    }
  }
  printf("WORKERS\n"
         "  Comma-separated list of worker host:port pairs, e.g. volta03:12345,volta04:12345.\n"
         "  The default port is 12345.\n"
         "OPTIONS\n"
         "  The options of the TYPE, in the order above; all are optional.\n"
         "LONG OPTIONS\n"
         "  --listen ADDR:PORT  where clients connect (default 0.0.0.0:12346)\n"
         "  --models N          how many model instances there may be (default 16384)\n"
         "  --requests N        how many requests may be under way (default 65536); more are\n"
         "                      answered at once with 7, skipped\n"
         "  -h, --help          this text\n"
         "ENVIRONMENT\n"
         "  CLOCKWORK_LOG_DIR   where clockwork_request_log.tsv and clockwork_action_log.tsv are\n"
         "                      written; if it is not set or not there, /local\n");
}

/* A whole decimal number within [min, max]. */
static bool parse_int(const char *name, const char *text, int64_t min, int64_t max,
                      int64_t *ret_value) {
  char *end = NULL;
  errno = 0;
  const long long value = strtoll(text, &end, 10);
  if (end == text || *end != '\0' || errno != 0 || value < min || value > max) {
    log_usage_error(PROGRAM, "%s: '%.40s' is no whole number from %lld to %lld", name, text,
                    (long long)min, (long long)max);
    return false;
  }
  *ret_value = value;
  return true;
}

static bool parse_bool(const char *name, const char *text, int64_t *ret_value) {
  if (strcmp(text, "1") == 0 || strcmp(text, "true") == 0) {
    *ret_value = 1;
  } else if (strcmp(text, "0") == 0 || strcmp(text, "false") == 0) {
    *ret_value = 0;
  } else {
    log_usage_error(PROGRAM, "%s: '%.40s' is neither 0, 1, false nor true", name, text);
    return false;
  }
  return true;
}

static bool apply_parameter(enum parameter_id id, const char *text, struct options *options) {
  const struct parameter *parameter = &PARAMETERS[id];
  int64_t value = 0;
  if (parameter->kind == PARAMETER_BOOL && !parse_bool(parameter->name, text, &value)) {
    return false;
  }
  if (parameter->kind == PARAMETER_INT &&
      !parse_int(parameter->name, text, parameter->min, parameter->max, &value)) {
    return false;
  }
  switch (id) {
  case GENERATE_INPUTS:
    options->generates_inputs = value != 0;
    break;
  case MAX_GPUS:
    options->scheduler.max_gpus = (uint32_t)value;
    break;
  case SCHEDULE_AHEAD:
    options->scheduler.schedule_ahead = duration_ns(value);
    break;
  case DEFAULT_SLO:
    options->scheduler.default_slo = duration_ns(value);
    break;
  case MAX_EXEC:
    options->scheduler.max_exec = duration_ns(value);
    break;
  case MAX_BATCH:
    options->scheduler.max_batch = (uint32_t)value;
    break;
  case STRESS_COPIES:
    options->stress_copies = (uint32_t)value;
    break;
  case STRESS_CONCURRENCY:
    options->stress_concurrency = (uint32_t)value;
    break;
  case STRESS_MODEL:
    if (text[0] == '\0' || strlen(text) >= sizeof(options->stress_model)) {
      log_usage_error(PROGRAM, "model: a path of 1 to %zu characters is needed",
                      sizeof(options->stress_model) - 1);
      return false;
    }
    snprintf(options->stress_model, sizeof(options->stress_model), "%s", text);
    break;
  case PARAMETER_IDS:
    break;
  }
  return true;
}

static const struct type *find_type(const char *name) {
  for (size_t i = 0; i < TYPES_COUNT; i++) {
    if (strcasecmp(TYPES[i].name, name) == 0) {
      return &TYPES[i];
    }
  }
  return NULL;
}

static void report_no_type(const char *name) {
  char names[256] = "";
  for (size_t i = 0; i < TYPES_COUNT; i++) {
    const size_t used = strlen(names);
    snprintf(names + used, sizeof(names) - used, "%s%s", i == 0 ? "" : ", ", TYPES[i].name);
  }
  log_usage_error(PROGRAM, "TYPE: '%.40s' is not one of %s", name, names);
}

static bool parse_workers(const struct type *type, const char *text, struct options *options) {
  struct error_text error;
  if (strcmp(text, "-") == 0 && strcmp(type->policy, "echo") == 0) {
    options->runs_without_workers = true;
    return true;
  }
  if (address_parse_list(text, CONTROLLER_WORKER_PORT, CONTROLLER_WORKERS_MAX, options->workers,
                         &options->workers_count, &error) != ERR_OK) {
    log_usage_error(PROGRAM, "WORKERS: %s", error.text);
    return false;
  }
  for (size_t i = 0; i < options->workers_count; i++) {
    if (options->workers[i].port == 0) {
      log_usage_error(PROGRAM, "WORKERS: address \"%.100s\": port 0 can't be connected to",
                      options->workers[i].text);
      return false;
    }
  }
  return true;
}

static bool parse_positional(int count, char *const *words, struct options *options) {
  if (count < 2) {
    log_usage_error(PROGRAM, "TYPE and WORKERS are needed, e.g. controller INFER4 "
                             "127.0.0.1:12345; see controller -h");
    return false;
  }
  const struct type *type = find_type(words[0]);
  if (type == NULL) {
    report_no_type(words[0]);
    return false;
  }
  options->type = type->name;
  options->scheduler.policy = type->policy;
  options->is_stress = strcmp(type->name, "STRESS") == 0;
  if (!parse_workers(type, words[1], options)) {
    return false;
  }
  for (int i = 2; i < count; i++) {
    const size_t index = (size_t)i - 2;
    if (index >= type->parameters_count) {
      log_usage_error(PROGRAM, "'%.40s': %s takes at most %zu options", words[i], type->name,
                      type->parameters_count);
      return false;
    }
    if (!apply_parameter(type->parameters[index], words[i], options)) {
      return false;
    }
  }
  return true;
}

enum { OPTION_LISTEN = 256, OPTION_MODELS, OPTION_REQUESTS };

static const struct option LONG_OPTIONS[] = {
    {"listen", required_argument, NULL, OPTION_LISTEN},
    {"models", required_argument, NULL, OPTION_MODELS},
    {"requests", required_argument, NULL, OPTION_REQUESTS},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static bool apply_long_option(int option, const char *text, struct options *options) {
  struct error_text error;
  int64_t value = 0;
  switch (option) {
  case OPTION_LISTEN:
    if (address_parse(text, CONTROLLER_PORT, &options->listen, &error) != ERR_OK) {
      log_usage_error(PROGRAM, "--listen: %s", error.text);
      return false;
    }
    return true;
  case OPTION_MODELS:
    if (!parse_int("--models", text, 1, 1 << 20, &value)) {
      return false;
    }
    options->scheduler.limits.models = (uint32_t)value;
    return true;
  default:
    if (!parse_int("--requests", text, 1, 1 << 20, &value)) {
      return false;
    }
    options->scheduler.limits.requests = (uint32_t)value;
    return true;
  }
}

static bool options_defaults(struct options *options) {
  *options = (struct options){.stress_copies = 100, .stress_concurrency = 64};
  scheduler_config_defaults(&options->scheduler);
  options->scheduler.limits.workers = CONTROLLER_WORKERS_MAX;
  snprintf(options->stress_model, sizeof(options->stress_model), "%s",
           PARAMETERS[STRESS_MODEL].default_text);
  return address_parse("0.0.0.0", CONTROLLER_PORT, &options->listen, NULL) == ERR_OK;
}

enum options_outcome options_parse(int argc, char *const *argv, struct options *ret_options) {
  if (!options_defaults(ret_options)) {
    return OPTIONS_EXIT_USAGE;
  }
  opterr = 0;
  optind = 1;
  int option = 0;
  while ((option = arguments_next(argc, argv, ":h", LONG_OPTIONS)) != -1) {
    if (option == 'h') {
      print_help();
      return OPTIONS_EXIT_OK;
    }
    if (option == '?' || option == ':') {
      log_usage_error(PROGRAM, "'%.60s': %s; see controller -h", argv[optind - 1],
                      option == ':' ? "needs a value" : "unknown option");
      return OPTIONS_EXIT_USAGE;
    }
    if (!apply_long_option(option, optarg, ret_options)) {
      return OPTIONS_EXIT_USAGE;
    }
  }
  if (!parse_positional(argc - optind, argv + optind, ret_options)) {
    return OPTIONS_EXIT_USAGE;
  }
  const char *fault = scheduler_config_fault(&ret_options->scheduler);
  if (fault != NULL) {
    log_usage_error(PROGRAM, "%s", fault);
    return OPTIONS_EXIT_USAGE;
  }
  return OPTIONS_RUN;
}
