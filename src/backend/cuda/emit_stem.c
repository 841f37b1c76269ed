/* The first convolution of an image network, taken together with the reordering in front of it. */
#include <string.h>

#include "backend/cuda/emit.h"

enum {
  /* As in stem.cuh. */
  THREADS = 256,
  FILTERS = 64,
  ROWS = 8,
  COLUMNS = 16,
  STEP = 2,
  SPAN_MAX = 64,
  CHANNELS_MAX = 4,
  TAPS_MAX = 8, /* a row, and rows */
  SHARED_MAX = 220 * 1024,
};

/* Whether nobody but `reader` reads the tensor `value`, which `writer` makes. */
static bool is_read_once(const struct plan_batch *batch, uint32_t value, uint32_t writer,
                         uint32_t reader) {
  for (uint32_t i = writer + 1; i < batch->ops_count; i++) {
    for (uint32_t k = 0; k < batch->ops[i].inputs_count; k++) {
      const uint32_t input = batch->ops[i].inputs[k];
      if (input == PLAN_NONE || batch->tensors[input].buffer != batch->tensors[value].buffer) {
        continue;
      }
      if (i != reader || k != 0) {
        return false;
      }
    }
  }
  return true;
}

/* A lone copy or cast of an image, whichever way it then lies, to elements of `type`. */
static bool is_reordering(const struct plan_batch *batch, const struct plan_op *op,
                          enum plan_type type) {
  if (op->kind != PLAN_OP_POINTWISE || op->inputs_count != 1 || op->pointwise.steps_count != 1) {
    return false;
  }
  const struct plan_step *step = &op->pointwise.steps[0];
  const struct plan_tensor *from = &batch->tensors[op->inputs[0]];
  const struct plan_tensor *to = &batch->tensors[op->outputs[0]];
  return (step->scalar == PLAN_S_COPY || step->scalar == PLAN_S_CAST) &&
         step->a.kind == PLAN_OPERAND_INPUT && (from->type == PLAN_F32 || from->type == type) &&
         to->type == type && from->rank == 4 && to->rank == 4 &&
         memcmp(from->dims, to->dims, sizeof(from->dims)) == 0;
}

/* PLAN_NONE: none before `reader`. */
static uint32_t writer_of(const struct plan_batch *batch, uint32_t value, uint32_t reader) {
  for (uint32_t i = 0; i < reader; i++) {
    if (batch->ops[i].outputs_count == 1 && batch->ops[i].outputs[0] == value) {
      return i;
    }
  }
  return PLAN_NONE;
}

/* From the convolution's input back to the request's. */
static uint32_t sources_of(const struct plan_batch *batch, uint32_t op_index,
                           uint32_t ret_sources[EMIT_STEM_SOURCES]) {
  const enum plan_type type = batch->tensors[batch->ops[op_index].inputs[0]].type;
  uint32_t reader = op_index;
  for (uint32_t count = 0; count < EMIT_STEM_SOURCES;) {
    const uint32_t value = batch->ops[reader].inputs[0];
    const uint32_t writer = writer_of(batch, value, reader);
    if (writer == PLAN_NONE || !is_reordering(batch, &batch->ops[writer], type) ||
        !is_read_once(batch, value, writer, reader)) {
      return 0;
    }
    ret_sources[count++] = writer;
    const struct plan_tensor *from = &batch->tensors[batch->ops[writer].inputs[0]];
    if (batch->buffers[from->buffer].place == PLAN_INPUT) {
      return from->type == PLAN_F32 && from->layout == PLAN_ROW_MAJOR ? count : 0;
    }
    reader = writer;
  }
  return 0;
}

uint32_t emit_stem_sources(const struct emit *emit, uint32_t op_index,
                           uint32_t ret_sources[EMIT_STEM_SOURCES]) {
  const struct plan_batch *batch = emit->batch;
  const struct plan_op *op = &batch->ops[op_index];
  if (op->kind != PLAN_OP_CONV || op->conv.spatial != 2 || op->conv.groups != 1 ||
      emit_input(op, 3) != PLAN_NONE || emit->plan->precision == PLAN_FP32) {
    return 0;
  }
  const struct plan_tensor *in = emit_tensor(emit, op->inputs[0]);
  const struct plan_tensor *filters = emit_tensor(emit, op->inputs[1]);
  const struct plan_tensor *out = emit_tensor(emit, op->outputs[0]);
  const uint32_t width = out->type == PLAN_F16 ? 8 : 4;
  if (in->layout != PLAN_CHANNELS_LAST || (in->type != PLAN_F16 && in->type != PLAN_F32) ||
      in->dims[1] > CHANNELS_MAX || filters->dims[2] > TAPS_MAX || filters->dims[3] > TAPS_MAX ||
      filters->pitch != filters->dims[1] || op->conv.strides[1] != 2 ||
      op->conv.dilations[0] != 1 || op->conv.dilations[1] != 1 || out->dims[1] % width != 0 ||
      out->pitch % width != 0 || emit_address(emit, op->outputs[0]) % 16 != 0 ||
      (uint64_t)in->dims[1] * in->dims[2] * in->dims[3] > INT32_MAX ||
      (uint64_t)out->dims[0] * out->dims[2] * out->dims[3] > INT32_MAX) {
    return 0;
  }
  return sources_of(batch, op_index, ret_sources);
}

CUresult emit_stem(const struct emit *emit, const struct plan_op *op, uint32_t source) {
  const struct plan_conv *how = &op->conv;
  const uint32_t image = emit->batch->ops[source].inputs[0];
  const struct plan_tensor *in = emit_tensor(emit, image);
  const struct plan_tensor *filters = emit_tensor(emit, op->inputs[1]);
  const struct plan_tensor *out = emit_tensor(emit, op->outputs[0]);
  const bool is_half = out->type == PLAN_F16;
  const uint32_t element_bytes = plan_type_bytes(out->type);
  const bool is_from_slot = emit->slot_places != 0;
  struct kernel_stem stem = {
      .places_of_slot = emit->slot_places,
      .from = emit_address(emit, image) - (is_from_slot ? emit->places[PLAN_INPUT] : 0),
      .to = emit_address(emit, op->outputs[0]),
      .filters = emit_address(emit, op->inputs[1]),
      .bias = emit_address(emit, emit_input(op, 2)),
      .batch_stride = (int64_t)in->dims[1] * in->dims[2] * in->dims[3],
      .channel_stride = (int64_t)in->dims[2] * in->dims[3],
      .row_stride = in->dims[3],
      .places = {(out->dims[2] + ROWS - 1) / ROWS, (out->dims[3] + COLUMNS - 1) / COLUMNS},
      .to_height = (int32_t)out->dims[2],
      .to_width = (int32_t)out->dims[3],
      .to_pitch = (int32_t)out->pitch,
      .channels = (int32_t)in->dims[1],
      .height = in->dims[2],
      .width = in->dims[3],
      .filters_count = out->dims[1],
      .activation = (uint32_t)how->activation.kind,
      .alpha = how->activation.alpha,
      .beta = how->activation.beta};
  stem.places_count = out->dims[0] * stem.places[0] * stem.places[1];
  for (int i = 0; i < 2; i++) {
    stem.kernel[i] = (int32_t)filters->dims[2 + i];
    stem.stride[i] = (int32_t)how->strides[i];
    stem.before[i] = (int32_t)how->pads_before[i];
  }
  const uint32_t depth = is_half ? 16 : 8;
  stem.steps = (filters->dims[3] * in->dims[1] + depth - 1) / depth;
  stem.rows = (ROWS - 1) * how->strides[0] + filters->dims[2];
  /* The last pixel's steps end behind its window. */
  const uint32_t row = (COLUMNS - 1) * STEP * in->dims[1] + stem.steps * depth;
  stem.span = (row + in->dims[1] - 1) / in->dims[1];
  stem.pitch = (stem.span * in->dims[1] + 3) / 4 * 4;
  stem.image_offset = filters->dims[2] * stem.steps * (FILTERS / 16) * 32 * 16;
  const uint32_t shared_bytes = stem.image_offset + stem.rows * stem.pitch * element_bytes;
  if (shared_bytes > SHARED_MAX || stem.span > SPAN_MAX) {
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  /* As many as are resident at once: each block keeps its filters for all its places. */
  const uint32_t most = emit->device->multiprocessors * 3;
  return device_launch_shared(emit->device, is_half ? KERNEL_stem_f16 : KERNEL_stem_f32,
                              emit->stream, stem.places_count < most ? stem.places_count : most,
                              (stem.filters_count + FILTERS - 1) / FILTERS, THREADS, shared_bytes,
                              &stem);
}
