/* When will a GPU be free? The chain of what it was given, kept straight by every result. */
#include "base/check.h"
#include "scheduler/state.h"

/* Lags are smoothed over about this many samples: quick to follow a busy host, slow enough that one
 * late wake-up does not shift the next ten predictions. */
enum { LAG_SMOOTHING = 8 };

/* What an action takes to reach an idle GPU of a worker that nothing is known of yet. */
static const int64_t FIRST_LAG_NS = 200 * NS_PER_US;

/* LOADs against their profiles: a mean over some 16 of them, to which one that met a stall adds no
 * more than if it had been a tenth longer than it. Where the mean is within a hundredth of what
 * profiles say, they are as good. */
enum {
  MILLIONTHS = 1000000,
  LOAD_SMOOTHING = 16,
  LOAD_STEP_MAX = 100000,
  LOAD_SCATTER = 10000,
  LOAD_TIMES_MAX = 1000, /* of a profile: whatever a worker reports, no product overflows */
};

void gpu_init(struct gpu *gpu, struct instant now) {
  list_init(&gpu->residencies);
  list_init(&gpu->infers);
  list_init(&gpu->loads);
  list_init(&gpu->evicts);
  gpu->free_at = now;
  gpu->last_end = now;
  gpu->load_free_at = now;
  gpu->load_pause_until = now;
  gpu->infer_due = INSTANT_NEVER;
  gpu->load_due = INSTANT_NEVER;
  gpu->start_lag = duration_ns(FIRST_LAG_NS);
  gpu->gap = DURATION_ZERO;
  gpu->load_millionths = MILLIONTHS;
}

static const struct action *first_of(const struct list *actions) {
  const struct list *first = list_first(actions);
  return first == NULL ? NULL : LIST_ENTRY(first, const struct action, of_gpu);
}

/* None begins before it has reached the worker. */
static struct instant begin_of(const struct gpu *gpu, const struct action *action,
                               struct instant at) {
  return instant_max(at, instant_add(action->sent, gpu->start_lag));
}

/* When one more could begin if the first of `actions` can at `at`. */
static struct instant chain(const struct gpu *gpu, const struct list *actions, struct instant at,
                            struct duration gap) {
  for (const struct list *node = actions->next; node != actions; node = node->next) {
    const struct action *action = LIST_ENTRY(node, const struct action, of_gpu);
    at = instant_add(instant_add(begin_of(gpu, action, at), action->expected), gap);
  }
  return at;
}

/* Predict anew when the first of `actions` is done if it can begin at `at`. */
static struct instant due_of_first(const struct gpu *gpu, const struct list *actions,
                                   struct instant at) {
  const struct action *first = first_of(actions);
  return first == NULL ? INSTANT_NEVER : instant_add(begin_of(gpu, first, at), first->expected);
}

/* The same for all INFERs: the first can begin at `at`. */
static void predict_infers(struct gpu *gpu, struct instant at) {
  gpu->infer_due = due_of_first(gpu, &gpu->infers, at);
  if (instant_before(at, instant_add(gpu->last_sent, gpu->start_lag))) {
    gpu->free_at = chain(gpu, &gpu->infers, at, gpu->gap);
    return;
  }
  /* All have reached the worker by then: each begins where the one before it ends. */
  const int64_t gaps_ns = gpu->gap.ns * gpu->infers_count;
  gpu->free_at = instant_add(at, duration_ns(gpu->infers_expected.ns + gaps_ns));
}

struct instant gpu_free_at(const struct gpu *gpu, struct instant now) {
  /* A result takes a while to come back: only beyond that is the execution known to be late. */
  if (gpu->infer_due.ns == INT64_MAX ||
      !instant_before(instant_add(gpu->infer_due, SCHEDULER_NETWORK_ALLOWANCE), now)) {
    return gpu->free_at;
  }
  return instant_add(gpu->free_at, instant_since(now, gpu->infer_due));
}

struct instant gpu_predicted_start(const struct gpu *gpu, struct instant now) {
  return instant_max(instant_add(now, gpu->start_lag), gpu_free_at(gpu, now));
}

struct instant gpu_guaranteed_start(const struct gpu *gpu, struct instant now) {
  return instant_max(instant_add(now, SCHEDULER_NETWORK_ALLOWANCE), gpu_predicted_start(gpu, now));
}

bool gpu_is_late(const struct gpu *gpu, struct instant now) {
  const struct instant due = instant_min(gpu->infer_due, gpu->load_due);
  return due.ns != INT64_MAX && instant_before(instant_add(due, SCHEDULER_LATE_LIMIT), now);
}

void gpu_on_infer_sent(struct gpu *gpu, struct instant now, struct action *action) {
  action->was_idle = gpu->infers_count == 0;
  action->expected_end = instant_add(gpu_predicted_start(gpu, now), action->expected);
  if (gpu->infers_count == 0) {
    gpu->infer_due = action->expected_end;
  }
  list_append(&gpu->infers, &action->of_gpu);
  gpu->infers_count++;
  gpu->infers_expected = duration_add(gpu->infers_expected, action->expected);
  gpu->last_sent = action->sent;
  gpu->free_at = instant_add(action->expected_end, gpu->gap);
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
  return instant_sub(gpu->infer_due, running->expected);
}

void gpu_on_infer_done(struct gpu *gpu, struct instant now, struct action *action,
                       const struct scheduler_result *result) {
  const bool was_first = list_first(&gpu->infers) == &action->of_gpu;
  list_remove(&action->of_gpu);
  gpu->infers_count--;
  gpu->infers_expected = duration_sub(gpu->infers_expected, action->expected);
  if (result == NULL || result->status != ACTION_SUCCESS) {
    predict_infers(gpu, begin_after_failure(gpu, now, was_first));
    return;
  }
  if (action->was_idle) {
    smooth(&gpu->start_lag, instant_since(result->begin, action->sent).ns);
  } else if (instant_after(gpu->last_end, instant_add(action->sent, gpu->start_lag))) {
    smooth(&gpu->gap, instant_since(result->begin, gpu->last_end).ns);
  }
  gpu->last_end = result->end;
  predict_infers(gpu, instant_add(result->end, gpu->gap));
  gpu->clock_mhz = result->clock_after_mhz;
}

struct instant gpu_predicted_load_start(const struct gpu *gpu, struct instant now) {
  return instant_max(instant_add(now, gpu->start_lag), gpu->load_free_at);
}

void gpu_on_load_sent(struct gpu *gpu, struct instant now, struct action *action) {
  action->expected_end = instant_add(gpu_predicted_load_start(gpu, now), action->expected);
  if (gpu->loads_count == 0) {
    gpu->load_due = action->expected_end;
  }
  list_append(&gpu->loads, &action->of_gpu);
  gpu->loads_count++;
  gpu->load_free_at = action->expected_end;
}

struct duration gpu_first_load(const struct gpu *gpu, struct duration prior) {
  const int64_t beyond = gpu->load_millionths - MILLIONTHS;
  if (beyond <= LOAD_SCATTER && beyond >= -LOAD_SCATTER) {
    return prior;
  }
  return duration_ns(prior.ns + prior.ns / MILLIONTHS * beyond +
                     prior.ns % MILLIONTHS * beyond / MILLIONTHS);
}

void gpu_on_load_measured(struct gpu *gpu, struct duration prior, struct duration measured) {
  const double times = (double)measured.ns / (double)prior.ns;
  const int64_t sample = (int64_t)((times < LOAD_TIMES_MAX ? times : LOAD_TIMES_MAX) * MILLIONTHS);
  int64_t step = sample - gpu->load_millionths;
  step = step > LOAD_STEP_MAX ? LOAD_STEP_MAX : step < -LOAD_STEP_MAX ? -LOAD_STEP_MAX : step;
  gpu->load_millionths += step / LOAD_SMOOTHING;
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
  gpu->load_due = due_of_first(gpu, &gpu->loads, begin);
  gpu->load_free_at = chain(gpu, &gpu->loads, begin, DURATION_ZERO);
  if (result != NULL) {
    on_load_outcome(gpu, now, result->status);
  }
}
