/* Requests: queued by target within their model, answered exactly once. */
#include <math.h>

#include "base/check.h"
#include "base/prefetch.h"
#include "scheduler/policy.h"
#include "scheduler/state.h"

/* Batch-1 time at the clock of the model's own measurements: which GPU would take it is not known
 * yet. */
static struct duration batch_one_estimate(const struct model *model) {
  return estimate_at(&model->execute[0], model->spec.clock_mhz);
}

/* The last moment at which it could be sent to an idle GPU. */
static struct instant last_chance(const struct request *request) {
  const struct duration needed =
      duration_add(SCHEDULER_NETWORK_ALLOWANCE, batch_one_estimate(request->model));
  return instant_sub(request->target, needed);
}

/* Whether it could still meet its target if a GPU were idle. */
static bool request_is_hopeful(const struct scheduler *scheduler, const struct request *request) {
  return !scheduler->policy->keeps_deadlines ||
         !instant_after(scheduler->now, last_chance(request));
}

void requests_update_expiry(struct scheduler *scheduler, struct model *model) {
  const struct tree_node *first = model->queue.first;
  if (first == NULL || !scheduler->policy->keeps_deadlines) {
    tournament_set(&scheduler->expiry, model->model_id, INT64_MAX);
    return;
  }
  const struct request *request = TREE_ENTRY(first, struct request, of_queue);
  /* "No longer" begins one nanosecond after the last chance. */
  const struct instant hopeless = instant_add(last_chance(request), duration_ns(1));
  tournament_set(&scheduler->expiry, model->model_id, hopeless.ns);
}

void request_answer(struct scheduler *scheduler, struct request *request,
                    enum request_result result, uint64_t action_id, uint32_t batch_index) {
  CHECK(!request->of_queue.is_linked);
  struct scheduler_counts *counts = &scheduler->counts;
  const struct model *model = request->model;
  const struct duration latency = instant_since(scheduler->now, request->arrived);
  const struct duration slo = instant_since(request->deadline, request->arrived);
  const bool is_in_time = result == REQUEST_SUCCESS && latency.ns <= slo.ns;
  const bool is_cold = request->arrival_count == 0;
  counts->answers_by_result[result]++;
  counts->answers_late += result == REQUEST_SUCCESS && !is_in_time;
  counts->cold_starts += is_cold;
  const struct scheduler_answer answer = {.tag = request->tag,
                                          .request_id = request->request_id,
                                          .result = result,
                                          .model_id = model->model_id,
                                          .action_id = action_id,
                                          .batch_index = batch_index,
                                          .latency = latency};
  const struct telemetry_request row = {.t = request->arrived.ns + scheduler->config.wall_offset_ns,
                                        .request_id = request->request_id,
                                        .result = result,
                                        .user_id = request->user_id,
                                        .model_id = model->model_id,
                                        .slo_factor = request->slo_factor,
                                        .latency = latency.ns,
                                        .deadline = slo.ns,
                                        .deadline_met = is_in_time,
                                        .arrival_count = request->arrival_count,
                                        .departure_count = model->loaded_count,
                                        .is_coldstart = is_cold};
  pool_give(&scheduler->requests, request);
  scheduler->is_in_sink = true;
  scheduler->sink.on_answer(scheduler->sink.self, &answer);
  if (scheduler->sink.telemetry.on_request != NULL) {
    scheduler->sink.telemetry.on_request(scheduler->sink.telemetry.self, &row);
  }
  scheduler->is_in_sink = false;
}

/* Into its model's queue; tells the policy. */
static void request_enqueue(struct scheduler *scheduler, struct request *request) {
  struct model *model = request->model;
  tree_insert(&model->queue, &request->of_queue, request->target.ns, request->sequence);
  scheduler->counts.requests_queued++;
  if (model->queue.first == &request->of_queue) {
    requests_update_expiry(scheduler, model);
  }
  if (scheduler->policy->on_queued != NULL) {
    scheduler->policy->on_queued(scheduler->policy_state, request);
  }
}

void request_dequeue(struct scheduler *scheduler, struct request *request) {
  struct model *model = request->model;
  const bool was_first = model->queue.first == &request->of_queue;
  tree_remove(&model->queue, &request->of_queue);
  scheduler->counts.requests_queued--;
  if (was_first) {
    requests_update_expiry(scheduler, model);
  }
  if (scheduler->policy->on_dequeued != NULL) {
    scheduler->policy->on_dequeued(scheduler->policy_state, request);
  }
}

/* Their slots lie line by line. */
_Static_assert(sizeof(struct pool_slot) + sizeof(struct request) <= 128, "two cache lines");
_Static_assert(sizeof(struct pool_slot) + sizeof(struct action) <= 128, "two cache lines");
_Static_assert(sizeof(struct pool_slot) + sizeof(struct residency) == 64, "a cache line");

void request_retry(struct scheduler *scheduler, struct request *request) {
  if (request->attempts_count >= SCHEDULER_ATTEMPTS_MAX) {
    request_answer(scheduler, request, REQUEST_ERROR, 0, 0);
  } else if (request->model->is_known && request_is_hopeful(scheduler, request)) {
    request_enqueue(scheduler, request);
  } else {
    request_answer(scheduler, request, REQUEST_TIMEOUT, 0, 0);
  }
}

void requests_expire(struct scheduler *scheduler) {
  while (tournament_first_key(&scheduler->expiry) <= scheduler->now.ns) {
    struct model *model = &scheduler->models[tournament_first(&scheduler->expiry)];
    struct request *request = TREE_ENTRY(model->queue.first, struct request, of_queue);
    if (request_is_hopeful(scheduler, request)) {
      requests_update_expiry(scheduler, model); /* the estimate has become shorter since */
      continue;
    }
    if (scheduler->policy->on_given_up != NULL) {
      scheduler->policy->on_given_up(scheduler->policy_state, request);
    }
    request_dequeue(scheduler, request);
    request_answer(scheduler, request, REQUEST_TIMEOUT, 0, 0);
  }
}

/* The seed's aim: 5 ms before the SLO, but not less than schedule_ahead + 5 ms, for a request can't
 * be sent ahead otherwise; and never past the SLO itself, which the guarantee forbids. */
static struct duration aimed_slo(const struct scheduler *scheduler, struct duration slo) {
  const struct duration floor =
      duration_add(scheduler->config.schedule_ahead, SCHEDULER_SAFETY_BUFFER);
  const struct duration early = duration_sub(slo, SCHEDULER_SAFETY_BUFFER);
  return duration_min(slo, duration_max(early, floor));
}

/* A request that gets no slot is answered from the stack: the answer needs nothing but these. */
static void refuse_without_slot(struct scheduler *scheduler, const struct scheduler_request *from,
                                enum request_result result) {
  scheduler->counts.answers_by_result[result]++;
  const struct scheduler_answer answer = {.tag = from->tag,
                                          .request_id = from->request_id,
                                          .result = result,
                                          .model_id = from->model_id};
  const struct telemetry_request row = {.t = scheduler->now.ns + scheduler->config.wall_offset_ns,
                                        .request_id = from->request_id,
                                        .result = result,
                                        .user_id = from->user_id,
                                        .model_id = from->model_id,
                                        .slo_factor =
                                            isfinite(from->slo_factor) ? from->slo_factor : 0};
  scheduler->is_in_sink = true;
  scheduler->sink.on_answer(scheduler->sink.self, &answer);
  if (scheduler->sink.telemetry.on_request != NULL) {
    scheduler->sink.telemetry.on_request(scheduler->sink.telemetry.self, &row);
  }
  scheduler->is_in_sink = false;
}

static bool request_is_valid(const struct scheduler *scheduler,
                             const struct scheduler_request *request) {
  return request->model_id < scheduler->config.limits.models &&
         scheduler->models[request->model_id].is_known && request->batch_size == 1 &&
         request->slo_factor >= 0 &&
         request->slo_factor * (double)scheduler->models[request->model_id].spec.execute[0].ns <=
             (double)SCHEDULER_SLO_MAX.ns;
}

/* Forget measurements that are too old to be believed against the profile. */
static void forget_old_estimates(const struct scheduler *scheduler, struct model *model) {
  if (!instant_after(scheduler->now, model->estimates_expire)) {
    return;
  }
  model->estimates_expire = INSTANT_NEVER;
  for (uint32_t kind = 0; kind < model->kinds_usable; kind++) {
    const struct duration profile = model->spec.execute[kind];
    struct estimate *estimate = &model->execute[kind];
    const struct instant expires =
        instant_add(model->measured[kind].last, SCHEDULER_ESTIMATE_LIFETIME);
    if (estimate_at(estimate, model->spec.clock_mhz).ns <= profile.ns) {
      continue;
    }
    if (instant_after(scheduler->now, expires)) {
      estimate_init(estimate, &model->measured[kind].window, profile, model->spec.clock_mhz);
    } else {
      model->estimates_expire = instant_min(model->estimates_expire, expires);
    }
  }
}

void scheduler_on_request(struct scheduler *scheduler, struct instant now,
                          const struct scheduler_request *from) {
  CHECK(!scheduler->is_in_sink);
  scheduler->now = instant_max(now, scheduler->now);
  scheduler->counts.requests++;
  if (!request_is_valid(scheduler, from)) {
    refuse_without_slot(scheduler, from, REQUEST_INVALID);
    return;
  }
  struct request *request = pool_take(&scheduler->requests);
  if (request == NULL) {
    refuse_without_slot(scheduler, from, REQUEST_SKIPPED);
    return;
  }
  struct model *model = &scheduler->models[from->model_id];
  forget_old_estimates(scheduler, model);
  struct duration slo = scheduler->config.default_slo;
  if (from->slo_factor > 0) {
    slo.ns = (int64_t)(from->slo_factor * (double)model->spec.execute[0].ns);
  }
  *request = (struct request){
      .model = model,
      .sequence = scheduler->next_sequence++,
      .tag = from->tag,
      .request_id = from->request_id,
      .user_id = from->user_id,
      .slo_factor = from->slo_factor,
      .arrived = scheduler->now,
      .deadline = instant_add(scheduler->now, slo),
      .target = instant_add(scheduler->now, aimed_slo(scheduler, slo)),
      .arrival_count = model->loaded_count & 0xffffff,
  };
  if (!request_is_hopeful(scheduler, request)) {
    request_answer(scheduler, request, REQUEST_CANNOT_START, 0, 0);
    return;
  }
  request_enqueue(scheduler, request);
}

void scheduler_expect_request(const struct scheduler *scheduler, uint32_t model_id, uint32_t step) {
  if (model_id >= scheduler->config.limits.models) {
    return;
  }
  const struct model *model = &scheduler->models[model_id];
  if (step == 0) {
    prefetch(model, MODEL_REQUEST_BYTES);
    tournament_expect(&scheduler->expiry, model_id);
  } else if (!model->is_known) {
    return;
  } else if (step == 1) {
    prefetch(model->residencies.next, PREFETCH_LINE_BYTES);
    prefetch(model->residencies.previous, PREFETCH_LINE_BYTES);
    prefetch(model->queue.last, PREFETCH_LINE_BYTES);
  } else if (step == 2 && !list_is_empty(&model->residencies)) {
    const struct residency *next =
        LIST_ENTRY(model->residencies.next, const struct residency, of_model);
    prefetch(next->gpu, PREFETCH_LINE_BYTES);
  }
  if (scheduler->policy->expect != NULL) {
    scheduler->policy->expect(scheduler->policy_state, model, step);
  }
}

void policy_answer(struct scheduler *scheduler, struct request *request,
                   enum request_result result) {
  request_dequeue(scheduler, request);
  request_answer(scheduler, request, result, 0, 0);
}
