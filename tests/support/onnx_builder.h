/* Small ONNX models for tests, made with the messages that the compiler reads. Memory is never
 * given back: a test's process is short.
 */
#ifndef CLOCKWORK_TESTS_SUPPORT_ONNX_BUILDER_H
#define CLOCKWORK_TESTS_SUPPORT_ONNX_BUILDER_H

#include <onnx.pb-c.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

enum { ONNX_BUILDER_MAX = 64 };

struct onnx_builder {
  Onnx__ModelProto model;
  Onnx__GraphProto graph;
  Onnx__OperatorSetIdProto opset;
  Onnx__OperatorSetIdProto *opsets[1];
  Onnx__NodeProto *nodes[ONNX_BUILDER_MAX];
  Onnx__TensorProto *tensors[ONNX_BUILDER_MAX];
  Onnx__ValueInfoProto *inputs[ONNX_BUILDER_MAX];
  Onnx__ValueInfoProto *outputs[ONNX_BUILDER_MAX];
};

struct onnx_builder_block {
  struct onnx_builder_block *next;
  max_align_t memory[];
};

/* Everything that this program's builders took, until onnx_builder_release(). */
static struct onnx_builder_block *onnx_builder_blocks;

static inline void *onnx_builder_take(size_t bytes) {
  struct onnx_builder_block *block = calloc(1, sizeof(*block) + bytes);
  CHECK(block != NULL);
  block->next = onnx_builder_blocks;
  onnx_builder_blocks = block;
  return block->memory;
}

static inline void onnx_builder_release(void) {
  while (onnx_builder_blocks != NULL) {
    struct onnx_builder_block *block = onnx_builder_blocks;
    onnx_builder_blocks = block->next;
    free(block);
  }
}

static inline char *onnx_builder_text(const char *text) {
  const size_t bytes = strlen(text) + 1;
  char *copy = onnx_builder_take(bytes);
  memcpy(copy, text, bytes);
  return copy;
}

static inline void onnx_builder_init(struct onnx_builder *b, int64_t opset) {
  memset(b, 0, sizeof(*b));
  onnx__model_proto__init(&b->model);
  onnx__graph_proto__init(&b->graph);
  onnx__operator_set_id_proto__init(&b->opset);
  b->opset.has_version = 1;
  b->opset.version = opset;
  b->opsets[0] = &b->opset;
  b->model.has_ir_version = 1;
  b->model.ir_version = 8;
  b->model.graph = &b->graph;
  b->model.opset_import = b->opsets;
  b->model.n_opset_import = 1;
  b->graph.node = b->nodes;
  b->graph.initializer = b->tensors;
  b->graph.input = b->inputs;
  b->graph.output = b->outputs;
}

/* A float port; dim 0 is the open dimension "N", others below 0 are open without a name. */
static inline Onnx__ValueInfoProto *onnx_builder_port(const char *name, int32_t type, size_t rank,
                                                      const int64_t *dims) {
  Onnx__ValueInfoProto *info = onnx_builder_take(sizeof(*info));
  Onnx__TypeProto *proto = onnx_builder_take(sizeof(*proto));
  Onnx__TypeProto__Tensor *tensor = onnx_builder_take(sizeof(*tensor));
  Onnx__TensorShapeProto *shape = onnx_builder_take(sizeof(*shape));
  onnx__value_info_proto__init(info);
  onnx__type_proto__init(proto);
  onnx__type_proto__tensor__init(tensor);
  onnx__tensor_shape_proto__init(shape);
  info->name = onnx_builder_text(name);
  info->type = proto;
  proto->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
  proto->tensor_type = tensor;
  tensor->has_elem_type = 1;
  tensor->elem_type = type;
  tensor->shape = shape;
  shape->n_dim = rank;
  shape->dim = onnx_builder_take((rank + 1) * sizeof(shape->dim[0]));
  for (size_t i = 0; i < rank; i++) {
    shape->dim[i] = onnx_builder_take(sizeof(*shape->dim[i]));
    onnx__tensor_shape_proto__dimension__init(shape->dim[i]);
    if (dims[i] == 0) {
      shape->dim[i]->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
      shape->dim[i]->dim_param = onnx_builder_text("N");
    } else if (dims[i] > 0) {
      shape->dim[i]->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
      shape->dim[i]->dim_value = dims[i];
    }
  }
  return info;
}

#define ONNX_DIMS(...)                                                                             \
  (sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[]) {                  \
    __VA_ARGS__                                                                                    \
  }

static inline void onnx_builder_input(struct onnx_builder *b, const char *name, size_t rank,
                                      const int64_t *dims) {
  b->inputs[b->graph.n_input++] =
      onnx_builder_port(name, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, rank, dims);
}

static inline void onnx_builder_output(struct onnx_builder *b, const char *name) {
  b->outputs[b->graph.n_output++] =
      onnx_builder_port(name, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, 0, NULL);
}

static inline Onnx__TensorProto *onnx_builder_tensor(struct onnx_builder *b, const char *name,
                                                     int32_t type, size_t rank, const int64_t *dims,
                                                     size_t element_bytes) {
  Onnx__TensorProto *tensor = onnx_builder_take(sizeof(*tensor));
  size_t bytes = element_bytes;
  onnx__tensor_proto__init(tensor);
  tensor->name = onnx_builder_text(name);
  tensor->has_data_type = 1;
  tensor->data_type = type;
  tensor->n_dims = rank;
  tensor->dims = onnx_builder_take((rank + 1) * sizeof(tensor->dims[0]));
  for (size_t i = 0; i < rank; i++) {
    tensor->dims[i] = dims[i];
    bytes *= (size_t)dims[i];
  }
  tensor->has_raw_data = 1;
  tensor->raw_data.len = bytes;
  tensor->raw_data.data = onnx_builder_take(bytes + 1);
  b->tensors[b->graph.n_initializer++] = tensor;
  return tensor;
}

/* Floats that count up from `first` in steps of 1/16. */
static inline void onnx_builder_floats(struct onnx_builder *b, const char *name, float first,
                                       size_t rank, const int64_t *dims) {
  Onnx__TensorProto *tensor =
      onnx_builder_tensor(b, name, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, rank, dims, sizeof(float));
  for (size_t i = 0; i < tensor->raw_data.len / sizeof(float); i++) {
    const float value = first + (float)i / 16;
    memcpy(tensor->raw_data.data + i * sizeof(float), &value, sizeof(value));
  }
}

static inline void onnx_builder_number(struct onnx_builder *b, const char *name, float number) {
  onnx_builder_floats(b, name, number, 0, NULL);
}

static inline void onnx_builder_ints(struct onnx_builder *b, const char *name, size_t count,
                                     const int64_t *ints) {
  const int64_t dims[1] = {(int64_t)count};
  Onnx__TensorProto *tensor =
      onnx_builder_tensor(b, name, ONNX__TENSOR_PROTO__DATA_TYPE__INT64, 1, dims, sizeof(int64_t));
  memcpy(tensor->raw_data.data, ints, count * sizeof(int64_t));
}

/* `inputs` are names with blanks between them; "" stands for none. */
static inline Onnx__NodeProto *onnx_builder_node(struct onnx_builder *b, const char *op,
                                                 const char *inputs, const char *output) {
  Onnx__NodeProto *node = onnx_builder_take(sizeof(*node));
  onnx__node_proto__init(node);
  node->op_type = onnx_builder_text(op);
  node->name = onnx_builder_text(output);
  node->input = onnx_builder_take(16 * sizeof(node->input[0]));
  node->attribute = onnx_builder_take(8 * sizeof(node->attribute[0]));
  char *text = onnx_builder_text(inputs);
  while (*text != '\0') {
    char *end = text + strcspn(text, " ");
    const bool more = *end != '\0';
    *end = '\0';
    node->input[node->n_input++] = text;
    text = more ? end + 1 : end;
  }
  node->n_output = 1;
  node->output = onnx_builder_take(sizeof(node->output[0]));
  node->output[0] = onnx_builder_text(output);
  b->nodes[b->graph.n_node++] = node;
  return node;
}

static inline Onnx__AttributeProto *onnx_builder_attribute(Onnx__NodeProto *node, const char *name,
                                                           int32_t type) {
  Onnx__AttributeProto *attribute = onnx_builder_take(sizeof(*attribute));
  onnx__attribute_proto__init(attribute);
  attribute->name = onnx_builder_text(name);
  attribute->has_type = 1;
  attribute->type = (Onnx__AttributeProto__AttributeType)type;
  node->attribute[node->n_attribute++] = attribute;
  return attribute;
}

static inline void onnx_builder_int_attribute(Onnx__NodeProto *node, const char *name,
                                              int64_t value) {
  Onnx__AttributeProto *attribute =
      onnx_builder_attribute(node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);
  attribute->has_i = 1;
  attribute->i = value;
}

static inline void onnx_builder_ints_attribute(Onnx__NodeProto *node, const char *name,
                                               size_t count, const int64_t *values) {
  Onnx__AttributeProto *attribute =
      onnx_builder_attribute(node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);
  attribute->n_ints = count;
  attribute->ints = onnx_builder_take(count * sizeof(values[0]));
  memcpy(attribute->ints, values, count * sizeof(values[0]));
}

static inline uint8_t *onnx_builder_bytes(const struct onnx_builder *b, size_t *ret_count) {
  *ret_count = onnx__model_proto__get_packed_size(&b->model);
  uint8_t *bytes = onnx_builder_take(*ret_count + 1);
  onnx__model_proto__pack(&b->model, bytes);
  return bytes;
}

#endif
