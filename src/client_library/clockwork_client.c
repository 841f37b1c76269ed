#include "client_library/clockwork_client.h"

#include <string.h>

#include "base/arena.h"
#include "base/check.h"
#include "base/list.h"
#include "base/pool.h"
#include "model/status.h"
#include "os/clock.h"
#include "os/memory.h"
#include "os/wakeup.h"

enum {
  CALLS_MAX_DEFAULT = 262144,
  LOST_AFTER_DEFAULT_S = 10,
  /* Short against the seconds that a controller needs to find its workers, long enough that waiting
   * requests of a busy client don't keep it from that. */
  RETRY_PAUSE_MS = 100,
};

enum call_kind { CALL_INFER, CALL_LOAD, CALL_LIST, CALL_EVICT };

struct list_call {
  clockwork_on_model *on_model;
  clockwork_on_listed *on_listed;
  void *user;
  uint32_t first_model_id; /* of the part that was asked for */
};

struct call {
  struct list retry; /* in client->retries while it waits to be sent again */
  enum call_kind kind;
  union {
    struct {
      struct clockwork_infer infer;
      struct instant begun_at;
      struct instant retry_at;
    };
    struct {
      clockwork_on_loaded *on_loaded;
      void *load_user;
    };
    struct list_call list;
    struct {
      clockwork_on_evicted *on_evicted;
      void *evict_user;
    };
  };
};

struct clockwork_client {
  struct clockwork_client_options options;
  struct dialer *dialer;
  struct connection *connection; /* NULL while not connected */
  const char *fault;             /* why we ended the connection; NULL: we didn't */
  bool was_heard;                /* a message came on this connection */
  struct wakeup retry_wakeup;
  struct list retries; /* in the order of their retry_at */
  struct pool calls;
  uint64_t unexpected_count;
  bool is_closed;
  void *memory;
  size_t memory_bytes;
};

/* ---- sending --------------------------------------------------------------------------------- */

static enum err send_message(struct clockwork_client *client, enum wire_type type,
                             const struct wire_writer *writer, const struct body_slice *slice) {
  CHECK(!writer->has_failed);
  return connection_send(client->connection, (uint16_t)type, writer->start, writer->used_bytes,
                         slice, slice == NULL ? 0 : 1);
}

static enum err send_infer(struct clockwork_client *client, const struct call *call) {
  const struct clockwork_infer *infer = &call->infer;
  const struct wire_infer_request request = {.request_id = pool_id(&client->calls, call),
                                             .user_id = infer->user_id,
                                             .model_id = infer->model_id,
                                             .batch_size = 1,
                                             .slo_factor = infer->slo_factor,
                                             .input_bytes = infer->input_bytes,
                                             .encoding = (uint8_t)infer->encoding,
                                             .wants_output = infer->wants_output};
  unsigned char meta[WIRE_META_BYTES_SMALL];
  struct wire_writer writer = wire_writer_over(meta, sizeof(meta));
  wire_encode_infer_request(&writer, &request);
  return send_message(client, WIRE_INFER_REQUEST, &writer,
                      infer->input_bytes > 0 ? &infer->input : NULL);
}

static enum err send_list(struct clockwork_client *client, const struct call *call) {
  const struct wire_list_request request = {.request_id = pool_id(&client->calls, call),
                                            .first_model_id = call->list.first_model_id};
  unsigned char meta[WIRE_META_BYTES_SMALL];
  struct wire_writer writer = wire_writer_over(meta, sizeof(meta));
  wire_encode_list_request(&writer, &request);
  return send_message(client, WIRE_LIST_REQUEST, &writer, NULL);
}

static enum err begin_call(struct clockwork_client *client, enum call_kind kind,
                           struct call **ret_call) {
  if (client->connection == NULL || client->fault != NULL || client->is_closed) {
    return ERR_CLOSED;
  }
  struct call *call = pool_take(&client->calls);
  if (call == NULL) {
    return ERR_FULL;
  }
  call->kind = kind;
  *ret_call = call;
  return ERR_OK;
}

/* `sent` is what sending said: a call that didn't leave is forgotten. */
static enum err settle_begun(struct clockwork_client *client, struct call *call, enum err sent) {
  if (sent != ERR_OK) {
    pool_give(&client->calls, call);
  }
  return sent;
}

enum err clockwork_client_infer(struct clockwork_client *client,
                                const struct clockwork_infer *infer) {
  struct call *call = NULL;
  enum err err = begin_call(client, CALL_INFER, &call);
  if (err != ERR_OK) {
    return err;
  }
  call->infer = *infer;
  err = send_infer(client, call);
  if (err == ERR_OK && infer->retry_within.ns > 0) {
    call->begun_at = os_now();
    if (infer->input_bytes > 0 && infer->input.body != NULL) {
      body_retain(infer->input.body);
    }
  }
  return settle_begun(client, call, err);
}

enum err clockwork_client_load(struct clockwork_client *client, const char *path, uint32_t copies,
                               clockwork_on_loaded *on_loaded, void *user) {
  const size_t path_bytes = strlen(path);
  CHECK_LT(path_bytes, MODEL_PATH_BYTES);
  struct call *call = NULL;
  const enum err err = begin_call(client, CALL_LOAD, &call);
  if (err != ERR_OK) {
    return err;
  }
  call->on_loaded = on_loaded;
  call->load_user = user;
  struct wire_load_request request = {.request_id = pool_id(&client->calls, call),
                                      .copies = copies};
  memcpy(request.path, path, path_bytes);
  unsigned char meta[WIRE_META_BYTES_SMALL];
  struct wire_writer writer = wire_writer_over(meta, sizeof(meta));
  wire_encode_load_request(&writer, &request);
  return settle_begun(client, call, send_message(client, WIRE_LOAD_REQUEST, &writer, NULL));
}

enum err clockwork_client_list(struct clockwork_client *client, clockwork_on_model *on_model,
                               clockwork_on_listed *on_listed, void *user) {
  struct call *call = NULL;
  const enum err err = begin_call(client, CALL_LIST, &call);
  if (err != ERR_OK) {
    return err;
  }
  call->list = (struct list_call){.on_model = on_model, .on_listed = on_listed, .user = user};
  return settle_begun(client, call, send_list(client, call));
}

enum err clockwork_client_evict(struct clockwork_client *client, uint32_t model_id,
                                clockwork_on_evicted *on_evicted, void *user) {
  struct call *call = NULL;
  const enum err err = begin_call(client, CALL_EVICT, &call);
  if (err != ERR_OK) {
    return err;
  }
  call->on_evicted = on_evicted;
  call->evict_user = user;
  const struct wire_evict_request request = {.request_id = pool_id(&client->calls, call),
                                             .model_id = model_id};
  unsigned char meta[WIRE_META_BYTES_SMALL];
  struct wire_writer writer = wire_writer_over(meta, sizeof(meta));
  wire_encode_evict_request(&writer, &request);
  return settle_begun(client, call, send_message(client, WIRE_EVICT_REQUEST, &writer, NULL));
}

/* ---- answers ---------------------------------------------------------------------------------
 *
 * The call is given back before its callback runs, so that the callback can make the next one even
 * when all were taken.
 */

static void answer_infer(struct clockwork_client *client, struct call *call,
                         const struct clockwork_inferred *answer) {
  const struct clockwork_infer infer = call->infer;
  pool_give(&client->calls, call);
  infer.on_inferred(infer.user, answer);
  if (infer.retry_within.ns > 0 && infer.input_bytes > 0) {
    body_release(infer.input.body);
  }
}

static void answer_load(struct clockwork_client *client, struct call *call,
                        const struct clockwork_loaded *answer) {
  clockwork_on_loaded *on_loaded = call->on_loaded;
  void *user = call->load_user;
  pool_give(&client->calls, call);
  on_loaded(user, answer);
}

static void answer_list(struct clockwork_client *client, struct call *call, enum err error) {
  const struct list_call list = call->list;
  pool_give(&client->calls, call);
  list.on_listed(list.user, error);
}

static void answer_evict(struct clockwork_client *client, struct call *call,
                         const struct clockwork_evicted *answer) {
  clockwork_on_evicted *on_evicted = call->on_evicted;
  void *user = call->evict_user;
  pool_give(&client->calls, call);
  on_evicted(user, answer);
}

static void answer_lost(struct clockwork_client *client, struct call *call) {
  switch (call->kind) {
  case CALL_INFER:
    if (list_is_linked(&call->retry)) {
      list_remove(&call->retry);
    }
    answer_infer(client, call, &(struct clockwork_inferred){.error = ERR_CLOSED});
    break;
  case CALL_LOAD:
    answer_load(client, call, &(struct clockwork_loaded){.error = ERR_CLOSED, .message = ""});
    break;
  case CALL_LIST:
    answer_list(client, call, ERR_CLOSED);
    break;
  case CALL_EVICT:
    answer_evict(client, call, &(struct clockwork_evicted){.error = ERR_CLOSED});
    break;
  }
}

/* ---- trying again ---------------------------------------------------------------------------- */

static void arm_retry(struct clockwork_client *client) {
  const struct list *first = list_first(&client->retries);
  wakeup_set(&client->retry_wakeup,
             first == NULL ? INSTANT_NEVER : LIST_ENTRY(first, struct call, retry)->retry_at);
}

/* True if the call will be sent again. */
static bool retry_later(struct clockwork_client *client, struct call *call) {
  if (call->infer.retry_within.ns <= 0) {
    return false;
  }
  const struct instant retry_at = instant_add(os_now(), duration_ms(RETRY_PAUSE_MS));
  if (instant_since(retry_at, call->begun_at).ns > call->infer.retry_within.ns) {
    return false;
  }
  call->retry_at = retry_at;
  list_append(&client->retries, &call->retry);
  arm_retry(client);
  return true;
}

static void on_retry_due(void *user) {
  struct clockwork_client *client = user;
  const struct instant now = os_now();
  for (struct list *node = list_first(&client->retries); node != NULL;
       node = list_first(&client->retries)) {
    struct call *call = LIST_ENTRY(node, struct call, retry);
    if (instant_after(call->retry_at, now)) {
      break;
    }
    list_remove(node);
    if (send_infer(client, call) != ERR_OK) {
      /* The queue is full, or the connection is ending and answers the call itself. */
      call->retry_at = instant_add(now, duration_ms(RETRY_PAUSE_MS));
      list_append(&client->retries, node);
    }
  }
  arm_retry(client);
}

/* ---- frames: each handler returns why it is no answer of ours, NULL if it is ------------------
 */

static struct call *find_call(struct clockwork_client *client, uint64_t request_id) {
  struct call *call = pool_find(&client->calls, request_id);
  if (call == NULL || (call->kind == CALL_INFER && list_is_linked(&call->retry))) {
    client->unexpected_count++;
    return NULL;
  }
  return call;
}

static const char *on_infer_answer(struct clockwork_client *client, struct wire_reader *reader,
                                   struct body *body) {
  struct wire_infer_answer answer;
  if (wire_decode_infer_answer(reader, &answer) != ERR_OK || wire_reader_finish(reader) != ERR_OK) {
    return "malformed answer to an inference";
  }
  if (answer.output_bytes != (body == NULL ? 0 : body->bytes)) {
    return "the answer to an inference has another size than it says";
  }
  struct call *call = find_call(client, answer.request_id);
  if (call == NULL) {
    return NULL;
  }
  if (call->kind != CALL_INFER) {
    return "an inference was answered that was none";
  }
  if (answer.result == REQUEST_INITIALIZING && retry_later(client, call)) {
    return NULL;
  }
  answer_infer(client, call,
               &(struct clockwork_inferred){.result = answer.result,
                                            .batch_size = answer.batch_size,
                                            .within = duration_ns(answer.latency_ns),
                                            .output = body});
  return NULL;
}

static const char *on_load_answer(struct clockwork_client *client, struct wire_reader *reader) {
  struct wire_load_answer answer;
  if (wire_decode_load_answer(reader, &answer) != ERR_OK || wire_reader_finish(reader) != ERR_OK) {
    return "malformed answer to a load";
  }
  if (answer.result == REQUEST_SUCCESS &&
      (answer.copies == 0 || answer.copies > MODEL_ID_NONE - answer.first_model_id)) {
    return "the answer to a load has impossible model ids";
  }
  struct call *call = find_call(client, answer.request_id);
  if (call == NULL) {
    return NULL;
  }
  if (call->kind != CALL_LOAD) {
    return "a load was answered that was none";
  }
  answer_load(client, call,
              &(struct clockwork_loaded){.result = answer.result,
                                         .first_model_id = answer.first_model_id,
                                         .copies = answer.copies,
                                         .input_bytes = answer.input_bytes,
                                         .output_bytes = answer.output_bytes,
                                         .execute_one = duration_ns(answer.execute_one_ns),
                                         .message = answer.message});
  return NULL;
}

/* The models of one part, in rising order within [first_model_id, next_model_id). */
static const char *read_list_part(struct wire_reader *reader, const struct list_call *list,
                                  const struct wire_list_answer *answer) {
  uint64_t lowest_id = list->first_model_id;
  for (uint32_t i = 0; i < answer->entries_count; i++) {
    struct wire_list_entry entry;
    if (wire_decode_list_entry(reader, &entry) != ERR_OK) {
      return "malformed list of models";
    }
    if (entry.model_id < lowest_id || entry.model_id >= answer->next_model_id) {
      return "a list of models that is out of order";
    }
    lowest_id = (uint64_t)entry.model_id + 1;
    list->on_model(list->user, &entry);
  }
  return wire_reader_finish(reader) == ERR_OK ? NULL : "malformed list of models";
}

static const char *on_list_answer(struct clockwork_client *client, struct wire_reader *reader) {
  struct wire_list_answer answer;
  if (wire_decode_list_answer(reader, &answer) != ERR_OK) {
    return "malformed list of models";
  }
  struct call *call = find_call(client, answer.request_id);
  if (call == NULL) {
    return NULL;
  }
  if (call->kind != CALL_LIST) {
    return "a list was given that nobody asked for";
  }
  /* A list that doesn't advance would be asked for forever. */
  if (answer.next_model_id <= call->list.first_model_id) {
    return "a list of models that does not end";
  }
  const char *fault = read_list_part(reader, &call->list, &answer);
  if (fault != NULL) {
    return fault;
  }
  if (answer.next_model_id == MODEL_ID_NONE) {
    answer_list(client, call, ERR_OK);
    return NULL;
  }
  call->list.first_model_id = answer.next_model_id;
  return send_list(client, call) == ERR_OK ? NULL : "no room to ask for the rest of the models";
}

static const char *on_evict_answer(struct clockwork_client *client, struct wire_reader *reader) {
  struct wire_evict_answer answer;
  if (wire_decode_evict_answer(reader, &answer) != ERR_OK || wire_reader_finish(reader) != ERR_OK) {
    return "malformed answer to an eviction";
  }
  struct call *call = find_call(client, answer.request_id);
  if (call == NULL) {
    return NULL;
  }
  if (call->kind != CALL_EVICT) {
    return "an eviction was answered that was none";
  }
  answer_evict(
      client, call,
      &(struct clockwork_evicted){.result = answer.result, .evicted_count = answer.evicted_count});
  return NULL;
}

/* ---- the connection -------------------------------------------------------------------------- */

static void on_frame(struct connection *connection, uint16_t type, const unsigned char *meta,
                     size_t meta_bytes, struct body *body) {
  struct clockwork_client *client = connection_owner(connection);
  struct wire_reader reader = wire_reader_over(meta, meta_bytes);
  const char *fault = NULL;
  client->was_heard = true;
  switch (type) {
  case WIRE_INFER_ANSWER:
    fault = on_infer_answer(client, &reader, body);
    break;
  case WIRE_LOAD_ANSWER:
    fault = on_load_answer(client, &reader);
    break;
  case WIRE_LIST_ANSWER:
    fault = on_list_answer(client, &reader);
    break;
  case WIRE_EVICT_ANSWER:
    fault = on_evict_answer(client, &reader);
    break;
  default:
    fault = "a message that no client gets";
    break;
  }
  if (fault != NULL) {
    client->fault = fault;
    connection_close(connection);
  }
}

static void on_opened(struct connection *connection) {
  struct clockwork_client *client = connection_owner(connection);
  client->connection = connection;
  client->fault = NULL;
  client->was_heard = false;
  if (client->options.on_connected != NULL) {
    client->options.on_connected(client->options.owner);
  }
}

static void on_closed(struct connection *connection, const char *reason) {
  struct clockwork_client *client = connection_owner(connection);
  const char *why = client->fault != NULL ? client->fault : reason;
  struct error_text unheard;
  if (!client->was_heard) {
    error_text_set(&unheard,
                   "no message came, so it is no controller or one of another version: %s", reason);
    why = unheard.text;
  }
  client->connection = NULL;
  client->fault = NULL;
  const uint32_t lost_count = client->calls.taken_count;
  /* Nothing can be begun meanwhile: there is no connection. */
  for (uint32_t i = 0; client->calls.taken_count > 0; i++) {
    struct call *call = pool_at(&client->calls, i);
    if (call != NULL) {
      answer_lost(client, call);
    }
  }
  arm_retry(client);
  if (client->options.on_disconnected != NULL) {
    client->options.on_disconnected(client->options.owner, why, lost_count);
  }
}

static void on_failed(void *owner, const char *reason) {
  const struct clockwork_client *client = owner;
  if (client->options.on_unreachable != NULL) {
    client->options.on_unreachable(client->options.owner, reason);
  }
}

/* ---- life ------------------------------------------------------------------------------------ */

static struct clockwork_client *carve(struct arena *arena, uint32_t calls_max) {
  struct clockwork_client *client = arena_take(arena, 1, sizeof(*client));
  struct pool calls;
  pool_init(&calls, arena, calls_max, sizeof(struct call));
  if (client != NULL) {
    client->calls = calls;
  }
  return client;
}

static struct dialer *dial(struct clockwork_client *client, struct transport *transport,
                           const struct address *controller) {
  const struct clockwork_client_options *options = &client->options;
  const struct dialer_options dialer_options = {
      .connection = {.handlers = {.on_opened = on_opened,
                                  .on_frame = on_frame,
                                  .on_closed = on_closed,
                                  .on_failed = on_failed},
                     .owner = client,
                     .budget = options->outputs,
                     .queue_bytes_max = options->queue_bytes_max,
                     .lost_after = options->lost_after.ns > 0 ? options->lost_after
                                                              : duration_s(LOST_AFTER_DEFAULT_S)},
      .reconnects = true};
  return transport_dial(transport, controller, &dialer_options);
}

struct clockwork_client *clockwork_client_create(uv_loop_t *loop, struct transport *transport,
                                                 const struct address *controller,
                                                 const struct clockwork_client_options *options) {
  const uint32_t calls_max = options->calls_max > 0 ? options->calls_max : CALLS_MAX_DEFAULT;
  struct arena arena;
  arena_init_counting(&arena);
  carve(&arena, calls_max);
  const size_t memory_bytes = arena.used_bytes;
  void *memory = os_memory_take(memory_bytes);
  if (memory == NULL) {
    return NULL;
  }
  arena_init(&arena, memory, memory_bytes);
  struct clockwork_client *client = carve(&arena, calls_max);
  client->options = *options;
  client->memory = memory;
  client->memory_bytes = memory_bytes;
  list_init(&client->retries);
  client->dialer = dial(client, transport, controller);
  if (client->dialer == NULL) {
    os_memory_give(memory, memory_bytes);
    return NULL;
  }
  if (wakeup_init(&client->retry_wakeup, loop, on_retry_due, client) != ERR_OK) {
    dialer_close(client->dialer); /* it had no connection: nothing calls back */
    os_memory_give(memory, memory_bytes);
    return NULL;
  }
  return client;
}

void clockwork_client_close(struct clockwork_client *client) {
  if (client == NULL || client->is_closed) {
    return;
  }
  client->is_closed = true;
  dialer_close(client->dialer);
  wakeup_finish(&client->retry_wakeup);
}

void clockwork_client_destroy(struct clockwork_client *client) {
  if (client == NULL) {
    return;
  }
  CHECK(client->is_closed);
  CHECK(client->connection == NULL);
  os_memory_give(client->memory, client->memory_bytes);
}

bool clockwork_client_is_connected(const struct clockwork_client *client) {
  return client->connection != NULL && client->fault == NULL && !client->is_closed;
}

uint32_t clockwork_client_calls_count(const struct clockwork_client *client) {
  return client->calls.taken_count;
}

uint64_t clockwork_client_unexpected_count(const struct clockwork_client *client) {
  return client->unexpected_count;
}
