/* How long the next run of something will take, from how long the last ones took.
 *
 * The estimate is one of the last ESTIMATE_WINDOW measurements. A measurement is kept as duration x
 * GPU clock, so that a change of clock rescales the estimate at once instead of being learnt ten
 * runs later. Ten runs after a slow one it is forgotten.
 */
#ifndef CLOCKWORK_MODEL_ESTIMATE_H
#define CLOCKWORK_MODEL_ESTIMATE_H

#include <stdint.h>

#include "base/time.h"

enum { ESTIMATE_WINDOW = 10 };

/* Which of the measurements in the window. */
enum estimate_rank {
  /* With ten of them the 99th percentile, as published (Clockwork, OSDI 2020, section 5.3): above
   * nearly every run, and the end of a queue is off by the sum of that. */
  ESTIMATE_LARGEST,
  /* Off to both sides, so that over a queue the errors cancel. Of an even number the larger of the
   * two in the middle. */
  ESTIMATE_MEDIAN,
};

/* What estimate_at() reads. */
struct estimate {
  int64_t work; /* ns x MHz */
};

/* What it is made of: read and written once a measurement, so it may lie elsewhere. */
struct estimate_window {
  int64_t work[ESTIMATE_WINDOW]; /* ns x MHz */
  uint8_t count;
  uint8_t next;
};

/* Start from one prior measurement, which the first real one replaces. `clock_mhz` > 0; use any
 * constant for what does not depend on the GPU clock (a transfer). */
void estimate_init(struct estimate *estimate, struct estimate_window *window, struct duration prior,
                   uint32_t clock_mhz);

/* Durations below 1 ns count as 1 ns. O(ESTIMATE_WINDOW). */
void estimate_on_measured(struct estimate *estimate, struct estimate_window *window,
                          enum estimate_rank rank, struct duration measured, uint32_t clock_mhz);

/* At this clock, rounded up, at least 1 ns. O(1). */
struct duration estimate_at(const struct estimate *estimate, uint32_t clock_mhz);

#endif
