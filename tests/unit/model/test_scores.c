#include "model/scores.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "support/cmocka.h"

enum { CLASSES_MAX = 40 };

static void fewer_than_a_classifier_has_none(void **state) {
  (void)state;
  const float nine[SCORES_CLASSES_MIN - 1] = {1};
  struct scores scores;
  scores_read(nine, sizeof(nine), &scores);
  assert_int_equal(scores.classes, 0);
  assert_int_equal(scores.count, 0);
  const unsigned char odd[SCORES_CLASSES_MIN * sizeof(float) + 1] = {0};
  scores_read(odd, sizeof(odd), &scores);
  assert_int_equal(scores.classes, 0);
}

static void what_is_no_number_is_counted_only(void **state) {
  (void)state;
  float values[SCORES_CLASSES_MIN];
  struct scores scores;
  for (int i = 0; i < SCORES_CLASSES_MIN; i++) {
    values[i] = NAN;
  }
  scores_read(values, sizeof(values), &scores);
  assert_int_equal(scores.classes, SCORES_CLASSES_MIN);
  assert_int_equal(scores.nans_count, SCORES_CLASSES_MIN);
  assert_int_equal(scores.count, 0);
  values[3] = -INFINITY;
  values[7] = 2;
  scores_read(values, sizeof(values), &scores);
  assert_int_equal(scores.nans_count, SCORES_CLASSES_MIN - 2);
  assert_int_equal(scores.count, 2);
  assert_int_equal(scores.top[0].class_index, 7);
  assert_int_equal(scores.top[1].class_index, 3);
}

/* Each of `top` against all classes: few values, so that equals are frequent. */
static void the_greatest_come_first(void **state) {
  (void)state;
  struct prng prng;
  prng_init(&prng, 1, 1);
  for (int round = 0; round < 500; round++) {
    const uint32_t count = SCORES_CLASSES_MIN + (uint32_t)prng_below(&prng, 30);
    /* One byte off: an answer may lie anywhere. */
    unsigned char bytes[CLASSES_MAX * sizeof(float) + 1];
    float values[CLASSES_MAX];
    for (uint32_t i = 0; i < count; i++) {
      values[i] = (float)prng_below(&prng, 12) - 6;
    }
    memcpy(bytes + 1, values, count * sizeof(float));
    struct scores scores;
    scores_read(bytes + 1, count * sizeof(float), &scores);
    assert_int_equal(scores.count, SCORES_TOP);
    for (uint32_t rank = 0; rank < SCORES_TOP; rank++) {
      const uint64_t at = scores.top[rank].class_index;
      assert_true(scores.top[rank].value == values[at]);
      uint32_t before = 0;
      for (uint32_t i = 0; i < count; i++) {
        before += values[i] > values[at] || (values[i] == values[at] && i < at);
      }
      assert_int_equal(before, rank);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(fewer_than_a_classifier_has_none),
                                     cmocka_unit_test(what_is_no_number_is_counted_only),
                                     cmocka_unit_test(the_greatest_come_first)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
