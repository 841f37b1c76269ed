#include "client/tally.h"

#include <stdlib.h>
#include <string.h>

#include "model/status.h"
#include "support/cmocka.h"

static struct tally *tally_create(void) {
  struct tally *tally = calloc(1, sizeof(*tally));
  assert_non_null(tally);
  return tally;
}

/* 4 due: one success in time, one late, one refused, one not sent. */
static void fill(struct tally *tally) {
  tally_on_sent(tally, duration_us(10));
  tally_on_sent(tally, duration_us(20));
  tally_on_sent(tally, duration_us(500));
  tally_on_not_sent(tally);
  tally_on_answered(tally, REQUEST_SUCCESS, duration_ms(5), duration_ms(100));
  tally_on_answered(tally, REQUEST_SUCCESS, duration_ms(200), duration_ms(100));
  tally_on_answered(tally, REQUEST_CANNOT_START, duration_ms(1), duration_ms(100));
}

static void test_counts(void **state) {
  (void)state;
  struct tally *tally = tally_create();
  fill(tally);
  assert_int_equal(tally->due_count, 4);
  assert_int_equal(tally->sent_count, 3);
  assert_int_equal(tally->not_sent_count, 1);
  assert_int_equal(tally_answered_count(tally), 3);
  assert_int_equal(tally->good_count, 1);
  assert_int_equal(tally->results[REQUEST_SUCCESS], 2);
  assert_int_equal(tally->results[REQUEST_CANNOT_START], 1);
  /* Refusals have no latency. */
  assert_int_equal(tally->latency.count, 2);
  assert_int_equal(tally->lag.max, 500 * NS_PER_US);
  free(tally);
}

static void test_slo_itself_is_met(void **state) {
  (void)state;
  struct tally *tally = tally_create();
  tally_on_answered(tally, REQUEST_SUCCESS, duration_ns(100), duration_ns(100));
  tally_on_answered(tally, REQUEST_SUCCESS, duration_ns(101), duration_ns(100));
  assert_int_equal(tally->good_count, 1);
  free(tally);
}

static void test_unknown_results_are_counted(void **state) {
  (void)state;
  struct tally *tally = tally_create();
  tally_on_answered(tally, 4000000000U, duration_ms(1), duration_ms(1));
  tally_on_answered(tally, TALLY_RESULTS, duration_ms(1), duration_ms(1));
  assert_int_equal(tally->results[TALLY_RESULTS - 1], 2);
  char text[TALLY_TEXT_BYTES];
  tally_write_line(tally, 1, 0, text, sizeof(text));
  assert_non_null(strstr(text, "unknown result 2"));
  free(tally);
}

static void test_merge_adds(void **state) {
  (void)state;
  struct tally *total = tally_create();
  struct tally *part = tally_create();
  fill(part);
  tally_on_lost(part);
  part->wrong_count = 2;
  tally_merge(total, part);
  tally_merge(total, part);
  assert_int_equal(total->due_count, 8);
  assert_int_equal(total->sent_count, 6);
  assert_int_equal(total->not_sent_count, 2);
  assert_int_equal(total->lost_count, 2);
  assert_int_equal(total->good_count, 2);
  assert_int_equal(total->wrong_count, 4);
  assert_int_equal(total->latency.count, 4);
  assert_int_equal(total->lag.count, 6);
  assert_int_equal(total->latency.max, 200 * NS_PER_MS);
  free(part);
  free(total);
}

static void test_line_of_an_interval(void **state) {
  (void)state;
  struct tally *tally = tally_create();
  fill(tally);
  tally_on_lost(tally);
  char text[TALLY_TEXT_BYTES];
  tally_write_line(tally, 2, 7, text, sizeof(text));
  assert_non_null(strstr(text, "throughput=1.0/s goodput=0.5/s sent=1.5/s"));
  assert_non_null(strstr(text, "min=5.000"));
  assert_non_null(strstr(text, "max=200.000"));
  assert_non_null(strstr(text, "under way 7"));
  assert_non_null(strstr(text, "success 2, the controller could not start it in time 1, lost 1, "
                               "not sent 1"));
  free(tally);
}

static void test_line_of_nothing(void **state) {
  (void)state;
  struct tally *tally = tally_create();
  char text[TALLY_TEXT_BYTES];
  tally_write_line(tally, 10, 0, text, sizeof(text));
  assert_non_null(strstr(text, "results: none"));
  assert_null(strstr(text, "nan"));
  uint32_t lines = 0;
  while (tally_write_total(tally, 10, lines, text, sizeof(text))) {
    assert_null(strstr(text, "nan"));
    lines++;
  }
  assert_int_equal(lines, 5);
  free(tally);
}

static void test_text_is_cut_to_its_room(void **state) {
  (void)state;
  struct tally *tally = tally_create();
  fill(tally);
  for (size_t capacity = 1; capacity < 64; capacity++) {
    char *text = malloc(capacity);
    tally_write_line(tally, 1, 0, text, capacity);
    assert_true(strlen(text) < capacity);
    free(text);
  }
  free(tally);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_counts),
      cmocka_unit_test(test_slo_itself_is_met),
      cmocka_unit_test(test_unknown_results_are_counted),
      cmocka_unit_test(test_merge_adds),
      cmocka_unit_test(test_line_of_an_interval),
      cmocka_unit_test(test_line_of_nothing),
      cmocka_unit_test(test_text_is_cut_to_its_room),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
