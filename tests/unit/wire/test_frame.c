#include "wire/frame.h"

#include <string.h>

#include "support/cmocka.h"

static void headers_survive_the_wire(void **state) {
  (void)state;
  const struct frame_header headers[] = {
      {.type = 0, .meta_bytes = 0, .body_bytes = 0},
      {.type = 1, .meta_bytes = 2, .body_bytes = 3},
      {.type = UINT16_MAX, .meta_bytes = FRAME_META_BYTES_MAX, .body_bytes = FRAME_BODY_BYTES_MAX},
  };
  for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
    unsigned char bytes[FRAME_HEADER_BYTES];
    struct frame_header decoded;
    frame_header_encode(&headers[i], bytes);
    assert_int_equal(frame_header_decode(bytes, &decoded), ERR_OK);
    assert_int_equal(decoded.type, headers[i].type);
    assert_int_equal(decoded.meta_bytes, headers[i].meta_bytes);
    assert_int_equal(decoded.body_bytes, headers[i].body_bytes);
  }
}

static void the_layout_is_fixed(void **state) {
  (void)state;
  static const unsigned char EXPECTED[FRAME_HEADER_BYTES] = {
      'C', 'W', 'K', '1', 0x34, 0x12, 0, 0, 0x04, 0x03, 0x02, 0x01, 0x08, 0x07, 0x06, 0x05};
  const struct frame_header header = {
      .type = 0x1234, .meta_bytes = 0x01020304, .body_bytes = 0x05060708};
  unsigned char bytes[FRAME_HEADER_BYTES];
  frame_header_encode(&header, bytes);
  assert_memory_equal(bytes, EXPECTED, sizeof(bytes));
}

static enum err decode_with(size_t offset, unsigned char value) {
  const struct frame_header header = {.type = 1, .meta_bytes = 1, .body_bytes = 1};
  unsigned char bytes[FRAME_HEADER_BYTES];
  struct frame_header decoded = {.type = 4711};
  frame_header_encode(&header, bytes);
  bytes[offset] = value;
  const enum err err = frame_header_decode(bytes, &decoded);
  assert_int_equal(decoded.type == 4711, err != ERR_OK); /* written on success only */
  return err;
}

static void what_is_wrong_is_told_apart(void **state) {
  (void)state;
  assert_int_equal(decode_with(0, 'c'), ERR_MALFORMED);
  assert_int_equal(decode_with(2, 'J'), ERR_MALFORMED);
  assert_int_equal(decode_with(3, '2'), ERR_VERSION);
  assert_int_equal(decode_with(6, 1), ERR_MALFORMED);
  assert_int_equal(decode_with(7, 1), ERR_MALFORMED);
  assert_int_equal(decode_with(11, 0xff), ERR_TOO_LARGE);
  assert_int_equal(decode_with(15, 0xff), ERR_TOO_LARGE);
  assert_int_equal(decode_with(4, 9), ERR_OK);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(headers_survive_the_wire),
      cmocka_unit_test(the_layout_is_fixed),
      cmocka_unit_test(what_is_wrong_is_told_apart),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
