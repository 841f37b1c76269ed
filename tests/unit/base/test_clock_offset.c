#include "base/clock_offset.h"

#include "base/prng.h"
#include "support/cmocka.h"

/* An exchange with a peer whose clock is `offset_ns` ahead of ours. */
static bool exchange(struct clock_offset *offset, int64_t at_ns, int64_t offset_ns,
                     int64_t there_ns, int64_t held_ns, int64_t back_ns) {
  const struct instant sent = {at_ns};
  const struct instant received = {at_ns + there_ns + offset_ns};
  const struct instant answered = {received.ns + held_ns};
  const struct instant returned = {at_ns + there_ns + held_ns + back_ns};
  return clock_offset_on_exchanged(offset, sent, received, answered, returned);
}

static void knows_nothing_at_first(void **state) {
  (void)state;
  const struct clock_offset offset = {.count = 0};
  assert_int_equal(clock_offset_estimate(&offset).ns, 0);
  assert_true(clock_offset_error(&offset).ns >= NS_PER_S);
  assert_int_equal(clock_offset_to_ours(&offset, (struct instant){77}).ns, 77);
}

static void a_symmetric_path_is_exact(void **state) {
  (void)state;
  struct clock_offset offset = {.count = 0};
  assert_true(exchange(&offset, 1000, 123456, 50, 7, 50));
  assert_int_equal(clock_offset_estimate(&offset).ns, 123456);
  assert_int_equal(clock_offset_to_peers(&offset, (struct instant){10}).ns, 123466);
  assert_int_equal(clock_offset_to_ours(&offset, (struct instant){123466}).ns, 10);
  assert_true(exchange(&offset, 2000, -987654, 5, 7, 5));
  assert_int_equal(clock_offset_estimate(&offset).ns, -987654);
}

static void the_error_is_within_its_bound(void **state) {
  (void)state;
  struct prng prng;
  prng_init(&prng, 9, 9);
  struct clock_offset offset = {.count = 0};
  for (int i = 0; i < 5000; i++) {
    const int64_t there_ns = 20000 + (int64_t)(prng_exponential(&prng) * 100000.0);
    const int64_t back_ns = 20000 + (int64_t)(prng_exponential(&prng) * 100000.0);
    assert_true(exchange(&offset, i * NS_PER_S, 5 * NS_PER_MS, there_ns, 1000, back_ns));
    const int64_t error_ns = clock_offset_estimate(&offset).ns - 5 * NS_PER_MS;
    const int64_t bound_ns = clock_offset_error(&offset).ns;
    assert_true(error_ns <= bound_ns && -error_ns <= bound_ns);
  }
}

/* The best sample from before a clock was set must not count for the rest of its window. */
static void a_clock_that_is_set_is_followed_at_once(void **state) {
  (void)state;
  const int64_t jumps_ns[] = {5 * NS_PER_S, -5 * NS_PER_S, 3 * NS_PER_MS, -3 * NS_PER_MS};
  for (int i = 0; i < 4; i++) {
    struct clock_offset offset = {.count = 0};
    for (int j = 0; j < CLOCK_OFFSET_WINDOW; j++) {
      assert_true(exchange(&offset, j * NS_PER_S / 2, 100, 50000, 0, 50000));
    }
    /* A long and lopsided round trip, but not as long as that. */
    assert_true(exchange(&offset, 4 * NS_PER_S, 100 + jumps_ns[i], 300000, 0, 100000));
    assert_int_equal(clock_offset_estimate(&offset).ns, 100 + jumps_ns[i] + 100000);
    assert_int_equal(offset.count, 1);
  }
}

static void a_slow_exchange_is_no_clock_that_was_set(void **state) {
  (void)state;
  struct clock_offset offset = {.count = 0};
  assert_true(exchange(&offset, 0, 100, 50000, 0, 50000));
  assert_true(exchange(&offset, NS_PER_S, 100, 3 * NS_PER_S, 0, 50000));
  assert_true(exchange(&offset, 5 * NS_PER_S, 500100, 50000, 0, 50000)); /* 100 ppm in 5 s */
  assert_int_equal(offset.count, 3);
  assert_int_equal(clock_offset_estimate(&offset).ns, 100);
}

static void the_shortest_round_trip_of_the_window_counts(void **state) {
  (void)state;
  struct clock_offset offset = {.count = 0};
  assert_true(exchange(&offset, 0, 100, 10, 0, 10)); /* exact */
  for (int i = 1; i < CLOCK_OFFSET_WINDOW; i++) {
    assert_true(exchange(&offset, i * 1000, 100, 900, 0, 10));
    assert_int_equal(clock_offset_estimate(&offset).ns, 100);
  }
  /* The good one leaves the window. */
  assert_true(exchange(&offset, 100000, 100, 500, 0, 10));
  assert_int_equal(clock_offset_estimate(&offset).ns, 100 + (500 - 10) / 2);
}

static void drift_is_followed(void **state) {
  (void)state;
  struct clock_offset offset = {.count = 0};
  for (int i = 0; i < 1000; i++) {
    assert_true(exchange(&offset, i * NS_PER_S, i * 50000, 20000, 100, 20000));
    const int64_t lag_ns = i * 50000 - clock_offset_estimate(&offset).ns;
    assert_true(lag_ns >= 0 && lag_ns <= 50000 * CLOCK_OFFSET_WINDOW);
  }
}

static void nonsense_is_ignored(void **state) {
  (void)state;
  struct clock_offset offset = {.count = 0};
  assert_true(exchange(&offset, 0, 42, 10, 10, 10));
  assert_false(exchange(&offset, 0, 42, 10, -1, 10));    /* answered before received */
  assert_false(exchange(&offset, 0, 42, 10, 0, -11));    /* came back before it was sent */
  assert_false(exchange(&offset, 0, 42, -50, 100, -20)); /* held longer than we waited */
  assert_int_equal(clock_offset_estimate(&offset).ns, 42);
}

/* A peer may send any numbers: nothing overflows (UBSan watches). */
static void any_numbers_are_survived(void **state) {
  (void)state;
  struct prng prng;
  prng_init(&prng, 10, 10);
  const int64_t extremes[] = {INT64_MIN, INT64_MIN + 1, -1, 0, 1, INT64_MAX - 1, INT64_MAX};
  struct clock_offset offset = {.count = 0};
  for (int i = 0; i < 20000; i++) {
    int64_t t[4];
    for (int j = 0; j < 4; j++) {
      t[j] = prng_below(&prng, 3) == 0 ? extremes[prng_below(&prng, 7)] : (int64_t)prng_next(&prng);
    }
    clock_offset_on_exchanged(&offset, (struct instant){t[0]}, (struct instant){t[1]},
                              (struct instant){t[2]}, (struct instant){t[3]});
    clock_offset_to_ours(&offset, (struct instant){t[1]});
    clock_offset_to_peers(&offset, (struct instant){t[0]});
    assert_true(clock_offset_error(&offset).ns > 0);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(knows_nothing_at_first),
      cmocka_unit_test(a_symmetric_path_is_exact),
      cmocka_unit_test(the_error_is_within_its_bound),
      cmocka_unit_test(a_clock_that_is_set_is_followed_at_once),
      cmocka_unit_test(a_slow_exchange_is_no_clock_that_was_set),
      cmocka_unit_test(the_shortest_round_trip_of_the_window_counts),
      cmocka_unit_test(drift_is_followed),
      cmocka_unit_test(nonsense_is_ignored),
      cmocka_unit_test(any_numbers_are_survived),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
