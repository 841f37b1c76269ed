/* What follows a sum element by element becomes its epilogue: act(sum + bias + residual), or for a
 * convolution act(sum + bias) + residual. The operation moves to where the epilogue stood, so that
 * the residual is there when it runs.
 */
#include "compiler/passes.h"

struct epilogue {
  struct graph_op *op;
  struct plan_activation *activation;
};

static bool find_sum(struct graph *graph, uint32_t value, struct epilogue *ret) {
  struct graph_op *op = graph_producer(graph, value);
  if (op == NULL || op->inputs_count != 4 || graph_value(graph, value)->uses != 1 ||
      graph_value(graph, value)->is_output) {
    return false;
  }
  switch (op->plan.kind) {
  case PLAN_OP_CONV:
  case PLAN_OP_CONV_TRANSPOSE:
    *ret = (struct epilogue){.op = op, .activation = &op->plan.conv.activation};
    return true;
  case PLAN_OP_MATMUL:
    *ret = (struct epilogue){.op = op, .activation = &op->plan.matmul.activation};
    return true;
  default:
    return false;
  }
}

static bool takes_activation(const struct epilogue *sum) {
  return sum->activation->kind == PLAN_ACT_NONE &&
         !(sum->op->plan.kind == PLAN_OP_CONV && sum->op->plan.conv.residual_last);
}

static bool takes_residual(const struct epilogue *sum) {
  const bool conv = sum->op->plan.kind == PLAN_OP_CONV;
  return sum->op->inputs[3] == GRAPH_NONE && sum->op->plan.kind != PLAN_OP_CONV_TRANSPOSE &&
         (conv || sum->activation->kind == PLAN_ACT_NONE);
}

/* The sum in the epilogue's place, writing its value. */
static void move(struct graph *graph, struct graph_op *sum, struct graph_op *to) {
  const uint32_t out = to->outputs[0];
  *to = *sum;
  to->outputs[0] = out;
  graph_value(graph, out)->producer = (uint32_t)(to - graph->ops);
  sum->plan.kind = (enum plan_op_kind)GRAPH_DEAD;
}

static void visit_activation(struct graph *graph, struct graph_op *op) {
  const struct plan_step *step = &op->plan.pointwise.steps[0];
  struct epilogue sum;
  if (find_sum(graph, op->inputs[0], &sum) && takes_activation(&sum)) {
    *sum.activation = step->activation;
    move(graph, sum.op, op);
  }
}

static void visit_addition(struct graph *graph, struct graph_op *op) {
  const struct plan_step *step = &op->plan.pointwise.steps[0];
  if (step->a.kind != PLAN_OPERAND_INPUT || step->b.kind != PLAN_OPERAND_INPUT ||
      op->inputs[0] == op->inputs[1] || !graph_same_dims(graph, op->inputs[0], op->outputs[0]) ||
      !graph_same_dims(graph, op->inputs[1], op->outputs[0])) {
    return;
  }
  struct epilogue best = {0};
  uint32_t residual = GRAPH_NONE;
  for (uint32_t i = 0; i < 2; i++) {
    struct epilogue sum;
    if (find_sum(graph, op->inputs[i], &sum) && takes_residual(&sum) &&
        (best.op == NULL || sum.op > best.op)) {
      best = sum;
      residual = op->inputs[1 - i];
    }
  }
  if (best.op == NULL) {
    return;
  }
  best.op->inputs[3] = residual;
  if (best.op->plan.kind == PLAN_OP_CONV) {
    best.op->plan.conv.residual_last = best.activation->kind != PLAN_ACT_NONE;
  }
  move(graph, best.op, op);
}

void pass_epilogue(struct graph *graph) {
  for (uint32_t i = 0; i < graph->ops_count; i++) {
    struct graph_op *op = &graph->ops[i];
    if (op->plan.kind != PLAN_OP_POINTWISE || op->plan.pointwise.steps_count != 1) {
      continue;
    }
    const struct plan_step *step = &op->plan.pointwise.steps[0];
    if (step->scalar == PLAN_S_ACTIVATION && op->inputs_count == 1) {
      visit_activation(graph, op);
    } else if (step->scalar == PLAN_S_ADD && op->inputs_count == 2) {
      visit_addition(graph, op);
    }
  }
}
