/* From ONNX nodes to the graph: one function per operator, found in a table by name and opset.
 *
 * A lowering function reads its node through the functions below, builds operations with graph.h
 * and sets node->outputs. It may assume nothing of the node: the functions check and fail.
 */
#ifndef CLOCKWORK_COMPILER_LOWERING_H
#define CLOCKWORK_COMPILER_LOWERING_H

#include <stdbool.h>
#include <stdint.h>

#include "compiler/graph.h"
#include "compiler/onnx_reader.h"

struct external {
  const char *path;
  const unsigned char *bytes;
  uint64_t bytes_count;
};

struct weight_table;

struct compiler {
  struct context context;
  const Onnx__ModelProto *model;
  uint32_t opset;
  struct external *externals;
  uint32_t externals_count;
  uint32_t externals_capacity;
  const struct compile_options *options;
  struct weight_table *weights;
  uint32_t nodes_count;
  uint32_t batch_size; /* of the run that is going on */
};

struct scope;

struct node {
  struct compiler *compiler;
  struct context *context;
  struct graph *graph;
  const Onnx__NodeProto *proto;
  struct scope *scope;
  const struct node *caller; /* of the function that this node stands in; NULL: none */
  uint32_t opset;            /* of the node's domain */
  uint32_t inputs_count;
  uint32_t outputs_count;
  const uint32_t *inputs; /* values; GRAPH_NONE: absent */
  uint32_t *outputs;      /* to be set; those that nobody wants may stay GRAPH_NONE */
  const bool *wanted;     /* per output */
  const char *family;
  uint32_t variant; /* of the operator's table line: operators that share a function */
};

struct operator_line {
  const char *domain;
  const char *name;
  uint32_t opset_first;
  uint32_t opset_last; /* 0: the newest that is known */
  void (*lower)(struct node *node);
  uint32_t variant;
};

struct operator_family {
  const char *name;
  const struct operator_line *operators; /* name NULL behind the last */
};

extern const struct operator_family OPERATORS_ELEMENTWISE;
extern const struct operator_family OPERATORS_CONVOLUTION;
extern const struct operator_family OPERATORS_MATRIX;
extern const struct operator_family OPERATORS_NORMALIZATION;
extern const struct operator_family OPERATORS_SHAPE;
extern const struct operator_family OPERATORS_MOVE;
extern const struct operator_family OPERATORS_INDEX;
extern const struct operator_family OPERATORS_REDUCTION;
extern const struct operator_family OPERATORS_RESIZE;
extern const struct operator_family OPERATORS_RECURRENT;
extern const struct operator_family OPERATORS_QUANTIZATION;
extern const struct operator_family OPERATORS_CONTROL;

/* NULL: unknown. *ret_other_opset: the operator exists, for other opsets. */
const struct operator_line *operators_find(const char *domain, const char *name, uint32_t opset,
                                           const char **ret_family, bool *ret_other_opset);

/* Fails as ERR_UNSUPPORTED (what would help stands in the text) or ERR_MALFORMED. The context puts
 * operator and node in front. */
#define node_unsupported(node, ...) context_fail((node)->context, ERR_UNSUPPORTED, __VA_ARGS__)
#define node_malformed(node, ...) context_fail((node)->context, ERR_MALFORMED, __VA_ARGS__)

/* Inputs. */
bool node_has_input(const struct node *node, uint32_t index);
uint32_t node_input(const struct node *node, uint32_t index);          /* must be there */
uint32_t node_optional_input(const struct node *node, uint32_t index); /* GRAPH_NONE if absent */
uint32_t node_constant(const struct node *node, uint32_t index, const char *what);
/* A constant of integers of at most count_max elements; returns how many. */
uint32_t node_constant_ints(const struct node *node, uint32_t index, const char *what,
                            uint32_t count_max, int64_t *ret_ints);

/* Attributes; absent ones give the default. A wrong type fails. */
bool node_has(const struct node *node, const char *name);
int64_t node_int(const struct node *node, const char *name, int64_t otherwise);
bool node_flag(const struct node *node, const char *name, bool otherwise);
float node_float(const struct node *node, const char *name, float otherwise);
const char *node_text(const struct node *node, const char *name, const char *otherwise);
uint32_t node_ints(const struct node *node, const char *name, uint32_t count_max,
                   int64_t *ret_ints);
const Onnx__AttributeProto *node_attribute(const struct node *node, const char *name);

/* A possibly negative axis within [-rank, rank). */
uint32_t node_axis(const struct node *node, int64_t axis, uint32_t rank);
/* Axes from input `index` or the attribute "axes", as a bit mask; false: none are given. */
bool node_axes(const struct node *node, uint32_t input, uint32_t rank, uint32_t *ret_mask,
               uint32_t *ret_count, uint32_t ret_axes[PLAN_RANK_MAX]);
/* A number that must be a dim or size. */
uint32_t node_size(const struct node *node, int64_t number, const char *what);
void node_check_rank(const struct node *node, uint32_t value, uint32_t rank_min, uint32_t rank_max);
void node_check_float(const struct node *node, uint32_t value);
void node_check_types(const struct node *node, uint32_t a, uint32_t b);

/* A tensor of the file as a constant. */
uint32_t lower_tensor(struct compiler *compiler, struct graph *graph,
                      const Onnx__TensorProto *tensor);
bool lower_type(int32_t onnx_type, enum plan_type *ret_type);

/* Scopes of names. */
struct scope *scope_create(struct context *context, const struct scope *parent);
void scope_put(struct context *context, struct scope *scope, const char *name, uint32_t value);
bool scope_get(const struct scope *scope, const char *name, uint32_t *ret_value);

/* Nodes one after another; failures name the node. */
void lower_nodes(struct compiler *compiler, struct graph *graph, struct scope *scope,
                 const struct node *caller, size_t count, Onnx__NodeProto *const *nodes,
                 size_t opsets_count, Onnx__OperatorSetIdProto *const *opsets);
void lower_initializers(struct compiler *compiler, struct graph *graph, struct scope *scope,
                        const Onnx__GraphProto *proto);

/* The whole model at compiler->batch_size. `*ret_batched`: every input has the batch first. */
void lower_model(struct compiler *compiler, struct graph *graph, bool *ret_batched);

#endif
