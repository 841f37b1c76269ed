#include "backend/pace.h"

#include "base/prng.h"
#include "base/real.h"
#include "support/cmocka.h"

/* A link of 50 bytes a nanosecond. */
static const double NS_PER_BYTE = 0.02;
static const int64_t START_NS = 20000;
static const uint64_t MODEL_BYTES = 100000000;

static struct pace open_pace(void) {
  struct pace pace;
  pace_init(&pace, duration_ns(START_NS));
  return pace;
}

static int64_t free_ns(uint64_t bytes) {
  return START_NS + (int64_t)((double)bytes * NS_PER_BYTE);
}

static void nobody_waits_before_the_window_is_full(void **state) {
  (void)state;
  struct pace pace = open_pace();
  for (uint32_t i = 0; i < PACE_WINDOW; i++) {
    assert_int_equal(pace_least(&pace, MODEL_BYTES).ns, 0);
    pace_note(&pace, MODEL_BYTES, duration_ns(free_ns(MODEL_BYTES) + 100 * i));
  }
  assert_true(pace_least(&pace, MODEL_BYTES).ns > 0);
}

static void equal_loads_wait_for_nothing(void **state) {
  (void)state;
  struct pace pace = open_pace();
  for (uint32_t i = 0; i < 3 * PACE_WINDOW; i++) {
    const uint64_t bytes = MODEL_BYTES / 4 * (1 + i % 4);
    assert_true(pace_least(&pace, bytes).ns <= free_ns(bytes) + 1);
    pace_note(&pace, bytes, duration_ns(free_ns(bytes)));
  }
}

/* Requests come at random; each makes a LOAD 80 us longer. Of models of three sizes. */
static void one_load_in_ten_is_longer_than_the_rest(void **state) {
  (void)state;
  struct pace pace = open_pace();
  struct prng prng;
  prng_init(&prng, 1, 1);
  const uint32_t count = 20000;
  const double mean_gap_ns = 4000000;
  uint32_t longer[3] = {0};
  for (uint32_t i = 0; i < count + PACE_WINDOW; i++) {
    const uint32_t size = i % 3;
    const uint64_t bytes = MODEL_BYTES << size;
    int64_t own_ns = free_ns(bytes);
    for (double at = mean_gap_ns * prng_exponential(&prng); at < (double)free_ns(bytes);
         at += mean_gap_ns * prng_exponential(&prng)) {
      own_ns += 80000;
    }
    if (i >= PACE_WINDOW) {
      longer[size] += own_ns > pace_least(&pace, bytes).ns + 1;
      assert_true(pace_least(&pace, bytes).ns > free_ns(bytes));
    }
    pace_note(&pace, bytes, duration_ns(own_ns));
  }
  for (uint32_t size = 0; size < 3; size++) {
    const double share = (double)longer[size] / (count / 3.0);
    assert_true(share > 0.03 && share < 0.2);
  }
}

static void room_grows_with_the_square_root(void **state) {
  (void)state;
  struct pace pace = open_pace();
  for (uint32_t i = 0; i < PACE_WINDOW; i++) { /* every second meets inputs of 80 us */
    pace_note(&pace, MODEL_BYTES, duration_ns(free_ns(MODEL_BYTES) + (i % 2 == 0 ? 0 : 80000)));
  }
  const double room = (double)(pace_least(&pace, MODEL_BYTES).ns - free_ns(MODEL_BYTES));
  assert_true(room > 79000 && room < 81000);
  const double larger = (double)(pace_least(&pace, 4 * MODEL_BYTES).ns - free_ns(4 * MODEL_BYTES));
  const double ratio =
      real_pow((double)free_ns(4 * MODEL_BYTES) / (double)free_ns(MODEL_BYTES), 0.5);
  assert_true(larger / room > ratio * 0.99 && larger / room < ratio * 1.01);
}

/* The link at 40 % for a while: what comes after it does not take two and a half times as long. */
static void a_slow_link_is_not_kept_pace_with(void **state) {
  (void)state;
  struct pace pace = open_pace();
  for (uint32_t i = 0; i < PACE_WINDOW; i++) {
    pace_note(&pace, MODEL_BYTES, duration_ns(free_ns(MODEL_BYTES)));
  }
  for (uint32_t i = 0; i < PACE_WINDOW / 2; i++) {
    pace_note(&pace, MODEL_BYTES, duration_ns(free_ns(MODEL_BYTES) * 5 / 2));
  }
  assert_true(pace_least(&pace, MODEL_BYTES).ns <= free_ns(MODEL_BYTES) + 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(nobody_waits_before_the_window_is_full),
      cmocka_unit_test(equal_loads_wait_for_nothing),
      cmocka_unit_test(one_load_in_ten_is_longer_than_the_rest),
      cmocka_unit_test(room_grows_with_the_square_root),
      cmocka_unit_test(a_slow_link_is_not_kept_pace_with),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
