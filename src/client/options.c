#include "client/options.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/arguments.h"
#include "os/log.h"
#include "workload/synthetic_day.h"

static const char PROGRAM[] = "client";

static void print_help(void) {
  printf("Usage: client [address] [workload] [workload parameters (if required)]\n"
         "Available workloads with parameters:\n");
  const size_t bytes = workload_usage(NULL, 0) + 1;
  char *usage = malloc(bytes);
  if (usage != NULL) {
    workload_usage(usage, bytes);
    fputs(usage, stdout);
    free(usage);
  }
  printf(
      "To ask one model once: client [address] infer [model] ...; client infer -h explains.\n"
      "The address is the controller's, host:port; the default port is %d.\n"
      "Options, before or after the others:\n"
      "  --seed N                 of all random streams (default %d): same seed, same requests\n"
      "  --duration SECONDS       stop after so long (default: when the workload is done, else\n"
      "                           never); SIGINT and SIGTERM stop it too\n"
      "  --model-dir DIR          folder of the models on the workers (default\n"
      "                           CLOCKWORK_MODEL_DIR, else models are asked for by bare name)\n"
      "  --functions N            size of the synthetic day (default %d)\n"
      "  --connect-timeout S      how long to wait for the controller (default %d)\n"
      "  --slo-ms MS              counts as goodput for requests without an SLO factor; give\n"
      "                           the controller's default_slo (default %d)\n"
      "  --outputs                ask for outputs\n"
      "  --check-outputs          ask for outputs and compare them with what emulated workers\n"
      "                           answer to our inputs; a wrong one makes the exit code 1\n"
      "  -h, --help               this text\n"
      "Environment:\n"
      "  CLOCKWORK_MODEL_DIR      see --model-dir\n"
      "  CLOCKWORK_DISABLE_INPUTS 1: send no inputs; the controller or the workers make them\n"
      "  AZURE_TRACE_DIR          folder of invocations_per_function_md.anon.d01.csv ...; if it\n"
      "                           is not set, a synthetic day made by our own generator is used\n"
      "Exit codes: 0 done; 1 no controller, models not loaded or wrong outputs; 2 usage.\n",
      CLIENT_CONTROLLER_PORT, WORKLOAD_SEED, SYNTHETIC_DAY_FUNCTIONS, CLIENT_CONNECT_TIMEOUT_S,
      CLIENT_SLO_MS);
}

static bool parse_whole(const char *name, const char *text, uint64_t min, uint64_t max,
                        uint64_t *ret_value) {
  char *end = NULL;
  errno = 0;
  const unsigned long long value = strtoull(text, &end, 10);
  /* strtoull takes "-1" and leading blanks. */
  if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value < min || value > max) {
    log_usage_error(PROGRAM, "%s: '%.40s' is no whole number from %llu to %llu", name, text,
                    (unsigned long long)min, (unsigned long long)max);
    return false;
  }
  *ret_value = value;
  return true;
}

/* A number of units (of `unit_ns` each) as a duration, up to 100 days. */
static bool parse_duration(const char *name, const char *text, int64_t unit_ns, bool may_be_zero,
                           struct duration *ret_value) {
  const double max = 8640000.0 * (double)NS_PER_S / (double)unit_ns;
  char *end = NULL;
  const double value = strtod(text, &end);
  const bool is_number = end != text && *end == '\0' && isfinite(value);
  if (!is_number || value < 0 || value > max || (value == 0 && !may_be_zero)) {
    log_usage_error(PROGRAM, "%s: '%.40s' is no number %s 0 and at most %.0f", name, text,
                    may_be_zero ? "from" : "above", max);
    return false;
  }
  *ret_value = duration_ns((int64_t)(value * (double)unit_ns));
  return true;
}

enum {
  OPTION_SEED = 256,
  OPTION_DURATION,
  OPTION_MODEL_DIR,
  OPTION_FUNCTIONS,
  OPTION_CONNECT_TIMEOUT,
  OPTION_SLO_MS,
  OPTION_OUTPUTS,
  OPTION_CHECK_OUTPUTS,
};

static const struct option LONG_OPTIONS[] = {
    {"seed", required_argument, NULL, OPTION_SEED},
    {"duration", required_argument, NULL, OPTION_DURATION},
    {"model-dir", required_argument, NULL, OPTION_MODEL_DIR},
    {"functions", required_argument, NULL, OPTION_FUNCTIONS},
    {"connect-timeout", required_argument, NULL, OPTION_CONNECT_TIMEOUT},
    {"slo-ms", required_argument, NULL, OPTION_SLO_MS},
    {"outputs", no_argument, NULL, OPTION_OUTPUTS},
    {"check-outputs", no_argument, NULL, OPTION_CHECK_OUTPUTS},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static bool apply_option(int option, const char *text, struct client_options *options,
                         uint64_t *seed) {
  uint64_t value = 0;
  switch (option) {
  case OPTION_SEED:
    return parse_whole("--seed", text, 0, UINT64_MAX, seed);
  case OPTION_DURATION:
    return parse_duration("--duration", text, NS_PER_S, false, &options->duration);
  case OPTION_MODEL_DIR:
    options->model_dir = text;
    return true;
  case OPTION_FUNCTIONS:
    if (!parse_whole("--functions", text, 1, TRACE_FUNCTIONS_MAX, &value)) {
      return false;
    }
    options->synthetic_functions = (uint32_t)value;
    return true;
  case OPTION_CONNECT_TIMEOUT:
    return parse_duration("--connect-timeout", text, NS_PER_S, true, &options->connect_timeout);
  case OPTION_SLO_MS:
    return parse_duration("--slo-ms", text, NS_PER_MS, false, &options->slo);
  case OPTION_CHECK_OUTPUTS:
    options->checks_outputs = true;
    options->wants_outputs = true;
    return true;
  default: /* OPTION_OUTPUTS */
    options->wants_outputs = true;
    return true;
  }
}

/* A variable that is set to nothing counts as not set. */
static const char *environment(const char *name) {
  const char *value = getenv(name);
  return value == NULL || value[0] == '\0' ? NULL : value;
}

static bool read_environment(struct client_options *options) {
  const char *disable_inputs = environment("CLOCKWORK_DISABLE_INPUTS");
  options->sends_inputs = disable_inputs == NULL || strcmp(disable_inputs, "0") == 0;
  if (!options->sends_inputs && strcmp(disable_inputs, "1") != 0) {
    log_usage_error(PROGRAM, "CLOCKWORK_DISABLE_INPUTS: '%.40s' is neither 0 nor 1",
                    disable_inputs);
    return false;
  }
  options->model_dir = environment("CLOCKWORK_MODEL_DIR");
  options->trace_dir = environment("AZURE_TRACE_DIR");
  return true;
}

/* True if the address can be used; else *ret_exit_code is set. */
static bool parse_address(const char *text, struct client_options *options, int *ret_exit_code) {
  struct error_text error;
  const enum err err = address_parse(text, CLIENT_CONTROLLER_PORT, &options->controller, &error);
  if (err != ERR_OK) {
    log_usage_error(PROGRAM, "%s", error.text);
    /* A name that nobody knows today is well formed. */
    *ret_exit_code = err == ERR_NOT_FOUND ? CLIENT_EXIT_FAILED : CLIENT_EXIT_USAGE;
    return false;
  }
  if (options->controller.port == 0) {
    log_usage_error(PROGRAM, "address \"%.100s\": port 0 can't be connected to", text);
    return false;
  }
  return true;
}

static bool parse_positional(int count, char *const *words, struct client_options *options,
                             int *ret_exit_code) {
  if (count < 2) {
    log_usage_error(PROGRAM, "the controller's address and a workload are needed, e.g. client "
                             "127.0.0.1:12346 azure 8; see client -h");
    return false;
  }
  struct workload_fault fault;
  const struct workload_kind *kind = workload_find(words[1], &fault);
  if (kind == NULL || workload_parse(kind, (const char *const *)words + 2, (uint32_t)count - 2,
                                     &options->workload, &fault) != ERR_OK) {
    log_usage_error(PROGRAM, "%s; see client -h", fault.text);
    return false;
  }
  /* Last, because it may ask the network. */
  return parse_address(words[0], options, ret_exit_code);
}

enum options_outcome options_parse(int argc, char *const *argv, struct client_options *ret_options,
                                   int *ret_exit_code) {
  struct client_options options = {.duration = duration_ns(INT64_MAX),
                                   .connect_timeout = duration_s(CLIENT_CONNECT_TIMEOUT_S),
                                   .slo = duration_ms(CLIENT_SLO_MS),
                                   .synthetic_functions = SYNTHETIC_DAY_FUNCTIONS};
  uint64_t seed = WORKLOAD_SEED;
  *ret_exit_code = CLIENT_EXIT_USAGE;
  const bool has_environment = read_environment(&options);
  opterr = 0;
  optind = 0; /* glibc: start afresh, also for the order of words */
  int option = 0;
  while ((option = arguments_next(argc, argv, ":h", LONG_OPTIONS)) != -1) {
    if (option == 'h') {
      print_help();
      *ret_exit_code = CLIENT_EXIT_OK;
      return OPTIONS_EXIT;
    }
    if (option == '?' || option == ':') {
      log_usage_error(PROGRAM, "'%.60s': %s; see client -h", argv[optind - 1],
                      option == ':' ? "needs a value" : "unknown option");
      return OPTIONS_EXIT;
    }
    if (!apply_option(option, optarg, &options, &seed)) {
      return OPTIONS_EXIT;
    }
  }
  if (!has_environment ||
      !parse_positional(argc - optind, argv + optind, &options, ret_exit_code)) {
    return OPTIONS_EXIT;
  }
  options.workload.seed = seed;
  if (options.checks_outputs && !options.sends_inputs) {
    log_usage_error(PROGRAM, "--check-outputs needs inputs of our own: unset "
                             "CLOCKWORK_DISABLE_INPUTS");
    return OPTIONS_EXIT;
  }
  *ret_options = options;
  return OPTIONS_RUN;
}
