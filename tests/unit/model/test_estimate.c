#include "model/estimate.h"

#include "base/prng.h"
#include "support/cmocka.h"

enum { MHZ = 1380 };

static void the_prior_holds_until_the_first_measurement(void **state) {
  (void)state;
  struct estimate estimate;
  struct estimate_window window;
  estimate_init(&estimate, &window, duration_ms(10), MHZ);
  assert_int_equal(estimate_at(&estimate, MHZ).ns, 10 * NS_PER_MS);
  estimate_on_measured(&estimate, &window, ESTIMATE_LARGEST, duration_ms(3), MHZ);
  assert_int_equal(estimate_at(&estimate, MHZ).ns, 3 * NS_PER_MS);
}

static void a_slow_run_counts_for_ten(void **state) {
  (void)state;
  struct estimate estimate;
  struct estimate_window window;
  estimate_init(&estimate, &window, duration_ms(3), MHZ);
  estimate_on_measured(&estimate, &window, ESTIMATE_LARGEST, duration_ms(7), MHZ);
  for (int i = 0; i < ESTIMATE_WINDOW - 1; i++) {
    estimate_on_measured(&estimate, &window, ESTIMATE_LARGEST, duration_ms(3), MHZ);
    assert_int_equal(estimate_at(&estimate, MHZ).ns, 7 * NS_PER_MS);
  }
  estimate_on_measured(&estimate, &window, ESTIMATE_LARGEST, duration_ms(3), MHZ);
  assert_int_equal(estimate_at(&estimate, MHZ).ns, 3 * NS_PER_MS);
}

static void a_clock_change_rescales_at_once(void **state) {
  (void)state;
  struct estimate estimate;
  struct estimate_window window;
  estimate_init(&estimate, &window, duration_ms(4), 1000);
  estimate_on_measured(&estimate, &window, ESTIMATE_LARGEST, duration_ms(4), 1000);
  assert_int_equal(estimate_at(&estimate, 500).ns, 8 * NS_PER_MS);
  assert_int_equal(estimate_at(&estimate, 2000).ns, 2 * NS_PER_MS);
  /* A longer run at a lower clock is less work. */
  estimate_on_measured(&estimate, &window, ESTIMATE_LARGEST, duration_ms(6), 500);
  assert_int_equal(estimate_at(&estimate, 1000).ns, 4 * NS_PER_MS);
}

static void rounds_up_and_is_at_least_one(void **state) {
  (void)state;
  struct estimate estimate;
  struct estimate_window window;
  estimate_init(&estimate, &window, duration_ns(-5), 1);
  assert_int_equal(estimate_at(&estimate, 1380).ns, 1);
  estimate_on_measured(&estimate, &window, ESTIMATE_LARGEST, duration_ns(0), 3);
  assert_int_equal(estimate_at(&estimate, 1).ns, 3);
  assert_int_equal(estimate_at(&estimate, 2).ns, 2);
}

static void matches_the_largest_of_the_last_ten(void **state) {
  (void)state;
  enum { RUNS = 2000 };
  static int64_t work[RUNS];
  struct prng prng;
  prng_init(&prng, 11, 0);
  struct estimate estimate;
  struct estimate_window window;
  estimate_init(&estimate, &window, duration_ms(1), MHZ);
  for (int i = 0; i < RUNS; i++) {
    const int64_t ns = 1 + (int64_t)prng_below(&prng, 1000000);
    const uint32_t clock_mhz = 1000 + (uint32_t)prng_below(&prng, 500);
    work[i] = ns * clock_mhz;
    estimate_on_measured(&estimate, &window, ESTIMATE_LARGEST, duration_ns(ns), clock_mhz);
    int64_t largest = 0;
    for (int j = i; j >= 0 && j > i - ESTIMATE_WINDOW; j--) {
      largest = work[j] > largest ? work[j] : largest;
    }
    assert_int_equal(estimate_at(&estimate, MHZ).ns, (largest + MHZ - 1) / MHZ);
  }
}

static void matches_the_median_of_the_last_ten(void **state) {
  (void)state;
  enum { RUNS = 2000 };
  static int64_t work[RUNS];
  struct prng prng;
  prng_init(&prng, 12, 0);
  struct estimate estimate;
  struct estimate_window window;
  estimate_init(&estimate, &window, duration_ms(1), MHZ);
  for (int i = 0; i < RUNS; i++) {
    const int64_t ns = 1 + (int64_t)prng_below(&prng, i % 2 == 0 ? 1000000 : 5);
    work[i] = ns * MHZ;
    estimate_on_measured(&estimate, &window, ESTIMATE_MEDIAN, duration_ns(ns), MHZ);
    const int first = i < ESTIMATE_WINDOW ? 0 : i - ESTIMATE_WINDOW + 1;
    const int count = i - first + 1;
    int64_t median = -1;
    for (int j = first; j <= i; j++) { /* the one that count / 2 others stand in front of */
      int before = 0;
      for (int k = first; k <= i; k++) {
        before += work[k] < work[j] || (work[k] == work[j] && k < j);
      }
      median = before == count / 2 ? work[j] : median;
    }
    assert_int_equal(estimate_at(&estimate, MHZ).ns, (median + MHZ - 1) / MHZ);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_prior_holds_until_the_first_measurement),
      cmocka_unit_test(a_slow_run_counts_for_ten),
      cmocka_unit_test(a_clock_change_rescales_at_once),
      cmocka_unit_test(rounds_up_and_is_at_least_one),
      cmocka_unit_test(matches_the_largest_of_the_last_ten),
      cmocka_unit_test(matches_the_median_of_the_last_ten),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
