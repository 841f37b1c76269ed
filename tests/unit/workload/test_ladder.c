#include "workload/ladder.h"

#include "support/cmocka.h"
#include "support/memory.h"

static struct ladder ladder_of(struct arena *arena, const struct ladder_config *config) {
  *arena = test_arena_open(1 << 20);
  struct ladder ladder;
  ladder_init(&ladder, arena, config);
  return ladder;
}

static void steps_multiply_up_to_the_end(void **state) {
  (void)state;
  const struct ladder_config config = {
      .start = 1, .end = 100, .factor = 1.5, .period = duration_s(30)};
  struct arena arena;
  const struct ladder ladder = ladder_of(&arena, &config);
  assert_int_equal(ladder.step_count, 12);
  assert_true(ladder.values[0] == 1);
  assert_true(ladder.values[11] > 86 && ladder.values[11] < 87);
  assert_int_equal(ladder_step_at(&ladder, INSTANT_ZERO), 0);
  assert_int_equal(ladder_step_at(&ladder, (struct instant){30 * NS_PER_S - 1}), 0);
  assert_int_equal(ladder_step_at(&ladder, (struct instant){30 * NS_PER_S}), 1);
  assert_int_equal(ladder_step_at(&ladder, (struct instant){360 * NS_PER_S}), 12);
  assert_int_equal(ladder_end(&ladder).ns, 360 * NS_PER_S);
  test_arena_close(&arena);
}

static void steps_add_and_fall(void **state) {
  (void)state;
  const struct ladder_config sum = {
      .start = 10, .end = 30, .factor = 10, .is_sum = true, .period = duration_s(1)};
  assert_int_equal(ladder_step_count(&sum), 3);
  const struct ladder_config falls = {
      .start = 30, .end = 10, .factor = -10, .is_sum = true, .period = duration_s(1)};
  assert_int_equal(ladder_step_count(&falls), 3);
  const struct ladder_config halves = {
      .start = 8, .end = 1, .factor = 0.5, .period = duration_s(1)};
  assert_int_equal(ladder_step_count(&halves), 4);
  /* Ten times 0.1 is not quite 1: rounding must not cost the last step. */
  const struct ladder_config tenths = {
      .start = 0.1, .end = 1, .factor = 0.1, .is_sum = true, .period = duration_s(1)};
  assert_int_equal(ladder_step_count(&tenths), 10);
}

static void ladders_that_lead_nowhere_have_no_steps(void **state) {
  (void)state;
  const struct ladder_config nowhere[] = {
      {.start = 1, .end = 100, .factor = 1},
      {.start = 1, .end = 100, .factor = 0.5},
      {.start = 1, .end = 100, .factor = -3},
      {.start = 1, .end = 100, .factor = 0, .is_sum = true},
      {.start = 1, .end = 100, .factor = -1, .is_sum = true},
      {.start = 1, .end = 100, .factor = 0.0001, .is_sum = true},
      {.start = 100, .end = 1, .factor = 2},
      {.start = 1, .end = 100, .factor = 1.0000001},
  };
  for (size_t i = 0; i < sizeof(nowhere) / sizeof(nowhere[0]); i++) {
    assert_int_equal(ladder_step_count(&nowhere[i]), 0);
  }
  const struct ladder_config still = {.start = 5, .end = 5, .factor = 1};
  assert_int_equal(ladder_step_count(&still), 1);
}

static void a_repeating_ladder_does_not_end(void **state) {
  (void)state;
  const struct ladder_config config = {
      .start = 4, .end = 128, .factor = 2, .repeats = true, .period = duration_s(10)};
  struct arena arena;
  const struct ladder ladder = ladder_of(&arena, &config);
  assert_int_equal(ladder.step_count, 6);
  assert_int_equal(ladder_step_at(&ladder, (struct instant){59 * NS_PER_S}), 5);
  assert_int_equal(ladder_step_at(&ladder, (struct instant){60 * NS_PER_S}), 0);
  assert_int_equal(ladder_end(&ladder).ns, INSTANT_NEVER.ns);
  test_arena_close(&arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(steps_multiply_up_to_the_end),
      cmocka_unit_test(steps_add_and_fall),
      cmocka_unit_test(ladders_that_lead_nowhere_have_no_steps),
      cmocka_unit_test(a_repeating_ladder_does_not_end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
