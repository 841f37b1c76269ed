/* Framed connections over TCP in a libuv loop: listening, dialling with reconnect, receiving whole
 * frames, sending many frames with few system calls.
 *
 * Guarantees:
 *  - on_frame sees whole frames (wire/frame.h), in the order in which the peer sent them;
 *  - frames accepted by connection_send arrive in that order or the connection ends;
 *  - bytes that are no frame, oversized declarations, a peer that is silent or slow: that one
 *    connection is closed with a reason in words, nothing else is touched;
 *  - memory: a connection at rest has no buffers (but up to 64 KiB that a long meta needed, kept
 * for the next one). Received bodies are bounded by their body_budget, queued output by
 * `queue_bytes_max` a connection, partial metas by `meta_bytes_max`;
 *  - nothing is allocated per frame in steady state;
 *  - a connection that has much to read doesn't hold up the others: it has one turn in an iteration
 *    of the loop, over after CONNECTION_TURN_US, give or take a few frames' handlers
 *    (CONNECTION_TURN_FRAMES) or a read. Then all others that have something to read get theirs,
 *    timers and the program's prepare handle run. Meanwhile it isn't read from, so that TCP holds
 *    its peer back, and at most one read's bytes (256 KiB) are kept. No frame is lost or overtaken;
 *  - no callback is called from within connection_send, connection_close, connection_drain,
 *    dialer_close, listener_close, transport_flush, transport_close or body_release; all of those
 *    are safe inside
 *    every callback.
 *
 * Frames sent during one iteration of the loop leave together, before the loop sleeps (in a prepare
 * handle). A program whose own prepare handle sends must have started it after transport_create()
 * (libuv runs the youngest first), or call transport_flush().
 *
 * A body longer than what came with its header is received straight into its struct body; smaller
 * ones are copied once, out of the loop's one read buffer. Bodies are sent from where they lie.
 *
 * Thread: all functions and callbacks belong to the loop's thread.
 */
#ifndef CLOCKWORK_TRANSPORT_CONNECTION_H
#define CLOCKWORK_TRANSPORT_CONNECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "base/time.h"
#include "os/address.h"
#include "os/error_text.h"
#include "transport/body.h"

/* How long one connection's frames may keep the loop from all others, and how many frames are
 * handed out between two looks at the clock. */
enum { CONNECTION_TURN_US = 1000, CONNECTION_TURN_FRAMES = 4 };

struct transport;
struct listener;
struct dialer;
struct connection;

/* ---- callbacks ------------------------------------------------------------------------------- */

/* What happens to the connections of a listener or a dialer. NULL: not wanted, on_frame is
 * required. The order for one connection is on_opened, any number of on_frame and on_writable,
 * on_closed. */
struct connection_handlers {
  /* Accepted or connected: sending is possible from here on. */
  void (*on_opened)(struct connection *connection);

  /* One frame. `meta` (never NULL) and `body` (NULL if the frame has none) are valid during the
   * call only; body_retain keeps the body. */
  void (*on_frame)(struct connection *connection, uint16_t type, const unsigned char *meta,
                   size_t meta_bytes, struct body *body);

  /* The queue has fallen to half of queue_bytes_max after a connection_send said ERR_FULL. */
  void (*on_writable)(struct connection *connection);

  /* Exactly once for each on_opened, whoever closed. `reason` is a short English text, static or
   * valid during the call. Unsent frames are gone. `connection` is freed after the call. */
  void (*on_closed)(struct connection *connection, const char *reason);

  /* Dialers only: an attempt failed, the next one comes by itself unless reconnects is false.
   * `owner` is the dialer's. */
  void (*on_failed)(void *owner, const char *reason);
};

struct connection_options {
  struct connection_handlers handlers;
  void *owner;                /* connection_owner() of every connection, on_failed's argument */
  struct body_budget *budget; /* what bodies are received into; outlives the transport. NULL: a
                                 frame with a body ends the connection */
  uint32_t meta_bytes_max;    /* of a received frame; 0: 1 MiB; at most FRAME_META_BYTES_MAX */
  uint32_t body_bytes_max;    /* of a received frame; 0: FRAME_BODY_BYTES_MAX */
  size_t queue_bytes_max;     /* of frames not yet taken by the kernel; 0: 64 MiB */
  /* A connection whose first whole frame is not there this long after it opened is closed; so is
   * one that stays this long in the middle of a frame without any byte coming. 0: no limit (a
   * dialer may expect silence; a listener open to the world should set 10 s). Coarse: up to a
   * quarter late. */
  struct duration silence_max;
  /* The peer's machine is taken for lost when the network delivers nothing to it or from it for
   * this long (TCP keep-alive and user timeout, whole seconds, at least 1). 0: the system's
   * default, hours. */
  struct duration lost_after;
};

/* ---- one per loop ---------------------------------------------------------------------------- */

/* Sums since transport_create, for summaries. */
struct transport_counters {
  uint64_t frames_received;
  uint64_t frames_sent; /* accepted by connection_send */
  uint64_t bytes_received;
  uint64_t bytes_sent; /* taken by the kernel */
  uint64_t connections_opened;
  uint64_t connections_closed;
  uint64_t connections_refused;   /* a listener was at its maximum */
  uint64_t connections_malformed; /* closed for bytes that were no frame of ours */
  uint64_t sends_refused;         /* ERR_FULL */
};

/* NULL: out of memory or descriptors. Does not keep uv_run going by itself. */
struct transport *transport_create(uv_loop_t *loop);

/* Give the kernel everything queued, as far as it takes it. Cost: one writev per connection with
 * queued frames (per 64 KiB of small frames). Not needed in normal service, see the top. */
void transport_flush(struct transport *transport);

void transport_counters(const struct transport *transport, struct transport_counters *ret_counters);

/* Close all listeners, dialers and connections; on_closed follows for each open one from the loop.
 * uv_run then ends when nothing else keeps it going. Accepts NULL and a second call. */
void transport_close(struct transport *transport);

/* Free it: after transport_close(), once the loop has run until nothing of it was left (CHECK).
 * Accepts NULL. */
void transport_destroy(struct transport *transport);

/* ---- listening ------------------------------------------------------------------------------- */

struct listener_options {
  struct connection_options connection;
  uint32_t connections_max; /* more are accepted and closed at once; 0: 10,000 */
  int backlog;              /* 0: 1,024 */
};

/* Port 0 in `address` takes any free one (listener_address). ERR_EXISTS: address in use; ERR_IO;
 * ERR_NO_MEMORY. `ret_error` (may be NULL) names the address and the mend. */
MUST_USE enum err transport_listen(struct transport *transport, const struct address *address,
                                   const struct listener_options *options,
                                   struct listener **ret_listener, struct error_text *ret_error);

/* Where it listens, with the port that was taken. */
const struct address *listener_address(const struct listener *listener);

uint32_t listener_connections_count(const struct listener *listener);

/* Stop listening. Connections that it accepted live on. `listener` must not be used afterwards.
 * Accepts NULL. */
void listener_close(struct listener *listener);

/* ---- dialling -------------------------------------------------------------------------------- */

struct dialer_options {
  struct connection_options connection;
  bool reconnects; /* try again after a failed attempt and after a connection ended */
  /* Pause before attempt n after a failure: backoff_min doubled n times, at most backoff_max; back
   * to the minimum once a connection has brought a whole frame. One that ends before is a failure
   * too: who accepts and closes is no peer of ours, and would be dialled twenty times a second. No
   * jitter: a run stays repeatable. 0: 50 ms and 1 s. */
  struct duration backoff_min;
  struct duration backoff_max;
  struct duration connect_within; /* an attempt is given up after this; 0: 2 s */
};

/* Begins to connect to `address`; the outcome comes by on_opened or on_failed, from the loop, also
 * for errors that are known at once. NULL: out of memory, or after transport_close(). A dialer has
 * at most one connection. */
struct dialer *transport_dial(struct transport *transport, const struct address *address,
                              const struct dialer_options *options);

/* NULL while not connected. */
struct connection *dialer_connection(const struct dialer *dialer);

/* Close its connection, if any, and try no more. `dialer` must not be used afterwards (on_closed of
 * the connection still comes). Accepts NULL. */
void dialer_close(struct dialer *dialer);

/* ---- connections ----------------------------------------------------------------------------- */

/* A part of a frame's body. */
struct body_slice {
  struct body *body;   /* a reference is taken until the bytes are sent; or NULL */
  const void *data;    /* body == NULL: bytes that stay valid and unchanged as long as the transport
                          exists (a static pool) */
  size_t offset_bytes; /* into body->data or data */
  size_t count_bytes;
};

/* Queue one frame: `meta` is copied, `slices` follow as its body, in order.
 * ERR_CLOSED: it is closing; ERR_TOO_LARGE: above the maxima of wire/frame.h; ERR_FULL: the queue
 * holds frames and this one would take it past queue_bytes_max (nothing was queued; a single frame
 * is always taken by an empty queue); ERR_NO_MEMORY: the connection is being closed.
 * Cost: a copy of the meta; slices cost a few words each. */
MUST_USE enum err connection_send(struct connection *connection, uint16_t type, const void *meta,
                                  size_t meta_bytes, const struct body_slice *slices,
                                  size_t slices_count);

/* End it now; queued frames are dropped. on_closed follows from the loop, with the reason "closed
 * here", no other callback before it. Accepts NULL and a second call. */
void connection_close(struct connection *connection);

/* End it once all queued frames have been given to the kernel; until then nothing is received.
 * Accepts NULL. */
void connection_drain(struct connection *connection);

/* The program's own pointer; NULL at first. */
void connection_set_user(struct connection *connection, void *user);
void *connection_user(const struct connection *connection);

/* options->owner of the listener or dialer that it came from. */
void *connection_owner(const struct connection *connection);

/* The peer's address, "127.0.0.1:4711". Valid as long as the connection. */
const char *connection_peer(const struct connection *connection);

/* Frame bytes accepted and not yet taken by the kernel. */
size_t connection_queued_bytes(const struct connection *connection);

#endif
