/* Between floats and small integers, computed as ONNX writes it down. */
#include <string.h>

#include "compiler/lowering.h"

/* A scale or zero point of one number, or one per element of `axis`, so that it broadcasts. */
static uint32_t along_axis(struct node *node, uint32_t value, const struct graph_value *in,
                           uint32_t axis) {
  const struct graph_value v = *graph_value(node->graph, value);
  uint32_t dims[PLAN_RANK_MAX] = {1, 1, 1, 1, 1, 1, 1, 1};
  if (graph_elements(node->graph, value) == 1) {
    return graph_view(node->graph, value, 0, NULL);
  }
  if (v.rank != 1 || in->rank == 0 || v.dims[0] != in->dims[axis]) {
    node_unsupported(node, "its scale is neither one number nor one for each element of its axis "
                           "(blocks are not supported)");
  }
  dims[axis] = v.dims[0];
  return graph_view(node->graph, value, in->rank, dims);
}

static uint32_t read_axis(const struct node *node, const struct graph_value *in) {
  const int64_t axis = node_int(node, "axis", 1);
  /* With a scale of one number the axis means nothing, and the default may lie outside. */
  return axis >= (int64_t)in->rank || axis < -(int64_t)in->rank ? 0
                                                                : node_axis(node, axis, in->rank);
}

static void check_blocks(const struct node *node) {
  if (node_int(node, "block_size", 0) != 0) {
    node_unsupported(node, "block_size is not supported");
  }
}

static void lower_dequantize(struct node *node) {
  struct graph *graph = node->graph;
  const uint32_t x = node_input(node, 0);
  const struct graph_value in = *graph_value(graph, x);
  const uint32_t axis = read_axis(node, &in);
  check_blocks(node);
  const uint32_t scale = along_axis(node, node_input(node, 1), &in, axis);
  const enum plan_type type = graph_value(graph, scale)->type;
  node_check_float(node, scale);
  uint32_t value = graph_cast(graph, x, type, false);
  if (node_has_input(node, 2)) {
    const uint32_t zero = along_axis(node, node_input(node, 2), &in, axis);
    value = graph_binary(graph, PLAN_S_SUB, value, graph_cast(graph, zero, type, false));
  }
  node->outputs[0] = graph_binary(graph, PLAN_S_MUL, value, scale);
}

static uint32_t quantize(struct graph *graph, uint32_t x, uint32_t scale, uint32_t zero,
                         enum plan_type type) {
  const enum plan_type real = graph_value(graph, x)->type;
  uint32_t value = graph_unary(graph, PLAN_S_ROUND, graph_binary(graph, PLAN_S_DIV, x, scale));
  if (zero != GRAPH_NONE) {
    value = graph_binary(graph, PLAN_S_ADD, value, graph_cast(graph, zero, real, false));
  }
  return graph_cast(graph, value, type, true);
}

static void lower_quantize(struct node *node) {
  struct graph *graph = node->graph;
  const uint32_t x = node_input(node, 0);
  const struct graph_value in = *graph_value(graph, x);
  const uint32_t axis = read_axis(node, &in);
  enum plan_type type = PLAN_U8;
  uint32_t zero = GRAPH_NONE;
  check_blocks(node);
  node_check_float(node, x);
  if (node_has_input(node, 2)) {
    zero = along_axis(node, node_input(node, 2), &in, axis);
    type = graph_value(graph, zero)->type;
  } else {
    const int64_t dtype = node_int(node, "output_dtype", 0);
    if (dtype != 0 && (dtype < 0 || dtype > INT32_MAX || !lower_type((int32_t)dtype, &type))) {
      node_unsupported(node, "output_dtype %lld is not supported", (long long)dtype);
    }
  }
  if (plan_type_is_float(type)) {
    node_unsupported(node, "quantises to %s; integers are supported", plan_type_text(type));
  }
  const uint32_t scale = along_axis(node, node_input(node, 1), &in, axis);
  node_check_types(node, x, scale);
  node->outputs[0] = quantize(graph, x, scale, zero, type);
}

static uint32_t extreme(struct node *node, uint32_t x, enum plan_reduce_kind kind,
                        enum plan_scalar scalar) {
  struct graph *graph = node->graph;
  const struct graph_value in = *graph_value(graph, x);
  uint32_t dims[PLAN_RANK_MAX] = {1, 1, 1, 1, 1, 1, 1, 1};
  const uint32_t out = graph_add_value(graph, in.type, in.rank, dims);
  struct graph_op *op = graph_add_op(graph, PLAN_OP_REDUCE, 1, &x, 1, &out);
  op->plan.reduce.kind = kind;
  op->plan.reduce.axes = (1u << in.rank) - 1;
  graph_finish_op(graph, op);
  return graph_binary(graph, scalar, graph_view(graph, out, 0, NULL),
                      graph_add_number(graph, in.type, 0));
}

/* One scale for the whole batch would make a request's answer depend on its neighbours. */
static void lower_dynamic_quantize(struct node *node) {
  struct graph *graph = node->graph;
  const uint32_t x = node_input(node, 0);
  if (node->compiler->batch_size > 1) {
    node_unsupported(node, "takes its scale from the whole batch");
  }
  if (graph_value(graph, x)->type != PLAN_F32 || graph_value(graph, x)->rank == 0) {
    node_unsupported(node, "its input must be a float32 tensor");
  }
  const uint32_t low = extreme(node, x, PLAN_REDUCE_MIN, PLAN_S_MIN);
  const uint32_t high = extreme(node, x, PLAN_REDUCE_MAX, PLAN_S_MAX);
  const uint32_t scale = graph_binary(graph, PLAN_S_DIV, graph_binary(graph, PLAN_S_SUB, high, low),
                                      graph_add_number(graph, PLAN_F32, 255));
  const uint32_t ratio =
      graph_unary(graph, PLAN_S_NEG, graph_binary(graph, PLAN_S_DIV, low, scale));
  const uint32_t zero = graph_cast(graph, graph_unary(graph, PLAN_S_ROUND, ratio), PLAN_U8, true);
  node->outputs[0] = quantize(graph, x, scale, zero, PLAN_U8);
  if (node->outputs_count > 1) {
    node->outputs[1] = scale;
  }
  if (node->outputs_count > 2) {
    node->outputs[2] = zero;
  }
}

static const struct operator_line LINES[] = {
    {"", "DequantizeLinear", 10, 0, lower_dequantize, 0},
    {"", "DynamicQuantizeLinear", 11, 0, lower_dynamic_quantize, 0},
    {"", "QuantizeLinear", 10, 0, lower_quantize, 0},
    {0},
};

const struct operator_family OPERATORS_QUANTIZATION = {"quantisation", LINES};
