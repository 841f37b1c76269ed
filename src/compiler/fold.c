#include "compiler/fold.h"

#include <string.h>

#include "kernels/kernels.h"

enum { FOLD_TENSORS_MAX = 64 };

/* About how many scalar steps it takes. */
static uint64_t work_of(const struct graph *graph, const struct graph_op *op) {
  uint64_t work = 0;
  for (uint32_t i = 0; i < op->inputs_count + op->outputs_count; i++) {
    if (op->inputs[i] != GRAPH_NONE) {
      work += graph_elements(graph, op->inputs[i]);
    }
  }
  switch (op->plan.kind) {
  case PLAN_OP_CONV:
  case PLAN_OP_CONV_TRANSPOSE:
  case PLAN_OP_MATMUL:
  case PLAN_OP_LSTM:
  case PLAN_OP_GRU:
  case PLAN_OP_RNN:
    /* An upper bound of the products: neither factor has more elements than all tensors together.
     */
    return work > UINT32_MAX ? UINT64_MAX / 2 : work * work;
  case PLAN_OP_POOL:
    return work * op->plan.pool.kernel[0] *
           (op->plan.pool.spatial > 1 ? op->plan.pool.kernel[1] : 1) *
           (op->plan.pool.spatial > 2 ? op->plan.pool.kernel[2] : 1);
  case PLAN_OP_POINTWISE:
    return work * op->plan.pointwise.steps_count;
  case PLAN_OP_LRN:
    return work * op->plan.lrn.size;
  default:
    return work * 8;
  }
}

static bool is_worth_it(struct graph *graph, const struct graph_op *op) {
  uint64_t in_bytes = 0;
  uint64_t out_bytes = 0;
  for (uint32_t i = 0; i < op->inputs_count; i++) {
    in_bytes += op->inputs[i] != GRAPH_NONE ? graph_bytes(graph, op->inputs[i]) : 0;
  }
  for (uint32_t i = 0; i < op->outputs_count; i++) {
    out_bytes += op->outputs[i] != GRAPH_NONE ? graph_bytes(graph, op->outputs[i]) : 0;
  }
  const uint64_t work = work_of(graph, op);
  struct context *context = graph->context;
  if (work > CONTEXT_FOLD_WORK_MAX - context->fold_work ||
      (out_bytes > CONTEXT_FOLD_BYTES_ALWAYS && out_bytes > 8 * in_bytes)) {
    return false;
  }
  context->fold_work += work;
  return true;
}

static uint32_t describe(const struct graph *graph, uint32_t value, struct plan_tensor *tensors,
                         void **data, uint32_t *count) {
  if (value == GRAPH_NONE) {
    return PLAN_NONE;
  }
  const struct graph_value *v = graph_value(graph, value);
  struct plan_tensor *tensor = &tensors[*count];
  *tensor = (struct plan_tensor){.type = v->type, .layout = PLAN_ROW_MAJOR, .rank = v->rank};
  memcpy(tensor->dims, v->dims, sizeof(tensor->dims));
  data[*count] = (void *)(uintptr_t)v->data; /* the kernels write to outputs alone */
  return (*count)++;
}

bool fold_op(struct graph *graph, const struct graph_op *op) {
  struct context *context = graph->context;
  if (op->inputs_count + op->outputs_count > FOLD_TENSORS_MAX) {
    return false;
  }
  for (uint32_t i = 0; i < op->inputs_count; i++) {
    if (op->inputs[i] != GRAPH_NONE && !graph_is_constant(graph, op->inputs[i])) {
      return false;
    }
  }
  if (!is_worth_it(graph, op)) {
    return false;
  }
  struct plan_tensor tensors[FOLD_TENSORS_MAX];
  void *data[FOLD_TENSORS_MAX];
  uint32_t inputs[FOLD_TENSORS_MAX];
  uint32_t outputs[FOLD_TENSORS_MAX];
  uint32_t count = 0;
  bool empty = false;
  for (uint32_t i = 0; i < op->inputs_count; i++) {
    inputs[i] = describe(graph, op->inputs[i], tensors, data, &count);
  }
  for (uint32_t i = 0; i < op->outputs_count; i++) {
    if (op->outputs[i] != GRAPH_NONE) {
      const uint64_t bytes = graph_bytes(graph, op->outputs[i]);
      graph_value(graph, op->outputs[i])->data = context_take(context, bytes > 0 ? bytes : 1, 1);
      empty |= bytes == 0;
    }
    outputs[i] = describe(graph, op->outputs[i], tensors, data, &count);
  }
  if (empty) {
    return true;
  }
  for (uint32_t i = 0; i < op->inputs_count; i++) {
    if (op->inputs[i] != GRAPH_NONE && graph_elements(graph, op->inputs[i]) == 0) {
      context_fail(context, ERR_UNSUPPORTED, "works on a constant without elements");
    }
  }
  struct plan_op plan = op->plan;
  plan.inputs_count = op->inputs_count;
  plan.outputs_count = op->outputs_count;
  plan.inputs = inputs;
  plan.outputs = outputs;
  void *scratch = context_take(context, kernels_scratch_bytes(&plan, tensors) + 1, 1);
  kernels_run(&plan, tensors, data, scratch, 0, 1);
  return true;
}
