/* The kernels behind kernels_run(), by family. */
#ifndef CLOCKWORK_KERNELS_PRIVATE_H
#define CLOCKWORK_KERNELS_PRIVATE_H

#include "kernels/element.h"
#include "kernels/kernels.h"

/* One operation, as kernels_run() was given it. */
struct kernel {
  const struct plan_op *op;
  const struct plan_tensor *tensors;
  void *const *data;
  void *scratch;
  uint32_t part;
  uint32_t parts;
};

static inline bool kernel_has_input(const struct kernel *k, uint32_t i) {
  return i < k->op->inputs_count && k->op->inputs[i] != PLAN_NONE;
}
static inline const struct plan_tensor *kernel_in(const struct kernel *k, uint32_t i) {
  return &k->tensors[k->op->inputs[i]];
}
static inline const void *kernel_in_data(const struct kernel *k, uint32_t i) {
  return k->data[k->op->inputs[i]];
}
static inline const struct plan_tensor *kernel_out(const struct kernel *k, uint32_t i) {
  return &k->tensors[k->op->outputs[i]];
}
static inline void *kernel_out_data(const struct kernel *k, uint32_t i) {
  return k->data[k->op->outputs[i]];
}

void kernel_pointwise(const struct kernel *k);
size_t kernel_pointwise_scratch_bytes(const struct plan_op *op);

void kernel_conv(const struct kernel *k);
void kernel_conv_transpose(const struct kernel *k);
void kernel_pool(const struct kernel *k);
void kernel_lrn(const struct kernel *k);
void kernel_resize(const struct kernel *k);

void kernel_matmul(const struct kernel *k);
size_t kernel_matmul_scratch_bytes(const struct plan_op *op, const struct plan_tensor *tensors);

void kernel_reduce(const struct kernel *k);
void kernel_softmax(const struct kernel *k);
void kernel_layer_norm(const struct kernel *k);
void kernel_group_norm(const struct kernel *k);
void kernel_topk(const struct kernel *k);
size_t kernel_topk_scratch_bytes(const struct plan_op *op, const struct plan_tensor *tensors);
void kernel_cumsum(const struct kernel *k);

void kernel_transpose(const struct kernel *k);
void kernel_concat(const struct kernel *k);
void kernel_slice(const struct kernel *k);
void kernel_pad(const struct kernel *k);
void kernel_trilu(const struct kernel *k);

void kernel_gather(const struct kernel *k);
void kernel_gather_elements(const struct kernel *k);
void kernel_gather_nd(const struct kernel *k);
void kernel_scatter_elements(const struct kernel *k);
void kernel_scatter_nd(const struct kernel *k);

void kernel_recurrent(const struct kernel *k);
size_t kernel_recurrent_scratch_bytes(const struct plan_op *op, const struct plan_tensor *tensors);

#endif
