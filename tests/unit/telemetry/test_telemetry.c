#include "telemetry/telemetry.h"

#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "support/cmocka.h"

static void names_are_the_contract(void **state) {
  (void)state;
  assert_string_equal(telemetry_file_request(), "clockwork_request_log.tsv");
  assert_string_equal(telemetry_file_action(), "clockwork_action_log.tsv");
  assert_string_equal(telemetry_header_request(),
                      "t\trequest_id\tresult\tuser_id\tmodel_id\tslo_factor\tlatency\tdeadline\t"
                      "deadline_met\tarrival_count\tdeparture_count\tis_coldstart\n");
  assert_string_equal(
      telemetry_header_action(),
      "t\taction_id\taction_type\tstatus\tworker_id\tgpu_id\tmodel_id\tbatch_size\t"
      "expected_exec_duration\tworker_exec_duration\texpected_exec_complete\t"
      "worker_exec_complete\texpected_gpu_clock\tworker_gpu_clock_before\tworker_gpu_clock\t"
      "worker_copy_output_complete\tworker_action_received\tworker_result_sent\t"
      "controller_result_enqueue\tcontroller_action_duration\tgoodput\trequests_queued\t"
      "copies_loaded\n");
}

static const char *format_request(const struct telemetry_request *row) {
  static char text[TELEMETRY_ROW_BYTES_MAX_request + 1];
  const size_t count = telemetry_format_request(row, text, TELEMETRY_ROW_BYTES_MAX_request);
  text[count] = '\0';
  return text;
}

static void a_row_of_the_published_system(void **state) {
  (void)state;
  const struct telemetry_request row = {.t = INT64_C(1598832443793706631),
                                        .request_id = 68,
                                        .user_id = 357,
                                        .model_id = 30,
                                        .latency = 11428945,
                                        .deadline = 100000000,
                                        .deadline_met = 1,
                                        .departure_count = 2,
                                        .is_coldstart = 1};
  assert_string_equal(format_request(&row),
                      "1598832443793706631\t68\t0\t357\t30\t0\t11428945\t100000000\t1\t0\t2\t1\n");
}

static void the_longest_row_fits(void **state) {
  (void)state;
  struct telemetry_action row;
  char text[TELEMETRY_ROW_BYTES_MAX_action];
  memset(&row, 0xff, sizeof(row));
  row.t = INT64_MIN;
  row.goodput = INT64_MIN;
  assert_int_equal(telemetry_format_action(&row, text, sizeof(text) - 1), 0);
  const size_t count = telemetry_format_action(&row, text, sizeof(text));
  assert_true(count > 0);
  assert_true(count <= sizeof(text));
  assert_int_equal(text[count - 1], '\n');
  assert_memory_equal(text, "-9223372036854775808\t18446744073709551615\t4294967295\t", 53);
}

/* Integers in every column, against printf. */
static void integers_print_as_printf_prints_them(void **state) {
  (void)state;
  struct prng prng;
  prng_init(&prng, 7, 0);
  for (int i = 0; i < 200000; i++) {
    const uint64_t wide = prng_next(&prng) >> (prng_next(&prng) % 64);
    const struct telemetry_request row = {.t = (int64_t)wide,
                                          .request_id = wide,
                                          .result = (uint32_t)wide,
                                          .user_id = (uint32_t)(wide >> 7),
                                          .slo_factor = (double)(wide >> 12),
                                          .latency = -(int64_t)(wide >> 1),
                                          .deadline = (int64_t)(wide >> 3)};
    char expected[512];
    snprintf(expected, sizeof(expected),
             "%" PRId64 "\t%" PRIu64 "\t%" PRIu32 "\t%" PRIu32 "\t0\t%" PRIu64 "\t%" PRId64
             "\t%" PRId64 "\t0\t0\t0\t0\n",
             row.t, row.request_id, row.result, row.user_id, wide >> 12, row.latency, row.deadline);
    assert_string_equal(format_request(&row), expected);
  }
}

static const char *format_real(double value) {
  static char text[64];
  const struct telemetry_request row = {.slo_factor = value};
  const char *field = format_request(&row);
  for (int i = 0; i < 5; i++) {
    field = strchr(field, '\t') + 1;
  }
  const size_t length = strcspn(field, "\t");
  assert_true(length < sizeof(text));
  assert_true(length <= TELEMETRY_WIDTH_real);
  memcpy(text, field, length);
  text[length] = '\0';
  return text;
}

static void reals_print_shortest(void **state) {
  (void)state;
  static const struct {
    double value;
    const char *text;
  } CASES[] = {
      {0.0, "0"},
      {-0.0, "0"},
      {1.0, "1"},
      {1.5, "1.5"},
      {-1.5, "-1.5"},
      {0.1, "0.1"},
      {0.05, "0.05"},
      {2.25, "2.25"},
      {1.1, "1.1"},
      {11.390625, "11.390625"},
      {100.0, "100"},
      {1e15, "1000000000000000"},
      {123456789.123456, "123456789.123456"},
      {0.000001, "0.000001"},
      {9007199254740993.0, "9007199254740992"},
      {4503599627370495.5, "4503599627370496"},
      {0.1 + 0.2, "0.3"},
      {1.0 / 3.0, "0.333333333333333"},
      {2.0 / 3.0, "0.666666666666667"},
      {0.9999999999999999, "1"},
      {1e-30, "0"},
      {1e19, "inf"},
      {-1e300, "-inf"},
      {-0x1p62, "-4611686018427387904"},
  };
  for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
    assert_string_equal(format_real(CASES[i].value), CASES[i].text);
  }
  assert_string_equal(format_real((double)NAN), "nan");
  assert_string_equal(format_real((double)INFINITY), "inf");
}

static void typed_reals_read_back_and_are_as_short_as_typed(void **state) {
  (void)state;
  struct prng prng;
  prng_init(&prng, 11, 0);
  for (int i = 0; i < 100000; i++) {
    const unsigned decimals = (unsigned)(prng_next(&prng) % 7);
    const uint64_t digits = prng_next(&prng) % 1000000000;
    char typed[64];
    snprintf(typed, sizeof(typed), "%.*f", (int)decimals, (double)digits / pow(10, decimals));
    const double value = strtod(typed, NULL);
    const char *printed = format_real(value);
    assert_true(strtod(printed, NULL) == value);
    assert_true(strlen(printed) <= strlen(typed));
  }
}

static void any_real_is_printed_nearly(void **state) {
  (void)state;
  struct prng prng;
  prng_init(&prng, 13, 0);
  for (int i = 0; i < 100000; i++) {
    const double value = ldexp((double)(prng_next(&prng) >> 11), (int)(prng_next(&prng) % 72) - 62);
    const double back = strtod(format_real(value), NULL);
    assert_true(fabs(back - value) <= 1e-14 * fabs(value) + 5e-19);
  }
}

static void the_locale_changes_nothing(void **state) {
  (void)state;
  setlocale(LC_ALL, "");
  setlocale(LC_NUMERIC, "de_DE.UTF-8"); /* where it is installed */
  assert_string_equal(format_real(1234567.5), "1234567.5");
  setlocale(LC_ALL, "C");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(names_are_the_contract),
      cmocka_unit_test(a_row_of_the_published_system),
      cmocka_unit_test(the_longest_row_fits),
      cmocka_unit_test(integers_print_as_printf_prints_them),
      cmocka_unit_test(reals_print_shortest),
      cmocka_unit_test(typed_reals_read_back_and_are_as_short_as_typed),
      cmocka_unit_test(any_real_is_printed_nearly),
      cmocka_unit_test(the_locale_changes_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
