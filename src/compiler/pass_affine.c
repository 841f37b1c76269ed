/* y = x scale + shift behind a convolution or product becomes part of its weights and bias.
 *
 * scale and shift are numbers, or constants that vary along the output channels alone (for a
 * product along its columns). What was there before must be a bare sum: no activation, no residual.
 */
#include <string.h>

#include "compiler/passes.h"

struct affine {
  uint32_t channels;
  double *scale; /* NULL: 1 */
  double *shift; /* NULL: 0 */
};

static bool is_sum(const struct graph_op *op) {
  if (op->inputs_count != 4 || op->inputs[3] != GRAPH_NONE) {
    return false;
  }
  switch (op->plan.kind) {
  case PLAN_OP_CONV:
  case PLAN_OP_CONV_TRANSPOSE:
    return op->plan.conv.activation.kind == PLAN_ACT_NONE;
  case PLAN_OP_MATMUL:
    return op->plan.matmul.activation.kind == PLAN_ACT_NONE;
  default:
    return false;
  }
}

/* An operand as one number per channel; NULL: it is none. `axis` is the channels' in the output. */
static double *per_channel(struct graph *graph, const struct graph_op *op,
                           const struct plan_operand *operand, const struct graph_value *out,
                           uint32_t axis) {
  const uint32_t channels = out->dims[axis];
  double *numbers = NULL;
  if (operand->kind == PLAN_OPERAND_NUMBER) {
    numbers = context_take(graph->context, channels, sizeof(numbers[0]));
    for (uint32_t c = 0; c < channels; c++) {
      numbers[c] = operand->number;
    }
    return numbers;
  }
  if (operand->kind != PLAN_OPERAND_INPUT ||
      !graph_is_constant(graph, op->inputs[operand->index])) {
    return NULL;
  }
  const uint32_t value = op->inputs[operand->index];
  const struct graph_value *v = graph_value(graph, value);
  const uint32_t missing = out->rank - v->rank;
  const bool varies = axis >= missing && v->dims[axis - missing] == channels;
  if (graph_elements(graph, value) != (varies ? channels : 1)) {
    return NULL;
  }
  numbers = context_take(graph->context, channels, sizeof(numbers[0]));
  for (uint32_t c = 0; c < channels; c++) {
    numbers[c] = graph_number_at(graph, value, varies ? c : 0);
  }
  return numbers;
}

static bool is_x(const struct graph_op *op, const struct plan_operand *operand, uint32_t x) {
  return operand->kind == PLAN_OPERAND_INPUT && op->inputs[operand->index] == x;
}

static double *negated(struct graph *graph, const double *numbers, uint32_t count, bool inverse) {
  double *result = context_take(graph->context, count, sizeof(result[0]));
  for (uint32_t c = 0; numbers != NULL && c < count; c++) {
    result[c] = inverse ? 1 / numbers[c] : -numbers[c];
  }
  return numbers != NULL ? result : NULL;
}

/* Reads a program of one step as scale and shift of x. */
static bool read_affine(struct graph *graph, const struct graph_op *op, uint32_t x, uint32_t axis,
                        struct affine *ret) {
  const struct graph_value *out = graph_value(graph, op->outputs[0]);
  const struct plan_step *step = &op->plan.pointwise.steps[0];
  if (op->plan.pointwise.steps_count != 1 || step->type != graph_value(graph, x)->type) {
    return false;
  }
  *ret = (struct affine){.channels = out->dims[axis]};
  const bool x_first = is_x(op, &step->a, x);
  const struct plan_operand *other = x_first ? &step->b : &step->a;
  if (!x_first &&
      !(is_x(op, &step->b, x) &&
        (step->scalar == PLAN_S_ADD || step->scalar == PLAN_S_MUL || step->scalar == PLAN_S_FMA))) {
    return false;
  }
  double *numbers = per_channel(graph, op, other, out, axis);
  switch (step->scalar) {
  case PLAN_S_ADD:
    ret->shift = numbers;
    break;
  case PLAN_S_SUB:
    ret->shift = negated(graph, numbers, ret->channels, false);
    break;
  case PLAN_S_MUL:
    ret->scale = numbers;
    break;
  case PLAN_S_DIV:
    ret->scale = negated(graph, numbers, ret->channels, true);
    break;
  case PLAN_S_FMA:
    ret->scale = numbers;
    ret->shift = per_channel(graph, op, &step->c, out, axis);
    return ret->scale != NULL && ret->shift != NULL;
  default:
    return false;
  }
  return numbers != NULL;
}

static uint32_t rounded(struct graph *graph, enum plan_type type, uint32_t rank,
                        const uint32_t *dims, const double *numbers) {
  return graph_cast(graph, graph_add_constant(graph, PLAN_F64, rank, dims, numbers), type, false);
}

static void set_bias(struct graph *graph, struct graph_op *sum, const struct affine *affine) {
  const uint32_t bias = sum->inputs[2];
  double *numbers = context_take(graph->context, affine->channels, sizeof(numbers[0]));
  bool any = false;
  for (uint32_t c = 0; c < affine->channels; c++) {
    numbers[c] = bias != GRAPH_NONE ? graph_number_at(graph, bias, c) : 0;
    numbers[c] *= affine->scale != NULL ? affine->scale[c] : 1;
    numbers[c] += affine->shift != NULL ? affine->shift[c] : 0;
    any = true;
  }
  if (any && (bias != GRAPH_NONE || affine->shift != NULL)) {
    sum->inputs[2] =
        rounded(graph, graph_value(graph, sum->inputs[1])->type, 1, &affine->channels, numbers);
  }
}

/* The output channel that element `index` of the weights belongs to. */
static uint32_t channel_of(const struct graph_op *sum, const struct graph_value *weights,
                           uint64_t index, uint64_t inner) {
  if (sum->plan.kind == PLAN_OP_CONV) {
    return (uint32_t)(index / (inner * weights->dims[1]));
  }
  const uint32_t per_group = weights->dims[0] / sum->plan.conv.groups;
  const uint64_t row = index / inner;
  return (uint32_t)(row / weights->dims[1] / per_group * weights->dims[1] + row % weights->dims[1]);
}

static void scale_weights(struct graph *graph, struct graph_op *sum, const double *scale) {
  const struct graph_value weights = *graph_value(graph, sum->inputs[1]);
  const uint64_t elements = graph_elements(graph, sum->inputs[1]);
  uint64_t inner = 1;
  for (uint32_t i = 2; i < weights.rank; i++) {
    inner *= weights.dims[i];
  }
  if (weights.type == PLAN_F32) {
    const float *from = weights.data;
    float *to = context_take(graph->context, elements, sizeof(to[0]));
    for (uint64_t i = 0; i < elements; i++) {
      to[i] = (float)((double)from[i] * scale[channel_of(sum, &weights, i, inner)]);
    }
    sum->inputs[1] = graph_add_constant(graph, weights.type, weights.rank, weights.dims, to);
    return;
  }
  double *to = context_take(graph->context, elements, sizeof(to[0]));
  for (uint64_t i = 0; i < elements; i++) {
    to[i] = graph_number_at(graph, sum->inputs[1], i) * scale[channel_of(sum, &weights, i, inner)];
  }
  sum->inputs[1] = rounded(graph, weights.type, weights.rank, weights.dims, to);
}

static bool is_uniform(const struct affine *affine) {
  for (uint32_t c = 1; affine->scale != NULL && c < affine->channels; c++) {
    if (affine->scale[c] < affine->scale[0] || affine->scale[c] > affine->scale[0]) {
      return false;
    }
  }
  return true;
}

static bool absorb(struct graph *graph, struct graph_op *sum, const struct affine *affine) {
  const bool product = sum->plan.kind == PLAN_OP_MATMUL;
  if (sum->inputs[2] != GRAPH_NONE && !graph_is_constant(graph, sum->inputs[2])) {
    return false;
  }
  if (product) {
    if (!is_uniform(affine)) {
      return false;
    }
    if (affine->scale != NULL) {
      sum->plan.matmul.alpha = (float)((double)sum->plan.matmul.alpha * affine->scale[0]);
    }
  } else if (affine->scale != NULL) {
    if (!graph_is_constant(graph, sum->inputs[1])) {
      return false;
    }
    scale_weights(graph, sum, affine->scale);
  }
  set_bias(graph, sum, affine);
  return true;
}

void pass_affine(struct graph *graph) {
  for (uint32_t i = 0; i < graph->ops_count; i++) {
    struct graph_op *op = &graph->ops[i];
    if (op->plan.kind != PLAN_OP_POINTWISE) {
      continue;
    }
    for (uint32_t j = 0; j < op->inputs_count; j++) {
      const uint32_t x = op->inputs[j];
      struct graph_op *sum = graph_producer(graph, x);
      if (sum == NULL || !is_sum(sum) || graph_only_user(graph, x) != op ||
          !graph_same_dims(graph, x, op->outputs[0])) {
        continue;
      }
      const uint32_t axis = sum->plan.kind == PLAN_OP_MATMUL ? graph_value(graph, x)->rank - 1 : 1;
      struct affine affine;
      if (read_affine(graph, op, x, axis, &affine) && absorb(graph, sum, &affine)) {
        /* The sum writes what its scaled value was; a chain of these is taken link by link. */
        sum->outputs[0] = op->outputs[0];
        graph_value(graph, op->outputs[0])->producer = (uint32_t)(sum - graph->ops);
        op->plan.kind = (enum plan_op_kind)GRAPH_DEAD;
        break;
      }
    }
  }
}
