/* A sum that is then divided by how many were added, as TensorFlow's exporters spell a mean: one
 * mean. In half precision that is the difference between an answer and none: the sum of 512 squares
 * passes 65,504, their mean does not.
 */
#include <math.h>

#include "compiler/passes.h"

/* Exporters write 1 / count as a float. */
#define NEAR 1e-6

static double reduced_count(const struct graph *graph, const struct graph_op *op) {
  const struct graph_value *x = graph_value(graph, op->inputs[0]);
  double count = 1;
  for (uint32_t axis = 0; axis < x->rank; axis++) {
    count *= (op->plan.reduce.axes >> axis & 1) != 0 ? (double)x->dims[axis] : 1.0;
  }
  return count;
}

/* What `op` multiplies its only input with; 0: it does something else. */
static double factor_of(const struct graph_op *op) {
  if (op == NULL || op->plan.kind != PLAN_OP_POINTWISE || op->plan.pointwise.steps_count != 1 ||
      op->inputs_count != 1) {
    return 0;
  }
  const struct plan_step *step = &op->plan.pointwise.steps[0];
  const bool is_number[2] = {step->a.kind == PLAN_OPERAND_NUMBER,
                             step->b.kind == PLAN_OPERAND_NUMBER};
  if (step->scalar == PLAN_S_MUL && is_number[0] != is_number[1]) {
    return is_number[0] ? step->a.number : step->b.number;
  }
  if (step->scalar == PLAN_S_DIV && !is_number[0] && is_number[1]) {
    return 1.0 / step->b.number;
  }
  return 0;
}

/* The only reader of a sum, or of a view of it. */
static struct graph_op *reader_of(const struct graph *graph, const struct graph_op *sum) {
  struct graph_op *reader = graph_only_user(graph, sum->outputs[0]);
  while (reader != NULL && (uint32_t)reader->plan.kind == GRAPH_VIEW) {
    reader = graph_only_user(graph, reader->outputs[0]);
  }
  return reader;
}

void pass_mean(struct graph *graph) {
  for (uint32_t i = 0; i < graph->ops_count; i++) {
    struct graph_op *sum = &graph->ops[i];
    if (sum->plan.kind != PLAN_OP_REDUCE || sum->plan.reduce.kind != PLAN_REDUCE_SUM ||
        graph_value(graph, sum->outputs[0])->type != PLAN_F32) {
      continue;
    }
    const struct graph_op *scale = reader_of(graph, sum);
    const double by_count = factor_of(scale) * reduced_count(graph, sum);
    if (fabs(by_count - 1) < NEAR && graph_same_dims(graph, scale->inputs[0], scale->outputs[0])) {
      sum->plan.reduce.kind = PLAN_REDUCE_MEAN;
      graph_replace(graph, scale->outputs[0], scale->inputs[0]);
    }
  }
}
