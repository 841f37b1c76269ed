#include "base/arena.h"

#include <string.h>

#include "support/cmocka.h"
#include "support/death.h"
#include "support/memory.h"

static void parts_are_aligned_and_apart(void **state) {
  (void)state;
  struct arena arena = test_arena_open(1024);
  unsigned char *first = arena_take(&arena, 3, 7);
  unsigned char *second = arena_take(&arena, 1, 64);
  unsigned char *third = arena_take(&arena, 65, 1);
  assert_int_equal((uintptr_t)first % 64, 0);
  assert_ptr_equal(second, first + 64);
  assert_ptr_equal(third, second + 64);
  assert_int_equal(arena.used_bytes, 64 + 64 + 128);
  test_arena_close(&arena);
}

static size_t carve_some(struct arena *arena) {
  arena_take(arena, 10, 10);
  arena_take(arena, 0, 8);
  arena_take(arena, 1, 1);
  arena_take(arena, 64, 2);
  return arena->used_bytes;
}

static void counting_agrees_with_carving(void **state) {
  (void)state;
  struct arena counting;
  arena_init_counting(&counting);
  assert_true(arena_is_counting(&counting));
  assert_null(arena_take(&counting, 0, 8));
  const size_t bytes = carve_some(&counting);
  struct arena real = test_arena_open(bytes);
  assert_false(arena_is_counting(&real));
  assert_int_equal(carve_some(&real), bytes);
  assert_int_equal(real.used_bytes, real.capacity_bytes);
  test_arena_close(&real);
}

static void take_one_more(void *arena) {
  arena_take(arena, 1, 1);
}

static void take_overflowing(void *arena) {
  arena_take(arena, SIZE_MAX / 2, 4);
}

static void init_misaligned(void *memory) {
  struct arena arena;
  arena_init(&arena, (unsigned char *)memory + 8, 64);
}

static void bugs_of_sizing_abort(void **state) {
  (void)state;
  struct arena arena = test_arena_open(128);
  arena_take(&arena, 2, 64);
  assert_true(test_dies(take_one_more, &arena));
  assert_true(test_dies(take_overflowing, &arena));
  assert_true(test_dies(init_misaligned, arena.memory));
  test_arena_close(&arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(parts_are_aligned_and_apart),
      cmocka_unit_test(counting_agrees_with_carving),
      cmocka_unit_test(bugs_of_sizing_abort),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
