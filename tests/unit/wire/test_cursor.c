#include "wire/cursor.h"

#include "support/cmocka.h"

static void fields_survive_the_wire(void **state) {
  (void)state;
  unsigned char bytes[64];
  struct wire_writer writer = wire_writer_over(bytes, sizeof(bytes));
  wire_write_u8(&writer, 0xfe);
  wire_write_u16(&writer, 0xfedc);
  wire_write_u32(&writer, 0xfedcba98);
  wire_write_u64(&writer, UINT64_C(0xfedcba9876543210));
  wire_write_i64(&writer, INT64_MIN);
  wire_write_i64(&writer, -1);
  wire_write_bytes(&writer, "abc", 3);
  wire_write_bytes(&writer, NULL, 0);
  assert_false(writer.has_failed);
  assert_int_equal(writer.used_bytes, 1 + 2 + 4 + 8 + 8 + 8 + 3);
  struct wire_reader reader = wire_reader_over(bytes, writer.used_bytes);
  assert_int_equal(wire_read_u8(&reader), 0xfe);
  assert_int_equal(wire_read_u16(&reader), 0xfedc);
  assert_int_equal(wire_read_u32(&reader), 0xfedcba98);
  assert_true(wire_read_u64(&reader) == UINT64_C(0xfedcba9876543210));
  assert_true(wire_read_i64(&reader) == INT64_MIN);
  assert_true(wire_read_i64(&reader) == -1);
  assert_memory_equal(wire_read_bytes(&reader, 3), "abc", 3);
  assert_int_equal(wire_reader_finish(&reader), ERR_OK);
}

static void bytes_are_little_endian(void **state) {
  (void)state;
  unsigned char bytes[7];
  struct wire_writer writer = wire_writer_over(bytes, sizeof(bytes));
  wire_write_u32(&writer, 0x04030201);
  wire_write_u16(&writer, 0x0605);
  wire_write_u8(&writer, 7);
  for (unsigned char i = 0; i < 7; i++) {
    assert_int_equal(bytes[i], i + 1);
  }
}

static void reading_past_the_end_gives_zeros_and_fails(void **state) {
  (void)state;
  static const unsigned char BYTES[5] = {1, 2, 3, 4, 5};
  struct wire_reader reader = wire_reader_over(BYTES, sizeof(BYTES));
  assert_int_equal(wire_read_u32(&reader), 0x04030201);
  assert_int_equal(wire_read_u16(&reader), 0);
  assert_int_equal(wire_read_u8(&reader), 0); /* one byte was left, but the reader has failed */
  assert_null(wire_read_bytes(&reader, 0));
  assert_int_equal(wire_reader_finish(&reader), ERR_MALFORMED);
  reader = wire_reader_over(BYTES, sizeof(BYTES));
  assert_null(wire_read_bytes(&reader, SIZE_MAX));
  assert_int_equal(wire_reader_finish(&reader), ERR_MALFORMED);
}

static void bytes_left_over_are_malformed(void **state) {
  (void)state;
  struct wire_reader reader = wire_reader_over("ab", 2);
  assert_int_equal(wire_reader_finish(&reader), ERR_MALFORMED);
  wire_read_u16(&reader);
  assert_int_equal(wire_reader_finish(&reader), ERR_OK);
  reader = wire_reader_over(NULL, 0);
  assert_int_equal(wire_reader_finish(&reader), ERR_OK);
}

static void writing_past_the_end_writes_nothing(void **state) {
  (void)state;
  unsigned char bytes[5] = {9, 9, 9, 9, 9};
  struct wire_writer writer = wire_writer_over(bytes, 4);
  wire_write_u16(&writer, 0);
  wire_write_u32(&writer, 0);
  assert_true(writer.has_failed);
  wire_write_u8(&writer, 0); /* would have had room */
  assert_int_equal(writer.used_bytes, 2);
  assert_int_equal(bytes[2], 9);
  assert_int_equal(bytes[4], 9);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(fields_survive_the_wire),
      cmocka_unit_test(bytes_are_little_endian),
      cmocka_unit_test(reading_past_the_end_gives_zeros_and_fails),
      cmocka_unit_test(bytes_left_over_are_malformed),
      cmocka_unit_test(writing_past_the_end_writes_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
