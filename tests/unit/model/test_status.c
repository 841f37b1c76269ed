#include "model/status.h"

#include "support/cmocka.h"

/* The numbers are a contract with telemetry files and clients: spelled out here a second time. */
static void numbers_hold(void **state) {
  (void)state;
  assert_int_equal(REQUEST_SUCCESS, 0);
  assert_int_equal(REQUEST_TIMEOUT, 4);
  assert_int_equal(REQUEST_INITIALIZING, 5);
  assert_int_equal(REQUEST_INVALID, 6);
  assert_int_equal(REQUEST_SKIPPED, 7);
  assert_int_equal(REQUEST_CANNOT_START, 8);
  assert_int_equal(ACTION_SHUTTING_DOWN, 3);
  assert_int_equal(ACTION_UNKNOWN_MODEL, 10);
  assert_int_equal(ACTION_INVALID_GPU, 13);
  assert_int_equal(ACTION_WEIGHTS_NOT_PRESENT, 20);
  assert_int_equal(ACTION_WEIGHTS_CHANGED, 23);
  assert_int_equal(ACTION_INVALID_BATCH_SIZE, 31);
  assert_int_equal(ACTION_INVALID_MODEL_PATH, 41);
  assert_int_equal(ACTION_COULD_NOT_SEND, 45);
  assert_int_equal(ACTION_LOAD_TOO_LATE, 51);
  assert_int_equal(ACTION_LOAD_CONCURRENT_CHANGE, 54);
  assert_int_equal(ACTION_EVICT_NOT_IN_CACHE, 63);
  assert_int_equal(ACTION_INPUT_TOO_LATE, 71);
  assert_int_equal(ACTION_INPUT_BAD_DECOMPRESSION, 78);
  assert_int_equal(ACTION_EXECUTE_TOO_LATE, 81);
  assert_int_equal(ACTION_EXECUTE_WEIGHTS_MISSING, 82);
  assert_int_equal(ACTION_EXECUTE_WEIGHTS_CHANGED, 84);
  assert_int_equal(ACTION_OUTPUT_HOST_MEMORY, 92);
  assert_int_equal(ACTION_LOAD, 1);
  assert_int_equal(ACTION_INFER, 2);
  assert_int_equal(ACTION_EVICT, 3);
}

static void any_number_has_a_text(void **state) {
  (void)state;
  assert_string_equal(action_status_text(ACTION_EXECUTE_TOO_LATE), "execute: too late");
  assert_string_equal(request_result_text(REQUEST_SKIPPED), "skipped by the controller");
  for (int code = -3; code < 100; code++) {
    assert_non_null(action_status_text(code));
    assert_non_null(request_result_text(code));
  }
  assert_string_equal(action_status_text(INT32_MAX), "unknown status");
  assert_string_equal(request_result_text(INT32_MIN), "unknown result");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(numbers_hold),
      cmocka_unit_test(any_number_has_a_text),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
