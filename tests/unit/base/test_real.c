#include "base/real.h"

#include <math.h>

#include "base/prng.h"
#include "support/cmocka.h"

enum { DRAWS = 100000 };

/* Against the C library's, within what both may be off by. */
static void assert_near(double actual, double expected, double scale) {
  const double error = fabs(actual - expected);
  if (error > 1e-15 * scale) {
    fail_msg("%.17g instead of %.17g", actual, expected);
  }
}

static double draw(struct prng *prng, double low, double high) {
  return low + (high - low) * prng_unit(prng);
}

static void logarithms_are_right(void **state) {
  (void)state;
  struct prng prng;
  prng_init(&prng, 1, 0);
  for (int i = 0; i < DRAWS; i++) {
    const double x = prng_unit(&prng) + 0x1.0p-54;
    assert_near(real_log(x), log(x), fmax(fabs(log(x)), 1));
    const double wide = exp(draw(&prng, -700, 700));
    assert_near(real_log(wide), log(wide), fmax(fabs(log(wide)), 1));
  }
  assert_true(real_log(1) == 0);
  assert_near(real_log(0x1.0p-54), -54 * log(2), 38);
  assert_near(real_log(1.7e308), log(1.7e308), 710);
}

static void exponentials_are_right(void **state) {
  (void)state;
  struct prng prng;
  prng_init(&prng, 2, 0);
  for (int i = 0; i < DRAWS; i++) {
    const double x = draw(&prng, -50, 50);
    assert_near(real_exp(x), exp(x), exp(x));
  }
  assert_true(real_exp(0) == 1);
  assert_true(real_exp(-701) == 0);
  assert_near(real_pow(10, 2.5), pow(10, 2.5), 400);
  assert_true(real_pow(0, 0.5) == 0);
}

static void circles_are_right(void **state) {
  (void)state;
  struct prng prng;
  prng_init(&prng, 3, 0);
  const double two_pi = 2 * acos(-1);
  for (int i = 0; i < DRAWS; i++) {
    const double turns = prng_unit(&prng);
    /* two_pi * turns is itself rounded: up to 7e-16. */
    assert_near(real_cos_turns(turns), cos(two_pi * turns), 2);
    assert_near(real_sin_turns(turns), sin(two_pi * turns), 2);
    assert_near(real_sin_turns(turns + 1000), real_sin_turns(turns), 1000);
  }
  assert_true(real_sin_turns(0) == 0 && real_cos_turns(0.25) == 0);
  assert_near(real_cos_turns(0), 1, 1);
  assert_near(real_sin_turns(0.75), -1, 1);
}

/* To the last bit, whichever compiler and library: these were computed once and are compared. */
static void results_are_the_same_everywhere(void **state) {
  (void)state;
  struct prng prng;
  prng_init(&prng, 4, 0);
  uint64_t hash = 0;
  for (int i = 0; i < DRAWS; i++) {
    const double values[] = {prng_exponential(&prng), prng_normal(&prng),
                             real_exp(draw(&prng, -20, 20))};
    for (int j = 0; j < 3; j++) {
      union {
        double value;
        uint64_t bits;
      } word = {.value = values[j]};
      hash = prng_mix(hash ^ word.bits);
    }
  }
  assert_true(hash == UINT64_C(0x638c743dc4b97a7d));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(logarithms_are_right),
      cmocka_unit_test(exponentials_are_right),
      cmocka_unit_test(circles_are_right),
      cmocka_unit_test(results_are_the_same_everywhere),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
