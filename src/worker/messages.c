/* Frames of controllers: decoded here, acted upon elsewhere. Any bytes may come. */
#include <stddef.h>

#include "base/check.h"
#include "os/log.h"
#include "worker/worker.h"

static struct worker *worker_of(const struct connection *connection) {
  return connection_owner(connection);
}

void peer_send(struct peer *peer, uint16_t type, const struct wire_writer *writer,
               const struct body_slice *slice) {
  CHECK(!writer->has_failed);
  const enum err error = connection_send(peer->connection, type, writer->start, writer->used_bytes,
                                         slice, slice == NULL ? 0 : 1);
  if (error != ERR_OK && error != ERR_CLOSED) {
    log_warning("Controller %s: can't be answered (%s); its connection is closed",
                connection_peer(peer->connection), err_text(error));
    connection_close(peer->connection);
  }
}

static void on_opened(struct connection *connection) {
  struct worker *worker = worker_of(connection);
  struct peer *peer = pool_take(&worker->peers);
  if (peer == NULL) {
    /* Those that are being closed still count here. */
    connection_close(connection);
    return;
  }
  peer->connection = connection;
  connection_set_user(connection, peer);
  log_info("Controller %s connected", connection_peer(connection));
}

static void on_closed(struct connection *connection, const char *reason) {
  struct worker *worker = worker_of(connection);
  struct peer *peer = connection_user(connection);
  if (peer == NULL) {
    return;
  }
  log_info("Controller %s disconnected: %s", connection_peer(connection), reason);
  worker->orphan_changes_count += peer->changes_count;
  worker->states_wanted_count -= peer->wants_state;
  pool_give(&worker->peers, peer);
}

static enum err on_ping(struct peer *peer, struct instant now, struct wire_reader *reader) {
  struct wire_ping ping;
  if (wire_decode_ping(reader, &ping) != ERR_OK || wire_reader_finish(reader) != ERR_OK) {
    return ERR_MALFORMED;
  }
  unsigned char meta[WIRE_META_BYTES_SMALL];
  struct wire_writer writer = wire_writer_over(meta, sizeof(meta));
  wire_encode_pong(&writer, &(struct wire_pong){.ping_sent_ns = ping.sent_ns,
                                                .received_ns = now.ns,
                                                .answered_ns = os_now().ns});
  peer_send(peer, WIRE_PONG, &writer, NULL);
  return ERR_OK;
}

static enum err on_load_model(struct worker *worker, struct peer *peer,
                              struct wire_reader *reader) {
  struct wire_load_model message;
  if (wire_decode_load_model(reader, &message) != ERR_OK || wire_reader_finish(reader) != ERR_OK) {
    return ERR_MALFORMED;
  }
  packages_on_request(worker, pool_id(&worker->peers, peer), &message);
  return ERR_OK;
}

static enum err on_action(struct worker *worker, struct peer *peer, struct instant now,
                          struct wire_reader *reader, struct body *body) {
  struct wire_action message;
  if (wire_decode_action(reader, &message) != ERR_OK) {
    return ERR_MALFORMED;
  }
  /* More than fit are read over; the count alone refuses the action then. */
  struct wire_action_input inputs[MODEL_BATCH_MAX];
  for (uint32_t i = 0; i < message.inputs_count; i++) {
    if (wire_decode_action_input(reader, &inputs[i % MODEL_BATCH_MAX]) != ERR_OK) {
      return ERR_MALFORMED;
    }
  }
  if (wire_reader_finish(reader) != ERR_OK) {
    return ERR_MALFORMED;
  }
  actions_on_frame(worker, peer, now, &message, inputs, body);
  return ERR_OK;
}

static enum err on_get_state(struct worker *worker, struct peer *peer, struct instant now,
                             struct wire_reader *reader) {
  struct wire_get_state message;
  if (wire_decode_get_state(reader, &message) != ERR_OK || wire_reader_finish(reader) != ERR_OK) {
    return ERR_MALFORMED;
  }
  worker->states_wanted_count += !peer->wants_state;
  state_on_request(peer, now, message.action_id);
  return ERR_OK;
}

static enum err on_clear_cache(struct worker *worker, struct peer *peer, struct instant now,
                               struct wire_reader *reader) {
  struct wire_clear_cache message;
  if (wire_decode_clear_cache(reader, &message) != ERR_OK || wire_reader_finish(reader) != ERR_OK) {
    return ERR_MALFORMED;
  }
  const uint32_t pages_freed = executor_on_clear_cache(worker->executor, now);
  unsigned char meta[WIRE_META_BYTES_SMALL];
  struct wire_writer writer = wire_writer_over(meta, sizeof(meta));
  wire_encode_cache_cleared(&writer, &(struct wire_cache_cleared){.action_id = message.action_id,
                                                                  .pages_freed = pages_freed});
  peer_send(peer, WIRE_CACHE_CLEARED, &writer, NULL);
  return ERR_OK;
}

/* Only actions have a body. */
static enum err dispatch(struct worker *worker, struct peer *peer, struct instant now,
                         uint16_t type, struct wire_reader *reader, struct body *body) {
  if (type == WIRE_ACTION) {
    return on_action(worker, peer, now, reader, body);
  }
  if (body != NULL) {
    return ERR_MALFORMED;
  }
  switch (type) {
  case WIRE_PING:
    return on_ping(peer, now, reader);
  case WIRE_LOAD_MODEL:
    return on_load_model(worker, peer, reader);
  case WIRE_GET_STATE:
    return on_get_state(worker, peer, now, reader);
  case WIRE_CLEAR_CACHE:
    return on_clear_cache(worker, peer, now, reader);
  default:
    return ERR_UNSUPPORTED;
  }
}

static void on_frame(struct connection *connection, uint16_t type, const unsigned char *meta,
                     size_t meta_bytes, struct body *body) {
  struct worker *worker = worker_of(connection);
  struct peer *peer = connection_user(connection);
  if (peer == NULL) {
    return;
  }
  struct wire_reader reader = wire_reader_over(meta, meta_bytes);
  const enum err error = dispatch(worker, peer, os_now(), type, &reader, body);
  if (error != ERR_OK) {
    log_warning("Controller %s: message of type %u: %s; its connection is closed",
                connection_peer(connection), type, err_text(error));
    connection_close(connection);
  }
}

const struct connection_handlers worker_handlers = {
    .on_opened = on_opened,
    .on_frame = on_frame,
    .on_closed = on_closed,
};
