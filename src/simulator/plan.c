#include "simulator/plan.h"

#include <math.h>

#include "base/check.h"

/* Between two looks at what was missed. */
enum { EVENTS_AT_ONCE = 1 << 12 };

/* What telemetry says of the stretch. */
struct watch {
  int64_t begin_ns; /* on telemetry's clock: the lead-in ends */
  uint64_t answered;
  uint64_t missed;
};

static void on_request(void *self, const struct telemetry_request *row) {
  struct watch *watch = self;
  if (row->t >= watch->begin_ns) {
    watch->answered++;
    watch->missed += !row->deadline_met;
  }
}

uint64_t plan_allowed(double target, uint64_t requests) {
  /* 1 - 0.9999 is a little more than 0.0001. */
  return (uint64_t)floor((1 - target) * (double)requests + 1e-6);
}

static struct duration length_of(const struct plan *plan, enum plan_stage stage) {
  return stage == PLAN_VERIFY ? plan->config.verify : plan->config.length;
}

static uint64_t requests_of(const struct plan *plan, enum plan_stage stage) {
  return stage == PLAN_VERIFY
             ? busy_window_count(plan->window, plan->config.leadin, plan->config.verify)
             : plan->window->requests;
}

static struct simulation_config simulation_of(const struct plan *plan, enum plan_stage stage,
                                              uint32_t gpus) {
  const struct duration length = length_of(plan, stage);
  struct simulation_config config = *plan->config.simulation;
  config.workers_count = (gpus + config.gpus_per_worker - 1) / config.gpus_per_worker;
  config.scheduler.max_gpus = gpus;
  config.begun = plan->window->workload;
  config.begun_at = plan->window->begin;
  config.duration = duration_add(plan->config.leadin, length);
  return config;
}

enum err plan_try(const struct plan *plan, enum plan_stage stage, uint32_t gpus, bool ends_early,
                  struct plan_trial *ret_trial, struct error_text *ret_error) {
  CHECK_GT(gpus, 0);
  struct plan_trial trial = {
      .stage = stage, .gpus = gpus, .requests = requests_of(plan, stage), .is_whole = true};
  const uint64_t allowed = plan_allowed(plan->config.target, trial.requests);
  const struct simulation_config config = simulation_of(plan, stage, gpus);
  struct watch watch = {.begin_ns = SIMULATION_EPOCH_S * NS_PER_S + plan->config.leadin.ns};
  const struct telemetry_sink sink = {.self = &watch, .on_request = on_request};
  struct simulation *simulation = NULL;
  busy_window_rewind(plan->window);
  const enum err error = simulation_create(&config, &sink, &simulation, ret_error);
  if (error != ERR_OK) {
    return error;
  }
  while (trial.is_whole && simulation_run(simulation, EVENTS_AT_ONCE)) {
    trial.is_whole = !ends_early || watch.missed <= allowed;
  }
  simulation_destroy(simulation);
  trial.answered = watch.answered;
  trial.missed = watch.missed;
  trial.is_enough = trial.is_whole && watch.missed <= allowed;
  if (plan->on_trial != NULL) {
    plan->on_trial(plan->self, &trial);
  }
  *ret_trial = trial;
  return ERR_OK;
}

/* Fewer could not serve the target if every batch were the best one. */
static uint32_t least_gpus(const struct plan *plan) {
  const double least = ceil(plan->window->gpus * plan->config.target);
  return least < 1 ? 1 : least > plan->config.gpus_max ? plan->config.gpus_max : (uint32_t)least;
}

/* The smallest that is enough for the stretch; ret_search->is_enough is false if none is. */
static enum err search(const struct plan *plan, struct plan_trial *ret_search,
                       struct error_text *ret_error) {
  uint32_t gpus = least_gpus(plan);
  uint32_t too_few = gpus - 1;
  struct plan_trial trial;
  enum err error = ERR_OK;
  while ((error = plan_try(plan, PLAN_SEARCH, gpus, true, &trial, ret_error)) == ERR_OK &&
         !trial.is_enough && gpus < plan->config.gpus_max) {
    too_few = gpus;
    gpus = gpus > plan->config.gpus_max / 2 ? plan->config.gpus_max : gpus * 2;
  }
  *ret_search = trial;
  while (error == ERR_OK && ret_search->is_enough && gpus - too_few > 1) {
    const uint32_t middle = too_few + (gpus - too_few) / 2;
    error = plan_try(plan, PLAN_SEARCH, middle, true, &trial, ret_error);
    if (error == ERR_OK && trial.is_enough) {
      *ret_search = trial;
      gpus = middle;
    } else {
      too_few = middle;
    }
  }
  return error;
}

enum err plan_find(const struct plan *plan, struct plan_trial *ret_search,
                   struct plan_trial *ret_verify, bool *ret_is_unreachable,
                   struct error_text *ret_error) {
  *ret_is_unreachable = false;
  enum err error = search(plan, ret_search, ret_error);
  if (error != ERR_OK) {
    return error;
  }
  uint32_t gpus = ret_search->gpus;
  bool is_found = false;
  while (ret_search->is_enough && !is_found && gpus <= plan->config.gpus_max) {
    error = plan_try(plan, PLAN_VERIFY, gpus, true, ret_verify, ret_error);
    if (error != ERR_OK) {
      return error;
    }
    is_found = ret_verify->is_enough;
    gpus += is_found ? 0 : 1 + gpus / 100;
  }
  *ret_is_unreachable = !is_found;
  return is_found ? ERR_OK : ERR_NOT_FOUND;
}

enum err plan_curve(const struct plan *plan, uint32_t gpus, uint32_t points,
                    struct error_text *ret_error) {
  /* From where the GPUs could just carry all, were every batch the best one, to a quarter more than
   * are enough. */
  const uint32_t first = least_gpus(plan) < gpus ? least_gpus(plan) : gpus;
  uint32_t last = gpus + (gpus + 3) / 4;
  last = last < plan->config.gpus_max ? last : plan->config.gpus_max;
  const uint32_t step = (last - first) / points + 1;
  enum err error = ERR_OK;
  for (uint32_t at = first; at <= last && error == ERR_OK; at += step) {
    struct plan_trial trial;
    error = plan_try(plan, PLAN_CURVE, at, false, &trial, ret_error);
  }
  return error;
}
