#include "backend/cpu/lower.h"

#include <stdlib.h>

/* The ones that oneDNN or this backend may have; all others are kernels'. */
static bool lower_well(struct builder *builder, const struct plan_op *op) {
  switch (op->kind) {
  case PLAN_OP_CONV:
    return lower_windows(builder, op) || lower_conv(builder, op);
  case PLAN_OP_CONV_TRANSPOSE:
    return lower_scatter(builder, op) || lower_conv(builder, op);
  case PLAN_OP_MATMUL:
    return lower_packed_product(builder, op) || lower_matmul(builder, op);
  case PLAN_OP_POOL:
    return lower_pool(builder, op);
  case PLAN_OP_POINTWISE:
    return lower_pointwise(builder, op);
  case PLAN_OP_REDUCE:
    return lower_reduce(builder, op);
  case PLAN_OP_LSTM:
    return lower_lstm(builder, op);
  case PLAN_OP_SOFTMAX:
    return lower_softmax(builder, op);
  case PLAN_OP_LAYER_NORM:
    return lower_layer_norm(builder, op);
  case PLAN_OP_LRN:
    return lower_lrn(builder, op);
  case PLAN_OP_TRANSPOSE:
    return lower_transpose(builder, op);
  case PLAN_OP_CONCAT:
    return lower_concat(builder, op);
  case PLAN_OP_SLICE:
    return lower_slice(builder, op);
  case PLAN_OP_RESIZE:
    return lower_resize(builder, op);
  default:
    return false;
  }
}

enum err lower_batch(dnnl_engine_t engine, const struct plan *plan, const struct plan_batch *batch,
                     uint32_t team, struct weights_layout *weights, struct program **ret_program) {
  struct builder builder = {
      .engine = engine, .plan = plan, .batch = batch, .team = team, .weights = weights};
  builder.program = calloc(1, sizeof(*builder.program));
  if (builder.program == NULL) {
    return ERR_NO_MEMORY;
  }
  builder.program->batch_size = batch->batch_size;
  builder.program->input_bytes = batch->input_bytes;
  builder.program->output_bytes = batch->output_bytes;
  builder_choose_homes(&builder);
  for (uint32_t i = 0; i < batch->ops_count && builder.error == ERR_OK; i++) {
    builder.op = &batch->ops[i];
    if (!lower_well(&builder, builder.op)) {
      builder_emit_kernel(&builder);
    }
  }
  return builder_finish(&builder, ret_program);
}
