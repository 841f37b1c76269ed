#include "client/pacing.h"

#include "support/cmocka.h"

/* Turns of `count` requests every `gap_us` for a second; returns the pause at the end. */
static int64_t pause_after_us(uint32_t count, int64_t gap_us) {
  struct pacing pacing = {.rate_per_s = 0};
  struct instant now = INSTANT_ZERO;
  while (now.ns < NS_PER_S) {
    now = instant_add(now, duration_us(gap_us));
    pacing_on_turn(&pacing, now, count);
  }
  return instant_since(pacing_next_turn(&pacing), now).ns / NS_PER_US;
}

static void test_low_rates_wake_for_each_request(void **state) {
  (void)state;
  assert_int_equal(pause_after_us(1, 10000), 0);
  assert_int_equal(pause_after_us(1, 1000), 0);
  assert_int_equal(pause_after_us(1, 510), 0);
}

static void test_pause_grows_with_the_rate_up_to_its_maximum(void **state) {
  (void)state;
  const int64_t at_5000 = pause_after_us(1, 200);
  const int64_t at_10000 = pause_after_us(2, 200);
  assert_true(at_5000 > 0);
  assert_true(at_10000 > at_5000);
  assert_true(at_10000 < PACING_PAUSE_MAX_US);
  assert_int_equal(pause_after_us(8, 200), PACING_PAUSE_MAX_US);
  assert_int_equal(pause_after_us(1000, 200), PACING_PAUSE_MAX_US);
}

static void test_pause_follows_when_the_rate_falls(void **state) {
  (void)state;
  struct pacing pacing = {.rate_per_s = 0};
  struct instant now = INSTANT_ZERO;
  for (int i = 0; i < 1000; i++) {
    now = instant_add(now, duration_us(100));
    pacing_on_turn(&pacing, now, 4);
  }
  assert_true(instant_after(pacing_next_turn(&pacing), now));
  for (int i = 0; i < 20; i++) {
    now = instant_add(now, duration_ms(5));
    pacing_on_turn(&pacing, now, 1);
  }
  assert_int_equal(pacing_next_turn(&pacing).ns, now.ns);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_low_rates_wake_for_each_request),
      cmocka_unit_test(test_pause_grows_with_the_rate_up_to_its_maximum),
      cmocka_unit_test(test_pause_follows_when_the_rate_falls),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
