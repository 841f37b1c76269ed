#include "transport/connection.h"

#include "os/clock.h"
#include "unit/transport/harness.h"

static void fill_pattern(unsigned char *bytes, size_t count, uint32_t seed) {
  for (size_t i = 0; i < count; i++) {
    bytes[i] = (unsigned char)((i + seed) * 2654435761u >> 24);
  }
}

static void send_numbered(struct connection *connection, uint64_t *number, uint64_t last,
                          size_t meta_bytes) {
  unsigned char meta[256] = {0};
  while (*number < last) {
    memcpy(meta, number, sizeof(*number));
    if (connection_send(connection, 1, meta, meta_bytes, NULL, 0) != ERR_OK) {
      return;
    }
    (*number)++;
  }
}

static void frames_arrive_in_order_both_ways(void **state) {
  (void)state;
  enum { FRAMES = 10000 };
  struct harness *harness = harness_create(1024 * 1024);
  harness->server.checks_order = true;
  harness->client.checks_order = true;
  harness_connect(harness);
  uint64_t from_client = 0;
  uint64_t from_server = 0;
  while (from_client < FRAMES || from_server < FRAMES) {
    send_numbered(harness->client.connection, &from_client, from_client + 73, 64);
    send_numbered(harness->server.connection, &from_server, from_server + 41, 100);
    uv_run(&harness->loop, UV_RUN_NOWAIT);
  }
  RUN_UNTIL(harness, harness->server.frames_count == from_client &&
                         harness->client.frames_count == from_server);
  assert_int_equal(harness->server.disorder_count, 0);
  assert_int_equal(harness->client.disorder_count, 0);
  assert_int_equal(harness->server.meta_bytes, from_client * 64);
  struct transport_counters counters;
  transport_counters(harness->transport, &counters);
  assert_int_equal(counters.frames_sent, from_client + from_server);
  assert_int_equal(counters.frames_received, from_client + from_server);
  assert_int_equal(counters.bytes_sent, counters.bytes_received);
  assert_int_equal(connection_queued_bytes(harness->client.connection), 0);
  harness_destroy(harness);
}

/* Send what came back to where it came from, without copying it. */
static void echo(struct end *end, struct connection *connection, uint16_t type,
                 const unsigned char *meta, size_t meta_bytes, struct body *body) {
  (void)end;
  const struct body_slice whole = {.body = body, .count_bytes = body != NULL ? body->bytes : 0};
  assert_int_equal(
      connection_send(connection, type, meta, meta_bytes, &whole, body != NULL ? 1 : 0), ERR_OK);
}

static void bodies_of_every_size_come_back_intact(void **state) {
  (void)state;
  static const uint32_t SIZES[] = {1,      2,      15,      1023,    1024,    1025,   4096,
                                   65535,  65536,  65537,   262127,  262128,  262129, 262144,
                                   602112, 999999, 1 << 20, 5000001, 20000000};
  enum { COUNT = sizeof(SIZES) / sizeof(SIZES[0]) };
  struct harness *harness = harness_create(256 * 1024 * 1024);
  harness->server.on_frame = echo;
  harness->client.keeps_bodies = true;
  harness_connect(harness);
  struct body *sent[COUNT];
  for (uint32_t i = 0; i < COUNT; i++) {
    sent[i] = body_create(&harness->budget, SIZES[i]);
    assert_non_null(sent[i]);
    fill_pattern(sent[i]->data, SIZES[i], i);
    const struct body_slice slice = {.body = sent[i], .count_bytes = SIZES[i]};
    assert_int_equal(
        connection_send(harness->client.connection, (uint16_t)i, &i, sizeof(i), &slice, 1), ERR_OK);
  }
  RUN_UNTIL(harness, harness->client.bodies_count == COUNT);
  for (uint32_t i = 0; i < COUNT; i++) {
    assert_int_equal(harness->client.bodies[i]->bytes, SIZES[i]);
    assert_memory_equal(harness->client.bodies[i]->data, sent[i]->data, SIZES[i]);
    assert_int_equal(sent[i]->refs, 1); /* nobody else holds it any more */
    body_release(sent[i]);
  }
  harness_destroy(harness);
}

static void slices_are_gathered_from_bodies_and_static_data(void **state) {
  (void)state;
  static const char pool[] = "0123456789abcdef";
  struct harness *harness = harness_create(16 * 1024 * 1024);
  harness->server.keeps_bodies = true;
  harness_connect(harness);
  struct body *body = body_create(&harness->budget, 300000);
  fill_pattern(body->data, body->bytes, 3);
  const struct body_slice slices[] = {
      {.data = pool, .offset_bytes = 10, .count_bytes = 6},
      {.body = body, .offset_bytes = 1000, .count_bytes = 200000},
      {.body = body, .offset_bytes = 0, .count_bytes = 0},
      {.data = pool, .count_bytes = 3},
      {.body = body, .offset_bytes = 299999, .count_bytes = 1},
      {.body = body, .offset_bytes = 5, .count_bytes = 2000},
  };
  assert_int_equal(connection_send(harness->client.connection, 7, NULL, 0, slices, 6), ERR_OK);
  assert_int_equal(body->refs, 3); /* short slices were copied */
  RUN_UNTIL(harness, harness->server.frames_count == 1);
  const struct body *got = harness->server.bodies[0];
  assert_int_equal(got->bytes, 6 + 200000 + 3 + 1 + 2000);
  assert_memory_equal(got->data, "abcdef", 6);
  assert_memory_equal(got->data + 6, body->data + 1000, 200000);
  assert_memory_equal(got->data + 200006, "012", 3);
  assert_memory_equal(got->data + 200009, body->data + 299999, 1);
  assert_memory_equal(got->data + 200010, body->data + 5, 2000);
  assert_int_equal(body->refs, 1);
  body_release(body);
  harness_destroy(harness);
}

/* More slices in a frame than a writev takes, so that a frame spans batches. */
static void many_slices_make_one_frame(void **state) {
  (void)state;
  enum { SLICES = 500, SLICE_BYTES = 2048 };
  struct harness *harness = harness_create(16 * 1024 * 1024);
  harness->server.keeps_bodies = true;
  harness_connect(harness);
  struct body *body = body_create(&harness->budget, SLICE_BYTES);
  fill_pattern(body->data, body->bytes, 9);
  struct body_slice slices[SLICES];
  for (int i = 0; i < SLICES; i++) {
    slices[i] = (struct body_slice){.body = body, .count_bytes = SLICE_BYTES};
  }
  assert_int_equal(connection_send(harness->client.connection, 1, "m", 1, slices, SLICES), ERR_OK);
  RUN_UNTIL(harness, harness->server.frames_count == 1);
  for (int i = 0; i < SLICES; i++) {
    assert_memory_equal(harness->server.bodies[0]->data + i * SLICE_BYTES, body->data, SLICE_BYTES);
  }
  body_release(body);
  harness_destroy(harness);
}

static void check_long_meta(struct end *end, struct connection *connection, uint16_t type,
                            const unsigned char *meta, size_t meta_bytes, struct body *body) {
  (void)end;
  (void)connection;
  (void)type;
  (void)body;
  for (size_t i = 0; i < meta_bytes; i++) {
    assert_int_equal(meta[i], (unsigned char)((i + 5) * 2654435761u >> 24));
  }
}

static void long_metas_arrive_whole_up_to_the_limit(void **state) {
  (void)state;
  enum { LONGEST = 8 * 1024 * 1024 };
  static const size_t SIZES[] = {0, 1, 65519, 65520, 65521, 262144, 3000000, LONGEST};
  struct harness *harness = harness_create(1024 * 1024);
  harness->server.on_frame = check_long_meta;
  harness_connect(harness);
  unsigned char *meta = malloc(LONGEST + 1);
  fill_pattern(meta, LONGEST + 1, 5);
  for (size_t i = 0; i < sizeof(SIZES) / sizeof(SIZES[0]); i++) {
    assert_int_equal(connection_send(harness->client.connection, 1, meta, SIZES[i], NULL, 0),
                     ERR_OK);
    RUN_UNTIL(harness, harness->server.frames_count == i + 1);
  }
  assert_int_equal(connection_send(harness->client.connection, 1, meta, LONGEST + 1, NULL, 0),
                   ERR_OK);
  RUN_UNTIL(harness, harness->server.closed_count == 1);
  assert_non_null(strstr(harness->server.reason, "too large"));
  free(meta);
  harness_destroy(harness);
}

/* The server's kernel buffers fill up because nobody reads at the raw end. */
static void a_full_queue_refuses_and_tells_when_it_is_writable(void **state) {
  (void)state;
  enum { QUEUE_MAX = 1024 * 1024, META = 4000 };
  struct harness *harness = harness_create(1024 * 1024);
  struct listener_options listening = {.connection = end_options(&harness->server)};
  listening.connection.queue_bytes_max = QUEUE_MAX;
  harness_listen(harness, &listening);
  const int fd = raw_connect(harness);
  unsigned char meta[META] = {0};
  uint64_t accepted_count = 0;
  enum err err;
  while ((err = connection_send(harness->server.connection, 1, meta, META, NULL, 0)) == ERR_OK) {
    accepted_count++;
    assert_true(connection_queued_bytes(harness->server.connection) <= QUEUE_MAX);
  }
  assert_int_equal(err, ERR_FULL);
  assert_true(connection_queued_bytes(harness->server.connection) >
              QUEUE_MAX - META - FRAME_HEADER_BYTES);
  assert_int_equal(harness->server.writable_count, 0);

  /* Nothing that was accepted is lost, nothing that was refused comes. */
  uint64_t got_bytes = 0;
  static unsigned char sink[256 * 1024];
  while (got_bytes < accepted_count * (META + FRAME_HEADER_BYTES)) {
    const ssize_t got = recv(fd, sink, sizeof(sink), 0);
    assert_true(got > 0 || errno == EAGAIN);
    got_bytes += got > 0 ? (uint64_t)got : 0;
    uv_run(&harness->loop, UV_RUN_NOWAIT);
  }
  RUN_UNTIL(harness, harness->server.writable_count == 1);
  assert_int_equal(got_bytes, accepted_count * (META + FRAME_HEADER_BYTES));
  assert_int_equal(connection_queued_bytes(harness->server.connection), 0);
  assert_int_equal(connection_send(harness->server.connection, 1, meta, META, NULL, 0), ERR_OK);
  close(fd);
  harness_destroy(harness);
}

static void an_empty_queue_takes_a_frame_above_its_limit(void **state) {
  (void)state;
  struct harness *harness = harness_create(64 * 1024 * 1024);
  struct connection_options server = end_options(&harness->server);
  struct connection_options client = end_options(&harness->client);
  client.queue_bytes_max = 1000;
  harness_connect_with(harness, &server, &client);
  struct body *body = body_create(&harness->budget, 10000000);
  const struct body_slice slice = {.body = body, .count_bytes = body->bytes};
  assert_int_equal(connection_send(harness->client.connection, 1, NULL, 0, &slice, 1), ERR_OK);
  body_release(body);
  RUN_UNTIL(harness, harness->server.frames_count == 1);
  harness_destroy(harness);
}

static void sizes_above_the_protocol_are_refused(void **state) {
  (void)state;
  struct harness *harness = harness_create(1024 * 1024);
  harness_connect(harness);
  struct connection *connection = harness->client.connection;
  const struct body_slice slices[2] = {{.data = "", .count_bytes = FRAME_BODY_BYTES_MAX},
                                       {.data = "", .count_bytes = 1}};
  assert_int_equal(connection_send(connection, 1, NULL, 0, slices, 2), ERR_TOO_LARGE);
  assert_int_equal(connection_send(connection, 1, "", (size_t)FRAME_META_BYTES_MAX + 1, NULL, 0),
                   ERR_TOO_LARGE);
  assert_int_equal(connection_queued_bytes(connection), 0);
  connection_close(connection);
  assert_int_equal(connection_send(connection, 1, NULL, 0, NULL, 0), ERR_CLOSED);
  connection_close(connection);
  connection_close(NULL);
  RUN_UNTIL(harness, harness->server.closed_count == 1 && harness->client.closed_count == 1);
  assert_string_equal(harness->client.reason, "closed here");
  assert_string_equal(harness->server.reason, "closed by the peer");
  harness_destroy(harness);
}

/* ---- body budget ----------------------------------------------------------------------------- */

static void a_spent_budget_pauses_until_bodies_are_released(void **state) {
  (void)state;
  enum { FRAMES = 12, BODY = 400000, MAX = 1000000 };
  struct harness *harness = harness_create(MAX);
  harness->server.keeps_bodies = true;
  harness->server.checks_order = true;
  harness_connect(harness);
  unsigned char *data = malloc(BODY);
  fill_pattern(data, BODY, 1);
  const struct body_slice slice = {.data = data, .count_bytes = BODY};
  for (uint64_t i = 0; i < FRAMES; i++) {
    assert_int_equal(connection_send(harness->client.connection, 1, &i, sizeof(i), &slice, 1),
                     ERR_OK);
  }
  for (unsigned received = 2; received < FRAMES; received++) {
    RUN_UNTIL(harness, harness->server.bodies_count == 2);
    /* Whatever else happens, no third one comes. */
    for (int i = 0; i < 50; i++) {
      uv_run(&harness->loop, UV_RUN_NOWAIT);
    }
    assert_int_equal(harness->server.frames_count, received);
    assert_true(harness->budget.live_bytes <= MAX);
    assert_memory_equal(harness->server.bodies[0]->data, data, BODY);
    body_release(harness->server.bodies[0]);
    harness->server.bodies[0] = harness->server.bodies[1];
    harness->server.bodies_count = 1;
  }
  RUN_UNTIL(harness, harness->server.frames_count == FRAMES);
  assert_int_equal(harness->server.disorder_count, 0);
  free(data);
  harness_destroy(harness);
}

/* Small bodies that were all read already when the budget ran out: they come out of the stash. */
static void what_was_read_past_a_spent_budget_is_not_lost(void **state) {
  (void)state;
  enum { FRAMES = 60, BODY = 2000, MAX = 10000 };
  struct harness *harness = harness_create(MAX);
  harness->server.keeps_bodies = true;
  harness->server.checks_order = true;
  harness_connect(harness);
  unsigned char data[BODY];
  fill_pattern(data, BODY, 2);
  const struct body_slice slice = {.data = data, .count_bytes = BODY};
  for (uint64_t i = 0; i < FRAMES; i++) {
    assert_int_equal(connection_send(harness->client.connection, 1, &i, sizeof(i), &slice, 1),
                     ERR_OK);
  }
  while (harness->server.frames_count < FRAMES) {
    const uint64_t before = harness->server.frames_count;
    RUN_UNTIL(harness, harness->server.frames_count > before);
    assert_true(harness->budget.live_bytes <= MAX);
    assert_memory_equal(harness->server.bodies[0]->data, data, BODY);
    end_release_bodies(&harness->server);
  }
  assert_int_equal(harness->server.disorder_count, 0);
  harness_destroy(harness);
}

static void burn_a_quarter_of_a_turn(struct end *end, struct connection *connection, uint16_t type,
                                     const unsigned char *meta, size_t meta_bytes,
                                     struct body *body) {
  (void)end;
  (void)connection;
  (void)type;
  (void)meta;
  (void)meta_bytes;
  (void)body;
  const struct instant until = instant_add(os_now(), duration_us(CONNECTION_TURN_US / 4));
  while (instant_before(os_now(), until)) {
  }
}

/* Pauses of both kinds, for room and for the next turn, in what was read at once. */
static void a_spent_budget_and_a_spent_turn_keep_the_order(void **state) {
  (void)state;
  enum { FRAMES = 300, BODY = 2000, BODIES_BETWEEN = 7, MAX = 30000 };
  struct harness *harness = harness_create(MAX);
  harness->server.keeps_bodies = true;
  harness->server.checks_order = true;
  harness->server.on_frame = burn_a_quarter_of_a_turn;
  harness_connect(harness);
  unsigned char data[BODY];
  fill_pattern(data, BODY, 2);
  const struct body_slice slice = {.data = data, .count_bytes = BODY};
  for (uint64_t i = 0; i < FRAMES; i++) {
    assert_int_equal(connection_send(harness->client.connection, 1, &i, sizeof(i), &slice,
                                     i % BODIES_BETWEEN != 0),
                     ERR_OK);
  }
  while (harness->server.frames_count < FRAMES) {
    RUN_UNTIL(harness, harness->server.frames_count == FRAMES ||
                           !body_budget_has_room(&harness->budget, BODY));
    assert_true(harness->budget.live_bytes <= MAX);
    for (unsigned i = 0; i < harness->server.bodies_count; i++) {
      assert_memory_equal(harness->server.bodies[i]->data, data, BODY);
    }
    end_release_bodies(&harness->server);
  }
  assert_int_equal(harness->server.disorder_count, 0);
  harness_destroy(harness);
}

static void connections_wait_for_room_in_turn(void **state) {
  (void)state;
  enum { CLIENTS = 5, ROUNDS = 8, BODY = 600000 };
  struct harness *harness = harness_create(1000000); /* room for one */
  harness->server.keeps_bodies = true;
  const struct listener_options listening = {.connection = end_options(&harness->server)};
  harness_listen(harness, &listening);
  const struct dialer_options dialling = {.connection = end_options(&harness->client)};
  struct dialer *dialers[CLIENTS];
  for (unsigned i = 0; i < CLIENTS; i++) {
    harness_dial(harness, &dialling);
    dialers[i] = harness->dialer;
  }
  RUN_UNTIL(harness, harness->client.opened_count == CLIENTS);
  unsigned char *data = calloc(1, BODY);
  const struct body_slice slice = {.data = data, .count_bytes = BODY};
  for (uint32_t i = 0; i < CLIENTS; i++) {
    for (unsigned round = 0; round < ROUNDS; round++) {
      assert_int_equal(connection_send(dialer_connection(dialers[i]), 1, &i, sizeof(i), &slice, 1),
                       ERR_OK);
    }
  }
  /* Close one that waits: the others must not notice. */
  RUN_UNTIL(harness, harness->server.bodies_count == 1);
  dialer_close(dialers[CLIENTS - 1]);
  while (harness->server.frames_count < (CLIENTS - 1) * ROUNDS) {
    RUN_UNTIL(harness, harness->server.bodies_count == 1);
    end_release_bodies(&harness->server);
  }
  free(data);
  harness_destroy(harness);
}

static void a_body_that_can_never_fit_ends_its_connection(void **state) {
  (void)state;
  struct harness *harness = harness_create(100000);
  harness_connect(harness);
  static const unsigned char data[100001];
  const struct body_slice slice = {.data = data, .count_bytes = sizeof(data)};
  assert_int_equal(connection_send(harness->client.connection, 1, NULL, 0, &slice, 1), ERR_OK);
  RUN_UNTIL(harness, harness->server.closed_count == 1);
  assert_non_null(strstr(harness->server.reason, "body of 100001 bytes"));
  assert_int_equal(harness->budget.live_bytes, 0);
  harness_destroy(harness);
}

static void without_a_budget_no_body_is_taken(void **state) {
  (void)state;
  struct harness *harness = harness_create(100000);
  struct connection_options server = end_options(&harness->server);
  const struct connection_options client = end_options(&harness->client);
  server.budget = NULL;
  harness_connect_with(harness, &server, &client);
  const struct body_slice slice = {.data = "x", .count_bytes = 1};
  assert_int_equal(connection_send(harness->client.connection, 1, NULL, 0, NULL, 0), ERR_OK);
  assert_int_equal(connection_send(harness->client.connection, 1, NULL, 0, &slice, 1), ERR_OK);
  RUN_UNTIL(harness, harness->server.closed_count == 1);
  assert_int_equal(harness->server.frames_count, 1);
  harness_destroy(harness);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(frames_arrive_in_order_both_ways),
      cmocka_unit_test(bodies_of_every_size_come_back_intact),
      cmocka_unit_test(slices_are_gathered_from_bodies_and_static_data),
      cmocka_unit_test(many_slices_make_one_frame),
      cmocka_unit_test(long_metas_arrive_whole_up_to_the_limit),
      cmocka_unit_test(a_full_queue_refuses_and_tells_when_it_is_writable),
      cmocka_unit_test(an_empty_queue_takes_a_frame_above_its_limit),
      cmocka_unit_test(sizes_above_the_protocol_are_refused),
      cmocka_unit_test(a_spent_budget_pauses_until_bodies_are_released),
      cmocka_unit_test(what_was_read_past_a_spent_budget_is_not_lost),
      cmocka_unit_test(a_spent_budget_and_a_spent_turn_keep_the_order),
      cmocka_unit_test(connections_wait_for_room_in_turn),
      cmocka_unit_test(a_body_that_can_never_fit_ends_its_connection),
      cmocka_unit_test(without_a_budget_no_body_is_taken),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
