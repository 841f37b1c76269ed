#include "telemetry/columns.h"

#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "support/cmocka.h"
#include "support/death.h"

enum { REQUEST_COLUMNS = 12 };

static int64_t read_at(const unsigned char *at, uint32_t width) {
  uint64_t value = 0;
  memcpy(&value, at, width);
  return (int64_t)value;
}

/* The value of `row` in `column`, as the header says a reader finds it. */
static int64_t value_of(const unsigned char *block, uint32_t column, uint32_t row) {
  const uint32_t rows = (uint32_t)read_at(block, 4);
  const unsigned char *data = block + 8 + 12 * REQUEST_COLUMNS;
  for (uint32_t i = 0; i < column; i++) {
    data += rows * read_at(block + 8 + 12 * i + 8, 4);
  }
  const uint32_t width = (uint32_t)read_at(block + 8 + 12 * column + 8, 4);
  const uint64_t base = (uint64_t)read_at(block + 8 + 12 * column, 8);
  return (int64_t)(base + (uint64_t)read_at(data + (size_t)row * width, width));
}

static void rows_come_back(void **state) {
  (void)state;
  static struct telemetry_request rows[TELEMETRY_COLUMNS_ROWS];
  unsigned char *block = malloc(TELEMETRY_COLUMNS_BYTES_MAX_request);
  assert_non_null(block);
  struct prng prng;
  prng_init(&prng, 8, 0);
  for (uint32_t i = 0; i < TELEMETRY_COLUMNS_ROWS; i++) {
    rows[i] = (struct telemetry_request){.t = INT64_C(1598918400000000000) + i * 95000,
                                         .request_id = 7 + i,
                                         .result = i % 5,
                                         .user_id = (uint32_t)prng_below(&prng, 70000),
                                         .model_id = 3,
                                         .slo_factor = i == 9 ? 2.5 : 0,
                                         .latency = i % 2 == 0 ? INT64_MAX : INT64_MIN,
                                         .deadline = -100000000};
  }
  static const uint32_t counts[] = {1, 2, 300, TELEMETRY_COLUMNS_ROWS};
  for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
    const size_t bytes = telemetry_columns_request(rows, counts[c], block);
    assert_in_range(bytes, 8 + 12 * REQUEST_COLUMNS, TELEMETRY_COLUMNS_BYTES_MAX_request);
    assert_int_equal(read_at(block, 4), counts[c]);
    assert_int_equal(read_at(block + 4, 4), bytes - 8);
    for (uint32_t i = 0; i < counts[c]; i++) {
      double factor = 0;
      const int64_t bits = value_of(block, 5, i);
      memcpy(&factor, &bits, sizeof(factor));
      assert_int_equal(value_of(block, 0, i), rows[i].t);
      assert_int_equal(value_of(block, 1, i), rows[i].request_id);
      assert_int_equal(value_of(block, 2, i), rows[i].result);
      assert_int_equal(value_of(block, 3, i), rows[i].user_id);
      assert_true(factor == rows[i].slo_factor);
      assert_int_equal(value_of(block, 6, i), rows[i].latency);
      assert_int_equal(value_of(block, 7, i), rows[i].deadline);
      assert_int_equal(value_of(block, 11, i), 0);
    }
  }
  /* What is the same in all rows takes no room: model, deadline and four counts. */
  rows[9].slo_factor = 0;
  telemetry_columns_request(rows, 300, block);
  static const int widths[REQUEST_COLUMNS] = {4, 2, 1, 4, 0, 0, 8, 0, 0, 0, 0, 0};
  for (uint32_t i = 0; i < REQUEST_COLUMNS; i++) {
    assert_int_equal(read_at(block + 8 + 12 * i + 8, 4), widths[i]);
  }
  free(block);
}

static void write_none(void *block) {
  const struct telemetry_action row = {.t = 1};
  telemetry_columns_action(&row, 0, block);
}

static void an_empty_block_aborts(void **state) {
  (void)state;
  static unsigned char block[TELEMETRY_COLUMNS_BYTES_MAX_action];
  assert_true(test_dies(write_none, block));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(rows_come_back),
      cmocka_unit_test(an_empty_block_aborts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
