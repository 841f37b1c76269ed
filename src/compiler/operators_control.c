/* Control flow that is settled once shapes are. */
#include "compiler/lowering.h"

static void lower_if(struct node *node) {
  double condition = 0;
  const uint32_t value = node_constant(node, 0, "condition");
  if (!graph_is_scalar(node->graph, value, &condition)) {
    node_malformed(node, "its condition must be one bool");
  }
  const Onnx__AttributeProto *branch =
      node_attribute(node, condition > 0 ? "then_branch" : "else_branch");
  if (branch == NULL || branch->g == NULL) {
    node_malformed(node, "lacks a branch");
  }
  const Onnx__GraphProto *graph = branch->g;
  struct scope *scope = scope_create(node->context, node->scope);
  lower_initializers(node->compiler, node->graph, scope, graph);
  lower_nodes(node->compiler, node->graph, scope, node->caller, graph->n_node, graph->node,
              node->compiler->model->n_opset_import, node->compiler->model->opset_import);
  for (uint32_t i = 0; i < node->outputs_count && i < graph->n_output; i++) {
    const char *name = graph->output[i]->name;
    if (name == NULL || !scope_get(scope, name, &node->outputs[i])) {
      node_malformed(node, "its branch lacks output %u", i);
    }
  }
}

static const struct operator_line LINES[] = {
    {"", "If", 1, 0, lower_if, 0},
    {0},
};

const struct operator_family OPERATORS_CONTROL = {"control flow", LINES};
