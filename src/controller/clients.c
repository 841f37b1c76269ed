/* Clients: their requests become events of the scheduler, its answers their answers. */
#include <stdio.h>

#include "base/check.h"
#include "controller/controller.h"
#include "os/log.h"

static uint64_t session_id_of(const struct session *session) {
  return pool_id(&session->controller->sessions, session);
}

/* A client that does not read its answers is cut off rather than kept in memory. */
static void send_to(struct session *session, enum wire_type type, const struct wire_writer *meta,
                    const struct body_slice *slice) {
  CHECK(!meta->has_failed);
  if (connection_send(session->connection, (uint16_t)type, meta->start, meta->used_bytes, slice,
                      slice == NULL ? 0 : 1) != ERR_OK) {
    connection_close(session->connection);
  }
}

static void send_infer_answer(struct session *session, const struct wire_infer_answer *answer,
                              const struct body_slice *slice) {
  unsigned char meta[128];
  struct wire_writer writer = wire_writer_over(meta, sizeof(meta));
  wire_encode_infer_answer(&writer, answer);
  send_to(session, WIRE_INFER_ANSWER, &writer, slice);
}

struct pending *clients_pending(struct controller *controller, uint64_t tag) {
  struct pending *pending = pool_find(&controller->pendings, tag);
  CHECK(pending != NULL);
  return pending;
}

static void pending_drop(struct controller *controller, struct pending *pending) {
  body_release(pending->input);
  pool_give(&controller->pendings, pending);
}

void clients_on_answer(struct controller *controller, const struct scheduler_answer *answer) {
  struct pending *pending = clients_pending(controller, answer->tag);
  if (answer->result == REQUEST_SUCCESS) {
    histogram_record(&controller->summary.latency, answer->latency.ns);
  }
  struct wire_infer_answer message = {.request_id = pending->request_id,
                                      .result = answer->result,
                                      .model_id = answer->model_id,
                                      .batch_size = 1,
                                      .latency_ns = answer->latency.ns};
  struct body_slice slice = {.body = controller->result_outputs};
  const bool has_output = pending->wants_output && answer->result == REQUEST_SUCCESS;
  if (has_output && slice.body == NULL) {
    /* It was run, but its worker sent no outputs that fit the model. */
    message.result = REQUEST_ERROR;
  } else if (has_output) {
    message.output_bytes = controller->result_output_bytes;
    slice.count_bytes = controller->result_output_bytes;
    slice.offset_bytes = (size_t)answer->batch_index * controller->result_output_bytes;
  }
  if (pending->session_id == 0) {
    stress_on_answer(controller, answer->result == REQUEST_SUCCESS);
  } else {
    struct session *session = pool_find(&controller->sessions, pending->session_id);
    if (session != NULL) { /* else the client has gone */
      send_infer_answer(session, &message, slice.count_bytes > 0 ? &slice : NULL);
    }
  }
  pending_drop(controller, pending);
}

static bool submit(struct controller *controller, const struct pending *from, uint32_t user_id,
                   uint32_t batch_size, double slo_factor) {
  struct pending *pending = pool_take(&controller->pendings);
  if (pending == NULL) {
    return false;
  }
  *pending = *from;
  const struct scheduler_request request = {
      .tag = pool_id(&controller->pendings, pending),
      .request_id = controller->telemetry_request_id++,
      .user_id = user_id,
      .model_id = pending->model_id,
      .batch_size = batch_size,
      .slo_factor = slo_factor,
  };
  scheduler_on_request(controller->scheduler, os_now(), &request);
  return true;
}

bool clients_make_request(struct controller *controller, uint32_t model_id) {
  const struct pending pending = {.model_id = model_id};
  return submit(controller, &pending, 0, 1, 0);
}

/* An input that came must be one of this model's: a wrong one would fail its whole batch. */
static bool input_fits(const struct wire_infer_request *request, const struct model_spec *spec,
                       const struct body *body) {
  if (body == NULL) {
    return request->input_bytes == 0;
  }
  if (spec == NULL || request->input_bytes != spec->input_bytes) {
    return false;
  }
  return request->encoding == WIRE_LZ4 || body->bytes == request->input_bytes;
}

static enum err on_infer(struct session *session, struct wire_reader *reader, struct body *body) {
  struct controller *controller = session->controller;
  struct wire_infer_request request;
  if (wire_decode_infer_request(reader, &request) != ERR_OK ||
      wire_reader_finish(reader) != ERR_OK) {
    return ERR_MALFORMED;
  }
  struct wire_infer_answer refusal = {
      .request_id = request.request_id, .model_id = request.model_id, .batch_size = 1};
  const struct model_spec *spec = scheduler_model(controller->scheduler, request.model_id);
  if (spec == NULL && packages_are_initializing(controller)) {
    /* One that a worker brings along, perhaps: this controller may have been restarted. */
    refusal.result = REQUEST_INITIALIZING;
    send_infer_answer(session, &refusal, NULL);
    return ERR_OK;
  }
  if (!input_fits(&request, spec, body)) {
    refusal.result = REQUEST_INVALID;
    send_infer_answer(session, &refusal, NULL);
    return ERR_OK;
  }
  const struct pending pending = {
      .session_id = session_id_of(session),
      .request_id = request.request_id,
      .model_id = request.model_id,
      .input_bytes = request.input_bytes,
      .input = body == NULL ? NULL : body_retain(body),
      .encoding = request.encoding,
      .wants_output =
          request.wants_output && !(body == NULL && controller->options.generates_inputs),
  };
  if (!submit(controller, &pending, request.user_id, request.batch_size, request.slo_factor)) {
    body_release(pending.input);
    refusal.result = REQUEST_SKIPPED;
    send_infer_answer(session, &refusal, NULL);
  }
  return ERR_OK;
}

static enum err on_load(struct session *session, struct wire_reader *reader) {
  struct wire_load_request request;
  if (wire_decode_load_request(reader, &request) != ERR_OK ||
      wire_reader_finish(reader) != ERR_OK) {
    return ERR_MALFORMED;
  }
  packages_on_request(session->controller, session_id_of(session), &request);
  return ERR_OK;
}

void clients_send_load_answer(struct controller *controller, uint64_t session_id,
                              const struct wire_load_answer *answer) {
  if (session_id == 0) {
    stress_on_loaded(controller, answer);
    return;
  }
  struct session *session = pool_find(&controller->sessions, session_id);
  if (session == NULL) {
    return;
  }
  unsigned char meta[WIRE_META_BYTES_SMALL];
  struct wire_writer writer = wire_writer_over(meta, sizeof(meta));
  wire_encode_load_answer(&writer, answer);
  send_to(session, WIRE_LOAD_ANSWER, &writer, NULL);
}

/* Models in one part of a list: with names of 64 bytes, under 100 kB. */
enum { LIST_PART = 1000 };

static enum err on_list(struct session *session, struct wire_reader *reader) {
  struct controller *controller = session->controller;
  struct wire_list_request request;
  if (wire_decode_list_request(reader, &request) != ERR_OK ||
      wire_reader_finish(reader) != ERR_OK) {
    return ERR_MALFORMED;
  }
  static const size_t ENTRY_BYTES_MAX = sizeof(struct wire_list_entry) + 16;
  unsigned char meta[64 + LIST_PART * (sizeof(struct wire_list_entry) + 16)];
  struct wire_writer entries = wire_writer_over(meta + 64, sizeof(meta) - 64);
  struct wire_list_answer answer = {.request_id = request.request_id,
                                    .next_model_id = MODEL_ID_NONE};
  for (uint32_t id = request.first_model_id; id < controller->packages.next_model_id; id++) {
    const struct model_spec *spec = scheduler_model(controller->scheduler, id);
    if (spec == NULL) {
      continue;
    }
    if (answer.entries_count == LIST_PART ||
        entries.capacity_bytes - entries.used_bytes < ENTRY_BYTES_MAX) {
      answer.next_model_id = id;
      break;
    }
    struct wire_list_entry entry = {.model_id = id,
                                    .input_bytes = spec->input_bytes,
                                    .output_bytes = spec->output_bytes,
                                    .execute_one_ns = spec->execute[0].ns};
    snprintf(entry.name, sizeof(entry.name), "%s", spec->name);
    wire_encode_list_entry(&entries, &entry);
    answer.entries_count++;
  }
  /* The head's length is known: it goes right before the entries. */
  unsigned char head[64];
  struct wire_writer writer = wire_writer_over(head, sizeof(head));
  wire_encode_list_answer(&writer, &answer);
  CHECK(!writer.has_failed);
  CHECK(!entries.has_failed);
  unsigned char *start = meta + 64 - writer.used_bytes;
  memcpy(start, head, writer.used_bytes);
  const struct wire_writer whole = {.start = start,
                                    .used_bytes = writer.used_bytes + entries.used_bytes};
  send_to(session, WIRE_LIST_ANSWER, &whole, NULL);
  return ERR_OK;
}

static enum err on_evict(struct session *session, struct wire_reader *reader) {
  struct controller *controller = session->controller;
  struct wire_evict_request request;
  if (wire_decode_evict_request(reader, &request) != ERR_OK ||
      wire_reader_finish(reader) != ERR_OK) {
    return ERR_MALFORMED;
  }
  struct wire_evict_answer answer = {.request_id = request.request_id, .result = REQUEST_SUCCESS};
  if (scheduler_model(controller->scheduler, request.model_id) == NULL) {
    answer.result = REQUEST_INVALID;
  } else {
    answer.evicted_count = scheduler_on_evict(controller->scheduler, os_now(), request.model_id);
  }
  unsigned char meta[64];
  struct wire_writer writer = wire_writer_over(meta, sizeof(meta));
  wire_encode_evict_answer(&writer, &answer);
  send_to(session, WIRE_EVICT_ANSWER, &writer, NULL);
  return ERR_OK;
}

static void on_frame(struct connection *connection, uint16_t type, const unsigned char *meta,
                     size_t meta_bytes, struct body *body) {
  struct session *session = connection_user(connection);
  if (session == NULL) {
    return; /* it is being closed */
  }
  struct wire_reader reader = wire_reader_over(meta, meta_bytes);
  enum err error = ERR_MALFORMED;
  switch (type) {
  case WIRE_INFER_REQUEST:
    error = on_infer(session, &reader, body);
    break;
  case WIRE_LOAD_REQUEST:
    error = on_load(session, &reader);
    break;
  case WIRE_LIST_REQUEST:
    error = on_list(session, &reader);
    break;
  case WIRE_EVICT_REQUEST:
    error = on_evict(session, &reader);
    break;
  default:
    break;
  }
  if (error != ERR_OK) {
    log_warning("Client %s: message %u is malformed; closing", connection_peer(connection), type);
    connection_close(connection);
  }
}

static void on_opened(struct connection *connection) {
  struct controller *controller = connection_owner(connection);
  struct session *session = pool_take(&controller->sessions);
  if (session == NULL) {
    connection_close(connection);
    return;
  }
  *session = (struct session){.controller = controller, .connection = connection};
  connection_set_user(connection, session);
  log_info("Client %s is connected", connection_peer(connection));
}

/* Its requests run on and their answers are dropped: to take a request back from a batch under way
 * would only leave a hole in it. */
static void on_closed(struct connection *connection, const char *reason) {
  struct session *session = connection_user(connection);
  if (session == NULL) {
    return;
  }
  log_info("Client %s has gone: %s", connection_peer(connection), reason);
  pool_give(&session->controller->sessions, session);
}

const struct connection_handlers clients_handlers = {
    .on_opened = on_opened,
    .on_frame = on_frame,
    .on_closed = on_closed,
};
