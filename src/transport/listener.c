#include <stdlib.h>

#include "base/check.h"
#include "transport/private.h"

enum {
  LISTENER_CONNECTIONS_MAX_DEFAULT = 10000,
  LISTENER_BACKLOG_DEFAULT = 1024,
};

static void listener_on_connection(uv_stream_t *stream, int status) {
  struct listener *listener = stream->data;
  struct transport *transport = listener->transport;
  if (status != 0) {
    return; /* it was gone before it was accepted, or there are no descriptors: others may come */
  }
  struct connection *connection = connection_create(transport, &listener->options.connection);
  if (connection == NULL) {
    return;
  }
  connection->listener = listener;
  const bool is_full = listener->connections_count >= listener->options.connections_max;
  listener->connections_count++;
  if (uv_accept(stream, (uv_stream_t *)&connection->handle) != 0) {
    connection_fail(connection, "not accepted");
  } else if (is_full) {
    transport->counters.connections_refused++;
    connection_fail(connection, "too many connections");
  } else {
    connection_on_established(connection);
  }
}

static void listener_on_handle_closed(uv_handle_t *handle) {
  struct listener *listener = handle->data;
  listener->transport->handles_open--;
  free(listener);
}

/* Give the handle back and tell why. */
static enum err listener_fail(struct listener *listener, int status, struct error_text *ret_error) {
  if (status == UV_EADDRINUSE) {
    error_text_set(ret_error,
                   "cannot listen on %s: another process does; stop it or choose another port",
                   listener->address.text);
  } else {
    error_text_set(ret_error, "cannot listen on %s: %s", listener->address.text,
                   uv_strerror(status));
  }
  uv_close((uv_handle_t *)&listener->handle, listener_on_handle_closed);
  return status == UV_EADDRINUSE ? ERR_EXISTS : ERR_IO;
}

enum err transport_listen(struct transport *transport, const struct address *address,
                          const struct listener_options *options, struct listener **ret_listener,
                          struct error_text *ret_error) {
  CHECK(options->connection.handlers.on_frame != NULL);
  struct listener *listener = calloc(1, sizeof(*listener));
  if (listener == NULL) {
    error_text_set(ret_error, "cannot listen on %s: out of memory", address->text);
    return ERR_NO_MEMORY;
  }
  listener->transport = transport;
  listener->options = *options;
  listener->address = *address;
  if (listener->options.connections_max == 0) {
    listener->options.connections_max = LISTENER_CONNECTIONS_MAX_DEFAULT;
  }
  if (listener->options.backlog == 0) {
    listener->options.backlog = LISTENER_BACKLOG_DEFAULT;
  }
  CHECK_EQ(uv_tcp_init(transport->loop, &listener->handle), 0);
  listener->handle.data = listener;
  transport->handles_open++;
  int status = uv_tcp_bind(&listener->handle, (const struct sockaddr *)&address->socket, 0);
  if (status == 0) {
    status = uv_listen((uv_stream_t *)&listener->handle, listener->options.backlog,
                       listener_on_connection);
  }
  struct sockaddr_storage bound;
  int bound_bytes = sizeof(bound);
  if (status == 0) {
    status = uv_tcp_getsockname(&listener->handle, (struct sockaddr *)&bound, &bound_bytes);
  }
  if (status != 0) {
    return listener_fail(listener, status, ret_error);
  }
  CHECK_EQ(address_from_socket((const struct sockaddr *)&bound, &listener->address), ERR_OK);
  list_append(&transport->listeners, &listener->in_transport);
  *ret_listener = listener;
  return ERR_OK;
}

const struct address *listener_address(const struct listener *listener) {
  return &listener->address;
}

uint32_t listener_connections_count(const struct listener *listener) {
  return listener->connections_count;
}

void listener_close(struct listener *listener) {
  if (listener == NULL) {
    return;
  }
  struct list *connections = &listener->transport->connections;
  for (struct list *at = connections->next; at != connections; at = at->next) {
    struct connection *connection = LIST_ENTRY(at, struct connection, in_transport);
    if (connection->listener == listener) {
      connection->listener = NULL;
    }
  }
  list_remove(&listener->in_transport);
  uv_close((uv_handle_t *)&listener->handle, listener_on_handle_closed);
}
