#include "simulator/plan_options.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/log.h"

static const char PROGRAM[] = "plan";

struct number {
  const char *name;
  double min;
  double max;
  double value; /* the default, then what was given */
};

enum { TARGET, SLO_MS, MOST, WINDOW, VERIFY, LEADIN, NUMBERS };

static void print_help(void) {
  printf(
      "Usage: plan [options]\n"
      "Finds the smallest number of GPUs with which a workload meets its SLO, by simulation of "
      "its\n"
      "busiest stretch, and prints 'key: value' lines. Defaults in parentheses.\n"
      "  --target PERCENT    of the requests must meet their SLO (99.99)\n"
      "  --slo-ms MS         SLO of requests without a factor of their own (100)\n"
      "  --most N            no more GPUs than this are tried (4096)\n"
      "  --window S          length of the stretch that is looked for (60 seconds)\n"
      "  --verify S          length of the one on which the answer is verified (600 seconds)\n"
      "  --leadin S          simulated before each, not counted (30 seconds)\n"
      "  --csv FILE          also simulate other numbers of GPUs, and write every trial there:\n"
      "                      experiments/plan/plot.py draws it\n"
      "  -h, --help          this text\n"
      "and these of simulate (simulate -h): --workload, --profile, --policy, --hours (how far to\n"
      "look for the busiest stretch; 1), --gpus of a machine (1), --seed, --functions, --pages, "
      "the\n"
      "network's, the noise's and the scheduler's. --workers has no meaning here.\n"
      "Environment: AZURE_TRACE_DIR as for simulate.\n"
      "Exit codes: 0 found; 1 not with that many GPUs, or a file can't be written or memory "
      "lacks;\n"
      "2 usage.\n");
}

static bool parse_number(struct number *number, const char *text) {
  char *end = NULL;
  const double value = strtod(text, &end);
  if (end == text || *end != '\0' || !isfinite(value) || value < number->min ||
      value > number->max) {
    log_usage_error(PROGRAM, "%s: '%.40s' is no number from %.15g to %.15g", number->name, text,
                    number->min, number->max);
    return false;
  }
  number->value = value;
  return true;
}

static struct number *number_named(struct number *numbers, const char *name) {
  for (int i = 0; i < NUMBERS; i++) {
    if (strcmp(numbers[i].name, name) == 0) {
      return &numbers[i];
    }
  }
  return NULL;
}

/* Take out our own options; `ret_rest`, with room for argc + 2, is what simulate's parser gets.
 * Returns how many those are, or -1 after a mistake was reported. */
static int take_own(int argc, char *const *argv, struct number *numbers, const char **ret_csv,
                    char **ret_rest) {
  int rest = 0;
  ret_rest[rest++] = argv[0];
  for (int i = 1; i < argc; i++) {
    struct number *number = number_named(numbers, argv[i]);
    const bool is_csv = strcmp(argv[i], "--csv") == 0;
    if (number == NULL && !is_csv) {
      ret_rest[rest++] = argv[i];
      continue;
    }
    if (i + 1 == argc) {
      log_usage_error(PROGRAM, "'%s': needs a value; see plan -h", argv[i]);
      return -1;
    }
    i++;
    if (is_csv) {
      *ret_csv = argv[i];
    } else if (!parse_number(number, argv[i])) {
      return -1;
    }
  }
  ret_rest[rest] = NULL;
  return rest;
}

static struct duration seconds(const struct number *number) {
  return duration_ns((int64_t)llround(number->value * 1e9));
}

static bool finish(struct plan_options *options, const struct number *numbers, bool has_slo) {
  struct simulation_config *simulation = &options->simulate.simulation;
  options->target = numbers[TARGET].value / 100;
  options->gpus_max = (uint32_t)numbers[MOST].value;
  options->window = seconds(&numbers[WINDOW]);
  options->verify = seconds(&numbers[VERIFY]);
  options->leadin = seconds(&numbers[LEADIN]);
  if (has_slo) {
    simulation->scheduler.default_slo = duration_ns((int64_t)llround(numbers[SLO_MS].value * 1e6));
  }
  if (options->leadin.ns > options->window.ns) {
    log_usage_error(PROGRAM, "--leadin: is longer than --window; make it at most that");
    return false;
  }
  if (options->verify.ns < options->window.ns) {
    log_usage_error(PROGRAM, "--verify: is shorter than --window; make it at least that");
    return false;
  }
  if (simulation->duration.ns < options->leadin.ns + options->window.ns) {
    log_usage_error(PROGRAM, "--hours: shorter than --leadin and --window together; raise it");
    return false;
  }
  return true;
}

static bool is_help(const char *text) {
  return strcmp(text, "-h") == 0 || strcmp(text, "--help") == 0;
}

enum options_outcome plan_options_parse(int argc, char *const *argv,
                                        struct plan_options *ret_options, int *ret_exit_code) {
  struct number numbers[NUMBERS] = {
      [TARGET] = {"--target", 0.01, 100, 99.99},         [SLO_MS] = {"--slo-ms", 1e-6, 3600e3, -1},
      [MOST] = {"--most", 1, SIMULATION_GPUS_MAX, 4096}, [WINDOW] = {"--window", 1, 86400, 60},
      [VERIFY] = {"--verify", 1, 7 * 86400, 600},        [LEADIN] = {"--leadin", 0, 86400, 30}};
  *ret_exit_code = SIMULATE_EXIT_USAGE;
  for (int i = 1; i < argc; i++) {
    if (is_help(argv[i])) {
      print_help();
      *ret_exit_code = SIMULATE_EXIT_OK;
      return OPTIONS_EXIT;
    }
  }
  char **rest = calloc((size_t)argc + 3, sizeof(*rest));
  if (rest == NULL) {
    log_usage_error(PROGRAM, "out of memory");
    return OPTIONS_EXIT;
  }
  ret_options->csv = NULL;
  const int count = take_own(argc, argv, numbers, &ret_options->csv, rest);
  enum options_outcome outcome = OPTIONS_EXIT;
  if (count > 0) {
    outcome = options_parse(PROGRAM, duration_s(3600), count, rest, &ret_options->simulate,
                            ret_exit_code);
  }
  free(rest);
  if (outcome == OPTIONS_RUN && !finish(ret_options, numbers, numbers[SLO_MS].value > 0)) {
    *ret_exit_code = SIMULATE_EXIT_USAGE;
    return OPTIONS_EXIT;
  }
  return outcome;
}
