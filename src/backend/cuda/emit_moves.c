/* Operations that only move elements. */
#include <string.h>

#include "backend/cuda/emit.h"
#include "backend/cuda/views.h"
#include "base/check.h"

/* Copies the collapsed view's operand 1 to operand 0, as many bytes at a time as both allow. */
static CUresult copy_view(const struct emit *emit, struct view *view, CUdeviceptr to,
                          CUdeviceptr from, uint32_t element_bytes) {
  view_collapse(view);
  uint32_t width = 16 / element_bytes;
  while (width > 1 && !(view_is_packed(view, 0, width, to, element_bytes) &&
                        view_is_packed(view, 1, width, from, element_bytes))) {
    width /= 2;
  }
  struct kernel_copy copy = {.from = from,
                             .to = to,
                             .count = view_elements(view) / width,
                             .axes = view->axes,
                             .element_bytes = element_bytes * width};
  const uint32_t last = view->axes - 1;
  for (uint32_t i = 0; i < view->axes; i++) {
    copy.dims[i] = i == last ? view->dims[i] / width : view->dims[i];
    copy.to_strides[i] = i == last ? view->strides[0][i] : view->strides[0][i] / (int64_t)width;
    copy.from_strides[i] = i == last ? view->strides[1][i] : view->strides[1][i] / (int64_t)width;
  }
  return emit_launch(emit, KERNEL_copy_any, copy.count, &copy);
}

CUresult emit_transpose(const struct emit *emit, const struct plan_op *op) {
  const struct plan_tensor *in = emit_tensor(emit, op->inputs[0]);
  const struct plan_tensor *out = emit_tensor(emit, op->outputs[0]);
  struct view view;
  view_init(&view, out);
  uint64_t strides[PLAN_RANK_MAX];
  plan_tensor_strides(in, strides);
  for (uint32_t i = 0; i < out->rank; i++) {
    view.strides[1][i] = (int64_t)strides[op->transpose.permutation[i]];
  }
  view.operands = 2;
  return copy_view(emit, &view, emit_address(emit, op->outputs[0]),
                   emit_address(emit, op->inputs[0]), plan_type_bytes(in->type));
}

CUresult emit_concat(const struct emit *emit, const struct plan_op *op) {
  const struct plan_tensor *out = emit_tensor(emit, op->outputs[0]);
  const uint32_t element_bytes = plan_type_bytes(out->type);
  uint64_t strides[PLAN_RANK_MAX];
  plan_tensor_strides(out, strides);
  CUdeviceptr to = emit_address(emit, op->outputs[0]);
  for (uint32_t i = 0; i < op->inputs_count; i++) {
    const struct plan_tensor *in = emit_tensor(emit, op->inputs[i]);
    const CUdeviceptr from = emit_address(emit, op->inputs[i]);
    if (from != to) { /* a slice that was computed in its place */
      struct view view = {.operands = 1, .axes = in->rank};
      memcpy(view.dims, in->dims, sizeof(view.dims));
      for (uint32_t axis = 0; axis < in->rank; axis++) {
        view.strides[0][axis] = (int64_t)strides[axis];
      }
      view_add(&view, in);
      const CUresult result = copy_view(emit, &view, to, from, element_bytes);
      if (result != CUDA_SUCCESS) {
        return result;
      }
    }
    to += in->dims[op->axis] * strides[op->axis] * element_bytes;
  }
  return CUDA_SUCCESS;
}

CUresult emit_slice(const struct emit *emit, const struct plan_op *op) {
  const struct plan_tensor *in = emit_tensor(emit, op->inputs[0]);
  const struct plan_tensor *out = emit_tensor(emit, op->outputs[0]);
  const uint32_t element_bytes = plan_type_bytes(in->type);
  uint64_t strides[PLAN_RANK_MAX];
  plan_tensor_strides(in, strides);
  struct view view;
  view_init(&view, out);
  CUdeviceptr from = emit_address(emit, op->inputs[0]);
  for (uint32_t i = 0; i < out->rank; i++) {
    from += op->slice.starts[i] * strides[i] * element_bytes;
    view.strides[1][i] = (int64_t)strides[i] * op->slice.steps[i];
  }
  view.operands = 2;
  return copy_view(emit, &view, emit_address(emit, op->outputs[0]), from, element_bytes);
}

/* The fill value as an element of the tensor's type; half precision is the kernel's to make. */
static void fill_element(double fill, enum plan_type type, uint8_t ret_bytes[8]) {
  union {
    float f32;
    double f64;
    int64_t whole;
    uint8_t bytes[8];
  } value = {.whole = 0};
  if (type == PLAN_F32) {
    value.f32 = (float)fill;
  } else if (type == PLAN_F64) {
    value.f64 = fill;
  } else if (fill >= 9223372036854775808.0) {
    value.whole = (int64_t)(uint64_t)fill;
  } else {
    value.whole = (int64_t)fill;
  }
  memcpy(ret_bytes, value.bytes, 8);
}

CUresult emit_pad(const struct emit *emit, const struct plan_op *op) {
  const struct plan_tensor *in = emit_tensor(emit, op->inputs[0]);
  const struct plan_tensor *out = emit_tensor(emit, op->outputs[0]);
  struct kernel_pad pad = {.from = emit_address(emit, op->inputs[0]),
                           .to = emit_address(emit, op->outputs[0]),
                           .count = plan_tensor_elements(out),
                           .rank = out->rank,
                           .element_bytes = plan_type_bytes(out->type),
                           .mode = (uint32_t)op->pad.mode,
                           .is_half = out->type == PLAN_F16,
                           .half_fill = (float)op->pad.fill};
  memcpy(pad.dims_from, in->dims, sizeof(pad.dims_from));
  memcpy(pad.dims_to, out->dims, sizeof(pad.dims_to));
  memcpy(pad.before, op->pad.before, sizeof(pad.before));
  fill_element(op->pad.fill, out->type, pad.fill);
  return emit_launch(emit, KERNEL_pad_any, pad.count, &pad);
}

CUresult emit_gather(const struct emit *emit, const struct plan_op *op) {
  const struct plan_tensor *in = emit_tensor(emit, op->inputs[0]);
  const struct plan_tensor *indices = emit_tensor(emit, op->inputs[1]);
  const struct plan_tensor *out = emit_tensor(emit, op->outputs[0]);
  struct kernel_gather gather = {.from = emit_address(emit, op->inputs[0]),
                                 .indices = emit_address(emit, op->inputs[1]),
                                 .to = emit_address(emit, op->outputs[0]),
                                 .count = plan_tensor_elements(out),
                                 .inner = 1,
                                 .indices_count = plan_tensor_elements(indices),
                                 .axis_length = in->dims[op->gather.axis],
                                 .index_type = (uint32_t)indices->type,
                                 .element_bytes = plan_type_bytes(out->type)};
  for (uint32_t i = op->gather.axis + 1; i < in->rank; i++) {
    gather.inner *= in->dims[i];
  }
  return emit_launch(emit, KERNEL_gather_any, gather.count, &gather);
}

CUresult emit_trilu(const struct emit *emit, const struct plan_op *op) {
  const struct plan_tensor *out = emit_tensor(emit, op->outputs[0]);
  const struct kernel_trilu trilu = {.from = emit_address(emit, op->inputs[0]),
                                     .to = emit_address(emit, op->outputs[0]),
                                     .count = plan_tensor_elements(out),
                                     .rows = out->dims[out->rank - 2],
                                     .columns = out->dims[out->rank - 1],
                                     .element_bytes = plan_type_bytes(out->type),
                                     .upper = op->trilu.upper,
                                     .diagonal = op->trilu.diagonal};
  return emit_launch(emit, KERNEL_trilu_any, trilu.count, &trilu);
}
