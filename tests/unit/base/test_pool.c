#include "base/pool.h"

#include <string.h>

#include "base/prng.h"
#include "support/cmocka.h"
#include "support/death.h"
#include "support/memory.h"

enum { CAPACITY = 37, OBJECT_BYTES = 24 };

struct fixture {
  struct arena arena;
  struct pool pool;
};

static struct fixture open_pool(uint32_t capacity) {
  struct fixture fixture;
  struct arena counting;
  arena_init_counting(&counting);
  pool_init(&fixture.pool, &counting, capacity, OBJECT_BYTES);
  fixture.arena = test_arena_open(counting.used_bytes);
  pool_init(&fixture.pool, &fixture.arena, capacity, OBJECT_BYTES);
  return fixture;
}

static void hands_out_all_then_none(void **state) {
  (void)state;
  struct fixture fixture = open_pool(CAPACITY);
  for (uint32_t i = 0; i < CAPACITY; i++) {
    unsigned char *object = pool_take(&fixture.pool);
    assert_non_null(object);
    assert_int_equal((uintptr_t)object % 8, 0);
    assert_int_equal(pool_index(&fixture.pool, object), i);
    memset(object, 0xff, OBJECT_BYTES);
  }
  assert_null(pool_take(&fixture.pool));
  assert_int_equal(fixture.pool.taken_count, CAPACITY);
  test_arena_close(&fixture.arena);
  struct fixture empty = open_pool(0);
  assert_null(pool_take(&empty.pool));
  test_arena_close(&empty.arena);
}

static void a_stale_id_finds_nothing(void **state) {
  (void)state;
  struct fixture fixture = open_pool(CAPACITY);
  void *object = pool_take(&fixture.pool);
  const uint64_t id = pool_id(&fixture.pool, object);
  assert_int_not_equal(id, 0);
  assert_ptr_equal(pool_find(&fixture.pool, id), object);
  pool_give(&fixture.pool, object);
  assert_null(pool_find(&fixture.pool, id));
  void *again = pool_take(&fixture.pool);
  assert_ptr_equal(again, object);
  assert_null(pool_find(&fixture.pool, id));
  assert_int_not_equal(pool_id(&fixture.pool, again), id);
  assert_null(pool_find(&fixture.pool, 0));
  assert_null(pool_find(&fixture.pool, UINT64_MAX));
  assert_null(pool_find(&fixture.pool, CAPACITY));
  test_arena_close(&fixture.arena);
}

static void generation_never_makes_id_zero(void **state) {
  (void)state;
  struct fixture fixture = open_pool(1);
  ((struct pool_slot *)(void *)fixture.pool.slots)->generation = UINT32_MAX;
  void *object = pool_take(&fixture.pool);
  assert_int_not_equal(pool_id(&fixture.pool, object), 0);
  test_arena_close(&fixture.arena);
}

static void random_takes_and_gives_match_a_set(void **state) {
  (void)state;
  struct fixture fixture = open_pool(CAPACITY);
  struct prng prng;
  prng_init(&prng, 4, 4);
  uint64_t ids[CAPACITY] = {0};
  uint32_t marks[CAPACITY] = {0};
  uint32_t taken = 0;
  for (uint32_t step = 1; step < 20000; step++) {
    const uint32_t index = (uint32_t)prng_below(&prng, CAPACITY);
    if (ids[index] != 0 && prng_below(&prng, 2) == 0) {
      uint32_t *object = pool_find(&fixture.pool, ids[index]);
      assert_non_null(object);
      assert_int_equal(object[1], marks[index]);
      pool_give(&fixture.pool, object);
      assert_null(pool_at(&fixture.pool, index));
      ids[index] = 0;
      taken--;
    } else if (taken < CAPACITY) {
      uint32_t *object = pool_take(&fixture.pool);
      assert_int_equal(object[0] | object[1] | object[5], 0);
      const uint32_t at = pool_index(&fixture.pool, object);
      assert_int_equal(ids[at], 0);
      assert_ptr_equal(pool_at(&fixture.pool, at), object);
      object[1] = step;
      marks[at] = step;
      ids[at] = pool_id(&fixture.pool, object);
      taken++;
    }
    assert_int_equal(fixture.pool.taken_count, taken);
  }
  test_arena_close(&fixture.arena);
}

static void give_twice(void *fixture) {
  struct pool *pool = &((struct fixture *)fixture)->pool;
  void *object = pool_take(pool);
  pool_give(pool, object);
  pool_give(pool, object);
}

static void give_foreign(void *fixture) {
  struct pool *pool = &((struct fixture *)fixture)->pool;
  pool_give(pool, pool->slots + pool->slot_bytes * CAPACITY + sizeof(struct pool_slot));
}

static void misuse_aborts(void **state) {
  (void)state;
  struct fixture fixture = open_pool(CAPACITY);
  assert_true(test_dies(give_twice, &fixture));
  assert_true(test_dies(give_foreign, &fixture));
  test_arena_close(&fixture.arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(hands_out_all_then_none),
      cmocka_unit_test(a_stale_id_finds_nothing),
      cmocka_unit_test(generation_never_makes_id_zero),
      cmocka_unit_test(random_takes_and_gives_match_a_set),
      cmocka_unit_test(misuse_aborts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
