/* Sums, greatest and least numbers, and softmax along one axis of (outer, count, inner), eight
 * numbers at a time whichever axis that is.
 *
 * Compiled for AVX2 and FMA. Pure; several threads may run parts of one at once.
 */
#ifndef CLOCKWORK_BACKEND_CPU_ALONG_AXIS_H
#define CLOCKWORK_BACKEND_CPU_ALONG_AXIS_H

#include <stdbool.h>
#include <stdint.h>

#include "package/plan.h"

struct along_axis {
  uint64_t outer;
  uint64_t count;
  uint64_t inner;
  enum plan_reduce_kind kind; /* reduce_along() */
};

/* Whether reduce_along() knows it. */
bool along_axis_has_kind(enum plan_reduce_kind kind);

/* y: (outer, inner). Floats are summed in groups, so that the error grows with the groups' number
 * and not with the floats'. Parts as in packed_product_run(). */
void reduce_along(const struct along_axis *axis, const float *x, float *y, uint32_t part,
                  uint32_t parts);

/* y: as x, and may be x. */
void softmax_along(const struct along_axis *axis, const float *x, float *y, uint32_t part,
                   uint32_t parts);

#endif
