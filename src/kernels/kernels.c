#include "kernels/kernels.h"

#include "base/check.h"
#include "kernels/private.h"

size_t kernels_scratch_bytes(const struct plan_op *op, const struct plan_tensor *tensors) {
  switch (op->kind) {
  case PLAN_OP_POINTWISE:
    return kernel_pointwise_scratch_bytes(op);
  case PLAN_OP_MATMUL:
    return kernel_matmul_scratch_bytes(op, tensors);
  case PLAN_OP_TOPK:
    return kernel_topk_scratch_bytes(op, tensors);
  case PLAN_OP_LSTM:
  case PLAN_OP_GRU:
  case PLAN_OP_RNN:
    return kernel_recurrent_scratch_bytes(op, tensors);
  default:
    return 0;
  }
}

void kernels_run(const struct plan_op *op, const struct plan_tensor *tensors, void *const *data,
                 void *scratch, uint32_t part, uint32_t parts) {
  static void (*const KERNELS[PLAN_OPS_END])(const struct kernel *) = {
      [PLAN_OP_CONV] = kernel_conv,
      [PLAN_OP_CONV_TRANSPOSE] = kernel_conv_transpose,
      [PLAN_OP_MATMUL] = kernel_matmul,
      [PLAN_OP_POOL] = kernel_pool,
      [PLAN_OP_POINTWISE] = kernel_pointwise,
      [PLAN_OP_REDUCE] = kernel_reduce,
      [PLAN_OP_SOFTMAX] = kernel_softmax,
      [PLAN_OP_LAYER_NORM] = kernel_layer_norm,
      [PLAN_OP_GROUP_NORM] = kernel_group_norm,
      [PLAN_OP_LRN] = kernel_lrn,
      [PLAN_OP_TRANSPOSE] = kernel_transpose,
      [PLAN_OP_CONCAT] = kernel_concat,
      [PLAN_OP_SLICE] = kernel_slice,
      [PLAN_OP_PAD] = kernel_pad,
      [PLAN_OP_GATHER] = kernel_gather,
      [PLAN_OP_GATHER_ELEMENTS] = kernel_gather_elements,
      [PLAN_OP_GATHER_ND] = kernel_gather_nd,
      [PLAN_OP_SCATTER_ELEMENTS] = kernel_scatter_elements,
      [PLAN_OP_SCATTER_ND] = kernel_scatter_nd,
      [PLAN_OP_RESIZE] = kernel_resize,
      [PLAN_OP_TOPK] = kernel_topk,
      [PLAN_OP_CUMSUM] = kernel_cumsum,
      [PLAN_OP_TRILU] = kernel_trilu,
      [PLAN_OP_LSTM] = kernel_recurrent,
      [PLAN_OP_GRU] = kernel_recurrent,
      [PLAN_OP_RNN] = kernel_recurrent,
  };
  CHECK(op->kind > 0 && op->kind < PLAN_OPS_END);
  CHECK(KERNELS[op->kind] != NULL);
  CHECK_LT(part, parts);
  const struct kernel kernel = {
      .op = op, .tensors = tensors, .data = data, .scratch = scratch, .part = part, .parts = parts};
  KERNELS[op->kind](&kernel);
}
