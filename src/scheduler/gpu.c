/* When will a GPU be free? The chain of what it was given, kept straight by every result. */
#include "base/check.h"
#include "scheduler/state.h"

/* Lags are smoothed over about this many samples: quick to follow a busy host, slow enough that one
 * late wake-up does not shift the next ten predictions. */
enum { LAG_SMOOTHING = 8 };

/* What an action takes to reach an idle GPU of a worker that nothing is known of yet. */
static const int64_t FIRST_LAG_NS = 200 * NS_PER_US;

void gpu_init(struct gpu *gpu, struct instant now) {
  list_init(&gpu->residencies);
  list_init(&gpu->infers);
  list_init(&gpu->loads);
  list_init(&gpu->evicts);
  gpu->free_at = now;
  gpu->last_end = now;
  gpu->load_free_at = now;
  gpu->load_pause_until = now;
  gpu->start_lag = duration_ns(FIRST_LAG_NS);
  gpu->gap = DURATION_ZERO;
}

static const struct action *first_of(const struct list *actions) {
  const struct list *first = list_first(actions);
  return first == NULL ? NULL : LIST_ENTRY(first, const struct action, of_gpu);
}

/* Predict anew when each of `actions` is done if the first can begin at `at`; returns when one more
 * could begin. None begins before it has reached the worker. */
static struct instant chain(const struct gpu *gpu, struct list *actions, struct instant at,
                            struct duration gap) {
  for (struct list *node = actions->next; node != actions; node = node->next) {
    struct action *action = LIST_ENTRY(node, struct action, of_gpu);
    const struct instant begin = instant_max(at, instant_add(action->sent, gpu->start_lag));
    action->due = instant_add(begin, action->expected);
    at = instant_add(action->due, gap);
  }
  return at;
}

struct instant gpu_free_at(const struct gpu *gpu, struct instant now) {
  const struct action *running = first_of(&gpu->infers);
  /* A result takes a while to come back: only beyond that is the execution known to be late. */
  if (running == NULL ||
      !instant_before(instant_add(running->due, SCHEDULER_NETWORK_ALLOWANCE), now)) {
    return gpu->free_at;
  }
  return instant_add(gpu->free_at, instant_since(now, running->due));
}

struct instant gpu_predicted_start(const struct gpu *gpu, struct instant now) {
  return instant_max(instant_add(now, gpu->start_lag), gpu_free_at(gpu, now));
}

struct instant gpu_guaranteed_start(const struct gpu *gpu, struct instant now) {
  return instant_max(instant_add(now, SCHEDULER_NETWORK_ALLOWANCE), gpu_predicted_start(gpu, now));
}

static bool is_overdue(const struct action *action, struct instant now) {
  return action != NULL && instant_before(instant_add(action->due, SCHEDULER_LATE_LIMIT), now);
}

bool gpu_is_late(const struct gpu *gpu, struct instant now) {
  return is_overdue(first_of(&gpu->infers), now) || is_overdue(first_of(&gpu->loads), now);
}

void gpu_on_infer_sent(struct gpu *gpu, struct instant now, struct action *action) {
  action->was_idle = gpu->infers_count == 0;
  action->due = instant_add(gpu_predicted_start(gpu, now), action->expected);
  action->expected_end = action->due;
  list_append(&gpu->infers, &action->of_gpu);
  gpu->infers_count++;
  gpu->free_at = instant_add(action->due, gpu->gap);
}

static void smooth(struct duration *mean, int64_t sample_ns) {
  /* Longer ones are not lag but an accident (a stopped host): they must not poison predictions. */
  const int64_t longest_ns = SCHEDULER_LATE_LIMIT.ns;
  if (sample_ns < 0) {
    sample_ns = 0;
  }
  if (sample_ns > longest_ns) {
    sample_ns = longest_ns;
  }
  mean->ns += (sample_ns - mean->ns) / LAG_SMOOTHING;
}

/* When the first of what is left could begin after an action that did not run to its end: one at
 * the head kept the GPU until now, for all we know; one behind it changes nothing. */
static struct instant begin_after_failure(const struct gpu *gpu, struct instant now,
                                          bool was_first) {
  const struct action *running = first_of(&gpu->infers);
  if (was_first || running == NULL) {
    return instant_max(gpu->last_end, now);
  }
  return instant_sub(running->due, running->expected);
}

void gpu_on_infer_done(struct gpu *gpu, struct instant now, struct action *action,
                       const struct scheduler_result *result) {
  const bool was_first = list_first(&gpu->infers) == &action->of_gpu;
  list_remove(&action->of_gpu);
  gpu->infers_count--;
  if (result == NULL || result->status != ACTION_SUCCESS) {
    const struct instant begin = begin_after_failure(gpu, now, was_first);
    gpu->free_at = chain(gpu, &gpu->infers, begin, gpu->gap);
    return;
  }
  if (action->was_idle) {
    smooth(&gpu->start_lag, instant_since(result->begin, action->sent).ns);
  } else if (instant_after(gpu->last_end, instant_add(action->sent, gpu->start_lag))) {
    smooth(&gpu->gap, instant_since(result->begin, gpu->last_end).ns);
  }
  gpu->last_end = result->end;
  gpu->free_at = chain(gpu, &gpu->infers, instant_add(result->end, gpu->gap), gpu->gap);
  gpu->clock_mhz = result->clock_after_mhz;
}

struct instant gpu_predicted_load_start(const struct gpu *gpu, struct instant now) {
  return instant_max(instant_add(now, gpu->start_lag), gpu->load_free_at);
}

void gpu_on_load_sent(struct gpu *gpu, struct instant now, struct action *action) {
  action->due = instant_add(gpu_predicted_load_start(gpu, now), action->expected);
  action->expected_end = action->due;
  list_append(&gpu->loads, &action->of_gpu);
  gpu->loads_count++;
  gpu->load_free_at = action->due;
}

/* A worker whose cache is not as we believe refuses the same LOAD as often as it is asked: pauses
 * of 2 ms, 4 ms, ... 1 s keep that from filling the link with refusals. */
static void on_load_outcome(struct gpu *gpu, struct instant now, enum action_status status) {
  enum { LONGEST_PAUSE_SHIFT = 10 };
  if (status == ACTION_SUCCESS || status == ACTION_WEIGHTS_ALREADY_LOADED) {
    gpu->loads_refused_count = 0;
    return;
  }
  if (gpu->loads_refused_count < LONGEST_PAUSE_SHIFT) {
    gpu->loads_refused_count++;
  }
  gpu->load_pause_until = instant_add(now, duration_ms(INT64_C(1) << gpu->loads_refused_count));
}

void gpu_on_load_done(struct gpu *gpu, struct instant now, struct action *action,
                      const struct scheduler_result *result) {
  list_remove(&action->of_gpu);
  gpu->loads_count--;
  const bool is_success = result != NULL && result->status == ACTION_SUCCESS;
  const struct instant begin = is_success ? result->end : now;
  gpu->load_free_at = chain(gpu, &gpu->loads, begin, DURATION_ZERO);
  if (result != NULL) {
    on_load_outcome(gpu, now, result->status);
  }
}
