#include "backend/pace.h"

#include <math.h>

#include "base/check.h"
#include "base/real.h"

/* One LOAD in so many takes longer than there is room. */
enum { PASSED_BY = 10, GREATEST_MAX = PACE_WINDOW / PASSED_BY + 1 };

void pace_init(struct pace *pace, struct duration start) {
  *pace = (struct pace){.start = start};
}

void pace_note(struct pace *pace, uint64_t bytes, struct duration own) {
  CHECK_LT(0, bytes);
  CHECK_LT(0, own.ns);
  pace->loads[pace->noted++ % PACE_WINDOW] = (struct pace_load){.bytes = bytes, .own = own};
}

/* The link's best in the window. */
static double best_ns_per_byte(const struct pace *pace) {
  double best = INFINITY;
  for (uint32_t i = 0; i < PACE_WINDOW; i++) {
    const struct pace_load *load = &pace->loads[i];
    const int64_t moving_ns = load->own.ns - pace->start.ns;
    const double its = (double)(moving_ns < 1 ? 1 : moving_ns) / (double)load->bytes;
    best = its < best ? its : best;
  }
  return best;
}

/* The greatest, in order. */
static void keep_greatest(double greatest[GREATEST_MAX], double value) {
  for (uint32_t i = 0; i < GREATEST_MAX; i++) {
    const double was = greatest[i];
    greatest[i] = value > was ? value : was;
    value = value > was ? was : value;
  }
}

struct duration pace_least(const struct pace *pace, uint64_t bytes) {
  if (pace->noted < PACE_WINDOW) {
    return DURATION_ZERO;
  }
  const double ns_per_byte = best_ns_per_byte(pace);
  const double start_ns = (double)pace->start.ns;
  double greatest[GREATEST_MAX] = {0};
  uint32_t counted = 0;
  for (uint32_t i = 0; i < PACE_WINDOW; i++) {
    const double free_ns = start_ns + (double)pace->loads[i].bytes * ns_per_byte;
    const double beyond_ns = (double)pace->loads[i].own.ns - free_ns;
    if (beyond_ns <= free_ns * PACE_ROOM_MAX) {
      keep_greatest(greatest, beyond_ns / real_pow(free_ns, 0.5));
      counted++;
    }
  }
  const double free_ns = start_ns + (double)bytes * ns_per_byte;
  const double room_ns = greatest[counted / PASSED_BY] * real_pow(free_ns, 0.5);
  const double most_ns = free_ns * PACE_ROOM_MAX;
  return duration_ns((int64_t)(free_ns + (room_ns < most_ns ? room_ns : most_ns)));
}
