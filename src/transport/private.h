/* What the files of transport/ share. Only their unit tests include it too. */
#ifndef CLOCKWORK_TRANSPORT_PRIVATE_H
#define CLOCKWORK_TRANSPORT_PRIVATE_H

#include "base/list.h"
#include "transport/connection.h"
#include "transport/send_queue.h"
#include "transport/stream_reader.h"

enum { TRANSPORT_READ_BYTES = 256 * 1024 }; /* of the one read buffer */

struct transport {
  uv_loop_t *loop;
  uv_prepare_t prepare;     /* resumes and flushes before the loop sleeps */
  uv_idle_t idle;           /* active: there is more to do, don't sleep; goes on with `yielded` */
  uv_check_t check;         /* the poll is over: a new turn begins for every connection */
  uv_timer_t timer;         /* looks after silence_max and drains */
  uint64_t timer_period_ms; /* 0: not running */
  bool is_closing;
  unsigned handles_open; /* of libuv, all kinds */
  struct list connections;
  struct list listeners;
  struct list dialers;
  struct list dirty;    /* connections with frames that the kernel was not offered yet */
  struct list writable; /* connections whose on_writable is due */
  struct list waiting;  /* connections that wait for room in their budget, oldest first */
  struct list yielded;  /* connections whose turn was over, oldest first */
  uint64_t turn;        /* counts the iterations of the loop from 1, in `check` */
  struct batch_pool batches;
  struct transport_counters counters;
  unsigned char *read_buffer;
};

enum connection_state {
  CONNECTION_CONNECTING,
  CONNECTION_OPEN,
  CONNECTION_DRAINING, /* sending the rest, ignoring what comes */
  CONNECTION_CLOSING,  /* uv_close was called */
};

struct connection {
  uv_tcp_t handle;
  uv_connect_t connect_request;
  uv_shutdown_t shutdown_request;
  struct transport *transport;
  struct listener *listener; /* or NULL */
  struct dialer *dialer;     /* or NULL */
  struct connection_options options;
  enum connection_state state;
  bool was_opened; /* on_opened was called */
  bool was_malformed;
  bool is_shutting_down; /* DRAINING: uv_shutdown was called */
  bool is_reading_in_place;
  bool expects_body; /* the last bytes read belonged to a long body */
  bool was_refused;  /* connection_send said ERR_FULL and on_writable has not come yet */
  void *user;

  struct stream_reader reader;
  struct body *body; /* of the frame being received */
  unsigned char *meta;
  /* What was read past the point where a budget was spent or a turn was over; resumed from
   * stash_at. */
  unsigned char *stash;
  size_t stash_at_bytes;
  size_t stash_bytes;
  bool is_unstashing;
  uint64_t turn; /* the transport's at which the present one began */
  struct instant turn_began;
  uint64_t frames_received;
  uint64_t opened_ms; /* uv_now */
  uint64_t heard_ms;
  uint64_t drain_ms;

  struct send_queue queue;
  struct batch *in_flight; /* libuv has it */
  size_t queued_bytes;     /* of both */

  struct list in_transport;
  struct list in_dirty;
  struct list in_writable;
  struct list in_waiting; /* the transport's */
  struct list in_yielded;
  struct list in_budget; /* the budget's */
  char reason[120];
  struct address peer;
};

struct listener {
  uv_tcp_t handle;
  struct transport *transport;
  struct listener_options options;
  struct address address;
  uint32_t connections_count;
  struct list in_transport;
};

struct dialer {
  uv_timer_t timer; /* the pause before an attempt, or an attempt's limit */
  struct transport *transport;
  struct dialer_options options;
  struct address address;
  struct connection *connection; /* connecting or open */
  uint32_t failures_count;       /* in a row: connections without a frame of the peer's */
  bool is_closing;
  struct list in_transport;
};

/* Make a connection whose handle is initialised and in no use yet. NULL: out of memory. */
struct connection *connection_create(struct transport *transport,
                                     const struct connection_options *options);

/* The TCP connection stands: set it up, call on_opened, start to read. */
void connection_on_established(struct connection *connection);

/* Begin to close; `format` is the reason. Does nothing when it is closing already. Calls nobody. */
__attribute__((format(printf, 2, 3))) void connection_fail(struct connection *connection,
                                                           const char *format, ...);

/* Offer the queue to the kernel. Calls nobody. */
void connection_flush(struct connection *connection);

/* The budget has room for the body that the first in its line waits for. */
void connection_resume(struct connection *connection);

/* The next turn of the first among the yielded ones. */
void connection_take_turn(struct connection *connection);

/* Close it if it has been silent, or draining, for too long. */
void connection_check_time(struct connection *connection, uint64_t now_ms);

/* Have transport->yielded looked at in the next iteration of the loop. */
void transport_want_turn(struct transport *transport);

/* Let the timer tick at least this often. */
void transport_want_timer(struct transport *transport, struct duration limit);

/* A connection of its has been closed; `was_heard`: a whole frame had come. Returns with the next
 * attempt scheduled. */
void dialer_on_closed(struct dialer *dialer, bool was_heard);

/* The TCP connection stands. */
void dialer_on_established(struct dialer *dialer);

#endif
