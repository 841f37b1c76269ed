#include "compiler/passes.h"

/* Epilogues are taken before chains become programs, so that a convolution gets its activation even
 * where more follows; and again after programs were recognised as activations. */
void passes_run(struct graph *graph, enum plan_precision precision) {
  static void (*const PASSES[])(struct graph *) = {
      pass_moves,     pass_mean,       pass_layer_norm, pass_affine,   pass_epilogue,
      pass_pointwise, pass_activation, pass_affine,     pass_epilogue, pass_concat_prefix,
  };
  graph->node_name = "";
  for (uint32_t i = 0; i < sizeof(PASSES) / sizeof(PASSES[0]); i++) {
    PASSES[i](graph);
    graph_sweep(graph);
  }
  if (precision == PLAN_FP16) {
    pass_half(graph);
    graph_sweep(graph);
  }
  pass_layout(graph);
  graph_sweep(graph);
}
