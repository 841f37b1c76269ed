#include "simulator/controller_node.h"

#include <string.h>

#include "base/arena.h"
#include "base/check.h"
#include "os/memory.h"
#include "simulator/memory.h"

enum {
  ACTIONS_AT_ONCE = 64,
  TICK_MS = 500, /* as controller/ has it */
};

/* A request between the client and the scheduler; its pool id is the scheduler's tag. */
struct controller_node_request {
  struct instant due;
  uint64_t ticket;
  uint32_t client_tag;
  uint32_t session;
};

/* ---- to the client --------------------------------------------------------------------------- */

static void send_answer(struct controller_node *controller,
                        const struct controller_node_request *request, enum request_result result) {
  if (request->session != controller->session) {
    return; /* the client has gone */
  }
  struct answer_message *message = channel_send(&controller->to_client, ANSWER_WIRE_BYTES);
  *message = (struct answer_message){.kind = ANSWER_INFER,
                                     .connection = request->session,
                                     .due = request->due,
                                     .ticket = request->ticket,
                                     .tag = request->client_tag,
                                     .result = result};
}

static void on_answer(void *self, const struct scheduler_answer *answer) {
  struct controller_node *controller = self;
  const struct observer *observer = controller->config.observer;
  struct controller_node_request *request = pool_find(&controller->requests, answer->tag);
  if (observer != NULL) {
    observer->on_answer(observer->self, controller->timer.events->now, controller->runs_count,
                        answer, request != NULL);
    if (request == NULL) {
      return; /* the observer has made a note of it */
    }
  }
  CHECK(request != NULL); /* else it was answered before */
  send_answer(controller, request, answer->result);
  pool_give(&controller->requests, request);
  trace_hash_add(&controller->hash, answer->request_id << 4 | (uint64_t)answer->result);
  trace_hash_add(&controller->hash, (uint64_t)answer->latency.ns);
  trace_hash_add(&controller->hash, answer->action_id);
  trace_hash_add(&controller->hash, (uint64_t)answer->model_id << 32 | answer->batch_index);
}

/* ---- to the workers -------------------------------------------------------------------------- */

static uint64_t inputs_wire_bytes(const struct controller_node *controller,
                                  const struct scheduler_action *action) {
  if (!controller->config.generates_inputs || action->type != ACTION_INFER) {
    return 0;
  }
  const struct model_spec *spec = scheduler_model(controller->scheduler, action->model_id);
  return action->requests_count *
         (ACTION_INPUT_WIRE_BYTES + spec->input_bytes / MADE_INPUT_COMPRESSION);
}

static void hash_action(struct controller_node *controller, const struct scheduler_action *action) {
  struct trace_hash *hash = &controller->hash;
  trace_hash_add(hash, action->action_id);
  trace_hash_add(hash, (uint64_t)action->worker_id << 32 | action->gpu_index);
  trace_hash_add(hash, (uint64_t)action->model_id << 32 | action->batch_size << 8 |
                           (uint64_t)action->type);
  trace_hash_add(hash, (uint64_t)action->earliest.ns);
  trace_hash_add(hash, (uint64_t)action->latest.ns);
  for (uint32_t i = 0; i < action->requests_count; i++) {
    trace_hash_add(hash, action->request_tags[i]);
  }
}

static void send_action(struct controller_node *controller, const struct scheduler_action *action) {
  struct controller_peer *peer = &controller->peers[action->worker_id];
  const struct observer *observer = controller->config.observer;
  hash_action(controller, action);
  if (observer != NULL) {
    observer->on_action(observer->self, controller->timer.events->now, controller->runs_count,
                        action);
  }
  struct order_message *message =
      channel_send(&peer->to_worker, ACTION_WIRE_BYTES + inputs_wire_bytes(controller, action));
  *message =
      (struct order_message){.kind = ORDER_ACTION,
                             .connection = peer->connection,
                             .action_id = action->action_id,
                             .type = (uint8_t)action->type,
                             .gpu_index = action->gpu_index,
                             .model_id = action->model_id,
                             .batch_size = action->batch_size,
                             .earliest = clock_offset_to_peers(&peer->clock, action->earliest),
                             .latest = clock_offset_to_peers(&peer->clock, action->latest)};
}

/* One turn, as of the controller's loop. Returns when the next is due. */
static struct instant turn(struct controller_node *controller, struct instant now) {
  struct scheduler_action actions[ACTIONS_AT_ONCE];
  uint32_t count = 0;
  do {
    count = scheduler_next_actions(controller->scheduler, now, actions, ACTIONS_AT_ONCE);
    for (uint32_t i = 0; i < count; i++) {
      send_action(controller, &actions[i]);
    }
  } while (count == ACTIONS_AT_ONCE);
  return scheduler_wakeup(controller->scheduler);
}

/* Whether it can do anything now; else *ret_next is when. */
static bool is_awake(const struct controller_node *controller, struct instant now,
                     struct instant *ret_next) {
  *ret_next = controller->is_running ? controller->frozen_until : INSTANT_NEVER;
  return controller->is_running && !instant_before(now, controller->frozen_until);
}

static struct instant on_timer(void *self, struct instant now) {
  struct instant next;
  return is_awake(self, now, &next) ? turn(self, now) : next;
}

static struct instant on_tick(void *self, struct instant now) {
  struct controller_node *controller = self;
  struct instant next;
  if (!is_awake(controller, now, &next)) {
    return next;
  }
  controller_peers_tick(controller, now);
  event_set(&controller->timer, turn(controller, now));
  return instant_add(now, duration_ms(TICK_MS));
}

/* ---- events ---------------------------------------------------------------------------------- */

static void tell_client(struct controller_node *controller, uint32_t connection,
                        enum answer_kind kind) {
  struct answer_message *message = channel_send(&controller->to_client, SIGNAL_WIRE_BYTES);
  *message = (struct answer_message){.kind = kind, .connection = connection};
}

static void on_infer(struct controller_node *controller, struct instant now,
                     const struct request_message *from) {
  const struct observer *observer = controller->config.observer;
  const struct controller_node_request pending = {.due = from->due,
                                                  .ticket = from->ticket,
                                                  .client_tag = from->tag,
                                                  .session = from->connection};
  if (scheduler_model(controller->scheduler, from->model_id) == NULL &&
      controller_is_initializing(controller, now)) {
    send_answer(controller, &pending, REQUEST_INITIALIZING);
    return;
  }
  struct controller_node_request *request = pool_take(&controller->requests);
  CHECK(request != NULL); /* one more than the scheduler takes, and it answers that one at once */
  *request = pending;
  const uint64_t tag = pool_id(&controller->requests, request);
  if (observer != NULL) {
    observer->on_request_taken(observer->self, now, controller->runs_count, tag, from->ticket,
                               from->model_id);
  }
  scheduler_on_request(controller->scheduler, now,
                       &(struct scheduler_request){.tag = tag,
                                                   .request_id = controller->requests_count++,
                                                   .user_id = from->user_id,
                                                   .model_id = from->model_id,
                                                   .batch_size = 1,
                                                   .slo_factor = (double)from->slo_factor});
  event_set(&controller->timer, turn(controller, now));
}

void controller_node_expect_request(const void *self, const void *message, uint32_t step) {
  const struct controller_node *controller = self;
  const struct request_message *request = message;
  if (request->kind == REQUEST_INFER && controller->is_running) {
    scheduler_expect_request(controller->scheduler, request->model_id, step);
  }
}

void controller_node_expect_report(const void *self, const void *message, uint32_t step) {
  const struct controller_peer *peer = self;
  const struct report_message *report = message;
  if (report->kind == REPORT_RESULT && peer->controller->is_running) {
    const uint64_t tag =
        scheduler_expect_result(peer->controller->scheduler, report->action_id, step);
    pool_expect(&peer->controller->requests, tag, sizeof(struct controller_node_request));
  }
}

void controller_node_on_request(void *self, struct instant now, const void *message) {
  struct controller_node *controller = self;
  const struct request_message *from = message;
  if (!controller->is_running) {
    if (from->kind == REQUEST_OPEN) {
      tell_client(controller, from->connection, ANSWER_REFUSED);
    }
    return;
  }
  if (from->kind == REQUEST_OPEN) {
    controller->session = from->connection;
    tell_client(controller, from->connection, ANSWER_OPENED);
  } else if (from->connection != controller->session) {
    return;
  } else if (from->kind == REQUEST_CLOSE) {
    controller->session = CONNECTION_NONE;
  } else {
    on_infer(controller, now, from);
  }
}

void controller_node_on_report(void *self, struct instant now, const void *message) {
  struct controller_peer *peer = self;
  struct controller_node *controller = peer->controller;
  if (controller->is_running) {
    controller_peer_on_report(peer, now, message);
    event_set(&controller->timer, turn(controller, now));
  }
}

void controller_node_add_package(struct controller_node *controller, struct instant now,
                                 uint32_t package_index) {
  const struct workload_model *package = &controller->config.packages[package_index];
  controller->packages[package_index].state = PACKAGE_READY;
  for (uint32_t i = 0; i < package->copies; i++) {
    CHECK(scheduler_on_model_added(controller->scheduler, now, package->first_index + i,
                                   &controller->config.specs[package_index]));
  }
}

/* ---- life ------------------------------------------------------------------------------------ */

static void carve(struct controller_node *controller, struct arena *arena) {
  const struct controller_node_config *config = &controller->config;
  controller->peers = arena_take(arena, config->workers_count, sizeof(struct controller_peer));
  controller->packages =
      arena_take(arena, config->packages_count, sizeof(struct controller_package));
  for (uint32_t i = 0; i < config->workers_count; i++) {
    bool *is_gpu_lost = arena_take(arena, config->gpus_count, sizeof(bool));
    uint8_t *asked = arena_take(arena, config->packages_count, sizeof(uint8_t));
    if (!arena_is_counting(arena)) {
      controller->peers[i].asked = asked;
      controller->peers[i].is_gpu_lost = is_gpu_lost;
    }
  }
  pool_init(&controller->requests, arena, config->scheduler->limits.requests + 1,
            sizeof(struct controller_node_request));
  controller->joining_gpus = arena_take(arena, config->gpus_count, sizeof(struct scheduler_gpu));
  controller->scheduler_bytes = scheduler_bytes(config->scheduler);
  controller->scheduler_memory = arena_take(arena, 1, controller->scheduler_bytes);
}

/* A process begins. */
static void begin(struct controller_node *controller, struct instant now) {
  const struct controller_node_config *config = &controller->config;
  const struct scheduler_sink sink = {
      .self = controller, .on_answer = on_answer, .telemetry = config->telemetry};
  controller->scheduler = scheduler_init(controller->scheduler_memory, config->scheduler, &sink);
  controller->session = CONNECTION_NONE;
  controller->is_running = true;
  controller->runs_count++;
  controller->started = now;
  controller->ticked = INSTANT_ZERO;
  controller->frozen_until = INSTANT_ZERO;
  controller_peers_reset(controller, now);
  event_set(&controller->tick, now);
}

enum err controller_node_init(struct controller_node *controller, struct events *events,
                              const struct controller_node_config *config) {
  *controller = (struct controller_node){.config = *config};
  struct arena arena;
  arena_init_counting(&arena);
  carve(controller, &arena);
  controller->memory_bytes = arena.used_bytes;
  controller->memory = simulator_memory_take(controller->memory_bytes);
  if (controller->memory == NULL) {
    return ERR_NO_MEMORY;
  }
  arena_init(&arena, controller->memory, controller->memory_bytes);
  carve(controller, &arena);
  event_init(&controller->timer, events, on_timer, controller);
  event_init(&controller->tick, events, on_tick, controller);
  for (uint32_t i = 0; i < config->workers_count; i++) {
    controller->peers[i].controller = controller;
    controller->peers[i].worker_id = i;
    controller_peer_init(&controller->peers[i], events);
  }
  begin(controller, events->now);
  return ERR_OK;
}

void controller_node_finish(struct controller_node *controller) {
  if (controller == NULL) {
    return;
  }
  channel_finish(&controller->to_client);
  for (uint32_t i = 0; controller->memory != NULL && i < controller->config.workers_count; i++) {
    channel_finish(&controller->peers[i].to_worker);
  }
  os_memory_give(controller->memory, controller->memory_bytes);
  controller->memory = NULL;
}

/* ---- failures -------------------------------------------------------------------------------- */

void controller_node_crash(struct controller_node *controller) {
  if (!controller->is_running) {
    return;
  }
  controller->is_running = false;
  for (uint32_t i = 0; i < controller->config.workers_count; i++) {
    struct controller_peer *peer = &controller->peers[i];
    struct order_message *message = channel_send(&peer->to_worker, SIGNAL_WIRE_BYTES);
    *message = (struct order_message){.kind = ORDER_CLOSE, .connection = peer->connection};
  }
  if (controller->session != CONNECTION_NONE) {
    tell_client(controller, controller->session, ANSWER_CLOSED);
  }
}

void controller_node_start(struct controller_node *controller, struct instant now) {
  if (controller->is_running) {
    return;
  }
  memset(controller->scheduler_memory, 0, controller->scheduler_bytes);
  memset(controller->packages, 0,
         controller->config.packages_count * sizeof(*controller->packages));
  for (uint32_t i = 0; i < controller->requests.capacity; i++) {
    struct controller_node_request *request = pool_at(&controller->requests, i);
    if (request != NULL) {
      pool_give(&controller->requests, request);
    }
  }
  begin(controller, now);
}

void controller_node_freeze(struct controller_node *controller, struct instant until) {
  controller->frozen_until = instant_max(controller->frozen_until, until);
}

void controller_node_on_broken(struct controller_node *controller, struct instant now,
                               uint32_t worker_id) {
  if (controller->is_running) {
    controller_peer_close(&controller->peers[worker_id], now, "broken");
    event_set(&controller->timer, turn(controller, now));
  }
}
