#include "model/ranges.h"

#include <string.h>

#include "base/check.h"

void model_ranges_init(struct model_ranges *ranges, struct arena *arena, uint32_t capacity) {
  *ranges = (struct model_ranges){.ranges = arena_take(arena, capacity, sizeof(struct model_range)),
                                  .capacity = capacity};
}

/* How many ranges begin at `id` or before. */
static uint32_t count_until(const struct model_ranges *ranges, uint32_t id) {
  const struct model_range *from = ranges->ranges;
  uint32_t left = ranges->count;
  while (left > 0) {
    /* By arithmetic: which way it goes could not be foretold. */
    const uint32_t half = left - left / 2;
    from += half & (0U - (uint32_t)(from[half - 1].first <= id));
    left -= half;
  }
  return (uint32_t)(from - ranges->ranges);
}

uint32_t model_ranges_get(const struct model_ranges *ranges, uint32_t id) {
  const uint32_t until = count_until(ranges, id);
  if (until == 0) {
    return MODEL_RANGES_NONE;
  }
  const struct model_range *range = &ranges->ranges[until - 1];
  return id - range->first < range->count ? range->value : MODEL_RANGES_NONE;
}

bool model_ranges_have(const struct model_ranges *ranges, uint32_t first, uint32_t count) {
  if (count == 0) {
    return false;
  }
  const uint32_t until = count_until(ranges, first + (count - 1));
  if (until == 0) {
    return false;
  }
  const struct model_range *range = &ranges->ranges[until - 1];
  return range->first >= first || first - range->first < range->count;
}

void model_ranges_add(struct model_ranges *ranges, uint32_t first, uint32_t count, uint32_t value) {
  CHECK_GT(count, 0);
  CHECK_NE(value, MODEL_RANGES_NONE);
  CHECK(!model_ranges_have(ranges, first, count));
  const uint32_t at = count_until(ranges, first);
  struct model_range *here = &ranges->ranges[at];
  struct model_range *before = at == 0 ? NULL : here - 1;
  if (before != NULL && before->value == value && before->first + before->count == first) {
    before->count += count;
    return;
  }
  CHECK_LT(ranges->count, ranges->capacity);
  memmove(here + 1, here, (ranges->count - at) * sizeof(*here));
  *here = (struct model_range){.first = first, .count = count, .value = value};
  ranges->count++;
}
