#include "base/histogram.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "support/cmocka.h"

static struct histogram histogram;
static struct histogram other;

static int reset(void **state) {
  (void)state;
  memset(&histogram, 0, sizeof(histogram));
  memset(&other, 0, sizeof(other));
  return 0;
}

static void empty(void **state) {
  (void)state;
  assert_int_equal(histogram_quantile(&histogram, 0.5), 0);
  assert_true(histogram_mean(&histogram) == 0.0);
}

static void small_values_are_exact(void **state) {
  (void)state;
  for (int64_t value = 0; value < 256; value++) {
    histogram_record(&histogram, value);
  }
  assert_int_equal(histogram_quantile(&histogram, 0.5), 127);
  assert_int_equal(histogram_quantile(&histogram, 0.0), 0);
  assert_int_equal(histogram_quantile(&histogram, 1.0), 255);
  assert_true(fabs(histogram_mean(&histogram) - 127.5) < 1e-9);
}

static void extremes(void **state) {
  (void)state;
  histogram_record(&histogram, -5);
  assert_int_equal(histogram.min, 0);
  histogram_record(&histogram, INT64_MAX);
  assert_int_equal(histogram_quantile(&histogram, 0.25), 0);
  assert_int_equal(histogram_quantile(&histogram, 1.0), INT64_MAX);
  assert_int_equal(histogram.max, INT64_MAX);
  assert_int_equal(histogram.count, 2);
}

static void one_value_alone_is_exact(void **state) {
  (void)state;
  struct prng prng;
  prng_init(&prng, 7, 7);
  for (int i = 0; i < 200; i++) {
    memset(&histogram, 0, sizeof(histogram));
    const int64_t value = (int64_t)(prng_next(&prng) >> (1 + prng_below(&prng, 60)));
    histogram_record(&histogram, value);
    assert_int_equal(histogram_quantile(&histogram, 0.5), value);
  }
}

static int compare(const void *a, const void *b) {
  const int64_t x = *(const int64_t *)a;
  const int64_t y = *(const int64_t *)b;
  return x < y ? -1 : x > y;
}

static void quantiles_are_within_a_128th_above(void **state) {
  (void)state;
  enum { COUNT = 20000 };
  static int64_t values[COUNT];
  struct prng prng;
  prng_init(&prng, 8, 8);
  double sum = 0.0;
  for (int i = 0; i < COUNT; i++) {
    values[i] = (int64_t)(prng_next(&prng) >> (1 + prng_below(&prng, 50)));
    sum += (double)values[i];
    histogram_record(i % 3 == 0 ? &other : &histogram, values[i]);
  }
  histogram_merge(&histogram, &other);
  qsort(values, COUNT, sizeof(values[0]), compare);
  assert_int_equal(histogram.count, COUNT);
  assert_int_equal(histogram.min, values[0]);
  assert_int_equal(histogram.max, values[COUNT - 1]);
  assert_true(fabs(histogram_mean(&histogram) / (sum / COUNT) - 1.0) < 1e-9);
  const double quantiles[] = {0.001, 0.01, 0.1, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0};
  for (size_t i = 0; i < sizeof(quantiles) / sizeof(quantiles[0]); i++) {
    const int rank = (int)ceil(quantiles[i] * COUNT);
    const int64_t exact = values[rank - 1];
    const int64_t got = histogram_quantile(&histogram, quantiles[i]);
    assert_true(got >= exact);
    assert_true((double)got <= (double)exact * (1.0 + 1.0 / 128.0) + 1.0);
  }
}

static void merging_keeps_min_and_max(void **state) {
  (void)state;
  histogram_record(&other, 100);
  histogram_merge(&histogram, &other);
  assert_int_equal(histogram.min, 100);
  assert_int_equal(histogram.max, 100);
  memset(&other, 0, sizeof(other));
  histogram_merge(&histogram, &other);
  assert_int_equal(histogram.min, 100);
  assert_int_equal(histogram.count, 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(empty, reset),
      cmocka_unit_test_setup(small_values_are_exact, reset),
      cmocka_unit_test_setup(extremes, reset),
      cmocka_unit_test_setup(one_value_alone_is_exact, reset),
      cmocka_unit_test_setup(quantiles_are_within_a_128th_above, reset),
      cmocka_unit_test_setup(merging_keeps_min_and_max, reset),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
