#include <stdlib.h>

#include "base/check.h"
#include "transport/private.h"

#define DIALER_BACKOFF_MIN duration_ms(50)
#define DIALER_BACKOFF_MAX duration_s(1)
#define DIALER_CONNECT_WITHIN duration_s(2)

static uint64_t dialer_ms(struct duration duration) {
  return (uint64_t)((duration.ns + NS_PER_MS - 1) / NS_PER_MS);
}

static void dialer_on_connected(uv_connect_t *request, int status) {
  struct connection *connection = request->data;
  if (status != 0) {
    connection_fail(connection, "connecting: %s", uv_strerror(status));
    return;
  }
  if (connection->state == CONNECTION_CONNECTING) {
    connection_on_established(connection);
  }
}

static void dialer_on_overdue(uv_timer_t *timer) {
  const struct dialer *dialer = timer->data;
  if (dialer->connection->state == CONNECTION_CONNECTING) {
    connection_fail(dialer->connection, "connecting: no answer within %llu ms",
                    (unsigned long long)dialer_ms(dialer->options.connect_within));
  }
}

static void dialer_attempt(struct dialer *dialer);

static void dialer_on_pause_over(uv_timer_t *timer) {
  dialer_attempt(timer->data);
}

static void dialer_schedule(struct dialer *dialer) {
  struct duration pause = dialer->options.backoff_min;
  for (uint32_t i = 1; i < dialer->failures_count && pause.ns < dialer->options.backoff_max.ns;
       i++) {
    pause = duration_add(pause, pause);
  }
  pause = duration_min(pause, dialer->options.backoff_max);
  uv_timer_start(&dialer->timer, dialer_on_pause_over, dialer_ms(pause), 0);
}

static void dialer_attempt(struct dialer *dialer) {
  struct connection *connection = connection_create(dialer->transport, &dialer->options.connection);
  if (connection == NULL) {
    dialer->failures_count++;
    dialer_schedule(dialer);
    return;
  }
  connection->dialer = dialer;
  connection->connect_request.data = connection;
  dialer->connection = connection;
  uv_timer_start(&dialer->timer, dialer_on_overdue, dialer_ms(dialer->options.connect_within), 0);
  const int status =
      uv_tcp_connect(&connection->connect_request, &connection->handle,
                     (const struct sockaddr *)&dialer->address.socket, dialer_on_connected);
  if (status != 0) {
    connection_fail(connection, "connecting: %s", uv_strerror(status));
  }
}

void dialer_on_established(struct dialer *dialer) {
  uv_timer_stop(&dialer->timer);
}

void dialer_on_closed(struct dialer *dialer, bool was_heard) {
  dialer->connection = NULL;
  dialer->failures_count = was_heard ? 0 : dialer->failures_count + 1;
  uv_timer_stop(&dialer->timer);
  if (dialer->options.reconnects) {
    dialer_schedule(dialer);
  }
}

static void dialer_on_handle_closed(uv_handle_t *handle) {
  struct dialer *dialer = handle->data;
  dialer->transport->handles_open--;
  free(dialer);
}

struct dialer *transport_dial(struct transport *transport, const struct address *address,
                              const struct dialer_options *options) {
  CHECK(options->connection.handlers.on_frame != NULL);
  struct dialer *dialer = transport->is_closing ? NULL : calloc(1, sizeof(*dialer));
  if (dialer == NULL) {
    return NULL;
  }
  dialer->transport = transport;
  dialer->options = *options;
  dialer->address = *address;
  if (dialer->options.backoff_min.ns == 0) {
    dialer->options.backoff_min = DIALER_BACKOFF_MIN;
  }
  if (dialer->options.backoff_max.ns == 0) {
    dialer->options.backoff_max = DIALER_BACKOFF_MAX;
  }
  if (dialer->options.connect_within.ns == 0) {
    dialer->options.connect_within = DIALER_CONNECT_WITHIN;
  }
  CHECK_EQ(uv_timer_init(transport->loop, &dialer->timer), 0);
  dialer->timer.data = dialer;
  transport->handles_open++;
  list_append(&transport->dialers, &dialer->in_transport);
  dialer_attempt(dialer);
  return dialer;
}

struct connection *dialer_connection(const struct dialer *dialer) {
  struct connection *connection = dialer->connection;
  return connection != NULL && connection->state == CONNECTION_OPEN ? connection : NULL;
}

void dialer_close(struct dialer *dialer) {
  if (dialer == NULL) {
    return;
  }
  if (dialer->connection != NULL) {
    dialer->connection->dialer = NULL;
    connection_close(dialer->connection);
  }
  list_remove(&dialer->in_transport);
  uv_close((uv_handle_t *)&dialer->timer, dialer_on_handle_closed);
}
