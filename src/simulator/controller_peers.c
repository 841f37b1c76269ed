/* The workers, as controller/workers.c and packages.c treat them: connected to, compared clocks
 * with, brought up to date, given up. What differs: a package never fails to load here.
 */
#include <string.h>

#include "base/check.h"
#include "simulator/controller_node.h"
#include "simulator/dialing.h"

/* As controller/ has them. */
enum { PINGS_AT_FIRST = 4 };
static const int64_t SILENCE_NS = 3 * NS_PER_S;
static const int64_t START_PATIENCE_NS = 10 * NS_PER_S;

static struct order_message *order(struct controller_peer *peer, uint64_t wire_bytes) {
  struct order_message *message = channel_send(&peer->to_worker, wire_bytes);
  *message = (struct order_message){.connection = peer->connection};
  return message;
}

static void send_ping(struct controller_peer *peer, struct instant now) {
  struct order_message *message = order(peer, PING_WIRE_BYTES);
  message->kind = ORDER_PING;
  message->sent = now;
}

static bool is_connected(const struct controller_peer *peer) {
  return peer->phase >= CONTROLLER_GREETED;
}

/* ---- packages -------------------------------------------------------------------------------- */

static void join_if_complete(struct controller_peer *peer, struct instant now);

static void ask_to_load(struct controller_peer *peer, uint32_t package_index) {
  peer->asked[package_index] = ASKED;
  peer->asked_count++;
  struct order_message *message = order(peer, LOAD_MODEL_WIRE_BYTES);
  message->kind = ORDER_LOAD_MODEL;
  message->package_index = package_index;
}

/* Every worker that was asked has answered. */
static void settle(struct controller_node *controller, struct instant now, uint32_t package_index) {
  const struct workload_model *package = &controller->config.packages[package_index];
  controller->packages[package_index].state = PACKAGE_READY;
  for (uint32_t i = 0; i < package->copies; i++) {
    CHECK(scheduler_on_model_added(controller->scheduler, now, package->first_index + i,
                                   &controller->config.specs[package_index]));
  }
  for (uint32_t i = 0; i < controller->config.workers_count; i++) {
    join_if_complete(&controller->peers[i], now);
  }
}

/* A worker has it already. */
static void adopt(struct controller_node *controller, struct instant now, uint32_t package_index) {
  struct controller_package *package = &controller->packages[package_index];
  if (package->state != PACKAGE_UNKNOWN) {
    return;
  }
  package->state = PACKAGE_LOADING;
  package->workers_waiting = 0;
  for (uint32_t i = 0; i < controller->config.workers_count; i++) {
    struct controller_peer *peer = &controller->peers[i];
    if (peer->phase >= CONTROLLER_SYNCING) {
      ask_to_load(peer, package_index);
      package->workers_waiting++;
    }
  }
  if (package->workers_waiting == 0) {
    settle(controller, now, package_index);
  }
}

static void on_package_answer(struct controller_node *controller, struct instant now,
                              uint32_t package_index) {
  struct controller_package *package = &controller->packages[package_index];
  if (package->state != PACKAGE_LOADING) {
    return;
  }
  CHECK_GT(package->workers_waiting, 0);
  package->workers_waiting--;
  if (package->workers_waiting == 0) {
    settle(controller, now, package_index);
  }
}

/* Its answers won't come: nobody may wait for them. */
static void give_up_asked(struct controller_peer *peer, struct instant now) {
  struct controller_node *controller = peer->controller;
  for (uint32_t i = 0; peer->asked_count > 0 && i < controller->config.packages_count; i++) {
    if (peer->asked[i] == ASKED) {
      peer->asked[i] = ASKED_NOT;
      peer->asked_count--;
      on_package_answer(controller, now, i);
    }
  }
}

bool controller_is_initializing(const struct controller_node *controller, struct instant now) {
  uint32_t up = 0;
  for (uint32_t i = 0; i < controller->config.workers_count; i++) {
    up += controller->peers[i].phase == CONTROLLER_UP;
  }
  const bool is_early = instant_since(now, controller->started).ns < START_PATIENCE_NS;
  return up == 0 || (is_early && up < controller->config.workers_count);
}

/* ---- joining --------------------------------------------------------------------------------- */

static void tell_forgotten(const struct controller_peer *peer, struct instant now,
                           uint32_t gpu_index) {
  const struct observer *observer = peer->controller->config.observer;
  if (observer != NULL) {
    observer->on_gpu_forgotten(observer->self, now, peer->worker_id, gpu_index);
  }
}

static void join(struct controller_peer *peer, struct instant now) {
  struct controller_node *controller = peer->controller;
  const struct controller_node_config *config = &controller->config;
  struct scheduler_gpu *gpus = controller->joining_gpus;
  for (uint32_t i = 0; i < config->gpus_count; i++) {
    gpus[i] = config->gpus[i];
    gpus[i].clock_mhz = peer->state->clocks_mhz[i];
    gpus[i].pages = peer->is_gpu_lost[i] ? 0 : gpus[i].pages;
    gpus[i].resident_models = peer->state->resident_models[i];
    gpus[i].resident_count = peer->is_gpu_lost[i] ? 0 : peer->state->resident_counts[i];
  }
  CHECK_EQ(
      scheduler_on_worker_up(controller->scheduler, now, peer->worker_id, gpus, config->gpus_count),
      ERR_OK);
  peer->phase = CONTROLLER_UP;
  if (config->observer != NULL) {
    config->observer->on_worker_up(config->observer->self, now, peer->worker_id);
  }
  for (uint32_t i = 0; i < config->gpus_count; i++) {
    if (peer->is_gpu_lost[i]) {
      tell_forgotten(peer, now, i);
    }
  }
}

/* Weights of models that the scheduler does not know yet would be evicted. */
static bool has_unsettled(const struct controller_peer *peer) {
  const struct controller_node *controller = peer->controller;
  for (uint32_t i = 0; i < controller->config.packages_count; i++) {
    if (peer->asked[i] == ASKED_LOADED && controller->packages[i].state == PACKAGE_LOADING) {
      return true;
    }
  }
  return false;
}

static void join_if_complete(struct controller_peer *peer, struct instant now) {
  if (peer->phase == CONTROLLER_SYNCING && peer->asked_count == 0 && !has_unsettled(peer)) {
    join(peer, now);
  }
}

static void on_state(struct controller_peer *peer, struct instant now) {
  struct controller_node *controller = peer->controller;
  if (peer->phase != CONTROLLER_GREETED) {
    return;
  }
  for (uint32_t i = 0; i < controller->config.packages_count; i++) {
    if (peer->state->has_package[i]) {
      adopt(controller, now, i);
      peer->asked[i] = ASKED_LOADED;
    }
  }
  peer->phase = CONTROLLER_SYNCING;
  memcpy(peer->is_gpu_lost, peer->state->is_lost, controller->config.gpus_count);
  for (uint32_t i = 0; i < controller->config.packages_count; i++) {
    struct controller_package *package = &controller->packages[i];
    if (peer->asked[i] == ASKED_NOT && package->state != PACKAGE_UNKNOWN) {
      package->workers_waiting += package->state == PACKAGE_LOADING;
      ask_to_load(peer, i);
    }
  }
  join_if_complete(peer, now);
}

static void on_gpu_lost(struct controller_peer *peer, struct instant now, uint32_t gpu_index) {
  CHECK_GE(peer->phase, CONTROLLER_SYNCING);
  if (peer->is_gpu_lost[gpu_index]) {
    return;
  }
  peer->is_gpu_lost[gpu_index] = true;
  if (peer->phase == CONTROLLER_UP) {
    scheduler_on_gpu_lost(peer->controller->scheduler, now, peer->worker_id, gpu_index);
    tell_forgotten(peer, now, gpu_index);
  }
}

static void on_pong(struct controller_peer *peer, struct instant now,
                    const struct report_message *report) {
  clock_offset_on_exchanged(&peer->clock, report->ping_sent, report->received, report->sent, now);
  if (peer->phase != CONTROLLER_GREETED || peer->pings_answered == PINGS_AT_FIRST) {
    return;
  }
  peer->pings_answered++;
  if (peer->pings_answered < PINGS_AT_FIRST) {
    send_ping(peer, now);
  } else {
    order(peer, PING_WIRE_BYTES)->kind = ORDER_GET_STATE;
  }
}

static struct instant to_ours(const struct controller_peer *peer, struct instant peers) {
  return clock_offset_to_ours(&peer->clock, peers);
}

static void on_result(struct controller_peer *peer, struct instant now,
                      const struct report_message *report) {
  const struct controller_node *controller = peer->controller;
  const struct observer *observer = controller->config.observer;
  if (peer->phase != CONTROLLER_UP) {
    return;
  }
  const struct scheduler_result result = {.action_id = report->action_id,
                                          .status = report->status,
                                          .begin = to_ours(peer, report->run.begin),
                                          .end = to_ours(peer, report->run.end),
                                          .output_end = to_ours(peer, report->output_end),
                                          .received = to_ours(peer, report->received),
                                          .sent = to_ours(peer, report->sent),
                                          .clock_before_mhz = report->clock_before_mhz,
                                          .clock_after_mhz = report->clock_after_mhz};
  if (observer != NULL) {
    observer->on_result(observer->self, now, controller->runs_count, peer->worker_id, report,
                        &result);
  }
  scheduler_on_result(controller->scheduler, now, &result);
}

/* ---- connections ----------------------------------------------------------------------------- */

static struct instant on_dial(void *self, struct instant now) {
  struct controller_peer *peer = self;
  struct controller_node *controller = peer->controller;
  if (!controller->is_running) {
    return INSTANT_NEVER;
  }
  if (instant_before(now, controller->frozen_until)) {
    return controller->frozen_until;
  }
  if (peer->phase == CONTROLLER_CONNECTING) { /* it took too long */
    peer->phase = CONTROLLER_PAUSING;
    peer->failures_count++;
    return instant_add(now, dialing_pause(peer->failures_count));
  }
  peer->phase = CONTROLLER_CONNECTING;
  peer->connection = ++controller->connections_count;
  order(peer, SIGNAL_WIRE_BYTES)->kind = ORDER_OPEN;
  return instant_add(now, DIALING_WITHIN);
}

static void on_opened(struct controller_peer *peer, struct instant now) {
  peer->phase = CONTROLLER_GREETED;
  peer->failures_count = 0;
  peer->clock = (struct clock_offset){.count = 0};
  peer->pings_answered = 0;
  peer->heard = now;
  memset(peer->asked, 0, peer->controller->config.packages_count);
  peer->asked_count = 0;
  event_set(&peer->dial, INSTANT_NEVER);
  send_ping(peer, now);
}

static void on_closed(struct controller_peer *peer, struct instant now, const char *why) {
  struct controller_node *controller = peer->controller;
  const struct observer *observer = controller->config.observer;
  const bool was_up = peer->phase == CONTROLLER_UP;
  peer->phase = CONTROLLER_PAUSING;
  event_set(&peer->dial, instant_add(now, dialing_pause(0)));
  if (was_up) {
    if (observer != NULL) {
      observer->on_worker_lost(observer->self, now, peer->worker_id, why);
    }
    scheduler_on_worker_lost(controller->scheduler, now, peer->worker_id);
  }
  give_up_asked(peer, now);
}

void controller_peer_close(struct controller_peer *peer, struct instant now, const char *why) {
  if (!is_connected(peer)) {
    return;
  }
  struct order_message *message = order(peer, SIGNAL_WIRE_BYTES);
  message->kind = ORDER_CLOSE;
  message->unseen = peer->unseen_end;
  on_closed(peer, now, why);
}

static void on_model_loaded(struct controller_peer *peer, struct instant now,
                            const struct report_message *report) {
  if (report->status == ACTION_GPU_LOST) { /* its last: the connection's end is on its way */
    return;
  }
  CHECK_EQ(report->status, ACTION_SUCCESS);
  if (peer->asked[report->package_index] == ASKED) {
    peer->asked[report->package_index] = ASKED_LOADED;
    peer->asked_count--;
    on_package_answer(peer->controller, now, report->package_index);
    join_if_complete(peer, now);
  }
}

void controller_peer_on_report(struct controller_peer *peer, struct instant now,
                               const struct report_message *report) {
  if (report->connection != peer->connection) {
    return;
  }
  if (peer->phase == CONTROLLER_CONNECTING) {
    if (report->kind == REPORT_OPENED) {
      on_opened(peer, now);
    } else if (report->kind == REPORT_REFUSED) {
      peer->phase = CONTROLLER_PAUSING;
      peer->failures_count++;
      event_set(&peer->dial, instant_add(now, dialing_pause(peer->failures_count)));
    }
    return;
  }
  if (!is_connected(peer)) {
    return;
  }
  peer->heard = now;
  switch ((enum report_kind)report->kind) {
  case REPORT_PONG:
    on_pong(peer, now, report);
    break;
  case REPORT_STATE:
    on_state(peer, now);
    break;
  case REPORT_MODEL_LOADED:
    on_model_loaded(peer, now, report);
    break;
  case REPORT_GPU_LOST:
    on_gpu_lost(peer, now, report->gpu_index);
    break;
  case REPORT_RESULT:
    on_result(peer, now, report);
    break;
  case REPORT_CLOSED:
    on_closed(peer, now, "the worker ended the connection");
    break;
  case REPORT_OPENED:
  case REPORT_REFUSED:
    break;
  }
}

/* ---- the tick -------------------------------------------------------------------------------- */

/* One at a time: the others' turn comes with the next tick. */
static void cut_off_stuck(struct controller_node *controller, struct instant now) {
  const uint32_t stuck =
      scheduler_stuck_worker(controller->scheduler, now, duration_ns(SILENCE_NS));
  if (stuck != SCHEDULER_NO_WORKER) {
    controller_peer_close(&controller->peers[stuck], now, "stuck");
  }
}

/* What workers said while this process stood still is still to be read. */
static bool has_stood_still(struct controller_node *controller, struct instant now) {
  const bool has_stood =
      controller->ticked.ns != 0 && instant_since(now, controller->ticked).ns > SILENCE_NS / 2;
  controller->ticked = now;
  for (uint32_t i = 0; has_stood && i < controller->config.workers_count; i++) {
    controller->peers[i].heard = now;
  }
  return has_stood;
}

void controller_peers_tick(struct controller_node *controller, struct instant now) {
  if (!has_stood_still(controller, now)) {
    cut_off_stuck(controller, now);
  }
  for (uint32_t i = 0; i < controller->config.workers_count; i++) {
    struct controller_peer *peer = &controller->peers[i];
    if (!is_connected(peer)) {
      continue;
    }
    if (instant_since(now, peer->heard).ns > SILENCE_NS) {
      controller_peer_close(peer, now, "silent");
      continue;
    }
    send_ping(peer, now);
  }
}

void controller_peer_init(struct controller_peer *peer, struct events *events) {
  event_init(&peer->dial, events, on_dial, peer);
}

void controller_peers_reset(struct controller_node *controller, struct instant now) {
  for (uint32_t i = 0; i < controller->config.workers_count; i++) {
    struct controller_peer *peer = &controller->peers[i];
    peer->phase = CONTROLLER_PAUSING;
    peer->failures_count = 0;
    peer->asked_count = 0;
    event_set(&peer->dial, now);
  }
}
