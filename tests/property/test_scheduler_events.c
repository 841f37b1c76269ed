/* The scheduler under random events, true and false ones, for every policy: whatever it is told, it
 * keeps what scheduler.h promises.
 *
 * A mirror beside it follows, from the outside alone, what it must believe: which requests wait,
 * which actions are under way, what lies on which GPU. Each action is checked against the mirror.
 * The workers are liars: results come in any order, twice, late, with any status, times and clocks;
 * GPUs come and go. Time jumps, and at times runs backwards.
 *
 * A failure prints policy, seed and step. CLOCKWORK_SEED replays one seed, CLOCKWORK_STEPS sets the
 * steps of each seed.
 */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/prng.h"
#include "base/table.h"
#include "model/estimate.h"
#include "scheduler/policy.h"
#include "scheduler/scheduler.h"
#include "support/cmocka.h"
#include "support/memory.h"

enum {
  SEEDS = 4,
  STEPS_DEFAULT = 250000,
  MODELS = 24,
  WORKERS = 4,
  GPUS_PER_WORKER = 3,
  GPUS = WORKERS * GPUS_PER_WORKER,
  REQUESTS = 300,
  ACTIONS = GPUS * 64,
  CAPACITY = 64,
  FINISHED = 64,
};

enum held { HELD_NOT, HELD_LOADING, HELD_LOADED, HELD_UNWANTED, HELD_EVICTING, HELD_MISSING };

struct mirror_request {
  enum { REQUEST_FREE, REQUEST_ARRIVING, REQUEST_QUEUED, REQUEST_RUNNING } state;
  uint64_t tag;
  uint32_t model_id;
  struct instant arrived;
  double slo_ns;
};

struct mirror_action {
  struct scheduler_action action; /* request_tags is not used */
  uint64_t tags[MODEL_BATCH_MAX];
  struct instant sent;
  uint32_t clock_mhz;
};

struct mirror_gpu {
  bool is_up;
  uint32_t pages;
  int64_t pages_used;
  uint32_t clock_mhz;
  bool is_clock_known;
  uint32_t loads;
  struct instant last_end;
  enum held held[MODELS];
  uint32_t infers[MODELS];
  uint64_t used[MODELS]; /* order of use */
};

struct mirror_model {
  bool is_known;
  struct model_spec spec;
  uint32_t queued;
  /* The last ten durations x clock of each batch size; a lie counts as 0. */
  int64_t work[MODEL_BATCH_KINDS][ESTIMATE_WINDOW];
  uint32_t measured[MODEL_BATCH_KINDS];
};

struct world {
  struct prng prng;
  struct scheduler_config config;
  struct scheduler *scheduler;
  void *memory;
  bool keeps_deadlines;
  bool runs_requests; /* ECHO does not */
  struct instant now;
  uint64_t next_tag;
  uint64_t uses;
  struct mirror_request requests[REQUESTS + 1];
  uint32_t requests_count;
  struct mirror_action actions[ACTIONS];
  uint32_t actions_count;
  struct mirror_gpu gpus[GPUS];
  bool is_up[WORKERS];
  struct mirror_model models[MODELS];
  uint64_t finished[FINISHED];
  uint64_t finished_count;
  uint32_t evicted_model_id; /* by scheduler_on_evict() in this step */
  bool is_drained;           /* nothing is left in the scheduler's hands to be returned */
  uint64_t answering;        /* action whose result is being reported; 0: none */
  uint64_t answers;
  uint64_t request_rows;
  uint64_t action_rows;
  uint64_t actions_ended;
  struct arena ids_arena;
  struct table ids;
};

/* For the last words only. */
static char last_words[160];
static size_t last_words_bytes;

static void on_abort(int signal_number) {
  (void)signal_number;
  const ssize_t written = write(STDERR_FILENO, last_words, last_words_bytes);
  (void)written;
}

static uint64_t draw(struct world *world, uint64_t bound) {
  return prng_below(&world->prng, bound);
}

static bool chance(struct world *world, double probability) {
  return prng_unit(&world->prng) < probability;
}

static struct mirror_request *find_request(struct world *world, uint64_t tag) {
  struct mirror_request *request = &world->requests[tag % (REQUESTS + 1)];
  CHECK_NE(request->state, REQUEST_FREE);
  CHECK_EQ(request->tag, tag);
  return request;
}

static struct mirror_gpu *gpu_of(struct world *world, const struct scheduler_action *action) {
  return &world->gpus[action->worker_id * GPUS_PER_WORKER + action->gpu_index];
}

/* ---- what comes out ---------------------------------------------------------------------------
 */

static void on_answer(void *self, const struct scheduler_answer *answer) {
  struct world *world = self;
  struct mirror_request *request = find_request(world, answer->tag);
  CHECK_EQ(answer->model_id, request->model_id);
  CHECK_EQ(answer->request_id, request->tag + 5);
  switch ((int)answer->result) {
  case REQUEST_SUCCESS:
    CHECK_EQ(answer->action_id, world->answering);
    CHECK_EQ(request->state == REQUEST_RUNNING, world->runs_requests);
    break;
  case REQUEST_SKIPPED:
    CHECK_EQ(request->state, REQUEST_ARRIVING);
    CHECK_EQ(world->requests_count, world->config.limits.requests);
    break;
  case REQUEST_CANNOT_START:
    CHECK_EQ(request->state == REQUEST_ARRIVING, world->keeps_deadlines);
    break;
  case REQUEST_TIMEOUT:
  case REQUEST_ERROR:
  case REQUEST_INVALID:
    break;
  default:
    CHECK(false);
  }
  if (request->state == REQUEST_QUEUED) {
    world->models[request->model_id].queued--;
  }
  if (request->state != REQUEST_ARRIVING) {
    world->requests_count--;
  }
  request->state = REQUEST_FREE;
  world->answers++;
}

static void on_request_row(void *self, const struct telemetry_request *row) {
  struct world *world = self;
  CHECK_GE(row->latency, 0);
  CHECK(row->deadline_met == (row->result == REQUEST_SUCCESS && row->latency <= row->deadline));
  world->request_rows++;
}

static void on_action_row(void *self, const struct telemetry_action *row) {
  struct world *world = self;
  CHECK_NE(row->action_id, 0);
  CHECK_LE(row->goodput, row->worker_exec_duration);
  CHECK_GE(row->worker_exec_duration, 0);
  world->action_rows++;
}

/* The smallest that the scheduler's estimate can be. */
static int64_t least_estimate_ns(const struct world *world, const struct mirror_gpu *gpu,
                                 uint32_t model_id, uint32_t kind) {
  const struct mirror_model *model = &world->models[model_id];
  int64_t least = model->spec.execute[kind].ns * (int64_t)model->spec.clock_mhz;
  for (uint32_t i = 0; i < model->measured[kind] && i < ESTIMATE_WINDOW; i++) {
    least = model->work[kind][i] < least ? model->work[kind][i] : least;
  }
  return gpu->is_clock_known ? least / gpu->clock_mhz : 0;
}

static void check_infer(struct world *world, struct mirror_gpu *gpu,
                        const struct scheduler_action *action) {
  struct mirror_model *model = &world->models[action->model_id];
  const uint32_t kind = model_batch_kind(&model->spec, action->batch_size);
  CHECK(model->is_known);
  CHECK_EQ(gpu->held[action->model_id], HELD_LOADED);
  CHECK_LT(kind, model->spec.batch_kinds);
  CHECK(kind == 0 || action->batch_size <= world->config.max_batch);
  CHECK(kind == 0 || model->spec.execute[kind].ns <= world->config.max_exec.ns);
  CHECK_GT(action->requests_count, 0);
  CHECK_LE(action->requests_count, action->batch_size);
  const int64_t estimate_ns = least_estimate_ns(world, gpu, action->model_id, kind);
  for (uint32_t i = 0; i < action->requests_count; i++) {
    struct mirror_request *request = find_request(world, action->request_tags[i]);
    CHECK_EQ(request->state, REQUEST_QUEUED);
    CHECK_EQ(request->model_id, action->model_id);
    request->state = REQUEST_RUNNING;
    model->queued--;
    const double left_ns = request->slo_ns - (double)(action->latest.ns - request->arrived.ns);
    CHECK(!world->keeps_deadlines || (double)estimate_ns <= left_ns + 1);
  }
  gpu->infers[action->model_id]++;
  gpu->used[action->model_id] = ++world->uses;
}

static void check_load(struct world *world, struct mirror_gpu *gpu,
                       const struct scheduler_action *action) {
  const struct mirror_model *model = &world->models[action->model_id];
  CHECK(model->is_known);
  CHECK_EQ(gpu->held[action->model_id], HELD_NOT);
  gpu->held[action->model_id] = HELD_LOADING;
  gpu->used[action->model_id] = ++world->uses;
  gpu->pages_used += model->spec.weights_pages;
  CHECK_LE(gpu->pages_used, gpu->pages);
  gpu->loads++;
  CHECK_LE(gpu->loads, 2);
}

static bool may_be_victim(const struct world *world, const struct mirror_gpu *gpu,
                          uint32_t model_id) {
  return gpu->held[model_id] == HELD_LOADED && gpu->infers[model_id] == 0 &&
         (!world->keeps_deadlines || world->models[model_id].queued == 0);
}

static void check_evict(struct world *world, struct mirror_gpu *gpu,
                        const struct scheduler_action *action, bool is_order_known) {
  const uint32_t model_id = action->model_id;
  CHECK_EQ(gpu->infers[model_id], 0);
  if (gpu->held[model_id] != HELD_UNWANTED) {
    CHECK_EQ(gpu->held[model_id], HELD_LOADED);
    if (is_order_known && model_id != world->evicted_model_id) {
      CHECK(may_be_victim(world, gpu, model_id));
      for (uint32_t other = 0; other < MODELS; other++) {
        CHECK(!may_be_victim(world, gpu, other) || gpu->used[other] >= gpu->used[model_id]);
      }
    }
  }
  gpu->held[model_id] = HELD_EVICTING;
  gpu->used[model_id] = ++world->uses;
  gpu->pages_used -= world->models[model_id].spec.weights_pages;
}

static void take_action(struct world *world, const struct scheduler_action *action,
                        bool is_order_known) {
  CHECK_NE(action->action_id, 0);
  CHECK_EQ(table_get(&world->ids, action->action_id), TABLE_NONE);
  table_put(&world->ids, action->action_id, 1);
  CHECK_LT(action->worker_id, WORKERS);
  CHECK(world->is_up[action->worker_id]);
  CHECK_LT(action->gpu_index, GPUS_PER_WORKER);
  CHECK_LT(action->model_id, MODELS);
  CHECK_LE(action->earliest.ns, action->latest.ns);
  struct mirror_gpu *gpu = gpu_of(world, action);
  CHECK(gpu->is_up);
  CHECK_LT(world->actions_count, ACTIONS);
  struct mirror_action *entry = &world->actions[world->actions_count++];
  *entry =
      (struct mirror_action){.action = *action, .sent = world->now, .clock_mhz = gpu->clock_mhz};
  entry->action.request_tags = NULL;
  switch (action->type) {
  case ACTION_INFER:
    memcpy(entry->tags, action->request_tags, action->requests_count * sizeof(uint64_t));
    check_infer(world, gpu, action);
    break;
  case ACTION_LOAD:
    check_load(world, gpu, action);
    break;
  case ACTION_EVICT:
    check_evict(world, gpu, action, is_order_known);
    break;
  default:
    CHECK(false);
  }
}

/* One call; whether everything there is was returned. */
static bool act_once(struct world *world, uint32_t capacity) {
  struct scheduler_action actions[CAPACITY];
  /* The order of eviction is checked only if nothing happened between decision and return. */
  const bool is_order_known = world->is_drained;
  const uint32_t count = scheduler_next_actions(world->scheduler, world->now, actions, capacity);
  CHECK_LE(count, capacity);
  for (uint32_t i = 0; i < count; i++) {
    take_action(world, &actions[i], is_order_known);
  }
  world->is_drained = count < capacity;
  return world->is_drained;
}

static void act(struct world *world) {
  const uint32_t capacity = chance(world, 0.7) ? CAPACITY : 1 + (uint32_t)draw(world, 8);
  while (!act_once(world, capacity)) {
  }
}

/* ---- what goes in -----------------------------------------------------------------------------
 */

/* Mostly now; sometimes a clock that stepped back. */
static struct instant told_now(struct world *world) {
  if (chance(world, 0.02)) {
    return instant_sub(world->now, duration_ns((int64_t)draw(world, 1000000000)));
  }
  return world->now;
}

static double draw_factor(struct world *world) {
  static const double strange[] = {-1, 1e-9, 0.1, 1, 1e6, 1e7, 1e300, INFINITY, NAN, -0.0};
  if (chance(world, 0.05)) {
    return strange[draw(world, sizeof(strange) / sizeof(strange[0]))];
  }
  return chance(world, 0.6) ? 0 : prng_unit(&world->prng) * 60;
}

static void send_request(struct world *world, uint32_t model_id) {
  struct mirror_request *slot = NULL;
  while (slot == NULL) {
    struct mirror_request *next = &world->requests[world->next_tag % (REQUESTS + 1)];
    slot = next->state == REQUEST_FREE ? next : NULL;
    world->next_tag++;
  }
  const uint64_t tag = world->next_tag - 1;
  const struct scheduler_request request = {.tag = tag,
                                            .request_id = tag + 5,
                                            .user_id = 1,
                                            .model_id = model_id,
                                            .batch_size = chance(world, 0.01) ? 2 : 1,
                                            .slo_factor = draw_factor(world)};
  const bool is_valid = model_id < MODELS && world->models[model_id].is_known &&
                        request.batch_size == 1 && request.slo_factor >= 0 &&
                        request.slo_factor * (double)world->models[model_id].spec.execute[0].ns <=
                            (double)SCHEDULER_SLO_MAX.ns;
  double slo_ns = (double)world->config.default_slo.ns;
  if (is_valid && request.slo_factor > 0) {
    slo_ns = request.slo_factor * (double)world->models[model_id].spec.execute[0].ns;
  }
  *slot = (struct mirror_request){.state = REQUEST_ARRIVING,
                                  .tag = tag,
                                  .model_id = model_id,
                                  .arrived = world->now,
                                  .slo_ns = slo_ns};
  const bool is_full = world->requests_count == world->config.limits.requests;
  scheduler_on_request(world->scheduler, told_now(world), &request);
  CHECK(slot->state == REQUEST_FREE || (is_valid && !is_full));
  if (slot->state == REQUEST_ARRIVING) {
    slot->state = REQUEST_QUEUED;
    world->requests_count++;
    world->models[model_id].queued++;
  }
}

static void send_requests(struct world *world) {
  /* Some models are in fashion. */
  uint32_t model_id = (uint32_t)(draw(world, MODELS) * draw(world, MODELS) / MODELS);
  if (chance(world, 0.01)) {
    model_id = (uint32_t)draw(world, UINT32_MAX);
  }
  const uint64_t burst = chance(world, 0.05) ? draw(world, 60) : 1;
  for (uint64_t i = 0; i < burst; i++) {
    send_request(world, model_id);
  }
}

static void remember_finished(struct world *world, uint64_t action_id) {
  world->finished[world->finished_count++ % FINISHED] = action_id;
}

static bool says_missing(int status) {
  return status == ACTION_UNKNOWN_MODEL || status == ACTION_WEIGHTS_NOT_PRESENT ||
         status == ACTION_INPUT_UNKNOWN_MODEL || status == ACTION_EXECUTE_WEIGHTS_MISSING;
}

/* What the scheduler must believe of the weights after this result. */
static void mirror_weights(struct world *world, const struct scheduler_action *action, int status) {
  struct mirror_gpu *gpu = gpu_of(world, action);
  struct mirror_model *model = &world->models[action->model_id];
  enum held *held = &gpu->held[action->model_id];
  const uint32_t pages = model->spec.weights_pages;
  switch (action->type) {
  case ACTION_INFER:
    gpu->infers[action->model_id]--;
    if (says_missing(status) && *held != HELD_MISSING) {
      *held = HELD_MISSING;
      gpu->pages_used -= pages;
    }
    if (*held == HELD_MISSING && gpu->infers[action->model_id] == 0) {
      *held = HELD_NOT;
    }
    break;
  case ACTION_LOAD:
    gpu->loads--;
    if (status == ACTION_SUCCESS || status == ACTION_WEIGHTS_ALREADY_LOADED) {
      *held = model->is_known ? HELD_LOADED : HELD_UNWANTED;
    } else {
      *held = HELD_NOT;
      gpu->pages_used -= pages;
    }
    break;
  case ACTION_EVICT:
    if (status == ACTION_SUCCESS || status == ACTION_EVICT_NOT_IN_CACHE ||
        status == ACTION_EVICT_UNKNOWN_MODEL || status == ACTION_WEIGHTS_NOT_PRESENT) {
      *held = HELD_NOT;
    } else {
      *held = model->is_known ? HELD_LOADED : HELD_UNWANTED;
      gpu->pages_used += pages;
    }
    break;
  }
}

static void mirror_measured(struct world *world, const struct scheduler_action *action,
                            int64_t work) {
  struct mirror_model *model = &world->models[action->model_id];
  const uint32_t kind = model_batch_kind(&model->spec, action->batch_size);
  model->work[kind][model->measured[kind]++ % ESTIMATE_WINDOW] = work;
}

/* A result as it should be, the time moving on to when it is known. */
static struct scheduler_result honest_result(struct world *world,
                                             const struct mirror_action *entry) {
  const struct scheduler_action *action = &entry->action;
  const struct model_spec *spec = &world->models[action->model_id].spec;
  struct mirror_gpu *gpu = gpu_of(world, action);
  const bool is_infer = action->type == ACTION_INFER;
  const uint32_t kind = is_infer ? model_batch_kind(spec, action->batch_size) : 0;
  double ns = is_infer ? (double)spec->execute[kind].ns * spec->clock_mhz / gpu->clock_mhz
                       : (double)spec->load.ns;
  ns *= 0.9 + 0.15 * prng_unit(&world->prng);
  if (chance(world, 0.003)) {
    ns *= 20;
  }
  struct scheduler_result result = {.action_id = action->action_id};
  result.received = instant_add(entry->sent, duration_us(100));
  result.begin = result.received;
  if (is_infer) {
    result.begin = instant_max(result.begin, gpu->last_end);
  }
  result.end = instant_add(result.begin, duration_ns((int64_t)ns));
  result.output_end = instant_add(result.end, duration_us(30));
  result.sent = result.output_end;
  result.clock_before_mhz = gpu->clock_mhz;
  result.clock_after_mhz = chance(world, 0.02) ? 500 + (uint32_t)draw(world, 1500) : gpu->clock_mhz;
  if (action->type != ACTION_EVICT) {
    world->now = instant_max(world->now, instant_add(result.sent, duration_us(100)));
  }
  return result;
}

static void lie(struct world *world, struct scheduler_result *result) {
  struct instant *times[] = {&result->begin, &result->end, &result->output_end, &result->received,
                             &result->sent};
  for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
    if (chance(world, 0.4)) {
      times[i]->ns = (int64_t)prng_next(&world->prng);
    }
  }
  result->clock_before_mhz = (uint32_t)prng_next(&world->prng);
  result->clock_after_mhz = chance(world, 0.5) ? 0 : (uint32_t)prng_next(&world->prng);
}

static enum action_status draw_status(struct world *world) {
  static const enum action_status statuses[] = {
#define STATUS_(name, code, text) name,
      ACTION_STATUS_MAP(STATUS_)
#undef STATUS_
  };
  if (chance(world, 0.9)) {
    return ACTION_SUCCESS;
  }
  if (chance(world, 0.05)) {
    return (enum action_status)draw(world, 1000);
  }
  return statuses[draw(world, sizeof(statuses) / sizeof(statuses[0]))];
}

/* Requests of an action that ended: answered, or waiting again. */
static void requeue(struct world *world, const struct mirror_action *entry) {
  for (uint32_t i = 0; i < entry->action.requests_count; i++) {
    struct mirror_request *request = &world->requests[entry->tags[i] % (REQUESTS + 1)];
    if (request->state == REQUEST_RUNNING && request->tag == entry->tags[i]) {
      request->state = REQUEST_QUEUED;
      world->models[request->model_id].queued++;
    }
  }
}

static void end_action(struct world *world, uint32_t index, bool is_honest) {
  const struct mirror_action entry = world->actions[index];
  world->actions[index] = world->actions[--world->actions_count];
  const struct scheduler_action *action = &entry.action;
  struct mirror_gpu *gpu = gpu_of(world, action);
  struct scheduler_result result = honest_result(world, &entry);
  result.status = is_honest ? ACTION_SUCCESS : draw_status(world);
  /* With a clock that stepped back the result lies in the future, which the scheduler doubts. */
  const struct instant told = told_now(world);
  bool is_lie = told.ns < world->now.ns;
  if (!is_honest && chance(world, 0.03)) {
    is_lie = true;
    lie(world, &result);
  }
  mirror_weights(world, action, (int)result.status);
  world->answering = action->action_id;
  world->actions_ended++;
  if (action->type == ACTION_INFER && result.status == ACTION_SUCCESS) {
    mirror_measured(world, action,
                    is_lie ? 0
                           : instant_since(result.end, result.begin).ns * result.clock_before_mhz);
    gpu->is_clock_known = !is_lie;
    gpu->clock_mhz = is_lie ? entry.clock_mhz : result.clock_after_mhz;
    gpu->last_end = is_lie ? gpu->last_end : result.end;
  }
  scheduler_on_result(world->scheduler, told, &result);
  world->answering = 0;
  if (result.status == ACTION_SUCCESS) {
    for (uint32_t i = 0; i < action->requests_count; i++) {
      const struct mirror_request *request = &world->requests[entry.tags[i] % (REQUESTS + 1)];
      CHECK(request->state == REQUEST_FREE || request->tag != entry.tags[i]);
    }
  }
  requeue(world, &entry);
  remember_finished(world, action->action_id);
}

/* An action that has ended, or never was. Nothing may come of it. */
static void send_strange_result(struct world *world) {
  struct scheduler_result result = {.status = draw_status(world)};
  result.action_id = chance(world, 0.5) ? prng_next(&world->prng) : draw(world, 1000);
  if (chance(world, 0.7)) {
    /* Or the next ones in its place, which may exist and not have been handed out. */
    result.action_id = world->finished[draw(world, FINISHED)] + (draw(world, 3) << 32);
  }
  for (uint32_t i = 0; i < world->actions_count; i++) {
    if (world->actions[i].action.action_id == result.action_id) {
      return; /* a lucky hit */
    }
  }
  const uint64_t answers = world->answers;
  scheduler_on_result(world->scheduler, told_now(world), &result);
  CHECK_EQ(world->answers, answers);
}

static void add_model(struct world *world, uint32_t model_id) {
  struct mirror_model *model = &world->models[model_id];
  struct model_spec spec = {.name = "m", .clock_mhz = 1000};
  spec.weights_pages = 1 + (uint32_t)draw(world, 12);
  spec.weights_bytes = (uint64_t)spec.weights_pages * MODEL_PAGE_BYTES;
  spec.load = duration_us(500 + (int64_t)draw(world, 10000));
  spec.batch_kinds = 1 + (uint32_t)draw(world, 5);
  int64_t ns = 500000 + (int64_t)draw(world, 5000000);
  for (uint32_t kind = 0; kind < spec.batch_kinds; kind++) {
    spec.batch_sizes[kind] = 1U << kind;
    spec.execute[kind] = duration_ns(ns);
    ns += (int64_t)((double)ns * prng_unit(&world->prng));
  }
  bool is_free = !model->is_known;
  for (uint32_t i = 0; i < GPUS; i++) {
    is_free = is_free && (!world->gpus[i].is_up || world->gpus[i].held[model_id] == HELD_NOT);
  }
  CHECK_EQ(scheduler_on_model_added(world->scheduler, told_now(world), model_id, &spec), is_free);
  if (is_free) {
    *model = (struct mirror_model){.is_known = true, .spec = spec};
  }
}

static void remove_model(struct world *world, uint32_t model_id) {
  world->models[model_id].is_known = false;
  scheduler_on_model_removed(world->scheduler, told_now(world), model_id);
  CHECK_EQ(world->models[model_id].queued, 0);
  for (uint32_t i = 0; i < GPUS; i++) {
    enum held *held = &world->gpus[i].held[model_id];
    *held = *held == HELD_LOADED ? HELD_UNWANTED : *held;
  }
}

/* GPUs [first, end) of a worker, which is lost as a whole if these are all. */
static void lose_gpus(struct world *world, uint32_t worker_id, uint32_t first, uint32_t end) {
  const bool is_whole = first == 0 && end == GPUS_PER_WORKER;
  world->is_up[worker_id] = world->is_up[worker_id] && !is_whole;
  for (uint32_t i = first; i < end; i++) {
    world->gpus[worker_id * GPUS_PER_WORKER + i].is_up = false;
  }
  struct mirror_action lost[ACTIONS];
  uint32_t lost_count = 0;
  for (uint32_t i = 0; i < world->actions_count;) {
    const struct scheduler_action *action = &world->actions[i].action;
    if (action->worker_id == worker_id && action->gpu_index >= first && action->gpu_index < end) {
      lost[lost_count++] = world->actions[i];
      world->actions[i] = world->actions[--world->actions_count];
    } else {
      i++;
    }
  }
  if (is_whole) {
    scheduler_on_worker_lost(world->scheduler, told_now(world), worker_id);
  } else {
    scheduler_on_gpu_lost(world->scheduler, told_now(world), worker_id, first);
  }
  for (uint32_t i = 0; i < lost_count; i++) {
    requeue(world, &lost[i]);
    remember_finished(world, lost[i].action.action_id);
    world->actions_ended++;
  }
}

static void lose_worker(struct world *world, uint32_t worker_id) {
  lose_gpus(world, worker_id, 0, GPUS_PER_WORKER);
}

/* Also one that is lost already, or that its worker never had. */
static void lose_gpu(struct world *world, uint32_t worker_id) {
  const uint32_t gpu_index = (uint32_t)draw(world, GPUS_PER_WORKER);
  struct scheduler_counts before;
  struct scheduler_counts after;
  const bool was_up = world->gpus[worker_id * GPUS_PER_WORKER + gpu_index].is_up;
  scheduler_counts(world->scheduler, &before);
  lose_gpus(world, worker_id, gpu_index, gpu_index + 1);
  scheduler_counts(world->scheduler, &after);
  CHECK_EQ(after.gpus_lost, before.gpus_lost + was_up);
  CHECK_EQ(after.gpus + was_up, before.gpus);
  scheduler_validate(world->scheduler);
}

static void raise_worker(struct world *world, uint32_t worker_id) {
  static const uint32_t sizes[] = {5, 20, 40, 100, 300, 5, 20, 40, 100, 0};
  struct scheduler_gpu gpus[GPUS_PER_WORKER];
  uint32_t resident[GPUS_PER_WORKER][2 * MODELS];
  const uint32_t count = (uint32_t)draw(world, GPUS_PER_WORKER + 1);
  for (uint32_t i = 0; i < count; i++) {
    struct mirror_gpu *gpu = &world->gpus[worker_id * GPUS_PER_WORKER + i];
    *gpu = (struct mirror_gpu){.is_up = true, .is_clock_known = true, .last_end = world->now};
    gpu->pages = sizes[draw(world, sizeof(sizes) / sizeof(sizes[0]))];
    gpu->clock_mhz = 500 + (uint32_t)draw(world, 1500);
    gpus[i] = (struct scheduler_gpu){
        .pages = gpu->pages, .clock_mhz = gpu->clock_mhz, .resident_models = resident[i]};
    if (gpu->pages == 0) { /* its worker has lost it */
      gpu->is_up = false;
      continue;
    }
    /* Twice, too many, unknown ones, ids out of range: all may be claimed. */
    const uint32_t claimed = chance(world, 0.5) ? 0 : (uint32_t)draw(world, 2 * MODELS);
    for (uint32_t j = 0; j < claimed; j++) {
      const uint32_t id = (uint32_t)draw(world, MODELS + 2);
      resident[i][gpus[i].resident_count++] = id == MODELS ? UINT32_MAX : id;
      if (id >= MODELS || gpu->held[id] != HELD_NOT) {
        continue;
      }
      const uint32_t pages = world->models[id].spec.weights_pages;
      const bool fits = gpu->pages_used + pages <= gpu->pages;
      gpu->held[id] = world->models[id].is_known && fits ? HELD_LOADED : HELD_UNWANTED;
      gpu->pages_used += pages;
      gpu->used[id] = ++world->uses;
    }
  }
  world->is_up[worker_id] = true;
  CHECK_EQ(scheduler_on_worker_up(world->scheduler, told_now(world), worker_id, gpus, count),
           ERR_OK);
}

static void evict_model(struct world *world, uint32_t model_id) {
  uint32_t idle = 0;
  for (uint32_t i = 0; i < GPUS; i++) {
    const struct mirror_gpu *gpu = &world->gpus[i];
    idle += gpu->is_up && gpu->held[model_id] == HELD_LOADED && gpu->infers[model_id] == 0;
  }
  world->evicted_model_id = model_id;
  const uint32_t evicted = scheduler_on_evict(world->scheduler, told_now(world), model_id);
  /* What was decided and not fetched yet is not in the mirror. */
  CHECK(!world->is_drained || evicted <= idle);
}

static void pass_time(struct world *world) {
  int64_t span_ns = 2 * NS_PER_MS;
  if (chance(world, 0.1)) {
    span_ns = 200 * NS_PER_MS;
  }
  if (chance(world, 0.003)) {
    span_ns = 40 * NS_PER_S;
  }
  world->now = instant_add(world->now, duration_ns((int64_t)draw(world, (uint64_t)span_ns)));
}

/* Between events nothing becomes possible before wakeup(). */
static void check_wakeup(struct world *world) {
  const struct instant wakeup = scheduler_wakeup(world->scheduler);
  CHECK_GT(wakeup.ns, world->now.ns);
  const int64_t horizon_ns = 50 * NS_PER_MS;
  int64_t span_ns = wakeup.ns - world->now.ns;
  span_ns = span_ns > horizon_ns ? horizon_ns : span_ns;
  const uint64_t answers = world->answers;
  const uint32_t actions = world->actions_count;
  world->now.ns += (int64_t)draw(world, (uint64_t)span_ns); /* still before it */
  CHECK(act_once(world, CAPACITY));
  CHECK_EQ(world->answers, answers);
  CHECK_EQ(world->actions_count, actions);
  CHECK_EQ(scheduler_wakeup(world->scheduler).ns, wakeup.ns);
  if (chance(world, 0.7) && span_ns < horizon_ns) {
    world->now = wakeup;
  }
}

static uint32_t pick_action(struct world *world) {
  /* Mostly the oldest of a few, as results come. */
  uint32_t pick = (uint32_t)draw(world, world->actions_count);
  for (int i = 0; i < 3; i++) {
    const uint32_t other = (uint32_t)draw(world, world->actions_count);
    if (world->actions[other].sent.ns < world->actions[pick].sent.ns) {
      pick = other;
    }
  }
  return pick;
}

static void step(struct world *world) {
  const double event = prng_unit(&world->prng);
  world->evicted_model_id = UINT32_MAX;
  /* No more room for actions under way in the mirror: let one end. */
  const bool is_crowded = world->actions_count > ACTIONS - 64;
  if (event < 0.35 && !is_crowded) {
    send_requests(world);
  } else if (event < 0.87 || is_crowded) {
    if (world->actions_count > 0) {
      end_action(world, pick_action(world), false);
    }
  } else if (event < 0.97) {
    pass_time(world);
  } else if (event < 0.98) {
    send_strange_result(world);
  } else if (event < 0.986) {
    add_model(world, (uint32_t)draw(world, MODELS));
  } else if (event < 0.987) {
    remove_model(world, (uint32_t)draw(world, MODELS));
  } else if (event < 0.9885) {
    evict_model(world, (uint32_t)draw(world, MODELS));
  } else {
    const uint32_t worker_id = (uint32_t)draw(world, WORKERS);
    if (!world->is_up[worker_id]) {
      raise_worker(world, worker_id);
    } else if (chance(world, 0.3)) {
      lose_worker(world, worker_id);
    } else if (chance(world, 0.2)) {
      lose_gpu(world, worker_id);
    }
  }
  if (chance(world, 0.05)) {
    world->is_drained = false; /* several events between two calls */
    return;
  }
  act(world);
  if (chance(world, 0.3)) {
    check_wakeup(world);
  }
}

/* ---- a run ------------------------------------------------------------------------------------
 */

static void open_world(struct world *world, const char *policy, uint64_t seed, uint64_t steps) {
  memset(world, 0, sizeof(*world));
  prng_init(&world->prng, seed, 0);
  world->keeps_deadlines = policy_find(policy)->keeps_deadlines;
  world->runs_requests = strcmp(policy, "echo") != 0;
  world->is_drained = true;
  world->next_tag = 1;
  struct scheduler_config *config = &world->config;
  scheduler_config_defaults(config);
  config->policy = policy;
  config->limits = (struct scheduler_limits){.models = MODELS,
                                             .workers = WORKERS,
                                             .gpus = GPUS,
                                             .requests = 20 + (uint32_t)draw(world, REQUESTS - 20),
                                             .residencies = GPUS * MODELS};
  config->schedule_ahead = duration_us(500 + (int64_t)draw(world, 30000));
  config->default_slo = duration_us(5000 + (int64_t)draw(world, 150000));
  config->max_batch = 1U << draw(world, 5);
  config->max_exec = duration_us((int64_t)draw(world, 40000));
  CHECK(scheduler_config_fault(config) == NULL);
  const struct scheduler_sink sink = {
      .self = world,
      .on_answer = on_answer,
      .telemetry = {.self = world, .on_request = on_request_row, .on_action = on_action_row}};
  /* To the byte: ASan sees a step outside. */
  world->memory = test_memory_take(scheduler_bytes(config));
  world->scheduler = scheduler_init(world->memory, config, &sink);
  struct arena counting;
  arena_init_counting(&counting);
  const uint32_t ids = (uint32_t)steps * 8;
  table_init(&world->ids, &counting, ids);
  world->ids_arena = test_arena_open(counting.used_bytes);
  table_init(&world->ids, &world->ids_arena, ids);
  for (uint32_t id = 0; id < MODELS; id++) {
    add_model(world, id);
  }
}

/* Whatever is left gets its answer. */
static void close_world(struct world *world) {
  for (uint64_t i = 0; i < 200 && world->requests_count > 0; i++) {
    while (world->actions_count > 0) {
      end_action(world, pick_action(world), true);
      act(world);
    }
    pass_time(world);
    act(world);
  }
  for (uint32_t id = 0; id < WORKERS; id++) {
    lose_worker(world, id);
    act(world);
  }
  if (world->keeps_deadlines) {
    world->now = instant_add(world->now, duration_s(100000)); /* longer than the longest SLO */
  } else {
    for (uint32_t id = 0; id < MODELS; id++) {
      remove_model(world, id); /* they wait for a worker, for ever if need be */
    }
  }
  act(world);
  CHECK_EQ(world->requests_count, 0);
  CHECK_EQ(scheduler_wakeup(world->scheduler).ns, INSTANT_NEVER.ns);
  scheduler_validate(world->scheduler);
  struct scheduler_counts counts;
  scheduler_counts(world->scheduler, &counts);
  uint64_t answers = 0;
  for (size_t i = 0; i < sizeof(counts.answers_by_result) / sizeof(uint64_t); i++) {
    answers += counts.answers_by_result[i];
  }
  CHECK_EQ(counts.requests, answers);
  CHECK_EQ(world->answers, answers);
  CHECK_EQ(world->request_rows, answers);
  CHECK_EQ(counts.requests_queued, 0);
  CHECK_EQ(counts.requests_running, 0);
  CHECK_EQ(counts.gpus, 0);
  /* An action that was lost before it was fetched has a row too. */
  CHECK_GE(world->action_rows, world->actions_ended);
  CHECK_EQ(world->action_rows, counts.infers + counts.loads + counts.evicts);
  print_message("  answers: success %llu timeout %llu cannot start %llu error %llu invalid %llu "
                "skipped %llu; infers %llu loads %llu evicts %llu failed %llu; GPUs lost %llu\n",
                (unsigned long long)counts.answers_by_result[REQUEST_SUCCESS],
                (unsigned long long)counts.answers_by_result[REQUEST_TIMEOUT],
                (unsigned long long)counts.answers_by_result[REQUEST_CANNOT_START],
                (unsigned long long)counts.answers_by_result[REQUEST_ERROR],
                (unsigned long long)counts.answers_by_result[REQUEST_INVALID],
                (unsigned long long)counts.answers_by_result[REQUEST_SKIPPED],
                (unsigned long long)counts.infers, (unsigned long long)counts.loads,
                (unsigned long long)counts.evicts, (unsigned long long)counts.actions_failed,
                (unsigned long long)counts.gpus_lost);
  CHECK_GT(counts.gpus_lost, 0);
  free(world->memory);
  test_arena_close(&world->ids_arena);
}

static void run_seed(const char *policy, uint64_t seed, uint64_t steps) {
  struct world *world = malloc(sizeof(*world));
  CHECK(world != NULL);
  print_message("policy %s, seed %llu, %llu steps\n", policy, (unsigned long long)seed,
                (unsigned long long)steps);
  open_world(world, policy, seed, steps);
  for (uint64_t i = 0; i < steps; i++) {
    const int length =
        snprintf(last_words, sizeof(last_words), "policy %s, CLOCKWORK_SEED=%llu, step %llu\n",
                 policy, (unsigned long long)seed, (unsigned long long)i);
    last_words_bytes = (size_t)length;
    step(world);
    if (i % 1000 == 0) {
      scheduler_validate(world->scheduler);
    }
  }
  close_world(world);
  free(world);
}

static uint64_t from_environment(const char *name, uint64_t otherwise) {
  const char *text = getenv(name);
  return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

static void test_every_policy(void **state) {
  (void)state;
  signal(SIGABRT, on_abort);
  const uint64_t steps = from_environment("CLOCKWORK_STEPS", STEPS_DEFAULT);
  const uint64_t only = from_environment("CLOCKWORK_SEED", 0);
  for (size_t i = 0; policy_registry[i] != NULL; i++) {
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
      if (only == 0 || seed == 1) {
        run_seed(policy_registry[i]->name, only == 0 ? seed : only, steps);
      }
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_policy)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
