/* Passes over the graph, in the order in which passes_run() applies them. Each leaves a graph that
 * computes the same; graph_sweep() has been called before each and is called after.
 */
#ifndef CLOCKWORK_COMPILER_PASSES_H
#define CLOCKWORK_COMPILER_PASSES_H

#include "compiler/graph.h"

/* Everything, precision and layouts included: what is left is what emit.h writes. */
void passes_run(struct graph *graph, enum plan_precision precision);

/* A sum divided by how many were added: a mean. */
void pass_mean(struct graph *graph);
/* Mean, deviation, scale as exporters spell it out: one LAYER_NORM. */
void pass_layer_norm(struct graph *graph);
/* Transposes that undo one another or do nothing, views of views. */
void pass_moves(struct graph *graph);
/* Per-channel scale and shift (a batch normalisation) into the weights of what comes before. */
void pass_affine(struct graph *graph);
/* Chains of POINTWISE into one program each. */
void pass_pointwise(struct graph *graph);
/* Programs that are an activation by another name: GELU, SiLU, HardSwish. */
void pass_activation(struct graph *graph);
/* Bias, residual and activation into CONV and MATMUL. */
void pass_epilogue(struct graph *graph);
/* Concatenations that begin as another one does. */
void pass_concat_prefix(struct graph *graph);
/* Intermediate floats and weights to half precision. */
void pass_half(struct graph *graph);
/* CHANNELS_LAST for images, with conversions where something can't read that. */
void pass_layout(struct graph *graph);

#endif
