/* Images as CHANNELS_LAST from the first convolution to the last operation that can read that.
 *
 * Operations are taken in order. CONV, POOL, RESIZE and LRN of rank 4 want CHANNELS_LAST;
 * POINTWISE, CONCAT, SLICE and REDUCE follow the largest of their inputs; all others want
 * ROW_MAJOR. Where a value lies otherwise than its reader wants, one conversion is made and shared
 * by all readers. A value with one channel or one pixel lies both ways at once: its conversion is a
 * view; so is a transpose between NCHW and NHWC.
 */
#include <string.h>

#include "compiler/passes.h"

struct layouts {
  struct graph *graph;
  struct graph_op *ops; /* as they were */
  uint32_t ops_count;
  uint32_t *other; /* per value: the same in the other layout; GRAPH_NONE */
};

static bool is_image(const struct graph *graph, uint32_t value) {
  return value != GRAPH_NONE && graph_value(graph, value)->rank == 4;
}

static bool is_last(const struct graph *graph, uint32_t value) {
  return value != GRAPH_NONE && graph_value(graph, value)->layout == PLAN_CHANNELS_LAST;
}

static bool lies_both_ways(const struct graph_value *value) {
  return value->dims[1] == 1 || (uint64_t)value->dims[2] * value->dims[3] == 1;
}

/* `value` in the layout that its reader wants. */
static uint32_t wanted(struct layouts *l, uint32_t value, enum plan_layout layout) {
  struct graph *graph = l->graph;
  if (value == GRAPH_NONE || graph_value(graph, value)->rank != 4 ||
      graph_value(graph, value)->layout == layout) {
    return value;
  }
  if (l->other[value] != GRAPH_NONE) {
    return l->other[value];
  }
  const struct graph_value from = *graph_value(graph, value);
  uint32_t to = GRAPH_NONE;
  if (from.data != NULL) { /* a constant is stored as its reader wants it */
    to = graph_add_constant(graph, from.type, 4, from.dims, from.data);
  } else {
    to = graph_add_value(graph, from.type, 4, from.dims);
    if (lies_both_ways(&from)) {
      (void)graph_add_op(graph, GRAPH_VIEW, 1, &value, 1, &to);
    } else {
      struct plan_step *step = context_take(graph->context, 1, sizeof(*step));
      *step =
          (struct plan_step){.scalar = PLAN_S_COPY, .type = from.type, .a = graph_operand_input(0)};
      struct graph_op *op = graph_add_op(graph, PLAN_OP_POINTWISE, 1, &value, 1, &to);
      op->plan.pointwise = (struct plan_pointwise){.steps_count = 1, .steps = step};
    }
  }
  graph_value(graph, to)->layout = layout;
  l->other[value] = to;
  l->other[to] = value;
  return to;
}

static bool follows(const struct graph *graph, const struct graph_op *op) {
  uint64_t elements_last = 0;
  uint64_t elements_row = 0;
  for (uint32_t i = 0; i < op->inputs_count; i++) {
    if (!is_image(graph, op->inputs[i]) || graph_is_constant(graph, op->inputs[i])) {
      continue;
    }
    uint64_t *elements = is_last(graph, op->inputs[i]) ? &elements_last : &elements_row;
    *elements += graph_elements(graph, op->inputs[i]);
  }
  return elements_last > elements_row;
}

static enum plan_layout layout_of(const struct graph *graph, const struct graph_op *op) {
  bool last = false;
  switch (op->plan.kind) {
  case PLAN_OP_CONV:
    last = op->plan.conv.spatial == 2;
    break;
  case PLAN_OP_POOL:
    last = op->plan.pool.spatial == 2;
    break;
  case PLAN_OP_RESIZE:
  case PLAN_OP_LRN:
    last = is_last(graph, op->inputs[0]);
    break;
  case PLAN_OP_POINTWISE:
  case PLAN_OP_CONCAT:
  case PLAN_OP_SLICE:
  case PLAN_OP_REDUCE:
    last = is_image(graph, op->outputs[0]) && follows(graph, op);
    break;
  default:
    break;
  }
  return last ? PLAN_CHANNELS_LAST : PLAN_ROW_MAJOR;
}

/* NHWC from an image that lies as NHWC, or the way back: nothing to move. */
static bool is_layout_transpose(struct layouts *l, const struct graph_op *op) {
  static const uint32_t TO_LAST[4] = {0, 2, 3, 1};
  static const uint32_t FROM_LAST[4] = {0, 3, 1, 2};
  struct graph *graph = l->graph;
  if (op->plan.kind != PLAN_OP_TRANSPOSE || !is_image(graph, op->inputs[0])) {
    return false;
  }
  const uint32_t *permutation = op->plan.transpose.permutation;
  const uint32_t in = op->inputs[0];
  enum plan_layout layout = PLAN_ROW_MAJOR;
  uint32_t from = in;
  if (memcmp(permutation, TO_LAST, sizeof(TO_LAST)) == 0) {
    if (!is_last(graph, in)) {
      from = l->other[in];
      if (from == GRAPH_NONE || !is_last(graph, from)) {
        return false;
      }
    }
  } else if (memcmp(permutation, FROM_LAST, sizeof(FROM_LAST)) == 0 && !is_last(graph, in)) {
    layout = PLAN_CHANNELS_LAST;
  } else {
    return false;
  }
  if (graph_value(graph, op->outputs[0])->is_output && layout != PLAN_ROW_MAJOR) {
    return false;
  }
  graph_value(graph, op->outputs[0])->layout = layout;
  (void)graph_add_op(graph, GRAPH_VIEW, 1, &from, 1, op->outputs);
  return true;
}

static void grow_other(struct layouts *l, uint32_t count) {
  l->other = context_take(l->graph->context, count, sizeof(l->other[0]));
  memset(l->other, 0xff, count * sizeof(l->other[0]));
}

/* Which inputs are images that take part in the layout; weights of a convolution do. */
static void lay_out_op(struct layouts *l, const struct graph_op *op) {
  struct graph *graph = l->graph;
  if (is_layout_transpose(l, op)) {
    return;
  }
  const enum plan_layout layout = layout_of(graph, op);
  uint32_t *inputs = context_take(graph->context, op->inputs_count + 1, sizeof(inputs[0]));
  for (uint32_t i = 0; i < op->inputs_count; i++) {
    inputs[i] = op->inputs[i];
    /* A program matches elements by position: what is broadcast may lie as it does. */
    const bool free = op->plan.kind == PLAN_OP_POINTWISE && inputs[i] != GRAPH_NONE &&
                      !graph_is_constant(graph, inputs[i]) &&
                      !graph_same_dims(graph, inputs[i], op->outputs[0]);
    if (!free) {
      inputs[i] = wanted(l, inputs[i], layout);
    }
  }
  struct graph_op *copy = graph_add_op(graph, (uint32_t)op->plan.kind, op->inputs_count, inputs,
                                       op->outputs_count, op->outputs);
  copy->plan = op->plan;
  for (uint32_t i = 0; i < op->outputs_count; i++) {
    const uint32_t out = op->outputs[i];
    if (out == GRAPH_NONE || graph_value(graph, out)->rank != 4 || layout == PLAN_ROW_MAJOR) {
      continue;
    }
    graph_value(graph, out)->layout = PLAN_CHANNELS_LAST;
  }
}

void pass_layout(struct graph *graph) {
  struct layouts l = {.graph = graph, .ops = graph->ops, .ops_count = graph->ops_count};
  /* Each operation adds a conversion per input at most. */
  uint64_t values_max = graph->values_count;
  for (uint32_t i = 0; i < graph->ops_count; i++) {
    values_max += graph->ops[i].inputs_count + 1;
  }
  grow_other(&l, (uint32_t)(values_max + PLAN_PORTS_MAX));
  graph->ops = NULL;
  graph->ops_count = 0;
  graph->ops_capacity = 0;
  for (uint32_t i = 0; i < l.ops_count; i++) {
    lay_out_op(&l, &l.ops[i]);
  }
  for (uint32_t i = 0; i < graph->outputs_count; i++) {
    graph->outputs[i] = wanted(&l, graph->outputs[i], PLAN_ROW_MAJOR);
  }
}
