#include "simulator/local_clock.h"

#include "base/prng.h"
#include "support/cmocka.h"

static const int64_t DRIFTS_PPB[] = {0, 1, -1, 50000, -50000, 1000000, -1000000};

static void skew_and_drift_add_up(void **state) {
  (void)state;
  const struct local_clock clock = {.skew_ns = -5000, .drift_ppb = 50000};
  assert_int_equal(local_clock_read(&clock, INSTANT_ZERO).ns, -5000);
  assert_int_equal(local_clock_read(&clock, (struct instant){NS_PER_S}).ns,
                   NS_PER_S + 50000 - 5000);
  const int64_t day_ns = 86400 * NS_PER_S;
  assert_int_equal(local_clock_read(&clock, (struct instant){day_ns}).ns,
                   day_ns + INT64_C(86400) * 50000 - 5000);
}

static void it_never_goes_back(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof(DRIFTS_PPB) / sizeof(DRIFTS_PPB[0]); i++) {
    const struct local_clock clock = {.skew_ns = 12345, .drift_ppb = DRIFTS_PPB[i]};
    /* Across a whole second, where the formula changes its parts. */
    struct instant before = local_clock_read(&clock, (struct instant){7 * NS_PER_S - 2000});
    for (int64_t ns = 7 * NS_PER_S - 1999; ns < 7 * NS_PER_S + 2000; ns++) {
      const struct instant now = local_clock_read(&clock, (struct instant){ns});
      assert_true(now.ns >= before.ns);
      before = now;
    }
  }
}

static void when_is_the_first_moment_that_shows_it(void **state) {
  (void)state;
  struct prng prng;
  prng_init(&prng, 5, 0);
  for (size_t i = 0; i < sizeof(DRIFTS_PPB) / sizeof(DRIFTS_PPB[0]); i++) {
    const struct local_clock clock = {.skew_ns = -777777777, .drift_ppb = DRIFTS_PPB[i]};
    for (int draw = 0; draw < 2000; draw++) {
      const struct instant local = {
          (int64_t)prng_below(&prng, UINT64_C(86400) * (uint64_t)NS_PER_S)};
      const struct instant at = local_clock_when(&clock, local);
      assert_true(local_clock_read(&clock, at).ns >= local.ns);
      assert_true(local_clock_read(&clock, (struct instant){at.ns - 1}).ns < local.ns);
    }
  }
}

static void never_stays_never(void **state) {
  (void)state;
  const struct local_clock clock = {.skew_ns = 99, .drift_ppb = 1000};
  assert_int_equal(local_clock_when(&clock, INSTANT_NEVER).ns, INT64_MAX);
  assert_int_equal(local_clock_when(&clock, INSTANT_ZERO).ns, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(skew_and_drift_add_up),
      cmocka_unit_test(it_never_goes_back),
      cmocka_unit_test(when_is_the_first_moment_that_shows_it),
      cmocka_unit_test(never_stays_never),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
