/* Operations over whole rows: reductions, softmax, normalisations, own products. */
#include <string.h>

#include "backend/cuda/emit.h"
#include "backend/cuda/views.h"

static CUresult launch_rows(const struct emit *emit, enum device_kernel kernel, uint64_t rows,
                            const void *parameters) {
  return emit_launch(emit, kernel, rows * KERNEL_THREADS, parameters);
}

enum {
  PARTS_MAX = 64,
  PART_MIN = 32, /* additions in one */
};

static CUresult launch_columns(const struct emit *emit, const struct kernel_reduce *reduce) {
  return emit_launch(emit, KERNEL_reduce_columns, reduce->outputs * (KERNEL_THREADS / 32), reduce);
}

/* Into how many parts a sum of few outputs is cut so that more blocks share it; 1: not at all. */
static uint32_t parts_of(const struct emit *emit, const struct kernel_reduce *reduce) {
  uint32_t parts = 1;
  while (reduce->reduced_axes == 1 && reduce->axes < KERNEL_AXES_MAX && parts < PARTS_MAX &&
         reduce->reduced % (2 * parts) == 0 && reduce->reduced / (2 * parts) >= PART_MIN &&
         2 * parts * reduce->outputs * sizeof(float) <= DEVICE_SCRATCH_BYTES &&
         parts * reduce->outputs / 32 < emit->device->multiprocessors) {
    parts *= 2;
  }
  return parts;
}

/* An image's mean has few outputs and long sums: the parts' sums into scratch memory, then theirs.
 * The order of the additions is fixed, so the result is the same each time. */
static CUresult reduce_in_parts(const struct emit *emit, const struct kernel_reduce *whole,
                                uint32_t parts) {
  struct kernel_reduce first = *whole;
  first.to = emit->scratch;
  first.to_type = PLAN_F32;
  first.divisor = 1.0F;
  first.activation = PLAN_ACT_NONE;
  first.outputs = whole->outputs * parts;
  first.reduced = whole->reduced / parts;
  first.reduced_dims[0] = (uint32_t)first.reduced;
  first.axes = whole->axes + 1;
  first.dims[0] = parts;
  first.from_strides[0] = whole->reduced_strides[0] * (int64_t)first.reduced;
  first.to_strides[0] = (int64_t)whole->outputs;
  struct kernel_reduce second = *whole;
  second.from = emit->scratch;
  second.type = PLAN_F32;
  second.reduced = parts;
  second.reduced_dims[0] = parts;
  second.reduced_strides[0] = (int64_t)whole->outputs;
  int64_t step = 1;
  for (uint32_t i = whole->axes; i-- > 0;) {
    first.dims[i + 1] = whole->dims[i];
    first.from_strides[i + 1] = whole->from_strides[i];
    first.to_strides[i + 1] = step;
    second.from_strides[i] = step;
    step *= whole->dims[i];
  }
  const CUresult result = launch_columns(emit, &first);
  return result == CUDA_SUCCESS ? launch_columns(emit, &second) : result;
}

CUresult emit_reduce(const struct emit *emit, const struct plan_op *op) {
  const struct plan_tensor *in = emit_tensor(emit, op->inputs[0]);
  const struct plan_tensor *out = emit_tensor(emit, op->outputs[0]);
  const struct plan_reduce *how = &op->reduce;
  uint64_t from[PLAN_RANK_MAX];
  uint64_t to[PLAN_RANK_MAX];
  plan_tensor_strides(in, from);
  plan_tensor_strides(out, to);
  struct view kept = {.operands = 2};
  struct view reduced = {.operands = 1};
  for (uint32_t i = 0; i < in->rank; i++) {
    struct view *view = (how->axes >> i & 1) != 0 ? &reduced : &kept;
    view->dims[view->axes] = in->dims[i];
    view->strides[0][view->axes] = (int64_t)(view == &kept ? to[i] : from[i]);
    view->strides[1][view->axes] = (int64_t)from[i];
    view->axes++;
  }
  view_collapse(&kept);
  view_collapse(&reduced);
  struct kernel_reduce reduce = {.from = emit_address(emit, op->inputs[0]),
                                 .to = emit_address(emit, op->outputs[0]),
                                 .type = (uint32_t)in->type,
                                 .kind = (uint32_t)how->kind,
                                 .last_index = how->last_index,
                                 .activation = (uint32_t)how->activation.kind,
                                 .alpha = how->activation.alpha,
                                 .beta = how->activation.beta,
                                 .outputs = view_elements(&kept),
                                 .reduced = view_elements(&reduced),
                                 .axes = kept.axes,
                                 .reduced_axes = reduced.axes};
  memcpy(reduce.dims, kept.dims, sizeof(reduce.dims));
  memcpy(reduce.to_strides, kept.strides[0], sizeof(reduce.to_strides));
  memcpy(reduce.from_strides, kept.strides[1], sizeof(reduce.from_strides));
  memcpy(reduce.reduced_dims, reduced.dims, sizeof(reduce.reduced_dims));
  memcpy(reduce.reduced_strides, reduced.strides[0], sizeof(reduce.reduced_strides));
  const bool is_sum = how->kind == PLAN_REDUCE_SUM || how->kind == PLAN_REDUCE_MEAN;
  const bool is_single_or_half = in->type == PLAN_F32 || in->type == PLAN_F16;
  if (is_sum && is_single_or_half && kept.strides[1][kept.axes - 1] == 1) {
    reduce.to_type = (uint32_t)out->type;
    reduce.divisor = how->kind == PLAN_REDUCE_MEAN ? (float)reduce.reduced : 1.0F;
    const uint32_t parts = parts_of(emit, &reduce);
    return parts > 1 ? reduce_in_parts(emit, &reduce, parts) : launch_columns(emit, &reduce);
  }
  return emit_launch(emit, KERNEL_reduce_any, reduce.outputs * 32, &reduce);
}

static uint64_t elements_behind(const struct plan_tensor *tensor, uint32_t axis) {
  uint64_t inner = 1;
  for (uint32_t i = axis + 1; i < tensor->rank; i++) {
    inner *= tensor->dims[i];
  }
  return inner;
}

CUresult emit_softmax(const struct emit *emit, const struct plan_op *op) {
  const struct plan_tensor *in = emit_tensor(emit, op->inputs[0]);
  struct kernel_softmax softmax = {.from = emit_address(emit, op->inputs[0]),
                                   .to = emit_address(emit, op->outputs[0]),
                                   .type = (uint32_t)in->type,
                                   .length = in->dims[op->softmax.axis],
                                   .inner = elements_behind(in, op->softmax.axis),
                                   .logarithm = op->softmax.logarithm,
                                   .hard = op->softmax.hard};
  softmax.rows = plan_tensor_elements(in) / softmax.length;
  return launch_rows(emit, KERNEL_softmax_rows, softmax.rows, &softmax);
}

CUresult emit_normalize(const struct emit *emit, const struct plan_op *op) {
  const struct plan_tensor *in = emit_tensor(emit, op->inputs[0]);
  struct kernel_norm norm = {.from = emit_address(emit, op->inputs[0]),
                             .to = emit_address(emit, op->outputs[0]),
                             .scale = emit_address(emit, emit_input(op, 1)),
                             .shift = emit_address(emit, emit_input(op, 2)),
                             .rows = 1,
                             .type = (uint32_t)in->type,
                             .rms = op->normalize.rms,
                             .epsilon = op->normalize.epsilon};
  const uint64_t elements = plan_tensor_elements(in);
  if (op->kind == PLAN_OP_GROUP_NORM) {
    norm.groups = op->normalize.groups;
    norm.group_channels = in->dims[1] / norm.groups;
    norm.rows = (uint64_t)in->dims[0] * norm.groups;
    norm.length = elements / norm.rows;
    norm.channel_length = norm.length / norm.group_channels;
  } else {
    for (uint32_t i = 0; i < op->normalize.axis; i++) {
      norm.rows *= in->dims[i];
    }
    norm.length = elements / norm.rows;
  }
  return launch_rows(emit, KERNEL_normalize_rows, norm.rows, &norm);
}

CUresult emit_lrn(const struct emit *emit, const struct plan_op *op) {
  const struct plan_tensor *in = emit_tensor(emit, op->inputs[0]);
  const struct plan_tensor *out = emit_tensor(emit, op->outputs[0]);
  struct kernel_lrn lrn = {.from = emit_address(emit, op->inputs[0]),
                           .to = emit_address(emit, op->outputs[0]),
                           .count = plan_tensor_elements(in),
                           .inner = 1,
                           .type = (uint32_t)in->type,
                           .channels = in->dims[1],
                           .from_pitch = in->pitch,
                           .to_pitch = out->pitch,
                           .size = op->lrn.size,
                           .alpha = op->lrn.alpha,
                           .beta = op->lrn.beta,
                           .bias = op->lrn.bias};
  for (uint32_t i = 2; i < in->rank; i++) {
    lrn.inner *= in->dims[i];
  }
  return emit_launch(emit, KERNEL_lrn_any, lrn.count, &lrn);
}

CUresult emit_topk(const struct emit *emit, const struct plan_op *op) {
  const uint32_t axis = op->topk.axis;
  const uint32_t values = emit_output(op, 0);
  const uint32_t indices = emit_output(op, 1);
  const struct plan_tensor *in = emit_tensor(emit, op->inputs[0]);
  const struct plan_tensor *out = emit_tensor(emit, values != PLAN_NONE ? values : indices);
  const struct kernel_topk topk = {.from = emit_address(emit, op->inputs[0]),
                                   .values = emit_address(emit, values),
                                   .indices = emit_address(emit, indices),
                                   .lines = plan_tensor_elements(in) / in->dims[axis],
                                   .inner = elements_behind(in, axis),
                                   .length = in->dims[axis],
                                   .k = out->dims[axis],
                                   .type = (uint32_t)in->type,
                                   .element_bytes = plan_type_bytes(in->type),
                                   .largest = op->topk.largest};
  const uint64_t tiles = (topk.length + KERNEL_THREADS - 1) / KERNEL_THREADS;
  return launch_rows(emit, KERNEL_topk_any, topk.lines * tiles, &topk);
}

CUresult emit_cumsum(const struct emit *emit, const struct plan_op *op) {
  const uint32_t axis = op->cumsum.axis;
  const struct plan_tensor *in = emit_tensor(emit, op->inputs[0]);
  const struct kernel_cumsum cumsum = {.from = emit_address(emit, op->inputs[0]),
                                       .to = emit_address(emit, op->outputs[0]),
                                       .lines = plan_tensor_elements(in) / in->dims[axis],
                                       .inner = elements_behind(in, axis),
                                       .length = in->dims[axis],
                                       .type = (uint32_t)in->type,
                                       .exclusive = op->cumsum.exclusive,
                                       .reverse = op->cumsum.reverse};
  return emit_launch(emit, KERNEL_cumsum_any, cumsum.lines * 32, &cumsum);
}

CUresult emit_own_matmul(const struct emit *emit, const struct plan_op *op) {
  const struct plan_tensor *a = emit_tensor(emit, op->inputs[0]);
  const struct plan_tensor *b = emit_tensor(emit, op->inputs[1]);
  const struct plan_tensor *out = emit_tensor(emit, op->outputs[0]);
  const struct plan_matmul *how = &op->matmul;
  const uint32_t rank = out->rank;
  struct kernel_matmul product = {.a = emit_address(emit, op->inputs[0]),
                                  .b = emit_address(emit, op->inputs[1]),
                                  .to = emit_address(emit, op->outputs[0]),
                                  .bias = emit_address(emit, emit_input(op, 2)),
                                  .residual = emit_address(emit, emit_input(op, 3)),
                                  .type = (uint32_t)out->type,
                                  .m = out->dims[rank - 2],
                                  .n = out->dims[rank - 1],
                                  .k = a->dims[a->rank - (how->transpose_a ? 2 : 1)],
                                  .a_row = 1,
                                  .a_column = 1,
                                  .b_row = 1,
                                  .b_column = 1,
                                  .batches = 1,
                                  .scale = how->alpha,
                                  .activation = (uint32_t)how->activation.kind,
                                  .alpha = how->activation.alpha,
                                  .beta = how->activation.beta};
  *(how->transpose_a ? &product.a_column : &product.a_row) = a->dims[a->rank - 1];
  *(how->transpose_b ? &product.b_column : &product.b_row) = b->dims[b->rank - 1];
  int64_t a_stride = (int64_t)product.m * product.k;
  int64_t b_stride = (int64_t)product.k * product.n;
  product.axes = rank - 2;
  for (uint32_t i = rank - 2; i > 0; i--) {
    const uint32_t axis = i - 1;
    const uint32_t from_end = rank - axis;
    product.dims[axis] = out->dims[axis];
    product.batches *= out->dims[axis];
    if (from_end <= a->rank && a->dims[a->rank - from_end] > 1) {
      product.a_strides[axis] = a_stride;
      a_stride *= a->dims[a->rank - from_end];
    }
    if (from_end <= b->rank && b->dims[b->rank - from_end] > 1) {
      product.b_strides[axis] = b_stride;
      b_stride *= b->dims[b->rank - from_end];
    }
  }
  return emit_launch(emit, KERNEL_matmul_any, plan_tensor_elements(out), &product);
}
