#include "workload/ladder.h"

#include <stddef.h>

#include "base/check.h"

/* Relative room at the end, so that 0.1 x 1.5 x 1.5 ... reaches an end that is one of its steps. */
#define LADDER_ROUNDING 1e-9

static double ladder_next(const struct ladder_config *config, double value) {
  return config->is_sum ? value + config->factor : value * config->factor;
}

static bool ladder_has_passed(const struct ladder_config *config, double value) {
  const double room = LADDER_ROUNDING * config->end;
  return config->end >= config->start ? value > config->end + room : value < config->end - room;
}

uint32_t ladder_step_count(const struct ladder_config *config) {
  if (config->start == config->end) {
    return 1;
  }
  const bool rises = config->end > config->start;
  uint32_t count = 0;
  double value = config->start;
  while (!ladder_has_passed(config, value)) {
    const double next = ladder_next(config, value);
    if (++count > LADDER_STEPS_MAX || (rises ? next <= value : next >= value)) {
      return 0;
    }
    value = next;
  }
  return count;
}

void ladder_init(struct ladder *ladder, struct arena *arena, const struct ladder_config *config) {
  const uint32_t count = ladder_step_count(config);
  CHECK_GT(count, 0);
  CHECK_GT(config->period.ns, 0);
  *ladder = (struct ladder){.values = arena_take(arena, count, sizeof(double)),
                            .step_count = count,
                            .repeats = config->repeats,
                            .period_ns = config->period.ns};
  if (arena_is_counting(arena)) {
    return;
  }
  double value = config->start;
  for (uint32_t i = 0; i < count; i++) {
    ladder->values[i] = value;
    value = ladder_next(config, value);
  }
}

uint32_t ladder_step_at(const struct ladder *ladder, struct instant at) {
  const int64_t step = at.ns / ladder->period_ns;
  if (ladder->repeats) {
    return (uint32_t)(step % ladder->step_count);
  }
  return step < ladder->step_count ? (uint32_t)step : ladder->step_count;
}

struct instant ladder_end(const struct ladder *ladder) {
  if (ladder->repeats) {
    return INSTANT_NEVER;
  }
  return (struct instant){ladder->period_ns * ladder->step_count};
}
