/* Weights and intermediate floats as PLAN_F16; the model's own inputs and outputs keep their type,
 * with a cast behind and in front of them.
 */
#include "compiler/passes.h"

static uint32_t cast(struct graph *graph, uint32_t value, enum plan_type type, uint32_t to) {
  struct plan_step *step = context_take(graph->context, 1, sizeof(*step));
  *step = (struct plan_step){.scalar = PLAN_S_CAST, .type = type, .a = graph_operand_input(0)};
  struct graph_op *op = graph_add_op(graph, PLAN_OP_POINTWISE, 1, &value, 1, &to);
  op->plan.pointwise = (struct plan_pointwise){.steps_count = 1, .steps = step};
  return to;
}

static uint32_t half_of(struct graph *graph, uint32_t value) {
  const struct graph_value from = *graph_value(graph, value);
  return graph_add_value(graph, PLAN_F16, from.rank, from.dims);
}

static void halve_program(struct graph *graph, struct graph_op *op) {
  const uint32_t count = op->plan.pointwise.steps_count;
  struct plan_step *steps = context_take(graph->context, count, sizeof(steps[0]));
  for (uint32_t i = 0; i < count; i++) {
    steps[i] = op->plan.pointwise.steps[i];
    if (steps[i].type == PLAN_F32) {
      steps[i].type = PLAN_F16;
    }
  }
  op->plan.pointwise.steps = steps;
}

void pass_half(struct graph *graph) {
  struct graph_op *ops = graph->ops;
  const uint32_t ops_count = graph->ops_count;
  const uint32_t values_count = graph->values_count;
  uint32_t *half = context_take(graph->context, values_count, sizeof(half[0]));
  graph->ops = NULL;
  graph->ops_count = 0;
  graph->ops_capacity = 0;
  for (uint32_t v = 0; v < values_count; v++) {
    half[v] = v;
    if (graph_value(graph, v)->type != PLAN_F32) {
      continue;
    }
    if (graph_is_constant(graph, v)) {
      half[v] = graph_value(graph, v)->uses > 0 && !graph_value(graph, v)->is_output
                    ? graph_cast(graph, v, PLAN_F16, false)
                    : v;
    } else if (graph_value(graph, v)->is_input) {
      half[v] = cast(graph, v, PLAN_F16, half_of(graph, v));
    } else {
      half[v] = half_of(graph, v);
    }
  }
  for (uint32_t i = 0; i < ops_count; i++) {
    struct graph_op *op = &ops[i];
    if (op->plan.kind == PLAN_OP_POINTWISE) {
      halve_program(graph, op);
    }
    for (uint32_t j = 0; j < op->inputs_count + op->outputs_count; j++) {
      op->inputs[j] = op->inputs[j] == GRAPH_NONE ? GRAPH_NONE : half[op->inputs[j]];
    }
    struct graph_op *copy = graph_add_op(graph, (uint32_t)op->plan.kind, op->inputs_count,
                                         op->inputs, op->outputs_count, op->outputs);
    copy->plan = op->plan;
  }
  for (uint32_t i = 0; i < graph->outputs_count; i++) {
    const uint32_t out = graph->outputs[i];
    if (half[out] != out && !graph_is_constant(graph, out)) {
      const struct graph_value from = *graph_value(graph, out);
      graph->outputs[i] =
          cast(graph, half[out], PLAN_F32, graph_add_value(graph, PLAN_F32, from.rank, from.dims));
    }
  }
}
