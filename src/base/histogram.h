/* Counts of non-negative integers in log-linear buckets: 128 to each power of two, so a quantile is
 * at most 1/128 above the true value, in fixed memory, whatever the range.
 */
#ifndef CLOCKWORK_BASE_HISTOGRAM_H
#define CLOCKWORK_BASE_HISTOGRAM_H

#include <stdint.h>

enum {
  HISTOGRAM_SUB_BITS = 7,
  HISTOGRAM_BUCKETS = (64 - HISTOGRAM_SUB_BITS) << HISTOGRAM_SUB_BITS,
};

/* All zero: empty. 58 kB, so keep it off small stacks. */
struct histogram {
  uint64_t counts[HISTOGRAM_BUCKETS];
  uint64_t count;
  int64_t min;
  int64_t max;
  double sum;
};

/* Negative values count as 0. O(1). */
void histogram_record(struct histogram *histogram, int64_t value);

void histogram_merge(struct histogram *into, const struct histogram *from);

/* The upper edge of the bucket in which the share `quantile` (0 to 1) of the values is reached,
 * never above the largest value seen; 0 when empty. O(buckets). */
int64_t histogram_quantile(const struct histogram *histogram, double quantile);

/* 0 when empty. */
double histogram_mean(const struct histogram *histogram);

#endif
