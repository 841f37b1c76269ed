#include "simulator/worker_node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/check.h"
#include "simulator/device.h"

enum { AT_ONCE = 64 };

/* As worker/state.c has it: longer is not waited for transfers of controllers that are gone. */
#define STATE_PATIENCE duration_s(3)

/* What the executor does not keep of an action; its pool id is its name there. */
struct worker_node_action {
  uint64_t action_id;
  uint32_t connection;
  struct instant received;
  bool is_change; /* LOAD or EVICT */
};

struct parts {
  void *backend;
  void *device;
  void *executor;
  struct backend_gpu *gpus;
  bool *has_package;
  bool *is_gpu_lost;
};

static struct executor_limits limits_of(const struct worker_node_config *config) {
  const struct emulated_config *emulated = config->backend;
  struct executor_limits limits = {.models = emulated->models_max,
                                   .loads = config->packages_count,
                                   .actions = config->actions_max,
                                   .gpus = emulated->gpus_count};
  for (uint32_t i = 0; i < emulated->gpus_count; i++) {
    const uint32_t pages = emulated->gpus[i].pages;
    limits.pages_per_gpu = pages > limits.pages_per_gpu ? pages : limits.pages_per_gpu;
  }
  return limits;
}

static struct parts carve(struct pool *actions, struct arena *arena,
                          const struct worker_node_config *config) {
  const struct executor_limits limits = limits_of(config);
  struct parts parts = {.backend = arena_take(arena, 1, emulated_bytes(config->backend)),
                        .executor = arena_take(arena, 1, executor_bytes(&limits)),
                        .gpus = arena_take(arena, limits.gpus, sizeof(struct backend_gpu)),
                        .has_package = arena_take(arena, config->packages_count, sizeof(bool))};
  if (config->can_fail) {
    parts.device = arena_take(arena, 1, device_bytes(limits.gpus));
    parts.is_gpu_lost = arena_take(arena, limits.gpus, sizeof(bool));
  }
  pool_init(actions, arena, config->actions_max, sizeof(struct worker_node_action));
  return parts;
}

size_t worker_node_bytes(const struct worker_node_config *config) {
  struct arena arena;
  struct pool counted;
  arena_init_counting(&arena);
  carve(&counted, &arena, config);
  return arena.used_bytes;
}

/* ---- connections ----------------------------------------------------------------------------- */

static struct worker_node_peer *peer_find(struct worker_node *worker, uint32_t connection) {
  for (uint32_t i = 0; i < worker->peers_count; i++) {
    if (worker->peers[i].connection == connection) {
      return &worker->peers[i];
    }
  }
  return NULL;
}

static struct report_message *report(struct worker_node *worker, uint32_t connection,
                                     uint64_t wire_bytes) {
  struct report_message *message = channel_send(&worker->to_controller, wire_bytes);
  *message = (struct report_message){.connection = connection};
  return message;
}

static void on_opened(struct worker_node *worker, uint32_t connection) {
  struct worker_node_peer *peer = peer_find(worker, CONNECTION_NONE);
  if (peer == NULL) {
    if (worker->peers_count == WORKER_NODE_PEERS_MAX) {
      report(worker, connection, SIGNAL_WIRE_BYTES)->kind = REPORT_CLOSED;
      return;
    }
    peer = &worker->peers[worker->peers_count++];
  }
  *peer = (struct worker_node_peer){.connection = connection, .ends_at = INSTANT_NEVER};
}

static void on_closed(struct worker_node *worker, struct worker_node_peer *peer) {
  worker->orphan_changes_count += peer->changes_count;
  worker->states_wanted_count -= peer->wants_state;
  *peer = (struct worker_node_peer){.connection = CONNECTION_NONE};
}

/* The kernel gives up connections whose other side it has not heard of for long. */
static struct instant end_connections(struct worker_node *worker, struct instant now) {
  struct instant next = INSTANT_NEVER;
  for (uint32_t i = 0; i < worker->peers_count; i++) {
    struct worker_node_peer *peer = &worker->peers[i];
    if (peer->connection == CONNECTION_NONE) {
      continue;
    }
    if (instant_after(peer->ends_at, now)) {
      next = instant_min(next, peer->ends_at);
    } else {
      on_closed(worker, peer);
    }
  }
  return next;
}

/* ---- state ----------------------------------------------------------------------------------- */

static void state_forget(struct worker_node_state *state, uint32_t gpus_count) {
  for (uint32_t i = 0; state->resident_models != NULL && i < gpus_count; i++) {
    free(state->resident_models[i]);
  }
  free(state->resident_models);
  free(state->resident_counts);
  free(state->clocks_mhz);
  free(state->is_lost);
  free(state->has_package);
  *state = (struct worker_node_state){.resident_models = NULL};
}

/* Returns how many models are resident, on all GPUs together. */
static uint32_t state_take(struct worker_node *worker) {
  const struct worker_node_config *config = &worker->config;
  const uint32_t gpus_count = config->backend->gpus_count;
  struct worker_node_state *state = &worker->state;
  uint32_t count = 0;
  state_forget(state, gpus_count);
  state->resident_models = calloc(gpus_count, sizeof(*state->resident_models));
  state->resident_counts = calloc(gpus_count, sizeof(*state->resident_counts));
  state->clocks_mhz = calloc(gpus_count, sizeof(*state->clocks_mhz));
  state->is_lost = calloc(gpus_count, sizeof(*state->is_lost));
  state->has_package = calloc(config->packages_count, sizeof(*state->has_package));
  CHECK(state->resident_models != NULL);
  CHECK(state->resident_counts != NULL);
  CHECK(state->clocks_mhz != NULL);
  CHECK(state->is_lost != NULL);
  CHECK(state->has_package != NULL);
  memcpy(state->has_package, worker->has_package, config->packages_count);
  for (uint32_t i = 0; i < gpus_count; i++) {
    struct executor_gpu_state gpu;
    struct backend_gpu device;
    worker->backend.ops->gpu(worker->backend.self, i, &device);
    state->clocks_mhz[i] = device.clock_mhz;
    executor_gpu_state(worker->executor, i, &gpu);
    state->is_lost[i] = gpu.is_lost;
    state->resident_models[i] = calloc((size_t)gpu.models_resident + 1, sizeof(uint32_t));
    CHECK(state->resident_models[i] != NULL);
    for (uint32_t j = 0; state->resident_counts[i] < gpu.models_resident; j++) {
      CHECK_LT(j, config->backend->models_max);
      if (executor_is_resident(worker->executor, i, j)) {
        state->resident_models[i][state->resident_counts[i]++] = j;
      }
    }
    count += gpu.models_resident;
  }
  return count;
}

/* Returns when to come again, local. */
static struct instant answer_states(struct worker_node *worker, struct instant now) {
  struct instant next = INSTANT_NEVER;
  for (uint32_t i = 0; i < worker->peers_count && worker->states_wanted_count > 0; i++) {
    struct worker_node_peer *peer = &worker->peers[i];
    if (peer->connection == CONNECTION_NONE || !peer->wants_state) {
      continue;
    }
    if (worker->orphan_changes_count > 0 && instant_before(now, peer->state_deadline)) {
      next = instant_min(next, peer->state_deadline);
      continue;
    }
    peer->wants_state = false;
    peer->has_state = true;
    worker->states_wanted_count--;
    const uint64_t bytes = STATE_WIRE_BYTES + sizeof(uint32_t) * (uint64_t)state_take(worker) +
                           STATE_PACKAGE_WIRE_BYTES * (uint64_t)worker->config.packages_count;
    report(worker, peer->connection, bytes)->kind = REPORT_STATE;
  }
  return next;
}

/* ---- a turn ---------------------------------------------------------------------------------- */

static void take_completions(struct worker_node *worker, struct instant now) {
  const struct backend *backend = &worker->backend;
  struct backend_completion completions[AT_ONCE];
  uint32_t count = 0;
  do {
    count = backend->ops->poll(backend->self, now, completions, AT_ONCE);
    for (uint32_t i = 0; i < count; i++) {
      executor_on_completion(worker->executor, now, &completions[i]);
    }
  } while (count == AT_ONCE);
}

static void give_commands(struct worker_node *worker, struct instant now) {
  const struct backend *backend = &worker->backend;
  struct executor_command commands[AT_ONCE];
  uint32_t count = 0;
  do {
    count = executor_next_commands(worker->executor, now, commands, AT_ONCE);
    for (uint32_t i = 0; i < count; i++) {
      const struct executor_command *command = &commands[i];
      if (command->is_evict) {
        backend->ops->evict(backend->self, now, command->command.gpu_index,
                            command->command.model_id, command->command.pages,
                            command->pages_count);
      } else {
        backend->ops->submit(backend->self, now, &command->command);
      }
    }
  } while (count == AT_ONCE);
}

/* As the worker's: see worker/actions.c. */
static bool is_known(const struct worker_node *worker) {
  for (uint32_t i = 0; i < worker->peers_count; i++) {
    if (worker->peers[i].connection != CONNECTION_NONE && worker->peers[i].has_state) {
      return true;
    }
  }
  return false;
}

static void take_action(struct worker_node *worker, struct instant now,
                        const struct executor_action *taken) {
  const struct observer *observer = worker->config.observer;
  if (observer != NULL) {
    observer->on_action_taken(observer->self, worker->timer.events->now, worker->config.worker_id,
                              taken, now);
  }
  CHECK(executor_on_action(worker->executor, now, taken));
}

static void evict_unknown(struct worker_node *worker, struct instant now,
                          const struct executor_result *result) {
  struct worker_node_action *action = pool_take(&worker->actions);
  CHECK(action != NULL);
  *action = (struct worker_node_action){.connection = CONNECTION_NONE, .received = now};
  take_action(worker, now,
              &(struct executor_action){.action_id = pool_id(&worker->actions, action),
                                        .type = ACTION_EVICT,
                                        .gpu_index = result->gpu_index,
                                        .model_id = result->model_id,
                                        .latest = INSTANT_NEVER});
}

static void send_result(struct worker_node *worker, struct instant now,
                        const struct executor_result *result) {
  struct worker_node_action *action = pool_find(&worker->actions, result->action_id);
  CHECK(action != NULL);
  const struct observer *observer = worker->config.observer;
  if (observer != NULL) {
    observer->on_action_done(observer->self, worker->timer.events->now, worker->config.worker_id,
                             result);
  }
  struct worker_node_peer *peer =
      action->connection == CONNECTION_NONE ? NULL : peer_find(worker, action->connection);
  if (peer == NULL) {
    worker->orphan_changes_count -= action->is_change;
    pool_give(&worker->actions, action);
    if (result->type == ACTION_LOAD && result->status == ACTION_SUCCESS && is_known(worker)) {
      evict_unknown(worker, now, result);
    }
    return;
  }
  peer->changes_count -= action->is_change;
  struct report_message *message = channel_send(&worker->to_controller, RESULT_WIRE_BYTES);
  *message = (struct report_message){.kind = REPORT_RESULT,
                                     .connection = action->connection,
                                     .action_id = action->action_id,
                                     .type = (uint8_t)result->type,
                                     .status = (uint16_t)result->status,
                                     .model_id = result->model_id,
                                     .batch_size = result->batch_size,
                                     .run = result->run,
                                     .output_end = result->output.end,
                                     .clock_before_mhz = result->clock_before_mhz,
                                     .clock_after_mhz = result->clock_after_mhz,
                                     .received = action->received,
                                     .sent = now};
  pool_give(&worker->actions, action);
}

static void send_results(struct worker_node *worker, struct instant now) {
  struct executor_result results[AT_ONCE];
  uint32_t count = 0;
  do {
    count = executor_next_results(worker->executor, results, AT_ONCE);
    for (uint32_t i = 0; i < count; i++) {
      send_result(worker, now, &results[i]);
    }
  } while (count == AT_ONCE);
}

/* As worker/lost.c: told before the results that the loss costs. */
static void withdraw(struct worker_node *worker, uint32_t gpu_index) {
  const struct observer *observer = worker->config.observer;
  worker->is_gpu_lost[gpu_index] = true;
  worker->gpus_lost_count++;
  executor_on_gpu_lost(worker->executor, gpu_index);
  for (uint32_t i = 0; i < worker->peers_count; i++) {
    const struct worker_node_peer *peer = &worker->peers[i];
    if (peer->connection != CONNECTION_NONE && peer->has_state) {
      struct report_message *message = report(worker, peer->connection, GPU_LOST_WIRE_BYTES);
      message->kind = REPORT_GPU_LOST;
      message->gpu_index = gpu_index;
    }
  }
  if (observer != NULL) {
    observer->on_gpu_withdrawn(observer->self, worker->timer.events->now, worker->config.worker_id,
                               gpu_index);
  }
}

static void withdraw_lost(struct worker_node *worker) {
  const struct backend *backend = &worker->backend;
  if (!worker->config.can_fail ||
      backend->ops->lost_count(backend->self) == worker->gpus_lost_count) {
    return;
  }
  for (uint32_t i = 0; i < worker->config.backend->gpus_count; i++) {
    struct backend_gpu gpu;
    backend->ops->gpu(backend->self, i, &gpu);
    if (gpu.is_lost && !worker->is_gpu_lost[i]) {
      withdraw(worker, i);
    }
  }
  if (worker->gpus_lost_count == worker->config.backend->gpus_count) {
    executor_on_shutdown(worker->executor);
  }
}

/* One turn, as of the worker's loop; `now` is local. Returns when the next is due, local too. */
static struct instant turn(struct worker_node *worker, struct instant now) {
  take_completions(worker, now);
  give_commands(worker, now);
  withdraw_lost(worker);
  send_results(worker, now);
  if (worker->gpus_lost_count == worker->config.backend->gpus_count &&
      worker->actions.taken_count == 0) { /* all is answered */
    worker_node_crash(worker, false);
    return INSTANT_NEVER;
  }
  struct instant next = instant_min(executor_wakeup(worker->executor),
                                    worker->backend.ops->wakeup(worker->backend.self));
  if (!instant_after(worker->next_end, now)) {
    worker->next_end = end_connections(worker, now);
  }
  if (worker->states_wanted_count > 0) {
    next = instant_min(next, answer_states(worker, now));
  }
  return instant_min(next, worker->next_end);
}

/* ---- orders ---------------------------------------------------------------------------------- */

static void on_action(struct worker_node *worker, struct instant now, struct worker_node_peer *peer,
                      const struct order_message *order) {
  struct worker_node_action *action = pool_take(&worker->actions);
  if (action == NULL) {
    struct report_message *message = report(worker, order->connection, RESULT_WIRE_BYTES);
    message->kind = REPORT_RESULT;
    message->action_id = order->action_id;
    message->status = ACTION_RUNTIME_ERROR;
    message->received = now;
    message->sent = now;
    return;
  }
  *action = (struct worker_node_action){.action_id = order->action_id,
                                        .connection = order->connection,
                                        .received = now,
                                        .is_change = order->type != ACTION_INFER};
  peer->changes_count += action->is_change;
  const struct executor_action taken = {.action_id = pool_id(&worker->actions, action),
                                        .type = (enum action_type)order->type,
                                        .gpu_index = order->gpu_index,
                                        .model_id = order->model_id,
                                        .batch_size = order->batch_size,
                                        .earliest = order->earliest,
                                        .latest = order->latest};
  take_action(worker, now, &taken);
}

static void on_load_model(struct worker_node *worker, struct instant now,
                          const struct order_message *order) {
  struct model_spec spec;
  const enum action_status status =
      worker->has_package[order->package_index]
          ? ACTION_SUCCESS
          : worker_node_load_package(worker, now, order->package_index, &spec);
  struct report_message *message = report(worker, order->connection, LOAD_MODEL_WIRE_BYTES);
  message->kind = REPORT_MODEL_LOADED;
  message->package_index = order->package_index;
  message->status = (uint16_t)status;
}

/* `now` is local. */
static void on_order(struct worker_node *worker, struct instant now,
                     const struct order_message *order) {
  if (order->kind == ORDER_OPEN) {
    on_opened(worker, order->connection);
    return;
  }
  struct worker_node_peer *peer = peer_find(worker, order->connection);
  if (peer == NULL) {
    return; /* it came over a connection that has ended here */
  }
  switch ((enum order_kind)order->kind) {
  case ORDER_CLOSE:
    peer->ends_at = instant_add(now, order->unseen);
    worker->next_end = instant_min(worker->next_end, peer->ends_at);
    break;
  case ORDER_PING: {
    struct report_message *pong = report(worker, order->connection, PING_WIRE_BYTES);
    pong->kind = REPORT_PONG;
    pong->ping_sent = order->sent;
    pong->received = now;
    pong->sent = now;
    break;
  }
  case ORDER_GET_STATE:
    worker->states_wanted_count += !peer->wants_state;
    peer->wants_state = true;
    peer->state_deadline = instant_add(now, STATE_PATIENCE);
    break;
  case ORDER_LOAD_MODEL:
    on_load_model(worker, now, order);
    break;
  case ORDER_ACTION:
    on_action(worker, now, peer, order);
    break;
  case ORDER_OPEN:
    break;
  }
}

static void keep_for_later(struct worker_node *worker, const struct order_message *order) {
  if (worker->inbox_count == worker->inbox_capacity) {
    worker->inbox_capacity = worker->inbox_capacity == 0 ? 64 : worker->inbox_capacity * 2;
    worker->inbox = realloc(worker->inbox, worker->inbox_capacity * sizeof(*worker->inbox));
    CHECK(worker->inbox != NULL);
  }
  worker->inbox[worker->inbox_count++] = *order;
}

void worker_node_on_order(void *self, struct instant now, const void *message) {
  struct worker_node *worker = self;
  const struct order_message *order = message;
  if (!worker->is_reachable) {
    return;
  }
  if (order->kind == ORDER_OPEN) { /* the kernel answers */
    report(worker, order->connection, SIGNAL_WIRE_BYTES)->kind =
        worker->is_running ? REPORT_OPENED : REPORT_REFUSED;
  }
  if (!worker->is_running) {
    return;
  }
  if (instant_before(now, worker->frozen_until)) {
    keep_for_later(worker, order);
    return;
  }
  const struct instant local = local_clock_read(&worker->clock, now);
  on_order(worker, local, order);
  if (order->kind != ORDER_PING) {
    event_set(&worker->timer, local_clock_when(&worker->clock, turn(worker, local)));
  }
}

static struct instant on_timer(void *self, struct instant now) {
  struct worker_node *worker = self;
  if (!worker->is_running) {
    return INSTANT_NEVER;
  }
  if (instant_before(now, worker->frozen_until)) {
    return worker->frozen_until;
  }
  const struct instant local = local_clock_read(&worker->clock, now);
  for (uint32_t i = 0; i < worker->inbox_count; i++) {
    on_order(worker, local, &worker->inbox[i]);
  }
  worker->inbox_count = 0;
  return local_clock_when(&worker->clock, turn(worker, local));
}

/* Before the timer: what is on the engine whose end comes first. */
static void expect_timer(const void *self) {
  const struct worker_node *worker = self;
  uint32_t gpu_index = 0;
  enum backend_engine engine = BACKEND_ENGINE_LOAD;
  if (worker->is_running && emulated_expect(&worker->emulated, &gpu_index, &engine)) {
    executor_expect_completion(worker->executor, gpu_index, engine);
  }
}

/* ---- life ------------------------------------------------------------------------------------ */

/* A process begins: everything it holds is in `memory`. */
static void begin(struct worker_node *worker) {
  const struct worker_node_config *config = &worker->config;
  const struct executor_limits limits = limits_of(config);
  struct arena arena;
  arena_init(&arena, worker->memory, worker_node_bytes(config));
  const struct parts parts = carve(&worker->actions, &arena, config);
  struct emulated_config backend = *config->backend;
  backend.seed += worker->starts_count++;
  worker->emulated = emulated_init(parts.backend, &backend);
  worker->backend = worker->emulated;
  if (config->can_fail) {
    worker->backend = device_init(parts.device, worker->emulated, limits.gpus, config->worker_id,
                                  &worker->timer.events->now, config->observer);
  }
  for (uint32_t i = 0; i < limits.gpus; i++) {
    worker->backend.ops->gpu(worker->backend.self, i, &parts.gpus[i]);
  }
  worker->executor = executor_init(parts.executor, &limits, parts.gpus, limits.gpus);
  worker->has_package = parts.has_package;
  worker->is_gpu_lost = parts.is_gpu_lost;
  worker->gpus_lost_count = 0;
  worker->peers_count = 0;
  worker->states_wanted_count = 0;
  worker->orphan_changes_count = 0;
  worker->next_end = INSTANT_NEVER;
  worker->inbox_count = 0;
  worker->frozen_until = INSTANT_ZERO;
  worker->is_running = true;
  worker->is_reachable = true;
}

void worker_node_init(struct worker_node *worker, void *memory, struct events *events,
                      const struct worker_node_config *config) {
  *worker = (struct worker_node){
      .config = *config, .backend_config = *config->backend, .clock = config->clock};
  worker->config.backend = &worker->backend_config;
  worker->memory = memory;
  event_init(&worker->timer, events, on_timer, worker);
  if (config->is_one_of_many) {
    event_set_expect(&worker->timer, expect_timer);
  }
  begin(worker);
}

void worker_node_finish(struct worker_node *worker) {
  if (worker == NULL) {
    return;
  }
  if (worker->backend.ops != NULL) {
    worker->backend.ops->destroy(worker->backend.self);
    state_forget(&worker->state, worker->config.backend->gpus_count);
  }
  free(worker->inbox);
  worker->inbox = NULL;
  channel_finish(&worker->to_controller);
}

enum action_status worker_node_load_package(struct worker_node *worker, struct instant now,
                                            uint32_t package_index, struct model_spec *ret_spec) {
  const struct backend *backend = &worker->backend;
  const struct workload_model *package = &worker->config.packages[package_index];
  struct backend_load_model job = {
      .job_id = 1, .first_model_id = package->first_index, .copies = package->copies};
  snprintf(job.path, sizeof(job.path), "%s", package->name);
  /* One job at a time, answered at once: the queue is never full. */
  CHECK_EQ(backend->ops->load_model(backend->self, now, &job), ERR_OK);
  struct backend_loaded_model loaded;
  CHECK_EQ(backend->ops->poll_loaded(backend->self, now, &loaded, 1), 1);
  if (loaded.status != ACTION_SUCCESS) {
    return loaded.status;
  }
  CHECK(executor_on_model_loaded(worker->executor, package->first_index, package->copies,
                                 &loaded.spec));
  worker->has_package[package_index] = true;
  *ret_spec = loaded.spec;
  return ACTION_SUCCESS;
}

void worker_node_set_clock(struct worker_node *worker, uint32_t gpu_index, uint32_t clock_mhz) {
  emulated_set_clock(&worker->emulated, gpu_index, clock_mhz);
}

/* ---- failures -------------------------------------------------------------------------------- */

void worker_node_on_broken(struct worker_node *worker) {
  for (uint32_t i = 0; i < worker->peers_count; i++) {
    if (worker->peers[i].connection != CONNECTION_NONE) {
      worker->peers[i].ends_at = INSTANT_ZERO;
    }
  }
  worker->next_end = INSTANT_ZERO;
  event_set(&worker->timer, worker->timer.events->now);
}

void worker_node_crash(struct worker_node *worker, bool with_machine) {
  for (uint32_t i = 0; worker->is_running && i < worker->peers_count; i++) {
    const uint32_t connection = worker->peers[i].connection;
    if (connection != CONNECTION_NONE && !with_machine) {
      report(worker, connection, SIGNAL_WIRE_BYTES)->kind = REPORT_CLOSED;
    }
  }
  if (with_machine) {
    worker->is_reachable = false;
    channel_drop(&worker->to_controller, 0);
  }
  worker->is_running = false;
  event_set(&worker->timer, INSTANT_NEVER);
}

void worker_node_start(struct worker_node *worker, struct instant now) {
  if (worker->is_running) {
    return;
  }
  worker->backend.ops->destroy(worker->backend.self);
  memset(worker->memory, 0, worker_node_bytes(&worker->config));
  begin(worker);
  const struct observer *observer = worker->config.observer;
  if (observer != NULL) {
    observer->on_worker_started(observer->self, now, worker->config.worker_id);
  }
}

void worker_node_freeze(struct worker_node *worker, struct instant until) {
  if (worker->is_running) {
    worker->frozen_until = instant_max(worker->frozen_until, until);
    event_set(&worker->timer, worker->frozen_until);
  }
}

void worker_node_pause(struct worker_node *worker, struct instant now, struct instant until) {
  /* Nothing reads its clock until then. */
  worker->clock.skew_ns -= instant_since(until, now).ns;
  worker_node_freeze(worker, until);
}

void worker_node_lose_gpu(struct worker_node *worker, struct instant now, uint32_t gpu_index) {
  if (worker->is_running) {
    const struct instant local = local_clock_read(&worker->clock, now);
    device_lose(&worker->backend, local, gpu_index);
    emulated_lose(&worker->emulated, local, gpu_index);
    event_set(&worker->timer, instant_max(now, worker->frozen_until));
  }
}

bool worker_node_has_lost(const struct worker_node *worker) {
  return worker->is_running && worker->backend.ops->lost_count(worker->backend.self) > 0;
}

void worker_node_leap(struct worker_node *worker, struct duration by) {
  worker->clock.skew_ns += by.ns;
  event_set(&worker->timer, worker->timer.events->now);
}
