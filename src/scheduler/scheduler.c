/* Set-up, the cluster's changes, and the way out for actions. */
#include "scheduler/scheduler.h"

#include <string.h>

#include "base/check.h"
#include "scheduler/policy.h"
#include "scheduler/state.h"

void scheduler_config_defaults(struct scheduler_config *config) {
  *config = (struct scheduler_config){
      .limits = {.models = 16384, .workers = 256, .gpus = 256, .requests = 65536},
      .policy = "infer4",
      .schedule_ahead = duration_ms(10),
      .default_slo = duration_ms(100),
      .max_exec = duration_ms(25),
      .max_batch = 16,
      .max_gpus = 100,
  };
  /* 80 GB cards hold 4,096 pages and a model has seven on average: this many fit 256 of them. */
  config->limits.residencies = 262144;
}

const char *scheduler_config_fault(const struct scheduler_config *config) {
  const struct scheduler_limits *limits = &config->limits;
  const uint32_t most = 1U << 24;
  if (policy_find(config->policy) == NULL) {
    return "policy: no policy of that name";
  }
  if (limits->models == 0 || limits->models > most || limits->requests == 0 ||
      limits->requests > most || limits->residencies == 0 || limits->residencies > most) {
    return "limits: models, requests and residencies must be between 1 and 16777216";
  }
  if (limits->gpus == 0 || limits->gpus > 65536 || limits->workers == 0 ||
      limits->workers > 65536) {
    return "limits: gpus and workers must be between 1 and 65536";
  }
  if (config->schedule_ahead.ns <= 0 || config->schedule_ahead.ns > 3600 * NS_PER_S) {
    return "schedule_ahead: must be between 1 ns and one hour";
  }
  if (config->default_slo.ns <= 0 || config->default_slo.ns > 3600 * NS_PER_S) {
    return "default_slo: must be between 1 ns and one hour";
  }
  if (config->max_batch == 0 || config->max_exec.ns < 0) {
    return "max_batch must be at least 1, max_exec at least 0";
  }
  return NULL;
}

/* One function for the size and for the real thing: see base/arena.h. */
static struct scheduler *scheduler_carve(struct arena *arena,
                                         const struct scheduler_config *config) {
  const struct scheduler_limits *limits = &config->limits;
  const uint32_t actions = limits->gpus * SCHEDULER_ACTIONS_PER_GPU;
  struct scheduler *scheduler = arena_take(arena, 1, sizeof(*scheduler));
  struct scheduler built = {.config = *config, .policy = policy_find(config->policy)};
  built.models = arena_take(arena, limits->models, sizeof(struct model));
  built.workers = arena_take(arena, limits->workers, sizeof(struct worker));
  pool_init(&built.gpus, arena, limits->gpus, sizeof(struct gpu));
  pool_init(&built.residencies, arena, limits->residencies, sizeof(struct residency));
  pool_init(&built.requests, arena, limits->requests, sizeof(struct request));
  pool_init(&built.actions, arena, actions, sizeof(struct action));
  table_init(&built.residency_by_model_and_gpu, arena, limits->residencies);
  tournament_init(&built.expiry, arena, limits->models);
  ring_init(&built.outbox, arena, actions, sizeof(uint64_t));
  if (scheduler == NULL) {
    built.policy->init(arena, &built);
    return NULL;
  }
  *scheduler = built;
  list_init(&scheduler->under_way);
  scheduler->policy_state = built.policy->init(arena, scheduler);
  return scheduler;
}

size_t scheduler_bytes(const struct scheduler_config *config) {
  CHECK(scheduler_config_fault(config) == NULL);
  struct arena arena;
  arena_init_counting(&arena);
  scheduler_carve(&arena, config);
  return arena.used_bytes;
}

struct scheduler *scheduler_init(void *memory, const struct scheduler_config *config,
                                 const struct scheduler_sink *sink) {
  CHECK(sink->on_answer != NULL);
  struct arena arena;
  arena_init(&arena, memory, scheduler_bytes(config));
  struct scheduler *scheduler = scheduler_carve(&arena, config);
  scheduler->sink = *sink;
  scheduler->now = (struct instant){INT64_MIN};
  return scheduler;
}

static void advance(struct scheduler *scheduler, struct instant now) {
  CHECK(!scheduler->is_in_sink);
  scheduler->now = instant_max(now, scheduler->now);
}

bool scheduler_on_model_added(struct scheduler *scheduler, struct instant now, uint32_t model_id,
                              const struct model_spec *spec) {
  advance(scheduler, now);
  if (model_id >= scheduler->config.limits.models || !model_spec_is_valid(spec) ||
      spec->weights_pages == 0) {
    return false;
  }
  struct model *model = &scheduler->models[model_id];
  /* An id whose weights are still leaving some GPU can't be given to another model yet. */
  if (model->is_known || model->references_count > 0) {
    return false;
  }
  *model = (struct model){
      .model_id = model_id, .is_known = true, .spec = *spec, .estimates_expire = INSTANT_NEVER};
  list_init(&model->residencies);
  estimate_init(&model->load, &model->load_window, spec->load, 1);
  for (uint32_t kind = 0; kind < spec->batch_kinds; kind++) {
    estimate_init(&model->execute[kind], &model->measured[kind].window, spec->execute[kind],
                  spec->clock_mhz);
    const bool is_usable = spec->execute[kind].ns <= scheduler->config.max_exec.ns &&
                           spec->batch_sizes[kind] <= scheduler->config.max_batch;
    if (kind == 0 || (is_usable && model->kinds_usable == kind)) {
      model->kinds_usable = (uint8_t)(kind + 1);
    }
  }
  scheduler->counts.models++;
  if (scheduler->policy->on_model_added != NULL) {
    scheduler->policy->on_model_added(scheduler->policy_state, model);
  }
  return true;
}

uint32_t scheduler_on_evict(struct scheduler *scheduler, struct instant now, uint32_t model_id) {
  advance(scheduler, now);
  if (model_id >= scheduler->config.limits.models ||
      scheduler->models[model_id].residencies_count == 0) {
    return 0;
  }
  struct model *model = &scheduler->models[model_id];
  /* Set aside first: while one leaves, the policy must not choose another that is about to. */
  struct list leaving;
  list_init(&leaving);
  struct list *at = model->residencies.next;
  while (at != &model->residencies) {
    struct residency *residency = LIST_ENTRY(at, struct residency, of_model);
    at = at->next;
    if (residency->state == RESIDENCY_LOADED && residency->infers_count == 0) {
      list_remove(&residency->of_model);
      list_append(&leaving, &residency->of_model);
    }
  }
  uint32_t evicted = 0;
  while (!list_is_empty(&leaving)) {
    struct residency *residency = LIST_ENTRY(list_first(&leaving), struct residency, of_model);
    if (policy_evict(scheduler, residency)) {
      evicted++;
    } else {
      list_remove(&residency->of_model);
      list_append(&model->residencies, &residency->of_model);
    }
  }
  return evicted;
}

void scheduler_on_model_removed(struct scheduler *scheduler, struct instant now,
                                uint32_t model_id) {
  advance(scheduler, now);
  if (model_id >= scheduler->config.limits.models || !scheduler->models[model_id].is_known) {
    return;
  }
  struct model *model = &scheduler->models[model_id];
  model->is_known = false;
  scheduler->counts.models--;
  while (model->queue.first != NULL) {
    policy_answer(scheduler, TREE_ENTRY(model->queue.first, struct request, of_queue),
                  REQUEST_INVALID);
  }
  struct list *at = model->residencies.next;
  while (at != &model->residencies) {
    struct residency *residency = LIST_ENTRY(at, struct residency, of_model);
    at = at->next;
    if (residency->state == RESIDENCY_LOADED) { /* what is LOADING follows when it is */
      residency_on_unwanted(scheduler, residency);
      residencies_evict_unwanted(scheduler, residency->gpu);
    }
  }
}

/* Weights that a joining worker already has: ours if we know the model and it fits. */
static void adopt_resident(struct scheduler *scheduler, struct gpu *gpu, uint32_t model_id) {
  if (model_id >= scheduler->config.limits.models) {
    return;
  }
  struct model *model = &scheduler->models[model_id];
  model->model_id = model_id; /* also of one that was never added */
  if (residency_find(scheduler, model, gpu) == NULL) {
    const bool is_wanted = model->is_known && gpu->pages_free >= model->spec.weights_pages;
    residency_create(scheduler, model, gpu, is_wanted ? RESIDENCY_LOADED : RESIDENCY_UNWANTED);
  }
}

static uint32_t clamp_clock(uint32_t clock_mhz) {
  return clock_mhz == 0 ? 1 : clock_mhz > MODEL_CLOCK_MAX_MHZ ? MODEL_CLOCK_MAX_MHZ : clock_mhz;
}

enum err scheduler_on_worker_up(struct scheduler *scheduler, struct instant now, uint32_t worker_id,
                                const struct scheduler_gpu *gpus, uint32_t gpus_count) {
  advance(scheduler, now);
  if (worker_id >= scheduler->config.limits.workers) {
    return ERR_RANGE;
  }
  struct worker *worker = &scheduler->workers[worker_id];
  if (worker->is_up) {
    return ERR_EXISTS;
  }
  if (gpus_count > scheduler->gpus.capacity - scheduler->gpus.taken_count) {
    return ERR_FULL;
  }
  worker->is_up = true;
  list_init(&worker->gpus);
  for (uint32_t i = 0; i < gpus_count; i++) {
    if (scheduler->gpus.taken_count >= scheduler->config.max_gpus) {
      break;
    }
    if (gpus[i].pages == 0) {
      continue;
    }
    struct gpu *gpu = pool_take(&scheduler->gpus);
    gpu_init(gpu, scheduler->now);
    gpu->gpu_id = pool_index(&scheduler->gpus, gpu);
    gpu->worker_id = worker_id;
    gpu->gpu_index = i;
    gpu->pages = gpus[i].pages;
    gpu->pages_free = gpus[i].pages;
    gpu->clock_mhz = clamp_clock(gpus[i].clock_mhz);
    list_append(&worker->gpus, &gpu->of_worker);
    scheduler->counts.gpus++;
    if (scheduler->policy->on_gpu_up != NULL) {
      scheduler->policy->on_gpu_up(scheduler->policy_state, gpu);
    }
    for (uint32_t j = 0; j < gpus[i].resident_count; j++) {
      adopt_resident(scheduler, gpu, gpus[i].resident_models[j]);
    }
    residencies_evict_unwanted(scheduler, gpu);
  }
  return ERR_OK;
}

/* Take the action out of the GPU's accounts; its requests go to `lost`, to be retried when all
 * that goes with it is gone. */
static void lose_action(struct scheduler *scheduler, struct action *action, struct list *lost) {
  action_report(scheduler, action, NULL, 0);
  struct residency *residency = action->residency;
  struct gpu *gpu = residency->gpu;
  switch ((enum action_type)action->type) {
  case ACTION_INFER:
    gpu_on_infer_done(gpu, scheduler->now, action, NULL);
    residency->infers_count--;
    scheduler->counts.requests_running -= action->requests_count;
    break;
  case ACTION_LOAD:
    gpu_on_load_done(gpu, scheduler->now, action, NULL);
    break;
  case ACTION_EVICT:
    list_remove(&action->of_gpu);
    break;
  }
  list_append(lost, &action->of_gpu);
}

static void lose_actions(struct scheduler *scheduler, struct list *actions, struct list *lost) {
  while (!list_is_empty(actions)) {
    lose_action(scheduler, LIST_ENTRY(list_first(actions), struct action, of_gpu), lost);
  }
}

static void lose_gpu(struct scheduler *scheduler, struct gpu *gpu, struct list *lost) {
  lose_actions(scheduler, &gpu->infers, lost);
  lose_actions(scheduler, &gpu->loads, lost);
  lose_actions(scheduler, &gpu->evicts, lost);
  while (!list_is_empty(&gpu->residencies)) {
    residency_destroy(scheduler,
                      LIST_ENTRY(list_first(&gpu->residencies), struct residency, of_gpu));
  }
  if (scheduler->policy->on_gpu_lost != NULL) {
    scheduler->policy->on_gpu_lost(scheduler->policy_state, gpu);
  }
}

/* Forget actions that were never sent and are lost by now. */
static void outbox_compact(struct scheduler *scheduler) {
  for (uint32_t left = scheduler->outbox.count; left > 0; left--) {
    uint64_t action_id = 0;
    CHECK(ring_pop(&scheduler->outbox, &action_id));
    if (pool_find(&scheduler->actions, action_id) != NULL) {
      CHECK(ring_push(&scheduler->outbox, &action_id));
    }
  }
}

/* When no policy can choose a GPU any more that the actions were lost with. */
static void retry_lost(struct scheduler *scheduler, struct list *lost) {
  while (!list_is_empty(lost)) {
    struct action *action = LIST_ENTRY(list_first(lost), struct action, of_gpu);
    list_remove(&action->of_gpu);
    const struct action done = *action;
    list_remove(&action->of_scheduler);
    pool_give(&scheduler->actions, action);
    struct request *next = NULL;
    for (struct request *request = done.first_request; request != NULL; request = next) {
      next = request->next_of_batch;
      request_retry(scheduler, request);
    }
  }
  outbox_compact(scheduler);
}

static void forget_gpu(struct scheduler *scheduler, struct gpu *gpu) {
  list_remove(&gpu->of_worker);
  pool_give(&scheduler->gpus, gpu);
  scheduler->counts.gpus--;
}

void scheduler_on_worker_lost(struct scheduler *scheduler, struct instant now, uint32_t worker_id) {
  advance(scheduler, now);
  if (worker_id >= scheduler->config.limits.workers || !scheduler->workers[worker_id].is_up) {
    return;
  }
  struct worker *worker = &scheduler->workers[worker_id];
  worker->is_up = false;
  struct list lost;
  list_init(&lost);
  for (struct list *at = worker->gpus.next; at != &worker->gpus; at = at->next) {
    lose_gpu(scheduler, LIST_ENTRY(at, struct gpu, of_worker), &lost);
  }
  retry_lost(scheduler, &lost);
  while (!list_is_empty(&worker->gpus)) {
    forget_gpu(scheduler, LIST_ENTRY(list_first(&worker->gpus), struct gpu, of_worker));
  }
}

void scheduler_on_gpu_lost(struct scheduler *scheduler, struct instant now, uint32_t worker_id,
                           uint32_t gpu_index) {
  advance(scheduler, now);
  if (worker_id >= scheduler->config.limits.workers || !scheduler->workers[worker_id].is_up) {
    return;
  }
  const struct worker *worker = &scheduler->workers[worker_id];
  for (struct list *at = worker->gpus.next; at != &worker->gpus; at = at->next) {
    struct gpu *gpu = LIST_ENTRY(at, struct gpu, of_worker);
    if (gpu->gpu_index == gpu_index) {
      struct list lost;
      list_init(&lost);
      lose_gpu(scheduler, gpu, &lost);
      retry_lost(scheduler, &lost);
      forget_gpu(scheduler, gpu);
      scheduler->counts.gpus_lost++;
      return;
    }
  }
}

static void fill_action(struct scheduler *scheduler, const struct action *action, uint32_t slot,
                        struct scheduler_action *ret_action) {
  const struct gpu *gpu = action->residency->gpu;
  uint32_t count = 0;
  for (const struct request *at = action->first_request; at != NULL; at = at->next_of_batch) {
    scheduler->tags[slot][count++] = at->tag;
  }
  CHECK_EQ(count, action->requests_count);
  *ret_action = (struct scheduler_action){
      .action_id = action->action_id,
      .type = action->type,
      .worker_id = gpu->worker_id,
      .gpu_index = gpu->gpu_index,
      .model_id = action->residency->model->model_id,
      .batch_size = action->batch_size,
      .earliest = action->earliest,
      .latest = action->latest,
      .request_tags = scheduler->tags[slot],
      .requests_count = action->requests_count,
  };
}

uint32_t scheduler_next_actions(struct scheduler *scheduler, struct instant now,
                                struct scheduler_action *ret_actions, uint32_t capacity) {
  advance(scheduler, now);
  if (capacity > SCHEDULER_ACTIONS_PER_CALL) {
    capacity = SCHEDULER_ACTIONS_PER_CALL;
  }
  requests_expire(scheduler);
  scheduler->plan_room = capacity;
  if (policy_has_room(scheduler, 1)) {
    scheduler->policy->plan(scheduler->policy_state);
  }
  uint32_t count = 0;
  uint64_t action_id = 0;
  while (count < capacity && ring_pop(&scheduler->outbox, &action_id)) {
    struct action *action = pool_find(&scheduler->actions, action_id);
    CHECK(action != NULL);
    action->is_out = true;
    fill_action(scheduler, action, count, &ret_actions[count]);
    count++;
  }
  return count;
}

struct instant scheduler_wakeup(const struct scheduler *scheduler) {
  if (scheduler->outbox.count > 0) {
    return scheduler->now;
  }
  const struct instant expiry = {tournament_first_key(&scheduler->expiry)};
  return instant_min(expiry, scheduler->policy->wakeup(scheduler->policy_state));
}

const struct model_spec *scheduler_model(const struct scheduler *scheduler, uint32_t model_id) {
  return model_id < scheduler->config.limits.models && scheduler->models[model_id].is_known
             ? &scheduler->models[model_id].spec
             : NULL;
}

void scheduler_counts(const struct scheduler *scheduler, struct scheduler_counts *ret_counts) {
  *ret_counts = scheduler->counts;
}

static void validate_gpu(const struct scheduler *scheduler, const struct gpu *gpu) {
  int64_t pages_held = 0;
  uint32_t infers = 0;
  for (const struct list *at = gpu->residencies.next; at != &gpu->residencies; at = at->next) {
    const struct residency *residency = LIST_ENTRY(at, const struct residency, of_gpu);
    CHECK(residency->gpu == gpu);
    CHECK(residency_find(scheduler, residency->model, gpu) == residency);
    const bool is_entered =
        residency->state == RESIDENCY_LOADING || residency->state == RESIDENCY_LOADED;
    const bool is_held = is_entered || residency->state == RESIDENCY_UNWANTED;
    pages_held += is_held ? residency->model->spec.weights_pages : 0;
    CHECK_EQ(is_entered, list_is_linked(&residency->of_model));
    CHECK(!is_entered || residency->model->is_known || residency->state == RESIDENCY_LOADING);
    CHECK(residency->infers_count == 0 ||
          (residency->state != RESIDENCY_LOADING && residency->state != RESIDENCY_EVICTING));
    infers += residency->infers_count;
  }
  CHECK_EQ(pages_held + gpu->pages_free, gpu->pages);
  CHECK_EQ(infers, gpu->infers_count);
  CHECK_LE(gpu->loads_count, SCHEDULER_LOADS_PER_GPU);
  uint32_t actions = 0;
  const struct list *kinds[] = {&gpu->infers, &gpu->loads, &gpu->evicts};
  for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
    for (const struct list *at = kinds[i]->next; at != kinds[i]; at = at->next) {
      CHECK(LIST_ENTRY(at, const struct action, of_gpu)->residency->gpu == gpu);
      actions++;
    }
  }
  CHECK_EQ(actions, gpu->actions_count);
  CHECK_LE(actions, SCHEDULER_ACTIONS_PER_GPU);
}

void scheduler_validate(const struct scheduler *scheduler) {
  for (uint32_t i = 0; i < scheduler->gpus.capacity; i++) {
    const struct gpu *gpu = pool_at(&scheduler->gpus, i);
    if (gpu != NULL) {
      validate_gpu(scheduler, gpu);
    }
  }
  uint32_t queued = 0;
  for (uint32_t i = 0; i < scheduler->config.limits.models; i++) {
    const struct model *model = &scheduler->models[i];
    queued += model->queue.count;
    if (model->residencies.next == NULL) {
      CHECK_EQ(model->residencies_count, 0);
      continue;
    }
    uint32_t loaded = 0;
    uint32_t linked = 0;
    for (const struct list *at = model->residencies.next; at != &model->residencies;
         at = at->next) {
      const struct residency *residency = LIST_ENTRY(at, const struct residency, of_model);
      loaded += residency->state == RESIDENCY_LOADED;
      linked++;
    }
    CHECK_EQ(loaded, model->loaded_count);
    CHECK_EQ(linked, model->residencies_count);
    CHECK_EQ(tournament_key(&scheduler->expiry, i) != INT64_MAX,
             model->queue.count > 0 && scheduler->policy->keeps_deadlines);
  }
  CHECK_EQ(queued, scheduler->counts.requests_queued);
  CHECK_EQ(queued + scheduler->counts.requests_running, scheduler->requests.taken_count);
  if (scheduler->policy->validate != NULL) {
    scheduler->policy->validate(scheduler->policy_state);
  }
}
