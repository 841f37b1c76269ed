#include "client/inputs.h"

#include <lz4.h>
#include <stdlib.h>
#include <string.h>

#include "support/cmocka.h"

enum { IMAGE_BYTES = 224 * 224 * 3 * 4 };

static void test_stored_bytes_decode_to_raw(void **state) {
  (void)state;
  static struct inputs inputs;
  uint32_t index = 0;
  assert_int_equal(inputs_prepare(&inputs, IMAGE_BYTES, 1, &index), ERR_OK);
  unsigned char *decoded = malloc(IMAGE_BYTES);
  for (uint32_t i = 0; i < INPUTS_VARIANTS; i++) {
    const struct input *input = inputs_pick(&inputs, index, i);
    assert_int_equal(input->encoding, WIRE_LZ4);
    assert_int_equal(LZ4_decompress_safe((const char *)input->stored, (char *)decoded,
                                         (int)input->stored_bytes, IMAGE_BYTES),
                     IMAGE_BYTES);
    assert_memory_equal(decoded, input->raw, IMAGE_BYTES);
    /* No better than a photograph at best, no worse than one. */
    assert_in_range(input->stored_bytes, IMAGE_BYTES / 50, IMAGE_BYTES / 4);
  }
  free(decoded);
  inputs_finish(&inputs);
}

static void test_pixels_are_8_bit_values(void **state) {
  (void)state;
  static struct inputs inputs;
  uint32_t index = 0;
  assert_int_equal(inputs_prepare(&inputs, IMAGE_BYTES, 1, &index), ERR_OK);
  const struct input *input = inputs_pick(&inputs, index, 0);
  uint32_t counts[256] = {0};
  for (uint32_t i = 0; i < IMAGE_BYTES / 4; i++) {
    float pixel;
    memcpy(&pixel, input->raw + (size_t)i * 4, 4);
    assert_true(pixel >= 0);
    assert_true(pixel <= 255);
    assert_true(pixel == (float)(int)pixel);
    counts[(int)pixel]++;
  }
  uint32_t distinct = 0;
  for (int i = 0; i < 256; i++) {
    distinct += counts[i] > 0;
  }
  assert_true(distinct > 200);
  inputs_finish(&inputs);
}

static void test_variants_differ_and_take_turns(void **state) {
  (void)state;
  static struct inputs inputs;
  uint32_t index = 0;
  assert_int_equal(inputs_prepare(&inputs, 12288, 1, &index), ERR_OK);
  for (uint32_t i = 1; i < INPUTS_VARIANTS; i++) {
    assert_memory_not_equal(inputs_pick(&inputs, index, 0)->raw,
                            inputs_pick(&inputs, index, i)->raw, 12288);
  }
  assert_ptr_equal(inputs_pick(&inputs, index, 0), inputs_pick(&inputs, index, INPUTS_VARIANTS));
  inputs_finish(&inputs);
}

static void test_same_seed_same_pictures(void **state) {
  (void)state;
  static struct inputs first;
  static struct inputs second;
  static struct inputs other;
  uint32_t index = 0;
  assert_int_equal(inputs_prepare(&first, 12288, 9, &index), ERR_OK);
  assert_int_equal(inputs_prepare(&second, 12288, 9, &index), ERR_OK);
  assert_int_equal(inputs_prepare(&other, 12288, 10, &index), ERR_OK);
  assert_memory_equal(inputs_pick(&first, 0, 3)->raw, inputs_pick(&second, 0, 3)->raw, 12288);
  assert_memory_not_equal(inputs_pick(&first, 0, 3)->raw, inputs_pick(&other, 0, 3)->raw, 12288);
  inputs_finish(&first);
  inputs_finish(&second);
  inputs_finish(&other);
}

static void test_each_size_is_made_once(void **state) {
  (void)state;
  static struct inputs inputs;
  uint32_t first = 99;
  uint32_t second = 99;
  uint32_t again = 99;
  assert_int_equal(inputs_prepare(&inputs, 4000, 1, &first), ERR_OK);
  assert_int_equal(inputs_prepare(&inputs, 4001, 1, &second), ERR_OK);
  assert_int_equal(inputs_prepare(&inputs, 4000, 1, &again), ERR_OK);
  assert_int_equal(inputs.sizes_count, 2);
  assert_int_equal(first, again);
  assert_int_not_equal(first, second);
  inputs_finish(&inputs);
}

static void test_small_and_odd_sizes(void **state) {
  (void)state;
  static struct inputs inputs;
  uint32_t index = 0;
  for (uint32_t bytes = 1; bytes < 40; bytes++) {
    assert_int_equal(inputs_prepare(&inputs, bytes, 1, &index), ERR_OK);
    const struct input *input = inputs_pick(&inputs, index, 0);
    assert_true(input->stored_bytes <= bytes);
    assert_true(input->encoding == WIRE_LZ4 || input->stored == input->raw);
  }
  inputs_finish(&inputs);
}

static void test_refused_sizes(void **state) {
  (void)state;
  static struct inputs inputs;
  uint32_t index = 77;
  assert_int_equal(inputs_prepare(&inputs, 0, 1, &index), ERR_RANGE);
  assert_int_equal(inputs_prepare(&inputs, INPUTS_BYTES_MAX + 1, 1, &index), ERR_RANGE);
  assert_int_equal(inputs_prepare(&inputs, UINT64_MAX, 1, &index), ERR_RANGE);
  for (uint32_t i = 0; i < INPUTS_SIZES_MAX; i++) {
    assert_int_equal(inputs_prepare(&inputs, 100 + i, 1, &index), ERR_OK);
  }
  index = 77;
  assert_int_equal(inputs_prepare(&inputs, 50, 1, &index), ERR_FULL);
  assert_int_equal(index, 77);
  inputs_finish(&inputs);
  inputs_finish(&inputs);
  inputs_finish(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_stored_bytes_decode_to_raw),
      cmocka_unit_test(test_pixels_are_8_bit_values),
      cmocka_unit_test(test_variants_differ_and_take_turns),
      cmocka_unit_test(test_same_seed_same_pictures),
      cmocka_unit_test(test_each_size_is_made_once),
      cmocka_unit_test(test_small_and_odd_sizes),
      cmocka_unit_test(test_refused_sizes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
