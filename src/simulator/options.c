#include "simulator/options.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/emulated/emulated.h"
#include "os/arguments.h"
#include "os/log.h"
#include "simulator/policy_option.h"
#include "workload/synthetic_day.h"

/* How the text after an option becomes a field of struct options. */
enum setting_kind {
  SETTING_WHOLE,    /* uint32_t */
  SETTING_SEED,     /* uint64_t */
  SETTING_DURATION, /* struct duration; a decimal number of `unit` ns */
  SETTING_PPM,      /* uint32_t; a decimal number of millionths, kept in billionths */
  SETTING_FACTOR,   /* double */
  SETTING_RATE,     /* uint64_t picoseconds a byte; a decimal number of Gbit/s, 0: no limit */
  SETTING_TEXT,     /* const char *, borrowed */
  SETTING_FLAG,     /* bool, set to true */
  SETTING_UNFLAG,   /* bool, set to false */
  SETTING_POLICY,
  SETTING_WORKLOAD,
};

struct setting {
  const char *name;
  enum setting_kind kind;
  size_t offset;
  double min;
  double max;
  double unit;
  const char *hint;
  const char *text; /* with its default */
};

#define AT(member) offsetof(struct options, member)
#define DAY_S 86400.0
#define YEAR_S (366 * DAY_S)

static const struct setting SETTINGS[] = {
    {"workers", SETTING_WHOLE, AT(simulation.workers_count), 1, SIMULATION_WORKERS_MAX, 0, "N",
     "machines with GPUs (6)"},
    {"gpus", SETTING_WHOLE, AT(simulation.gpus_per_worker), 1, 256, 0, "N", "GPUs of each (1)"},
    {"pages", SETTING_WHOLE, AT(simulation.pages), 1, 65536, 0, "N",
     "weights cache of a GPU in pages of 16 MiB (1376)"},
    {"profile", SETTING_TEXT, AT(profile), 0, 0, 0, "FILE",
     "durations of the models, a table; the built-in one has 64 models of a V100"},
    {"policy", SETTING_POLICY, AT(policy), 0, 0, 0, "NAME",
     "the scheduler's policy, one of those below (infer4)"},
    {"schedule-ahead", SETTING_DURATION, AT(simulation.scheduler.schedule_ahead), 1, 3600e9, 1,
     "NS", "how far ahead a GPU is given work (10000000)"},
    {"default-slo", SETTING_DURATION, AT(simulation.scheduler.default_slo), 1, 3600e9, 1, "NS",
     "SLO of requests without a factor of their own (100000000)"},
    {"max-exec", SETTING_DURATION, AT(simulation.scheduler.max_exec), 0, 3600e9, 1, "NS",
     "batch sizes above 1 that take longer are not used (25000000)"},
    {"max-batch", SETTING_WHOLE, AT(simulation.scheduler.max_batch), 1, MODEL_BATCH_MAX, 0, "N",
     "larger batch sizes are not used (16)"},
    {"max-gpus", SETTING_WHOLE, AT(simulation.scheduler.max_gpus), 1, SIMULATION_GPUS_MAX, 0, "N",
     "GPUs beyond are left unused (all are used)"},
    {"requests", SETTING_WHOLE, AT(simulation.scheduler.limits.requests), 1, 1 << 24, 0, "N",
     "how many requests may be under way (65536); more are answered with 7, skipped"},
    {"generate-inputs", SETTING_FLAG, AT(simulation.generates_inputs), 0, 0, 0, NULL,
     "the controller makes inputs and sends them; only their bytes are simulated"},
    {"workload", SETTING_WORKLOAD, AT(workload_text), 0, 0, 0, "'NAME ...'",
     "a workload of the client with its parameters, in one word (azure 8)"},
    {"slo-factor", SETTING_FACTOR, AT(simulation.slo_factor), 0, 1e6, 0, "F",
     "SLO of every request, times its model's batch-1 execution time; 0: what the workload says\n"
     "(0)"},
    {"functions", SETTING_WHOLE, AT(functions), 1, TRACE_FUNCTIONS_MAX, 0, "N",
     "size of the synthetic day (46000)"},
    {"hours", SETTING_DURATION, AT(simulation.duration), 0, YEAR_S / 3600, 3600e9, "H",
     "how long the workload goes on, in simulated time (60 seconds)"},
    {"seconds", SETTING_DURATION, AT(simulation.duration), 0, YEAR_S, 1e9, "S", "the same"},
    {"seed", SETTING_SEED, AT(simulation.seed), 0, 0, 0, "N",
     "of workload, noise, network and clocks (1): same seed, same run"},
    {"latency-us", SETTING_DURATION, AT(simulation.latency), 0, 1e7, 1e3, "US",
     "of the network, one way (50)"},
    {"jitter-us", SETTING_DURATION, AT(simulation.jitter), 0, 1e7, 1e3, "US",
     "on top: a draw from 0 to this for each message (20)"},
    {"bandwidth-gbps", SETTING_RATE, AT(simulation.ps_per_byte), 0, 1e5, 0, "G",
     "of each machine, each way, in Gbit/s; 0: no limit (10)"},
    {"skew-us", SETTING_DURATION, AT(simulation.skew), 0, 1e9, 1e3, "US",
     "a worker's clock is off by up to this, either way (0)"},
    {"drift-ppm", SETTING_PPM, AT(simulation.drift_ppb), 0, 1000, 0, "PPM",
     "and fast or slow by up to this (0)"},
    {"jitter-ppm", SETTING_WHOLE, AT(simulation.execute_jitter_ppm), 0, 100000, 0, "PPM",
     "standard deviation of executions, in millionths of their duration (80)"},
    {"transfer-jitter-ppm", SETTING_WHOLE, AT(simulation.transfer_jitter_ppm), 0, 100000, 0, "PPM",
     "the same for weights, inputs and outputs (2000)"},
    {"clock-change", SETTING_DURATION, AT(simulation.clock_change), 0, YEAR_S, 1e9, "S",
     "mean time between changes of a GPU's clock, to 70 .. 100 % of the profile's; 0: never (0)"},
    {"out", SETTING_TEXT, AT(out), 0, 0, 0, "DIR",
     "folder for clockwork_request_log.tsv, clockwork_action_log.tsv and summary.txt; made if\n"
     "it is not there"},
    {"columns", SETTING_FLAG, AT(writes_columns), 0, 0, 0, NULL,
     "write telemetry there as .columns files, a third of the size; process.py reads them too"},
    {"no-telemetry", SETTING_UNFLAG, AT(writes_telemetry), 0, 0, 0, NULL,
     "write only summary.txt there"},
    {"leadin", SETTING_DURATION, AT(leadin), 0, YEAR_S, 1e9, "S",
     "leave the first seconds out of the summary (0)"},
    {"bound", SETTING_FLAG, AT(wants_bound), 0, 0, 0, NULL,
     "compare with what no scheduler could beat; takes about as long again"},
    {"quiet", SETTING_FLAG, AT(is_quiet), 0, 0, 0, NULL, "no progress"},
};

enum { SETTINGS_COUNT = sizeof(SETTINGS) / sizeof(SETTINGS[0]) };

static bool needs_value(const struct setting *setting) {
  return setting->kind != SETTING_FLAG && setting->kind != SETTING_UNFLAG;
}

static void print_help(void) {
  enum { COLUMN = 28 };
  printf(
      "Usage: simulate [options]\n"
      "Runs the production scheduler, workers and workload in virtual time and prints a summary\n"
      "of 'key: value' lines. Defaults in parentheses.\n");
  for (size_t i = 0; i < SETTINGS_COUNT; i++) {
    const struct setting *setting = &SETTINGS[i];
    const int width = printf("  --%s%s%s", setting->name, needs_value(setting) ? " " : "",
                             needs_value(setting) ? setting->hint : "");
    printf("%*s", width < COLUMN ? COLUMN - width : 1, "");
    for (const char *c = setting->text; *c != '\0'; c++) {
      putchar(*c);
      if (*c == '\n') {
        printf("%*s", COLUMN, "");
      }
    }
    putchar('\n');
  }
  printf("  -h, --help%*sthis text\n", COLUMN - 12, "");
  printf("Policies:\n");
  policy_option_print();
  printf("Workloads with their parameters:\n");
  const size_t bytes = workload_usage(NULL, 0) + 1;
  char *usage = malloc(bytes);
  if (usage != NULL) {
    workload_usage(usage, bytes);
    fputs(usage, stdout);
    free(usage);
  }
  printf(
      "Environment:\n"
      "  AZURE_TRACE_DIR           folder of invocations_per_function_md.anon.d01.csv ...; if it\n"
      "                            is not set, a synthetic day made by our own generator is used\n"
      "Exit codes: 0 done; 1 a file can't be written or memory lacks; 2 usage.\n");
}

static bool parse_number(const struct options *options, const struct setting *setting,
                         const char *text, double *ret_value) {
  char *end = NULL;
  const double value = strtod(text, &end);
  if (end == text || *end != '\0' || !isfinite(value) || value < setting->min ||
      value > setting->max) {
    log_usage_error(options->program, "--%s: '%.40s' is no number from %.15g to %.15g",
                    setting->name, text, setting->min, setting->max);
    return false;
  }
  *ret_value = value;
  return true;
}

static bool parse_whole(const struct options *options, const struct setting *setting,
                        const char *text, uint64_t min, uint64_t max, uint64_t *ret_value) {
  char *end = NULL;
  errno = 0;
  const unsigned long long value = strtoull(text, &end, 10);
  /* strtoull takes "-1" and leading blanks. */
  if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value < min || value > max) {
    log_usage_error(options->program, "--%s: '%.40s' is no whole number from %llu to %llu",
                    setting->name, text, (unsigned long long)min, (unsigned long long)max);
    return false;
  }
  *ret_value = value;
  return true;
}

static bool parse_copy(const struct options *options, const struct setting *setting,
                       const char *text, size_t capacity_bytes, char *ret_text) {
  if (strlen(text) >= capacity_bytes) {
    log_usage_error(options->program, "--%s: longer than %zu characters", setting->name,
                    capacity_bytes - 1);
    return false;
  }
  snprintf(ret_text, capacity_bytes, "%s", text);
  return true;
}

static bool apply_number(const struct options *options, const struct setting *setting,
                         const char *text, void *field) {
  double value = 0;
  if (!parse_number(options, setting, text, &value)) {
    return false;
  }
  if (setting->kind == SETTING_FACTOR) {
    *(double *)field = value;
  } else if (setting->kind == SETTING_DURATION) {
    *(struct duration *)field = duration_ns((int64_t)llround(value * setting->unit));
  } else if (setting->kind == SETTING_PPM) {
    *(uint32_t *)field = (uint32_t)llround(value * 1e3);
  } else {
    *(uint64_t *)field = value > 0 ? (uint64_t)llround(8000 / value) : 0;
  }
  return true;
}

static bool apply(const struct setting *setting, const char *text, struct options *options) {
  void *field = (char *)options + setting->offset;
  uint64_t whole = 0;
  switch (setting->kind) {
  case SETTING_WHOLE:
    if (!parse_whole(options, setting, text, (uint64_t)setting->min, (uint64_t)setting->max,
                     &whole)) {
      return false;
    }
    *(uint32_t *)field = (uint32_t)whole;
    return true;
  case SETTING_SEED:
    return parse_whole(options, setting, text, 0, UINT64_MAX, field);
  case SETTING_DURATION:
  case SETTING_PPM:
  case SETTING_FACTOR:
  case SETTING_RATE:
    return apply_number(options, setting, text, field);
  case SETTING_TEXT:
    if (text[0] == '\0') {
      log_usage_error(options->program, "--%s: is empty; give a %s", setting->name, setting->hint);
      return false;
    }
    *(const char **)field = text;
    return true;
  case SETTING_FLAG:
  case SETTING_UNFLAG:
    *(bool *)field = setting->kind == SETTING_FLAG;
    return true;
  case SETTING_POLICY:
    options->policy = policy_option_parse(options->program, text);
    return options->policy != NULL;
  case SETTING_WORKLOAD:
    return parse_copy(options, setting, text, sizeof(options->workload_text),
                      options->workload_text);
  }
  return false;
}

static bool parse_workload(struct options *options) {
  const char *words[WORKLOAD_PARAMETERS_MAX + 2];
  uint32_t count = 0;
  char *rest = options->workload_words;
  snprintf(options->workload_words, sizeof(options->workload_words), "%s", options->workload_text);
  for (char *word = NULL; (word = strtok_r(rest, " \t", &rest)) != NULL;) {
    if (count < sizeof(words) / sizeof(words[0])) { /* one too many is enough to be refused */
      words[count++] = word;
    }
  }
  struct workload_fault fault = {.text = "no workload is named"};
  const struct workload_kind *kind = count == 0 ? NULL : workload_find(words[0], &fault);
  if (kind == NULL ||
      workload_parse(kind, words + 1, count - 1, &options->simulation.workload, &fault) != ERR_OK) {
    log_usage_error(options->program, "--workload: %s", fault.text);
    return false;
  }
  options->simulation.workload.seed = options->simulation.seed;
  return true;
}

/* Telemetry that would go nowhere is found out after hours otherwise. */
static bool check_folder(const struct options *options) {
  const char *option = options->writes_columns      ? "--columns"
                       : !options->writes_telemetry ? "--no-telemetry"
                                                    : NULL;
  if (options->out == NULL && option != NULL) {
    log_usage_error(options->program, "%s: says what is written to --out DIR, which is not given",
                    option);
    return false;
  }
  if (options->writes_columns && !options->writes_telemetry) {
    log_usage_error(options->program, "--columns: not with --no-telemetry");
    return false;
  }
  return true;
}

/* What only all options together show. */
static bool finish(struct options *options) {
  struct simulation_config *simulation = &options->simulation;
  simulation->scheduler.policy = options->policy;
  if ((uint64_t)simulation->workers_count * simulation->gpus_per_worker > SIMULATION_GPUS_MAX) {
    log_usage_error(options->program, "--workers times --gpus: at most %d GPUs",
                    SIMULATION_GPUS_MAX);
    return false;
  }
  if (simulation->duration.ns <= 0) {
    log_usage_error(options->program, "--hours, --seconds: must be above 0");
    return false;
  }
  if (options->leadin.ns >= simulation->duration.ns) {
    log_usage_error(options->program, "--leadin: leaves nothing of the run");
    return false;
  }
  const char *fault = scheduler_config_fault(&simulation->scheduler);
  if (fault != NULL) {
    log_usage_error(options->program, "scheduler options: %s", fault);
    return false;
  }
  return check_folder(options) && parse_workload(options);
}

static void set_defaults(struct options *options) {
  struct emulated_config backend;
  emulated_config_defaults(&backend);
  *options = (struct options){
      .simulation = {.workers_count = 6,
                     .gpus_per_worker = 1,
                     .pages = EMULATED_PAGES,
                     .seed = 1,
                     .execute_jitter_ppm = backend.execute_jitter_ppm,
                     .transfer_jitter_ppm = backend.transfer_jitter_ppm,
                     .latency = duration_us(50),
                     .jitter = duration_us(20),
                     .ps_per_byte = 800},
      .workload_text = "azure 8",
      .policy = "infer4",
      .trace_dir = getenv("AZURE_TRACE_DIR"),
      .functions = SYNTHETIC_DAY_FUNCTIONS,
      .writes_telemetry = true,
  };
  scheduler_config_defaults(&options->simulation.scheduler);
  options->simulation.scheduler.max_gpus = SIMULATION_GPUS_MAX;
}

/* False: the first mistake was reported. */
static bool parse_all(int argc, char *const *argv, struct options *options, bool *ret_wants_help) {
  struct option table[SETTINGS_COUNT + 2] = {0};
  for (int i = 0; i < SETTINGS_COUNT; i++) {
    table[i].name = SETTINGS[i].name;
    table[i].has_arg = needs_value(&SETTINGS[i]) ? required_argument : no_argument;
    table[i].val = 256 + i;
  }
  table[SETTINGS_COUNT] = (struct option){.name = "help", .val = 'h'};
  opterr = 0;
  optind = 1;
  int option = 0;
  while ((option = arguments_next(argc, argv, ":h", table)) != -1) {
    if (option == 'h') {
      *ret_wants_help = true;
      return true;
    }
    if (option == '?' || option == ':') {
      log_usage_error(options->program, "'%.60s': %s; see %s -h", argv[optind - 1],
                      option == ':' ? "needs a value" : "unknown option", options->program);
      return false;
    }
    if (!apply(&SETTINGS[option - 256], optarg, options)) {
      return false;
    }
  }
  if (optind < argc) {
    log_usage_error(options->program,
                    "'%.60s': only options are taken; a workload goes into one word: "
                    "--workload 'azure 8'",
                    argv[optind]);
    return false;
  }
  return finish(options);
}

enum options_outcome options_parse(const char *program, struct duration duration, int argc,
                                   char *const *argv, struct options *ret_options,
                                   int *ret_exit_code) {
  bool wants_help = false;
  set_defaults(ret_options);
  ret_options->program = program;
  ret_options->simulation.duration = duration;
  if (!parse_all(argc, argv, ret_options, &wants_help)) {
    *ret_exit_code = SIMULATE_EXIT_USAGE;
    return OPTIONS_EXIT;
  }
  if (wants_help) {
    print_help();
    *ret_exit_code = SIMULATE_EXIT_OK;
    return OPTIONS_EXIT;
  }
  return OPTIONS_RUN;
}
