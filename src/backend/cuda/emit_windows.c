/* Operations that look at an image through a window. */
#include <string.h>

#include "backend/cuda/emit.h"
#include "base/check.h"

/* A tensor (N, C, spatial...) with its spatial axes as the last of three. */
static struct kernel_image image_of(const struct emit *emit, uint32_t tensor) {
  struct kernel_image image = {.spatial = {1, 1, 1}};
  if (tensor == PLAN_NONE) {
    return image;
  }
  const struct plan_tensor *t = emit_tensor(emit, tensor);
  uint64_t strides[PLAN_RANK_MAX];
  plan_tensor_strides(t, strides);
  CHECK_GE(t->rank, 3);
  CHECK_LE(t->rank, 2 + PLAN_SPATIAL_MAX);
  image.address = emit_address(emit, tensor);
  image.batch_stride = (int64_t)strides[0];
  image.channel_stride = (int64_t)strides[1];
  const uint32_t first = 5 - t->rank;
  for (uint32_t i = 2; i < t->rank; i++) {
    image.spatial[first + i - 2] = t->dims[i];
    image.strides[first + i - 2] = (int64_t)strides[i];
  }
  return image;
}

static struct kernel_window window_of(const struct emit *emit, const struct plan_op *op) {
  const struct plan_tensor *out = emit_tensor(emit, op->outputs[0]);
  return (struct kernel_window){.from = image_of(emit, op->inputs[0]),
                                .to = image_of(emit, op->outputs[0]),
                                .count = plan_tensor_elements(out),
                                .type = (uint32_t)out->type,
                                .channels = out->dims[1],
                                .is_channels_last = out->layout == PLAN_CHANNELS_LAST,
                                .kernel = {1, 1, 1},
                                .stride = {1, 1, 1},
                                .dilation = {1, 1, 1}};
}

/* 16 bytes of neighbouring channels at a time are possible in this image. */
static bool is_packed(const struct kernel_image *image, uint32_t channels, uint32_t type) {
  const int64_t width = type == PLAN_F16 ? 8 : 4;
  return image->channel_stride == 1 && channels % width == 0 && image->address % 16 == 0 &&
         image->batch_stride % width == 0 && image->strides[1] % width == 0 &&
         image->strides[2] % width == 0;
}

CUresult emit_pool(const struct emit *emit, const struct plan_op *op) {
  const struct plan_pool *how = &op->pool;
  struct kernel_pool pool = {.window = window_of(emit, op),
                             .kind = (uint32_t)how->kind,
                             .p = how->p,
                             .count_padding = how->count_padding,
                             .declared_end = {1, 1, 1}};
  struct kernel_window *w = &pool.window;
  for (uint32_t i = 0; i < how->spatial; i++) {
    const uint32_t axis = 3 - how->spatial + i;
    w->kernel[axis] = (int32_t)how->kernel[i];
    w->stride[axis] = (int32_t)how->strides[i];
    w->dilation[axis] = (int32_t)how->dilations[i];
    w->before[axis] = (int32_t)how->pads_before[i];
    pool.declared_end[axis] = (int32_t)(w->from.spatial[axis] + how->declared_pads_after[i]);
  }
  const uint64_t width = w->type == PLAN_F16 ? 8 : 4;
  if (how->spatial == 2 && how->kind != PLAN_POOL_LP && w->count <= UINT32_MAX &&
      is_packed(&w->from, w->channels, w->type) && is_packed(&w->to, w->channels, w->type)) {
    return emit_launch(emit, w->type == PLAN_F16 ? KERNEL_pool_packed_f16 : KERNEL_pool_packed_f32,
                       w->count / width, &pool);
  }
  return emit_launch(emit, KERNEL_pool_any, w->count, &pool);
}

static struct kernel_conv conv_of(const struct emit *emit, const struct plan_op *op) {
  const struct plan_conv *how = &op->conv;
  const struct plan_tensor *in = emit_tensor(emit, op->inputs[0]);
  const struct plan_tensor *weights = emit_tensor(emit, op->inputs[1]);
  struct kernel_conv conv = {.window = window_of(emit, op),
                             .weights = emit_address(emit, op->inputs[1]),
                             .bias = emit_address(emit, emit_input(op, 2)),
                             .residual = image_of(emit, emit_input(op, 3)),
                             .channels_in_group = in->dims[1] / how->groups,
                             .channels_out_group =
                                 emit_tensor(emit, op->outputs[0])->dims[1] / how->groups,
                             .residual_last = how->residual_last,
                             .activation = (uint32_t)how->activation.kind,
                             .alpha = how->activation.alpha,
                             .beta = how->activation.beta};
  uint64_t strides[PLAN_RANK_MAX];
  plan_tensor_strides(weights, strides);
  conv.weight_strides[0] = (int64_t)strides[0];
  conv.weight_strides[1] = (int64_t)strides[1];
  for (uint32_t i = 0; i < how->spatial; i++) {
    const uint32_t axis = 3 - how->spatial + i;
    conv.window.kernel[axis] = (int32_t)weights->dims[2 + i];
    conv.window.stride[axis] = (int32_t)how->strides[i];
    conv.window.dilation[axis] = (int32_t)how->dilations[i];
    conv.window.before[axis] = (int32_t)how->pads_before[i];
    conv.weight_strides[2 + axis] = (int64_t)strides[2 + i];
  }
  return conv;
}

static bool is_depthwise(const struct plan_op *op, const struct kernel_conv *conv) {
  const struct kernel_window *w = &conv->window;
  return op->kind == PLAN_OP_CONV && op->conv.spatial == 2 && conv->channels_in_group == 1 &&
         conv->channels_out_group == 1 && w->count <= UINT32_MAX &&
         is_packed(&w->from, w->channels, w->type) && is_packed(&w->to, w->channels, w->type) &&
         (conv->residual.address == 0 || is_packed(&conv->residual, w->channels, w->type));
}

bool emit_is_depthwise(const struct emit *emit, const struct plan_op *op) {
  const struct kernel_conv conv = conv_of(emit, op);
  return is_depthwise(op, &conv);
}

CUresult emit_own_conv(const struct emit *emit, const struct plan_op *op) {
  const struct kernel_conv conv = conv_of(emit, op);
  const struct kernel_window *w = &conv.window;
  if (op->kind == PLAN_OP_CONV_TRANSPOSE) {
    return emit_launch(emit, KERNEL_conv_transpose_any, w->count, &conv);
  }
  if (is_depthwise(op, &conv)) {
    const bool is_half = w->type == PLAN_F16;
    return emit_launch(emit, is_half ? KERNEL_conv_depthwise_f16 : KERNEL_conv_depthwise_f32,
                       w->count / (is_half ? 8 : 4), &conv);
  }
  return emit_launch(emit, KERNEL_conv_any, w->count, &conv);
}

CUresult emit_epilogue(const struct emit *emit, const struct plan_op *op, CUdeviceptr from,
                       bool has_residual) {
  const bool is_product = op->kind == PLAN_OP_MATMUL;
  const struct plan_activation *activation =
      is_product ? &op->matmul.activation : &op->conv.activation;
  const uint32_t data = op->outputs[0];
  const uint32_t residual = has_residual ? emit_input(op, 3) : PLAN_NONE;
  const struct plan_tensor *t = emit_tensor(emit, data);
  const bool is_image = t->layout == PLAN_CHANNELS_LAST;
  const bool is_planar = !is_image && !is_product;
  uint32_t columns = is_image ? t->dims[1] : t->dims[t->rank - 1];
  for (uint32_t i = 2; is_planar && i + 1 < t->rank; i++) {
    columns *= t->dims[i];
  }
  const uint32_t pitch = is_image ? t->pitch : columns;
  struct kernel_epilogue epilogue = {.from = from != 0 ? from : emit_address(emit, data),
                                     .data = emit_address(emit, data),
                                     .bias = emit_address(emit, emit_input(op, 2)),
                                     .residual = emit_address(emit, residual),
                                     .rows = plan_tensor_elements(t) / columns,
                                     .columns = columns,
                                     .channels = is_planar ? t->dims[1] : 0,
                                     .from_pitch = from != 0 ? columns : pitch,
                                     .data_pitch = pitch,
                                     .type = (uint32_t)t->type,
                                     .activation = (uint32_t)activation->kind,
                                     .residual_last = !is_product && op->conv.residual_last,
                                     .alpha = activation->alpha,
                                     .beta = activation->beta};
  if (residual != PLAN_NONE) {
    const struct plan_tensor *r = emit_tensor(emit, residual);
    epilogue.residual_pitch = is_image ? r->pitch : columns;
  }
  return emit_launch(emit, KERNEL_epilogue, epilogue.rows * columns, &epilogue);
}

CUresult emit_resize(const struct emit *emit, const struct plan_op *op) {
  const struct plan_tensor *in = emit_tensor(emit, op->inputs[0]);
  const struct plan_tensor *out = emit_tensor(emit, op->outputs[0]);
  const struct plan_resize *how = &op->resize;
  struct kernel_resize resize = {.from = emit_address(emit, op->inputs[0]),
                                 .to = emit_address(emit, op->outputs[0]),
                                 .count = plan_tensor_elements(out),
                                 .type = (uint32_t)out->type,
                                 .rank = out->rank,
                                 .mode = (uint32_t)how->mode,
                                 .coordinates = (uint32_t)how->coordinates,
                                 .rounding = (uint32_t)how->rounding,
                                 .exclude_outside = how->exclude_outside,
                                 .cubic_a = how->cubic_a};
  uint64_t from[PLAN_RANK_MAX];
  uint64_t to[PLAN_RANK_MAX];
  plan_tensor_strides(in, from);
  plan_tensor_strides(out, to);
  uint32_t changed = 0;
  for (uint32_t i = 0; i < out->rank; i++) {
    resize.dims_from[i] = in->dims[i];
    resize.dims_to[i] = out->dims[i];
    resize.from_strides[i] = (int64_t)from[i];
    resize.to_strides[i] = (int64_t)to[i];
    resize.scales[i] = how->scales[i];
    resize.order[i] = i;
    changed += in->dims[i] != out->dims[i] || how->scales[i] < 1.0F || how->scales[i] > 1.0F;
  }
  if (out->layout == PLAN_CHANNELS_LAST) {
    const uint32_t order[4] = {0, 2, 3, 1};
    memcpy(resize.order, order, sizeof(order));
  }
  if (changed > 3) {
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  return emit_launch(emit, KERNEL_resize_any, resize.count, &resize);
}
