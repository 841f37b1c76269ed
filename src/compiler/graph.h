/* The graph between ONNX and a plan: the plan's operations over values instead of tensors.
 *
 * Every value has concrete dims. Operations stand in an order in which they can run. An operation
 * whose inputs are all known is computed when it is finished (graph_finish_op), so shapes that a
 * model computes are constants by the time that something asks for them.
 *
 * A value is made by one operation, or is a constant, or an input of the graph. Passes mark an
 * operation dead (GRAPH_DEAD) or write another into its slot; graph_sweep() closes the gaps.
 */
#ifndef CLOCKWORK_COMPILER_GRAPH_H
#define CLOCKWORK_COMPILER_GRAPH_H

#include <stdbool.h>
#include <stdint.h>

#include "compiler/context.h"
#include "package/plan.h"

#define GRAPH_NONE UINT32_MAX

/* Kinds of the graph alone; they share the plan's numbers. */
enum {
  GRAPH_DEAD = 0,
  GRAPH_VIEW = 1000, /* out0 is in0's bytes with other dims (or, layouts settled, another layout) */
};

struct graph_value {
  enum plan_type type;
  enum plan_layout layout;
  uint32_t rank;
  uint32_t dims[PLAN_RANK_MAX];
  const void *data;  /* of a constant, ROW_MAJOR; else NULL */
  uint32_t producer; /* index of the operation, kept by graph_link(); GRAPH_NONE: none */
  uint32_t uses;     /* operations' inputs and graph outputs, kept by graph_link() */
  uint32_t user;     /* one of the operations that read it; GRAPH_NONE: none */
  uint32_t forward;  /* value that stands for this one after graph_replace(); GRAPH_NONE */
  bool is_input;
  bool is_output;
};

struct graph_op {
  struct plan_op plan; /* kind (a GRAPH_* too), attributes and name; its inputs, outputs unused */
  uint32_t inputs_count;
  uint32_t outputs_count;
  uint32_t *inputs; /* values; GRAPH_NONE: absent */
  uint32_t *outputs;
};

struct graph {
  struct context *context;
  struct graph_value *values;
  uint32_t values_count;
  uint32_t values_capacity;
  struct graph_op *ops;
  uint32_t ops_count;
  uint32_t ops_capacity;
  uint32_t inputs[PLAN_PORTS_MAX];
  const char *input_names[PLAN_PORTS_MAX];
  uint32_t inputs_count;
  uint32_t outputs[PLAN_PORTS_MAX];
  const char *output_names[PLAN_PORTS_MAX];
  uint32_t outputs_count;
  const char *node_name; /* given to the operations that are made */
  bool folds;            /* compute what is constant */
};

void graph_init(struct graph *graph, struct context *context);

/* Dims are checked: at most PLAN_RANK_MAX, the bytes within limits. A dim may be 0 in a constant
 * alone. */
uint32_t graph_add_value(struct graph *graph, enum plan_type type, uint32_t rank,
                         const uint32_t *dims);
uint32_t graph_add_constant(struct graph *graph, enum plan_type type, uint32_t rank,
                            const uint32_t *dims, const void *data);

/* Constants with contents of context memory. */
uint32_t graph_add_ints(struct graph *graph, const int64_t *ints, uint32_t count);
uint32_t graph_add_int(struct graph *graph, int64_t number); /* I64, rank 0 */
uint32_t graph_add_number(struct graph *graph, enum plan_type type, double number); /* rank 0 */

/* A new operation at the end; inputs are copied, outputs are those given. The caller sets
 * attributes and then calls graph_finish_op(). */
struct graph_op *graph_add_op(struct graph *graph, uint32_t kind, uint32_t inputs_count,
                              const uint32_t *inputs, uint32_t outputs_count,
                              const uint32_t *outputs);

/* Computes the operation now if it is constant; checks that a computed value isn't empty. Must be
 * the last one added. */
void graph_finish_op(struct graph *graph, struct graph_op *op);

static inline struct graph_value *graph_value(const struct graph *graph, uint32_t value) {
  return &graph->values[value];
}

uint64_t graph_elements(const struct graph *graph, uint32_t value);
uint64_t graph_bytes(const struct graph *graph, uint32_t value);
bool graph_is_constant(const struct graph *graph, uint32_t value);
bool graph_same_dims(const struct graph *graph, uint32_t a, uint32_t b);

/* Element `index` of a constant as a number. */
int64_t graph_int_at(const struct graph *graph, uint32_t value, uint64_t index);
double graph_number_at(const struct graph *graph, uint32_t value, uint64_t index);
/* The single number of a constant with one element. */
bool graph_is_scalar(const struct graph *graph, uint32_t value, double *ret_number);

/* Dims of the numpy broadcast of a and b; false: they don't fit. */
bool graph_broadcast(uint32_t a_rank, const uint32_t *a, uint32_t b_rank, const uint32_t *b,
                     uint32_t *ret_rank, uint32_t *ret_dims);

/* Builders: each returns the value. */
uint32_t graph_view(struct graph *graph, uint32_t value, uint32_t rank, const uint32_t *dims);
uint32_t graph_transpose(struct graph *graph, uint32_t value, const uint32_t *permutation);
uint32_t graph_unary(struct graph *graph, enum plan_scalar scalar, uint32_t a);
uint32_t graph_binary(struct graph *graph, enum plan_scalar scalar, uint32_t a, uint32_t b);
uint32_t graph_activation(struct graph *graph, struct plan_activation activation, uint32_t a);
uint32_t graph_cast(struct graph *graph, uint32_t value, enum plan_type type, bool saturate);
uint32_t graph_expand(struct graph *graph, uint32_t value, uint32_t rank, const uint32_t *dims);
/* Inputs broadcast; the output's dims are given. Scalar constants become numbers. */
uint32_t graph_pointwise(struct graph *graph, uint32_t inputs_count, const uint32_t *inputs,
                         uint32_t steps_count, const struct plan_step *steps, uint32_t rank,
                         const uint32_t *dims);

static inline struct plan_operand graph_operand_input(uint32_t index) {
  return (struct plan_operand){.kind = PLAN_OPERAND_INPUT, .index = index};
}
static inline struct plan_operand graph_operand_step(uint32_t index) {
  return (struct plan_operand){.kind = PLAN_OPERAND_STEP, .index = index};
}
static inline struct plan_operand graph_operand_number(double number) {
  return (struct plan_operand){.kind = PLAN_OPERAND_NUMBER, .number = number};
}

/* Type of a step's value. */
enum plan_type graph_step_type(const struct plan_step *step);

/* For passes. */
void graph_link(struct graph *graph);  /* producers, uses, users */
void graph_sweep(struct graph *graph); /* forwards applied, dead and unused operations removed */
void graph_replace(struct graph *graph, uint32_t value, uint32_t by);
/* The only operation that reads `value`, if there is exactly one and it is no graph output. */
struct graph_op *graph_only_user(const struct graph *graph, uint32_t value);
struct graph_op *graph_producer(const struct graph *graph, uint32_t value);

#endif
