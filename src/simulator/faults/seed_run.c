#include "simulator/faults/seed_run.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "scheduler/policy.h"
#include "simulator/faults/check_books.h"
#include "simulator/faults/inject.h"
#include "simulator/faults/watch.h"

enum {
  TICK_MS = 250,
  WORDS_MAX = WORKLOAD_PARAMETERS_MAX + 2,
  /* After the workload, for what is under way; a policy without deadlines works off its queue. */
  DRAIN_S = 4,
  DRAIN_LATE_S = 60,
  EVENTS_AT_ONCE = 1 << 20,
};

struct seed_run {
  const struct fault_plan *plan;
  const struct policy *policy;
  char words[PLAN_WORKLOAD_BYTES];
  struct simulation_config config;
  struct observer observer;
  struct simulation *simulation;
  struct inject inject;
  struct watch watch;
  struct event tick;
  uint32_t *weights_pages; /* by model */
  bool is_done;
};

static struct controller_node *controller_of(const struct seed_run *run) {
  return simulation_controller(run->simulation);
}

/* ---- while it runs --------------------------------------------------------------------------- */

/* Walk through everything: the production code's own guarantees. */
static void validate(struct seed_run *run) {
  if (controller_of(run)->is_running) {
    scheduler_validate(controller_of(run)->scheduler);
  }
  for (uint32_t i = 0; i < run->plan->workers; i++) {
    const struct worker_node *worker = simulation_worker(run->simulation, i);
    if (worker->is_running) {
      executor_validate(worker->executor);
    }
  }
}

static bool is_over(const struct seed_run *run, struct instant now) {
  const struct instant stop = instant_add(simulation_start(run->simulation), run->config.duration);
  const struct instant drained = instant_add(stop, duration_s(DRAIN_S));
  const struct instant late = instant_add(stop, duration_s(DRAIN_LATE_S));
  return instant_after(now, late) ||
         (instant_after(now, drained) &&
          (run->policy->keeps_deadlines || check_answers_is_idle(run->watch.answers)));
}

static struct instant on_tick(void *self, struct instant now) {
  struct seed_run *run = self;
  const uint32_t process = controller_of(run)->runs_count;
  validate(run);
  if (controller_of(run)->is_running) {
    check_answers_on_tick(run->watch.answers, now, process);
  }
  for (uint32_t i = 0; i < run->plan->workers; i++) {
    const struct worker_node *worker = simulation_worker(run->simulation, i);
    if (worker->is_running) {
      check_results_on_tick(run->watch.results, now, i);
      check_losses_on_worker_tick(run->watch.losses, now, worker);
    }
    if (controller_of(run)->is_running) {
      check_losses_on_scheduler_tick(run->watch.losses, now, controller_of(run)->scheduler, i);
    }
  }
  run->is_done = is_over(run, now);
  simulation_events(run->simulation)->is_over = run->is_done || run->watch.findings.count > 0;
  return instant_add(now, duration_ms(TICK_MS));
}

static void check_end(struct seed_run *run) {
  const struct instant now = simulation_events(run->simulation)->now;
  check_answers_at_end(run->watch.answers, now, controller_of(run)->runs_count);
  for (uint32_t i = 0; i < run->plan->workers; i++) {
    check_results_at_end(run->watch.results, now, i);
    check_books_at_end(&run->watch.findings, now, controller_of(run)->scheduler,
                       simulation_worker(run->simulation, i),
                       simulation_models_count(run->simulation));
  }
  if (run->policy->keeps_deadlines && run->plan->is_steady) {
    check_goodput_at_end(&run->watch.goodput, now, run->plan->is_open_loop);
  }
}

/* ---- the beginning --------------------------------------------------------------------------- */

static enum err parse_workload(struct seed_run *run, struct error_text *ret_error) {
  const char *words[WORDS_MAX];
  uint32_t count = 0;
  char *rest = run->words;
  memcpy(run->words, run->plan->workload, sizeof(run->words));
  for (char *word = NULL; count < WORDS_MAX && (word = strtok_r(rest, " ", &rest)) != NULL;) {
    words[count++] = word;
  }
  struct workload_fault fault;
  const struct workload_kind *kind = count == 0 ? NULL : workload_find(words[0], &fault);
  if (kind == NULL ||
      workload_parse(kind, words + 1, count - 1, &run->config.workload, &fault) != ERR_OK) {
    error_text_set(ret_error, "workload '%.100s': %.150s", run->plan->workload, fault.text);
    return ERR_MALFORMED;
  }
  return ERR_OK;
}

static enum err configure(struct seed_run *run, const struct seed_inputs *inputs,
                          struct error_text *ret_error) {
  const struct fault_plan *plan = run->plan;
  run->config = (struct simulation_config){.duration = duration_s(PLAN_LENGTH_S),
                                           .workers_count = plan->workers,
                                           .gpus_per_worker = plan->gpus,
                                           .pages = plan->pages,
                                           .profile = inputs->profile->specs,
                                           .profile_count = inputs->profile->count,
                                           .seed = plan->seed,
                                           .execute_jitter_ppm = plan->execute_jitter_ppm,
                                           .transfer_jitter_ppm = 2000,
                                           .latency = plan->latency,
                                           .jitter = plan->jitter,
                                           .ps_per_byte = 800,
                                           .skew = plan->skew,
                                           .drift_ppb = plan->drift_ppb,
                                           .can_fail = true,
                                           .observer = &run->observer};
  scheduler_config_defaults(&run->config.scheduler);
  run->config.scheduler.policy = plan->policy;
  run->config.scheduler.limits.requests = plan->requests_max;
  const enum err error = parse_workload(run, ret_error);
  run->config.workload.seed = plan->seed;
  run->config.workload.trace = inputs->day->trace;
  return error;
}

static const char *model_name(const void *self, uint32_t model_id) {
  const struct seed_run *run = self;
  uint32_t count = 0;
  const struct workload_model *models =
      workload_models(simulation_client(run->simulation)->workload, &count);
  for (uint32_t i = 0; i < count; i++) {
    if (model_id - models[i].first_index < models[i].copies) {
      return models[i].name;
    }
  }
  return "?";
}

static enum err watch_init(struct seed_run *run, const char *timeline_path,
                           struct error_text *ret_error) {
  const struct fault_plan *plan = run->plan;
  const uint32_t models = simulation_models_count(run->simulation);
  const struct controller_node *controller = controller_of(run);
  const struct worker_node *worker = simulation_worker(run->simulation, 0);
  const int64_t wall_offset_ns = controller->config.scheduler->wall_offset_ns;
  struct watch *watch = &run->watch;
  run->weights_pages = calloc(models, sizeof(*run->weights_pages));
  if (run->weights_pages == NULL) {
    return ERR_NO_MEMORY;
  }
  for (uint32_t i = 0; i < models; i++) {
    run->weights_pages[i] = simulation_model(run->simulation, i)->weights_pages;
  }
  watch->now = &simulation_events(run->simulation)->now;
  watch->findings.is_over = &simulation_events(run->simulation)->is_over;
  watch->answers =
      check_answers_create(&watch->findings, simulation_client(run->simulation)->calls.capacity,
                           controller->requests.capacity,
                           controller->config.scheduler->limits.gpus * SCHEDULER_ACTIONS_PER_GPU,
                           run->policy->keeps_deadlines, strcmp(plan->policy, "echo") != 0);
  watch->windows =
      check_windows_create(&watch->findings, plan->workers, worker->config.actions_max);
  watch->results =
      check_results_create(&watch->findings, plan->workers, worker->config.actions_max);
  watch->losses = check_losses_create(&watch->findings, plan->workers, plan->gpus);
  watch->pages = check_pages_create(&watch->findings, plan->workers, plan->gpus, plan->pages,
                                    models, run->weights_pages);
  watch->predictions = check_predictions_create(&watch->findings, plan->workers, plan->gpus, models,
                                                plan->execute_jitter_ppm, wall_offset_ns);
  if (watch->answers == NULL || watch->windows == NULL || watch->results == NULL ||
      watch->losses == NULL || watch->pages == NULL || watch->predictions == NULL) {
    return ERR_NO_MEMORY;
  }
  const struct duration last_end = plan_last_end(plan);
  check_goodput_init(&watch->goodput, &watch->findings,
                     simulation_start(run->simulation).ns + wall_offset_ns,
                     duration_max(last_end, duration_s(PLAN_WARM_S + PLAN_LEVEL_S)));
  if (timeline_path != NULL) {
    watch->timeline = timeline_create(timeline_path, plan, simulation_start(run->simulation),
                                      model_name, run, ret_error);
    return watch->timeline == NULL ? ERR_IO : ERR_OK;
  }
  return ERR_OK;
}

static enum err begin(struct seed_run *run, const struct seed_inputs *inputs,
                      const char *timeline_path, struct error_text *ret_error) {
  error_text_set(ret_error, "out of memory");
  enum err error = configure(run, inputs, ret_error);
  if (error != ERR_OK) {
    return error;
  }
  const struct telemetry_sink sink = {.self = &run->watch,
                                      .on_request = watch_on_request_telemetry,
                                      .on_action = watch_on_action_telemetry};
  run->observer = watch_observer;
  run->observer.self = &run->watch;
  error = simulation_create(&run->config, &sink, &run->simulation, ret_error);
  if (error == ERR_OK) {
    error = watch_init(run, timeline_path, ret_error);
  }
  if (error != ERR_OK) {
    return error;
  }
  inject_init(&run->inject, run->simulation, run->plan, inputs->profile->specs[0].clock_mhz,
              watch_on_fault, &run->watch);
  event_init(&run->tick, simulation_events(run->simulation), on_tick, run);
  event_set(&run->tick, simulation_start(run->simulation));
  return ERR_OK;
}

static bool finish(struct seed_run *run) {
  struct watch *watch = &run->watch;
  const bool is_written = timeline_destroy(watch->timeline);
  check_answers_destroy(watch->answers);
  check_windows_destroy(watch->windows);
  check_results_destroy(watch->results);
  check_losses_destroy(watch->losses);
  check_pages_destroy(watch->pages);
  check_predictions_destroy(watch->predictions);
  simulation_destroy(run->simulation);
  free(run->weights_pages);
  return is_written;
}

enum err seed_run(const struct fault_plan *plan, const struct seed_inputs *inputs,
                  const char *timeline_path, struct seed_outcome *ret_outcome,
                  struct error_text *ret_error) {
  struct seed_run run = {.plan = plan, .policy = policy_find(plan->policy)};
  CHECK(run.policy != NULL);
  enum err error = begin(&run, inputs, timeline_path, ret_error);
  if (error == ERR_OK) {
    while (!run.is_done && run.watch.findings.count == 0) {
      simulation_events(run.simulation)->is_over = false;
      simulation_run(run.simulation, EVENTS_AT_ONCE);
    }
    if (run.watch.findings.count == 0) {
      check_end(&run);
    }
    if (run.watch.timeline != NULL && run.watch.findings.count > 0) {
      timeline_on_finding(run.watch.timeline, run.watch.findings.at, run.watch.findings.checker,
                          run.watch.findings.text);
    }
    struct simulation_counts counts;
    simulation_counts(run.simulation, &counts);
    *ret_outcome =
        (struct seed_outcome){.findings = run.watch.findings,
                              .trace_hash = counts.trace_hash,
                              .requests = counts.requests_sent,
                              .succeeded = counts.scheduler.answers_by_result[REQUEST_SUCCESS],
                              .infers = counts.scheduler.infers};
    /* Since the workload began, as faults are told. */
    ret_outcome->findings.at =
        (struct instant){instant_since(run.watch.findings.at, simulation_start(run.simulation)).ns};
  }
  if (!finish(&run) && error == ERR_OK) {
    error_text_set(ret_error, "%.200s: could not be written", timeline_path);
    error = ERR_IO;
  }
  return error;
}
