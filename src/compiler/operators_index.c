/* Elements to or from places that data names. */
#include <math.h>
#include <string.h>

#include "compiler/lowering.h"

static void check_indices(const struct node *node, uint32_t value) {
  const enum plan_type type = graph_value(node->graph, value)->type;
  if (type != PLAN_I64 && type != PLAN_I32) {
    node_malformed(node, "its indices are %s; they must be int64 or int32", plan_type_text(type));
  }
}

static uint32_t finish(struct node *node, enum plan_op_kind kind, uint32_t inputs_count,
                       const uint32_t *inputs, struct plan_gather gather, uint32_t rank,
                       const uint32_t *dims) {
  const uint32_t out =
      graph_add_value(node->graph, graph_value(node->graph, inputs[0])->type, rank, dims);
  struct graph_op *op = graph_add_op(node->graph, (uint32_t)kind, inputs_count, inputs, 1, &out);
  op->plan.gather = gather;
  graph_finish_op(node->graph, op);
  return out;
}

static uint32_t gather(struct node *node, uint32_t x, uint32_t indices, uint32_t axis) {
  const struct graph_value in = *graph_value(node->graph, x);
  const struct graph_value at = *graph_value(node->graph, indices);
  uint32_t dims[PLAN_RANK_MAX];
  uint32_t rank = 0;
  if (in.rank + at.rank - 1 > PLAN_RANK_MAX) {
    node_unsupported(node, "its output has %u dimensions; at most %d are supported",
                     in.rank + at.rank - 1, PLAN_RANK_MAX);
  }
  for (uint32_t i = 0; i < in.rank; i++) {
    if (i != axis) {
      dims[rank++] = in.dims[i];
      continue;
    }
    for (uint32_t j = 0; j < at.rank; j++) {
      dims[rank++] = at.dims[j];
    }
  }
  const uint32_t inputs[2] = {x, indices};
  return finish(node, PLAN_OP_GATHER, 2, inputs, (struct plan_gather){.axis = axis}, rank, dims);
}

static void lower_gather(struct node *node) {
  const uint32_t x = node_input(node, 0);
  const uint32_t indices = node_input(node, 1);
  const uint32_t rank = graph_value(node->graph, x)->rank;
  check_indices(node, indices);
  node_check_rank(node, x, 1, PLAN_RANK_MAX);
  node->outputs[0] = gather(node, x, indices, node_axis(node, node_int(node, "axis", 0), rank));
}

static void lower_gather_elements(struct node *node) {
  const uint32_t inputs[2] = {node_input(node, 0), node_input(node, 1)};
  const struct graph_value at = *graph_value(node->graph, inputs[1]);
  check_indices(node, inputs[1]);
  node_check_rank(node, inputs[0], at.rank, at.rank);
  const uint32_t axis = node_axis(node, node_int(node, "axis", 0), at.rank);
  node->outputs[0] = finish(node, PLAN_OP_GATHER_ELEMENTS, 2, inputs,
                            (struct plan_gather){.axis = axis}, at.rank, at.dims);
}

static void lower_gather_nd(struct node *node) {
  const uint32_t inputs[2] = {node_input(node, 0), node_input(node, 1)};
  const struct graph_value in = *graph_value(node->graph, inputs[0]);
  const struct graph_value at = *graph_value(node->graph, inputs[1]);
  const int64_t batch_dims = node_int(node, "batch_dims", 0);
  check_indices(node, inputs[1]);
  if (at.rank == 0 || batch_dims < 0 || batch_dims >= (int64_t)at.rank ||
      batch_dims >= (int64_t)in.rank) {
    node_malformed(node, "its indices or batch_dims don't fit its input");
  }
  const uint32_t batch = (uint32_t)batch_dims;
  const uint32_t depth = at.dims[at.rank - 1];
  if (depth == 0 || batch + depth > in.rank ||
      at.rank - 1 + in.rank - batch - depth > PLAN_RANK_MAX ||
      memcmp(in.dims, at.dims, batch * sizeof(in.dims[0])) != 0) {
    node_malformed(node, "its indices have depth %u for rank %u", depth, in.rank);
  }
  uint32_t dims[PLAN_RANK_MAX];
  uint32_t rank = 0;
  for (uint32_t i = 0; i + 1 < at.rank; i++) {
    dims[rank++] = at.dims[i];
  }
  for (uint32_t i = batch + depth; i < in.rank; i++) {
    dims[rank++] = in.dims[i];
  }
  node->outputs[0] = finish(node, PLAN_OP_GATHER_ND, 2, inputs,
                            (struct plan_gather){.batch_dims = batch}, rank, dims);
}

static enum plan_scatter_reduction read_reduction(const struct node *node) {
  static const char *const NAMES[] = {"none", "add", "mul", "min", "max"};
  const char *text = node_text(node, "reduction", "none");
  for (uint32_t i = 0; i < 5; i++) {
    if (strcmp(text, NAMES[i]) == 0) {
      return (enum plan_scatter_reduction)i;
    }
  }
  node_unsupported(node, "reduction '%s' is not supported", text);
}

static void lower_scatter_elements(struct node *node) {
  const uint32_t inputs[3] = {node_input(node, 0), node_input(node, 1), node_input(node, 2)};
  const struct graph_value in = *graph_value(node->graph, inputs[0]);
  check_indices(node, inputs[1]);
  node_check_types(node, inputs[0], inputs[2]);
  node_check_rank(node, inputs[1], in.rank, in.rank);
  if (!graph_same_dims(node->graph, inputs[1], inputs[2])) {
    node_malformed(node, "its indices and updates differ in shape");
  }
  const struct plan_gather attributes = {.axis =
                                             node_axis(node, node_int(node, "axis", 0), in.rank),
                                         .reduction = read_reduction(node)};
  node->outputs[0] =
      finish(node, PLAN_OP_SCATTER_ELEMENTS, 3, inputs, attributes, in.rank, in.dims);
}

static void lower_scatter_nd(struct node *node) {
  const uint32_t inputs[3] = {node_input(node, 0), node_input(node, 1), node_input(node, 2)};
  const struct graph_value in = *graph_value(node->graph, inputs[0]);
  const struct graph_value at = *graph_value(node->graph, inputs[1]);
  const struct graph_value updates = *graph_value(node->graph, inputs[2]);
  check_indices(node, inputs[1]);
  node_check_types(node, inputs[0], inputs[2]);
  const uint32_t depth = at.rank > 0 ? at.dims[at.rank - 1] : 0;
  bool fits = depth > 0 && depth <= in.rank && updates.rank == at.rank - 1 + in.rank - depth;
  for (uint32_t i = 0; fits && i < updates.rank; i++) {
    fits = updates.dims[i] == (i + 1 < at.rank ? at.dims[i] : in.dims[i + 1 + depth - at.rank]);
  }
  if (!fits) {
    node_malformed(node, "its indices and updates don't fit its input");
  }
  node->outputs[0] =
      finish(node, PLAN_OP_SCATTER_ND, 3, inputs,
             (struct plan_gather){.reduction = read_reduction(node)}, in.rank, in.dims);
}

/* on where the index equals the position along the new axis, else off. */
static void lower_one_hot(struct node *node) {
  struct graph *graph = node->graph;
  int64_t depth = 0;
  const uint32_t indices = node_input(node, 0);
  const struct graph_value at = *graph_value(graph, indices);
  const uint32_t depth_value = node_constant(node, 1, "depth");
  if (graph_elements(graph, depth_value) != 1 || at.rank + 1 > PLAN_RANK_MAX) {
    node_malformed(node, "depth must be one number");
  }
  depth = graph_int_at(graph, depth_value, 0);
  const uint32_t size = node_size(node, depth, "depth");
  const uint32_t axis = node_axis(node, node_int(node, "axis", -1), at.rank + 1);
  uint32_t at_dims[PLAN_RANK_MAX];
  uint32_t position_dims[PLAN_RANK_MAX];
  uint32_t dims[PLAN_RANK_MAX];
  for (uint32_t i = 0; i <= at.rank; i++) {
    at_dims[i] = i == axis ? 1 : at.dims[i < axis ? i : i - 1];
    position_dims[i] = i == axis ? size : 1;
    dims[i] = i == axis ? size : at_dims[i];
  }
  int64_t *positions = context_take(node->context, (uint64_t)size + 1, sizeof(positions[0]));
  for (uint32_t i = 0; i < size; i++) {
    positions[i] = i;
  }
  const uint32_t where = graph_add_constant(graph, PLAN_I64, at.rank + 1, position_dims, positions);
  const uint32_t as_ints =
      graph_cast(graph, graph_view(graph, indices, at.rank + 1, at_dims), PLAN_I64, false);
  const uint32_t zero = graph_add_int(graph, 0);
  const struct plan_step wrap[3] = {
      {.scalar = PLAN_S_LESS,
       .type = PLAN_I64,
       .a = graph_operand_input(0),
       .b = graph_operand_input(1)},
      {.scalar = PLAN_S_ADD,
       .type = PLAN_I64,
       .a = graph_operand_input(0),
       .b = graph_operand_number((double)size)},
      {.scalar = PLAN_S_SELECT,
       .type = PLAN_I64,
       .a = graph_operand_step(0),
       .b = graph_operand_step(1),
       .c = graph_operand_input(0)},
  };
  const uint32_t wrap_inputs[2] = {as_ints, zero};
  const uint32_t wrapped = graph_pointwise(graph, 2, wrap_inputs, 3, wrap, at.rank + 1, at_dims);
  const uint32_t hit = graph_binary(graph, PLAN_S_EQUAL, wrapped, where);
  const uint32_t pair = node_input(node, 2);
  node_check_rank(node, pair, 1, 1);
  const uint32_t off = gather(node, pair, zero, 0);
  const uint32_t on = gather(node, pair, graph_add_int(graph, 1), 0);
  const struct plan_step select = {.scalar = PLAN_S_SELECT,
                                   .type = graph_value(graph, pair)->type,
                                   .a = graph_operand_input(0),
                                   .b = graph_operand_input(1),
                                   .c = graph_operand_input(2)};
  const uint32_t inputs[3] = {hit, on, off};
  node->outputs[0] = graph_pointwise(graph, 3, inputs, 1, &select, at.rank + 1, dims);
}

static void lower_trilu(struct node *node) {
  const uint32_t x = node_input(node, 0);
  const struct graph_value in = *graph_value(node->graph, x);
  int64_t diagonal = 0;
  node_check_rank(node, x, 2, PLAN_RANK_MAX);
  if (node_has_input(node, 1) && node_constant_ints(node, 1, "k", 1, &diagonal) != 1) {
    node_malformed(node, "k must be one number");
  }
  diagonal = diagonal > INT32_MAX ? INT32_MAX : diagonal < -INT32_MAX ? -INT32_MAX : diagonal;
  const uint32_t out = graph_add_value(node->graph, in.type, in.rank, in.dims);
  struct graph_op *op = graph_add_op(node->graph, PLAN_OP_TRILU, 1, &x, 1, &out);
  op->plan.trilu =
      (struct plan_trilu){.upper = node_flag(node, "upper", true), .diagonal = (int32_t)diagonal};
  graph_finish_op(node->graph, op);
  node->outputs[0] = out;
}

/* Only of what is known while compiling: how many there are must be. */
static void lower_non_zero(struct node *node) {
  struct graph *graph = node->graph;
  const uint32_t x = node_constant(node, 0, "input");
  const struct graph_value in = *graph_value(graph, x);
  const uint64_t elements = graph_elements(graph, x);
  uint64_t count = 0;
  for (uint64_t i = 0; i < elements; i++) {
    count += fabs(graph_number_at(graph, x, i)) > 0;
  }
  const uint32_t dims[2] = {in.rank, node_size(node, (int64_t)count, "a dimension")};
  int64_t *data = context_take(node->context, count * in.rank + 1, sizeof(data[0]));
  uint64_t at = 0;
  for (uint64_t i = 0; i < elements; i++) {
    if (!(fabs(graph_number_at(graph, x, i)) > 0)) {
      continue;
    }
    uint64_t rest = i;
    for (uint32_t axis = in.rank; axis-- > 0;) {
      data[axis * count + at] = (int64_t)(rest % in.dims[axis]);
      rest /= in.dims[axis];
    }
    at++;
  }
  node->outputs[0] = graph_add_constant(graph, PLAN_I64, 2, dims, data);
}

static const struct operator_line LINES[] = {
    {"", "Gather", 1, 0, lower_gather, 0},
    {"", "GatherElements", 11, 0, lower_gather_elements, 0},
    {"", "GatherND", 11, 0, lower_gather_nd, 0},
    {"", "NonZero", 9, 0, lower_non_zero, 0},
    {"", "OneHot", 9, 0, lower_one_hot, 0},
    {"", "Scatter", 9, 10, lower_scatter_elements, 0},
    {"", "ScatterElements", 11, 0, lower_scatter_elements, 0},
    {"", "ScatterND", 11, 0, lower_scatter_nd, 0},
    {"", "Trilu", 14, 0, lower_trilu, 0},
    {0},
};

const struct operator_family OPERATORS_INDEX = {"indexing", LINES};
