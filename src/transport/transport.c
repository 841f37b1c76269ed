#include <stdlib.h>

#include "base/check.h"
#include "os/signals.h"
#include "transport/private.h"

enum {
  TIMER_PERIOD_MS_MIN = 5,
  TIMER_PERIOD_MS_MAX = 1000,
};

/* ---- what is done before the loop sleeps ----------------------------------------------------- */

/* The waiting connection that may go on: the first in its budget's line, and there is room. */
static struct connection *transport_find_resumable(struct transport *transport) {
  for (struct list *at = transport->waiting.next; at != &transport->waiting; at = at->next) {
    struct connection *connection = LIST_ENTRY(at, struct connection, in_waiting);
    const struct body_budget *budget = connection->options.budget;
    if (list_first(&budget->waiting) == &connection->in_budget &&
        body_budget_has_room(budget, connection->reader.header.body_bytes)) {
      return connection;
    }
  }
  return NULL;
}

static size_t list_count(const struct list *head) {
  size_t count = 0;
  for (const struct list *at = head->next; at != head; at = at->next) {
    count++;
  }
  return count;
}

void transport_flush(struct transport *transport) {
  struct list *node;
  while ((node = list_first(&transport->dirty)) != NULL) {
    connection_flush(LIST_ENTRY(node, struct connection, in_dirty));
  }
}

static void transport_on_idle(uv_idle_t *idle) {
  struct transport *transport = idle->data;
  /* Each once. Here and not in prepare, because libuv runs this first: the program's prepare handle
   * sees these frames like those of a poll. */
  struct list *node;
  for (size_t left = list_count(&transport->yielded);
       left > 0 && (node = list_first(&transport->yielded)) != NULL; left--) {
    connection_take_turn(LIST_ENTRY(node, struct connection, in_yielded));
  }
}

void transport_want_turn(struct transport *transport) {
  uv_idle_start(&transport->idle, transport_on_idle);
  /* A connection that isn't read from doesn't keep the loop going. */
  uv_ref((uv_handle_t *)&transport->idle);
}

static void transport_on_check(uv_check_t *check) {
  struct transport *transport = check->data;
  transport->turn++;
}

static void transport_on_prepare(uv_prepare_t *prepare) {
  struct transport *transport = prepare->data;
  /* Each at most once: one that keeps finding room must not keep the others from being served. */
  struct connection *connection;
  bool has_called = false;
  for (size_t left = list_count(&transport->waiting);
       left > 0 && (connection = transport_find_resumable(transport)) != NULL; left--) {
    connection_resume(connection);
    has_called = true;
  }
  for (size_t left = list_count(&transport->writable);
       left > 0 && !list_is_empty(&transport->writable); left--) {
    struct list *node = list_first(&transport->writable);
    list_remove(node);
    connection = LIST_ENTRY(node, struct connection, in_writable);
    connection->was_refused = false;
    if (connection->options.handlers.on_writable != NULL) {
      connection->options.handlers.on_writable(connection);
      has_called = true;
    }
  }
  transport_flush(transport);
  if (transport->is_closing) {
    return;
  }
  if (list_is_empty(&transport->yielded)) {
    uv_unref((uv_handle_t *)&transport->idle);
  }
  /* The program's own prepare handle has run already: what was told to it here must not wait until
   * something else ends the loop's sleep. */
  if (has_called || !list_is_empty(&transport->yielded) || !list_is_empty(&transport->writable) ||
      transport_find_resumable(transport) != NULL) {
    uv_idle_start(&transport->idle, transport_on_idle);
  } else {
    uv_idle_stop(&transport->idle);
  }
}

/* ---- time ------------------------------------------------------------------------------------ */

static void transport_on_timer(uv_timer_t *timer) {
  struct transport *transport = timer->data;
  const uint64_t now_ms = uv_now(transport->loop);
  for (struct list *at = transport->connections.next; at != &transport->connections;
       at = at->next) {
    connection_check_time(LIST_ENTRY(at, struct connection, in_transport), now_ms);
  }
  if (list_is_empty(&transport->connections)) {
    uv_timer_stop(timer);
    transport->timer_period_ms = 0;
  }
}

void transport_want_timer(struct transport *transport, struct duration limit) {
  uint64_t period_ms = (uint64_t)(limit.ns / NS_PER_MS / 4);
  period_ms = period_ms < TIMER_PERIOD_MS_MIN ? TIMER_PERIOD_MS_MIN : period_ms;
  period_ms = period_ms > TIMER_PERIOD_MS_MAX ? TIMER_PERIOD_MS_MAX : period_ms;
  if (transport->is_closing ||
      (transport->timer_period_ms != 0 && transport->timer_period_ms <= period_ms)) {
    return;
  }
  transport->timer_period_ms = period_ms;
  uv_timer_start(&transport->timer, transport_on_timer, period_ms, period_ms);
}

/* ---- life ------------------------------------------------------------------------------------ */

struct transport *transport_create(uv_loop_t *loop) {
  struct transport *transport = calloc(1, sizeof(*transport));
  if (transport == NULL) {
    return NULL;
  }
  transport->read_buffer = malloc(TRANSPORT_READ_BYTES);
  if (transport->read_buffer == NULL) {
    free(transport);
    return NULL;
  }
  signals_ignore_pipe();
  transport->loop = loop;
  list_init(&transport->connections);
  list_init(&transport->listeners);
  list_init(&transport->dialers);
  list_init(&transport->dirty);
  list_init(&transport->writable);
  list_init(&transport->waiting);
  list_init(&transport->yielded);
  transport->turn = 1; /* no connection's yet */
  CHECK_EQ(uv_prepare_init(loop, &transport->prepare), 0);
  CHECK_EQ(uv_idle_init(loop, &transport->idle), 0);
  CHECK_EQ(uv_check_init(loop, &transport->check), 0);
  CHECK_EQ(uv_timer_init(loop, &transport->timer), 0);
  transport->prepare.data = transport;
  transport->idle.data = transport;
  transport->check.data = transport;
  transport->timer.data = transport;
  transport->handles_open = 4;
  CHECK_EQ(uv_check_start(&transport->check, transport_on_check), 0);
  CHECK_EQ(uv_prepare_start(&transport->prepare, transport_on_prepare), 0);
  uv_unref((uv_handle_t *)&transport->prepare);
  uv_unref((uv_handle_t *)&transport->idle);
  uv_unref((uv_handle_t *)&transport->check);
  uv_unref((uv_handle_t *)&transport->timer);
  return transport;
}

void transport_counters(const struct transport *transport,
                        struct transport_counters *ret_counters) {
  *ret_counters = transport->counters;
}

static void transport_on_handle_closed(uv_handle_t *handle) {
  struct transport *transport = handle->data;
  transport->handles_open--;
}

void transport_close(struct transport *transport) {
  if (transport == NULL || transport->is_closing) {
    return;
  }
  transport->is_closing = true;
  struct list *node;
  while ((node = list_first(&transport->listeners)) != NULL) {
    listener_close(LIST_ENTRY(node, struct listener, in_transport));
  }
  while ((node = list_first(&transport->dialers)) != NULL) {
    dialer_close(LIST_ENTRY(node, struct dialer, in_transport));
  }
  for (node = transport->connections.next; node != &transport->connections; node = node->next) {
    connection_close(LIST_ENTRY(node, struct connection, in_transport));
  }
  uv_close((uv_handle_t *)&transport->prepare, transport_on_handle_closed);
  uv_close((uv_handle_t *)&transport->idle, transport_on_handle_closed);
  uv_close((uv_handle_t *)&transport->check, transport_on_handle_closed);
  uv_close((uv_handle_t *)&transport->timer, transport_on_handle_closed);
}

void transport_destroy(struct transport *transport) {
  if (transport == NULL) {
    return;
  }
  CHECK(transport->is_closing);
  CHECK_EQ(transport->handles_open, 0);
  batch_pool_finish(&transport->batches);
  free(transport->read_buffer);
  free(transport);
}
