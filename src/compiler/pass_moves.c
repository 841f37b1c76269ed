/* Views of views, transposes of transposes, and those that move nothing. */
#include <string.h>

#include "compiler/passes.h"

/* Whether only axes of one element change places. */
static bool moves_nothing(const struct graph_value *in, const uint32_t *permutation) {
  uint32_t last = 0;
  bool first = true;
  for (uint32_t i = 0; i < in->rank; i++) {
    if (in->dims[permutation[i]] == 1) {
      continue;
    }
    if (!first && permutation[i] < last) {
      return false;
    }
    first = false;
    last = permutation[i];
  }
  return true;
}

static void visit_view(struct graph *graph, struct graph_op *op) {
  struct graph_op *before = graph_producer(graph, op->inputs[0]);
  while (before != NULL && (uint32_t)before->plan.kind == GRAPH_VIEW) {
    op->inputs[0] = before->inputs[0];
    before = graph_producer(graph, op->inputs[0]);
  }
  if (graph_same_dims(graph, op->inputs[0], op->outputs[0])) {
    graph_replace(graph, op->outputs[0], op->inputs[0]);
  }
}

static void visit_transpose(struct graph *graph, struct graph_op *op) {
  struct graph_op *before = graph_producer(graph, op->inputs[0]);
  const uint32_t rank = graph_value(graph, op->inputs[0])->rank;
  uint32_t *permutation = op->plan.transpose.permutation;
  while (before != NULL && before->plan.kind == PLAN_OP_TRANSPOSE) {
    uint32_t joined[PLAN_RANK_MAX] = {0};
    for (uint32_t i = 0; i < rank; i++) {
      joined[i] = before->plan.transpose.permutation[permutation[i]];
    }
    memcpy(permutation, joined, sizeof(joined));
    op->inputs[0] = before->inputs[0];
    before = graph_producer(graph, op->inputs[0]);
  }
  if (moves_nothing(graph_value(graph, op->inputs[0]), permutation)) {
    op->plan.kind = (enum plan_op_kind)GRAPH_VIEW;
    visit_view(graph, op);
  }
}

void pass_moves(struct graph *graph) {
  for (uint32_t i = 0; i < graph->ops_count; i++) {
    struct graph_op *op = &graph->ops[i];
    if ((uint32_t)op->plan.kind == GRAPH_VIEW) {
      visit_view(graph, op);
    } else if (op->plan.kind == PLAN_OP_TRANSPOSE) {
      visit_transpose(graph, op);
    }
  }
}
