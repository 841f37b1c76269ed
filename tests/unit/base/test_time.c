#include "base/time.h"

#include "support/cmocka.h"

static void units(void **state) {
  (void)state;
  assert_int_equal(duration_ns(7).ns, 7);
  assert_int_equal(duration_us(7).ns, 7000);
  assert_int_equal(duration_ms(-7).ns, -7000000);
  assert_int_equal(duration_s(7).ns, INT64_C(7000000000));
}

static void sums_and_order(void **state) {
  (void)state;
  const struct instant t = {100};
  const struct instant u = instant_add(t, duration_ns(5));
  assert_int_equal(u.ns, 105);
  assert_int_equal(instant_sub(u, duration_ns(5)).ns, 100);
  assert_int_equal(instant_since(u, t).ns, 5);
  assert_int_equal(instant_since(t, u).ns, -5);
  assert_true(instant_before(t, u));
  assert_false(instant_before(t, t));
  assert_true(instant_after(u, t));
  assert_false(instant_after(u, u));
  assert_int_equal(instant_min(t, u).ns, 100);
  assert_int_equal(instant_max(t, u).ns, 105);
  assert_int_equal(duration_min(duration_ns(-1), duration_ns(1)).ns, -1);
  assert_int_equal(duration_max(duration_ns(-1), duration_ns(1)).ns, 1);
  assert_int_equal(duration_sub(duration_add(duration_ns(3), duration_ns(4)), duration_ns(5)).ns,
                   2);
}

static void never_stays_never(void **state) {
  (void)state;
  assert_int_equal(instant_add(INSTANT_NEVER, duration_ns(1)).ns, INT64_MAX);
  assert_int_equal(instant_add((struct instant){INT64_MAX - 1}, duration_ns(1)).ns, INT64_MAX);
  assert_int_equal(instant_add((struct instant){INT64_MAX - 1}, duration_s(100)).ns, INT64_MAX);
  assert_int_equal(instant_add(INSTANT_NEVER, duration_ns(-1)).ns, INT64_MAX - 1);
  assert_true(instant_before((struct instant){INT64_MAX - 1}, INSTANT_NEVER));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(units),
      cmocka_unit_test(sums_and_order),
      cmocka_unit_test(never_stays_never),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
