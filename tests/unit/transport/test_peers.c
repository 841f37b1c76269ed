/* Peers that misbehave, vanish, come back, or are closed while things happen. */
#include "transport/connection.h"

#include "os/clock.h"
#include "transport/private.h"
#include "unit/transport/harness.h"

/* ---- bytes that are no frames ---------------------------------------------------------------- */

static void junk_ends_its_own_connection_only(void **state) {
  (void)state;
#define JUNK(text, reason_)                                                                        \
  { .bytes = text, .count = sizeof(text) - 1, .reason = reason_ }
  static const struct {
    const char *bytes;
    size_t count;
    const char *reason;
  } CASES[] = {
      JUNK("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "no frame"),
      JUNK("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 tls hello", "no frame"),
      JUNK("SSH-2.0-OpenSSH_9.2p1 Debian\r\n", "no frame"),
      JUNK("CWK2 of another version", "version"),
      JUNK("CWK1\x01\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff", "too large"),
  };
#undef JUNK
  struct harness *harness = harness_create(1024 * 1024);
  harness_connect(harness);
  struct connection *good = harness->client.connection;
  for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
    const int fd = raw_connect(harness);
    raw_send(fd, CASES[i].bytes, CASES[i].count);
    RUN_UNTIL(harness, harness->server.closed_count == i + 1);
    assert_non_null(strstr(harness->server.reason, CASES[i].reason));
    close(fd);
    assert_int_equal(connection_send(good, 1, NULL, 0, NULL, 0), ERR_OK);
    RUN_UNTIL(harness, harness->server.frames_count == i + 1);
  }
  struct transport_counters counters;
  transport_counters(harness->transport, &counters);
  assert_int_equal(counters.connections_malformed, 5);
  assert_int_equal(harness->budget.live_bytes, 0);
  assert_int_equal(harness->client.closed_count, 0);
  harness_destroy(harness);
}

static void every_split_of_a_stream_gives_its_frames(void **state) {
  (void)state;
  struct harness *harness = harness_create(1024 * 1024);
  const struct listener_options listening = {.connection = end_options(&harness->server)};
  harness_listen(harness, &listening);
  const int fd = raw_connect(harness);
  unsigned char bytes[256];
  size_t count = raw_frame(bytes, 1, 10, 0);
  count += raw_frame(bytes + count, 2, 7, 21);
  count += raw_frame(bytes + count, 3, 0, 0);
  struct transport_counters counters;
  for (size_t cut = 1; cut < count; cut++) {
    transport_counters(harness->transport, &counters);
    const uint64_t wanted = counters.bytes_received + cut;
    raw_send(fd, bytes, cut);
    RUN_UNTIL(harness, (transport_counters(harness->transport, &counters),
                        counters.bytes_received == wanted));
    raw_send(fd, bytes + cut, count - cut);
    RUN_UNTIL(harness, harness->server.frames_count == 3 * cut);
    assert_int_equal(harness->server.meta_bytes, 17 * cut);
    assert_int_equal(harness->server.body_bytes, 21 * cut);
  }
  assert_int_equal(harness->server.closed_count, 0);
  close(fd);
  harness_destroy(harness);
}

static void a_half_closed_peer_is_heard_to_its_end(void **state) {
  (void)state;
  struct harness *harness = harness_create(1024 * 1024);
  const struct listener_options listening = {.connection = end_options(&harness->server)};
  harness_listen(harness, &listening);
  int fd = raw_connect(harness);
  raw_send_frame(fd, 1, 10, 20);
  raw_send_frame(fd, 2, 10, 20);
  shutdown(fd, SHUT_WR);
  RUN_UNTIL(harness, harness->server.closed_count == 1);
  assert_int_equal(harness->server.frames_count, 2);
  assert_string_equal(harness->server.reason, "closed by the peer");
  close(fd);
  fd = raw_connect(harness);
  unsigned char bytes[64];
  raw_send(fd, bytes, raw_frame(bytes, 1, 10, 20) - 1);
  shutdown(fd, SHUT_WR);
  RUN_UNTIL(harness, harness->server.closed_count == 2);
  assert_non_null(strstr(harness->server.reason, "in the middle of a frame"));
  assert_int_equal(harness->server.frames_count, 2);
  assert_int_equal(harness->budget.live_bytes, 0);
  close(fd);
  harness_destroy(harness);
}

static void a_reset_is_harmless(void **state) {
  (void)state;
  struct harness *harness = harness_create(1024 * 1024);
  const struct listener_options listening = {.connection = end_options(&harness->server)};
  harness_listen(harness, &listening);
  for (unsigned i = 1; i <= 3; i++) {
    const int fd = raw_connect(harness);
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    CHECK_EQ(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)), 0);
    close(fd);
    /* Both ways of noticing: by writing, by reading. */
    if (harness->server.connection != NULL) {
      assert_int_equal(connection_send(harness->server.connection, 1, "x", 1, NULL, 0), ERR_OK);
    }
    RUN_UNTIL(harness, harness->server.closed_count == i);
    assert_true(strlen(harness->server.reason) > 0);
  }
  harness_destroy(harness);
}

/* ---- silence and crowds ---------------------------------------------------------------------- */

static void a_header_in_drips_is_not_waited_for(void **state) {
  (void)state;
  struct harness *harness = harness_create(1024 * 1024);
  struct listener_options listening = {.connection = end_options(&harness->server)};
  listening.connection.silence_max = duration_ms(40);
  harness_listen(harness, &listening);
  const int mute = raw_connect(harness);
  const int dripping = raw_connect(harness);
  unsigned char bytes[64];
  const size_t count = raw_frame(bytes, 1, 0, 0);
  for (size_t i = 0; harness->server.closed_count < 2; i++) {
    if (i < count - 1) { /* fails once the server has closed it */
      const ssize_t sent = send(dripping, bytes + i, 1, MSG_NOSIGNAL);
      assert_true(sent == 1 || harness->server.closed_count > 0);
    }
    uv_run(&harness->loop, UV_RUN_ONCE);
  }
  assert_non_null(strstr(harness->server.reason, "no frame within 40 ms"));
  close(mute);
  close(dripping);
  harness_destroy(harness);
}

static void silence_within_a_frame_ends_and_between_frames_does_not(void **state) {
  (void)state;
  struct harness *harness = harness_create(1024 * 1024);
  struct listener_options listening = {.connection = end_options(&harness->server)};
  listening.connection.silence_max = duration_ms(40);
  harness_listen(harness, &listening);
  const int resting = raw_connect(harness);
  raw_send_frame(resting, 1, 10, 0);
  RUN_UNTIL(harness, harness->server.frames_count == 1);
  const int stuck = raw_connect(harness);
  unsigned char bytes[2048];
  raw_send_frame(stuck, 1, 10, 0);
  raw_send(stuck, bytes, raw_frame(bytes, 2, 10, 1000) - 900);
  RUN_UNTIL(harness, harness->server.closed_count == 1);
  assert_non_null(strstr(harness->server.reason, "silent for 40 ms in the middle of a frame"));
  assert_int_equal(harness->budget.live_bytes, 0);
  raw_send_frame(resting, 1, 10, 0);
  RUN_UNTIL(harness, harness->server.frames_count == 3);
  assert_int_equal(harness->server.closed_count, 1);
  close(resting);
  close(stuck);
  harness_destroy(harness);
}

static void beyond_the_maximum_new_ones_are_closed_at_once(void **state) {
  (void)state;
  enum { MAX = 3, MORE = 5 };
  struct harness *harness = harness_create(1024 * 1024);
  const struct listener_options listening = {.connection = end_options(&harness->server),
                                             .connections_max = MAX};
  harness_listen(harness, &listening);
  int fds[MAX];
  for (int i = 0; i < MAX; i++) {
    fds[i] = raw_connect(harness);
  }
  const struct dialer_options dialling = {.connection = end_options(&harness->client)};
  for (int i = 0; i < MORE; i++) {
    harness_dial(harness, &dialling);
  }
  struct transport_counters counters;
  RUN_UNTIL(harness, (transport_counters(harness->transport, &counters),
                      counters.connections_refused == MORE));
  RUN_UNTIL(harness, harness->client.closed_count == MORE);
  assert_int_equal(harness->server.opened_count, MAX);
  assert_int_equal(harness->server.closed_count, 0);
  raw_send_frame(fds[0], 1, 0, 0);
  RUN_UNTIL(harness, harness->server.frames_count == 1);
  close(fds[1]);
  RUN_UNTIL(harness, listener_connections_count(harness->listener) == MAX - 1);
  const int again = raw_connect(harness);
  close(again);
  close(fds[0]);
  close(fds[2]);
  harness_destroy(harness);
}

/* ---- dialling -------------------------------------------------------------------------------- */

static void a_dialer_comes_back_when_its_peer_does(void **state) {
  (void)state;
  struct harness *harness = harness_create(1024 * 1024);
  const struct listener_options listening = {.connection = end_options(&harness->server)};
  harness_listen(harness, &listening);
  const struct address address = *listener_address(harness->listener);
  listener_close(harness->listener);
  const struct dialer_options dialling = {.connection = end_options(&harness->client),
                                          .reconnects = true,
                                          .backoff_min = duration_ms(1),
                                          .backoff_max = duration_ms(4)};
  harness->dialer = transport_dial(harness->transport, &address, &dialling);
  RUN_UNTIL(harness, harness->client.failed_count == 4);
  assert_non_null(strstr(harness->client.reason, "refused"));
  assert_null(dialer_connection(harness->dialer));
  for (unsigned life = 1; life <= 3; life++) {
    assert_int_equal(
        transport_listen(harness->transport, &address, &listening, &harness->listener, NULL),
        ERR_OK);
    RUN_UNTIL(harness, harness->client.opened_count == life && harness->server.connection != NULL);
    assert_ptr_equal(dialer_connection(harness->dialer), harness->client.connection);
    assert_int_equal(connection_send(harness->client.connection, 1, NULL, 0, NULL, 0), ERR_OK);
    RUN_UNTIL(harness, harness->server.frames_count == life);
    const unsigned failed_count = harness->client.failed_count;
    listener_close(harness->listener);
    connection_close(harness->server.connection);
    RUN_UNTIL(harness, harness->client.closed_count == life);
    RUN_UNTIL(harness, harness->client.failed_count > failed_count);
  }
  harness_destroy(harness);
}

static void pauses_between_attempts_grow_to_their_maximum(void **state) {
  (void)state;
  struct harness *harness = harness_create(1024 * 1024);
  const struct listener_options listening = {.connection = end_options(&harness->server)};
  harness_listen(harness, &listening);
  const struct address address = *listener_address(harness->listener);
  listener_close(harness->listener);
  const struct dialer_options dialling = {.connection = end_options(&harness->client),
                                          .reconnects = true,
                                          .backoff_min = duration_ms(2),
                                          .backoff_max = duration_ms(64)};
  uv_update_time(&harness->loop);
  const uint64_t begin_ms = uv_now(&harness->loop);
  harness->dialer = transport_dial(harness->transport, &address, &dialling);
  RUN_UNTIL(harness, harness->client.failed_count == 8);
  uv_update_time(&harness->loop);
  /* 2 + 4 + 8 + 16 + 32 + 64 + 64 is the least that eight attempts take; a timer of whole
   * milliseconds may be one early each time. */
  assert_true(uv_now(&harness->loop) - begin_ms >= 190 - 7);
  harness_destroy(harness);
}

static void close_at_once(struct end *end, struct connection *connection) {
  (void)end;
  connection_close(connection);
}

static void send_and_end(struct end *end, struct connection *connection) {
  (void)end;
  assert_int_equal(connection_send(connection, 1, NULL, 0, NULL, 0), ERR_OK);
  connection_drain(connection);
}

static void a_connection_without_a_frame_is_a_failed_attempt(void **state) {
  (void)state;
  struct harness *harness = harness_create(1024 * 1024);
  const struct listener_options listening = {.connection = end_options(&harness->server)};
  harness->server.on_opened = close_at_once;
  harness_listen(harness, &listening);
  const struct dialer_options dialling = {.connection = end_options(&harness->client),
                                          .reconnects = true,
                                          .backoff_min = duration_ms(2),
                                          .backoff_max = duration_ms(64)};
  uv_update_time(&harness->loop);
  const uint64_t begin_ms = uv_now(&harness->loop);
  harness->dialer =
      transport_dial(harness->transport, listener_address(harness->listener), &dialling);
  RUN_UNTIL(harness, harness->client.closed_count == 8);
  uv_update_time(&harness->loop);
  assert_int_equal(harness->client.failed_count, 0);
  assert_true(uv_now(&harness->loop) - begin_ms >= 190 - 7); /* as for refused ones, above */
  assert_int_equal(harness->dialer->failures_count, 8);
  harness->server.on_opened = send_and_end;
  RUN_UNTIL(harness, harness->client.frames_count == 1 && harness->client.closed_count == 9);
  assert_int_equal(harness->dialer->failures_count, 0);
  harness_destroy(harness);
}

static void without_reconnect_one_attempt_is_made(void **state) {
  (void)state;
  struct harness *harness = harness_create(1024 * 1024);
  const struct listener_options listening = {.connection = end_options(&harness->server)};
  harness_listen(harness, &listening);
  const struct address address = *listener_address(harness->listener);
  listener_close(harness->listener);
  const struct dialer_options dialling = {.connection = end_options(&harness->client)};
  harness->dialer = transport_dial(harness->transport, &address, &dialling);
  RUN_UNTIL(harness, harness->client.failed_count == 1);
  for (int i = 0; i < 5; i++) {
    uv_run(&harness->loop, UV_RUN_ONCE);
  }
  assert_int_equal(harness->client.failed_count, 1);
  dialer_close(harness->dialer);
  dialer_close(NULL);
  harness_destroy(harness);
}

static void a_port_in_use_is_said_so(void **state) {
  (void)state;
  struct harness *harness = harness_create(1024 * 1024);
  const struct listener_options listening = {.connection = end_options(&harness->server)};
  harness_listen(harness, &listening);
  struct listener *second = NULL;
  struct error_text error;
  assert_int_equal(transport_listen(harness->transport, listener_address(harness->listener),
                                    &listening, &second, &error),
                   ERR_EXISTS);
  assert_non_null(strstr(error.text, listener_address(harness->listener)->text));
  assert_null(second);
  harness_destroy(harness);
}

/* ---- closing while things happen ------------------------------------------------------------- */

static void close_on_frame(struct end *end, struct connection *connection, uint16_t type,
                           const unsigned char *meta, size_t meta_bytes, struct body *body) {
  (void)end;
  (void)type;
  (void)meta;
  (void)meta_bytes;
  (void)body;
  connection_close(connection);
}

static void closing_within_on_frame_stops_the_frames_behind(void **state) {
  (void)state;
  struct harness *harness = harness_create(1024 * 1024);
  harness->server.on_frame = close_on_frame;
  harness_connect(harness);
  for (int i = 0; i < 100; i++) {
    assert_int_equal(connection_send(harness->client.connection, 1, "x", 1, NULL, 0), ERR_OK);
  }
  RUN_UNTIL(harness, harness->server.closed_count == 1 && harness->client.closed_count == 1);
  assert_int_equal(harness->server.frames_count, 1);
  harness_destroy(harness);
}

static void close_on_opened(struct end *end, struct connection *connection) {
  (void)end;
  connection_close(connection);
}

static void closing_within_on_opened_is_safe_at_both_ends(void **state) {
  (void)state;
  struct harness *harness = harness_create(1024 * 1024);
  harness->server.on_opened = close_on_opened;
  harness->client.on_opened = close_on_opened;
  const struct listener_options listening = {.connection = end_options(&harness->server)};
  harness_listen(harness, &listening);
  const struct dialer_options dialling = {.connection = end_options(&harness->client),
                                          .reconnects = true,
                                          .backoff_min = duration_ms(1)};
  harness_dial(harness, &dialling);
  RUN_UNTIL(harness, harness->client.closed_count >= 3 && harness->server.closed_count >= 3);
  harness_destroy(harness);
}

static void close_dialer_on_closed(struct end *end, struct connection *connection) {
  (void)connection;
  dialer_close(end->harness->dialer);
}

static void a_dialer_may_be_closed_within_on_closed(void **state) {
  (void)state;
  struct harness *harness = harness_create(1024 * 1024);
  harness->client.on_closed = close_dialer_on_closed;
  const struct listener_options listening = {.connection = end_options(&harness->server)};
  harness_listen(harness, &listening);
  const struct dialer_options dialling = {.connection = end_options(&harness->client),
                                          .reconnects = true,
                                          .backoff_min = duration_ms(1)};
  harness_dial(harness, &dialling);
  RUN_UNTIL(harness, harness->server.connection != NULL && harness->client.connection != NULL);
  connection_close(harness->server.connection);
  RUN_UNTIL(harness, harness->client.closed_count == 1);
  for (int i = 0; i < 5; i++) {
    uv_run(&harness->loop, UV_RUN_ONCE);
  }
  assert_int_equal(harness->client.opened_count, 1);
  harness_destroy(harness);
}

static void close_everything(struct end *end, struct connection *connection, uint16_t type,
                             const unsigned char *meta, size_t meta_bytes, struct body *body) {
  (void)connection;
  (void)type;
  (void)meta;
  (void)meta_bytes;
  (void)body;
  transport_close(end->harness->transport);
}

static void everything_may_be_closed_within_a_callback(void **state) {
  (void)state;
  struct harness *harness = harness_create(64 * 1024 * 1024);
  harness->server.on_frame = close_everything;
  harness_connect(harness);
  struct body *body = body_create(&harness->budget, 20000000);
  const struct body_slice slice = {.body = body, .count_bytes = body->bytes};
  assert_int_equal(connection_send(harness->client.connection, 1, "x", 1, NULL, 0), ERR_OK);
  assert_int_equal(connection_send(harness->client.connection, 1, "x", 1, &slice, 1), ERR_OK);
  RUN_UNTIL(harness, harness->client.closed_count == 1 && harness->server.closed_count == 1);
  assert_int_equal(harness->server.frames_count, 1);
  assert_int_equal(body->refs, 1);
  body_release(body);
  transport_close(harness->transport);
  harness_destroy(harness);
}

static void draining_sends_the_rest_first(void **state) {
  (void)state;
  struct harness *harness = harness_create(64 * 1024 * 1024);
  harness_connect(harness);
  struct body *body = body_create(&harness->budget, 20000000);
  memset(body->data, 1, body->bytes);
  const struct body_slice slice = {.body = body, .count_bytes = body->bytes};
  assert_int_equal(connection_send(harness->client.connection, 1, "x", 1, &slice, 1), ERR_OK);
  assert_int_equal(connection_send(harness->client.connection, 1, "x", 1, NULL, 0), ERR_OK);
  body_release(body);
  connection_drain(harness->client.connection);
  connection_drain(NULL);
  assert_int_equal(connection_send(harness->client.connection, 1, "x", 1, NULL, 0), ERR_CLOSED);
  /* What comes in while it drains is not its business any more. */
  assert_int_equal(connection_send(harness->server.connection, 1, "x", 1, NULL, 0), ERR_OK);
  RUN_UNTIL(harness, harness->client.closed_count == 1 && harness->server.closed_count == 1);
  assert_int_equal(harness->server.frames_count, 2);
  assert_int_equal(harness->client.frames_count, 0);
  assert_string_equal(harness->client.reason, "closed here");
  assert_string_equal(harness->server.reason, "closed by the peer");
  harness_destroy(harness);
}

static void connections_know_their_owner_user_and_peer(void **state) {
  (void)state;
  struct harness *harness = harness_create(1024 * 1024);
  harness_connect(harness);
  struct connection *connection = harness->client.connection;
  assert_ptr_equal(connection_owner(connection), &harness->client);
  assert_null(connection_user(connection));
  connection_set_user(connection, harness);
  assert_ptr_equal(connection_user(connection), harness);
  assert_string_equal(connection_peer(connection), listener_address(harness->listener)->text);
  harness_destroy(harness);
}

/* ---- floods ---------------------------------------------------------------------------------- */

enum {
  FLOOD_TYPE = 1,
  MODEST_TYPE = 2,
  FLOOD_FRAMES = 600,
  FLOOD_META = 2000, /* several times the read buffer in all */
  /* However slow the machine is, so many make a turn; looking at the clock may come as much late
   * twice, for what was kept and for what is read. */
  BURN_US = CONNECTION_TURN_US / CONNECTION_TURN_FRAMES + 1,
};

/* What the server saw of a connection whose frames cost much, and of one that sends its next frame
 * when the last one was handled. */
struct flood {
  int modest_fd;
  bool modest_goes_on;
  uint64_t modest_count;
  uint64_t flood_count;
  uint64_t since_modest; /* frames of the flood */
  uint64_t between_max;
  uint64_t ahead_max_bytes; /* read, not yet handled */
  uint64_t disorder_count;
};

static void flood_send_modest(const struct flood *flood, uint64_t number) {
  unsigned char bytes[FRAME_HEADER_BYTES + sizeof(number)];
  raw_frame(bytes, MODEST_TYPE, sizeof(number), 0);
  memcpy(bytes + FRAME_HEADER_BYTES, &number, sizeof(number));
  raw_send(flood->modest_fd, bytes, sizeof(bytes));
}

static void flood_on_frame(struct end *end, struct connection *connection, uint16_t type,
                           const unsigned char *meta, size_t meta_bytes, struct body *body) {
  (void)connection;
  (void)body;
  struct flood *flood = end->user;
  uint64_t number = 0;
  assert_true(meta_bytes >= sizeof(number));
  memcpy(&number, meta, sizeof(number));
  if (type == MODEST_TYPE) {
    flood->disorder_count += number != flood->modest_count++;
    flood->since_modest = 0;
    if (flood->modest_goes_on) {
      flood_send_modest(flood, flood->modest_count);
    }
    return;
  }
  flood->disorder_count += number != flood->flood_count++;
  flood->since_modest++;
  if (flood->since_modest > flood->between_max) {
    flood->between_max = flood->since_modest;
  }
  struct transport_counters counters;
  transport_counters(end->harness->transport, &counters);
  const uint64_t ahead_bytes =
      counters.bytes_received - flood->flood_count * (FRAME_HEADER_BYTES + FLOOD_META);
  if (flood->modest_count == 0 && ahead_bytes > flood->ahead_max_bytes) {
    flood->ahead_max_bytes = ahead_bytes;
  }
  const struct instant until = instant_add(os_now(), duration_us(BURN_US));
  while (instant_before(os_now(), until)) {
  }
}

static void flood_connect(struct harness *harness, struct flood *flood) {
  harness->server.on_frame = flood_on_frame;
  harness->server.user = flood;
  harness_connect(harness);
}

static void flood_begin(struct harness *harness) {
  unsigned char meta[FLOOD_META] = {0};
  for (uint64_t i = 0; i < FLOOD_FRAMES; i++) {
    memcpy(meta, &i, sizeof(i));
    assert_int_equal(
        connection_send(harness->client.connection, FLOOD_TYPE, meta, FLOOD_META, NULL, 0), ERR_OK);
  }
}

static void a_flood_does_not_hold_up_the_others(void **state) {
  (void)state;
  struct flood flood = {.modest_goes_on = true};
  struct harness *harness = harness_create(1024 * 1024);
  flood_connect(harness, &flood);
  flood.modest_fd = raw_connect(harness);
  flood_send_modest(&flood, 0);
  flood_begin(harness);
  RUN_UNTIL(harness, flood.flood_count == FLOOD_FRAMES);
  flood.modest_goes_on = false;
  const uint64_t modest_count = flood.modest_count;
  RUN_UNTIL(harness, flood.modest_count > modest_count);
  assert_int_equal(flood.disorder_count, 0);
  /* A turn after the one's frame in this iteration, another one before its next frame. */
  assert_true(flood.between_max <= (uint64_t)2 * 3 * CONNECTION_TURN_FRAMES);
  /* Nothing is left to do: the loop sleeps again. */
  RUN_UNTIL(harness, uv_backend_timeout(&harness->loop) > 0);
  close(flood.modest_fd);
  harness_destroy(harness);
}

static void a_flood_is_held_back_by_tcp(void **state) {
  (void)state;
  struct flood flood = {.modest_goes_on = false};
  struct harness *harness = harness_create(1024 * 1024);
  flood_connect(harness, &flood);
  flood_begin(harness);
  RUN_UNTIL(harness, flood.flood_count == FLOOD_FRAMES);
  assert_int_equal(flood.disorder_count, 0);
  assert_true(flood.ahead_max_bytes <= TRANSPORT_READ_BYTES);
  harness_destroy(harness);
}

static void one_that_waits_for_its_turn_may_be_ended(void **state) {
  (void)state;
  void (*const ENDS[])(struct connection *) = {connection_close, connection_drain};
  for (size_t i = 0; i < sizeof(ENDS) / sizeof(ENDS[0]); i++) {
    struct flood flood = {.modest_goes_on = false};
    struct harness *harness = harness_create(1024 * 1024);
    flood_connect(harness, &flood);
    flood_begin(harness);
    RUN_UNTIL(harness, list_first(&harness->transport->yielded) != NULL);
    const uint64_t flood_count = flood.flood_count;
    assert_true(flood_count < FLOOD_FRAMES);
    ENDS[i](harness->server.connection);
    RUN_UNTIL(harness, harness->server.closed_count == 1 && harness->client.closed_count == 1);
    assert_int_equal(flood.flood_count, flood_count);
    assert_string_equal(harness->server.reason, "closed here");
    harness_destroy(harness);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(junk_ends_its_own_connection_only),
      cmocka_unit_test(every_split_of_a_stream_gives_its_frames),
      cmocka_unit_test(a_half_closed_peer_is_heard_to_its_end),
      cmocka_unit_test(a_reset_is_harmless),
      cmocka_unit_test(a_header_in_drips_is_not_waited_for),
      cmocka_unit_test(silence_within_a_frame_ends_and_between_frames_does_not),
      cmocka_unit_test(beyond_the_maximum_new_ones_are_closed_at_once),
      cmocka_unit_test(a_dialer_comes_back_when_its_peer_does),
      cmocka_unit_test(pauses_between_attempts_grow_to_their_maximum),
      cmocka_unit_test(a_connection_without_a_frame_is_a_failed_attempt),
      cmocka_unit_test(without_reconnect_one_attempt_is_made),
      cmocka_unit_test(a_port_in_use_is_said_so),
      cmocka_unit_test(closing_within_on_frame_stops_the_frames_behind),
      cmocka_unit_test(closing_within_on_opened_is_safe_at_both_ends),
      cmocka_unit_test(a_dialer_may_be_closed_within_on_closed),
      cmocka_unit_test(everything_may_be_closed_within_a_callback),
      cmocka_unit_test(draining_sends_the_rest_first),
      cmocka_unit_test(connections_know_their_owner_user_and_peer),
      cmocka_unit_test(a_flood_does_not_hold_up_the_others),
      cmocka_unit_test(a_flood_is_held_back_by_tcp),
      cmocka_unit_test(one_that_waits_for_its_turn_may_be_ended),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
