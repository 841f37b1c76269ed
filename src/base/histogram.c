#include "base/histogram.h"

static uint32_t bucket_of(uint64_t value) {
  const uint64_t sub_count = UINT64_C(1) << HISTOGRAM_SUB_BITS;
  if (value < sub_count) {
    return (uint32_t)value;
  }
  const uint32_t top_bit = 63 - (uint32_t)__builtin_clzll(value);
  const uint32_t shift = top_bit - HISTOGRAM_SUB_BITS;
  const uint64_t within = (value >> shift) - sub_count;
  return (uint32_t)(((uint64_t)(shift + 1) << HISTOGRAM_SUB_BITS) + within);
}

static int64_t bucket_upper_edge(uint32_t bucket) {
  const uint64_t sub_count = UINT64_C(1) << HISTOGRAM_SUB_BITS;
  if (bucket < sub_count) {
    return (int64_t)bucket;
  }
  const uint32_t shift = (bucket >> HISTOGRAM_SUB_BITS) - 1;
  const uint64_t within = bucket & (sub_count - 1);
  return (int64_t)(((sub_count + within + 1) << shift) - 1);
}

void histogram_record(struct histogram *histogram, int64_t value) {
  if (value < 0) {
    value = 0;
  }
  if (histogram->count == 0 || value < histogram->min) {
    histogram->min = value;
  }
  if (histogram->count == 0 || value > histogram->max) {
    histogram->max = value;
  }
  histogram->counts[bucket_of((uint64_t)value)]++;
  histogram->count++;
  histogram->sum += (double)value;
}

void histogram_merge(struct histogram *into, const struct histogram *from) {
  if (from->count == 0) {
    return;
  }
  if (into->count == 0 || from->min < into->min) {
    into->min = from->min;
  }
  if (into->count == 0 || from->max > into->max) {
    into->max = from->max;
  }
  for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
    into->counts[i] += from->counts[i];
  }
  into->count += from->count;
  into->sum += from->sum;
}

int64_t histogram_quantile(const struct histogram *histogram, double quantile) {
  if (histogram->count == 0) {
    return 0;
  }
  const double wanted = quantile * (double)histogram->count;
  uint64_t seen = 0;
  for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
    seen += histogram->counts[i];
    if (seen > 0 && (double)seen >= wanted) {
      const int64_t edge = bucket_upper_edge(i);
      return edge < histogram->max ? edge : histogram->max;
    }
  }
  return histogram->max;
}

double histogram_mean(const struct histogram *histogram) {
  return histogram->count == 0 ? 0.0 : histogram->sum / (double)histogram->count;
}
