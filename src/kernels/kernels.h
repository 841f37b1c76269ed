/* Every operation of a plan in plain C: what the compiler folds constants with, what a CPU backend
 * runs where its library has nothing better, and the reference that every backend is compared with.
 *
 * Exact where the operation is (moves, integers); floats in single precision with sums in double
 * where that costs nothing, so a result is at least as exact as any backend's. Not tuned beyond
 * what a compiler vectorises, except POINTWISE, TRANSPOSE, CONCAT, SLICE and GATHER, which models
 * spend time in.
 *
 * Pure: any thread; several threads may run parts of one operation at once.
 */
#ifndef CLOCKWORK_KERNELS_KERNELS_H
#define CLOCKWORK_KERNELS_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "package/plan.h"

/* Scratch memory that kernels_run() needs for this operation, for each part that runs at once. */
size_t kernels_scratch_bytes(const struct plan_op *op, const struct plan_tensor *tensors);

/* Runs part `part` of `parts` of a checked operation; all parts together, in any order or at once,
 * do the whole. An operation that can't be divided does everything in part 0. `data[i]` is the
 * first element of tensors[i] for every tensor that the operation names; outputs must not be read
 * before all parts are done. */
void kernels_run(const struct plan_op *op, const struct plan_tensor *tensors, void *const *data,
                 void *scratch, uint32_t part, uint32_t parts);

#endif
