#include "simulator/controller_node.h"

#include "base/arena.h"
#include "base/check.h"
#include "os/memory.h"
#include "simulator/memory.h"

enum {
  ACTIONS_AT_ONCE = 64,
  /* As controller/ has them: pings before a worker joins, and between two pings. */
  PINGS_AT_FIRST = 4,
  TICK_MS = 500,
};

/* A request between the client and the scheduler; its pool id is the scheduler's tag. */
struct controller_node_request {
  struct instant due;
  uint32_t client_tag;
};

/* ---- to the client --------------------------------------------------------------------------- */

static void on_answer(void *self, const struct scheduler_answer *answer) {
  struct controller_node *controller = self;
  struct controller_node_request *request = pool_find(&controller->requests, answer->tag);
  CHECK(request != NULL); /* else it was answered before */
  struct answer_message *message = channel_send(&controller->to_client, ANSWER_WIRE_BYTES);
  *message = (struct answer_message){
      .due = request->due, .tag = request->client_tag, .result = answer->result};
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
  hash_action(controller, action);
  struct order_message *message =
      channel_send(&peer->to_worker, ACTION_WIRE_BYTES + inputs_wire_bytes(controller, action));
  *message =
      (struct order_message){.kind = ORDER_ACTION,
                             .action_id = action->action_id,
                             .type = action->type,
                             .gpu_index = action->gpu_index,
                             .model_id = action->model_id,
                             .batch_size = action->batch_size,
                             .earliest = clock_offset_to_peers(&peer->clock, action->earliest),
                             .latest = clock_offset_to_peers(&peer->clock, action->latest)};
}

static void send_ping(struct controller_peer *peer, struct instant now) {
  struct order_message *message = channel_send(&peer->to_worker, PING_WIRE_BYTES);
  *message = (struct order_message){.kind = ORDER_PING, .sent = now};
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

static struct instant on_timer(void *self, struct instant now) {
  return turn(self, now);
}

static struct instant on_tick(void *self, struct instant now) {
  struct controller_node *controller = self;
  for (uint32_t i = 0; i < controller->config.workers_count; i++) {
    send_ping(&controller->peers[i], now);
  }
  return instant_add(now, duration_ms(TICK_MS));
}

/* ---- events ---------------------------------------------------------------------------------- */

void controller_node_expect_request(const void *self, const void *message) {
  const struct controller_node *controller = self;
  const struct request_message *request = message;
  scheduler_expect_request(controller->scheduler, request->model_id);
}

void controller_node_on_request(void *self, struct instant now, const void *message) {
  struct controller_node *controller = self;
  const struct request_message *from = message;
  struct controller_node_request *request = pool_take(&controller->requests);
  CHECK(request != NULL); /* one more than the scheduler takes, and it answers that one at once */
  *request = (struct controller_node_request){.due = from->due, .client_tag = from->tag};
  const uint64_t tag = pool_id(&controller->requests, request);
  scheduler_on_request(controller->scheduler, now,
                       &(struct scheduler_request){.tag = tag,
                                                   .request_id = controller->requests_count++,
                                                   .user_id = from->user_id,
                                                   .model_id = from->model_id,
                                                   .batch_size = 1,
                                                   .slo_factor = (double)from->slo_factor});
  event_set(&controller->timer, turn(controller, now));
}

static void on_pong(struct controller_peer *peer, struct instant now,
                    const struct report_message *report) {
  struct controller_node *controller = peer->controller;
  clock_offset_on_exchanged(&peer->clock, report->ping_sent, report->received, report->sent, now);
  if (peer->is_up) {
    return;
  }
  peer->pings_answered++;
  if (peer->pings_answered < PINGS_AT_FIRST) {
    send_ping(peer, now);
    return;
  }
  peer->is_up = true;
  CHECK_EQ(scheduler_on_worker_up(controller->scheduler, now, peer->worker_id,
                                  controller->config.gpus, controller->config.gpus_count),
           ERR_OK);
}

static struct instant to_ours(const struct controller_peer *peer, struct instant peers) {
  return clock_offset_to_ours(&peer->clock, peers);
}

static void on_result(struct controller_peer *peer, struct instant now,
                      const struct report_message *report) {
  scheduler_on_result(peer->controller->scheduler, now,
                      &(struct scheduler_result){.action_id = report->action_id,
                                                 .status = report->status,
                                                 .begin = to_ours(peer, report->run.begin),
                                                 .end = to_ours(peer, report->run.end),
                                                 .output_end = to_ours(peer, report->output_end),
                                                 .received = to_ours(peer, report->received),
                                                 .sent = to_ours(peer, report->sent),
                                                 .clock_before_mhz = report->clock_before_mhz,
                                                 .clock_after_mhz = report->clock_after_mhz});
}

void controller_node_on_report(void *self, struct instant now, const void *message) {
  struct controller_peer *peer = self;
  struct controller_node *controller = peer->controller;
  const struct report_message *report = message;
  if (report->kind == REPORT_PONG) {
    on_pong(peer, now, report);
  } else {
    on_result(peer, now, report);
  }
  event_set(&controller->timer, turn(controller, now));
}

void controller_node_add_model(struct controller_node *controller, struct instant now,
                               uint32_t model_id, const struct model_spec *spec) {
  CHECK(scheduler_on_model_added(controller->scheduler, now, model_id, spec));
}

/* ---- life ------------------------------------------------------------------------------------ */

static void *carve(struct controller_node *controller, struct arena *arena) {
  const struct controller_node_config *config = &controller->config;
  controller->peers = arena_take(arena, config->workers_count, sizeof(struct controller_peer));
  pool_init(&controller->requests, arena, config->scheduler->limits.requests + 1,
            sizeof(struct controller_node_request));
  return arena_take(arena, 1, scheduler_bytes(config->scheduler));
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
  void *scheduler_memory = carve(controller, &arena);
  const struct scheduler_sink sink = {
      .self = controller, .on_answer = on_answer, .telemetry = config->telemetry};
  controller->scheduler = scheduler_init(scheduler_memory, config->scheduler, &sink);
  for (uint32_t i = 0; i < config->workers_count; i++) {
    controller->peers[i].controller = controller;
    controller->peers[i].worker_id = i;
  }
  event_init(&controller->timer, events, on_timer, controller);
  event_init(&controller->tick, events, on_tick, controller);
  event_set(&controller->tick, events->now);
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
