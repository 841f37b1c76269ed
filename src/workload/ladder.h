/* A value that moves in steps of time: start, start x factor (or + factor), ... up to end. */
#ifndef CLOCKWORK_WORKLOAD_LADDER_H
#define CLOCKWORK_WORKLOAD_LADDER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/time.h"

enum { LADDER_STEPS_MAX = 10000 };

struct ladder_config {
  double start;
  double end;             /* inclusive, with a little room for rounding */
  double factor;          /* of one step */
  bool is_sum;            /* the factor is added, not multiplied */
  bool repeats;           /* from the start again after the last step; else it ends there */
  struct duration period; /* > 0 */
};

struct ladder {
  double *values;
  uint32_t step_count;
  bool repeats;
  int64_t period_ns;
};

/* How many steps it has: 1 if start == end. 0 if `factor` never leads from start to end, or only in
 * more than LADDER_STEPS_MAX steps. */
uint32_t ladder_step_count(const struct ladder_config *config);

/* A config whose step count is not 0 (CHECK). Only counts on a counting arena. */
void ladder_init(struct ladder *ladder, struct arena *arena, const struct ladder_config *config);

/* The step that holds at `at`; step_count when the ladder has ended. O(1). */
uint32_t ladder_step_at(const struct ladder *ladder, struct instant at);

/* INSTANT_NEVER if it repeats. */
struct instant ladder_end(const struct ladder *ladder);

#endif
