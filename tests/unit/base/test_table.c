#include "base/table.h"

#include "base/prng.h"
#include "support/cmocka.h"
#include "support/death.h"
#include "support/memory.h"

static struct table open_table(struct arena *arena, uint32_t capacity) {
  struct table table;
  struct arena counting;
  arena_init_counting(&counting);
  table_init(&table, &counting, capacity);
  *arena = test_arena_open(counting.used_bytes);
  table_init(&table, arena, capacity);
  return table;
}

static void any_key_is_allowed(void **state) {
  (void)state;
  struct arena arena;
  struct table table = open_table(&arena, 3);
  assert_int_equal(table_get(&table, 0), TABLE_NONE);
  table_put(&table, 0, 10);
  table_put(&table, UINT64_MAX, 11);
  assert_int_equal(table_get(&table, 0), 10);
  assert_int_equal(table_get(&table, UINT64_MAX), 11);
  table_put(&table, 0, 12);
  assert_int_equal(table.count, 2);
  assert_int_equal(table_remove(&table, 0), 12);
  assert_int_equal(table_remove(&table, 0), TABLE_NONE);
  assert_int_equal(table_get(&table, UINT64_MAX), 11);
  assert_int_equal(table.count, 1);
  test_arena_close(&arena);
}

/* Few slots and few keys make long probe runs that wrap around: where deletion by shifting goes
 * wrong. */
static void random_use_matches_an_array(uint32_t capacity, uint32_t keys_count, uint64_t stream) {
  struct arena arena;
  struct table table = open_table(&arena, capacity);
  uint32_t expected[4096];
  assert_true(keys_count <= 4096);
  for (uint32_t i = 0; i < keys_count; i++) {
    expected[i] = TABLE_NONE;
  }
  struct prng prng;
  prng_init(&prng, 6, stream);
  uint32_t count = 0;
  for (int step = 0; step < 20000; step++) {
    const uint32_t index = (uint32_t)prng_below(&prng, keys_count);
    const uint64_t key = (uint64_t)index << 32 | (index % 7);
    if (prng_below(&prng, 2) == 0) {
      assert_int_equal(table_remove(&table, key), expected[index]);
      count -= expected[index] != TABLE_NONE;
      expected[index] = TABLE_NONE;
    } else if (expected[index] != TABLE_NONE || count < capacity) {
      count += expected[index] == TABLE_NONE;
      expected[index] = (uint32_t)step;
      table_put(&table, key, (uint32_t)step);
    }
    assert_int_equal(table.count, count);
    const uint32_t other = (uint32_t)prng_below(&prng, keys_count);
    assert_int_equal(table_get(&table, (uint64_t)other << 32 | (other % 7)), expected[other]);
    if (step % 256 == 0) {
      for (uint32_t i = 0; i < keys_count; i++) {
        assert_int_equal(table_get(&table, (uint64_t)i << 32 | (i % 7)), expected[i]);
      }
    }
  }
  test_arena_close(&arena);
}

static void random_use(void **state) {
  (void)state;
  random_use_matches_an_array(4, 12, 0);
  random_use_matches_an_array(8, 8, 1);
  random_use_matches_an_array(32, 100, 2);
  random_use_matches_an_array(1000, 4096, 3);
}

static void put_into_full(void *table) {
  table_put(table, 12345, 1);
}

static void put_none(void *table) {
  table_put(table, 0, TABLE_NONE);
}

static void misuse_aborts(void **state) {
  (void)state;
  struct arena arena;
  struct table table = open_table(&arena, 1);
  table_put(&table, 0, 0);
  table_put(&table, 0, 1); /* replacing needs no room */
  assert_true(test_dies(put_into_full, &table));
  assert_true(test_dies(put_none, &table));
  test_arena_close(&arena);
}

static void what_stands_in_it_stays_when_it_grows(void **state) {
  (void)state;
  enum { KEYS = 3 * TABLE_SLOTS_FIRST }; /* through three regions, with the last half full */
  struct arena arena;
  struct table table = open_table(&arena, KEYS);
  for (uint32_t i = 0; i < KEYS; i++) {
    table_put(&table, (uint64_t)i << 32, i);
    if (i % 3 == 2) { /* some leave meanwhile */
      assert_int_equal(table_remove(&table, (uint64_t)(i - 1) << 32), i - 1);
    }
  }
  assert_int_equal(table.count, KEYS / 3 * 2);
  for (uint32_t i = 0; i < KEYS; i++) {
    assert_int_equal(table_get(&table, (uint64_t)i << 32), i % 3 == 1 ? TABLE_NONE : i);
  }
  for (uint32_t i = 1; i < KEYS; i += 3) { /* and all are in it that may be */
    table_put(&table, (uint64_t)i << 32, i);
  }
  assert_int_equal(table.count, KEYS);
  assert_int_equal(table_get(&table, (uint64_t)(KEYS - 1) << 32), KEYS - 1);
  test_arena_close(&arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(any_key_is_allowed),
      cmocka_unit_test(what_stands_in_it_stays_when_it_grows),
      cmocka_unit_test(random_use),
      cmocka_unit_test(misuse_aborts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
