/* Gathering and scattering by tuples of indices. */
#include <string.h>

#include "backend/cuda/emit.h"
#include "base/check.h"

enum { TARGETS_ALIGN_BYTES = 256 };

static uint64_t product(const struct plan_tensor *tensor, uint32_t first, uint32_t end) {
  uint64_t count = 1;
  for (uint32_t axis = first; axis < end; axis++) {
    count *= tensor->dims[axis];
  }
  return count;
}

static bool is_by_elements(const struct plan_op *op) {
  return op->kind == PLAN_OP_GATHER_ELEMENTS || op->kind == PLAN_OP_SCATTER_ELEMENTS;
}

/* Each index is a tuple of its own; along the other axes it names its own position. */
static void elements_of(const struct plan_op *op, const struct plan_tensor *data,
                        const struct plan_tensor *indices, struct kernel_tuple_places *places) {
  uint64_t strides[PLAN_RANK_MAX];
  plan_tensor_strides(data, strides);
  places->tuples = plan_tensor_elements(indices);
  places->width = 1;
  places->depth = 1;
  places->axes = indices->rank;
  for (uint32_t i = 0; i < indices->rank; i++) {
    places->dims[i] = indices->dims[i];
    places->strides[i] = i == op->gather.axis ? 0 : (int64_t)strides[i];
  }
  places->lengths[0] = data->dims[op->gather.axis];
  places->place_strides[0] = (int64_t)strides[op->gather.axis];
}

static void tuples_of(const struct plan_op *op, const struct plan_tensor *data,
                      const struct plan_tensor *indices, struct kernel_tuple_places *places) {
  const uint32_t batch_dims = op->kind == PLAN_OP_GATHER_ND ? op->gather.batch_dims : 0;
  uint64_t strides[PLAN_RANK_MAX];
  plan_tensor_strides(data, strides);
  places->depth = indices->dims[indices->rank - 1];
  places->tuples = plan_tensor_elements(indices) / places->depth;
  places->width = product(data, batch_dims + places->depth, data->rank);
  const uint64_t batches = product(indices, 0, batch_dims);
  places->axes = 2;
  places->dims[0] = (uint32_t)batches;
  places->dims[1] = (uint32_t)(places->tuples / batches);
  places->strides[0] = (int64_t)product(data, batch_dims, data->rank);
  for (uint32_t i = 0; i < places->depth; i++) {
    places->lengths[i] = data->dims[batch_dims + i];
    places->place_strides[i] = (int64_t)strides[batch_dims + i];
  }
}

static void places_of(const struct plan_op *op, const struct plan_tensor *data,
                      const struct plan_tensor *indices, struct kernel_tuple_places *ret_places) {
  memset(ret_places, 0, sizeof(*ret_places));
  ret_places->index_type = (uint32_t)indices->type;
  if (is_by_elements(op)) {
    elements_of(op, data, indices, ret_places);
  } else {
    tuples_of(op, data, indices, ret_places);
  }
}

CUresult emit_gather_places(const struct emit *emit, const struct plan_op *op) {
  const struct plan_tensor *in = emit_tensor(emit, op->inputs[0]);
  struct kernel_gather_places gather = {.from = emit_address(emit, op->inputs[0]),
                                        .to = emit_address(emit, op->outputs[0]),
                                        .element_bytes = plan_type_bytes(in->type)};
  places_of(op, in, emit_tensor(emit, op->inputs[1]), &gather.places);
  gather.places.indices = emit_address(emit, op->inputs[1]);
  return emit_launch(emit, KERNEL_gather_places, gather.places.tuples * gather.places.width,
                     &gather);
}

static uint64_t targets_bytes(uint64_t targets_count) {
  return (targets_count * sizeof(struct kernel_target) + TARGETS_ALIGN_BYTES - 1) /
         TARGETS_ALIGN_BYTES * TARGETS_ALIGN_BYTES;
}

bool emit_places_fit(const struct plan_batch *batch, const struct plan_op *op) {
  const struct plan_tensor *data = &batch->tensors[op->inputs[0]];
  struct kernel_tuple_places places;
  places_of(op, data, &batch->tensors[op->inputs[1]], &places);
  if (places.tuples >= UINT32_MAX) {
    return false;
  }
  const bool is_gather = op->kind == PLAN_OP_GATHER_ELEMENTS || op->kind == PLAN_OP_GATHER_ND;
  return is_gather || targets_bytes(plan_tensor_elements(data) / places.width) +
                              places.tuples * sizeof(uint32_t) <=
                          DEVICE_SCRATCH_BYTES;
}

CUresult emit_scatter(const struct emit *emit, const struct plan_op *op) {
  const struct plan_tensor *out = emit_tensor(emit, op->outputs[0]);
  struct kernel_scatter scatter = {.from = emit_address(emit, op->inputs[0]),
                                   .updates = emit_address(emit, op->inputs[2]),
                                   .to = emit_address(emit, op->outputs[0]),
                                   .count = plan_tensor_elements(out),
                                   .targets = emit->scratch,
                                   .type = (uint32_t)out->type,
                                   .element_bytes = plan_type_bytes(out->type),
                                   .reduction = (uint32_t)op->gather.reduction};
  struct kernel_tuple_places *places = &scatter.places;
  places_of(op, out, emit_tensor(emit, op->inputs[1]), places);
  places->indices = emit_address(emit, op->inputs[1]);
  scatter.targets_count = scatter.count / places->width;
  scatter.target_of = emit->scratch + targets_bytes(scatter.targets_count);
  CUresult result = emit_launch(emit, KERNEL_scatter_begin, scatter.count, &scatter);
  if (result == CUDA_SUCCESS) {
    result = emit_launch(emit, KERNEL_scatter_find, places->tuples, &scatter);
  }
  if (result == CUDA_SUCCESS) {
    result = emit_launch(emit, KERNEL_scatter_put, places->tuples * places->width, &scatter);
  }
  return result;
}
