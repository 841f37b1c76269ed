#include "compiler/passes.h"

void passes_run(struct graph *graph, enum plan_precision precision) {
  static void (*const PASSES[])(struct graph *) = {
      pass_layout,
  };
  graph->folds = true;
  graph->node_name = "";
  for (uint32_t i = 0; i < sizeof(PASSES) / sizeof(PASSES[0]); i++) {
    PASSES[i](graph);
    graph_sweep(graph);
  }
  (void)precision;
}
