#include "compiler/lowering.h"

#include <string.h>

enum {
  NODES_MAX =
      1 << 20, /* functions and branches inlined; far above what PLAN_OPS_MAX lets through */
  NODE_NAMES_MAX = PLAN_OP_INPUTS_MAX,
  CALLS_MAX = 16,
};

static bool is_onnx_domain(const char *domain) {
  return domain == NULL || domain[0] == '\0' || strcmp(domain, "ai.onnx") == 0;
}

static const struct operator_family *const FAMILIES[] = {
    &OPERATORS_ELEMENTWISE,   &OPERATORS_CONVOLUTION,  &OPERATORS_MATRIX,
    &OPERATORS_NORMALIZATION, &OPERATORS_SHAPE,        &OPERATORS_MOVE,
    &OPERATORS_INDEX,         &OPERATORS_REDUCTION,    &OPERATORS_RESIZE,
    &OPERATORS_RECURRENT,     &OPERATORS_QUANTIZATION, &OPERATORS_CONTROL,
};
enum { FAMILIES_COUNT = sizeof(FAMILIES) / sizeof(FAMILIES[0]) };

const struct operator_line *operators_find(const char *domain, const char *name, uint32_t opset,
                                           const char **ret_family, bool *ret_other_opset) {
  *ret_other_opset = false;
  for (uint32_t f = 0; f < FAMILIES_COUNT; f++) {
    for (const struct operator_line *o = FAMILIES[f]->operators; o->name != NULL; o++) {
      if (strcmp(o->name, name) != 0 || strcmp(o->domain, domain) != 0) {
        continue;
      }
      if (opset >= o->opset_first && (o->opset_last == 0 || opset <= o->opset_last)) {
        *ret_family = FAMILIES[f]->name;
        return o;
      }
      *ret_other_opset = true;
    }
  }
  return NULL;
}

bool compiler_operator(uint32_t index, struct compile_operator *ret_operator) {
  for (uint32_t f = 0; f < FAMILIES_COUNT; f++) {
    for (const struct operator_line *o = FAMILIES[f]->operators; o->name != NULL; o++) {
      if (index-- == 0) {
        *ret_operator = (struct compile_operator){
            .domain = o->domain,
            .name = o->name,
            .family = FAMILIES[f]->name,
            .opset_first = o->opset_first < COMPILE_OPSET_MIN && o->domain[0] == '\0'
                               ? COMPILE_OPSET_MIN
                               : o->opset_first,
            .opset_last =
                o->opset_last == 0 && o->domain[0] == '\0' ? COMPILE_OPSET_MAX : o->opset_last,
        };
        return true;
      }
    }
  }
  return false;
}

void lower_initializers(struct compiler *compiler, struct graph *graph, struct scope *scope,
                        const Onnx__GraphProto *proto) {
  if (proto->n_sparse_initializer > 0) {
    context_fail(&compiler->context, ERR_UNSUPPORTED,
                 "the graph has sparse initializers; export it with dense ones");
  }
  for (size_t i = 0; i < proto->n_initializer; i++) {
    const Onnx__TensorProto *tensor = proto->initializer[i];
    if (tensor->name == NULL || tensor->name[0] == '\0') {
      context_fail(&compiler->context, ERR_MALFORMED, "an initializer has no name");
    }
    scope_put(&compiler->context, scope, tensor->name, lower_tensor(compiler, graph, tensor));
  }
}

static const Onnx__FunctionProto *find_function(const struct compiler *compiler,
                                                const Onnx__NodeProto *proto) {
  const char *domain = proto->domain != NULL ? proto->domain : "";
  for (size_t i = 0; i < compiler->model->n_functions; i++) {
    const Onnx__FunctionProto *function = compiler->model->functions[i];
    if (function->name != NULL && strcmp(function->name, proto->op_type) == 0 &&
        strcmp(function->domain != NULL ? function->domain : "", domain) == 0) {
      return function;
    }
  }
  return NULL;
}

static void lower_function(struct node *node, const Onnx__FunctionProto *function) {
  uint32_t depth = 0;
  for (const struct node *caller = node->caller; caller != NULL; caller = caller->caller) {
    if (++depth == CALLS_MAX) {
      node_unsupported(node, "functions are nested more than %d deep", CALLS_MAX);
    }
  }
  struct scope *scope = scope_create(node->context, NULL);
  for (size_t i = 0; i < function->n_input; i++) {
    if (node_has_input(node, (uint32_t)i)) {
      scope_put(node->context, scope, function->input[i], node->inputs[i]);
    }
  }
  lower_nodes(node->compiler, node->graph, scope, node, function->n_node, function->node,
              function->n_opset_import, function->opset_import);
  for (uint32_t i = 0; i < node->outputs_count && i < function->n_output; i++) {
    if (!scope_get(scope, function->output[i], &node->outputs[i])) {
      node_malformed(node, "the function lacks its output '%s'", function->output[i]);
    }
  }
}

static uint32_t opset_of(const char *domain, size_t count, Onnx__OperatorSetIdProto *const *opsets,
                         uint32_t otherwise) {
  for (size_t i = 0; i < count; i++) {
    const char *its = opsets[i]->domain;
    if (is_onnx_domain(domain) ? is_onnx_domain(its) : its != NULL && strcmp(its, domain) == 0) {
      return opsets[i]->version < 0 || opsets[i]->version > UINT32_MAX
                 ? 0
                 : (uint32_t)opsets[i]->version;
    }
  }
  return otherwise;
}

static void lower_by_table(struct node *node) {
  const char *domain = is_onnx_domain(node->proto->domain) ? "" : node->proto->domain;
  bool other_opset = false;
  const struct operator_line *line =
      operators_find(domain, node->proto->op_type, node->opset, &node->family, &other_opset);
  if (line == NULL) {
    const Onnx__FunctionProto *function = find_function(node->compiler, node->proto);
    if (function != NULL) {
      lower_function(node, function);
      return;
    }
    if (other_opset) {
      node_unsupported(node, "is not supported in opset %u; see compile_model --operators",
                       node->opset);
    }
    node_unsupported(
        node,
        "this operator%s%s is not supported; see compile_model --operators, and export "
        "the model without it",
        domain[0] == '\0' ? "" : " of domain ", domain);
  }
  node->variant = line->variant;
  line->lower(node);
}

static void bind_outputs(struct node *node, struct scope *scope) {
  for (uint32_t i = 0; i < node->outputs_count; i++) {
    if (!node->wanted[i]) {
      continue;
    }
    if (node->outputs[i] == GRAPH_NONE) {
      node_unsupported(node, "its output %u ('%s') is not supported", i, node->proto->output[i]);
    }
    scope_put(node->context, scope, node->proto->output[i], node->outputs[i]);
  }
}

static void lower_node(struct compiler *compiler, struct graph *graph, struct scope *scope,
                       const struct node *caller, const Onnx__NodeProto *proto, uint32_t opset) {
  struct context *context = &compiler->context;
  if (proto->n_input > NODE_NAMES_MAX || proto->n_output > NODE_NAMES_MAX) {
    context_fail(context, ERR_TOO_LARGE, "has more than %d inputs or outputs", NODE_NAMES_MAX);
  }
  uint32_t *inputs = context_take(context, proto->n_input + 1, sizeof(inputs[0]));
  uint32_t *outputs = context_take(context, proto->n_output + 1, sizeof(outputs[0]));
  bool *wanted = context_take(context, proto->n_output + 1, sizeof(wanted[0]));
  for (size_t i = 0; i < proto->n_input; i++) {
    inputs[i] = GRAPH_NONE;
    if (proto->input[i][0] != '\0' && !scope_get(scope, proto->input[i], &inputs[i])) {
      context_fail(context, ERR_MALFORMED,
                   "its input '%s' is made by no node before it; nodes must stand in order",
                   proto->input[i]);
    }
  }
  for (size_t i = 0; i < proto->n_output; i++) {
    outputs[i] = GRAPH_NONE;
    wanted[i] = proto->output[i][0] != '\0';
  }
  struct node node = {
      .compiler = compiler,
      .context = context,
      .graph = graph,
      .proto = proto,
      .scope = scope,
      .caller = caller,
      .opset = opset,
      .inputs_count = (uint32_t)proto->n_input,
      .outputs_count = (uint32_t)proto->n_output,
      .inputs = inputs,
      .outputs = outputs,
      .wanted = wanted,
  };
  lower_by_table(&node);
  bind_outputs(&node, scope);
}

void lower_nodes(struct compiler *compiler, struct graph *graph, struct scope *scope,
                 const struct node *caller, size_t count, Onnx__NodeProto *const *nodes,
                 size_t opsets_count, Onnx__OperatorSetIdProto *const *opsets) {
  struct context *context = &compiler->context;
  const char *place = context->place;
  const char *name = graph->node_name;
  for (size_t i = 0; i < count; i++) {
    const Onnx__NodeProto *proto = nodes[i];
    if (proto->op_type == NULL) {
      context_fail(context, ERR_MALFORMED, "node %zu has no operator", i);
    }
    if (++compiler->nodes_count > NODES_MAX) {
      context_fail(context, ERR_TOO_LARGE, "the graph has more than %d nodes", NODES_MAX);
    }
    const char *own = proto->name != NULL && proto->name[0] != '\0' ? proto->name
                      : proto->n_output > 0                         ? proto->output[0]
                                                                    : "";
    context->place = context_text(context, "%.64s '%.200s'", proto->op_type, own);
    graph->node_name = own;
    lower_node(compiler, graph, scope, caller, proto,
               opset_of(proto->domain, opsets_count, opsets,
                        is_onnx_domain(proto->domain) ? compiler->opset : 1));
    context->place = place;
    graph->node_name = name;
  }
}
