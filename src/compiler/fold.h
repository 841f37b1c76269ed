/* Constant folding: an operation on constants is computed while compiling, with the kernels that
 * are every backend's reference.
 */
#ifndef CLOCKWORK_COMPILER_FOLD_H
#define CLOCKWORK_COMPILER_FOLD_H

#include <stdbool.h>

#include "compiler/graph.h"

/* If all inputs are known and the result is worth keeping, sets its outputs' data. False: the
 * operation stays (it would take too long, or blow the weights up). */
bool fold_op(struct graph *graph, const struct graph_op *op);

#endif
