#include "compiler/compiler.h"

#include <string.h>

#include "compiler/emit.h"
#include "compiler/lowering.h"
#include "compiler/passes.h"
#include "compiler/weights.h"
#include "package/plan.h"

enum { GRAPHS_NESTED_MAX = 24 };

size_t compiler_arena_bytes(uint64_t model_bytes) {
  /* The messages, one batch size's folded and laid out weights, the kept ones; and room for graphs
   * that are all structure. */
  const uint64_t bytes = 5 * model_bytes + (UINT64_C(1) << 30);
  return (size_t)(bytes / 64 * 64);
}

static bool is_inside(const char *path) {
  if (path[0] == '\0' || path[0] == '/' || strchr(path, '\\') != NULL) {
    return false;
  }
  for (const char *part = path; part != NULL; part = strchr(part, '/')) {
    part += *part == '/' ? 1 : 0;
    if (part[0] == '.' && part[1] == '.' && (part[2] == '/' || part[2] == '\0')) {
      return false;
    }
  }
  return true;
}

static void note_external(struct compiler *compiler, const Onnx__TensorProto *tensor) {
  struct context *context = &compiler->context;
  if (tensor == NULL || !tensor->has_data_location ||
      tensor->data_location != ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL) {
    return;
  }
  const char *path = onnx_external_entry(tensor, "location");
  if (path == NULL || !is_inside(path)) {
    context_fail(context, ERR_MALFORMED,
                 "external data lies at '%.200s'; it must be a path below the model's folder",
                 path != NULL ? path : "");
  }
  for (uint32_t i = compiler->externals_count; i-- > 0;) {
    if (strcmp(compiler->externals[i].path, path) == 0) {
      return;
    }
  }
  if (compiler->externals_count == COMPILE_EXTERNALS_MAX) {
    context_fail(context, ERR_TOO_LARGE, "more than %d files of external data",
                 COMPILE_EXTERNALS_MAX);
  }
  context_grow(context, (void **)&compiler->externals, &compiler->externals_capacity,
               compiler->externals_count, sizeof(compiler->externals[0]));
  compiler->externals[compiler->externals_count++] = (struct external){.path = path};
}

static void note_nodes(struct compiler *compiler, size_t count, Onnx__NodeProto *const *nodes,
                       uint32_t depth);

static void note_graph(struct compiler *compiler, const Onnx__GraphProto *graph, uint32_t depth) {
  if (depth == GRAPHS_NESTED_MAX) {
    context_fail(&compiler->context, ERR_TOO_LARGE, "graphs are nested too deep");
  }
  for (size_t i = 0; i < graph->n_initializer; i++) {
    note_external(compiler, graph->initializer[i]);
  }
  note_nodes(compiler, graph->n_node, graph->node, depth);
}

static void note_nodes(struct compiler *compiler, size_t count, Onnx__NodeProto *const *nodes,
                       uint32_t depth) {
  for (size_t i = 0; i < count; i++) {
    for (size_t j = 0; j < nodes[i]->n_attribute; j++) {
      const Onnx__AttributeProto *attribute = nodes[i]->attribute[j];
      note_external(compiler, attribute->t);
      if (attribute->g != NULL) {
        note_graph(compiler, attribute->g, depth + 1);
      }
    }
  }
}

static void check_versions(struct compiler *compiler) {
  const Onnx__ModelProto *model = compiler->model;
  struct context *context = &compiler->context;
  if (model->graph == NULL) {
    context_fail(context, ERR_MALFORMED, "is no ONNX model: it has no graph");
  }
  for (size_t i = 0; i < model->n_opset_import; i++) {
    const Onnx__OperatorSetIdProto *opset = model->opset_import[i];
    const char *domain = opset->domain != NULL ? opset->domain : "";
    if (domain[0] != '\0' && strcmp(domain, "ai.onnx") != 0) {
      continue;
    }
    if (opset->version < COMPILE_OPSET_MIN || opset->version > COMPILE_OPSET_MAX) {
      context_fail(context, ERR_VERSION,
                   "uses opset %lld; %d to %d are supported: export the model for one of these",
                   (long long)opset->version, COMPILE_OPSET_MIN, COMPILE_OPSET_MAX);
    }
    compiler->opset = (uint32_t)opset->version;
  }
  if (compiler->opset == 0) {
    context_fail(context, ERR_MALFORMED, "names no opset of ONNX");
  }
}

enum err compiler_open(struct arena *arena, const void *bytes, size_t bytes_count,
                       struct compiler **ret_compiler, struct compile_fault *ret_fault) {
  struct compiler *compiler = arena_take(arena, 1, sizeof(*compiler));
  struct context *context = &compiler->context;
  context->arena = arena;
  context->fault = ret_fault;
  context->place = "";
  if (setjmp(context->failed) != 0) {
    return compiler->context.error;
  }
  compiler->model = onnx_read_model(context, bytes, bytes_count);
  check_versions(compiler);
  note_graph(compiler, compiler->model->graph, 0);
  for (size_t i = 0; i < compiler->model->n_functions; i++) {
    const Onnx__FunctionProto *function = compiler->model->functions[i];
    note_nodes(compiler, function->n_node, function->node, 0);
  }
  *ret_compiler = compiler;
  return ERR_OK;
}

uint32_t compiler_externals_count(const struct compiler *compiler) {
  return compiler->externals_count;
}

const char *compiler_external_path(const struct compiler *compiler, uint32_t external) {
  return compiler->externals[external].path;
}

void compiler_set_external(struct compiler *compiler, uint32_t external, const void *bytes,
                           uint64_t bytes_count) {
  compiler->externals[external].bytes = bytes;
  compiler->externals[external].bytes_count = bytes_count;
}

static void set_port(struct context *context, const struct graph *graph, uint32_t value,
                     const char *name, bool batched, struct plan_port *port) {
  const struct graph_value *v = graph_value(graph, value);
  const size_t length = strlen(name);
  if (length >= PLAN_NAME_BYTES) {
    context_fail(context, ERR_UNSUPPORTED, "the name '%.100s...' is longer than %d characters",
                 name, PLAN_NAME_BYTES - 1);
  }
  memcpy(port->name, name, length + 1);
  port->type = v->type;
  port->batched = batched;
  port->rank = v->rank - (batched ? 1 : 0);
  port->bytes_per_request = plan_type_bytes(v->type);
  for (uint32_t axis = 0; axis < PLAN_RANK_MAX; axis++) {
    port->dims[axis] = axis < port->rank ? v->dims[axis + (batched ? 1 : 0)] : 1;
    port->bytes_per_request *= port->dims[axis];
  }
}

/* The ports, from the first batch size's graph; later ones must agree but for the batch. */
static void set_ports(struct compiler *compiler, const struct graph *graph, bool batched,
                      struct plan *plan) {
  struct context *context = &compiler->context;
  for (uint32_t i = 0; batched && i < graph->outputs_count; i++) {
    const struct graph_value *v = graph_value(graph, graph->outputs[i]);
    if (v->rank == 0 || v->dims[0] != compiler->batch_size) {
      if (compiler->batch_size > 1) {
        context_fail(context, ERR_UNSUPPORTED,
                     "output '%.100s' doesn't have the batch as its first dimension",
                     graph->output_names[i]);
      }
      batched = false;
    }
  }
  struct plan_port *inputs = context_keep(context, graph->inputs_count, sizeof(inputs[0]));
  struct plan_port *outputs = context_keep(context, graph->outputs_count, sizeof(outputs[0]));
  uint64_t input_bytes = 0;
  uint64_t output_bytes = 0;
  for (uint32_t i = 0; i < graph->inputs_count; i++) {
    set_port(context, graph, graph->inputs[i], graph->input_names[i], batched, &inputs[i]);
    input_bytes += inputs[i].bytes_per_request;
  }
  for (uint32_t i = 0; i < graph->outputs_count; i++) {
    set_port(context, graph, graph->outputs[i], graph->output_names[i], batched, &outputs[i]);
    output_bytes += outputs[i].bytes_per_request;
  }
  if (plan->inputs != NULL) {
    if (memcmp(plan->inputs, inputs, graph->inputs_count * sizeof(inputs[0])) != 0 ||
        memcmp(plan->outputs, outputs, graph->outputs_count * sizeof(outputs[0])) != 0) {
      context_fail(context, ERR_UNSUPPORTED,
                   "an output's dimensions change with the batch beyond the first one");
    }
    return;
  }
  plan->inputs = inputs;
  plan->inputs_count = graph->inputs_count;
  plan->outputs = outputs;
  plan->outputs_count = graph->outputs_count;
  plan->input_bytes = input_bytes;
  plan->output_bytes = output_bytes;
}

static void run_batch(struct compiler *compiler, uint32_t batch_size, struct plan *plan,
                      struct plan_batch *batch, bool *ret_batched) {
  struct context *context = &compiler->context;
  compiler->batch_size = batch_size;
  context->fold_work = 0;
  struct graph graph;
  graph_init(&graph, context);
  lower_model(compiler, &graph, ret_batched);
  if (!*ret_batched && batch_size > 1) {
    context_fail(context, ERR_UNSUPPORTED, "an input has no open first dimension for the batch");
  }
  graph_sweep(&graph);
  set_ports(compiler, &graph, *ret_batched, plan);
  passes_run(&graph, compiler->options->precision);
  emit_batch(&graph, compiler->weights, batch_size, batch);
}

static void check_result(struct compiler *compiler, struct plan *plan) {
  struct context *context = &compiler->context;
  const size_t mark = context_mark(context);
  struct plan_fault fault;
  void *scratch = context_take(context, plan_check_bytes(plan) + 1, 1);
  if (!plan_check(plan, scratch, &fault)) {
    const char *name = "";
    for (uint32_t i = 0; i < plan->batch_kinds; i++) {
      if (plan->batches[i].batch_size == fault.batch_size &&
          fault.op < plan->batches[i].ops_count) {
        name = plan->batches[i].ops[fault.op].name;
      }
    }
    context_fail(context, ERR_UNSUPPORTED, "%s (at '%s', batch size %u)", fault.text, name,
                 fault.batch_size);
  }
  context_release(context, mark);
}

/* One batch size. False: with this one it failed, and the fault is set. */
static bool try_batch(struct compiler *compiler, uint32_t kind, struct plan *plan,
                      struct plan_batch *batches, bool *ret_batched) {
  struct context *context = &compiler->context;
  const size_t mark = context_mark(context);
  context->place = "";
  const bool ok = setjmp(context->failed) == 0;
  if (ok) {
    run_batch(compiler, compiler->options->batch_sizes[kind], plan, &batches[kind], ret_batched);
  }
  context_release(context, mark);
  return ok;
}

/* Says which batch size failed, and returns the error. */
static enum err batch_failed(struct compiler *compiler, uint32_t batch_size) {
  struct context *context = &compiler->context;
  struct compile_fault inner = *context->fault;
  if (setjmp(context->failed) == 0) {
    context->place = "";
    context_fail(context, context->error, "at batch size %u: %.300s; compile with --batch 1",
                 batch_size, inner.text);
  }
  return context->error;
}

/* All batch sizes, as far as the model has a batch. */
static enum err run_batches(struct compiler *compiler, struct plan *plan,
                            struct plan_batch *batches, bool *ret_reduced) {
  const struct compile_options *options = compiler->options;
  bool batched = true;
  for (uint32_t kind = 0; kind < options->batch_kinds; kind++) {
    if (try_batch(compiler, kind, plan, batches, &batched)) {
      plan->batch_kinds = kind + 1;
      continue;
    }
    if (kind == 0) {
      return compiler->context.error;
    }
    if (options->batch_sizes_asked || kind > 1) {
      return batch_failed(compiler, options->batch_sizes[kind]);
    }
    *ret_reduced = true;
    break;
  }
  return ERR_OK;
}

static void finish_plan(struct compiler *compiler, struct plan *plan,
                        struct compile_result *result) {
  compiler->context.place = "";
  result->weights = weights_list(compiler->weights, &result->weights_count, &plan->weights_bytes);
  if (plan->weights_bytes == 0) {
    plan->weights_bytes = PLAN_ALIGN_BYTES; /* a model without weights has one empty stretch */
  }
  check_result(compiler, plan);
  result->plan = plan;
  result->nodes_count = compiler->nodes_count;
}

static void start_plan(struct compiler *compiler, struct plan **ret_plan,
                       struct plan_batch **ret_batches, struct compile_result **ret_result) {
  struct context *context = &compiler->context;
  const struct compile_options *options = compiler->options;
  struct plan *plan = context_keep(context, 1, sizeof(*plan));
  *ret_batches = context_keep(context, options->batch_kinds, sizeof(**ret_batches));
  *ret_result = context_keep(context, 1, sizeof(**ret_result));
  memcpy(plan->name, options->name, strnlen(options->name, MODEL_NAME_BYTES - 1));
  plan->precision = options->precision;
  plan->batches = *ret_batches;
  compiler->weights = weights_create(context, context_mark(context));
  *ret_plan = plan;
}

enum err compiler_run(struct compiler *compiler, const struct compile_options *options,
                      const struct compile_result **ret_result, struct compile_fault *ret_fault) {
  struct context *context = &compiler->context;
  struct plan *plan = NULL;
  struct plan_batch *batches = NULL;
  struct compile_result *result = NULL;
  context->fault = ret_fault;
  compiler->options = options;
  if (setjmp(context->failed) != 0) {
    return context->error;
  }
  start_plan(compiler, &plan, &batches, &result);
  const enum err error = run_batches(compiler, plan, batches, &result->batch_reduced);
  if (error != ERR_OK) {
    return error;
  }
  if (setjmp(context->failed) != 0) {
    return context->error;
  }
  finish_plan(compiler, plan, result);
  *ret_result = result;
  return ERR_OK;
}
