#include "simulator/client_node.h"

#include "base/check.h"
#include "os/memory.h"
#include "simulator/memory.h"

enum { AT_ONCE = 64 };

static struct instant next_due(const struct client_node *client) {
  const struct instant wakeup = workload_wakeup(client->workload);
  if (wakeup.ns == INT64_MAX) {
    return INSTANT_NEVER;
  }
  const struct instant due = instant_add(client->start, duration_ns(wakeup.ns));
  return instant_before(due, client->stop) ? due : INSTANT_NEVER;
}

static void end_if_done(struct client_node *client, struct instant due) {
  if (due.ns == INT64_MAX && client->sent_count == client->answered_count) {
    client->timer.events->is_over = true;
  }
}

static struct instant on_timer(void *self, struct instant now) {
  struct client_node *client = self;
  struct workload_request requests[AT_ONCE];
  const struct instant workload_now = {instant_since(now, client->start).ns};
  uint32_t count = 0;
  do {
    count = workload_next_requests(client->workload, workload_now, requests, AT_ONCE);
    for (uint32_t i = 0; i < count; i++) {
      const struct workload_request *request = &requests[i];
      struct request_message *message = channel_send(&client->to_controller, REQUEST_WIRE_BYTES);
      *message = (struct request_message){
          .due = instant_add(client->start, duration_ns(request->at.ns)),
          .tag = request->tag,
          .user_id = request->user_id,
          .model_id = request->model_index,
          .slo_factor = client->slo_factor > 0 ? (float)client->slo_factor : request->slo_factor};
    }
    client->sent_count += count;
  } while (count == AT_ONCE);
  const struct instant due = next_due(client);
  end_if_done(client, due);
  return due;
}

void client_node_on_answer(void *self, struct instant now, const void *message) {
  struct client_node *client = self;
  const struct answer_message *answer = message;
  const bool is_success = answer->result == REQUEST_SUCCESS;
  client->answered_count++;
  if (is_success) {
    histogram_record(&client->latency, instant_since(now, answer->due).ns);
  }
  workload_on_answered(client->workload, (struct instant){instant_since(now, client->start).ns},
                       answer->tag, is_success);
  const struct instant due = next_due(client);
  event_set(&client->timer, due);
  end_if_done(client, due);
}

enum err client_node_init(struct client_node *client, struct events *events,
                          const struct workload_config *config, double slo_factor,
                          struct instant start, struct instant stop) {
  *client = (struct client_node){.start = start, .stop = stop, .slo_factor = slo_factor};
  client->memory_bytes = workload_bytes(config);
  client->memory = simulator_memory_take(client->memory_bytes);
  if (client->memory == NULL) {
    return ERR_NO_MEMORY;
  }
  client->workload = workload_init(client->memory, config);
  event_init(&client->timer, events, on_timer, client);
  event_set(&client->timer, next_due(client));
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
