#include "backend/cuda/emit.h"

#include <string.h>

#include "backend/cuda/choices.h"
#include "base/check.h"

enum {
  FRAME_THREADS = 1024,
  /* Up to this, one block copies the outputs and ends the graph; above, a kernel of its own does.
   */
  END_BYTES_MAX = 128 * 1024,
};

void emit_init(struct emit *emit, const struct device *device, CUstream stream,
               const struct plan *plan, const struct plan_batch *batch,
               const struct device_area *area, CUdeviceptr weights, const struct choice *choices) {
  *emit = (struct emit){.device = device,
                        .stream = stream,
                        .plan = plan,
                        .batch = batch,
                        .scratch = area->workspace + device->workspace_bytes,
                        .choices = choices};
  emit->places[PLAN_INPUT] = area->input;
  emit->places[PLAN_OUTPUT] = area->output;
  emit->places[PLAN_WEIGHTS] = weights;
  emit->places[PLAN_WORKSPACE] = area->workspace;
}

const struct plan_tensor *emit_tensor(const struct emit *emit, uint32_t tensor) {
  CHECK_LT(tensor, emit->batch->tensors_count);
  return &emit->batch->tensors[tensor];
}

CUdeviceptr emit_address(const struct emit *emit, uint32_t tensor) {
  if (tensor == PLAN_NONE) {
    return 0;
  }
  const struct plan_tensor *t = emit_tensor(emit, tensor);
  const struct plan_buffer *buffer = &emit->batch->buffers[t->buffer];
  return emit->places[buffer->place] + buffer->offset_bytes + t->offset_bytes;
}

uint32_t emit_input(const struct plan_op *op, uint32_t index) {
  return index < op->inputs_count ? op->inputs[index] : PLAN_NONE;
}

uint32_t emit_output(const struct plan_op *op, uint32_t index) {
  return index < op->outputs_count ? op->outputs[index] : PLAN_NONE;
}

CUresult emit_launch(const struct emit *emit, enum device_kernel kernel, uint64_t count,
                     const void *parameters) {
  return device_launch(emit->device, kernel, emit->stream, device_blocks(emit->device, count),
                       KERNEL_THREADS, parameters);
}

/* Kinds that move elements take any type; the others' kernels hold single and half precision, and
 * REDUCE, MATMUL and those that walk along an axis double as well. */
static bool has_kernel(const struct plan_batch *batch, const struct plan_op *op) {
  const enum plan_type type = batch->tensors[op->inputs[0]].type;
  const bool is_single_or_half = type == PLAN_F32 || type == PLAN_F16;
  switch (op->kind) {
  case PLAN_OP_POINTWISE:
  case PLAN_OP_TRANSPOSE:
  case PLAN_OP_CONCAT:
  case PLAN_OP_SLICE:
  case PLAN_OP_PAD:
  case PLAN_OP_GATHER:
  case PLAN_OP_REDUCE:
  case PLAN_OP_MATMUL:
  case PLAN_OP_TOPK:
  case PLAN_OP_CUMSUM:
  case PLAN_OP_TRILU:
    return true;
  case PLAN_OP_GATHER_ELEMENTS:
  case PLAN_OP_GATHER_ND:
  case PLAN_OP_SCATTER_ELEMENTS:
  case PLAN_OP_SCATTER_ND:
    return emit_places_fit(batch, op);
  case PLAN_OP_LSTM:
  case PLAN_OP_GRU:
  case PLAN_OP_RNN:
    return emit_recurrent_fits(batch, op);
  case PLAN_OP_CONV:
  case PLAN_OP_CONV_TRANSPOSE:
  case PLAN_OP_POOL:
  case PLAN_OP_SOFTMAX:
  case PLAN_OP_LAYER_NORM:
  case PLAN_OP_GROUP_NORM:
  case PLAN_OP_LRN:
  case PLAN_OP_RESIZE:
    return is_single_or_half;
  default:
    return false;
  }
}

bool emit_supports(const struct plan_batch *batch, uint32_t op_index,
                   struct error_text *ret_error) {
  const struct plan_op *op = &batch->ops[op_index];
  if (op->inputs_count > 0 && op->inputs[0] != PLAN_NONE && has_kernel(batch, op)) {
    return true;
  }
  error_text_set(ret_error,
                 "operation %u, %s \"%.60s\": the CUDA backend has no kernel for it; "
                 "serve this model with --backend cpu",
                 op_index, plan_op_kind_text(op->kind), op->name);
  return false;
}

CUresult emit_op(const struct emit *emit, uint32_t op_index) {
  const struct plan_op *op = &emit->batch->ops[op_index];
  if (emit->choices[op_index].form == CHOICE_SKIPPED) {
    return CUDA_SUCCESS;
  }
  switch (op->kind) {
  case PLAN_OP_CONV:
  case PLAN_OP_CONV_TRANSPOSE:
  case PLAN_OP_MATMUL:
  case PLAN_OP_LSTM:
  case PLAN_OP_GRU:
  case PLAN_OP_RNN:
    return choice_emit(emit, op_index, &emit->choices[op_index]);
  case PLAN_OP_POINTWISE:
    return emit_pointwise(emit, op);
  case PLAN_OP_TRANSPOSE:
    return emit_transpose(emit, op);
  case PLAN_OP_CONCAT:
    return emit_concat(emit, op);
  case PLAN_OP_SLICE:
    return emit_slice(emit, op);
  case PLAN_OP_PAD:
    return emit_pad(emit, op);
  case PLAN_OP_GATHER:
    return emit_gather(emit, op);
  case PLAN_OP_GATHER_ELEMENTS:
  case PLAN_OP_GATHER_ND:
    return emit_gather_places(emit, op);
  case PLAN_OP_SCATTER_ELEMENTS:
  case PLAN_OP_SCATTER_ND:
    return emit_scatter(emit, op);
  case PLAN_OP_TRILU:
    return emit_trilu(emit, op);
  case PLAN_OP_TOPK:
    return emit_topk(emit, op);
  case PLAN_OP_CUMSUM:
    return emit_cumsum(emit, op);
  case PLAN_OP_REDUCE:
    return emit_reduce(emit, op);
  case PLAN_OP_SOFTMAX:
    return emit_softmax(emit, op);
  case PLAN_OP_LAYER_NORM:
  case PLAN_OP_GROUP_NORM:
    return emit_normalize(emit, op);
  case PLAN_OP_LRN:
    return emit_lrn(emit, op);
  case PLAN_OP_POOL:
    return emit_pool(emit, op);
  case PLAN_OP_RESIZE:
    return emit_resize(emit, op);
  default:
    return CUDA_ERROR_NOT_SUPPORTED;
  }
}

static uint64_t rounded(uint64_t bytes) {
  return (bytes + 15) / 16 * 16;
}

static CUresult emit_copy(const struct emit *emit, enum device_kernel kernel,
                          const struct kernel_frame *frame) {
  const uint64_t blocks = frame->bytes / 16 / FRAME_THREADS + 1;
  const uint64_t most = emit->device->multiprocessors;
  return device_launch(emit->device, kernel, emit->stream,
                       (uint32_t)(blocks < most ? blocks : most), FRAME_THREADS, frame);
}

/* Whether nobody but CHOICE_STEM, which can read them in the io slot, needs the inputs. */
static bool leaves_inputs(const struct emit *emit) {
  const struct plan_batch *batch = emit->batch;
  for (uint32_t i = 0; i < batch->ops_count; i++) {
    const struct plan_op *op = &batch->ops[i];
    for (uint32_t k = 0; k < op->inputs_count; k++) {
      const uint32_t input = op->inputs[k];
      if (input != PLAN_NONE && emit->choices[i].form != CHOICE_SKIPPED &&
          batch->buffers[batch->tensors[input].buffer].place == PLAN_INPUT) {
        return false;
      }
    }
  }
  return true;
}

/* Two nodes: the first alone reads the cell over the bus. */
static CUresult emit_begin(const struct emit *emit, const struct device_area *area) {
  const struct kernel_frame frame = {.cell = area->cell_address,
                                     .places = area->places,
                                     .fixed = area->input,
                                     .bytes = rounded(emit->batch->input_bytes)};
  const CUresult result =
      device_launch(emit->device, KERNEL_graph_begin, emit->stream, 1, 1, &frame);
  return result != CUDA_SUCCESS || emit->slot_places != 0
             ? result
             : emit_copy(emit, KERNEL_graph_copy_in, &frame);
}

static CUresult emit_end(const struct emit *emit, const struct device_area *area) {
  struct kernel_frame frame = {.cell = area->cell_address,
                               .places = area->places,
                               .fixed = area->output,
                               .bytes = rounded(emit->batch->output_bytes)};
  if (frame.bytes > END_BYTES_MAX) {
    const CUresult result = emit_copy(emit, KERNEL_graph_copy_out, &frame);
    if (result != CUDA_SUCCESS) {
      return result;
    }
    frame.bytes = 0;
  }
  return device_launch(emit->device, KERNEL_graph_end, emit->stream, 1, FRAME_THREADS, &frame);
}

enum err emit_program(const struct emit *outer, const struct device_area *area,
                      struct error_text *ret_error) {
  struct emit inner = *outer;
  inner.slot_places = leaves_inputs(outer) ? area->places : 0;
  const struct emit *emit = &inner;
  CUresult result = emit_begin(emit, area);
  for (uint32_t i = 0; i < emit->batch->ops_count && result == CUDA_SUCCESS; i++) {
    result = emit_op(emit, i);
    if (result != CUDA_SUCCESS) {
      const struct plan_op *op = &emit->batch->ops[i];
      error_text_set(ret_error, "batch size %u, operation %u, %s \"%.60s\": %.80s",
                     emit->batch->batch_size, i, plan_op_kind_text(op->kind), op->name,
                     library_driver_text(emit->device->library, result));
      return result == CUDA_ERROR_NOT_SUPPORTED ? ERR_UNSUPPORTED : ERR_IO;
    }
  }
  result = result == CUDA_SUCCESS ? emit_end(emit, area) : result;
  if (result != CUDA_SUCCESS) {
    error_text_set(ret_error, "batch size %u: %.80s", emit->batch->batch_size,
                   library_driver_text(emit->device->library, result));
    return ERR_IO;
  }
  return ERR_OK;
}
