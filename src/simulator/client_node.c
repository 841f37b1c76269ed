#include "simulator/client_node.h"

#include "base/arena.h"
#include "base/check.h"
#include "os/memory.h"
#include "simulator/dialing.h"
#include "simulator/memory.h"

enum { AT_ONCE = 64 };

/* A request of a flood is not the workload's. */
#define TAG_NONE UINT32_MAX

/* A request under way; its pool id is its ticket. */
struct client_node_call {
  uint32_t tag;
};

static struct instant next_due(const struct client_node *client) {
  const struct instant wakeup = workload_wakeup(client->workload);
  if (wakeup.ns == INT64_MAX) {
    return INSTANT_NEVER;
  }
  const struct instant due = instant_add(client->config.start, duration_ns(wakeup.ns));
  return instant_before(due, client->config.stop) ? due : INSTANT_NEVER;
}

static void end_if_done(struct client_node *client, struct instant due) {
  /* Where things fail, who makes them fail says when it is over. */
  if (due.ns == INT64_MAX && client->sent_count == client->answered_count &&
      client->config.calls_max == 0) {
    client->timer.events->is_over = true;
  }
}

/* It will get no answer. */
static void on_lost(struct client_node *client, struct instant now, uint32_t tag) {
  client->answered_count++;
  if (tag != TAG_NONE && !instant_before(now, client->config.start)) {
    workload_on_answered(client->workload,
                         (struct instant){instant_since(now, client->config.start).ns}, tag, false);
  }
}

static void send(struct client_node *client, struct instant now,
                 const struct request_message *request) {
  const struct observer *observer = client->config.observer;
  uint64_t ticket = 0;
  client->sent_count++;
  if (client->config.calls_max > 0) {
    struct client_node_call *call = client->is_connected ? pool_take(&client->calls) : NULL;
    if (call == NULL) {
      on_lost(client, now, request->tag);
      return;
    }
    call->tag = request->tag;
    ticket = pool_id(&client->calls, call);
  }
  struct request_message *message = channel_send(&client->to_controller, REQUEST_WIRE_BYTES);
  *message = *request;
  message->kind = REQUEST_INFER;
  message->connection = client->connection;
  message->ticket = ticket;
  if (observer != NULL) {
    observer->on_request(observer->self, now, ticket, request->model_id);
  }
}

static struct instant on_timer(void *self, struct instant now) {
  struct client_node *client = self;
  struct workload_request requests[AT_ONCE];
  const struct instant workload_now = {instant_since(now, client->config.start).ns};
  uint32_t count = 0;
  do {
    count = workload_next_requests(client->workload, workload_now, requests, AT_ONCE);
    for (uint32_t i = 0; i < count; i++) {
      const struct workload_request *request = &requests[i];
      send(client, now,
           &(struct request_message){
               .due = instant_add(client->config.start, duration_ns(request->at.ns)),
               .tag = request->tag,
               .user_id = request->user_id,
               .model_id = request->model_index,
               .slo_factor = client->config.slo_factor > 0 ? client->config.slo_factor
                                                           : request->slo_factor});
    }
  } while (count == AT_ONCE);
  const struct instant due = next_due(client);
  end_if_done(client, due);
  return due;
}

static struct instant on_flood(void *self, struct instant now) {
  struct client_node *client = self;
  for (uint32_t i = 0; i < client->flood_per_ms; i++) {
    send(client, now,
         &(struct request_message){.due = now,
                                   .tag = TAG_NONE,
                                   .model_id =
                                       (uint32_t)prng_below(&client->prng, client->models_count)});
  }
  const struct instant next = instant_add(now, duration_ms(1));
  return instant_before(next, client->flood_until) ? next : INSTANT_NEVER;
}

/* ---- the connection -------------------------------------------------------------------------- */

static struct instant on_dial(void *self, struct instant now) {
  struct client_node *client = self;
  if (instant_before(now, client->away_until)) {
    return client->away_until;
  }
  client->connection++;
  struct request_message *message = channel_send(&client->to_controller, SIGNAL_WIRE_BYTES);
  *message = (struct request_message){.kind = REQUEST_OPEN, .connection = client->connection};
  client->failures_count++; /* until the answer comes */
  return instant_add(now, DIALING_WITHIN);
}

static void on_closed(struct client_node *client, struct instant now) {
  const struct observer *observer = client->config.observer;
  client->is_connected = false;
  for (uint32_t i = 0; client->calls.taken_count > 0; i++) {
    struct client_node_call *call = pool_at(&client->calls, i);
    if (call == NULL) {
      continue;
    }
    const uint64_t ticket = pool_id(&client->calls, call);
    const uint32_t tag = call->tag;
    pool_give(&client->calls, call);
    if (observer != NULL) {
      observer->on_request_end(observer->self, now, ticket, REQUEST_END_LOST, REQUEST_ERROR);
    }
    on_lost(client, now, tag);
  }
  event_set(&client->dial, instant_add(now, dialing_pause(client->failures_count)));
  if (!instant_before(now, client->config.start)) {
    event_set(&client->timer, next_due(client));
  }
}

/* Whether the answer's request is under way; its tag goes to *ret_tag. */
static bool take_call(struct client_node *client, struct instant now,
                      const struct answer_message *answer, uint32_t *ret_tag) {
  const struct observer *observer = client->config.observer;
  *ret_tag = answer->tag;
  if (client->config.calls_max == 0) {
    return true;
  }
  struct client_node_call *call = pool_find(&client->calls, answer->ticket);
  if (observer != NULL) {
    observer->on_request_end(observer->self, now, answer->ticket,
                             call == NULL ? REQUEST_END_UNCALLED : REQUEST_END_ANSWERED,
                             answer->result);
  }
  if (call == NULL) {
    return false;
  }
  *ret_tag = call->tag;
  pool_give(&client->calls, call);
  return true;
}

static void on_infer_answer(struct client_node *client, struct instant now,
                            const struct answer_message *answer) {
  uint32_t tag = 0;
  if (!take_call(client, now, answer, &tag)) {
    return; /* as the library: counted and ignored */
  }
  const bool is_success = answer->result == REQUEST_SUCCESS;
  client->answered_count++;
  if (is_success) {
    histogram_record(&client->latency, instant_since(now, answer->due).ns);
  }
  if (tag != TAG_NONE) {
    workload_on_answered(client->workload,
                         (struct instant){instant_since(now, client->config.start).ns}, tag,
                         is_success);
  }
  const struct instant due = next_due(client);
  event_set(&client->timer, due);
  end_if_done(client, due);
}

void client_node_on_answer(void *self, struct instant now, const void *message) {
  struct client_node *client = self;
  const struct answer_message *answer = message;
  if (answer->connection != client->connection || instant_before(now, client->away_until)) {
    return;
  }
  switch (answer->kind) {
  case ANSWER_INFER:
    on_infer_answer(client, now, answer);
    break;
  case ANSWER_OPENED:
    client->is_connected = true;
    client->failures_count = 0;
    event_set(&client->dial, INSTANT_NEVER);
    break;
  case ANSWER_REFUSED:
    event_set(&client->dial, instant_add(now, dialing_pause(client->failures_count)));
    break;
  case ANSWER_CLOSED:
    if (client->is_connected) {
      on_closed(client, now);
    }
    break;
  }
}

void client_node_on_broken(struct client_node *client, struct instant now) {
  if (client->is_connected) {
    client->connection++; /* what is still under way is of the one before */
    on_closed(client, now);
  }
}

void client_node_vanish(struct client_node *client, struct instant now, struct instant until) {
  if (client->is_connected) {
    struct request_message *message = channel_send(&client->to_controller, SIGNAL_WIRE_BYTES);
    *message = (struct request_message){.kind = REQUEST_CLOSE, .connection = client->connection};
  }
  client->away_until = until;
  on_closed(client, now);
  event_set(&client->dial, until);
}

void client_node_flood(struct client_node *client, struct instant now, struct instant until,
                       uint32_t per_ms) {
  client->flood_until = until;
  client->flood_per_ms = per_ms;
  event_set(&client->flood, now);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void *carve(struct client_node *client, struct arena *arena) {
  pool_init(&client->calls, arena, client->config.calls_max, sizeof(struct client_node_call));
  return client->config.begun != NULL
             ? client->config.begun
             : arena_take(arena, 1, workload_bytes(client->config.workload));
}

enum err client_node_init(struct client_node *client, struct events *events,
                          const struct client_node_config *config) {
  *client = (struct client_node){.config = *config};
  struct arena arena;
  arena_init_counting(&arena);
  carve(client, &arena);
  client->memory_bytes = arena.used_bytes;
  client->memory = simulator_memory_take(client->memory_bytes);
  if (client->memory == NULL) {
    return ERR_NO_MEMORY;
  }
  arena_init(&arena, client->memory, client->memory_bytes);
  void *workload = carve(client, &arena);
  client->workload =
      config->begun != NULL ? config->begun : workload_init(workload, config->workload);
  uint32_t kinds = 0;
  const struct workload_model *models = workload_models(client->workload, &kinds);
  for (uint32_t i = 0; i < kinds; i++) {
    client->models_count += models[i].copies;
  }
  prng_init(&client->prng, config->workload->seed, 0);
  event_init(&client->timer, events, on_timer, client);
  event_init(&client->dial, events, on_dial, client);
  event_init(&client->flood, events, on_flood, client);
  const struct instant due = next_due(client);
  /* One that asks for nothing before the end still ends. */
  event_set(&client->timer, due.ns == INT64_MAX ? instant_sub(config->stop, duration_ns(1)) : due);
  event_set(&client->dial, events->now);
  return ERR_OK;
}

void client_node_finish(struct client_node *client) {
  if (client == NULL) {
    return;
  }
  channel_finish(&client->to_controller);
  os_memory_give(client->memory, client->memory_bytes);
  client->memory = NULL;
}
