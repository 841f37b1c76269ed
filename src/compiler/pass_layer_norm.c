/* LayerNormalization spelled out, as exporters did before opset 17:
 *
 *   d = x - mean(x);  y = d / sqrt(mean(d d) + epsilon);  y gamma + beta
 *
 * over the last axes, gamma and beta constant. All but the last of these operations must have no
 * other reader; they die in the sweep when the last is replaced.
 */
#include <string.h>

#include "compiler/passes.h"

static const struct plan_step *only_step(const struct graph_op *op, enum plan_scalar scalar) {
  if (op == NULL || op->plan.kind != PLAN_OP_POINTWISE || op->plan.pointwise.steps_count != 1 ||
      op->plan.pointwise.steps[0].scalar != scalar) {
    return NULL;
  }
  return &op->plan.pointwise.steps[0];
}

static bool is_mean(const struct graph_op *op, uint32_t *ret_axes) {
  if (op == NULL || op->plan.kind != PLAN_OP_REDUCE || op->plan.reduce.kind != PLAN_REDUCE_MEAN) {
    return false;
  }
  *ret_axes = op->plan.reduce.axes;
  return true;
}

/* d d, or d to the power of 2. */
static bool is_square(const struct graph_op *op, uint32_t d) {
  const struct plan_step *power = only_step(op, PLAN_S_POW);
  if (power != NULL) {
    return op->inputs_count == 1 && op->inputs[0] == d && power->b.kind == PLAN_OPERAND_NUMBER &&
           power->b.number >= 2 && power->b.number <= 2;
  }
  if (only_step(op, PLAN_S_MUL) == NULL) {
    return false;
  }
  for (uint32_t i = 0; i < op->inputs_count; i++) {
    if (op->inputs[i] != d) {
      return false;
    }
  }
  return true;
}

struct norm {
  uint32_t x;
  uint32_t axes;
  double epsilon;
};

/* d = x - mean(x) over the axes. */
static bool is_centred(const struct graph *graph, uint32_t d, struct norm *norm) {
  const struct graph_op *minus = graph_producer(graph, d);
  if (only_step(minus, PLAN_S_SUB) == NULL || minus->inputs_count != 2) {
    return false;
  }
  const struct graph_op *mean = graph_producer(graph, minus->inputs[1]);
  norm->x = minus->inputs[0];
  return is_mean(mean, &norm->axes) && mean->inputs[0] == norm->x;
}

static bool match(const struct graph *graph, const struct graph_op *op, struct norm *ret) {
  if (only_step(op, PLAN_S_DIV) == NULL || op->inputs_count != 2 ||
      !is_centred(graph, op->inputs[0], ret)) {
    return false;
  }
  const struct graph_op *root = graph_producer(graph, op->inputs[1]);
  if (only_step(root, PLAN_S_SQRT) == NULL) {
    return false;
  }
  const struct graph_op *sum = graph_producer(graph, root->inputs[0]);
  const struct plan_step *plus = only_step(sum, PLAN_S_ADD);
  if (plus == NULL || sum->inputs_count != 1) {
    return false;
  }
  const struct plan_operand number = plus->a.kind == PLAN_OPERAND_NUMBER ? plus->a : plus->b;
  ret->epsilon = number.number;
  const struct graph_op *variance = graph_producer(graph, sum->inputs[0]);
  uint32_t axes = 0;
  if (number.kind != PLAN_OPERAND_NUMBER || !is_mean(variance, &axes) || axes != ret->axes) {
    return false;
  }
  const struct graph_op *square = graph_producer(graph, variance->inputs[0]);
  /* Some exporters subtract twice: once for the variance, once for the result. */
  struct norm again;
  if (square == NULL || square->inputs_count == 0 || !is_square(square, square->inputs[0])) {
    return false;
  }
  return square->inputs[0] == op->inputs[0] || (is_centred(graph, square->inputs[0], &again) &&
                                                again.x == ret->x && again.axes == ret->axes);
}

/* The constant that `scalar` combines `value` with in its only reader, of the dims from `axis` on.
 */
static uint32_t parameter(const struct graph *graph, uint32_t value, enum plan_scalar scalar,
                          uint32_t axis, struct graph_op **ret_op) {
  struct graph_op *op = graph_only_user(graph, value);
  const struct graph_value *x = graph_value(graph, value);
  if (only_step(op, scalar) == NULL || op->inputs_count != 2 ||
      !graph_same_dims(graph, value, op->outputs[0])) {
    return GRAPH_NONE;
  }
  const uint32_t other = op->inputs[op->inputs[0] == value ? 1 : 0];
  const struct graph_value *v = graph_value(graph, other);
  if (!graph_is_constant(graph, other) || v->rank != x->rank - axis ||
      memcmp(v->dims, x->dims + axis, v->rank * sizeof(v->dims[0])) != 0) {
    return GRAPH_NONE;
  }
  *ret_op = op;
  return other;
}

static void replace(struct graph *graph, struct graph_op *op, const struct norm *norm,
                    uint32_t axis) {
  struct graph_op *last = op;
  const uint32_t gamma = parameter(graph, op->outputs[0], PLAN_S_MUL, axis, &last);
  const uint32_t beta = parameter(graph, last->outputs[0], PLAN_S_ADD, axis, &last);
  uint32_t *lists = context_take(graph->context, 4, sizeof(lists[0]));
  lists[0] = norm->x;
  lists[1] = gamma;
  lists[2] = beta;
  lists[3] = last->outputs[0];
  last->plan.kind = PLAN_OP_LAYER_NORM;
  last->plan.normalize = (struct plan_normalize){.axis = axis, .epsilon = (float)norm->epsilon};
  last->inputs = lists;
  last->inputs_count = 3;
  last->outputs = lists + 3;
}

void pass_layer_norm(struct graph *graph) {
  for (uint32_t i = 0; i < graph->ops_count; i++) {
    struct graph_op *op = &graph->ops[i];
    struct norm norm = {0};
    if (!match(graph, op, &norm)) {
      continue;
    }
    const uint32_t rank = graph_value(graph, norm.x)->rank;
    uint32_t axis = rank;
    while (axis > 0 && (norm.axes >> (axis - 1) & 1) != 0) {
      axis--;
    }
    if (axis < rank && norm.axes == ((1u << rank) - (1u << axis))) {
      replace(graph, op, &norm, axis);
    }
  }
}
