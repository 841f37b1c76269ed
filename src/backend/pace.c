#include "backend/pace.h"

#include <math.h>

#include "base/check.h"
#include "base/real.h"

enum { PASSED_BY = PACE_WINDOW / 10 }; /* LOADs of a window that took longer than there is room */

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

/* The greatest PASSED_BY + 1, in order. */
static void keep_greatest(double greatest[PASSED_BY + 1], double value) {
  for (uint32_t i = 0; i <= PASSED_BY; i++) {
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
  double greatest[PASSED_BY + 1] = {0};
  for (uint32_t i = 0; i < PACE_WINDOW; i++) {
    const double free_ns = start_ns + (double)pace->loads[i].bytes * ns_per_byte;
    keep_greatest(greatest, ((double)pace->loads[i].own.ns - free_ns) / real_pow(free_ns, 0.5));
  }
  const double free_ns = start_ns + (double)bytes * ns_per_byte;
  const double room_ns = greatest[PASSED_BY] * real_pow(free_ns, 0.5);
  const double most_ns = free_ns * PACE_ROOM_MAX;
  return duration_ns((int64_t)(free_ns + (room_ns < most_ns ? room_ns : most_ns)));
}
