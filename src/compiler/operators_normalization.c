/* Sums over axes that scale what they were taken of: softmax and the normalisations. */
#include <math.h>
#include <string.h>

#include "compiler/lowering.h"

static uint32_t softmax(struct node *node, uint32_t x, uint32_t axis) {
  const struct graph_value in = *graph_value(node->graph, x);
  const uint32_t out = graph_add_value(node->graph, in.type, in.rank, in.dims);
  struct graph_op *op = graph_add_op(node->graph, PLAN_OP_SOFTMAX, 1, &x, 1, &out);
  op->plan.softmax = (struct plan_softmax){
      .axis = axis, .logarithm = node->variant == 1, .hard = node->variant == 2};
  graph_finish_op(node->graph, op);
  return out;
}

/* Up to opset 12 all axes from `axis` on count as one. */
static void lower_softmax(struct node *node) {
  struct graph *graph = node->graph;
  const uint32_t x = node_input(node, 0);
  const struct graph_value in = *graph_value(graph, x);
  node_check_float(node, x);
  if (in.rank == 0) {
    node_unsupported(node, "its input is a scalar");
  }
  const uint32_t axis = node_axis(node, node_int(node, "axis", node->opset < 13 ? 1 : -1), in.rank);
  if (node->opset >= 13 || axis + 1 == in.rank) {
    node->outputs[0] = softmax(node, x, axis);
    return;
  }
  uint32_t dims[2] = {1, 1};
  for (uint32_t i = 0; i < in.rank; i++) {
    dims[i < axis ? 0 : 1] *= in.dims[i];
  }
  const uint32_t flat = graph_view(graph, x, 2, dims);
  node->outputs[0] = graph_view(graph, softmax(node, flat, 1), in.rank, in.dims);
}

/* An affine parameter as the elements of the normalised axes; one that broadcasts is spread out. */
static uint32_t parameter(struct node *node, uint32_t index, const struct graph_value *in,
                          uint32_t axis) {
  const uint32_t value = node_optional_input(node, index);
  if (value == GRAPH_NONE) {
    return GRAPH_NONE;
  }
  node_check_rank(node, value, 0, in->rank - axis);
  return graph_expand(node->graph, value, in->rank - axis, in->dims + axis);
}

static uint32_t reduce(struct graph *graph, enum plan_reduce_kind kind, uint32_t x, uint32_t axes) {
  const struct graph_value in = *graph_value(graph, x);
  uint32_t dims[PLAN_RANK_MAX];
  for (uint32_t axis = 0; axis < in.rank; axis++) {
    dims[axis] = (axes >> axis & 1) != 0 ? 1 : in.dims[axis];
  }
  const uint32_t out = graph_add_value(graph, in.type, in.rank, dims);
  struct graph_op *op = graph_add_op(graph, PLAN_OP_REDUCE, 1, &x, 1, &out);
  op->plan.reduce.kind = kind;
  op->plan.reduce.axes = axes;
  graph_finish_op(graph, op);
  return out;
}

/* The mean and 1 / deviation that training wants to keep. */
static void layer_norm_moments(struct node *node, uint32_t x, uint32_t axis, float epsilon) {
  struct graph *graph = node->graph;
  const struct graph_value in = *graph_value(graph, x);
  const uint32_t axes = (1u << in.rank) - (1u << axis);
  const uint32_t mean = reduce(graph, PLAN_REDUCE_MEAN, x, axes);
  const uint32_t centred = graph_binary(graph, PLAN_S_SUB, x, mean);
  const uint32_t variance =
      reduce(graph, PLAN_REDUCE_MEAN, graph_binary(graph, PLAN_S_MUL, centred, centred), axes);
  const uint32_t safe =
      graph_binary(graph, PLAN_S_ADD, variance, graph_add_number(graph, in.type, (double)epsilon));
  node->outputs[1] = mean;
  if (node->outputs_count > 2) {
    node->outputs[2] = graph_unary(graph, PLAN_S_RECIPROCAL, graph_unary(graph, PLAN_S_SQRT, safe));
  }
}

static void lower_layer_norm(struct node *node) {
  struct graph *graph = node->graph;
  const uint32_t x = node_input(node, 0);
  const struct graph_value in = *graph_value(graph, x);
  node_check_float(node, x);
  const uint32_t axis = node_axis(node, node_int(node, "axis", -1), in.rank);
  const uint32_t inputs[3] = {x, parameter(node, 1, &in, axis), parameter(node, 2, &in, axis)};
  if ((node->outputs_count > 1 && node->wanted[1]) ||
      (node->outputs_count > 2 && node->wanted[2])) {
    layer_norm_moments(node, x, axis, node_float(node, "epsilon", 1e-5F));
  }
  const uint32_t out = graph_add_value(graph, in.type, in.rank, in.dims);
  struct graph_op *op = graph_add_op(graph, PLAN_OP_LAYER_NORM, 3, inputs, 1, &out);
  op->plan.normalize = (struct plan_normalize){
      .axis = axis, .rms = node->variant == 1, .epsilon = node_float(node, "epsilon", 1e-5F)};
  graph_finish_op(graph, op);
  node->outputs[0] = out;
}

static uint32_t group_norm(struct node *node, uint32_t x, uint32_t scale, uint32_t shift,
                           uint32_t groups) {
  const struct graph_value in = *graph_value(node->graph, x);
  const uint32_t inputs[3] = {x, scale, shift};
  const uint32_t out = graph_add_value(node->graph, in.type, in.rank, in.dims);
  struct graph_op *op = graph_add_op(node->graph, PLAN_OP_GROUP_NORM, 3, inputs, 1, &out);
  op->plan.normalize =
      (struct plan_normalize){.groups = groups, .epsilon = node_float(node, "epsilon", 1e-5F)};
  graph_finish_op(node->graph, op);
  return out;
}

/* Opset 18 gives scale and shift per group, 21 per channel. */
static uint32_t per_channel(struct node *node, uint32_t value, uint32_t channels, uint32_t groups) {
  struct graph *graph = node->graph;
  if (graph_elements(graph, value) == channels) {
    return graph_view(graph, value, 1, &channels);
  }
  if (graph_elements(graph, value) != groups) {
    node_malformed(node, "its scale and bias fit neither channels nor groups");
  }
  const uint32_t column[2] = {groups, 1};
  const uint32_t spread[2] = {groups, channels / groups};
  return graph_view(graph, graph_expand(graph, graph_view(graph, value, 2, column), 2, spread), 1,
                    &channels);
}

static void lower_group_norm(struct node *node) {
  const uint32_t x = node_input(node, 0);
  node_check_float(node, x);
  node_check_rank(node, x, 3, PLAN_RANK_MAX);
  const uint32_t channels = graph_value(node->graph, x)->dims[1];
  const int64_t groups = node->variant == 1 ? (int64_t)channels : node_int(node, "num_groups", 0);
  if (groups < 1 || groups > (int64_t)channels || channels % groups != 0) {
    node_malformed(node, "num_groups %lld doesn't divide %u channels", (long long)groups, channels);
  }
  const uint32_t scale = per_channel(node, node_input(node, 1), channels, (uint32_t)groups);
  const uint32_t shift = per_channel(node, node_input(node, 2), channels, (uint32_t)groups);
  node->outputs[0] = group_norm(node, x, scale, shift, (uint32_t)groups);
}

static void lower_lp_normalization(struct node *node) {
  const uint32_t x = node_input(node, 0);
  const int64_t p = node_int(node, "p", 2);
  node_check_float(node, x);
  if (p != 1 && p != 2) {
    node_malformed(node, "p is %lld; it must be 1 or 2", (long long)p);
  }
  const uint32_t axis =
      node_axis(node, node_int(node, "axis", -1), graph_value(node->graph, x)->rank);
  const uint32_t norm =
      reduce(node->graph, p == 1 ? PLAN_REDUCE_L1 : PLAN_REDUCE_L2, x, 1u << axis);
  /* Where the norm is 0 all elements are: 0 divided by 1 is the 0 that is wanted. */
  const struct graph_value n = *graph_value(node->graph, norm);
  const struct plan_step steps[2] = {
      {.scalar = PLAN_S_EQUAL,
       .type = n.type,
       .a = graph_operand_input(0),
       .b = graph_operand_number(0)},
      {.scalar = PLAN_S_SELECT,
       .type = n.type,
       .a = graph_operand_step(0),
       .b = graph_operand_number(1),
       .c = graph_operand_input(0)},
  };
  const uint32_t safe = graph_pointwise(node->graph, 1, &norm, 2, steps, n.rank, n.dims);
  node->outputs[0] = graph_binary(node->graph, PLAN_S_DIV, x, safe);
}

/* (x - E x) / (sqrt(E x^2 - (E x)^2) + 1e-9), as ONNX defines it. */
static void lower_mean_variance(struct node *node) {
  struct graph *graph = node->graph;
  const uint32_t x = node_input(node, 0);
  uint32_t mask = 0;
  uint32_t count = 0;
  uint32_t axes[PLAN_RANK_MAX];
  node_check_float(node, x);
  if (!node_axes(node, 1, graph_value(graph, x)->rank, &mask, &count, axes)) {
    node_check_rank(node, x, 4, PLAN_RANK_MAX);
    mask = 1u << 0 | 1u << 2 | 1u << 3;
  }
  const uint32_t mean = reduce(graph, PLAN_REDUCE_MEAN, x, mask);
  const uint32_t centred = graph_binary(graph, PLAN_S_SUB, x, mean);
  const uint32_t square = graph_binary(graph, PLAN_S_MUL, centred, centred);
  const uint32_t deviation =
      graph_unary(graph, PLAN_S_SQRT, reduce(graph, PLAN_REDUCE_MEAN, square, mask));
  const uint32_t safe = graph_binary(graph, PLAN_S_ADD, deviation,
                                     graph_add_number(graph, graph_value(graph, x)->type, 1e-9));
  node->outputs[0] = graph_binary(graph, PLAN_S_DIV, centred, safe);
}

static const struct operator_line LINES[] = {
    {"", "GroupNormalization", 18, 0, lower_group_norm, 0},
    {"", "Hardmax", 1, 0, lower_softmax, 2},
    {"", "InstanceNormalization", 6, 0, lower_group_norm, 1},
    {"", "LayerNormalization", 17, 0, lower_layer_norm, 0},
    {"", "LogSoftmax", 1, 0, lower_softmax, 1},
    {"", "LpNormalization", 1, 0, lower_lp_normalization, 0},
    {"", "MeanVarianceNormalization", 9, 0, lower_mean_variance, 0},
    {"", "Softmax", 1, 0, lower_softmax, 0},
    {0},
};

const struct operator_family OPERATORS_NORMALIZATION = {"normalisation", LINES};
