/* plan: how many GPUs a workload needs. Flags in, a number out; the search is in plan.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/clock.h"
#include "os/log.h"
#include "simulator/inputs.h"
#include "simulator/plan.h"
#include "simulator/plan_options.h"

static const char PROGRAM[] = "plan";

enum { CURVE_POINTS = 12 };

struct run {
  struct plan_options options;
  struct profile profile;
  struct day day;
  int64_t *best_ns; /* by model index */
  struct busy_window window;
  FILE *csv; /* NULL: none is written */
  struct instant started;
};

static const char *const STAGES[] = {
    [PLAN_SEARCH] = "search", [PLAN_VERIFY] = "verify", [PLAN_CURVE] = "curve"};

/* Of those that were answered. */
static double share_percent(const struct plan_trial *trial) {
  return trial->answered == 0
             ? 0
             : 100.0 * (double)(trial->answered - trial->missed) / (double)trial->answered;
}

static void on_trial(void *self, const struct plan_trial *trial) {
  const struct run *run = self;
  if (!run->options.simulate.is_quiet) {
    fprintf(stderr, "%s: %s: %" PRIu32 " GPUs: %.4f %% of %" PRIu64 " requests%s\n", PROGRAM,
            STAGES[trial->stage], trial->gpus, share_percent(trial), trial->answered,
            trial->is_whole    ? trial->is_enough ? ": enough" : ": too few"
            : trial->is_enough ? ""
                               : ", ended there: too few");
  }
  if (run->csv != NULL) {
    fprintf(run->csv, "%s,%" PRIu32 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%d,%d,%.6f\n",
            STAGES[trial->stage], trial->gpus, trial->requests, trial->answered, trial->missed,
            trial->is_whole, trial->is_enough, share_percent(trial));
  }
}

static int fail(enum err error, const char *field, const struct error_text *text) {
  const bool is_usage = error != ERR_NO_MEMORY && error != ERR_IO;
  log_usage_error(PROGRAM, "%s%s", field, text->text);
  return is_usage ? SIMULATE_EXIT_USAGE : SIMULATE_EXIT_FAILED;
}

static int open_inputs(struct run *run) {
  struct options *options = &run->options.simulate;
  struct simulation_config *config = &options->simulation;
  struct error_text error;
  uint32_t trace_id = 0;
  enum err code = profile_open(&run->profile, options->profile, &error);
  if (code != ERR_OK) {
    return fail(code, "--profile: ", &error);
  }
  config->profile = run->profile.specs;
  config->profile_count = run->profile.count;
  if (workload_needs_trace(&config->workload, &trace_id)) {
    code = day_open(&run->day, options->trace_dir, trace_id, options->functions, &error);
    if (code != ERR_OK) {
      return fail(code, "", &error);
    }
    config->workload.trace = run->day.trace;
  }
  if (run->options.csv != NULL) {
    run->csv = fopen(run->options.csv, "we");
    if (run->csv == NULL) {
      error_text_set(&error, "%.200s: can't be written: %s", run->options.csv, strerror(errno));
      return fail(ERR_NOT_FOUND, "--csv: ", &error);
    }
    fprintf(run->csv, "stage,gpus,requests,answered,missed,is_whole,is_enough,share_percent\n");
  }
  return SIMULATE_EXIT_OK;
}

/* What a simulation of one GPU says of the models, without running it. */
static int learn_models(struct run *run) {
  const struct options *options = &run->options.simulate;
  const struct telemetry_sink sink = {.self = NULL};
  struct simulation_config config = options->simulation;
  struct simulation *simulation = NULL;
  struct error_text error;
  config.workers_count = 1;
  config.gpus_per_worker = 1;
  const enum err code = simulation_create(&config, &sink, &simulation, &error);
  if (code != ERR_OK) {
    return fail(code, code == ERR_NOT_FOUND ? "--profile: " : "", &error);
  }
  const uint32_t count = simulation_models_count(simulation);
  run->best_ns = calloc(count, sizeof(*run->best_ns));
  for (uint32_t i = 0; i < count && run->best_ns != NULL; i++) {
    run->best_ns[i] = simulation_best_ns(simulation_model(simulation, i), &config.scheduler);
  }
  simulation_destroy(simulation);
  if (run->best_ns == NULL) {
    log_usage_error(PROGRAM, "out of memory");
    return SIMULATE_EXIT_FAILED;
  }
  return SIMULATE_EXIT_OK;
}

static int find_window(struct run *run) {
  const struct plan_options *options = &run->options;
  const struct busy_window_config config = {.workload = &options->simulate.simulation.workload,
                                            .best_ns = run->best_ns,
                                            .horizon = options->simulate.simulation.duration,
                                            .length = options->window,
                                            .leadin = options->leadin};
  switch ((int)busy_window_find(&config, &run->window)) {
  case ERR_OK:
    return SIMULATE_EXIT_OK;
  case ERR_UNSUPPORTED:
    log_usage_error(PROGRAM,
                    "--workload: its clients wait for answers, so it asks as fast as it is served; "
                    "give one that does not, as azure");
    return SIMULATE_EXIT_USAGE;
  case ERR_NOT_FOUND:
    log_usage_error(PROGRAM, "--workload: sends no request in this time; raise --hours");
    return SIMULATE_EXIT_USAGE;
  default:
    log_usage_error(PROGRAM, "out of memory");
    return SIMULATE_EXIT_FAILED;
  }
}

static void print_answer(const struct run *run, const struct plan_trial *search,
                         const struct plan_trial *verify) {
  const struct plan_options *options = &run->options;
  const struct busy_window *window = &run->window;
  const double begin_s = (double)window->begin.ns / 1e9 + (double)options->leadin.ns / 1e9;
  printf("workload: %s\n", options->simulate.workload_text);
  printf("policy: %s\n", options->simulate.policy);
  printf("seed: %" PRIu64 "\n", options->simulate.simulation.seed);
  printf("default_slo_ms: %.3f\n",
         (double)options->simulate.simulation.scheduler.default_slo.ns / 1e6);
  printf("target_percent: %.6g\n", options->target * 100);
  printf("searched_s: %.0f\n", (double)options->simulate.simulation.duration.ns / 1e9);
  printf("busiest_begin_s: %.0f\n", begin_s);
  printf("busiest_length_s: %.0f\n", (double)options->window.ns / 1e9);
  printf("busiest_rps: %.1f\n", (double)window->requests / ((double)options->window.ns / 1e9));
  printf("busiest_best_batch_gpus: %.2f\n", window->gpus);
  printf("gpus: %" PRIu32 "\n", verify->gpus);
  printf("gpus_of_busiest: %" PRIu32 "\n", search->gpus);
  printf("busiest_slo_met_percent: %.4f\n", share_percent(search));
  printf("verified_s: %.0f\n", (double)options->verify.ns / 1e9);
  printf("verified_requests: %" PRIu64 "\n", verify->requests);
  printf("verified_slo_met_percent: %.4f\n", share_percent(verify));
  printf("real_s: %.1f\n", (double)instant_since(os_now(), run->started).ns / 1e9);
}

static int search(struct run *run) {
  const struct plan_options *options = &run->options;
  const struct plan plan = {.config = {.simulation = &options->simulate.simulation,
                                       .target = options->target,
                                       .gpus_max = options->gpus_max,
                                       .leadin = options->leadin,
                                       .length = options->window,
                                       .verify = options->verify},
                            .window = &run->window,
                            .on_trial = on_trial,
                            .self = run};
  struct plan_trial found;
  struct plan_trial verified;
  struct error_text error;
  bool is_unreachable = false;
  enum err code = plan_find(&plan, &found, &verified, &is_unreachable, &error);
  if (is_unreachable) {
    log_usage_error(PROGRAM,
                    "%" PRIu32 " GPUs (--most) are not enough: %.4f %% of the first %" PRIu64
                    " requests met their SLO; raise --most or --slo-ms, or lower --target",
                    options->gpus_max, share_percent(&found), found.answered);
    return SIMULATE_EXIT_FAILED;
  }
  if (code == ERR_OK && run->csv != NULL) {
    code = plan_curve(&plan, verified.gpus, CURVE_POINTS, &error);
  }
  if (code != ERR_OK) {
    return fail(code, "", &error);
  }
  print_answer(run, &found, &verified);
  return SIMULATE_EXIT_OK;
}

static int close_csv(struct run *run, int code) {
  if (run->csv != NULL && fclose(run->csv) != 0 && code == SIMULATE_EXIT_OK) {
    log_usage_error(PROGRAM, "--csv: %.200s: can't be written", run->options.csv);
    return SIMULATE_EXIT_FAILED;
  }
  return code;
}

int main(int argc, char **argv) {
  int code = SIMULATE_EXIT_OK;
  struct run *run = calloc(1, sizeof(*run));
  if (run == NULL) {
    log_usage_error(PROGRAM, "out of memory");
    return SIMULATE_EXIT_FAILED;
  }
  run->started = os_now();
  if (plan_options_parse(argc, argv, &run->options, &code) == OPTIONS_RUN) {
    code = open_inputs(run);
    code = code == SIMULATE_EXIT_OK ? learn_models(run) : code;
    code = code == SIMULATE_EXIT_OK ? find_window(run) : code;
    code = code == SIMULATE_EXIT_OK ? search(run) : code;
    code = close_csv(run, code);
    busy_window_finish(&run->window);
    day_close(&run->day);
    profile_close(&run->profile);
    free(run->best_ns);
  }
  free(run);
  return code;
}
