#include "transport/connection.h"

#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "os/clock.h"
#include "transport/private.h"

enum {
  META_BYTES_MAX_DEFAULT = 1024 * 1024,
  META_BYTES_MIN = 1024,       /* smaller partial metas get this much */
  META_BYTES_KEPT = 64 * 1024, /* a larger one is freed after its frame */
  QUEUE_BYTES_MAX_DEFAULT = 64 * 1024 * 1024,
  /* Receive in place when at least this much of a body is still to come; below, the shared buffer
   * takes the frames behind it in the same read. */
  READ_IN_PLACE_BYTES = 16 * 1024,
  /* Read this little where another long body is likely, so that little of it has to be copied. */
  READ_BEFORE_BODY_BYTES = 8 * 1024,
  /* Offer frames to the kernel before the iteration ends once this many bytes wait: they are still
   * in the cache, and the peer can begin. */
  FLUSH_EAGERLY_BYTES = 256 * 1024,
  /* A drained peer has this long to close its side. */
  DRAIN_MS_MAX = 2000,
};

/* ---- ending ---------------------------------------------------------------------------------- */

static void unlink_if_linked(struct list *node) {
  if (list_is_linked(node)) {
    list_remove(node);
  }
}

static void connection_free(struct connection *connection) {
  struct transport *transport = connection->transport;
  CHECK(connection->in_flight == NULL); /* libuv cancels writes before it closes */
  send_queue_clear(&connection->queue, &transport->batches);
  body_release(connection->body);
  free(connection->meta);
  free(connection->stash);
  free(connection);
}

static void connection_on_handle_closed(uv_handle_t *handle) {
  struct connection *connection = handle->data;
  struct transport *transport = connection->transport;
  struct dialer *dialer = connection->dialer;
  transport->handles_open--;
  list_remove(&connection->in_transport);
  if (connection->listener != NULL) {
    connection->listener->connections_count--;
  }
  if (dialer != NULL) {
    dialer_on_closed(dialer, connection->frames_received > 0);
  }
  const struct connection_handlers *handlers = &connection->options.handlers;
  if (connection->was_opened) {
    transport->counters.connections_closed++;
    transport->counters.connections_malformed += connection->was_malformed;
    if (handlers->on_closed != NULL) {
      handlers->on_closed(connection, connection->reason);
    }
  } else if (dialer != NULL && handlers->on_failed != NULL) {
    handlers->on_failed(connection->options.owner, connection->reason);
  }
  connection_free(connection);
}

void connection_fail(struct connection *connection, const char *format, ...) {
  if (connection->state == CONNECTION_CLOSING) {
    return;
  }
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(connection->reason, sizeof(connection->reason), format, arguments);
  va_end(arguments);
  connection->state = CONNECTION_CLOSING;
  unlink_if_linked(&connection->in_dirty);
  unlink_if_linked(&connection->in_writable);
  unlink_if_linked(&connection->in_waiting);
  unlink_if_linked(&connection->in_budget);
  unlink_if_linked(&connection->in_yielded);
  uv_close((uv_handle_t *)&connection->handle, connection_on_handle_closed);
}

void connection_close(struct connection *connection) {
  if (connection != NULL) {
    connection_fail(connection, "closed here");
  }
}

/* ---- receiving ------------------------------------------------------------------------------- */

/* Keep what was read and stop reading. False: out of memory, it is being closed. */
static bool connection_pause(struct connection *connection, const unsigned char *bytes,
                             size_t count) {
  if (connection->is_unstashing) {
    connection->stash_at_bytes = connection->stash_bytes - count;
  } else if (count > 0) {
    connection->stash = malloc(count);
    if (connection->stash == NULL) {
      connection_fail(connection, "out of memory for what was received");
      return false;
    }
    memcpy(connection->stash, bytes, count);
    connection->stash_at_bytes = 0;
    connection->stash_bytes = count;
  }
  uv_read_stop((uv_stream_t *)&connection->handle);
  return true;
}

static bool connection_is_paused(const struct connection *connection) {
  return list_is_linked(&connection->in_waiting) || list_is_linked(&connection->in_yielded);
}

/* The budget is spent. */
static void connection_wait_for_room(struct connection *connection, const unsigned char *bytes,
                                     size_t count) {
  if (connection_pause(connection, bytes, count)) {
    list_append(&connection->options.budget->waiting, &connection->in_budget);
    list_append(&connection->transport->waiting, &connection->in_waiting);
  }
}

/* The turn is over. */
static void connection_yield(struct connection *connection, const unsigned char *bytes,
                             size_t count) {
  if (connection_pause(connection, bytes, count)) {
    list_append(&connection->transport->yielded, &connection->in_yielded);
    transport_want_turn(connection->transport);
  }
}

/* What was kept and what comes in one iteration of the loop share a turn. */
static void connection_enter_turn(struct connection *connection) {
  if (connection->turn != connection->transport->turn) {
    connection->turn = connection->transport->turn;
    connection->turn_began = os_now();
  }
}

static bool connection_turn_is_over(const struct connection *connection) {
  return instant_since(os_now(), connection->turn_began).ns >= CONNECTION_TURN_US * NS_PER_US;
}

static void connection_take_body(struct connection *connection) {
  connection->body = body_create(connection->options.budget, connection->reader.header.body_bytes);
  if (connection->body == NULL) {
    connection_fail(connection, "out of memory for a body");
    return;
  }
  stream_reader_give_body(&connection->reader, connection->body->data);
}

/* False: parsing cannot go on now. */
static bool connection_on_body_announced(struct connection *connection, const unsigned char *bytes,
                                         size_t count) {
  struct body_budget *budget = connection->options.budget;
  const uint32_t body_bytes = connection->reader.header.body_bytes;
  if (budget == NULL || !body_budget_can_hold(budget, body_bytes)) {
    connection_fail(connection, "a frame with a body of %u bytes is more than is taken here",
                    body_bytes);
    return false;
  }
  if (!list_is_empty(&budget->waiting) || !body_budget_has_room(budget, body_bytes)) {
    connection_wait_for_room(connection, bytes, count);
    return false;
  }
  connection_take_body(connection);
  return connection->state == CONNECTION_OPEN;
}

static bool connection_grow_meta(struct connection *connection) {
  uint32_t wanted = META_BYTES_MIN;
  while (wanted < connection->reader.header.meta_bytes) {
    wanted *= 2;
  }
  free(connection->meta);
  connection->meta = malloc(wanted);
  if (connection->meta == NULL) {
    stream_reader_give_meta(&connection->reader, NULL, 0);
    connection_fail(connection, "out of memory for a message of %u bytes",
                    connection->reader.header.meta_bytes);
    return false;
  }
  stream_reader_give_meta(&connection->reader, connection->meta, wanted);
  return true;
}

static void connection_on_malformed(struct connection *connection) {
  connection->was_malformed = true;
  switch (connection->reader.error) {
  case ERR_VERSION:
    connection_fail(connection, "the peer speaks another version of the protocol");
    break;
  case ERR_TOO_LARGE:
    connection_fail(connection, "the peer announced a frame that is too large");
    break;
  default:
    connection_fail(connection, "the peer sent bytes that are no frame");
    break;
  }
}

static void connection_deliver(struct connection *connection) {
  connection->frames_received++;
  connection->transport->counters.frames_received++;
  struct body *body = connection->body;
  connection->body = NULL;
  connection->options.handlers.on_frame(connection, connection->reader.header.type,
                                        connection->reader.meta,
                                        connection->reader.header.meta_bytes, body);
  body_release(body);
}

static void connection_parse(struct connection *connection, const unsigned char *bytes,
                             size_t count) {
  while (connection->state == CONNECTION_OPEN) {
    switch (stream_reader_next(&connection->reader, &bytes, &count)) {
    case STREAM_NEEDS_BYTES:
      return;
    case STREAM_NEEDS_META:
      if (!connection_grow_meta(connection)) {
        return;
      }
      break;
    case STREAM_NEEDS_BODY:
      if (!connection_on_body_announced(connection, bytes, count)) {
        return;
      }
      break;
    case STREAM_HAS_FRAME:
      connection_deliver(connection);
      if (connection->frames_received % CONNECTION_TURN_FRAMES == 0 && count > 0 &&
          connection->state == CONNECTION_OPEN && connection_turn_is_over(connection)) {
        connection_yield(connection, bytes, count);
        return;
      }
      break;
    case STREAM_MALFORMED:
      connection_on_malformed(connection);
      return;
    }
  }
}

static void connection_on_alloc(uv_handle_t *handle, size_t suggested_bytes, uv_buf_t *ret_buffer) {
  (void)suggested_bytes;
  struct connection *connection = handle->data;
  unsigned char *memory = NULL;
  const size_t wanted =
      connection->state == CONNECTION_OPEN ? stream_reader_window(&connection->reader, &memory) : 0;
  connection->is_reading_in_place = wanted >= READ_IN_PLACE_BYTES;
  const size_t shared_bytes =
      connection->expects_body ? READ_BEFORE_BODY_BYTES : TRANSPORT_READ_BYTES;
  *ret_buffer =
      connection->is_reading_in_place
          ? (uv_buf_t){.base = (char *)memory, .len = wanted}
          : (uv_buf_t){.base = (char *)connection->transport->read_buffer, .len = shared_bytes};
}

static void connection_on_end(struct connection *connection, ssize_t status) {
  if (connection->state == CONNECTION_DRAINING) {
    connection_fail(connection, "closed here");
  } else if (status != UV_EOF) {
    connection_fail(connection, "receiving: %s", uv_strerror((int)status));
  } else if (!stream_reader_is_between(&connection->reader)) {
    connection_fail(connection, "closed by the peer in the middle of a frame");
  } else {
    connection_fail(connection, "closed by the peer");
  }
}

static void connection_on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer) {
  struct connection *connection = stream->data;
  if (count < 0) {
    connection_on_end(connection, count);
    return;
  }
  if (count == 0) {
    return; /* EAGAIN */
  }
  connection->heard_ms = uv_now(connection->transport->loop);
  connection->transport->counters.bytes_received += (uint64_t)count;
  if (connection->state != CONNECTION_OPEN) {
    return;
  }
  connection_enter_turn(connection);
  if (connection->is_reading_in_place) {
    stream_reader_on_received(&connection->reader, (size_t)count);
    connection->expects_body = true;
    connection_parse(connection, NULL, 0);
  } else {
    unsigned char *memory;
    connection_parse(connection, (const unsigned char *)buffer->base, (size_t)count);
    connection->expects_body =
        stream_reader_window(&connection->reader, &memory) >= READ_IN_PLACE_BYTES;
  }
  if (connection->reader.meta_capacity_bytes > META_BYTES_KEPT &&
      stream_reader_is_between(&connection->reader)) {
    stream_reader_give_meta(&connection->reader, NULL, 0);
    free(connection->meta);
    connection->meta = NULL;
  }
  /* libuv reads on at once (32 times) only after a read that filled its buffer. */
  if ((size_t)count == buffer->len && connection->state == CONNECTION_OPEN &&
      !connection_is_paused(connection) && connection_turn_is_over(connection)) {
    connection_yield(connection, NULL, 0);
  }
}

static void connection_start_reading(struct connection *connection) {
  const int status =
      uv_read_start((uv_stream_t *)&connection->handle, connection_on_alloc, connection_on_read);
  if (status != 0) {
    connection_fail(connection, "receiving: %s", uv_strerror(status));
  }
}

static void connection_drop_stash(struct connection *connection) {
  free(connection->stash);
  connection->stash = NULL;
  connection->stash_at_bytes = 0;
  connection->stash_bytes = 0;
}

/* Go on with what was kept, then read again unless it has to pause once more. */
static void connection_unstash(struct connection *connection) {
  connection->heard_ms = uv_now(connection->transport->loop);
  connection_enter_turn(connection);
  connection->is_unstashing = true;
  if (connection->stash != NULL) {
    connection_parse(connection, connection->stash + connection->stash_at_bytes,
                     connection->stash_bytes - connection->stash_at_bytes);
  } else {
    connection_parse(connection, NULL, 0);
  }
  connection->is_unstashing = false;
  if (connection_is_paused(connection)) {
    return; /* the next body has no room either, or this turn is over too */
  }
  connection_drop_stash(connection);
  if (connection->state != CONNECTION_CLOSING) { /* a draining one reads to see the peer's end */
    connection_start_reading(connection);
  }
}

void connection_resume(struct connection *connection) {
  list_remove(&connection->in_budget);
  list_remove(&connection->in_waiting);
  connection_take_body(connection);
  connection_unstash(connection);
}

void connection_take_turn(struct connection *connection) {
  list_remove(&connection->in_yielded);
  connection_unstash(connection);
}

void connection_check_time(struct connection *connection, uint64_t now_ms) {
  if (connection->state == CONNECTION_DRAINING) {
    if (now_ms - connection->drain_ms > DRAIN_MS_MAX) {
      connection_fail(connection, "closed here");
    }
    return;
  }
  const int64_t limit_ns = connection->options.silence_max.ns;
  if (connection->state != CONNECTION_OPEN || limit_ns <= 0 || connection_is_paused(connection)) {
    return;
  }
  const uint64_t limit_ms = (uint64_t)(limit_ns / NS_PER_MS);
  const bool has_header =
      connection->frames_received > 0 || connection->reader.phase != STREAM_PHASE_HEADER_;
  if (!has_header && now_ms - connection->opened_ms > limit_ms) {
    connection_fail(connection, "no frame within %llu ms", (unsigned long long)limit_ms);
  } else if (!stream_reader_is_between(&connection->reader) &&
             now_ms - connection->heard_ms > limit_ms) {
    connection_fail(connection, "silent for %llu ms in the middle of a frame",
                    (unsigned long long)limit_ms);
  }
}

/* ---- sending --------------------------------------------------------------------------------- */

static void connection_on_sent(struct connection *connection, size_t count) {
  connection->queued_bytes -= count;
  connection->transport->counters.bytes_sent += count;
}

static void connection_on_written(uv_write_t *request, int status) {
  struct connection *connection = request->data;
  struct batch *batch = connection->in_flight;
  connection->in_flight = NULL;
  if (status == 0) {
    connection_on_sent(connection, batch->bytes);
  }
  batch_give(&connection->transport->batches, batch);
  if (status != 0) {
    connection_fail(connection, "sending: %s", uv_strerror(status));
    return;
  }
  connection_flush(connection);
}

static void connection_on_shut_down(uv_shutdown_t *request, int status) {
  struct connection *connection = request->data;
  if (status != 0) {
    connection_fail(connection, "closed here");
  }
}

/* Give one batch to the kernel, what it doesn't take to libuv. False: the kernel is full. */
static bool connection_offer(struct connection *connection, struct batch *batch) {
  uv_stream_t *stream = (uv_stream_t *)&connection->handle;
  unsigned first = 0;
  const int taken = uv_try_write(stream, batch->buffers, batch->buffers_count);
  if (taken > 0) {
    connection_on_sent(connection, (size_t)taken);
    if ((size_t)taken == batch->bytes) {
      batch_give(&connection->transport->batches, batch);
      return true;
    }
    first = batch_skip(batch, (size_t)taken);
  }
  int status = taken < 0 && taken != UV_EAGAIN ? taken : 0;
  if (status == 0) {
    batch->request.data = connection;
    status = uv_write(&batch->request, stream, batch->buffers + first, batch->buffers_count - first,
                      connection_on_written);
  }
  if (status != 0) {
    batch_give(&connection->transport->batches, batch);
    connection_fail(connection, "sending: %s", uv_strerror(status));
    return false;
  }
  connection->in_flight = batch;
  return false;
}

void connection_flush(struct connection *connection) {
  unlink_if_linked(&connection->in_dirty);
  while (connection->in_flight == NULL && connection->state != CONNECTION_CLOSING) {
    struct batch *batch = send_queue_pop(&connection->queue);
    if (batch == NULL || !connection_offer(connection, batch)) {
      break;
    }
  }
  if (connection->state == CONNECTION_OPEN && connection->was_refused &&
      connection->queued_bytes <= connection->options.queue_bytes_max / 2 &&
      !list_is_linked(&connection->in_writable)) {
    list_append(&connection->transport->writable, &connection->in_writable);
  }
  if (connection->state == CONNECTION_DRAINING && connection->queued_bytes == 0 &&
      !connection->is_shutting_down) {
    connection->is_shutting_down = true;
    connection->shutdown_request.data = connection;
    const int status = uv_shutdown(&connection->shutdown_request,
                                   (uv_stream_t *)&connection->handle, connection_on_shut_down);
    if (status != 0) {
      connection_fail(connection, "closed here");
    }
  }
}

/* The frame's header, meta and slices. False: out of memory. */
static bool connection_queue_frame(struct connection *connection, const struct frame_header *header,
                                   const void *meta, const struct body_slice *slices,
                                   size_t slices_count) {
  struct send_queue *queue = &connection->queue;
  struct batch_pool *pool = &connection->transport->batches;
  unsigned char bytes[FRAME_HEADER_BYTES];
  frame_header_encode(header, bytes);
  if (!send_queue_copy(queue, pool, bytes, sizeof(bytes)) ||
      !send_queue_copy(queue, pool, meta, header->meta_bytes)) {
    return false;
  }
  for (size_t i = 0; i < slices_count; i++) {
    const struct body_slice *slice = &slices[i];
    const unsigned char *data = slice->body != NULL ? slice->body->data : slice->data;
    if (!send_queue_refer(queue, pool, slice->body, data + slice->offset_bytes,
                          slice->count_bytes)) {
      return false;
    }
  }
  return true;
}

enum err connection_send(struct connection *connection, uint16_t type, const void *meta,
                         size_t meta_bytes, const struct body_slice *slices, size_t slices_count) {
  if (connection->state != CONNECTION_OPEN) {
    return ERR_CLOSED;
  }
  size_t body_bytes = 0;
  for (size_t i = 0; i < slices_count; i++) {
    CHECK(slices[i].body == NULL ||
          slices[i].offset_bytes + slices[i].count_bytes <= slices[i].body->bytes);
    body_bytes += slices[i].count_bytes;
  }
  if (meta_bytes > FRAME_META_BYTES_MAX || body_bytes > FRAME_BODY_BYTES_MAX) {
    return ERR_TOO_LARGE;
  }
  const size_t frame_bytes = FRAME_HEADER_BYTES + meta_bytes + body_bytes;
  const size_t limit = connection->options.queue_bytes_max;
  if (connection->queued_bytes > 0 && connection->queued_bytes + frame_bytes > limit) {
    connection_flush(connection); /* the kernel may have room */
    if (connection->state != CONNECTION_OPEN) {
      return ERR_CLOSED;
    }
    if (connection->queued_bytes > 0 && connection->queued_bytes + frame_bytes > limit) {
      connection->was_refused = true;
      connection->transport->counters.sends_refused++;
      return ERR_FULL;
    }
  }
  const struct frame_header header = {
      .type = type, .meta_bytes = (uint32_t)meta_bytes, .body_bytes = (uint32_t)body_bytes};
  connection->queued_bytes += frame_bytes;
  if (!connection_queue_frame(connection, &header, meta, slices, slices_count)) {
    connection_fail(connection, "out of memory for what is sent");
    return ERR_NO_MEMORY;
  }
  connection->transport->counters.frames_sent++;
  if (connection->queue.bytes >= FLUSH_EAGERLY_BYTES && connection->in_flight == NULL) {
    connection_flush(connection);
  } else if (!list_is_linked(&connection->in_dirty)) {
    list_append(&connection->transport->dirty, &connection->in_dirty);
  }
  return ERR_OK;
}

void connection_drain(struct connection *connection) {
  if (connection == NULL || connection->state != CONNECTION_OPEN) {
    return;
  }
  connection->state = CONNECTION_DRAINING;
  connection->drain_ms = uv_now(connection->transport->loop);
  transport_want_timer(connection->transport, duration_ms(DRAIN_MS_MAX));
  unlink_if_linked(&connection->in_writable);
  if (connection_is_paused(connection)) {
    unlink_if_linked(&connection->in_waiting);
    unlink_if_linked(&connection->in_budget);
    unlink_if_linked(&connection->in_yielded);
    connection_start_reading(connection); /* to see the peer's end */
  }
  if (connection->state == CONNECTION_DRAINING && !list_is_linked(&connection->in_dirty)) {
    list_append(&connection->transport->dirty, &connection->in_dirty);
  }
}

/* ---- life ------------------------------------------------------------------------------------ */

struct connection *connection_create(struct transport *transport,
                                     const struct connection_options *options) {
  struct connection *connection = calloc(1, sizeof(*connection));
  if (connection == NULL) {
    return NULL;
  }
  CHECK_EQ(uv_tcp_init(transport->loop, &connection->handle), 0);
  connection->handle.data = connection;
  connection->transport = transport;
  connection->options = *options;
  if (connection->options.meta_bytes_max == 0) {
    connection->options.meta_bytes_max = META_BYTES_MAX_DEFAULT;
  }
  if (connection->options.body_bytes_max == 0) {
    connection->options.body_bytes_max = FRAME_BODY_BYTES_MAX;
  }
  if (connection->options.queue_bytes_max == 0) {
    connection->options.queue_bytes_max = QUEUE_BYTES_MAX_DEFAULT;
  }
  stream_reader_init(&connection->reader, connection->options.meta_bytes_max,
                     connection->options.body_bytes_max);
  list_append(&transport->connections, &connection->in_transport);
  transport->handles_open++;
  return connection;
}

/* Best effort: a kernel that lacks an option keeps its own, longer, times. */
static void connection_watch_peer(struct connection *connection) {
  uv_os_fd_t fd;
  const int64_t lost_after_ns = connection->options.lost_after.ns;
  if (lost_after_ns <= 0 || uv_fileno((uv_handle_t *)&connection->handle, &fd) != 0) {
    return;
  }
  const int seconds = lost_after_ns < NS_PER_S ? 1 : (int)(lost_after_ns / NS_PER_S);
  const unsigned user_timeout_ms = (unsigned)seconds * 1000;
  const int one = 1;
  const int idle = seconds > 1 ? seconds / 2 : 1; /* first probe after this many seconds at rest */
  const int probes = seconds > idle ? seconds - idle : 1;
  (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
  (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
  (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &one, sizeof(one));
  (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
  (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms, sizeof(user_timeout_ms));
}

void connection_on_established(struct connection *connection) {
  struct sockaddr_storage peer;
  struct sockaddr_storage own;
  int peer_bytes = sizeof(peer);
  int own_bytes = sizeof(own);
  if (uv_tcp_getpeername(&connection->handle, (struct sockaddr *)&peer, &peer_bytes) != 0 ||
      uv_tcp_getsockname(&connection->handle, (struct sockaddr *)&own, &own_bytes) != 0 ||
      address_from_socket((struct sockaddr *)&peer, &connection->peer) != ERR_OK) {
    connection_fail(connection, "the peer was gone at once");
    return;
  }
  /* TCP lets a socket that dials a free port of its own machine meet itself. */
  if (connection->dialer != NULL && peer_bytes == own_bytes &&
      memcmp(&peer, &own, (size_t)peer_bytes) == 0) {
    connection_fail(connection, "connecting: connection refused");
    return;
  }
  (void)uv_tcp_nodelay(&connection->handle, 1); /* frames are coalesced here already */
  connection_watch_peer(connection);
  connection->state = CONNECTION_OPEN;
  connection->was_opened = true;
  if (connection->dialer != NULL) {
    dialer_on_established(connection->dialer);
  }
  connection->opened_ms = uv_now(connection->transport->loop);
  connection->heard_ms = connection->opened_ms;
  connection->transport->counters.connections_opened++;
  if (connection->options.silence_max.ns > 0) {
    transport_want_timer(connection->transport, connection->options.silence_max);
  }
  connection_start_reading(connection);
  if (connection->options.handlers.on_opened != NULL) {
    connection->options.handlers.on_opened(connection);
  }
}

void connection_set_user(struct connection *connection, void *user) {
  connection->user = user;
}

void *connection_user(const struct connection *connection) {
  return connection->user;
}

void *connection_owner(const struct connection *connection) {
  return connection->options.owner;
}

const char *connection_peer(const struct connection *connection) {
  return connection->peer.text;
}

size_t connection_queued_bytes(const struct connection *connection) {
  return connection->queued_bytes;
}
