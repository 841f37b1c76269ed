/* Actions: from a policy's decision to the worker's result. */
#include "base/check.h"
#include "scheduler/policy.h"
#include "scheduler/state.h"

bool action_is_possible(const struct gpu *gpu, uint32_t count) {
  return gpu->actions_count + count <= SCHEDULER_ACTIONS_PER_GPU;
}

struct action *action_create(struct scheduler *scheduler, enum action_type type,
                             struct residency *residency) {
  struct gpu *gpu = residency->gpu;
  const struct model *model = residency->model;
  CHECK(action_is_possible(gpu, 1));
  struct action *action = pool_take(&scheduler->actions);
  CHECK(action != NULL); /* the pool has SCHEDULER_ACTIONS_PER_GPU for every GPU */
  action->action_id = pool_id(&scheduler->actions, action);
  action->type = (uint8_t)type;
  action->residency = residency;
  action->sent = scheduler->now;
  action->earliest = scheduler->now;
  action->latest = scheduler->now;
  action->clock_mhz = gpu->clock_mhz;
  action->requests_queued = model->queue.count;
  action->copies_loaded = model->loaded_count;
  gpu->actions_count++;
  list_append(&scheduler->under_way, &action->of_scheduler);
  CHECK(ring_push(&scheduler->outbox, &action->action_id));
  return action;
}

/* Out of the GPU's accounts and gone. Its requests are the caller's to answer. */
static void action_destroy(struct scheduler *scheduler, struct action *action) {
  CHECK(!list_is_linked(&action->of_gpu));
  action->residency->gpu->actions_count--;
  list_remove(&action->of_scheduler);
  pool_give(&scheduler->actions, action);
}

uint32_t scheduler_stuck_worker(const struct scheduler *scheduler, struct instant now,
                                struct duration patience) {
  const struct list *first = list_first(&scheduler->under_way);
  if (first == NULL) {
    return SCHEDULER_NO_WORKER;
  }
  const struct action *action = LIST_ENTRY(first, const struct action, of_scheduler);
  const struct instant done = instant_add(action->latest, action->expected);
  return instant_before(instant_add(done, patience), now) ? action->residency->gpu->worker_id
                                                          : SCHEDULER_NO_WORKER;
}

void action_send_evict(struct scheduler *scheduler, struct residency *residency) {
  residency_begin_evict(scheduler, residency);
  struct action *action = action_create(scheduler, ACTION_EVICT, residency);
  action->expected_end = scheduler->now;
  /* An eviction has nothing to wait for; only a worker cut off for long should refuse it. */
  action->latest = instant_add(scheduler->now, duration_s(1));
  list_append(&residency->gpu->evicts, &action->of_gpu);
  scheduler->counts.evicts++;
}

struct duration policy_estimate(const struct model *model, uint32_t kind, const struct gpu *gpu) {
  return estimate_at(&model->execute[kind], gpu->clock_mhz);
}

bool policy_has_room(const struct scheduler *scheduler, uint32_t count) {
  return scheduler->outbox.count + count <= scheduler->plan_room;
}

bool policy_infer(struct scheduler *scheduler, struct residency *residency, uint32_t kind,
                  struct request *const *requests, uint32_t count) {
  struct gpu *gpu = residency->gpu;
  struct model *model = residency->model;
  CHECK_EQ(residency->state, RESIDENCY_LOADED);
  CHECK_GT(count, 0);
  CHECK_LT(kind, model->spec.batch_kinds);
  CHECK_LE(count, model->spec.batch_sizes[kind]);
  if (!action_is_possible(gpu, 1)) {
    return false;
  }
  struct action *action = action_create(scheduler, ACTION_INFER, residency);
  action->batch_size = (uint8_t)model->spec.batch_sizes[kind];
  action->requests_count = (uint8_t)count;
  action->expected = policy_estimate(model, kind, gpu);
  const struct instant start = gpu_guaranteed_start(gpu, scheduler->now);
  action->latest =
      instant_add(gpu_predicted_start(gpu, scheduler->now), scheduler->config.schedule_ahead);
  struct request **link = &action->first_request;
  for (uint32_t i = 0; i < count; i++) {
    struct request *request = requests[i];
    CHECK(request->model == model);
    if (scheduler->policy->keeps_deadlines) {
      CHECK_LE(instant_add(start, action->expected).ns, request->target.ns);
      /* Started later than this it would be late for certain: better refused than run. */
      action->latest =
          instant_min(action->latest, instant_sub(request->deadline, action->expected));
    }
    request_dequeue(scheduler, request);
    *link = request;
    link = &request->next_of_batch;
  }
  *link = NULL;
  gpu_on_infer_sent(gpu, scheduler->now, action);
  residency->infers_count++;
  list_remove(&residency->of_gpu);
  list_append(&gpu->residencies, &residency->of_gpu); /* the most recently used */
  scheduler->counts.infers++;
  scheduler->counts.infer_requests += count;
  scheduler->counts.requests_running += count;
  return true;
}

void action_report(struct scheduler *scheduler, const struct action *action,
                   const struct scheduler_result *result, uint32_t requests_in_time) {
  if (scheduler->sink.telemetry.on_action == NULL) {
    return;
  }
  const struct gpu *gpu = action->residency->gpu;
  const int64_t sent_ns = action->sent.ns;
  struct telemetry_action row = {
      .t = sent_ns + scheduler->config.wall_offset_ns,
      .action_id = action->action_id,
      .action_type = action->type,
      .status = ACTION_CANCELLED,
      .worker_id = gpu->worker_id,
      .gpu_id = gpu->gpu_index,
      .model_id = action->residency->model->model_id,
      .batch_size = action->batch_size,
      .expected_exec_duration = action->expected.ns,
      .expected_exec_complete = action->expected_end.ns - sent_ns,
      .expected_gpu_clock = action->clock_mhz,
      .controller_action_duration = scheduler->now.ns - sent_ns,
      .requests_queued = action->requests_queued,
      .copies_loaded = action->copies_loaded,
  };
  if (result != NULL) {
    row.status = result->status;
    row.worker_gpu_clock_before = result->clock_before_mhz;
    row.worker_gpu_clock = result->clock_after_mhz;
    row.worker_action_received = result->received.ns - sent_ns;
    row.worker_result_sent = result->sent.ns - sent_ns;
    row.controller_result_enqueue = scheduler->now.ns - sent_ns;
    if (result->status == ACTION_SUCCESS) {
      row.worker_exec_duration = instant_since(result->end, result->begin).ns;
      row.worker_exec_complete = result->end.ns - sent_ns;
      if (action->type == ACTION_INFER) {
        row.worker_copy_output_complete = result->output_end.ns - sent_ns;
        row.goodput = row.worker_exec_duration * requests_in_time / action->batch_size;
      }
    }
  }
  scheduler->is_in_sink = true;
  scheduler->sink.telemetry.on_action(scheduler->sink.telemetry.self, &row);
  scheduler->is_in_sink = false;
}

static struct duration measured(const struct scheduler_result *result) {
  /* No action takes longer than an hour (model_spec_is_valid()). */
  return duration_min(instant_since(result->end, result->begin), duration_s(3600));
}

static void on_measured(struct scheduler *scheduler, struct model *model, uint32_t kind,
                        const struct scheduler_result *result) {
  const struct duration time = measured(result);
  estimate_on_measured(&model->execute[kind], &model->measured[kind].window,
                       scheduler->policy->estimates, time, result->clock_before_mhz);
  model->measured[kind].last = scheduler->now;
  model->estimates_expire = instant_min(model->estimates_expire,
                                        instant_add(scheduler->now, SCHEDULER_ESTIMATE_LIFETIME));
  if (kind == 0) {
    requests_update_expiry(scheduler, model);
  }
}

static bool says_missing(enum action_status status) {
  switch ((int)status) {
  case ACTION_UNKNOWN_MODEL:
  case ACTION_WEIGHTS_NOT_PRESENT:
  case ACTION_INPUT_UNKNOWN_MODEL:
  case ACTION_EXECUTE_WEIGHTS_MISSING:
    return true;
  default:
    return false;
  }
}

static void on_infer_result(struct scheduler *scheduler, struct action *action,
                            const struct scheduler_result *result) {
  struct residency *residency = action->residency;
  struct gpu *gpu = residency->gpu;
  struct model *model = residency->model;
  gpu_on_infer_done(gpu, scheduler->now, action, result);
  residency->infers_count--;
  scheduler->counts.requests_running -= action->requests_count;
  const bool is_success = result->status == ACTION_SUCCESS;
  uint32_t in_time = 0;
  if (is_success) {
    on_measured(scheduler, model, model_batch_kind(&model->spec, action->batch_size), result);
    for (const struct request *at = action->first_request; at != NULL; at = at->next_of_batch) {
      in_time += !instant_after(scheduler->now, at->deadline);
    }
  }
  action_report(scheduler, action, result, in_time);
  /* The action goes before its requests are answered or queued again: the policy then sees the GPU
   * as it is. */
  const struct action done = *action;
  action_destroy(scheduler, action);
  if (says_missing(result->status) || residency->state == RESIDENCY_MISSING) {
    residency_on_missing(scheduler, residency);
  }
  struct request *request = done.first_request;
  for (uint32_t i = 0; i < done.requests_count; i++) {
    struct request *next = request->next_of_batch;
    if (is_success) {
      request_answer(scheduler, request, REQUEST_SUCCESS, done.action_id, i);
    } else if (result->bad_inputs >> i & 1) {
      request_answer(scheduler, request, REQUEST_INVALID, 0, 0);
    } else {
      /* With a culprit named, the rest will do better without it. */
      if (result->bad_inputs == 0) {
        request->attempts_count++;
      }
      request_retry(scheduler, request);
    }
    request = next;
  }
}

static void on_load_result(struct scheduler *scheduler, struct action *action,
                           const struct scheduler_result *result) {
  struct residency *residency = action->residency;
  struct model *model = residency->model;
  gpu_on_load_done(residency->gpu, scheduler->now, action, result);
  action_report(scheduler, action, result, 0);
  action_destroy(scheduler, action);
  if (result->status == ACTION_SUCCESS) {
    gpu_on_load_measured(residency->gpu, model->spec.load, measured(result));
    estimate_on_measured(&model->load, &model->load_window, scheduler->policy->estimates,
                         measured(result), 1);
    residency_on_loaded(scheduler, residency);
  } else if (result->status == ACTION_WEIGHTS_ALREADY_LOADED) {
    residency_on_loaded(scheduler, residency);
  } else {
    residency_destroy(scheduler, residency);
  }
}

static void on_evict_result(struct scheduler *scheduler, struct action *action,
                            const struct scheduler_result *result) {
  struct residency *residency = action->residency;
  list_remove(&action->of_gpu);
  action_report(scheduler, action, result, 0);
  action_destroy(scheduler, action);
  switch ((int)result->status) {
  case ACTION_SUCCESS:
  case ACTION_EVICT_NOT_IN_CACHE:
  case ACTION_EVICT_UNKNOWN_MODEL:
  case ACTION_WEIGHTS_NOT_PRESENT:
    residency_destroy(scheduler, residency);
    break;
  default:
    residency_undo_evict(scheduler, residency);
    break;
  }
}

/* A worker's numbers are a peer's: what can't be true would poison predictions. */
static struct scheduler_result sane(const struct scheduler_result *from,
                                    const struct action *action, struct instant now) {
  struct scheduler_result result = *from;
  /* Nothing happened before the action was sent or after now, as far as clocks agree. */
  const struct instant first = instant_sub(action->sent, SCHEDULER_LATE_LIMIT);
  const struct instant last = instant_add(now, SCHEDULER_LATE_LIMIT);
  struct instant *times[] = {&result.begin, &result.end, &result.output_end, &result.received,
                             &result.sent};
  for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
    *times[i] = instant_min(instant_max(*times[i], first), last);
  }
  /* What the worker measured is a difference on one clock, so it holds even where the clocks no
   * longer agree and the times themselves can't be true. */
  int64_t took_ns = 0;
  if (!__builtin_sub_overflow(from->end.ns, from->begin.ns, &took_ns) && took_ns >= 0 &&
      took_ns <= instant_since(last, first).ns) {
    result.begin = instant_sub(result.end, duration_ns(took_ns));
  }
  result.end = instant_max(result.end, result.begin);
  uint32_t *clocks[] = {&result.clock_before_mhz, &result.clock_after_mhz};
  for (size_t i = 0; i < sizeof(clocks) / sizeof(clocks[0]); i++) {
    if (*clocks[i] == 0 || *clocks[i] > MODEL_CLOCK_MAX_MHZ) {
      *clocks[i] = action->clock_mhz;
    }
  }
  return result;
}

uint64_t scheduler_expect_result(const struct scheduler *scheduler, uint64_t action_id,
                                 uint32_t step) {
  if (step == 0) {
    pool_expect(&scheduler->actions, action_id, sizeof(struct action));
    return 0;
  }
  const struct action *action = pool_find(&scheduler->actions, action_id);
  if (action == NULL) {
    return 0;
  }
  const struct residency *residency = action->residency;
  const struct request *request = action->first_request;
  if (step == 1) {
    prefetch(residency, sizeof(*residency));
    prefetch(request, sizeof(*request));
    prefetch(action->of_gpu.next, PREFETCH_LINE_BYTES);
    prefetch(action->of_scheduler.next, PREFETCH_LINE_BYTES);
    prefetch(action->of_scheduler.previous, PREFETCH_LINE_BYTES);
    return 0;
  }
  if (step == 2) {
    prefetch(residency->model, MODEL_REQUEST_BYTES);
    prefetch(residency->gpu, sizeof(*residency->gpu));
  } else if (action->type == ACTION_INFER) {
    const uint32_t kind = model_batch_kind(&residency->model->spec, action->batch_size);
    prefetch(&residency->model->measured[kind], sizeof(struct measurements));
  }
  if (request == NULL) {
    return 0;
  }
  prefetch(request->next_of_batch, sizeof(*request));
  return request->tag;
}

void scheduler_on_result(struct scheduler *scheduler, struct instant now,
                         const struct scheduler_result *from) {
  CHECK(!scheduler->is_in_sink);
  scheduler->now = instant_max(now, scheduler->now);
  struct action *action = pool_find(&scheduler->actions, from->action_id);
  if (action == NULL || !action->is_out) {
    return;
  }
  struct gpu *gpu = action->residency->gpu;
  const struct scheduler_result result = sane(from, action, scheduler->now);
  const bool is_refused_evict = action->type == ACTION_EVICT && result.status != ACTION_SUCCESS;
  scheduler->counts.actions_failed += result.status != ACTION_SUCCESS;
  switch ((enum action_type)action->type) {
  case ACTION_INFER:
    on_infer_result(scheduler, action, &result);
    break;
  case ACTION_LOAD:
    on_load_result(scheduler, action, &result);
    break;
  case ACTION_EVICT:
    on_evict_result(scheduler, action, &result);
    break;
  }
  if (!is_refused_evict) { /* what was refused just now would be again */
    residencies_evict_unwanted(scheduler, gpu);
  }
  if (scheduler->policy->on_gpu_progress != NULL) {
    scheduler->policy->on_gpu_progress(scheduler->policy_state, gpu);
  }
}
