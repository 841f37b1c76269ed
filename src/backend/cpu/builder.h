/* What the lowering of single operations (lower_*.c) builds a program with: where each tensor lies
 * and in which layout, conversions between layouts, steps, and weights as the device wants them.
 *
 * Each buffer of the plan's workspace has one home, decided beforehand (homes.c): plain, as in the
 * plan, or blocked: images in groups of eight channels (oneDNN's nChw8c), which its convolutions on
 * AVX2 are fastest with. An operation asks for its inputs and outputs in the layout that it wants
 * and gets the home itself or a converted copy. Storages are put into the workspace at the end,
 * when it is known which steps use them.
 *
 * Errors are kept in the builder: after the first one its functions do nothing, and
 * builder_finish() returns it. Used by the thread that loads models.
 */
#ifndef CLOCKWORK_BACKEND_CPU_BUILDER_H
#define CLOCKWORK_BACKEND_CPU_BUILDER_H

#include <oneapi/dnnl/dnnl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/cpu/program.h"
#include "base/error.h"
#include "package/plan.h"

/* Channels in a group: the floats of an AVX2 register. */
enum { BLOCK = 8, BUILDER_ARGUMENTS_MAX = 48 };

/* ---- weights --------------------------------------------------------------------------------- */

/* One tensor of weights as a step wants it. */
struct weights_entry {
  uint64_t source_bytes;     /* where its first element lies in the plan's weights */
  bool is_verbatim;          /* bytes as they are; else converted: */
  bool are_kernel_rows;      /* (C, K, R, S) of `source` as scatter_blocks() wants them */
  bool is_bias_row;          /* (K) of `source`, as often as in `bytes` */
  uint32_t merge;            /* > 1: this many groups become one, with zeros between them ... */
  struct plan_tensor source; /* ... of these weights (K, C/groups, kernel...) */
  dnnl_memory_desc_t from;
  dnnl_memory_desc_t to;
  uint64_t offset_bytes; /* on the device */
  uint64_t bytes;
};

/* The weights of all batch sizes: each wanted form once. */
struct weights_layout {
  struct weights_entry *entries;
  uint32_t count;
  uint64_t bytes;
};

void weights_layout_finish(struct weights_layout *layout);

/* Write all of it to `target`, from the plan's weights. ERR_NO_MEMORY. */
MUST_USE enum err weights_layout_fill(const struct weights_layout *layout, dnnl_engine_t engine,
                                      const unsigned char *weights, unsigned char *target);

/* ---- the builder ----------------------------------------------------------------------------- */

struct storage {
  uint64_t bytes;
  uint32_t first_step;
  uint32_t last_step;
  bool is_used;
};

struct buffer_home {
  bool is_blocked;
  uint32_t storage; /* PLAN_NONE: in INPUT, OUTPUT or WEIGHTS */
};

/* A copy of a tensor in another layout. */
struct shadow {
  uint32_t tensor;
  uint32_t memory;
};

struct builder {
  dnnl_engine_t engine;
  const struct plan *plan;
  const struct plan_batch *batch;
  uint32_t team; /* threads that an operation is shared by */
  struct weights_layout *weights;
  struct program *program;
  struct storage *storages;
  uint32_t storages_count;
  struct buffer_home *homes; /* by buffer */
  struct shadow *shadows;
  uint32_t shadows_count;
  const struct plan_op *op; /* whose steps are made now */
  enum err error;
};

/* Decide all homes (homes.c): after batch and plan are set. */
void builder_choose_homes(struct builder *builder);

const struct plan_tensor *builder_tensor(const struct builder *builder, uint32_t tensor);
bool builder_is_weights(const struct builder *builder, uint32_t tensor);

/* The same bytes in memory, whatever the two descriptions look like. */
bool desc_is_same_layout(const dnnl_memory_desc_t *a, const dnnl_memory_desc_t *b);

/* As in the plan. Only of types that oneDNN has: desc_has_type(). */
bool desc_has_type(enum plan_type type);
dnnl_memory_desc_t desc_plain(const struct plan_tensor *tensor);
/* Rows, without gaps, of these dims. */
dnnl_memory_desc_t desc_rows(uint32_t rank, const dnnl_dim_t *dims, dnnl_data_type_t type);
/* (N, C, H, W) in groups of eight channels. */
dnnl_memory_desc_t desc_blocked(const dnnl_dim_t *dims);
/* Matrices, one after another, as packed_product.h wants its weights: (depth, columns, count). */
dnnl_memory_desc_t desc_panels(dnnl_dim_t depth, dnnl_dim_t columns, dnnl_dim_t count);
/* Logical dims of a tensor. */
void desc_dims(const struct plan_tensor *tensor, dnnl_dims_t ret_dims);

/* Where a tensor that is no weight lies, and how. */
void builder_home(const struct builder *builder, uint32_t tensor, struct program_area *ret_area,
                  dnnl_memory_desc_t *ret_desc);
bool builder_home_is_blocked(const struct builder *builder, uint32_t tensor);

/* A memory with this tensor's content in the layout `wanted`. */
uint32_t builder_source(struct builder *builder, uint32_t tensor, const dnnl_memory_desc_t *wanted);

/* A memory in the layout `wanted` for an output; after the step that writes it,
 * builder_settle() brings it home. */
struct target {
  uint32_t tensor;
  uint32_t memory;
  bool is_home;
};
struct target builder_target(struct builder *builder, uint32_t tensor,
                             const dnnl_memory_desc_t *wanted);
void builder_settle(struct builder *builder, const struct target *target);

/* Memory that lasts from the first to the last step that names it. */
uint32_t builder_temporary(struct builder *builder, const dnnl_memory_desc_t *desc);
uint32_t builder_memory(struct builder *builder, const struct program_area *area,
                        const dnnl_memory_desc_t *desc);

/* Weights converted from `from`, which describes the plan's bytes at the tensor, to `to`. */
uint32_t builder_weights(struct builder *builder, uint32_t tensor, const dnnl_memory_desc_t *from,
                         const dnnl_memory_desc_t *to, uint32_t merge);
/* Likewise, where they lie. */
struct program_area builder_weights_area(struct builder *builder, uint32_t tensor,
                                         const dnnl_memory_desc_t *from,
                                         const dnnl_memory_desc_t *to);
/* Those of a transposed convolution, and its bias, as scatter_blocks() wants them. */
struct program_area builder_weights_kernel_rows(struct builder *builder, uint32_t tensor);
struct program_area builder_weights_bias_row(struct builder *builder, uint32_t tensor,
                                             uint32_t times);
/* Weights as they are. */
struct program_area builder_weights_verbatim(struct builder *builder, uint32_t tensor);

/* ---- steps ----------------------------------------------------------------------------------- */

struct arguments {
  struct program_argument items[BUILDER_ARGUMENTS_MAX];
  uint32_t count;
};

void arguments_add(struct arguments *arguments, int name, uint32_t memory);

/* One step more; takes the descriptor (destroys it), adds the scratchpad. */
void builder_emit(struct builder *builder, dnnl_primitive_desc_t primitive,
                  const struct arguments *arguments);

/* The operation by kernels/ or by lower_operands(), in the plan's layouts. */
void builder_emit_kernel(struct builder *builder);

/* Likewise, over tensors that are given: inputs first, then outputs; PLAN_NONE in op->inputs stays.
 */
struct operand {
  struct plan_tensor tensor;
  struct program_area area;
};
void builder_emit_kernel_over(struct builder *builder, const struct plan_op *op,
                              const struct operand *operands, uint32_t operands_count);

/* A step of this backend's own code; takes native->shape. Its parts and its areas are given. */
void builder_emit_native(struct builder *builder, const struct program_native *native,
                         const char *what);

/* Puts storages into the workspace; the program is the caller's if ERR_OK, else gone. Gives the
 * builder's own memory back. */
MUST_USE enum err builder_finish(struct builder *builder, struct program **ret_program);

/* ---- attributes ------------------------------------------------------------------------------ */

/* What happens to a sum before it is stored. */
struct post {
  dnnl_primitive_attr_t attr;
  dnnl_post_ops_t ops;
  uint32_t count;
  bool has_failed;
};

void post_open(struct post *post);
/* False: oneDNN has no such function. */
bool post_add_activation(struct post *post, const struct plan_activation *activation);
void post_add_function(struct post *post, dnnl_alg_kind_t kind, float alpha, float beta);
void post_add_linear(struct post *post, float scale, float shift);
void post_add_sum(struct post *post);
/* What is computed times this, before all else. */
void post_scale(struct post *post, float scale);
/* Returns the argument's name. */
int post_add_binary(struct post *post, dnnl_alg_kind_t kind, const dnnl_memory_desc_t *desc);
/* The attribute, complete. NULL: failed. */
dnnl_primitive_attr_t post_close(struct post *post);
void post_finish(struct post *post);

/* As oneDNN's eltwise function; false: it takes more than one, or there is none. */
bool activation_of(const struct plan_activation *activation, dnnl_alg_kind_t *ret_kind,
                   float *ret_alpha, float *ret_beta);

/* Whether what would run is oneDNN's plain C. */
bool primitive_is_reference(const_dnnl_primitive_desc_t primitive);

/* ---- operations; false: not in this way, nothing was emitted ------------------------------------
 */

/* Over operands as builder_emit_kernel_over() gets them, by this backend's own code. */
bool lower_operands(struct builder *builder, const struct plan_op *op,
                    const struct operand *operands, uint32_t operands_count);

bool lower_conv(struct builder *builder, const struct plan_op *op);
bool lower_packed_product(struct builder *builder, const struct plan_op *op);
bool lower_windows(struct builder *builder, const struct plan_op *op);
bool lower_scatter(struct builder *builder, const struct plan_op *op);
bool lower_matmul(struct builder *builder, const struct plan_op *op);
bool lower_pointwise(struct builder *builder, const struct plan_op *op);
bool lower_pool(struct builder *builder, const struct plan_op *op);
bool lower_reduce(struct builder *builder, const struct plan_op *op);
bool lower_lstm(struct builder *builder, const struct plan_op *op);
bool lower_softmax(struct builder *builder, const struct plan_op *op);
bool lower_layer_norm(struct builder *builder, const struct plan_op *op);
bool lower_lrn(struct builder *builder, const struct plan_op *op);
bool lower_transpose(struct builder *builder, const struct plan_op *op);
bool lower_slice(struct builder *builder, const struct plan_op *op);
bool lower_concat(struct builder *builder, const struct plan_op *op);
bool lower_resize(struct builder *builder, const struct plan_op *op);

#endif
