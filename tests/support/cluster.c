#include "support/cluster.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "support/memory.h"

void cluster_options_defaults(struct cluster_options *options) {
  *options = (struct cluster_options){
      .seed = 1,
      .network = duration_us(200),
      .actions = 4096,
      .requests_logged = 4096,
      .actions_logged = 4096,
      .rows_logged = 4096,
  };
  scheduler_config_defaults(&options->config);
  options->config.limits = (struct scheduler_limits){
      .models = 1024, .workers = 8, .gpus = 16, .requests = 16384, .residencies = 16384};
}

static void on_answer(void *self, const struct scheduler_answer *answer) {
  struct cluster *cluster = self;
  cluster->counts.answers++;
  CHECK_LT(answer->tag, cluster->next_tag);
  if (answer->tag < cluster->options.requests_logged) {
    struct cluster_answer *entry = &cluster->answers[answer->tag];
    CHECK(!entry->is_answered);
    *entry = (struct cluster_answer){.is_answered = true, .answer = *answer, .at = cluster->now};
  }
}

static void on_request_row(void *self, const struct telemetry_request *row) {
  struct cluster *cluster = self;
  cluster->counts.in_time += row->deadline_met;
  cluster->counts.late += row->result == REQUEST_SUCCESS && !row->deadline_met;
  if (cluster->request_rows_count < cluster->options.rows_logged) {
    cluster->request_rows[cluster->request_rows_count++] = *row;
  }
}

static void on_action_row(void *self, const struct telemetry_action *row) {
  struct cluster *cluster = self;
  if (row->action_type == ACTION_INFER) {
    cluster->counts.execute_ns += (uint64_t)row->worker_exec_duration;
  }
  if (cluster->action_rows_count < cluster->options.rows_logged) {
    cluster->action_rows[cluster->action_rows_count++] = *row;
  }
}

static void *take(size_t count, size_t bytes) {
  void *memory = calloc(count == 0 ? 1 : count, bytes);
  CHECK(memory != NULL);
  return memory;
}

struct cluster *cluster_create(const struct cluster_options *options) {
  struct cluster *cluster = take(1, sizeof(*cluster));
  cluster->options = *options;
  prng_init(&cluster->prng, options->seed, 0);
  const struct scheduler_limits *limits = &options->config.limits;
  cluster->specs = take(limits->models, sizeof(struct model_spec));
  cluster->workers = take(limits->workers, sizeof(struct cluster_worker));
  cluster->answers = take(options->requests_logged, sizeof(struct cluster_answer));
  cluster->log = take(options->actions_logged, sizeof(struct scheduler_action));
  cluster->request_rows = take(options->rows_logged, sizeof(struct telemetry_request));
  cluster->action_rows = take(options->rows_logged, sizeof(struct telemetry_action));
  struct arena arena;
  arena_init_counting(&arena);
  pool_init(&cluster->actions, &arena, options->actions, sizeof(struct cluster_action));
  heap_init(&cluster->events, &arena, options->actions);
  const size_t bytes = arena.used_bytes;
  cluster->arena_memory = test_memory_take(bytes);
  arena_init(&arena, cluster->arena_memory, bytes);
  pool_init(&cluster->actions, &arena, options->actions, sizeof(struct cluster_action));
  heap_init(&cluster->events, &arena, options->actions);
  const struct scheduler_sink sink = {
      .self = cluster,
      .on_answer = on_answer,
      .telemetry = {.self = cluster, .on_request = on_request_row, .on_action = on_action_row}};
  const char *fault = scheduler_config_fault(&options->config);
  CHECK(fault == NULL);
  cluster->memory = test_memory_take(scheduler_bytes(&options->config));
  cluster->scheduler = scheduler_init(cluster->memory, &options->config, &sink);
  return cluster;
}

void cluster_destroy(struct cluster *cluster) {
  if (cluster == NULL) {
    return;
  }
  for (uint32_t i = 0; i < cluster->options.config.limits.workers; i++) {
    for (uint32_t j = 0; j < CLUSTER_GPUS_PER_WORKER; j++) {
      free(cluster->workers[i].gpus[j].is_resident);
      free(cluster->workers[i].gpus[j].in_use);
    }
  }
  free(cluster->specs);
  free(cluster->workers);
  free(cluster->answers);
  free(cluster->log);
  free(cluster->request_rows);
  free(cluster->action_rows);
  free(cluster->arena_memory);
  free(cluster->memory);
  free(cluster);
}

void cluster_worker_up(struct cluster *cluster, uint32_t worker_id,
                       const struct cluster_gpu_options *gpus, uint32_t gpus_count) {
  struct cluster_worker *worker = &cluster->workers[worker_id];
  CHECK_EQ(worker->gpus_count, 0);
  CHECK_LE(gpus_count, CLUSTER_GPUS_PER_WORKER);
  const uint32_t models = cluster->options.config.limits.models;
  worker->gpus_count = gpus_count;
  for (uint32_t i = 0; i < gpus_count; i++) {
    struct cluster_gpu *gpu = &worker->gpus[i];
    gpu->pages = gpus[i].pages;
    gpu->clock_mhz = gpus[i].clock_mhz;
    gpu->is_resident = take(models, sizeof(bool));
    gpu->in_use = take(models, sizeof(uint32_t));
  }
  cluster_worker_back(cluster, worker_id);
}

void cluster_worker_back(struct cluster *cluster, uint32_t worker_id) {
  struct cluster_worker *worker = &cluster->workers[worker_id];
  const uint32_t models = cluster->options.config.limits.models;
  struct scheduler_gpu state[CLUSTER_GPUS_PER_WORKER] = {0};
  uint32_t *resident = take((size_t)models * worker->gpus_count, sizeof(uint32_t));
  for (uint32_t i = 0; i < worker->gpus_count; i++) {
    struct cluster_gpu *gpu = &worker->gpus[i];
    list_init(&gpu->executions);
    list_init(&gpu->transfers);
    gpu->is_executing = false;
    gpu->is_transferring = false;
    memset(gpu->in_use, 0, models * sizeof(uint32_t));
    uint32_t *ids = resident + (size_t)i * models;
    state[i] = (struct scheduler_gpu){
        .pages = gpu->pages, .clock_mhz = gpu->clock_mhz, .resident_models = ids};
    for (uint32_t id = 0; id < models; id++) {
      if (gpu->is_resident[id]) {
        ids[state[i].resident_count++] = id;
      }
    }
  }
  worker->is_up = true;
  worker->is_hung = false;
  CHECK_EQ(scheduler_on_worker_up(cluster->scheduler, cluster->now, worker_id, state,
                                  worker->gpus_count),
           ERR_OK);
  free(resident);
}

static void drop_waiting(struct cluster *cluster, struct list *queue) {
  while (!list_is_empty(queue)) {
    struct list *first = list_first(queue);
    list_remove(first);
    pool_give(&cluster->actions, LIST_ENTRY(first, struct cluster_action, of_queue));
  }
}

void cluster_worker_lost(struct cluster *cluster, uint32_t worker_id) {
  struct cluster_worker *worker = &cluster->workers[worker_id];
  worker->is_up = false;
  worker->session++;
  /* A half loaded model is none. */
  for (uint32_t i = 0; i < worker->gpus_count; i++) {
    struct cluster_gpu *gpu = &worker->gpus[i];
    drop_waiting(cluster, &gpu->executions);
    drop_waiting(cluster, &gpu->transfers);
    gpu->pages_used = 0;
    for (uint32_t id = 0; id < cluster->options.config.limits.models; id++) {
      gpu->pages_used += gpu->is_resident[id] ? cluster->specs[id].weights_pages : 0;
    }
  }
  scheduler_on_worker_lost(cluster->scheduler, cluster->now, worker_id);
}

void cluster_add_model(struct cluster *cluster, uint32_t model_id, const struct model_spec *spec) {
  CHECK(scheduler_on_model_added(cluster->scheduler, cluster->now, model_id, spec));
  cluster->specs[model_id] = *spec;
}

uint64_t cluster_request(struct cluster *cluster, uint32_t model_id, double slo_factor) {
  const uint64_t tag = cluster->next_tag++;
  cluster->counts.requests++;
  const struct scheduler_request request = {.tag = tag,
                                            .request_id = tag + 1000,
                                            .user_id = 7,
                                            .model_id = model_id,
                                            .batch_size = 1,
                                            .slo_factor = slo_factor};
  scheduler_on_request(cluster->scheduler, cluster->now, &request);
  return tag;
}

static struct cluster_gpu *gpu_of(struct cluster *cluster, const struct scheduler_action *action) {
  return &cluster->workers[action->worker_id].gpus[action->gpu_index];
}

static void schedule(struct cluster *cluster, struct cluster_action *entry, struct instant at) {
  heap_insert(&cluster->events, &entry->node, at.ns, cluster->next_sequence++);
}

static void send(struct cluster *cluster, const struct scheduler_action *action) {
  const struct cluster_worker *worker = &cluster->workers[action->worker_id];
  CHECK_LT(action->worker_id, cluster->options.config.limits.workers);
  CHECK(worker->is_up);
  CHECK_LT(action->gpu_index, worker->gpus_count);
  CHECK_LE(action->earliest.ns, action->latest.ns);
  CHECK_LE(action->requests_count, action->batch_size);
  if (cluster->log_count < cluster->options.actions_logged) {
    cluster->log[cluster->log_count] = *action;
    cluster->log[cluster->log_count++].request_tags = NULL;
  }
  cluster->counts.infers += action->type == ACTION_INFER;
  cluster->counts.infer_requests += action->requests_count;
  cluster->counts.loads += action->type == ACTION_LOAD;
  cluster->counts.evicts += action->type == ACTION_EVICT;
  struct cluster_action *entry = pool_take(&cluster->actions);
  CHECK(entry != NULL);
  entry->session = worker->session;
  entry->action = *action;
  entry->result.action_id = action->action_id;
  schedule(cluster, entry, instant_add(cluster->now, cluster->options.network));
}

void cluster_act(struct cluster *cluster) {
  struct scheduler_action actions[16];
  const uint32_t capacity = sizeof(actions) / sizeof(actions[0]);
  uint32_t count = capacity;
  while (count == capacity) {
    count = scheduler_next_actions(cluster->scheduler, cluster->now, actions, capacity);
    for (uint32_t i = 0; i < count; i++) {
      send(cluster, &actions[i]);
    }
  }
}

/* The result goes back. */
static void finish(struct cluster *cluster, struct cluster_action *entry,
                   enum action_status status) {
  entry->stage = CLUSTER_STAGE_RETURNING;
  entry->result.status = status;
  entry->result.output_end = cluster->now;
  entry->result.sent = cluster->now;
  if (status != ACTION_SUCCESS) {
    CHECK_LT(status, CLUSTER_STATUSES);
    cluster->refusals[status]++;
  }
  schedule(cluster, entry, instant_add(cluster->now, cluster->options.network));
}

static struct duration jittered(struct cluster *cluster, double ns) {
  if (cluster->options.jitter > 0) {
    ns *= 1 + cluster->options.jitter * prng_normal(&cluster->prng);
  }
  return duration_ns(ns < 1 ? 1 : (int64_t)ns);
}

static void run(struct cluster *cluster, struct cluster_action *entry, struct duration time) {
  const uint32_t clock_mhz = gpu_of(cluster, &entry->action)->clock_mhz;
  entry->stage = CLUSTER_STAGE_RUNNING;
  entry->result.begin = cluster->now;
  entry->result.end = instant_add(cluster->now, time);
  entry->result.clock_before_mhz = clock_mhz;
  entry->result.clock_after_mhz = clock_mhz;
  schedule(cluster, entry, entry->result.end);
}

static enum action_status forced(struct cluster *cluster, enum action_type type) {
  const enum action_status status = cluster->fail_next[type];
  cluster->fail_next[type] = ACTION_SUCCESS;
  return status;
}

static enum action_status begin_execution(struct cluster *cluster, struct cluster_action *entry) {
  const struct scheduler_action *action = &entry->action;
  const struct cluster_gpu *gpu = gpu_of(cluster, action);
  const struct model_spec *spec = &cluster->specs[action->model_id];
  const uint32_t kind = model_batch_kind(spec, action->batch_size);
  const enum action_status status = forced(cluster, ACTION_INFER);
  if (status != ACTION_SUCCESS) {
    return status;
  }
  if (instant_after(cluster->now, action->latest)) {
    return ACTION_EXECUTE_TOO_LATE;
  }
  if (!gpu->is_resident[action->model_id]) {
    return ACTION_EXECUTE_WEIGHTS_MISSING;
  }
  CHECK_LT(kind, spec->batch_kinds);
  const double slowdown = (double)spec->clock_mhz / gpu->clock_mhz;
  run(cluster, entry, jittered(cluster, (double)spec->execute[kind].ns * slowdown));
  return ACTION_SUCCESS;
}

static enum action_status begin_transfer(struct cluster *cluster, struct cluster_action *entry) {
  const struct scheduler_action *action = &entry->action;
  struct cluster_gpu *gpu = gpu_of(cluster, action);
  const struct model_spec *spec = &cluster->specs[action->model_id];
  const enum action_status status = forced(cluster, ACTION_LOAD);
  if (status != ACTION_SUCCESS) {
    return status;
  }
  if (instant_after(cluster->now, action->latest)) {
    return ACTION_LOAD_TOO_LATE;
  }
  if (gpu->is_resident[action->model_id]) {
    return ACTION_WEIGHTS_ALREADY_LOADED;
  }
  if (gpu->pages_used + spec->weights_pages > gpu->pages) {
    return ACTION_LOAD_INSUFFICIENT_CACHE;
  }
  gpu->pages_used += spec->weights_pages;
  run(cluster, entry, jittered(cluster, (double)spec->load.ns));
  return ACTION_SUCCESS;
}

static enum action_status evict(struct cluster *cluster, const struct scheduler_action *action) {
  struct cluster_gpu *gpu = gpu_of(cluster, action);
  const enum action_status status = forced(cluster, ACTION_EVICT);
  if (status != ACTION_SUCCESS) {
    return status;
  }
  if (instant_after(cluster->now, action->latest)) {
    return ACTION_EVICT_TOO_LATE;
  }
  if (gpu->in_use[action->model_id] > 0) {
    return ACTION_WEIGHTS_IN_USE;
  }
  if (!gpu->is_resident[action->model_id]) {
    return ACTION_EVICT_NOT_IN_CACHE;
  }
  gpu->is_resident[action->model_id] = false;
  gpu->pages_used -= cluster->specs[action->model_id].weights_pages;
  return ACTION_SUCCESS;
}

/* Start what waits for the GPU's idle engines. */
static void go_on(struct cluster *cluster, struct cluster_gpu *gpu) {
  while (!gpu->is_executing && !list_is_empty(&gpu->executions)) {
    struct cluster_action *entry =
        LIST_ENTRY(list_first(&gpu->executions), struct cluster_action, of_queue);
    list_remove(&entry->of_queue);
    const enum action_status status = begin_execution(cluster, entry);
    gpu->is_executing = status == ACTION_SUCCESS;
    if (status != ACTION_SUCCESS) {
      gpu->in_use[entry->action.model_id]--;
      finish(cluster, entry, status);
    }
  }
  while (!gpu->is_transferring && !list_is_empty(&gpu->transfers)) {
    struct cluster_action *entry =
        LIST_ENTRY(list_first(&gpu->transfers), struct cluster_action, of_queue);
    list_remove(&entry->of_queue);
    const enum action_status status = begin_transfer(cluster, entry);
    gpu->is_transferring = status == ACTION_SUCCESS;
    if (status != ACTION_SUCCESS) {
      gpu->in_use[entry->action.model_id]--;
      finish(cluster, entry, status);
    }
  }
}

static void arrive(struct cluster *cluster, struct cluster_action *entry) {
  struct cluster_gpu *gpu = gpu_of(cluster, &entry->action);
  entry->result.received = cluster->now;
  entry->result.begin = cluster->now;
  entry->result.end = cluster->now;
  if (entry->action.type == ACTION_EVICT) {
    finish(cluster, entry, evict(cluster, &entry->action));
    return;
  }
  entry->stage = CLUSTER_STAGE_WAITING;
  gpu->in_use[entry->action.model_id]++;
  list_append(entry->action.type == ACTION_INFER ? &gpu->executions : &gpu->transfers,
              &entry->of_queue);
  go_on(cluster, gpu);
}

static void complete(struct cluster *cluster, struct cluster_action *entry) {
  struct cluster_gpu *gpu = gpu_of(cluster, &entry->action);
  gpu->in_use[entry->action.model_id]--;
  if (entry->action.type == ACTION_INFER) {
    gpu->is_executing = false;
  } else {
    gpu->is_transferring = false;
    gpu->is_resident[entry->action.model_id] = true;
  }
  finish(cluster, entry, ACTION_SUCCESS);
  go_on(cluster, gpu);
}

static void happen(struct cluster *cluster, struct cluster_action *entry) {
  const struct cluster_worker *worker = &cluster->workers[entry->action.worker_id];
  const bool is_dropped = !worker->is_up || entry->session != worker->session ||
                          (worker->is_hung && entry->stage == CLUSTER_STAGE_RETURNING);
  if (is_dropped) {
    pool_give(&cluster->actions, entry);
    return;
  }
  switch (entry->stage) {
  case CLUSTER_STAGE_TRAVELLING:
    arrive(cluster, entry);
    break;
  case CLUSTER_STAGE_WAITING:
    CHECK(false);
    break;
  case CLUSTER_STAGE_RUNNING:
    complete(cluster, entry);
    break;
  case CLUSTER_STAGE_RETURNING:
    scheduler_on_result(cluster->scheduler, cluster->now, &entry->result);
    pool_give(&cluster->actions, entry);
    break;
  }
}

void cluster_run_until(struct cluster *cluster, struct instant until) {
  cluster_act(cluster);
  for (;;) {
    const struct instant wakeup = scheduler_wakeup(cluster->scheduler);
    const struct instant next =
        instant_min(wakeup, (struct instant){heap_first_key(&cluster->events)});
    if (instant_after(next, until)) {
      break;
    }
    cluster->now = instant_max(cluster->now, next);
    if (heap_first_key(&cluster->events) <= cluster->now.ns) {
      struct heap_node *first = heap_first(&cluster->events);
      heap_remove(&cluster->events, first);
      happen(cluster, HEAP_ENTRY(first, struct cluster_action, node));
    }
    cluster_act(cluster);
  }
  cluster->now = until;
}

void cluster_run_for(struct cluster *cluster, struct duration time) {
  cluster_run_until(cluster, instant_add(cluster->now, time));
}

const struct cluster_answer *cluster_answer(const struct cluster *cluster, uint64_t tag) {
  CHECK_LT(tag, cluster->options.requests_logged);
  return &cluster->answers[tag];
}

const struct scheduler_action *cluster_logged(const struct cluster *cluster, enum action_type type,
                                              uint32_t index) {
  for (uint32_t i = 0; i < cluster->log_count; i++) {
    if (cluster->log[i].type == type && index-- == 0) {
      return &cluster->log[i];
    }
  }
  return NULL;
}

uint32_t cluster_logged_count(const struct cluster *cluster, enum action_type type) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < cluster->log_count; i++) {
    count += cluster->log[i].type == type;
  }
  return count;
}

void cluster_clear_log(struct cluster *cluster) {
  cluster->log_count = 0;
}

bool cluster_is_resident(const struct cluster *cluster, uint32_t worker_id, uint32_t gpu_index,
                         uint32_t model_id) {
  return cluster->workers[worker_id].gpus[gpu_index].is_resident[model_id];
}

struct model_spec cluster_spec(uint32_t pages, int64_t load_us, const int64_t execute_us[5]) {
  struct model_spec spec = {.name = "model",
                            .input_bytes = 602112,
                            .output_bytes = 4000,
                            .weights_bytes = (uint64_t)pages * MODEL_PAGE_BYTES,
                            .weights_pages = pages,
                            .load = duration_us(load_us),
                            .clock_mhz = 1000};
  for (uint32_t i = 0; i < 5 && execute_us[i] > 0; i++) {
    spec.batch_sizes[i] = 1U << i;
    spec.execute[i] = duration_us(execute_us[i]);
    spec.batch_kinds = i + 1;
  }
  return spec;
}

struct model_spec cluster_resnet50(void) {
  const int64_t execute_us[5] = {2730, 4050, 5870, 9930, 17300};
  return cluster_spec(7, 8320, execute_us);
}
