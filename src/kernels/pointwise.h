/* What the two ways to run a pointwise program share: any types (pointwise.c), and floats alone
 * (pointwise_float.c). Private to src/kernels/.
 */
#ifndef CLOCKWORK_KERNELS_POINTWISE_H
#define CLOCKWORK_KERNELS_POINTWISE_H

#include "kernels/private.h"

/* Elements that a step works on at once: a few arrays of them stay in a core's first cache. */
enum { POINTWISE_BLOCK = 256 };

struct pointwise_axis {
  uint64_t count;
  uint64_t out; /* distance of neighbours, in elements */
  uint64_t in[PLAN_POINTWISE_INPUTS];
};

/* The output's axes as they lie, joined where no tensor breaks off; the last is the innermost. */
struct pointwise_loop {
  struct pointwise_axis axes[PLAN_RANK_MAX];
  uint32_t rank; /* >= 1 */
};

/* Whether all tensors and steps are F32 and every function has a loop of its own. */
bool pointwise_float_applies(const struct kernel *k);
size_t pointwise_float_scratch_bytes(const struct plan_op *op);
void pointwise_float_run(const struct kernel *k, const struct pointwise_loop *loop);

#endif
