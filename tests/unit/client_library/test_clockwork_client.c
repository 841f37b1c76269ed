/* The client library against a fake controller in the same loop. */
#include "support/cmocka.h"

#include "client_library/clockwork_client.h"
#include "support/fake_controller.h"

enum { ANSWERS_MAX = 64 };

struct fixture {
  uv_loop_t loop;
  struct fake_controller *fake;
  struct transport *transport;
  struct body_budget outputs;
  struct clockwork_client *client;

  /* What is to happen when it is connected. */
  void (*begin)(struct fixture *fixture);
  void (*begin_again)(struct fixture *fixture); /* the second time */
  /* Ends when so many answers have come. */
  uint32_t wanted_count;
  size_t queue_bytes_max;

  uint32_t connected_count;
  uint32_t disconnected_count;
  uint32_t lost_count;
  char reason[128];
  uint32_t answers_count;
  struct clockwork_inferred inferred[ANSWERS_MAX];
  struct clockwork_loaded loaded;
  char message[WIRE_MESSAGE_TEXT_BYTES];
  uint32_t models[ANSWERS_MAX];
  uint32_t models_count;
  enum err listed;
  struct clockwork_evicted evicted;
  bool ends_on_disconnect;
};

static void end(struct fixture *fixture) {
  clockwork_client_close(fixture->client);
  transport_close(fixture->transport);
  fake_controller_close(fixture->fake);
}

static void count_answer(struct fixture *fixture) {
  fixture->answers_count++;
  if (fixture->answers_count == fixture->wanted_count) {
    end(fixture);
  }
}

static void on_inferred(void *user, const struct clockwork_inferred *answer) {
  struct fixture *fixture = user;
  assert_true(fixture->answers_count < ANSWERS_MAX);
  fixture->inferred[fixture->answers_count] = *answer;
  count_answer(fixture);
}

static void on_loaded(void *user, const struct clockwork_loaded *answer) {
  struct fixture *fixture = user;
  fixture->loaded = *answer;
  snprintf(fixture->message, sizeof(fixture->message), "%s", answer->message);
  count_answer(fixture);
}

static void on_model(void *user, const struct wire_list_entry *model) {
  struct fixture *fixture = user;
  assert_true(fixture->models_count < ANSWERS_MAX);
  fixture->models[fixture->models_count++] = model->model_id;
}

static void on_listed(void *user, enum err error) {
  struct fixture *fixture = user;
  fixture->listed = error;
  count_answer(fixture);
}

static void on_evicted(void *user, const struct clockwork_evicted *answer) {
  struct fixture *fixture = user;
  fixture->evicted = *answer;
  count_answer(fixture);
}

static void on_connected(void *owner) {
  struct fixture *fixture = owner;
  fixture->connected_count++;
  if (fixture->connected_count == 1 && fixture->begin != NULL) {
    fixture->begin(fixture);
  }
  if (fixture->connected_count == 2 && fixture->begin_again != NULL) {
    fixture->begin_again(fixture);
  }
}

static void on_disconnected(void *owner, const char *reason, uint32_t lost_count) {
  struct fixture *fixture = owner;
  fixture->disconnected_count++;
  fixture->lost_count += lost_count;
  snprintf(fixture->reason, sizeof(fixture->reason), "%s", reason);
  if (fixture->ends_on_disconnect) {
    end(fixture);
  }
}

static void set_up(struct fixture *fixture) {
  memset(fixture, 0, sizeof(*fixture));
  assert_int_equal(uv_loop_init(&fixture->loop), 0);
  fixture->fake = fake_controller_create(&fixture->loop);
  body_budget_init(&fixture->outputs, 1 << 20);
}

static void run(struct fixture *fixture, uint32_t calls_max) {
  fixture->transport = transport_create(&fixture->loop);
  assert_non_null(fixture->transport);
  const struct clockwork_client_options options = {.on_connected = on_connected,
                                                   .on_disconnected = on_disconnected,
                                                   .owner = fixture,
                                                   .calls_max = calls_max,
                                                   .queue_bytes_max = fixture->queue_bytes_max,
                                                   .outputs = &fixture->outputs};
  fixture->client = clockwork_client_create(&fixture->loop, fixture->transport,
                                            fake_controller_address(fixture->fake), &options);
  assert_non_null(fixture->client);
  assert_false(clockwork_client_is_connected(fixture->client));
  uv_run(&fixture->loop, UV_RUN_DEFAULT);
}

static void tear_down(struct fixture *fixture) {
  assert_int_equal(clockwork_client_calls_count(fixture->client), 0);
  clockwork_client_destroy(fixture->client);
  transport_destroy(fixture->transport);
  fake_controller_destroy(fixture->fake);
  body_budget_finish(&fixture->outputs);
  assert_int_equal(uv_loop_close(&fixture->loop), 0);
}

static enum err begin_infer(struct fixture *fixture, bool wants_output,
                            struct duration retry_within) {
  const struct clockwork_infer infer = {.model_id = 0,
                                        .user_id = 7,
                                        .wants_output = wants_output,
                                        .retry_within = retry_within,
                                        .on_inferred = on_inferred,
                                        .user = fixture};
  return clockwork_client_infer(fixture->client, &infer);
}

/* ---- calls and answers ----------------------------------------------------------------------- */

static void begin_load(struct fixture *fixture) {
  assert_int_equal(
      clockwork_client_load(fixture->client, "/models/resnet50_v2", 3, on_loaded, fixture), ERR_OK);
}

static void test_load(void **state) {
  (void)state;
  struct fixture fixture;
  set_up(&fixture);
  fixture.begin = begin_load;
  fixture.wanted_count = 1;
  fake_add_model(fixture.fake, "other");
  run(&fixture, 0);
  assert_int_equal(fixture.loaded.error, ERR_OK);
  assert_int_equal(fixture.loaded.result, REQUEST_SUCCESS);
  assert_int_equal(fixture.loaded.first_model_id, 1);
  assert_int_equal(fixture.loaded.copies, 3);
  assert_int_equal(fixture.loaded.input_bytes, FAKE_INPUT_BYTES);
  assert_int_equal(fixture.loaded.execute_one.ns, FAKE_EXECUTE_ONE_NS);
  assert_string_equal(fixture.fake->last_path, "/models/resnet50_v2");
  tear_down(&fixture);
}

static void test_load_that_fails_says_why(void **state) {
  (void)state;
  struct fixture fixture;
  set_up(&fixture);
  fixture.begin = begin_load;
  fixture.wanted_count = 1;
  fixture.fake->fails_loads = true;
  run(&fixture, 0);
  assert_int_equal(fixture.loaded.result, REQUEST_ERROR);
  assert_string_equal(fixture.message, "no such package");
  tear_down(&fixture);
}

static void begin_list(struct fixture *fixture) {
  assert_int_equal(clockwork_client_list(fixture->client, on_model, on_listed, fixture), ERR_OK);
}

static void test_list_in_parts(void **state) {
  (void)state;
  enum { MODELS = FAKE_LIST_PART_MAX * 2 + 3 };
  struct fixture fixture;
  set_up(&fixture);
  fixture.begin = begin_list;
  fixture.wanted_count = 1;
  for (int i = 0; i < MODELS; i++) {
    fake_add_model(fixture.fake, "resnet50_v2");
  }
  run(&fixture, 0);
  assert_int_equal(fixture.listed, ERR_OK);
  assert_int_equal(fixture.models_count, MODELS);
  for (uint32_t i = 0; i < MODELS; i++) {
    assert_int_equal(fixture.models[i], i);
  }
  assert_int_equal(fixture.fake->lists_count, 3);
  tear_down(&fixture);
}

static void begin_evict(struct fixture *fixture) {
  assert_int_equal(clockwork_client_evict(fixture->client, 5, on_evicted, fixture), ERR_OK);
}

static void test_evict(void **state) {
  (void)state;
  struct fixture fixture;
  set_up(&fixture);
  fixture.begin = begin_evict;
  fixture.wanted_count = 1;
  run(&fixture, 0);
  assert_int_equal(fixture.evicted.result, REQUEST_SUCCESS);
  assert_int_equal(fixture.evicted.evicted_count, 2);
  tear_down(&fixture);
}

static void begin_infer_with_output(struct fixture *fixture) {
  assert_int_equal(begin_infer(fixture, true, DURATION_ZERO), ERR_OK);
  assert_int_equal(begin_infer(fixture, false, DURATION_ZERO), ERR_OK);
}

static void test_infer(void **state) {
  (void)state;
  struct fixture fixture;
  set_up(&fixture);
  fixture.begin = begin_infer_with_output;
  fixture.wanted_count = 2;
  fake_add_model(fixture.fake, "resnet50_v2");
  run(&fixture, 0);
  assert_int_equal(fixture.inferred[0].result, REQUEST_SUCCESS);
  assert_non_null(fixture.inferred[0].output);
  assert_null(fixture.inferred[1].output);
  assert_int_equal(fixture.fake->infer_users[0], 7);
  tear_down(&fixture);
}

/* ---- limits ---------------------------------------------------------------------------------- */

static void begin_too_many(struct fixture *fixture) {
  assert_int_equal(begin_infer(fixture, false, DURATION_ZERO), ERR_OK);
  assert_int_equal(begin_infer(fixture, false, DURATION_ZERO), ERR_OK);
  assert_int_equal(begin_infer(fixture, false, DURATION_ZERO), ERR_FULL);
  assert_int_equal(clockwork_client_calls_count(fixture->client), 2);
}

static void test_more_calls_than_allowed_are_refused(void **state) {
  (void)state;
  struct fixture fixture;
  set_up(&fixture);
  fixture.begin = begin_too_many;
  fixture.wanted_count = 2;
  fake_add_model(fixture.fake, "resnet50_v2");
  run(&fixture, 2);
  assert_int_equal(fixture.fake->infers_count, 2);
  tear_down(&fixture);
}

static void on_success_count(void *user, const struct clockwork_inferred *answer) {
  assert_int_equal(answer->error, ERR_OK);
  assert_int_equal(answer->result, REQUEST_SUCCESS);
  count_answer(user);
}

/* Until the kernel's buffers and the queue are full: nobody reads meanwhile. */
static void begin_more_than_fits(struct fixture *fixture) {
  enum { MORE_THAN_FITS = 10000 }; /* 120 MB */
  static const unsigned char input[FAKE_INPUT_BYTES] = {1};
  const struct clockwork_infer infer = {.input_bytes = FAKE_INPUT_BYTES,
                                        .encoding = WIRE_RAW,
                                        .input = {.data = input, .count_bytes = FAKE_INPUT_BYTES},
                                        .on_inferred = on_success_count,
                                        .user = fixture};
  enum err err = ERR_OK;
  while (err == ERR_OK && fixture->wanted_count < MORE_THAN_FITS) {
    err = clockwork_client_infer(fixture->client, &infer);
    fixture->wanted_count += err == ERR_OK;
  }
  assert_int_equal(err, ERR_FULL);
  assert_int_equal(clockwork_client_calls_count(fixture->client), fixture->wanted_count);
}

static void test_a_full_queue_refuses(void **state) {
  (void)state;
  struct fixture fixture;
  set_up(&fixture);
  fixture.begin = begin_more_than_fits;
  fixture.queue_bytes_max = FAKE_INPUT_BYTES + FAKE_INPUT_BYTES / 2;
  fake_add_model(fixture.fake, "resnet50_v2");
  run(&fixture, 0);
  /* What was accepted was sent and answered, what was refused was not. */
  assert_int_equal(fixture.answers_count, fixture.wanted_count);
  assert_int_equal(fixture.fake->inputs_count, fixture.wanted_count);
  tear_down(&fixture);
}

/* ---- the controller isn't ready -------------------------------------------------------------- */

static void begin_patient(struct fixture *fixture) {
  assert_int_equal(begin_infer(fixture, false, duration_s(60)), ERR_OK);
}

static void test_initializing_is_tried_again(void **state) {
  (void)state;
  struct fixture fixture;
  set_up(&fixture);
  fixture.begin = begin_patient;
  fixture.wanted_count = 1;
  fixture.fake->initializing_infers = 2;
  fake_add_model(fixture.fake, "resnet50_v2");
  run(&fixture, 0);
  assert_int_equal(fixture.inferred[0].result, REQUEST_SUCCESS);
  assert_int_equal(fixture.fake->infers_count, 3);
  tear_down(&fixture);
}

static void begin_impatient(struct fixture *fixture) {
  assert_int_equal(begin_infer(fixture, false, DURATION_ZERO), ERR_OK);
  /* Shorter than the pause: there is no time for a second attempt. */
  assert_int_equal(begin_infer(fixture, false, duration_ms(1)), ERR_OK);
}

static void test_initializing_is_an_answer_without_patience(void **state) {
  (void)state;
  struct fixture fixture;
  set_up(&fixture);
  fixture.begin = begin_impatient;
  fixture.wanted_count = 2;
  fixture.fake->initializing_infers = 2;
  fake_add_model(fixture.fake, "resnet50_v2");
  run(&fixture, 0);
  assert_int_equal(fixture.inferred[0].result, REQUEST_INITIALIZING);
  assert_int_equal(fixture.inferred[1].result, REQUEST_INITIALIZING);
  assert_int_equal(fixture.fake->infers_count, 2);
  tear_down(&fixture);
}

/* ---- the connection ends --------------------------------------------------------------------- */

static void begin_one_of_each(struct fixture *fixture) {
  begin_list(fixture);
  begin_load(fixture);
  begin_evict(fixture);
  begin_patient(fixture);
  assert_int_equal(begin_infer(fixture, false, DURATION_ZERO), ERR_OK);
}

static void test_lost_calls_are_answered(void **state) {
  (void)state;
  struct fixture fixture;
  set_up(&fixture);
  fixture.begin = begin_one_of_each;
  fixture.fake->initializing_infers = 1;
  fixture.fake->close_after_infers = 2;
  fixture.ends_on_disconnect = true;
  run(&fixture, 0);
  assert_int_equal(fixture.disconnected_count, 1);
  /* Every call had one answer; those whose answers weren't read yet, and the two inferences, were
   * lost. */
  assert_int_equal(fixture.answers_count, 5);
  assert_true(fixture.lost_count >= 2);
  assert_int_equal(fixture.inferred[3].error, ERR_CLOSED);
  assert_int_equal(fixture.inferred[4].error, ERR_CLOSED);
  tear_down(&fixture);
}

static void on_infers_close_client(struct fake_controller *fake) {
  struct fixture *fixture = fake->user;
  end(fixture);
}

static void test_closing_answers_what_is_under_way(void **state) {
  (void)state;
  struct fixture fixture;
  set_up(&fixture);
  fixture.begin = begin_infer_with_output;
  fixture.fake->keeps_silent = true;
  fixture.fake->signal_after_infers = 2;
  fixture.fake->on_infers = on_infers_close_client;
  fixture.fake->user = &fixture;
  run(&fixture, 0);
  assert_int_equal(fixture.answers_count, 2);
  assert_int_equal(fixture.inferred[0].error, ERR_CLOSED);
  assert_int_equal(fixture.inferred[1].error, ERR_CLOSED);
  assert_int_equal(begin_infer(&fixture, false, DURATION_ZERO), ERR_CLOSED);
  tear_down(&fixture);
}

static void begin_patient_and_other(struct fixture *fixture) {
  begin_patient(fixture);
  assert_int_equal(begin_infer(fixture, false, DURATION_ZERO), ERR_OK);
}

static void test_closing_answers_what_waits_for_its_retry(void **state) {
  (void)state;
  struct fixture fixture;
  set_up(&fixture);
  fixture.begin = begin_patient_and_other;
  fixture.wanted_count = 1; /* the second call's; the first one then waits */
  fixture.fake->initializing_infers = 1;
  fake_add_model(fixture.fake, "resnet50_v2");
  run(&fixture, 0);
  assert_int_equal(fixture.answers_count, 2);
  assert_int_equal(fixture.inferred[0].error, ERR_OK);
  assert_int_equal(fixture.inferred[1].error, ERR_CLOSED);
  assert_int_equal(fixture.fake->infers_count, 2);
  tear_down(&fixture);
}

static void test_connects_again(void **state) {
  (void)state;
  struct fixture fixture;
  set_up(&fixture);
  fixture.begin = begin_infer_with_output;
  fixture.begin_again = begin_infer_with_output;
  fixture.fake->close_after_infers = 1;
  fixture.wanted_count = 4;
  fake_add_model(fixture.fake, "resnet50_v2");
  run(&fixture, 0);
  assert_int_equal(fixture.connected_count, 2);
  assert_int_equal(fixture.lost_count, 2);
  assert_int_equal(fixture.inferred[1].error, ERR_CLOSED);
  assert_int_equal(fixture.inferred[2].error, ERR_OK);
  assert_int_equal(fixture.inferred[3].error, ERR_OK);
  tear_down(&fixture);
}

/* ---- answers that are none ------------------------------------------------------------------- */

/* The garbage frame `type` with `meta` comes instead of the first answer. */
static void check_garbage(uint16_t type, const void *meta, size_t meta_bytes, const char *reason) {
  struct fixture fixture;
  set_up(&fixture);
  fixture.begin = begin_infer_with_output;
  fixture.fake->garbage_for = WIRE_INFER_REQUEST;
  fixture.fake->garbage_type = type;
  fixture.fake->garbage = meta;
  fixture.fake->garbage_bytes = meta_bytes;
  fixture.fake->garbage_count = 2;
  fixture.ends_on_disconnect = true;
  run(&fixture, 0);
  assert_int_equal(fixture.answers_count, 2);
  assert_int_equal(fixture.inferred[0].error, ERR_CLOSED);
  assert_int_equal(fixture.disconnected_count, 1);
  assert_non_null(strstr(fixture.reason, reason));
  tear_down(&fixture);
}

static void test_garbage_ends_the_connection(void **state) {
  (void)state;
  static const char junk[300] = {1, 2, 3};
  check_garbage(WIRE_INFER_ANSWER, junk, sizeof(junk), "malformed");
  check_garbage(WIRE_INFER_ANSWER, junk, 3, "malformed");
  check_garbage(WIRE_INFER_ANSWER, junk, 0, "malformed");
  check_garbage(WIRE_LOAD_ANSWER, junk, 5, "malformed");
  check_garbage(WIRE_LIST_ANSWER, junk, 5, "malformed");
  check_garbage(WIRE_EVICT_ANSWER, junk, 5, "malformed");
  check_garbage(WIRE_ACTION, junk, 5, "no client gets");
  check_garbage(999, junk, 0, "no client gets");
}

/* A well-formed answer of another kind to an inference: the first call's id is generation 1, slot
 * 0. */
static const uint64_t FIRST_CALL_ID = UINT64_C(1) << 32;

static void test_answers_of_another_kind_end_the_connection(void **state) {
  (void)state;
  unsigned char meta[WIRE_META_BYTES_SMALL];
  struct wire_writer writer = wire_writer_over(meta, sizeof(meta));
  wire_encode_load_answer(&writer,
                          &(struct wire_load_answer){.request_id = FIRST_CALL_ID, .copies = 1});
  check_garbage(WIRE_LOAD_ANSWER, meta, writer.used_bytes, "a load was answered");
  writer = wire_writer_over(meta, sizeof(meta));
  wire_encode_evict_answer(&writer, &(struct wire_evict_answer){.request_id = FIRST_CALL_ID});
  check_garbage(WIRE_EVICT_ANSWER, meta, writer.used_bytes, "an eviction was answered");
  writer = wire_writer_over(meta, sizeof(meta));
  wire_encode_list_answer(&writer, &(struct wire_list_answer){.request_id = FIRST_CALL_ID,
                                                              .next_model_id = MODEL_ID_NONE});
  check_garbage(WIRE_LIST_ANSWER, meta, writer.used_bytes, "a list was given");
  writer = wire_writer_over(meta, sizeof(meta));
  wire_encode_infer_answer(
      &writer, &(struct wire_infer_answer){.request_id = FIRST_CALL_ID, .output_bytes = 4});
  check_garbage(WIRE_INFER_ANSWER, meta, writer.used_bytes, "another size");
}

/* What a list may not be: `entries` ids, then next_model_id. */
static void check_bad_list(const uint32_t *ids, uint32_t count, uint32_t next_model_id,
                           const char *reason) {
  unsigned char meta[WIRE_META_BYTES_SMALL];
  struct wire_writer writer = wire_writer_over(meta, sizeof(meta));
  wire_encode_list_answer(&writer, &(struct wire_list_answer){.request_id = FIRST_CALL_ID,
                                                              .next_model_id = next_model_id,
                                                              .entries_count = count});
  for (uint32_t i = 0; i < count; i++) {
    wire_encode_list_entry(&writer, &(struct wire_list_entry){.model_id = ids[i], .name = "x"});
  }
  struct fixture fixture;
  set_up(&fixture);
  fixture.begin = begin_list;
  fixture.fake->garbage_for = WIRE_LIST_REQUEST;
  fixture.fake->garbage_type = WIRE_LIST_ANSWER;
  fixture.fake->garbage = (const char *)meta;
  fixture.fake->garbage_bytes = writer.used_bytes;
  fixture.fake->garbage_count = 1;
  fixture.ends_on_disconnect = true;
  run(&fixture, 0);
  assert_int_equal(fixture.answers_count, 1);
  assert_int_equal(fixture.listed, ERR_CLOSED);
  assert_non_null(strstr(fixture.reason, reason));
  tear_down(&fixture);
}

static void test_bad_lists_end_the_connection(void **state) {
  (void)state;
  check_bad_list((const uint32_t[]){3, 3}, 2, MODEL_ID_NONE, "out of order");
  check_bad_list((const uint32_t[]){4, 3}, 2, MODEL_ID_NONE, "out of order");
  check_bad_list((const uint32_t[]){1, 5}, 2, 5, "out of order");
  check_bad_list((const uint32_t[]){MODEL_ID_NONE}, 1, MODEL_ID_NONE, "out of order");
  check_bad_list(NULL, 0, 0, "does not end");
}

static void test_answers_nobody_waits_for_are_counted(void **state) {
  (void)state;
  struct fixture fixture;
  set_up(&fixture);
  fixture.begin = begin_infer_with_output;
  fixture.wanted_count = 2;
  fixture.fake->answers_twice = true;
  fake_add_model(fixture.fake, "resnet50_v2");
  run(&fixture, 0);
  assert_int_equal(fixture.inferred[0].result, REQUEST_SUCCESS);
  assert_int_equal(fixture.inferred[1].result, REQUEST_SUCCESS);
  assert_true(clockwork_client_unexpected_count(fixture.client) >= 1);
  tear_down(&fixture);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_load),
      cmocka_unit_test(test_load_that_fails_says_why),
      cmocka_unit_test(test_list_in_parts),
      cmocka_unit_test(test_evict),
      cmocka_unit_test(test_infer),
      cmocka_unit_test(test_more_calls_than_allowed_are_refused),
      cmocka_unit_test(test_a_full_queue_refuses),
      cmocka_unit_test(test_initializing_is_tried_again),
      cmocka_unit_test(test_initializing_is_an_answer_without_patience),
      cmocka_unit_test(test_lost_calls_are_answered),
      cmocka_unit_test(test_closing_answers_what_is_under_way),
      cmocka_unit_test(test_closing_answers_what_waits_for_its_retry),
      cmocka_unit_test(test_connects_again),
      cmocka_unit_test(test_garbage_ends_the_connection),
      cmocka_unit_test(test_answers_of_another_kind_end_the_connection),
      cmocka_unit_test(test_bad_lists_end_the_connection),
      cmocka_unit_test(test_answers_nobody_waits_for_are_counted),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
