/* The graph as a plan's program for one batch size: where every tensor lies. */
#ifndef CLOCKWORK_COMPILER_EMIT_H
#define CLOCKWORK_COMPILER_EMIT_H

#include "compiler/graph.h"
#include "compiler/weights.h"

/* Constants go to `weights`; the program is kept memory. */
void emit_batch(struct graph *graph, struct weight_table *weights, uint32_t batch_size,
                struct plan_batch *ret_batch);

#endif
