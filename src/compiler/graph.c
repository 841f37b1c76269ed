#include "compiler/graph.h"

#include <string.h>

#include "compiler/fold.h"

void graph_init(struct graph *graph, struct context *context) {
  *graph = (struct graph){.context = context, .node_name = "", .folds = true};
}

static uint64_t checked_bytes(struct graph *graph, enum plan_type type, uint32_t rank,
                              const uint32_t *dims) {
  uint64_t bytes = plan_type_bytes(type);
  for (uint32_t axis = 0; axis < rank; axis++) {
    if (__builtin_mul_overflow(bytes, (uint64_t)dims[axis], &bytes) ||
        bytes > CONTEXT_TENSOR_BYTES_MAX) {
      context_fail(graph->context, ERR_TOO_LARGE, "a tensor has more than %llu GiB",
                   (unsigned long long)(CONTEXT_TENSOR_BYTES_MAX >> 30));
    }
  }
  return bytes;
}

uint32_t graph_add_value(struct graph *graph, enum plan_type type, uint32_t rank,
                         const uint32_t *dims) {
  struct context *context = graph->context;
  if (rank > PLAN_RANK_MAX) {
    context_fail(context, ERR_UNSUPPORTED, "a tensor has %u dimensions; at most %d are supported",
                 rank, PLAN_RANK_MAX);
  }
  if (plan_type_bytes(type) == 0) {
    context_fail(context, ERR_UNSUPPORTED, "a tensor's element type is not supported");
  }
  (void)checked_bytes(graph, type, rank, dims);
  if (graph->values_count >= PLAN_TENSORS_MAX) {
    context_fail(context, ERR_TOO_LARGE, "the graph has more than %d tensors", PLAN_TENSORS_MAX);
  }
  context_grow(context, (void **)&graph->values, &graph->values_capacity, graph->values_count,
               sizeof(graph->values[0]));
  struct graph_value *value = &graph->values[graph->values_count];
  *value = (struct graph_value){
      .type = type,
      .layout = PLAN_ROW_MAJOR,
      .rank = rank,
      .producer = GRAPH_NONE,
      .user = GRAPH_NONE,
      .forward = GRAPH_NONE,
  };
  for (uint32_t axis = 0; axis < PLAN_RANK_MAX; axis++) {
    value->dims[axis] = axis < rank ? dims[axis] : 1;
  }
  return graph->values_count++;
}

uint32_t graph_add_constant(struct graph *graph, enum plan_type type, uint32_t rank,
                            const uint32_t *dims, const void *data) {
  const uint32_t value = graph_add_value(graph, type, rank, dims);
  graph->values[value].data = data;
  return value;
}

uint32_t graph_add_ints(struct graph *graph, const int64_t *ints, uint32_t count) {
  int64_t *data = context_take(graph->context, count > 0 ? count : 1, sizeof(data[0]));
  if (count > 0) {
    memcpy(data, ints, count * sizeof(data[0]));
  }
  return graph_add_constant(graph, PLAN_I64, 1, &count, data);
}

uint32_t graph_add_int(struct graph *graph, int64_t number) {
  int64_t *data = context_take(graph->context, 1, sizeof(data[0]));
  *data = number;
  return graph_add_constant(graph, PLAN_I64, 0, NULL, data);
}

uint32_t graph_add_number(struct graph *graph, enum plan_type type, double number) {
  double *data = context_take(graph->context, 1, sizeof(data[0]));
  *data = number;
  const uint32_t constant = graph_add_constant(graph, PLAN_F64, 0, NULL, data);
  return type == PLAN_F64 ? constant : graph_cast(graph, constant, type, false);
}

struct graph_op *graph_add_op(struct graph *graph, uint32_t kind, uint32_t inputs_count,
                              const uint32_t *inputs, uint32_t outputs_count,
                              const uint32_t *outputs) {
  struct context *context = graph->context;
  if (graph->ops_count >= PLAN_OPS_MAX) {
    context_fail(context, ERR_TOO_LARGE, "the graph has more than %d operations", PLAN_OPS_MAX);
  }
  if (inputs_count > PLAN_OP_INPUTS_MAX || outputs_count > PLAN_OP_INPUTS_MAX) {
    context_fail(context, ERR_UNSUPPORTED, "%u inputs; at most %d are supported", inputs_count,
                 PLAN_OP_INPUTS_MAX);
  }
  context_grow(context, (void **)&graph->ops, &graph->ops_capacity, graph->ops_count,
               sizeof(graph->ops[0]));
  struct graph_op *op = &graph->ops[graph->ops_count++];
  memset(op, 0, sizeof(*op));
  op->plan.kind = (enum plan_op_kind)kind;
  op->inputs_count = inputs_count;
  op->outputs_count = outputs_count;
  op->inputs = context_take(context, inputs_count + outputs_count + 1, sizeof(op->inputs[0]));
  op->outputs = op->inputs + inputs_count;
  for (uint32_t i = 0; i < inputs_count; i++) {
    op->inputs[i] = inputs[i];
  }
  for (uint32_t i = 0; i < outputs_count; i++) {
    op->outputs[i] = outputs[i];
  }
  const size_t length = strnlen(graph->node_name, PLAN_NAME_BYTES - 1);
  memcpy(op->plan.name, graph->node_name, length);
  return op;
}

void graph_finish_op(struct graph *graph, struct graph_op *op) {
  if (graph->folds && fold_op(graph, op)) {
    graph->ops_count--; /* it was the last */
    return;
  }
  for (uint32_t i = 0; i < op->outputs_count + op->inputs_count; i++) {
    const uint32_t value = op->inputs[i]; /* outputs lie behind the inputs */
    if (value != GRAPH_NONE && graph_elements(graph, value) == 0) {
      context_fail(graph->context, ERR_UNSUPPORTED,
                   "works on a tensor without elements, which only constants may be");
    }
  }
}

uint64_t graph_elements(const struct graph *graph, uint32_t value) {
  uint64_t elements = 1;
  for (uint32_t axis = 0; axis < graph->values[value].rank; axis++) {
    elements *= graph->values[value].dims[axis];
  }
  return elements;
}

uint64_t graph_bytes(const struct graph *graph, uint32_t value) {
  return graph_elements(graph, value) * plan_type_bytes(graph->values[value].type);
}

bool graph_is_constant(const struct graph *graph, uint32_t value) {
  return value != GRAPH_NONE && graph->values[value].data != NULL;
}

bool graph_same_dims(const struct graph *graph, uint32_t a, uint32_t b) {
  const struct graph_value *x = &graph->values[a];
  const struct graph_value *y = &graph->values[b];
  return x->rank == y->rank && memcmp(x->dims, y->dims, sizeof(x->dims)) == 0;
}

int64_t graph_int_at(const struct graph *graph, uint32_t value, uint64_t index) {
  const struct graph_value *v = &graph->values[value];
  switch (v->type) {
  case PLAN_I64:
  case PLAN_U64:
    return ((const int64_t *)v->data)[index];
  case PLAN_I32:
    return ((const int32_t *)v->data)[index];
  case PLAN_U32:
    return ((const uint32_t *)v->data)[index];
  case PLAN_I16:
    return ((const int16_t *)v->data)[index];
  case PLAN_U16:
    return ((const uint16_t *)v->data)[index];
  case PLAN_I8:
    return ((const int8_t *)v->data)[index];
  case PLAN_U8:
  case PLAN_BOOL:
    return ((const uint8_t *)v->data)[index];
  default:
    return (int64_t)graph_number_at(graph, value, index);
  }
}

static double half_to_double(uint16_t bits) {
  const int exponent = (bits >> 10) & 31;
  const int mantissa = bits & 1023;
  double number = 0;
  if (exponent == 31) {
    number = mantissa != 0 ? __builtin_nan("") : __builtin_inf();
  } else if (exponent == 0) {
    number = mantissa * 0x1p-24;
  } else {
    number = (1024 + mantissa) * 0x1p-25;
    for (int i = 0; i < exponent; i++) {
      number *= 2;
    }
  }
  return (bits & 0x8000) != 0 ? -number : number;
}

double graph_number_at(const struct graph *graph, uint32_t value, uint64_t index) {
  const struct graph_value *v = &graph->values[value];
  switch (v->type) {
  case PLAN_F32:
    return (double)((const float *)v->data)[index];
  case PLAN_F64:
    return ((const double *)v->data)[index];
  case PLAN_F16:
    return half_to_double(((const uint16_t *)v->data)[index]);
  default:
    return (double)graph_int_at(graph, value, index);
  }
}

bool graph_is_scalar(const struct graph *graph, uint32_t value, double *ret_number) {
  if (!graph_is_constant(graph, value) || graph_elements(graph, value) != 1) {
    return false;
  }
  *ret_number = graph_number_at(graph, value, 0);
  return true;
}

bool graph_broadcast(uint32_t a_rank, const uint32_t *a, uint32_t b_rank, const uint32_t *b,
                     uint32_t *ret_rank, uint32_t *ret_dims) {
  uint32_t dims[PLAN_RANK_MAX] = {0};
  const uint32_t rank = a_rank > b_rank ? a_rank : b_rank;
  for (uint32_t i = 1; i <= rank; i++) {
    const uint32_t x = i <= a_rank ? a[a_rank - i] : 1;
    const uint32_t y = i <= b_rank ? b[b_rank - i] : 1;
    if (x != y && x != 1 && y != 1) {
      return false;
    }
    dims[rank - i] = x == 1 ? y : x;
  }
  *ret_rank = rank;
  memcpy(ret_dims, dims, sizeof(dims));
  return true;
}

enum plan_type graph_step_type(const struct plan_step *step) {
  switch (step->scalar) {
  case PLAN_S_EQUAL:
  case PLAN_S_LESS:
  case PLAN_S_LESS_EQUAL:
  case PLAN_S_GREATER:
  case PLAN_S_GREATER_EQUAL:
  case PLAN_S_AND:
  case PLAN_S_OR:
  case PLAN_S_XOR:
  case PLAN_S_NOT:
  case PLAN_S_IS_NAN:
  case PLAN_S_IS_INF:
    return PLAN_BOOL;
  default:
    return step->type;
  }
}

void graph_replace(struct graph *graph, uint32_t value, uint32_t by) {
  graph->values[value].forward = by;
}

static uint32_t resolve(const struct graph *graph, uint32_t value) {
  while (value != GRAPH_NONE && graph->values[value].forward != GRAPH_NONE) {
    value = graph->values[value].forward;
  }
  return value;
}

void graph_link(struct graph *graph) {
  for (uint32_t v = 0; v < graph->values_count; v++) {
    graph->values[v].producer = GRAPH_NONE;
    graph->values[v].user = GRAPH_NONE;
    graph->values[v].uses = 0;
    graph->values[v].is_output = false;
  }
  for (uint32_t i = 0; i < graph->ops_count; i++) {
    const struct graph_op *op = &graph->ops[i];
    if ((uint32_t)op->plan.kind == GRAPH_DEAD) {
      continue;
    }
    for (uint32_t j = 0; j < op->inputs_count; j++) {
      if (op->inputs[j] != GRAPH_NONE) {
        graph->values[op->inputs[j]].uses++;
        graph->values[op->inputs[j]].user = i;
      }
    }
    for (uint32_t j = 0; j < op->outputs_count; j++) {
      if (op->outputs[j] != GRAPH_NONE) {
        graph->values[op->outputs[j]].producer = i;
      }
    }
  }
  for (uint32_t i = 0; i < graph->outputs_count; i++) {
    graph->values[graph->outputs[i]].uses++;
    graph->values[graph->outputs[i]].is_output = true;
  }
}

void graph_sweep(struct graph *graph) {
  for (uint32_t i = 0; i < graph->outputs_count; i++) {
    graph->outputs[i] = resolve(graph, graph->outputs[i]);
  }
  for (uint32_t i = 0; i < graph->ops_count; i++) {
    struct graph_op *op = &graph->ops[i];
    for (uint32_t j = 0; j < op->inputs_count; j++) {
      op->inputs[j] = resolve(graph, op->inputs[j]);
    }
  }
  graph_link(graph);
  for (uint32_t i = graph->ops_count; i-- > 0;) {
    struct graph_op *op = &graph->ops[i];
    if ((uint32_t)op->plan.kind == GRAPH_DEAD) {
      continue;
    }
    bool used = false;
    for (uint32_t j = 0; j < op->outputs_count; j++) {
      if (op->outputs[j] != GRAPH_NONE) {
        used |= graph->values[op->outputs[j]].uses > 0;
      }
    }
    if (used) {
      continue;
    }
    op->plan.kind = (enum plan_op_kind)GRAPH_DEAD;
    for (uint32_t j = 0; j < op->inputs_count; j++) {
      if (op->inputs[j] != GRAPH_NONE) {
        graph->values[op->inputs[j]].uses--;
      }
    }
  }
  uint32_t kept = 0;
  for (uint32_t i = 0; i < graph->ops_count; i++) {
    if ((uint32_t)graph->ops[i].plan.kind != GRAPH_DEAD) {
      graph->ops[kept++] = graph->ops[i];
    }
  }
  graph->ops_count = kept;
  graph_link(graph);
}

struct graph_op *graph_only_user(const struct graph *graph, uint32_t value) {
  const struct graph_value *v = &graph->values[value];
  return v->uses == 1 && v->user != GRAPH_NONE ? &graph->ops[v->user] : NULL;
}

struct graph_op *graph_producer(const struct graph *graph, uint32_t value) {
  if (value == GRAPH_NONE || graph->values[value].producer == GRAPH_NONE) {
    return NULL;
  }
  return &graph->ops[graph->values[value].producer];
}
