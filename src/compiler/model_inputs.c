/* The model's inputs with their dims settled, then all of its nodes, then its outputs. */
#include <string.h>

#include "compiler/lowering.h"

/* What a name of an open dimension stands for. */
struct symbols {
  const char *names[PLAN_PORTS_MAX * PLAN_RANK_MAX];
  uint32_t dims[PLAN_PORTS_MAX * PLAN_RANK_MAX];
  uint32_t count;
};

static const struct compile_shape *shape_of(const struct compiler *compiler, const char *name) {
  for (uint32_t i = 0; i < compiler->options->shapes_count; i++) {
    if (strcmp(compiler->options->shapes[i].name, name) == 0) {
      return &compiler->options->shapes[i];
    }
  }
  return NULL;
}

static bool is_open(const Onnx__TensorShapeProto__Dimension *dim) {
  return dim->value_case != ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE ||
         dim->dim_value <= 0;
}

static const char *symbol_of(const Onnx__TensorShapeProto__Dimension *dim) {
  return dim->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM &&
                 dim->dim_param != NULL
             ? dim->dim_param
             : "";
}

static bool is_batch_axis(const Onnx__TensorShapeProto *proto, const struct compile_shape *given) {
  if (given != NULL && given->rank > 0 && given->dims[0] == 0) {
    return true;
  }
  return proto != NULL && proto->n_dim > 0 && is_open(proto->dim[0]) &&
         (given == NULL || given->dims[0] == 1);
}

static const Onnx__TensorShapeProto *shape_proto(const Onnx__ValueInfoProto *info) {
  return info->type->tensor_type->shape;
}

static void check_port(struct context *context, const Onnx__ValueInfoProto *info) {
  if (info->name == NULL || info->name[0] == '\0') {
    context_fail(context, ERR_MALFORMED, "an input has no name");
  }
  if (info->type == NULL || info->type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE ||
      info->type->tensor_type == NULL) {
    context_fail(context, ERR_UNSUPPORTED,
                 "input '%.100s' is no tensor (a sequence, map or optional); export the model with "
                 "tensors",
                 info->name);
  }
}

/* Open dims that one --shape fixed are fixed wherever their name stands. */
static void learn_symbols(const Onnx__ValueInfoProto *info, const struct compile_shape *given,
                          struct symbols *symbols) {
  const Onnx__TensorShapeProto *proto = shape_proto(info);
  for (size_t i = 0; proto != NULL && given != NULL && i < proto->n_dim && i < given->rank; i++) {
    const char *name = symbol_of(proto->dim[i]);
    if (name[0] != '\0' && given->dims[i] > 0 && !(i == 0 && is_batch_axis(proto, given))) {
      symbols->names[symbols->count] = name;
      symbols->dims[symbols->count++] = given->dims[i];
    }
  }
}

static uint32_t open_dim(struct compiler *compiler, const Onnx__ValueInfoProto *info, uint32_t axis,
                         const struct symbols *symbols) {
  const Onnx__TensorShapeProto *proto = shape_proto(info);
  const char *name = symbol_of(proto->dim[axis]);
  for (uint32_t i = 0; name[0] != '\0' && i < symbols->count; i++) {
    if (strcmp(symbols->names[i], name) == 0) {
      return symbols->dims[i];
    }
  }
  char shape[PLAN_RANK_MAX * 12 + 1] = "";
  size_t length = 0;
  for (size_t i = 0; i < proto->n_dim && i < PLAN_RANK_MAX; i++) {
    const char *text = is_open(proto->dim[i])
                           ? (i == 0 ? "1" : "?")
                           : context_text(&compiler->context, "%lld",
                                          (long long)(proto->dim[i]->dim_value % 1000000000));
    const size_t count = strlen(text);
    if (i > 0) {
      shape[length++] = 'x';
    }
    memcpy(shape + length, text, count);
    length += count;
  }
  context_fail(
      &compiler->context, ERR_RANGE,
      "input '%.100s' leaves dimension %u%s%.60s open; give --shape %.100s=%s with numbers "
      "for the question marks",
      info->name, axis, name[0] == '\0' ? "" : " ", name, info->name, shape);
}

static void add_input(struct compiler *compiler, struct graph *graph, struct scope *scope,
                      const Onnx__ValueInfoProto *info, const struct symbols *symbols,
                      bool batched) {
  struct context *context = &compiler->context;
  const struct compile_shape *given = shape_of(compiler, info->name);
  const Onnx__TensorShapeProto *proto = shape_proto(info);
  enum plan_type type = 0;
  uint32_t dims[PLAN_RANK_MAX] = {0};
  if (!lower_type(info->type->tensor_type->elem_type, &type)) {
    context_fail(context, ERR_UNSUPPORTED,
                 "input '%.100s' has element type %d; numbers and bool "
                 "are supported",
                 info->name, info->type->tensor_type->elem_type);
  }
  if (proto == NULL && given == NULL) {
    context_fail(context, ERR_RANGE, "input '%.100s' has no shape; give --shape %.100s=1x...",
                 info->name, info->name);
  }
  const size_t rank = proto != NULL ? proto->n_dim : given->rank;
  if (rank > PLAN_RANK_MAX || (given != NULL && given->rank != rank)) {
    context_fail(context, ERR_RANGE, "input '%.100s' has %zu dimensions; --shape gives %u",
                 info->name, rank, given != NULL ? given->rank : 0);
  }
  for (uint32_t i = 0; i < rank; i++) {
    const Onnx__TensorShapeProto__Dimension *dim = proto != NULL ? proto->dim[i] : NULL;
    if (i == 0 && is_batch_axis(proto, given)) {
      dims[0] = batched ? compiler->batch_size : 1;
    } else if (given != NULL && given->dims[i] > 0) {
      dims[i] = given->dims[i];
      if (dim != NULL && !is_open(dim) && dim->dim_value != (int64_t)dims[i]) {
        context_fail(context, ERR_RANGE,
                     "--shape gives %u for dimension %u of input '%.100s'; the file fixes it at "
                     "%lld",
                     dims[i], i, info->name, (long long)dim->dim_value);
      }
    } else if (dim == NULL || is_open(dim)) {
      dims[i] = open_dim(compiler, info, i, symbols);
    } else if (dim->dim_value > INT32_MAX) {
      context_fail(context, ERR_TOO_LARGE, "input '%.100s' has dimension %lld", info->name,
                   (long long)dim->dim_value);
    } else {
      dims[i] = (uint32_t)dim->dim_value;
    }
  }
  if (graph->inputs_count == PLAN_PORTS_MAX) {
    context_fail(context, ERR_UNSUPPORTED, "the model has more than %d inputs", PLAN_PORTS_MAX);
  }
  const uint32_t value = graph_add_value(graph, type, (uint32_t)rank, dims);
  graph_value(graph, value)->is_input = true;
  graph->input_names[graph->inputs_count] = info->name;
  graph->inputs[graph->inputs_count++] = value;
  scope_put(context, scope, info->name, value);
}

static bool is_initializer(const struct scope *scope, const Onnx__ValueInfoProto *info) {
  uint32_t value = 0;
  return scope_get(scope, info->name, &value); /* before IR version 4 these stood in both lists */
}

static void add_inputs(struct compiler *compiler, struct graph *graph, struct scope *scope,
                       const Onnx__GraphProto *proto, bool *ret_batched) {
  struct context *context = &compiler->context;
  struct symbols *symbols = context_take(context, 1, sizeof(*symbols));
  bool batched = true;
  uint32_t count = 0;
  for (size_t i = 0; i < proto->n_input; i++) {
    check_port(context, proto->input[i]);
    if (is_initializer(scope, proto->input[i])) {
      continue;
    }
    if (++count > PLAN_PORTS_MAX) {
      context_fail(context, ERR_UNSUPPORTED, "the model has more than %d inputs", PLAN_PORTS_MAX);
    }
    const struct compile_shape *given = shape_of(compiler, proto->input[i]->name);
    learn_symbols(proto->input[i], given, symbols);
    batched &= is_batch_axis(shape_proto(proto->input[i]), given);
  }
  for (size_t i = 0; i < proto->n_input; i++) {
    if (!is_initializer(scope, proto->input[i])) {
      add_input(compiler, graph, scope, proto->input[i], symbols, batched);
    }
  }
  for (uint32_t i = 0; i < compiler->options->shapes_count; i++) {
    uint32_t value = 0;
    const char *name = compiler->options->shapes[i].name;
    if (!scope_get(scope, name, &value) || !graph_value(graph, value)->is_input) {
      context_fail(context, ERR_RANGE, "--shape names input '%.100s', which the model doesn't have",
                   name);
    }
    for (uint32_t k = 0; k < i; k++) {
      if (strcmp(compiler->options->shapes[k].name, name) == 0) {
        context_fail(context, ERR_RANGE, "--shape gives input '%.100s' twice; give it once", name);
      }
    }
  }
  *ret_batched = batched && graph->inputs_count > 0;
}

void lower_model(struct compiler *compiler, struct graph *graph, bool *ret_batched) {
  struct context *context = &compiler->context;
  const Onnx__ModelProto *model = compiler->model;
  const Onnx__GraphProto *proto = model->graph;
  struct scope *scope = scope_create(context, NULL);
  lower_initializers(compiler, graph, scope, proto);
  add_inputs(compiler, graph, scope, proto, ret_batched);
  if (graph->inputs_count == 0) {
    context_fail(context, ERR_UNSUPPORTED, "the model has no inputs: there is nothing to serve");
  }
  compiler->nodes_count = 0;
  lower_nodes(compiler, graph, scope, NULL, proto->n_node, proto->node, model->n_opset_import,
              model->opset_import);
  if (proto->n_output == 0 || proto->n_output > PLAN_PORTS_MAX) {
    context_fail(context, ERR_UNSUPPORTED, "the model has %zu outputs; 1 to %d are supported",
                 proto->n_output, PLAN_PORTS_MAX);
  }
  for (size_t i = 0; i < proto->n_output; i++) {
    const char *name = proto->output[i]->name;
    if (name == NULL || !scope_get(scope, name, &graph->outputs[i])) {
      context_fail(context, ERR_MALFORMED, "output '%.100s' is made by no node",
                   name != NULL ? name : "");
    }
    graph->output_names[i] = name;
  }
  graph->outputs_count = (uint32_t)proto->n_output;
}
