/* A machine's own clock: off by a fixed time, and a little fast or slow.
 *
 * The simulation's time is the controller's. A worker only ever sees its local time; what crosses
 * between the two is converted by the production code (base/clock_offset.h), so an error there
 * shows here. Integers only: the same on every machine.
 */
#ifndef CLOCKWORK_SIMULATOR_LOCAL_CLOCK_H
#define CLOCKWORK_SIMULATOR_LOCAL_CLOCK_H

#include <stdint.h>

#include "base/time.h"

struct local_clock {
  int64_t skew_ns;   /* local - simulation's, at time 0 of the simulation */
  int64_t drift_ppb; /* parts per billion, |drift_ppb| <= 10^6 */
};

/* Rises with `at`. `at` >= 0. */
static inline struct instant local_clock_read(const struct local_clock *clock, struct instant at) {
  int64_t ns = at.ns + clock->skew_ns;
  if (clock->drift_ppb != 0) {
    /* In two parts, because the product of nanoseconds and ppb overflows within a day; the second
     * is kept positive, so that the division always rounds down. */
    const int64_t seconds = at.ns / NS_PER_S;
    const int64_t rest_ns = at.ns - seconds * NS_PER_S;
    ns += seconds * clock->drift_ppb - 1000000 +
          (rest_ns * clock->drift_ppb + NS_PER_S * 1000000) / NS_PER_S;
  }
  return (struct instant){ns};
}

/* The first moment at which the local clock shows `local` or later. */
static inline struct instant local_clock_when(const struct local_clock *clock,
                                              struct instant local) {
  if (local.ns == INT64_MAX || local.ns < clock->skew_ns) {
    return local.ns == INT64_MAX ? INSTANT_NEVER : INSTANT_ZERO;
  }
  struct instant at = {local.ns - clock->skew_ns};
  if (clock->drift_ppb == 0) {
    return at;
  }
  /* Each step leaves a thousandth of the error. */
  for (int i = 0; i < 6; i++) {
    at.ns = at.ns - local_clock_read(clock, at).ns + local.ns;
    at.ns = at.ns < 0 ? 0 : at.ns;
  }
  while (at.ns > 0 && local_clock_read(clock, (struct instant){at.ns - 1}).ns >= local.ns) {
    at.ns--;
  }
  while (local_clock_read(clock, at).ns < local.ns) {
    at.ns++;
  }
  return at;
}

#endif
