/* The workers: connected to, compared clocks with, brought up to date, given actions.
 *
 *   ABSENT -> GREETED: a few PINGs compare the clocks, then GET_STATE asks what it holds
 *          -> SYNCING: models that it lacks are loaded from its disk
 *          -> UP:      its GPUs join the scheduler
 * From any phase back to ABSENT when the connection ends: the scheduler moves its requests, and the
 * dialler tries again for ever.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "controller/controller.h"
#include "os/log.h"

enum {
  /* Exchanges before the first action: the shortest of four is close to the true offset. */
  PINGS_AT_FIRST = 4,
  LOADED = 2, /* in remote_worker.asked */
  ASKED = 1,
  REFUSED = 3,
};

/* A worker that says nothing for this long is given up; it is pinged six times meanwhile. */
static const int64_t SILENCE_NS = 3 * NS_PER_S;

static void send_message(struct remote_worker *worker, enum wire_type type,
                         const struct wire_writer *meta) {
  if (connection_send(worker->connection, (uint16_t)type, meta->start, meta->used_bytes, NULL, 0) !=
      ERR_OK) {
    connection_close(worker->connection);
  }
}

static void send_ping(struct remote_worker *worker) {
  unsigned char meta[64];
  struct wire_writer writer = wire_writer_over(meta, sizeof(meta));
  wire_encode_ping(&writer, &(struct wire_ping){.sent_ns = os_now().ns});
  send_message(worker, WIRE_PING, &writer);
}

static void send_get_state(struct remote_worker *worker) {
  unsigned char meta[64];
  struct wire_writer writer = wire_writer_over(meta, sizeof(meta));
  wire_encode_get_state(&writer, &(struct wire_get_state){.action_id = 1});
  send_message(worker, WIRE_GET_STATE, &writer);
}

static void ask_to_load(struct remote_worker *worker, uint32_t package_index) {
  const struct controller *controller = worker->controller;
  const struct package *package = &controller->packages.items[package_index];
  struct wire_load_model message = {
      .action_id = (uint64_t)package_index + 1,
      .first_model_id = package->first_model_id,
      .copies = package->copies,
      .max_batch = controller->options.scheduler.max_batch,
      .max_execute_ns = controller->options.scheduler.max_exec.ns,
  };
  memcpy(message.path, package->path, sizeof(message.path));
  unsigned char meta[WIRE_META_BYTES_SMALL];
  struct wire_writer writer = wire_writer_over(meta, sizeof(meta));
  wire_encode_load_model(&writer, &message);
  worker->asked[package_index] = ASKED;
  worker->asked_count++;
  send_message(worker, WIRE_LOAD_MODEL, &writer);
}

static void forget_state(struct remote_worker *worker) {
  for (uint32_t i = 0; i < worker->gpus_count; i++) {
    free(worker->resident_models[i]);
  }
  free(worker->resident_models);
  free(worker->gpus);
  worker->resident_models = NULL;
  worker->gpus = NULL;
  worker->gpus_count = 0;
}

/* Its answers won't come, or won't be listened to: nobody may wait for them. */
static void give_up_asked(struct remote_worker *worker) {
  struct controller *controller = worker->controller;
  for (uint32_t i = 0; worker->asked_count > 0 && i < controller->packages.count; i++) {
    if (worker->asked[i] == ASKED) {
      worker->asked[i] = 0;
      worker->asked_count--;
      packages_on_answer(controller, i, NULL, worker->name);
    }
  }
}

static void refuse(struct remote_worker *worker, const char *why) {
  log_warning("Worker %s: %s; its GPUs are not used", worker->name, why);
  worker->phase = WORKER_REFUSED;
  give_up_asked(worker);
}

static uint32_t gpus_left(const struct remote_worker *worker) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < worker->gpus_count; i++) {
    count += worker->gpus[i].pages > 0;
  }
  return count;
}

static void join(struct remote_worker *worker) {
  struct controller *controller = worker->controller;
  struct scheduler_gpu *gpus = calloc(worker->gpus_count + 1, sizeof(*gpus));
  if (gpus == NULL) {
    refuse(worker, "out of memory");
    return;
  }
  for (uint32_t i = 0; i < worker->gpus_count; i++) {
    gpus[i] = (struct scheduler_gpu){.pages = worker->gpus[i].pages,
                                     .clock_mhz = worker->gpus[i].clock_mhz,
                                     .resident_models = worker->resident_models[i],
                                     .resident_count = worker->gpus[i].resident_count};
  }
  const enum err error = scheduler_on_worker_up(controller->scheduler, os_now(), worker->worker_id,
                                                gpus, worker->gpus_count);
  free(gpus);
  if (error != ERR_OK) {
    refuse(worker, err_text(error));
    return;
  }
  worker->phase = WORKER_UP;
  const uint32_t gpus_count = gpus_left(worker);
  log_info("Worker %s is up with %u GPU%s; clock offset %.3f ms, within %.0f us", worker->name,
           gpus_count, gpus_count == 1 ? "" : "s",
           (double)clock_offset_estimate(&worker->clock).ns / 1e6,
           (double)clock_offset_error(&worker->clock).ns / 1e3);
}

/* Whether it has a package that others are still loading. Weights of models that the scheduler does
 * not know yet would be evicted. */
static bool has_unsettled(const struct remote_worker *worker) {
  const struct packages *packages = &worker->controller->packages;
  for (uint32_t i = 0; i < packages->count; i++) {
    if (worker->asked[i] == LOADED && packages->items[i].state == PACKAGE_LOADING) {
      return true;
    }
  }
  return false;
}

static void join_if_complete(struct remote_worker *worker) {
  if (worker->phase == WORKER_SYNCING && worker->asked_count == 0 && !has_unsettled(worker)) {
    join(worker);
  }
}

/* Read the GPUs and what they hold. */
static enum err read_gpus(struct remote_worker *worker, struct wire_reader *reader,
                          uint32_t gpus_count) {
  const uint32_t most = worker->controller->options.scheduler.limits.gpus;
  if (gpus_count > most) {
    return ERR_TOO_LARGE;
  }
  forget_state(worker);
  worker->gpus = calloc(gpus_count + 1, sizeof(*worker->gpus));
  worker->resident_models = calloc(gpus_count + 1, sizeof(*worker->resident_models));
  if (worker->gpus == NULL || worker->resident_models == NULL) {
    return ERR_NO_MEMORY;
  }
  worker->gpus_count = gpus_count;
  for (uint32_t i = 0; i < gpus_count; i++) {
    struct wire_state_gpu *gpu = &worker->gpus[i];
    if (wire_decode_state_gpu(reader, gpu) != ERR_OK ||
        gpu->resident_count > reader->left_bytes / sizeof(uint32_t)) {
      gpu->resident_count = 0;
      return ERR_MALFORMED;
    }
    worker->resident_models[i] = calloc(gpu->resident_count + 1, sizeof(uint32_t));
    if (worker->resident_models[i] == NULL) {
      return ERR_NO_MEMORY;
    }
    for (uint32_t j = 0; j < gpu->resident_count; j++) {
      worker->resident_models[i][j] = wire_read_u32(reader);
    }
  }
  return ERR_OK;
}

static enum err on_state(struct remote_worker *worker, struct wire_reader *reader) {
  struct controller *controller = worker->controller;
  struct wire_state state;
  if (wire_decode_state(reader, &state) != ERR_OK || worker->phase != WORKER_GREETED) {
    return ERR_MALFORMED;
  }
  const enum err error = read_gpus(worker, reader, state.gpus_count);
  if (error != ERR_OK) {
    return error;
  }
  for (uint32_t i = 0; i < state.models_count; i++) {
    struct wire_state_model model;
    uint32_t package_index = 0;
    if (wire_decode_state_model(reader, &model) != ERR_OK) {
      return ERR_MALFORMED;
    }
    if (!packages_adopt(controller, &model, &package_index)) {
      char why[256];
      snprintf(why, sizeof(why),
               "its model %u (%.100s) does not fit the models of this controller: restart the "
               "worker",
               model.first_model_id, model.path);
      refuse(worker, why);
      return ERR_OK;
    }
    worker->asked[package_index] = LOADED;
  }
  if (wire_reader_finish(reader) != ERR_OK) {
    return ERR_MALFORMED;
  }
  worker->phase = WORKER_SYNCING;
  for (uint32_t i = 0; i < controller->packages.count; i++) {
    struct package *package = &controller->packages.items[i];
    if (worker->asked[i] == 0 && package->state != PACKAGE_FAILED) {
      package->workers_waiting += package->state == PACKAGE_LOADING;
      ask_to_load(worker, i);
    }
  }
  join_if_complete(worker);
  return ERR_OK;
}

static enum err on_model_loaded(struct remote_worker *worker, struct wire_reader *reader) {
  struct controller *controller = worker->controller;
  struct wire_model_loaded loaded;
  if (wire_decode_model_loaded(reader, &loaded) != ERR_OK || wire_reader_finish(reader) != ERR_OK ||
      loaded.action_id == 0 || loaded.action_id > controller->packages.count) {
    return ERR_MALFORMED;
  }
  const uint32_t package_index = (uint32_t)(loaded.action_id - 1);
  if (worker->asked[package_index] != ASKED) {
    return ERR_MALFORMED;
  }
  if (loaded.status == ACTION_GPU_LOST) {
    /* Its last, and it ends: that says nothing of the package, which others may load. */
    log_warning("Worker %s has no GPU left", worker->name);
    connection_close(worker->connection);
    return ERR_OK;
  }
  const bool is_success = loaded.status == ACTION_SUCCESS && model_spec_is_valid(&loaded.spec);
  if (loaded.status == ACTION_SUCCESS && !is_success) {
    loaded.status = ACTION_RUNTIME_ERROR;
  }
  worker->asked[package_index] = is_success ? LOADED : REFUSED;
  worker->asked_count--;
  const struct package *package = &controller->packages.items[package_index];
  if (package->state == PACKAGE_READY && !is_success) {
    char why[256];
    snprintf(why, sizeof(why), "it can't load %.120s (%s)", package->path,
             action_status_text((int)loaded.status));
    refuse(worker, why);
    return ERR_OK;
  }
  packages_on_answer(controller, package_index, &loaded, worker->name);
  join_if_complete(worker);
  return ERR_OK;
}

static enum err on_pong(struct remote_worker *worker, struct wire_reader *reader) {
  struct wire_pong pong;
  const struct instant now = os_now();
  if (wire_decode_pong(reader, &pong) != ERR_OK || wire_reader_finish(reader) != ERR_OK) {
    return ERR_MALFORMED;
  }
  clock_offset_on_exchanged(&worker->clock, (struct instant){pong.ping_sent_ns},
                            (struct instant){pong.received_ns}, (struct instant){pong.answered_ns},
                            now);
  if (worker->phase == WORKER_GREETED && worker->pings_answered < PINGS_AT_FIRST) {
    worker->pings_answered++;
    if (worker->pings_answered < PINGS_AT_FIRST) {
      send_ping(worker);
    } else {
      send_get_state(worker);
    }
  }
  return ERR_OK;
}

static enum err on_gpu_lost(struct remote_worker *worker, struct wire_reader *reader) {
  struct wire_gpu_lost lost;
  if (wire_decode_gpu_lost(reader, &lost) != ERR_OK || wire_reader_finish(reader) != ERR_OK ||
      (worker->phase != WORKER_SYNCING && worker->phase != WORKER_UP) ||
      lost.gpu_index >= worker->gpus_count) {
    return ERR_MALFORMED;
  }
  struct wire_state_gpu *gpu = &worker->gpus[lost.gpu_index];
  if (gpu->pages == 0) {
    return ERR_OK; /* known */
  }
  gpu->pages = 0;
  gpu->resident_count = 0;
  log_warning("Worker %s has lost GPU %u (%s): %s; %u of its %u GPUs go on", worker->name,
              lost.gpu_index, gpu->name, lost.reason, gpus_left(worker), worker->gpus_count);
  if (worker->phase == WORKER_UP) {
    scheduler_on_gpu_lost(worker->controller->scheduler, os_now(), worker->worker_id,
                          lost.gpu_index);
  }
  return ERR_OK;
}

static struct instant to_ours(const struct remote_worker *worker, int64_t peers_ns) {
  return clock_offset_to_ours(&worker->clock, (struct instant){peers_ns});
}

static enum err on_result(struct remote_worker *worker, struct wire_reader *reader,
                          struct body *body) {
  struct controller *controller = worker->controller;
  struct wire_result message;
  if (wire_decode_result(reader, &message) != ERR_OK || wire_reader_finish(reader) != ERR_OK) {
    return ERR_MALFORMED;
  }
  if (worker->phase != WORKER_UP) {
    return ERR_OK; /* of an action from before we lost sight of it */
  }
  const struct scheduler_result result = {
      .action_id = message.action_id,
      .status = (enum action_status)message.status,
      .begin = to_ours(worker, message.run_begin_ns),
      .end = to_ours(worker, message.run_end_ns),
      .output_end = to_ours(worker, message.output_end_ns),
      .received = to_ours(worker, message.received_ns),
      .sent = to_ours(worker, message.sent_ns),
      .clock_before_mhz = message.clock_before_mhz,
      .clock_after_mhz = message.clock_after_mhz,
      .bad_inputs = message.bad_inputs,
  };
  const struct model_spec *spec = scheduler_model(controller->scheduler, message.model_id);
  if (body != NULL && spec != NULL &&
      body->bytes == (uint64_t)message.batch_size * spec->output_bytes) {
    controller->result_outputs = body;
    controller->result_output_bytes = (uint32_t)spec->output_bytes;
  }
  scheduler_on_result(controller->scheduler, os_now(), &result);
  controller->result_outputs = NULL;
  return ERR_OK;
}

static void on_frame(struct connection *connection, uint16_t type, const unsigned char *meta,
                     size_t meta_bytes, struct body *body) {
  struct remote_worker *worker = connection_user(connection);
  struct wire_reader reader = wire_reader_over(meta, meta_bytes);
  enum err error = ERR_MALFORMED;
  worker->heard = os_now();
  worker->was_heard = true;
  worker->trouble = WORKER_TROUBLE_NONE;
  if (worker->phase == WORKER_REFUSED) {
    return;
  }
  switch (type) {
  case WIRE_PONG:
    error = on_pong(worker, &reader);
    break;
  case WIRE_STATE:
    error = on_state(worker, &reader);
    break;
  case WIRE_MODEL_LOADED:
    error = on_model_loaded(worker, &reader);
    break;
  case WIRE_GPU_LOST:
    error = on_gpu_lost(worker, &reader);
    break;
  case WIRE_RESULT:
    error = on_result(worker, &reader, body);
    break;
  default:
    break;
  }
  if (error != ERR_OK) {
    log_warning("Worker %s: message %u: %s; reconnecting", worker->name, type, err_text(error));
    connection_close(connection);
  }
}

static void on_opened(struct connection *connection) {
  struct remote_worker *worker = connection_owner(connection);
  connection_set_user(connection, worker);
  worker->connection = connection;
  worker->phase = WORKER_GREETED;
  worker->clock = (struct clock_offset){.count = 0};
  worker->pings_answered = 0;
  worker->heard = os_now();
  worker->was_heard = false;
  worker->is_given_up = false;
  memset(worker->asked, 0, CONTROLLER_PACKAGES_MAX);
  worker->asked_count = 0;
  send_ping(worker);
}

/* Whether it is still to be logged; then it counts as logged. */
static bool is_new_trouble(struct remote_worker *worker, enum worker_trouble trouble) {
  const bool is_new = worker->trouble != trouble;
  worker->trouble = trouble;
  return is_new;
}

static void on_closed(struct connection *connection, const char *reason) {
  struct remote_worker *worker = connection_user(connection);
  struct controller *controller = worker->controller;
  const bool was_up = worker->phase == WORKER_UP;
  worker->connection = NULL;
  worker->phase = WORKER_ABSENT;
  if (was_up) {
    scheduler_on_worker_lost(controller->scheduler, os_now(), worker->worker_id);
  }
  give_up_asked(worker);
  if (controller->is_stopping) {
    return;
  }
  if (worker->was_heard) {
    log_warning("Worker %s is lost: %s", worker->name, reason);
  } else if (!worker->is_given_up && is_new_trouble(worker, WORKER_TROUBLE_STRANGER)) {
    log_warning("Worker %s: what listens there is no worker, or one of another version: %s; trying "
                "again",
                worker->name, reason);
  }
}

static void on_failed(void *owner, const char *reason) {
  struct remote_worker *worker = owner;
  if (is_new_trouble(worker, WORKER_TROUBLE_UNREACHABLE)) {
    log_warning("Worker %s can't be reached: %s; trying again", worker->name, reason);
  }
}

void workers_start(struct controller *controller) {
  const struct options *options = &controller->options;
  const struct dialer_options dialer = {
      .connection = {.handlers = {.on_opened = on_opened,
                                  .on_frame = on_frame,
                                  .on_closed = on_closed,
                                  .on_failed = on_failed},
                     .budget = &controller->outputs_budget,
                     /* A state with a hundred thousand models on many GPUs. */
                     .meta_bytes_max = FRAME_META_BYTES_MAX,
                     .lost_after = duration_s(3)},
      .reconnects = true};
  controller->workers = calloc(options->workers_count + 1, sizeof(struct remote_worker));
  CHECK(controller->workers != NULL);
  for (size_t i = 0; i < options->workers_count; i++) {
    struct remote_worker *worker = &controller->workers[i];
    worker->controller = controller;
    worker->worker_id = (uint32_t)i;
    memcpy(worker->name, options->workers[i].text, sizeof(worker->name));
    worker->asked = calloc(CONTROLLER_PACKAGES_MAX, 1);
    CHECK(worker->asked != NULL);
    struct dialer_options own = dialer;
    own.connection.owner = worker;
    worker->dialer = transport_dial(controller->transport, &options->workers[i], &own);
    CHECK(worker->dialer != NULL);
  }
}

/* One at a time: the others' turn comes with the next tick. */
static void cut_off_stuck(struct controller *controller, struct instant now) {
  const uint32_t stuck =
      scheduler_stuck_worker(controller->scheduler, now, duration_ns(SILENCE_NS));
  if (stuck != SCHEDULER_NO_WORKER && controller->workers[stuck].connection != NULL) {
    log_warning("Worker %s answers pings but not its actions", controller->workers[stuck].name);
    connection_close(controller->workers[stuck].connection);
  }
}

/* Where this process stood still itself, what workers said meanwhile is still to be read: they get
 * as long as ever to be heard. Else a controller that was stopped for some seconds would give up
 * every worker at once. */
static bool has_stood_still(struct controller *controller, struct instant now) {
  const bool has_stood =
      controller->ticked.ns != 0 && instant_since(now, controller->ticked).ns > SILENCE_NS / 2;
  controller->ticked = now;
  for (size_t i = 0; has_stood && i < controller->options.workers_count; i++) {
    controller->workers[i].heard = now;
  }
  return has_stood;
}

void workers_tick(struct controller *controller, struct instant now) {
  if (!has_stood_still(controller, now)) {
    cut_off_stuck(controller, now);
  }
  for (size_t i = 0; i < controller->options.workers_count; i++) {
    struct remote_worker *worker = &controller->workers[i];
    if (worker->connection == NULL || worker->phase == WORKER_REFUSED) {
      continue;
    }
    if (instant_since(now, worker->heard).ns > SILENCE_NS) {
      if (is_new_trouble(worker, WORKER_TROUBLE_SILENT)) {
        log_warning("Worker %s has been silent for %lld s", worker->name,
                    (long long)(SILENCE_NS / NS_PER_S));
      }
      worker->is_given_up = true;
      connection_close(worker->connection);
      continue;
    }
    send_ping(worker);
  }
}

uint32_t workers_load_package(struct controller *controller, uint32_t package_index) {
  uint32_t asked_count = 0;
  for (size_t i = 0; i < controller->options.workers_count; i++) {
    struct remote_worker *worker = &controller->workers[i];
    if (worker->phase == WORKER_SYNCING || worker->phase == WORKER_UP) {
      ask_to_load(worker, package_index);
      asked_count++;
    }
  }
  return asked_count;
}

/* Find workers that can now join, or that lack what all others have. */
void workers_on_package_settled(struct controller *controller, uint32_t package_index) {
  for (size_t i = 0; i < controller->options.workers_count; i++) {
    struct remote_worker *worker = &controller->workers[i];
    const bool is_ready = controller->packages.items[package_index].state == PACKAGE_READY;
    if (is_ready && worker->phase == WORKER_SYNCING && worker->asked[package_index] == REFUSED) {
      refuse(worker, "it could not load a model that others loaded");
    }
    join_if_complete(worker);
  }
}

void workers_forget_package(struct controller *controller, uint32_t package_index) {
  for (size_t i = 0; i < controller->options.workers_count; i++) {
    controller->workers[i].asked[package_index] = 0;
  }
}

/* As if the worker had refused: its requests are tried elsewhere. */
static void action_not_sent(struct controller *controller, const struct scheduler_action *action) {
  const struct instant now = os_now();
  const struct scheduler_result result = {.action_id = action->action_id,
                                          .status = ACTION_COULD_NOT_SEND,
                                          .begin = now,
                                          .end = now,
                                          .output_end = now,
                                          .received = now,
                                          .sent = now};
  scheduler_on_result(controller->scheduler, now, &result);
}

/* The input of one request: the client's, or one made here, or none. */
static void describe_input(struct controller *controller, const struct pending *pending,
                           uint32_t needed_bytes, struct wire_action_input *ret_input,
                           struct body_slice *ret_slice) {
  *ret_input = (struct wire_action_input){.input_bytes = 0};
  *ret_slice = (struct body_slice){.count_bytes = 0};
  if (pending->input != NULL) {
    *ret_input = (struct wire_action_input){.input_bytes = pending->input_bytes,
                                            .stored_bytes = pending->input->bytes,
                                            .encoding = pending->encoding};
    *ret_slice = (struct body_slice){.body = pending->input, .count_bytes = pending->input->bytes};
    return;
  }
  if (!controller->options.generates_inputs) {
    return;
  }
  const struct made_input *made = inputs_next(&controller->inputs, needed_bytes);
  if (made != NULL) {
    *ret_input = (struct wire_action_input){
        .input_bytes = needed_bytes, .stored_bytes = made->stored_bytes, .encoding = WIRE_LZ4};
    *ret_slice = (struct body_slice){.data = made->bytes, .count_bytes = made->stored_bytes};
  }
}

void workers_send_action(struct controller *controller, const struct scheduler_action *action) {
  struct remote_worker *worker = &controller->workers[action->worker_id];
  const struct model_spec *spec = scheduler_model(controller->scheduler, action->model_id);
  const uint32_t needed_bytes = spec == NULL ? 0 : (uint32_t)spec->input_bytes;
  struct wire_action_input inputs[MODEL_BATCH_MAX];
  struct body_slice slices[MODEL_BATCH_MAX];
  size_t slices_count = 0;
  struct wire_action message = {
      .action_id = action->action_id,
      .type = (uint8_t)action->type,
      .gpu_index = action->gpu_index,
      .model_id = action->model_id,
      .batch_size = action->batch_size,
      .earliest_ns = clock_offset_to_peers(&worker->clock, action->earliest).ns,
      .latest_ns = clock_offset_to_peers(&worker->clock, action->latest).ns,
  };
  for (uint32_t i = 0; i < action->requests_count; i++) {
    const struct pending *pending = clients_pending(controller, action->request_tags[i]);
    message.wants_outputs = message.wants_outputs || pending->wants_output;
    describe_input(controller, pending, needed_bytes, &inputs[i], &slices[slices_count]);
    slices_count += slices[slices_count].count_bytes > 0;
  }
  if (slices_count > 0) {
    message.inputs_count = action->requests_count;
  }
  unsigned char meta[WIRE_META_BYTES_SMALL];
  struct wire_writer writer = wire_writer_over(meta, sizeof(meta));
  wire_encode_action(&writer, &message);
  for (uint32_t i = 0; i < message.inputs_count; i++) {
    wire_encode_action_input(&writer, &inputs[i]);
  }
  CHECK(!writer.has_failed);
  if (worker->phase != WORKER_UP || worker->connection == NULL ||
      connection_send(worker->connection, WIRE_ACTION, meta, writer.used_bytes, slices,
                      slices_count) != ERR_OK) {
    action_not_sent(controller, action);
  }
}

uint32_t workers_up_count(const struct controller *controller) {
  uint32_t count = 0;
  for (size_t i = 0; i < controller->options.workers_count; i++) {
    count += controller->workers[i].phase == WORKER_UP;
  }
  return count;
}

void workers_finish(struct controller *controller) {
  for (size_t i = 0; controller->workers != NULL && i < controller->options.workers_count; i++) {
    forget_state(&controller->workers[i]);
    free(controller->workers[i].asked);
  }
  free(controller->workers);
  controller->workers = NULL;
}
