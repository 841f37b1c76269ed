#include "base/ring.h"

#include "base/prng.h"
#include "support/cmocka.h"
#include "support/memory.h"

static struct ring open_ring(struct arena *arena, uint32_t capacity) {
  struct ring ring;
  struct arena counting;
  arena_init_counting(&counting);
  ring_init(&ring, &counting, capacity, sizeof(uint64_t));
  *arena = test_arena_open(counting.used_bytes);
  ring_init(&ring, arena, capacity, sizeof(uint64_t));
  return ring;
}

static void full_and_empty_are_answers(void **state) {
  (void)state;
  struct arena arena;
  struct ring ring = open_ring(&arena, 2);
  uint64_t value = 1;
  assert_false(ring_pop(&ring, &value));
  assert_int_equal(value, 1);
  assert_null(ring_peek(&ring, 0));
  assert_true(ring_push(&ring, &value));
  value = 2;
  assert_true(ring_push(&ring, &value));
  value = 3;
  assert_false(ring_push(&ring, &value));
  assert_int_equal(*(uint64_t *)ring_peek(&ring, 1), 2);
  assert_null(ring_peek(&ring, 2));
  assert_true(ring_pop(&ring, &value));
  assert_int_equal(value, 1);
  test_arena_close(&arena);
  struct ring none = open_ring(&arena, 0);
  assert_false(ring_push(&none, &value));
  assert_false(ring_pop(&none, &value));
  test_arena_close(&arena);
}

static void random_use_keeps_order(void **state) {
  (void)state;
  for (uint32_t capacity = 1; capacity < 20; capacity++) {
    struct arena arena;
    struct ring ring = open_ring(&arena, capacity);
    struct prng prng;
    prng_init(&prng, 5, capacity);
    uint64_t pushed = 0;
    uint64_t popped = 0;
    for (int step = 0; step < 3000; step++) {
      if (prng_below(&prng, 2) == 0) {
        const bool has_room = pushed - popped < capacity;
        assert_int_equal(ring_push(&ring, &pushed), has_room);
        pushed += has_room;
      } else {
        uint64_t value = 0;
        const bool has_any = pushed > popped;
        assert_int_equal(ring_pop(&ring, &value), has_any);
        if (has_any) {
          assert_int_equal(value, popped);
        }
        popped += has_any;
      }
      assert_int_equal(ring.count, pushed - popped);
      for (uint32_t i = 0; i < ring.count; i++) {
        assert_int_equal(*(uint64_t *)ring_peek(&ring, i), popped + i);
      }
    }
    test_arena_close(&arena);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(full_and_empty_are_answers),
      cmocka_unit_test(random_use_keeps_order),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
