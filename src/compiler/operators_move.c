/* Elements to other places, their order known while compiling. */
#include <string.h>

#include "compiler/lowering.h"

static void lower_transpose(struct node *node) {
  const uint32_t x = node_input(node, 0);
  const uint32_t rank = graph_value(node->graph, x)->rank;
  int64_t numbers[PLAN_RANK_MAX];
  uint32_t permutation[PLAN_RANK_MAX];
  uint32_t seen = 0;
  const uint32_t count = node_ints(node, "perm", PLAN_RANK_MAX, numbers);
  if (count != 0 && count != rank) {
    node_malformed(node, "perm has %u numbers for rank %u", count, rank);
  }
  for (uint32_t i = 0; i < rank; i++) {
    permutation[i] = count == 0 ? rank - 1 - i : node_axis(node, numbers[i], rank);
    seen |= 1u << permutation[i];
  }
  if (seen != (1u << rank) - 1) {
    node_malformed(node, "perm names an axis twice");
  }
  node->outputs[0] = graph_transpose(node->graph, x, permutation);
}

static void lower_concat(struct node *node) {
  struct graph *graph = node->graph;
  const struct graph_value first = *graph_value(graph, node_input(node, 0));
  const uint32_t axis = node_axis(node, node_int(node, "axis", 1), first.rank);
  uint32_t *inputs = context_take(node->context, node->inputs_count, sizeof(inputs[0]));
  uint32_t count = 0;
  uint32_t dims[PLAN_RANK_MAX];
  uint64_t total = 0;
  memcpy(dims, first.dims, sizeof(dims));
  for (uint32_t i = 0; i < node->inputs_count; i++) {
    const uint32_t input = node_input(node, i);
    const struct graph_value *value = graph_value(graph, input);
    node_check_types(node, node_input(node, 0), input);
    total += value->dims[axis];
    dims[axis] = value->dims[axis];
    if (value->rank != first.rank || memcmp(dims, value->dims, sizeof(dims)) != 0) {
      node_malformed(node, "input %u doesn't fit the others", i);
    }
    if (value->dims[axis] > 0) {
      inputs[count++] = input;
    }
  }
  if (count <= 1) {
    node->outputs[0] = count == 1 ? inputs[0] : node_input(node, 0);
    return;
  }
  dims[axis] = node_size(node, (int64_t)total, "a dimension");
  const uint32_t out = graph_add_value(graph, first.type, first.rank, dims);
  struct graph_op *op = graph_add_op(graph, PLAN_OP_CONCAT, count, inputs, 1, &out);
  op->plan.axis = axis;
  graph_finish_op(graph, op);
  node->outputs[0] = out;
}

static uint32_t slice(struct graph *graph, uint32_t x, const struct plan_slice *slice,
                      const uint32_t *dims) {
  const struct graph_value in = *graph_value(graph, x);
  if (memcmp(dims, in.dims, in.rank * sizeof(dims[0])) == 0) {
    bool all = true;
    for (uint32_t i = 0; i < in.rank; i++) {
      all &= slice->steps[i] == 1 || in.dims[i] == 1;
    }
    if (all) {
      return x;
    }
  }
  const uint32_t out = graph_add_value(graph, in.type, in.rank, dims);
  struct graph_op *op = graph_add_op(graph, PLAN_OP_SLICE, 1, &x, 1, &out);
  op->plan.slice = *slice;
  graph_finish_op(graph, op);
  return out;
}

static void whole(const struct graph_value *in, struct plan_slice *slice, uint32_t *dims) {
  memset(slice, 0, sizeof(*slice));
  for (uint32_t i = 0; i < PLAN_RANK_MAX; i++) {
    slice->steps[i] = 1;
    dims[i] = in->dims[i];
  }
}

static int64_t clamp(int64_t number, int64_t low, int64_t high) {
  return number < low ? low : number > high ? high : number;
}

static void slice_axis(struct node *node, uint32_t size, int64_t start, int64_t end, int64_t step,
                       uint32_t axis, struct plan_slice *slice, uint32_t *dims) {
  const int64_t n = size;
  if (step == 0) {
    node_malformed(node, "a step is 0");
  }
  step = clamp(step, -INT32_MAX, INT32_MAX);
  start = start < 0 ? start + n : start;
  end = end < 0 && end >= -INT32_MAX ? end + n : end;
  int64_t count = 0;
  if (step > 0) {
    start = clamp(start, 0, n);
    end = clamp(end, 0, n);
    count = end > start ? (end - start + step - 1) / step : 0;
  } else {
    start = clamp(start, 0, n - 1);
    end = clamp(end, -1, n - 1);
    count = start > end ? (start - end - step - 1) / -step : 0;
  }
  slice->starts[axis] = (uint32_t)(count > 0 ? start : 0);
  slice->steps[axis] = (int32_t)step;
  dims[axis] = (uint32_t)count;
}

static void lower_slice(struct node *node) {
  const uint32_t x = node_input(node, 0);
  const struct graph_value in = *graph_value(node->graph, x);
  int64_t starts[PLAN_RANK_MAX];
  int64_t ends[PLAN_RANK_MAX];
  int64_t axes[PLAN_RANK_MAX];
  int64_t steps[PLAN_RANK_MAX];
  uint32_t counts[4] = {0};
  const bool attributes = node->opset < 10;
  counts[0] = attributes ? node_ints(node, "starts", PLAN_RANK_MAX, starts)
                         : node_constant_ints(node, 1, "starts", PLAN_RANK_MAX, starts);
  counts[1] = attributes ? node_ints(node, "ends", PLAN_RANK_MAX, ends)
                         : node_constant_ints(node, 2, "ends", PLAN_RANK_MAX, ends);
  if (attributes) {
    counts[2] = node_ints(node, "axes", PLAN_RANK_MAX, axes);
  } else if (node_has_input(node, 3)) {
    counts[2] = node_constant_ints(node, 3, "axes", PLAN_RANK_MAX, axes);
  }
  if (node_has_input(node, 4)) {
    counts[3] = node_constant_ints(node, 4, "steps", PLAN_RANK_MAX, steps);
  }
  const uint32_t count = counts[0];
  if (counts[1] != count || (counts[2] != 0 && counts[2] != count) ||
      (counts[3] != 0 && counts[3] != count) || count > in.rank) {
    node_malformed(node, "its starts, ends, axes and steps don't fit one another");
  }
  struct plan_slice plan;
  uint32_t dims[PLAN_RANK_MAX];
  whole(&in, &plan, dims);
  for (uint32_t i = 0; i < count; i++) {
    const uint32_t axis = counts[2] != 0 ? node_axis(node, axes[i], in.rank) : i;
    slice_axis(node, in.dims[axis], starts[i], ends[i], counts[3] != 0 ? steps[i] : 1, axis, &plan,
               dims);
  }
  node->outputs[0] = slice(node->graph, x, &plan, dims);
}

static void lower_split(struct node *node) {
  const uint32_t x = node_input(node, 0);
  const struct graph_value in = *graph_value(node->graph, x);
  const uint32_t axis = node_axis(node, node_int(node, "axis", 0), in.rank);
  const uint32_t count = node->outputs_count;
  int64_t *sizes = context_take(node->context, count + 1, sizeof(sizes[0]));
  uint32_t given = 0;
  if (node->opset < 13) {
    given = node_ints(node, "split", count, sizes);
  } else if (node_has_input(node, 1)) {
    given = node_constant_ints(node, 1, "split", count, sizes);
  }
  if (given != 0 && given != count) {
    node_malformed(node, "split has %u sizes for %u outputs", given, count);
  }
  if (count == 0) {
    node_malformed(node, "has no outputs");
  }
  const uint32_t each = (in.dims[axis] + count - 1) / count;
  struct plan_slice plan;
  uint32_t dims[PLAN_RANK_MAX];
  whole(&in, &plan, dims);
  uint64_t at = 0;
  for (uint32_t i = 0; i < count; i++) {
    const uint64_t left = in.dims[axis] - at;
    const uint64_t size = given != 0    ? node_size(node, sizes[i], "a size")
                          : each < left ? each
                                        : left;
    if (size > left) {
      node_malformed(node, "its sizes are more than the %u of axis %u", in.dims[axis], axis);
    }
    plan.starts[axis] = size > 0 ? (uint32_t)at : 0;
    dims[axis] = (uint32_t)size;
    if (node->wanted[i]) {
      node->outputs[i] = slice(node->graph, x, &plan, dims);
    }
    at += size;
  }
  if (at != in.dims[axis]) {
    node_malformed(node, "its sizes are less than the %u of axis %u", in.dims[axis], axis);
  }
}

/* The pads of each axis; opset 18 may name axes. */
static void read_pads(struct node *node, uint32_t rank, int64_t before[PLAN_RANK_MAX],
                      int64_t after[PLAN_RANK_MAX]) {
  int64_t pads[2 * PLAN_RANK_MAX];
  int64_t axes[PLAN_RANK_MAX];
  uint32_t axes_count = rank;
  const uint32_t count = node->opset < 11
                             ? node_ints(node, "pads", 2 * PLAN_RANK_MAX, pads)
                             : node_constant_ints(node, 1, "pads", 2 * PLAN_RANK_MAX, pads);
  for (uint32_t i = 0; i < rank; i++) {
    axes[i] = i;
  }
  if (node_has_input(node, 3)) {
    axes_count = node_constant_ints(node, 3, "axes", PLAN_RANK_MAX, axes);
  }
  if (count != 2 * axes_count) {
    node_malformed(node, "pads has %u numbers; %u are needed", count, 2 * axes_count);
  }
  for (uint32_t i = 0; i < axes_count; i++) {
    const uint32_t axis = node_axis(node, axes[i], rank);
    before[axis] = pads[i];
    after[axis] = pads[axes_count + i];
  }
}

static void lower_pad(struct node *node) {
  struct graph *graph = node->graph;
  const uint32_t x = node_input(node, 0);
  const struct graph_value in = *graph_value(graph, x);
  const char *mode = node_text(node, "mode", "constant");
  struct plan_pad pad = {.mode = PLAN_PAD_FILL};
  if (strcmp(mode, "reflect") == 0) {
    pad.mode = PLAN_PAD_REFLECT;
  } else if (strcmp(mode, "edge") == 0) {
    pad.mode = PLAN_PAD_EDGE;
  } else if (strcmp(mode, "wrap") == 0) {
    pad.mode = PLAN_PAD_WRAP;
  } else if (strcmp(mode, "constant") != 0) {
    node_unsupported(node, "mode '%s' is not supported", mode);
  }
  if (node->opset < 11) {
    pad.fill = (double)node_float(node, "value", 0);
  } else if (node_has_input(node, 2)) {
    const uint32_t fill = node_constant(node, 2, "value");
    if (graph_elements(graph, fill) > 0 && !graph_is_scalar(graph, fill, &pad.fill)) {
      node_malformed(node, "its value must be one number");
    }
  }
  int64_t before[PLAN_RANK_MAX] = {0};
  int64_t after[PLAN_RANK_MAX] = {0};
  uint32_t dims[PLAN_RANK_MAX];
  bool any = false;
  read_pads(node, in.rank, before, after);
  for (uint32_t i = 0; i < in.rank; i++) {
    if (before[i] < -INT32_MAX / 4 || before[i] > INT32_MAX / 4 || after[i] < -INT32_MAX / 4 ||
        after[i] > INT32_MAX / 4) {
      node_malformed(node, "a pad is out of range");
    }
    if (pad.mode == PLAN_PAD_REFLECT && (before[i] >= in.dims[i] || after[i] >= in.dims[i])) {
      node_unsupported(node, "reflects more than the %u elements of axis %u", in.dims[i], i);
    }
    pad.before[i] = (int32_t)before[i];
    dims[i] = node_size(node, (int64_t)in.dims[i] + before[i] + after[i], "a dimension");
    any |= before[i] != 0 || after[i] != 0;
  }
  if (!any) {
    node->outputs[0] = x;
    return;
  }
  const uint32_t out = graph_add_value(graph, in.type, in.rank, dims);
  struct graph_op *op = graph_add_op(graph, PLAN_OP_PAD, 1, &x, 1, &out);
  op->plan.pad = pad;
  graph_finish_op(graph, op);
  node->outputs[0] = out;
}

/* DepthToSpace and its inverse: a view, a transpose, a view. */
static uint32_t read_block(struct node *node, const struct graph_value *in) {
  const int64_t block = node_int(node, "blocksize", 0);
  node_check_rank(node, node_input(node, 0), 4, 4);
  if (block < 1 || block > (int64_t)in->dims[1] + in->dims[2]) {
    node_malformed(node, "blocksize is %lld", (long long)block);
  }
  return (uint32_t)block;
}

static void lower_depth_to_space(struct node *node) {
  static const uint32_t DCR[6] = {0, 3, 4, 1, 5, 2};
  static const uint32_t CRD[6] = {0, 1, 4, 2, 5, 3};
  const uint32_t x = node_input(node, 0);
  const struct graph_value in = *graph_value(node->graph, x);
  const uint32_t block = read_block(node, &in);
  const bool crd = strcmp(node_text(node, "mode", "DCR"), "CRD") == 0;
  const uint32_t square = block * block;
  if (in.dims[1] % square != 0) {
    node_malformed(node, "%u channels don't divide by %u", in.dims[1], square);
  }
  const uint32_t depth = in.dims[1] / square;
  const uint32_t apart[6] = {in.dims[0],          crd ? depth : block, block,
                             crd ? block : depth, in.dims[2],          in.dims[3]};
  const uint32_t dims[4] = {in.dims[0], depth, in.dims[2] * block, in.dims[3] * block};
  node->outputs[0] = graph_view(
      node->graph,
      graph_transpose(node->graph, graph_view(node->graph, x, 6, apart), crd ? CRD : DCR), 4, dims);
}

static void lower_space_to_depth(struct node *node) {
  static const uint32_t ORDER[6] = {0, 3, 5, 1, 2, 4};
  const uint32_t x = node_input(node, 0);
  const struct graph_value in = *graph_value(node->graph, x);
  const uint32_t block = read_block(node, &in);
  if (node_has(node, "mode")) {
    node_unsupported(node, "attribute 'mode' is of a later opset");
  }
  if (in.dims[2] % block != 0 || in.dims[3] % block != 0) {
    node_malformed(node, "its image doesn't divide by %u", block);
  }
  const uint32_t height = in.dims[2] / block;
  const uint32_t width = in.dims[3] / block;
  const uint32_t apart[6] = {in.dims[0], in.dims[1], height, block, width, block};
  const uint32_t dims[4] = {in.dims[0], in.dims[1] * block * block, height, width};
  node->outputs[0] = graph_view(
      node->graph, graph_transpose(node->graph, graph_view(node->graph, x, 6, apart), ORDER), 4,
      dims);
}

static const struct operator_line LINES[] = {
    {"", "Concat", 4, 0, lower_concat, 0},
    {"", "DepthToSpace", 1, 0, lower_depth_to_space, 0},
    {"", "Pad", 2, 0, lower_pad, 0},
    {"", "Slice", 1, 0, lower_slice, 0},
    {"", "SpaceToDepth", 1, 0, lower_space_to_depth, 0},
    {"", "Split", 2, 0, lower_split, 0},
    {"", "Transpose", 1, 0, lower_transpose, 0},
    {0},
};

const struct operator_family OPERATORS_MOVE = {"moves", LINES};
