/* The other end of a worker or controller in tests: one connection, frames in, frames out. */
#ifndef CLOCKWORK_TESTS_SUPPORT_WIRE_PEER_H
#define CLOCKWORK_TESTS_SUPPORT_WIRE_PEER_H

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "os/clock.h"
#include "transport/connection.h"
#include "wire/frame.h"
#include "wire/messages.h"

enum { WIRE_PEER_FRAMES = 256 };

struct wire_peer_frame {
  uint16_t type;
  size_t meta_bytes;
  unsigned char *meta;
  struct body *body;
};

struct wire_peer {
  uv_loop_t loop;
  struct transport *transport;
  struct dialer *dialer;
  struct body_budget budget;
  struct wire_peer_frame frames[WIRE_PEER_FRAMES]; /* received and not asked for, oldest first */
  uint32_t frames_count;
  bool is_open;
  bool was_closed;
};

static inline void wire_peer_on_opened(struct connection *connection) {
  ((struct wire_peer *)connection_owner(connection))->is_open = true;
}

static inline void wire_peer_on_closed(struct connection *connection, const char *reason) {
  (void)reason;
  struct wire_peer *peer = connection_owner(connection);
  peer->is_open = false;
  peer->was_closed = true;
}

static inline void wire_peer_on_failed(void *owner, const char *reason) {
  (void)reason;
  ((struct wire_peer *)owner)->was_closed = true;
}

static inline void wire_peer_on_frame(struct connection *connection, uint16_t type,
                                      const unsigned char *meta, size_t meta_bytes,
                                      struct body *body) {
  struct wire_peer *peer = connection_owner(connection);
  CHECK_LT(peer->frames_count, WIRE_PEER_FRAMES);
  struct wire_peer_frame *frame = &peer->frames[peer->frames_count++];
  *frame = (struct wire_peer_frame){.type = type, .meta_bytes = meta_bytes};
  frame->meta = malloc(meta_bytes + 1);
  CHECK(frame->meta != NULL);
  memcpy(frame->meta, meta, meta_bytes);
  frame->body = body == NULL ? NULL : body_retain(body);
}

/* Connected when this returns. */
static inline struct wire_peer *wire_peer_open(const char *address_text) {
  struct wire_peer *peer = calloc(1, sizeof(*peer));
  CHECK(peer != NULL);
  CHECK_EQ(uv_loop_init(&peer->loop), 0);
  body_budget_init(&peer->budget, (size_t)256 << 20);
  peer->transport = transport_create(&peer->loop);
  CHECK(peer->transport != NULL);
  struct address address;
  CHECK_EQ(address_parse(address_text, 0, &address, NULL), ERR_OK);
  const struct dialer_options options = {
      .connection = {.handlers = {.on_opened = wire_peer_on_opened,
                                  .on_frame = wire_peer_on_frame,
                                  .on_closed = wire_peer_on_closed,
                                  .on_failed = wire_peer_on_failed},
                     .owner = peer,
                     .budget = &peer->budget,
                     .meta_bytes_max = FRAME_META_BYTES_MAX},
  };
  peer->dialer = transport_dial(peer->transport, &address, &options);
  CHECK(peer->dialer != NULL);
  while (!peer->is_open && !peer->was_closed) {
    uv_run(&peer->loop, UV_RUN_ONCE);
  }
  CHECK(peer->is_open);
  return peer;
}

/* Run until the other side has closed. */
static inline void wire_peer_wait_closed(struct wire_peer *peer) {
  while (!peer->was_closed) {
    uv_run(&peer->loop, UV_RUN_ONCE);
  }
}

/* `body` may be NULL. ERR_CLOSED: the other side has closed. */
static inline enum err wire_peer_try_send(struct wire_peer *peer, uint16_t type,
                                          const struct wire_writer *meta, const void *body,
                                          size_t body_bytes) {
  CHECK(!meta->has_failed);
  struct connection *connection = dialer_connection(peer->dialer);
  if (connection == NULL) {
    return ERR_CLOSED;
  }
  struct body *copy = NULL;
  if (body_bytes > 0) {
    copy = body_create(&peer->budget, (uint32_t)body_bytes);
    CHECK(copy != NULL);
    memcpy(copy->data, body, body_bytes);
  }
  const struct body_slice slice = {.body = copy, .count_bytes = body_bytes};
  const enum err error = connection_send(connection, type, meta->start, meta->used_bytes, &slice,
                                         copy == NULL ? 0 : 1);
  body_release(copy);
  return error;
}

static inline void wire_peer_send(struct wire_peer *peer, uint16_t type,
                                  const struct wire_writer *meta, const void *body,
                                  size_t body_bytes) {
  CHECK_EQ(wire_peer_try_send(peer, type, meta, body, body_bytes), ERR_OK);
}

/* Forget what was received and not asked for. */
static inline void wire_peer_drop_frames(struct wire_peer *peer) {
  for (uint32_t i = 0; i < peer->frames_count; i++) {
    free(peer->frames[i].meta);
    body_release(peer->frames[i].body);
  }
  peer->frames_count = 0;
}

/* The next frame, which must be of this type; what came before stays in line. The caller frees
 * .meta and releases .body. */
static inline struct wire_peer_frame wire_peer_receive(struct wire_peer *peer, uint16_t type) {
  while (peer->frames_count == 0) {
    CHECK(!peer->was_closed);
    uv_run(&peer->loop, UV_RUN_ONCE);
  }
  const struct wire_peer_frame frame = peer->frames[0];
  CHECK_EQ(frame.type, type);
  peer->frames_count--;
  memmove(&peer->frames[0], &peer->frames[1], peer->frames_count * sizeof(peer->frames[0]));
  return frame;
}

/* Ends the connection and frees the peer. */
static inline void wire_peer_close(struct wire_peer *peer) {
  transport_close(peer->transport);
  uv_run(&peer->loop, UV_RUN_DEFAULT);
  transport_destroy(peer->transport);
  CHECK_EQ(uv_loop_close(&peer->loop), 0);
  wire_peer_drop_frames(peer);
  body_budget_finish(&peer->budget);
  free(peer);
}

#endif
