/* What a lowering function reads of its node. */
#include <string.h>

#include "compiler/lowering.h"

bool node_has_input(const struct node *node, uint32_t index) {
  return index < node->inputs_count && node->inputs[index] != GRAPH_NONE;
}

uint32_t node_input(const struct node *node, uint32_t index) {
  if (!node_has_input(node, index)) {
    node_malformed(node, "lacks its input %u", index);
  }
  return node->inputs[index];
}

uint32_t node_optional_input(const struct node *node, uint32_t index) {
  return index < node->inputs_count ? node->inputs[index] : GRAPH_NONE;
}

uint32_t node_constant(const struct node *node, uint32_t index, const char *what) {
  const uint32_t value = node_input(node, index);
  if (!graph_is_constant(node->graph, value)) {
    node_unsupported(node,
                     "its %s (input %u) is computed from the model's inputs; it must be constant "
                     "once all shapes are fixed",
                     what, index);
  }
  return value;
}

uint32_t node_constant_ints(const struct node *node, uint32_t index, const char *what,
                            uint32_t count_max, int64_t *ret_ints) {
  const uint32_t value = node_constant(node, index, what);
  const uint64_t count = graph_elements(node->graph, value);
  if (plan_type_is_float(graph_value(node->graph, value)->type)) {
    node_malformed(node, "its %s must be integers", what);
  }
  if (count > count_max) {
    node_unsupported(node, "its %s has %llu elements; at most %u are supported", what,
                     (unsigned long long)count, count_max);
  }
  for (uint32_t i = 0; i < (uint32_t)count; i++) {
    ret_ints[i] = graph_int_at(node->graph, value, i);
  }
  return (uint32_t)count;
}

static const Onnx__AttributeProto *find(const Onnx__NodeProto *proto, const char *name) {
  for (size_t i = 0; i < proto->n_attribute; i++) {
    const Onnx__AttributeProto *attribute = proto->attribute[i];
    if (attribute->name != NULL && strcmp(attribute->name, name) == 0) {
      return attribute;
    }
  }
  return NULL;
}

const Onnx__AttributeProto *node_attribute(const struct node *node, const char *name) {
  const Onnx__AttributeProto *attribute = find(node->proto, name);
  /* In a function an attribute may stand for one of the call's. */
  while (attribute != NULL && attribute->ref_attr_name != NULL &&
         attribute->ref_attr_name[0] != '\0') {
    const char *outer = attribute->ref_attr_name;
    node = node->caller;
    attribute = node == NULL ? NULL : find(node->proto, outer);
  }
  return attribute;
}

bool node_has(const struct node *node, const char *name) {
  return node_attribute(node, name) != NULL;
}

static const Onnx__AttributeProto *typed(const struct node *node, const char *name,
                                         Onnx__AttributeProto__AttributeType type) {
  const Onnx__AttributeProto *attribute = node_attribute(node, name);
  if (attribute != NULL && attribute->has_type && attribute->type != type) {
    node_malformed(node, "attribute '%s' has the wrong type", name);
  }
  return attribute;
}

int64_t node_int(const struct node *node, const char *name, int64_t otherwise) {
  const Onnx__AttributeProto *attribute =
      typed(node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);
  return attribute == NULL ? otherwise : attribute->i;
}

bool node_flag(const struct node *node, const char *name, bool otherwise) {
  return node_int(node, name, otherwise) != 0;
}

float node_float(const struct node *node, const char *name, float otherwise) {
  const Onnx__AttributeProto *attribute =
      typed(node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);
  return attribute == NULL ? otherwise : attribute->f;
}

const char *node_text(const struct node *node, const char *name, const char *otherwise) {
  const Onnx__AttributeProto *attribute =
      typed(node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING);
  if (attribute == NULL) {
    return otherwise;
  }
  return context_text(node->context, "%.*s", (int)(attribute->s.len > 64 ? 64 : attribute->s.len),
                      (const char *)attribute->s.data);
}

uint32_t node_ints(const struct node *node, const char *name, uint32_t count_max,
                   int64_t *ret_ints) {
  const Onnx__AttributeProto *attribute =
      typed(node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);
  if (attribute == NULL) {
    return 0;
  }
  if (attribute->n_ints > count_max) {
    node_malformed(node, "attribute '%s' has %zu numbers; at most %u fit", name, attribute->n_ints,
                   count_max);
  }
  for (size_t i = 0; i < attribute->n_ints; i++) {
    ret_ints[i] = attribute->ints[i];
  }
  return (uint32_t)attribute->n_ints;
}

uint32_t node_axis(const struct node *node, int64_t axis, uint32_t rank) {
  if (axis < -(int64_t)rank || axis >= (int64_t)rank) {
    node_malformed(node, "axis %lld is out of range for rank %u", (long long)axis, rank);
  }
  return (uint32_t)(axis < 0 ? axis + (int64_t)rank : axis);
}

bool node_axes(const struct node *node, uint32_t input, uint32_t rank, uint32_t *ret_mask,
               uint32_t *ret_count, uint32_t ret_axes[PLAN_RANK_MAX]) {
  int64_t axes[PLAN_RANK_MAX];
  uint32_t count = 0;
  if (node_has_input(node, input)) {
    count = node_constant_ints(node, input, "axes", PLAN_RANK_MAX, axes);
  } else if (node_has(node, "axes")) {
    count = node_ints(node, "axes", PLAN_RANK_MAX, axes);
  } else {
    return false;
  }
  *ret_mask = 0;
  *ret_count = count;
  for (uint32_t i = 0; i < count; i++) {
    ret_axes[i] = node_axis(node, axes[i], rank);
    if ((*ret_mask >> ret_axes[i] & 1) != 0) {
      node_malformed(node, "axis %u is given twice", ret_axes[i]);
    }
    *ret_mask |= 1u << ret_axes[i];
  }
  return true;
}

uint32_t node_size(const struct node *node, int64_t number, const char *what) {
  if (number < 0 || number > INT32_MAX) {
    node_malformed(node, "%s is %lld; it must be 0 to %d", what, (long long)number, INT32_MAX);
  }
  return (uint32_t)number;
}

void node_check_rank(const struct node *node, uint32_t value, uint32_t rank_min,
                     uint32_t rank_max) {
  const uint32_t rank = graph_value(node->graph, value)->rank;
  if (rank < rank_min || rank > rank_max) {
    node_unsupported(node, "an input has rank %u; ranks %u to %u are supported", rank, rank_min,
                     rank_max);
  }
}

void node_check_float(const struct node *node, uint32_t value) {
  const enum plan_type type = graph_value(node->graph, value)->type;
  if (!plan_type_is_float(type)) {
    node_unsupported(node, "an input is %s; it must be float32, float16 or float64",
                     plan_type_text(type));
  }
}

void node_check_types(const struct node *node, uint32_t a, uint32_t b) {
  const enum plan_type x = graph_value(node->graph, a)->type;
  const enum plan_type y = graph_value(node->graph, b)->type;
  if (x != y) {
    node_malformed(node, "its inputs are %s and %s; they must be one type", plan_type_text(x),
                   plan_type_text(y));
  }
}
