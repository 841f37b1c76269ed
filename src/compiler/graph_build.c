/* The builders of graph.h: small operations with their dims worked out. */
#include <math.h>
#include <string.h>

#include "compiler/graph.h"

uint32_t graph_view(struct graph *graph, uint32_t value, uint32_t rank, const uint32_t *dims) {
  const struct graph_value from = *graph_value(graph, value);
  const uint32_t view = from.data != NULL
                            ? graph_add_constant(graph, from.type, rank, dims, from.data)
                            : graph_add_value(graph, from.type, rank, dims);
  if (graph_elements(graph, view) != graph_elements(graph, value)) {
    context_fail(graph->context, ERR_MALFORMED, "reshapes %llu elements to %llu",
                 (unsigned long long)graph_elements(graph, value),
                 (unsigned long long)graph_elements(graph, view));
  }
  if (from.data == NULL) {
    graph_finish_op(graph, graph_add_op(graph, GRAPH_VIEW, 1, &value, 1, &view));
  }
  return view;
}

uint32_t graph_transpose(struct graph *graph, uint32_t value, const uint32_t *permutation) {
  const struct graph_value from = *graph_value(graph, value);
  uint32_t dims[PLAN_RANK_MAX];
  for (uint32_t axis = 0; axis < from.rank; axis++) {
    dims[axis] = from.dims[permutation[axis]];
  }
  const uint32_t out = graph_add_value(graph, from.type, from.rank, dims);
  struct graph_op *op = graph_add_op(graph, PLAN_OP_TRANSPOSE, 1, &value, 1, &out);
  memcpy(op->plan.transpose.permutation, permutation, from.rank * sizeof(permutation[0]));
  graph_finish_op(graph, op);
  return out;
}

/* Whether a constant can be a NUMBER of a program: one element that a double holds exactly, and no
 * dims that the output would lack without it. */
static bool is_number(const struct graph *graph, uint32_t value, uint32_t out_rank,
                      double *ret_number) {
  if (graph_value(graph, value)->rank > out_rank || !graph_is_scalar(graph, value, ret_number)) {
    return false;
  }
  return plan_type_is_float(graph_value(graph, value)->type) || fabs(*ret_number) < 0x1p53;
}

/* Replaces input `index` in every operand: by `by`, and inputs behind it move up if `removed`. */
static void change_operand(struct plan_operand *operand, uint32_t index, bool removed,
                           struct plan_operand by) {
  if (operand->kind != PLAN_OPERAND_INPUT) {
    return;
  }
  if (operand->index == index) {
    *operand = by;
  } else if (removed && operand->index > index) {
    operand->index--;
  }
}

static void change_input(struct plan_step *steps, uint32_t count, uint32_t index,
                         struct plan_operand by) {
  for (uint32_t i = 0; i < count; i++) {
    change_operand(&steps[i].a, index, true, by);
    change_operand(&steps[i].b, index, true, by);
    change_operand(&steps[i].c, index, true, by);
  }
}

uint32_t graph_pointwise(struct graph *graph, uint32_t inputs_count, const uint32_t *inputs,
                         uint32_t steps_count, const struct plan_step *steps, uint32_t rank,
                         const uint32_t *dims) {
  uint32_t kept[PLAN_POINTWISE_INPUTS];
  struct plan_step *copy = context_take(graph->context, steps_count, sizeof(copy[0]));
  memcpy(copy, steps, steps_count * sizeof(copy[0]));
  uint32_t count = 0;
  bool all_constant = true;
  for (uint32_t i = 0; i < inputs_count; i++) {
    all_constant &= graph_is_constant(graph, inputs[i]);
  }
  for (uint32_t i = 0; i < inputs_count; i++) {
    double number = 0;
    if (!all_constant && is_number(graph, inputs[i], rank, &number)) {
      change_input(copy, steps_count, count, graph_operand_number(number));
    } else {
      kept[count++] = inputs[i];
    }
  }
  const uint32_t out = graph_add_value(graph, graph_step_type(&copy[steps_count - 1]), rank, dims);
  struct graph_op *op = graph_add_op(graph, PLAN_OP_POINTWISE, count, kept, 1, &out);
  op->plan.pointwise = (struct plan_pointwise){.steps_count = steps_count, .steps = copy};
  graph_finish_op(graph, op);
  return out;
}

uint32_t graph_unary(struct graph *graph, enum plan_scalar scalar, uint32_t a) {
  const struct graph_value from = *graph_value(graph, a);
  const struct plan_step step = {.scalar = scalar, .type = from.type, .a = graph_operand_input(0)};
  return graph_pointwise(graph, 1, &a, 1, &step, from.rank, from.dims);
}

uint32_t graph_activation(struct graph *graph, struct plan_activation activation, uint32_t a) {
  const struct graph_value from = *graph_value(graph, a);
  const struct plan_step step = {.scalar = PLAN_S_ACTIVATION,
                                 .type = from.type,
                                 .a = graph_operand_input(0),
                                 .activation = activation};
  return graph_pointwise(graph, 1, &a, 1, &step, from.rank, from.dims);
}

uint32_t graph_binary(struct graph *graph, enum plan_scalar scalar, uint32_t a, uint32_t b) {
  const struct graph_value x = *graph_value(graph, a);
  const struct graph_value y = *graph_value(graph, b);
  uint32_t rank = 0;
  uint32_t dims[PLAN_RANK_MAX] = {0};
  if (x.type != y.type) {
    context_fail(graph->context, ERR_MALFORMED, "its operands are %s and %s; they must be one type",
                 plan_type_text(x.type), plan_type_text(y.type));
  }
  if (!graph_broadcast(x.rank, x.dims, y.rank, y.dims, &rank, dims)) {
    context_fail(graph->context, ERR_MALFORMED, "its operands' dimensions don't broadcast");
  }
  const struct plan_step step = {
      .scalar = scalar, .type = x.type, .a = graph_operand_input(0), .b = graph_operand_input(1)};
  const uint32_t inputs[2] = {a, b};
  return graph_pointwise(graph, 2, inputs, 1, &step, rank, dims);
}

uint32_t graph_cast(struct graph *graph, uint32_t value, enum plan_type type, bool saturate) {
  const struct graph_value from = *graph_value(graph, value);
  if (from.type == type) {
    return value;
  }
  struct plan_step steps[2] = {
      {.scalar = saturate ? PLAN_S_CAST_SATURATE : PLAN_S_CAST,
       .type = type,
       .a = graph_operand_input(0)},
  };
  uint32_t count = 1;
  if (type == PLAN_BOOL) { /* anything but 0 is true */
    steps[0] = (struct plan_step){.scalar = PLAN_S_EQUAL,
                                  .type = from.type,
                                  .a = graph_operand_input(0),
                                  .b = graph_operand_number(0)};
    steps[1] =
        (struct plan_step){.scalar = PLAN_S_NOT, .type = PLAN_BOOL, .a = graph_operand_step(0)};
    count = 2;
  }
  return graph_pointwise(graph, 1, &value, count, steps, from.rank, from.dims);
}

uint32_t graph_expand(struct graph *graph, uint32_t value, uint32_t rank, const uint32_t *dims) {
  const struct graph_value from = *graph_value(graph, value);
  if (from.rank == rank && memcmp(from.dims, dims, rank * sizeof(dims[0])) == 0) {
    return value;
  }
  const struct plan_step step = {
      .scalar = PLAN_S_COPY, .type = from.type, .a = graph_operand_input(0)};
  return graph_pointwise(graph, 1, &value, 1, &step, rank, dims);
}
