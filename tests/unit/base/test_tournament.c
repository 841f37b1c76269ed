#include "base/tournament.h"

#include "base/prng.h"
#include "support/cmocka.h"
#include "support/death.h"
#include "support/memory.h"

static struct arena open_tournament(struct tournament *tournament, uint32_t capacity) {
  struct arena counting;
  arena_init_counting(&counting);
  tournament_init(tournament, &counting, capacity);
  struct arena arena = test_arena_open(counting.used_bytes);
  tournament_init(tournament, &arena, capacity);
  return arena;
}

static void nobody_takes_part_at_first(void **state) {
  (void)state;
  for (uint32_t capacity = 0; capacity < 70; capacity += 23) {
    struct tournament tournament;
    struct arena arena = open_tournament(&tournament, capacity);
    assert_int_equal(tournament_first_key(&tournament), INT64_MAX);
    for (uint32_t i = 0; i < capacity; i++) {
      assert_int_equal(tournament_key(&tournament, i), INT64_MAX);
    }
    test_arena_close(&arena);
  }
}

static void of_equal_keys_the_lowest_number_wins(void **state) {
  (void)state;
  struct tournament tournament;
  struct arena arena = open_tournament(&tournament, 600);
  static const uint32_t entrants[] = {599, 64, 513, 63, 8, 7};
  for (size_t i = 0; i < sizeof(entrants) / sizeof(entrants[0]); i++) {
    tournament_set(&tournament, entrants[i], -5);
    assert_int_equal(tournament_first_key(&tournament), -5);
    /* 513 comes after 64, which stays. */
    assert_int_equal(tournament_first(&tournament), i == 2 ? 64 : entrants[i]);
  }
  tournament_set(&tournament, 7, INT64_MAX);
  assert_int_equal(tournament_first(&tournament), 8);
  test_arena_close(&arena);
}

static void random_changes_match_a_scan(void **state) {
  (void)state;
  static const uint32_t capacities[] = {1, 2, 7, 8, 9, 64, 65, 300, 513};
  for (size_t c = 0; c < sizeof(capacities) / sizeof(capacities[0]); c++) {
    const uint32_t capacity = capacities[c];
    struct tournament tournament;
    struct arena arena = open_tournament(&tournament, capacity);
    struct prng prng;
    prng_init(&prng, 3, c);
    for (int step = 0; step < 4000; step++) {
      const uint32_t entrant = (uint32_t)prng_below(&prng, capacity);
      const int64_t key =
          prng_below(&prng, 3) == 0 ? INT64_MAX : (int64_t)prng_below(&prng, 40) - 20;
      tournament_set(&tournament, entrant, key);
      assert_int_equal(tournament_key(&tournament, entrant), key);
      uint32_t first = 0;
      for (uint32_t i = 1; i < capacity; i++) {
        first = tournament_key(&tournament, i) < tournament_key(&tournament, first) ? i : first;
      }
      assert_int_equal(tournament_first_key(&tournament), tournament_key(&tournament, first));
      if (tournament_first_key(&tournament) != INT64_MAX) {
        assert_int_equal(tournament_first(&tournament), first);
      }
    }
    test_arena_close(&arena);
  }
}

static void set_beyond(void *tournament) {
  tournament_set(tournament, 9, 1);
}

static void a_number_beyond_the_capacity_aborts(void **state) {
  (void)state;
  struct tournament tournament;
  struct arena arena = open_tournament(&tournament, 9);
  assert_true(test_dies(set_beyond, &tournament));
  test_arena_close(&arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(nobody_takes_part_at_first),
      cmocka_unit_test(of_equal_keys_the_lowest_number_wins),
      cmocka_unit_test(random_changes_match_a_scan),
      cmocka_unit_test(a_number_beyond_the_capacity_aborts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
