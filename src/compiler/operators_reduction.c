/* Along axes: sums, extremes, orders. */
#include <string.h>

#include "compiler/lowering.h"

/* The type a reduction can be computed in: small integers go by way of a wider one, exactly. */
static enum plan_type working_type(enum plan_type type) {
  switch (type) {
  case PLAN_I8:
  case PLAN_U8:
  case PLAN_I16:
  case PLAN_U16:
  case PLAN_BOOL:
    return PLAN_I32;
  case PLAN_U32:
    return PLAN_I64;
  default:
    return type;
  }
}

static uint32_t reduce(struct node *node, uint32_t x, enum plan_reduce_kind kind, uint32_t axes,
                       bool last_index, enum plan_type type) {
  const struct graph_value in = *graph_value(node->graph, x);
  uint32_t dims[PLAN_RANK_MAX];
  for (uint32_t i = 0; i < in.rank; i++) {
    dims[i] = (axes >> i & 1) != 0 ? 1 : in.dims[i];
  }
  const uint32_t out = graph_add_value(node->graph, type, in.rank, dims);
  struct graph_op *op = graph_add_op(node->graph, PLAN_OP_REDUCE, 1, &x, 1, &out);
  op->plan.reduce = (struct plan_reduce){.kind = kind, .axes = axes, .last_index = last_index};
  graph_finish_op(node->graph, op);
  return out;
}

static uint32_t without_axes(struct node *node, uint32_t value, uint32_t axes, bool keep) {
  const struct graph_value from = *graph_value(node->graph, value);
  uint32_t dims[PLAN_RANK_MAX];
  uint32_t rank = 0;
  for (uint32_t i = 0; i < from.rank; i++) {
    if (keep || (axes >> i & 1) == 0) {
      dims[rank++] = from.dims[i];
    }
  }
  return keep ? value : graph_view(node->graph, value, rank, dims);
}

static bool needs_float(enum plan_reduce_kind kind) {
  return kind == PLAN_REDUCE_LOG_SUM || kind == PLAN_REDUCE_LOG_SUM_EXP || kind == PLAN_REDUCE_L2 ||
         kind == PLAN_REDUCE_MEAN;
}

static void lower_reduce(struct node *node) {
  struct graph *graph = node->graph;
  const enum plan_reduce_kind kind = (enum plan_reduce_kind)node->variant;
  const uint32_t x = node_input(node, 0);
  const struct graph_value in = *graph_value(graph, x);
  uint32_t mask = 0;
  uint32_t count = 0;
  uint32_t axes[PLAN_RANK_MAX];
  if (needs_float(kind)) {
    node_check_float(node, x);
  }
  if (in.type == PLAN_U64) {
    node_unsupported(node, "reduces uint64; cast to int64 first");
  }
  if (!node_axes(node, 1, in.rank, &mask, &count, axes) || count == 0) {
    if (node_flag(node, "noop_with_empty_axes", false)) {
      if (kind != PLAN_REDUCE_SUM && kind != PLAN_REDUCE_MEAN && kind != PLAN_REDUCE_MAX &&
          kind != PLAN_REDUCE_MIN && kind != PLAN_REDUCE_PROD) {
        node_unsupported(node, "noop_with_empty_axes without axes is not supported");
      }
      node->outputs[0] = x;
      return;
    }
    mask = (1u << in.rank) - 1;
  }
  const enum plan_type working = working_type(in.type);
  const uint32_t from = graph_cast(graph, x, working, false);
  const uint32_t sum = in.rank == 0 ? GRAPH_NONE : reduce(node, from, kind, mask, false, working);
  if (sum == GRAPH_NONE) {
    node_unsupported(node, "its input is a scalar");
  }
  node->outputs[0] = without_axes(node, graph_cast(graph, sum, in.type, false), mask,
                                  node_flag(node, "keepdims", true));
}

static void lower_arg(struct node *node) {
  const uint32_t x = node_input(node, 0);
  const struct graph_value in = *graph_value(node->graph, x);
  node_check_rank(node, x, 1, PLAN_RANK_MAX);
  if (in.type == PLAN_U64) {
    node_unsupported(node, "compares uint64; cast to int64 first");
  }
  const uint32_t axis = node_axis(node, node_int(node, "axis", 0), in.rank);
  const uint32_t from = graph_cast(node->graph, x, working_type(in.type), false);
  const uint32_t index = reduce(node, from, (enum plan_reduce_kind)node->variant, 1u << axis,
                                node_flag(node, "select_last_index", false), PLAN_I64);
  node->outputs[0] = without_axes(node, index, 1u << axis, node_flag(node, "keepdims", true));
}

static void lower_topk(struct node *node) {
  struct graph *graph = node->graph;
  const uint32_t x = node_input(node, 0);
  const struct graph_value in = *graph_value(graph, x);
  int64_t k = 0;
  node_check_rank(node, x, 1, PLAN_RANK_MAX);
  const uint32_t axis = node_axis(node, node_int(node, "axis", -1), in.rank);
  if (node->opset < 10) {
    k = node_int(node, "k", 0);
  } else if (node_constant_ints(node, 1, "k", 1, &k) != 1) {
    node_malformed(node, "k must be one number");
  }
  if (k < 1 || k > (int64_t)in.dims[axis]) {
    node_malformed(node, "k is %lld; axis %u has %u elements", (long long)k, axis, in.dims[axis]);
  }
  if (in.type == PLAN_U64) {
    node_unsupported(node, "compares uint64; cast to int64 first");
  }
  const enum plan_type working = working_type(in.type);
  const uint32_t from = graph_cast(graph, x, working, false);
  uint32_t dims[PLAN_RANK_MAX];
  memcpy(dims, in.dims, sizeof(dims));
  dims[axis] = (uint32_t)k;
  const uint32_t outputs[2] = {graph_add_value(graph, working, in.rank, dims),
                               graph_add_value(graph, PLAN_I64, in.rank, dims)};
  struct graph_op *op = graph_add_op(graph, PLAN_OP_TOPK, 1, &from, 2, outputs);
  op->plan.topk = (struct plan_topk){.axis = axis, .largest = node_flag(node, "largest", true)};
  graph_finish_op(graph, op);
  node->outputs[0] = graph_cast(graph, outputs[0], in.type, false);
  if (node->outputs_count > 1) {
    node->outputs[1] = outputs[1];
  }
}

static void lower_cumsum(struct node *node) {
  const uint32_t x = node_input(node, 0);
  const struct graph_value in = *graph_value(node->graph, x);
  int64_t axis = 0;
  if (node_constant_ints(node, 1, "axis", 1, &axis) != 1) {
    node_malformed(node, "axis must be one number");
  }
  const uint32_t out = graph_add_value(node->graph, in.type, in.rank, in.dims);
  struct graph_op *op = graph_add_op(node->graph, PLAN_OP_CUMSUM, 1, &x, 1, &out);
  op->plan.cumsum = (struct plan_cumsum){.axis = node_axis(node, axis, in.rank),
                                         .exclusive = node_flag(node, "exclusive", false),
                                         .reverse = node_flag(node, "reverse", false)};
  graph_finish_op(node->graph, op);
  node->outputs[0] = out;
}

static const struct operator_line LINES[] = {
    {"", "ArgMax", 1, 0, lower_arg, PLAN_REDUCE_ARG_MAX},
    {"", "ArgMin", 1, 0, lower_arg, PLAN_REDUCE_ARG_MIN},
    {"", "CumSum", 11, 0, lower_cumsum, 0},
    {"", "ReduceL1", 1, 0, lower_reduce, PLAN_REDUCE_L1},
    {"", "ReduceL2", 1, 0, lower_reduce, PLAN_REDUCE_L2},
    {"", "ReduceLogSum", 1, 0, lower_reduce, PLAN_REDUCE_LOG_SUM},
    {"", "ReduceLogSumExp", 1, 0, lower_reduce, PLAN_REDUCE_LOG_SUM_EXP},
    {"", "ReduceMax", 1, 0, lower_reduce, PLAN_REDUCE_MAX},
    {"", "ReduceMean", 1, 0, lower_reduce, PLAN_REDUCE_MEAN},
    {"", "ReduceMin", 1, 0, lower_reduce, PLAN_REDUCE_MIN},
    {"", "ReduceProd", 1, 0, lower_reduce, PLAN_REDUCE_PROD},
    {"", "ReduceSum", 1, 0, lower_reduce, PLAN_REDUCE_SUM},
    {"", "ReduceSumSquare", 1, 0, lower_reduce, PLAN_REDUCE_SUM_SQUARE},
    {"", "TopK", 1, 0, lower_topk, 0},
    {0},
};

const struct operator_family OPERATORS_REDUCTION = {"reductions", LINES};
