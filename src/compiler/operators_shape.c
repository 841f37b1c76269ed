/* What concerns shapes alone: nothing of this is left while serving. */
#include <math.h>
#include <string.h>

#include "compiler/lowering.h"

enum { RANGE_MAX = 1 << 24 };

static void lower_shape(struct node *node) {
  const struct graph_value in = *graph_value(node->graph, node_input(node, 0));
  int64_t dims[PLAN_RANK_MAX];
  int64_t start = node_int(node, "start", 0);
  int64_t end = node_int(node, "end", in.rank);
  start = start < 0 ? start + (int64_t)in.rank : start;
  end = end < 0 ? end + (int64_t)in.rank : end;
  start = start < 0 ? 0 : start;
  end = end > (int64_t)in.rank ? (int64_t)in.rank : end;
  uint32_t count = 0;
  for (int64_t axis = start; axis < end; axis++) {
    dims[count++] = in.dims[axis];
  }
  node->outputs[0] = graph_add_ints(node->graph, dims, count);
}

static void lower_size(struct node *node) {
  node->outputs[0] =
      graph_add_int(node->graph, (int64_t)graph_elements(node->graph, node_input(node, 0)));
}

static void lower_reshape(struct node *node) {
  const uint32_t x = node_input(node, 0);
  const struct graph_value in = *graph_value(node->graph, x);
  int64_t numbers[PLAN_RANK_MAX];
  uint32_t dims[PLAN_RANK_MAX];
  const uint32_t rank = node_constant_ints(node, 1, "shape", PLAN_RANK_MAX, numbers);
  const bool zero_is_zero = node_flag(node, "allowzero", false);
  uint32_t open = GRAPH_NONE;
  uint64_t known = 1;
  for (uint32_t i = 0; i < rank; i++) {
    if (numbers[i] == -1) {
      if (open != GRAPH_NONE) {
        node_malformed(node, "its shape has two -1");
      }
      open = i;
      dims[i] = 1;
      continue;
    }
    dims[i] = numbers[i] == 0 && !zero_is_zero && i < in.rank
                  ? in.dims[i]
                  : node_size(node, numbers[i], "a number of its shape");
    if (__builtin_mul_overflow(known, (uint64_t)dims[i], &known)) {
      node_malformed(node, "its shape has too many elements");
    }
  }
  if (open != GRAPH_NONE) {
    const uint64_t elements = graph_elements(node->graph, x);
    if (known == 0 || elements % known != 0) {
      node_malformed(node, "can't reshape %llu elements to rows of %llu",
                     (unsigned long long)elements, (unsigned long long)known);
    }
    dims[open] = node_size(node, (int64_t)(elements / known), "a dimension");
  }
  node->outputs[0] = graph_view(node->graph, x, rank, dims);
}

static void lower_flatten(struct node *node) {
  const uint32_t x = node_input(node, 0);
  const struct graph_value in = *graph_value(node->graph, x);
  int64_t axis = node_int(node, "axis", 1);
  axis = axis < 0 ? axis + (int64_t)in.rank : axis;
  if (axis < 0 || axis > (int64_t)in.rank) {
    node_malformed(node, "axis is out of range for rank %u", in.rank);
  }
  uint64_t sizes[2] = {1, 1};
  for (uint32_t i = 0; i < in.rank; i++) {
    sizes[i < axis ? 0 : 1] *= in.dims[i];
  }
  const uint32_t dims[2] = {node_size(node, (int64_t)sizes[0], "a dimension"),
                            node_size(node, (int64_t)sizes[1], "a dimension")};
  node->outputs[0] = graph_view(node->graph, x, 2, dims);
}

static void lower_squeeze(struct node *node) {
  const uint32_t x = node_input(node, 0);
  const struct graph_value in = *graph_value(node->graph, x);
  uint32_t mask = 0;
  uint32_t count = 0;
  uint32_t axes[PLAN_RANK_MAX];
  const bool given = node_axes(node, 1, in.rank, &mask, &count, axes);
  uint32_t dims[PLAN_RANK_MAX];
  uint32_t rank = 0;
  for (uint32_t i = 0; i < in.rank; i++) {
    const bool named = (mask >> i & 1) != 0;
    if (named && in.dims[i] != 1) {
      node_malformed(node, "squeezes axis %u, which has %u elements", i, in.dims[i]);
    }
    if (given ? !named : in.dims[i] != 1) {
      dims[rank++] = in.dims[i];
    }
  }
  node->outputs[0] = graph_view(node->graph, x, rank, dims);
}

static void lower_unsqueeze(struct node *node) {
  const uint32_t x = node_input(node, 0);
  const struct graph_value in = *graph_value(node->graph, x);
  int64_t numbers[PLAN_RANK_MAX];
  const uint32_t count = node->opset < 13
                             ? node_ints(node, "axes", PLAN_RANK_MAX, numbers)
                             : node_constant_ints(node, 1, "axes", PLAN_RANK_MAX, numbers);
  const uint32_t rank = in.rank + count;
  if (rank > PLAN_RANK_MAX) {
    node_unsupported(node, "its output has %u dimensions; at most %d are supported", rank,
                     PLAN_RANK_MAX);
  }
  uint32_t mask = 0;
  for (uint32_t i = 0; i < count; i++) {
    const uint32_t bit = 1u << node_axis(node, numbers[i], rank);
    if ((mask & bit) != 0) {
      node_malformed(node, "an axis is given twice");
    }
    mask |= bit;
  }
  uint32_t dims[PLAN_RANK_MAX];
  uint32_t from = 0;
  for (uint32_t i = 0; i < rank; i++) {
    dims[i] = (mask >> i & 1) != 0 ? 1 : in.dims[from++];
  }
  node->outputs[0] = graph_view(node->graph, x, rank, dims);
}

static void lower_constant(struct node *node) {
  const Onnx__AttributeProto *value = node_attribute(node, "value");
  if (value != NULL && value->t != NULL) {
    node->outputs[0] = lower_tensor(node->compiler, node->graph, value->t);
    return;
  }
  const Onnx__AttributeProto *floats = node_attribute(node, "value_floats");
  const Onnx__AttributeProto *ints = node_attribute(node, "value_ints");
  if (node_has(node, "value_float")) {
    node->outputs[0] =
        graph_add_number(node->graph, PLAN_F32, (double)node_float(node, "value_float", 0));
  } else if (node_has(node, "value_int")) {
    node->outputs[0] = graph_add_int(node->graph, node_int(node, "value_int", 0));
  } else if (floats != NULL && floats->n_floats <= INT32_MAX) {
    const uint32_t count = (uint32_t)floats->n_floats;
    node->outputs[0] = graph_add_constant(node->graph, PLAN_F32, 1, &count,
                                          count > 0 ? (const void *)floats->floats
                                                    : context_take(node->context, 1, 1));
  } else if (ints != NULL && ints->n_ints <= INT32_MAX) {
    node->outputs[0] = graph_add_ints(node->graph, ints->ints, (uint32_t)ints->n_ints);
  } else {
    node_unsupported(node, "its value is no dense tensor of numbers");
  }
}

/* Dims from the constant input `index`; each at least 0. */
static uint32_t read_dims(struct node *node, uint32_t index, uint32_t *ret_dims) {
  int64_t numbers[PLAN_RANK_MAX];
  const uint32_t rank = node_constant_ints(node, index, "shape", PLAN_RANK_MAX, numbers);
  for (uint32_t i = 0; i < rank; i++) {
    ret_dims[i] = node_size(node, numbers[i], "a number of its shape");
  }
  return rank;
}

static void lower_constant_of_shape(struct node *node) {
  uint32_t dims[PLAN_RANK_MAX];
  const uint32_t rank = read_dims(node, 0, dims);
  const Onnx__AttributeProto *value = node_attribute(node, "value");
  uint32_t element = 0;
  if (value != NULL && value->t != NULL) {
    element = lower_tensor(node->compiler, node->graph, value->t);
    if (graph_elements(node->graph, element) != 1) {
      node_malformed(node, "its value must be one element");
    }
    element = graph_view(node->graph, element, 0, NULL);
  } else {
    element = graph_add_number(node->graph, PLAN_F32, 0);
  }
  node->outputs[0] = graph_expand(node->graph, element, rank, dims);
}

static void lower_expand(struct node *node) {
  const uint32_t x = node_input(node, 0);
  const struct graph_value in = *graph_value(node->graph, x);
  uint32_t wanted[PLAN_RANK_MAX];
  uint32_t dims[PLAN_RANK_MAX];
  uint32_t rank = 0;
  const uint32_t wanted_rank = read_dims(node, 1, wanted);
  if (!graph_broadcast(in.rank, in.dims, wanted_rank, wanted, &rank, dims)) {
    node_malformed(node, "its input doesn't broadcast to its shape");
  }
  node->outputs[0] = graph_expand(node->graph, x, rank, dims);
}

/* Each repeated axis becomes (repeats, dim): an expansion between two views. */
static void lower_tile(struct node *node) {
  struct graph *graph = node->graph;
  uint32_t x = node_input(node, 0);
  const struct graph_value in = *graph_value(graph, x);
  uint32_t repeats[PLAN_RANK_MAX];
  if (read_dims(node, 1, repeats) != in.rank) {
    node_malformed(node, "repeats must have one number for each of %u axes", in.rank);
  }
  uint32_t dims[PLAN_RANK_MAX];
  memcpy(dims, in.dims, sizeof(dims));
  for (uint32_t axis = 0; axis < in.rank; axis++) {
    if (repeats[axis] == 1) {
      continue;
    }
    uint64_t sizes[2] = {1, 1};
    for (uint32_t i = 0; i < in.rank; i++) {
      sizes[i < axis ? 0 : 1] *= dims[i];
    }
    const uint32_t apart[3] = {(uint32_t)sizes[0], 1, (uint32_t)sizes[1]};
    const uint32_t spread[3] = {apart[0], repeats[axis], apart[2]};
    dims[axis] = node_size(node, (int64_t)dims[axis] * repeats[axis], "a dimension");
    x = graph_view(graph, graph_expand(graph, graph_view(graph, x, 3, apart), 3, spread), in.rank,
                   dims);
  }
  node->outputs[0] = x;
}

static void lower_range(struct node *node) {
  double numbers[3];
  const enum plan_type type = graph_value(node->graph, node_input(node, 0))->type;
  for (uint32_t i = 0; i < 3; i++) {
    const uint32_t value = node_constant(node, i, "limits");
    if (!graph_is_scalar(node->graph, value, &numbers[i])) {
      node_malformed(node, "its inputs must be single numbers");
    }
  }
  const double count_real = ceil((numbers[1] - numbers[0]) / numbers[2]);
  if (!(count_real < RANGE_MAX)) {
    node_unsupported(node, "makes more than %d numbers", RANGE_MAX);
  }
  const uint32_t count = count_real > 0 ? (uint32_t)count_real : 0;
  double *data = context_take(node->context, count + 1, sizeof(data[0]));
  for (uint32_t i = 0; i < count; i++) {
    data[i] = numbers[0] + i * numbers[2];
  }
  node->outputs[0] = graph_cast(
      node->graph, graph_add_constant(node->graph, PLAN_F64, 1, &count, data), type, false);
}

static void lower_eye_like(struct node *node) {
  const struct graph_value in = *graph_value(node->graph, node_input(node, 0));
  enum plan_type type = in.type;
  const int64_t dtype = node_int(node, "dtype", 0);
  const int64_t k = node_int(node, "k", 0);
  node_check_rank(node, node_input(node, 0), 2, 2);
  if (dtype != 0 && (dtype > INT32_MAX || !lower_type((int32_t)dtype, &type))) {
    node_unsupported(node, "dtype %lld is not supported", (long long)dtype);
  }
  const uint64_t elements = graph_elements(node->graph, node_input(node, 0));
  uint8_t *data = context_take(node->context, elements + 1, 1);
  for (int64_t row = 0; row < (int64_t)in.dims[0]; row++) {
    if (k > -(int64_t)INT32_MAX && k < INT32_MAX && row + k >= 0 && row + k < (int64_t)in.dims[1]) {
      data[row * (int64_t)in.dims[1] + row + k] = 1;
    }
  }
  node->outputs[0] = graph_cast(
      node->graph, graph_add_constant(node->graph, PLAN_U8, 2, in.dims, data), type, false);
}

static const struct operator_line LINES[] = {
    {"", "Constant", 1, 0, lower_constant, 0},
    {"", "ConstantOfShape", 9, 0, lower_constant_of_shape, 0},
    {"", "Expand", 8, 0, lower_expand, 0},
    {"", "EyeLike", 9, 0, lower_eye_like, 0},
    {"", "Flatten", 1, 0, lower_flatten, 0},
    {"", "Range", 11, 0, lower_range, 0},
    {"", "Reshape", 5, 0, lower_reshape, 0},
    {"", "Shape", 1, 0, lower_shape, 0},
    {"", "Size", 1, 0, lower_size, 0},
    {"", "Squeeze", 1, 0, lower_squeeze, 0},
    {"", "Tile", 6, 0, lower_tile, 0},
    {"", "Unsqueeze", 1, 0, lower_unsqueeze, 0},
    {0},
};

const struct operator_family OPERATORS_SHAPE = {"shapes and constants", LINES};
