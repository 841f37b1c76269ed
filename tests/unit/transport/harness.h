/* A loop with a transport, a listener and a dialer that both write down what happens to them; and
 * raw sockets, for peers that don't speak frames. Everything on the loopback, in one thread. */
#ifndef CLOCKWORK_TESTS_UNIT_TRANSPORT_HARNESS_H
#define CLOCKWORK_TESTS_UNIT_TRANSPORT_HARNESS_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/cmocka.h"

#include "base/check.h"
#include "transport/connection.h"
#include "wire/frame.h"

enum { HARNESS_BODIES = 64 };

struct harness;

/* One end: the listener's connections or the dialer's. */
struct end {
  struct harness *harness;
  struct connection *connection; /* the last one opened, NULL once closed */
  unsigned opened_count;
  unsigned closed_count;
  unsigned failed_count;
  unsigned writable_count;
  uint64_t frames_count;
  uint64_t meta_bytes;
  uint64_t body_bytes;
  uint64_t disorder_count; /* frames whose first 8 meta bytes were not frames_count */
  char reason[128];        /* of the last close or failure */
  bool checks_order;
  bool keeps_bodies;
  struct body *bodies[HARNESS_BODIES];
  unsigned bodies_count;
  void *user; /* the test's */
  /* What else to do on a frame. */
  void (*on_frame)(struct end *end, struct connection *connection, uint16_t type,
                   const unsigned char *meta, size_t meta_bytes, struct body *body);
  void (*on_opened)(struct end *end, struct connection *connection);
  void (*on_closed)(struct end *end, struct connection *connection);
};

struct harness {
  uv_loop_t loop;
  uv_timer_t watchdog; /* keeps uv_run from sleeping for ever */
  struct transport *transport;
  struct body_budget budget;
  struct listener *listener;
  struct dialer *dialer;
  struct end server;
  struct end client;
};

static void end_on_opened(struct connection *connection) {
  struct end *end = connection_owner(connection);
  end->opened_count++;
  end->connection = connection;
  if (end->on_opened != NULL) {
    end->on_opened(end, connection);
  }
}

static void end_on_frame(struct connection *connection, uint16_t type, const unsigned char *meta,
                         size_t meta_bytes, struct body *body) {
  struct end *end = connection_owner(connection);
  if (end->checks_order) {
    uint64_t number = 0;
    assert_true(meta_bytes >= sizeof(number));
    memcpy(&number, meta, sizeof(number));
    end->disorder_count += number != end->frames_count;
  }
  end->frames_count++;
  end->meta_bytes += meta_bytes;
  end->body_bytes += body != NULL ? body->bytes : 0;
  if (end->keeps_bodies && body != NULL) {
    assert_true(end->bodies_count < HARNESS_BODIES);
    end->bodies[end->bodies_count++] = body_retain(body);
  }
  if (end->on_frame != NULL) {
    end->on_frame(end, connection, type, meta, meta_bytes, body);
  }
}

static void end_on_writable(struct connection *connection) {
  struct end *end = connection_owner(connection);
  end->writable_count++;
}

static void end_on_closed(struct connection *connection, const char *reason) {
  struct end *end = connection_owner(connection);
  end->closed_count++;
  snprintf(end->reason, sizeof(end->reason), "%s", reason);
  if (end->connection == connection) {
    end->connection = NULL;
  }
  if (end->on_closed != NULL) {
    end->on_closed(end, connection);
  }
}

static void end_on_failed(void *owner, const char *reason) {
  struct end *end = owner;
  end->failed_count++;
  snprintf(end->reason, sizeof(end->reason), "%s", reason);
}

static void end_release_bodies(struct end *end) {
  for (unsigned i = 0; i < end->bodies_count; i++) {
    body_release(end->bodies[i]);
  }
  end->bodies_count = 0;
}

static struct connection_options end_options(struct end *end) {
  return (struct connection_options){.handlers = {.on_opened = end_on_opened,
                                                  .on_frame = end_on_frame,
                                                  .on_writable = end_on_writable,
                                                  .on_closed = end_on_closed,
                                                  .on_failed = end_on_failed},
                                     .owner = end,
                                     .budget = &end->harness->budget,
                                     .meta_bytes_max = 8 * 1024 * 1024};
}

static void harness_on_watchdog(uv_timer_t *timer) {
  (void)timer;
}

static struct harness *harness_create(size_t budget_bytes) {
  struct harness *harness = calloc(1, sizeof(*harness));
  CHECK(harness != NULL);
  CHECK_EQ(uv_loop_init(&harness->loop), 0);
  CHECK_EQ(uv_timer_init(&harness->loop, &harness->watchdog), 0);
  CHECK_EQ(uv_timer_start(&harness->watchdog, harness_on_watchdog, 100, 100), 0);
  harness->transport = transport_create(&harness->loop);
  CHECK(harness->transport != NULL);
  body_budget_init(&harness->budget, budget_bytes);
  harness->server.harness = harness;
  harness->client.harness = harness;
  return harness;
}

/* Run the loop until `condition`; a minute is taken for never. */
#define RUN_UNTIL(harness, condition)                                                              \
  do {                                                                                             \
    uv_update_time(&(harness)->loop);                                                              \
    const uint64_t begin_ms_ = uv_now(&(harness)->loop);                                           \
    while (!(condition)) {                                                                         \
      if (uv_now(&(harness)->loop) - begin_ms_ > 60000) {                                          \
        fail_msg("never came true: %s", #condition);                                               \
      }                                                                                            \
      uv_run(&(harness)->loop, UV_RUN_ONCE);                                                       \
    }                                                                                              \
  } while (0)

static void harness_listen(struct harness *harness, const struct listener_options *options) {
  struct address any;
  CHECK_EQ(address_parse("127.0.0.1:0", 0, &any, NULL), ERR_OK);
  CHECK_EQ(transport_listen(harness->transport, &any, options, &harness->listener, NULL), ERR_OK);
}

static void harness_dial(struct harness *harness, const struct dialer_options *options) {
  harness->dialer =
      transport_dial(harness->transport, listener_address(harness->listener), options);
  CHECK(harness->dialer != NULL);
}

/* Both ends with these options, connected. */
static void harness_connect_with(struct harness *harness, const struct connection_options *server,
                                 const struct connection_options *client) {
  const struct listener_options listening = {.connection = *server};
  const struct dialer_options dialling = {.connection = *client};
  harness_listen(harness, &listening);
  harness_dial(harness, &dialling);
  RUN_UNTIL(harness, harness->server.connection != NULL && harness->client.connection != NULL);
}

static void harness_connect(struct harness *harness) {
  const struct connection_options server = end_options(&harness->server);
  const struct connection_options client = end_options(&harness->client);
  harness_connect_with(harness, &server, &client);
}

static void harness_destroy(struct harness *harness) {
  end_release_bodies(&harness->server);
  end_release_bodies(&harness->client);
  transport_close(harness->transport);
  uv_close((uv_handle_t *)&harness->watchdog, NULL);
  CHECK_EQ(uv_run(&harness->loop, UV_RUN_DEFAULT), 0);
  transport_destroy(harness->transport);
  CHECK_EQ(harness->server.opened_count, harness->server.closed_count);
  CHECK_EQ(harness->client.opened_count, harness->client.closed_count);
  body_budget_finish(&harness->budget);
  CHECK_EQ(uv_loop_close(&harness->loop), 0);
  free(harness);
}

/* ---- raw peers ------------------------------------------------------------------------------- */

/* A socket connected to the listener; doesn't block. */
static int raw_connect(struct harness *harness) {
  const struct address *address = listener_address(harness->listener);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK_GE(fd, 0);
  CHECK_EQ(connect(fd, (const struct sockaddr *)&address->socket, sizeof(struct sockaddr_in)), 0);
  CHECK_EQ(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
  const unsigned opened_count = harness->server.opened_count;
  RUN_UNTIL(harness, harness->server.opened_count > opened_count);
  return fd;
}

static void raw_send(int fd, const void *bytes, size_t count) {
  CHECK_EQ(send(fd, bytes, count, MSG_NOSIGNAL), count);
}

/* A frame whose body continues the count of its meta's bytes; returns its length. */
static size_t raw_frame(unsigned char *ret_bytes, uint16_t type, uint32_t meta_bytes,
                        uint32_t body_bytes) {
  const struct frame_header header = {
      .type = type, .meta_bytes = meta_bytes, .body_bytes = body_bytes};
  frame_header_encode(&header, ret_bytes);
  for (uint32_t i = 0; i < meta_bytes + body_bytes; i++) {
    ret_bytes[FRAME_HEADER_BYTES + i] = (unsigned char)(i * 7 + type);
  }
  return FRAME_HEADER_BYTES + meta_bytes + body_bytes;
}

static inline void raw_send_frame(int fd, uint16_t type, uint32_t meta_bytes, uint32_t body_bytes) {
  unsigned char bytes[4096];
  CHECK_LE(FRAME_HEADER_BYTES + meta_bytes + body_bytes, sizeof(bytes));
  raw_send(fd, bytes, raw_frame(bytes, type, meta_bytes, body_bytes));
}

#endif
