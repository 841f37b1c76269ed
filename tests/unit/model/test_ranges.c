#include "model/ranges.h"

#include "base/prng.h"
#include "support/cmocka.h"
#include "support/death.h"
#include "support/memory.h"

enum { IDS = 200 };

static struct arena open_ranges(struct model_ranges *ranges) {
  struct arena counting;
  arena_init_counting(&counting);
  model_ranges_init(ranges, &counting, IDS);
  struct arena arena = test_arena_open(counting.used_bytes);
  model_ranges_init(ranges, &arena, IDS);
  return arena;
}

static void copies_that_come_one_by_one_are_one_range(void **state) {
  (void)state;
  struct model_ranges ranges;
  struct arena arena = open_ranges(&ranges);
  for (uint32_t id = 10; id < 60; id++) {
    model_ranges_add(&ranges, id, 1, 7);
  }
  assert_int_equal(ranges.count, 1);
  assert_int_equal(model_ranges_get(&ranges, 9), MODEL_RANGES_NONE);
  assert_int_equal(model_ranges_get(&ranges, 10), 7);
  assert_int_equal(model_ranges_get(&ranges, 59), 7);
  assert_int_equal(model_ranges_get(&ranges, 60), MODEL_RANGES_NONE);
  assert_int_equal(model_ranges_get(&ranges, UINT32_MAX), MODEL_RANGES_NONE);
  assert_false(model_ranges_have(&ranges, 0, 10));
  assert_true(model_ranges_have(&ranges, 0, 11));
  assert_true(model_ranges_have(&ranges, 59, 1));
  assert_false(model_ranges_have(&ranges, 60, UINT32_MAX - 60));
  assert_false(model_ranges_have(&ranges, 20, 0));
  test_arena_close(&arena);
}

static void random_ranges_match_a_table(void **state) {
  (void)state;
  struct prng prng;
  prng_init(&prng, 5, 0);
  for (int round = 0; round < 100; round++) {
    struct model_ranges ranges;
    struct arena arena = open_ranges(&ranges);
    uint32_t table[IDS];
    for (uint32_t id = 0; id < IDS; id++) {
      table[id] = MODEL_RANGES_NONE;
    }
    for (int step = 0; step < 60; step++) {
      const uint32_t first = (uint32_t)prng_below(&prng, IDS);
      const uint32_t count = 1 + (uint32_t)prng_below(&prng, 8 < IDS - first ? 8 : IDS - first);
      bool is_taken = false;
      for (uint32_t i = 0; i < count; i++) {
        is_taken |= table[first + i] != MODEL_RANGES_NONE;
      }
      assert_int_equal(model_ranges_have(&ranges, first, count), is_taken);
      const uint32_t value = (uint32_t)prng_below(&prng, 3);
      for (uint32_t i = 0; i < count && !is_taken; i++) {
        table[first + i] = value;
      }
      if (!is_taken) {
        model_ranges_add(&ranges, first, count, value);
      }
    }
    for (uint32_t id = 0; id < IDS; id++) {
      assert_int_equal(model_ranges_get(&ranges, id), table[id]);
    }
    test_arena_close(&arena);
  }
}

static void add_twice(void *ranges) {
  model_ranges_add(ranges, 3, 2, 1);
  model_ranges_add(ranges, 4, 2, 1);
}

static void a_taken_id_aborts(void **state) {
  (void)state;
  struct model_ranges ranges;
  struct arena arena = open_ranges(&ranges);
  assert_true(test_dies(add_twice, &ranges));
  test_arena_close(&arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(copies_that_come_one_by_one_are_one_range),
      cmocka_unit_test(random_ranges_match_a_table),
      cmocka_unit_test(a_taken_id_aborts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
