/* Elements to other places, unchanged. */
#include <string.h>

#include "kernels/private.h"

static void copy_element(void *to, uint64_t to_at, const void *from, uint64_t from_at,
                         uint32_t bytes) {
  switch (bytes) {
  case 1:
    ((uint8_t *)to)[to_at] = ((const uint8_t *)from)[from_at];
    break;
  case 2:
    ((uint16_t *)to)[to_at] = ((const uint16_t *)from)[from_at];
    break;
  case 4:
    ((uint32_t *)to)[to_at] = ((const uint32_t *)from)[from_at];
    break;
  default:
    ((uint64_t *)to)[to_at] = ((const uint64_t *)from)[from_at];
    break;
  }
}

/* out[i] = in[base + sum of i x steps] along the output's last axis at once. */
static void copy_stepped(const struct kernel *k, uint64_t base, const int64_t *steps) {
  const struct plan_tensor *out = kernel_out(k, 0);
  const uint32_t bytes = plan_type_bytes(out->type);
  uint64_t out_strides[PLAN_RANK_MAX];
  plan_tensor_strides(out, out_strides);
  const uint32_t rank = out->rank;
  const uint64_t width = rank > 0 ? out->dims[rank - 1] : 1;
  const int64_t step = rank > 0 ? steps[rank - 1] : 1;
  const uint64_t out_step = rank > 0 ? out_strides[rank - 1] : 1;
  const struct element_range range =
      element_part(plan_tensor_elements(out) / width, k->part, k->parts);
  for (uint64_t row = range.begin; row < range.end; row++) {
    uint32_t at[PLAN_RANK_MAX];
    element_coordinates(out, row * width, at);
    int64_t from = (int64_t)base;
    for (uint32_t axis = 0; axis + 1 < rank; axis++) {
      from += (int64_t)at[axis] * steps[axis];
    }
    const uint64_t to = element_offset(rank, at, out_strides);
    if (step == 1 && out_step == 1) {
      memcpy((unsigned char *)kernel_out_data(k, 0) + to * bytes,
             (const unsigned char *)kernel_in_data(k, 0) + (uint64_t)from * bytes, width * bytes);
      continue;
    }
    for (uint64_t i = 0; i < width; i++) {
      copy_element(kernel_out_data(k, 0), to + i * out_step, kernel_in_data(k, 0),
                   (uint64_t)(from + (int64_t)i * step), bytes);
    }
  }
}

void kernel_transpose(const struct kernel *k) {
  const struct plan_tensor *in = kernel_in(k, 0);
  uint64_t strides[PLAN_RANK_MAX];
  int64_t steps[PLAN_RANK_MAX];
  plan_tensor_strides(in, strides);
  for (uint32_t axis = 0; axis < in->rank; axis++) {
    steps[axis] = (int64_t)strides[k->op->transpose.permutation[axis]];
  }
  copy_stepped(k, 0, steps);
}

void kernel_slice(const struct kernel *k) {
  const struct plan_tensor *in = kernel_in(k, 0);
  uint64_t strides[PLAN_RANK_MAX];
  int64_t steps[PLAN_RANK_MAX];
  uint64_t base = 0;
  plan_tensor_strides(in, strides);
  for (uint32_t axis = 0; axis < in->rank; axis++) {
    steps[axis] = (int64_t)strides[axis] * k->op->slice.steps[axis];
    base += strides[axis] * k->op->slice.starts[axis];
  }
  copy_stepped(k, base, steps);
}

/* Each input in turn, its elements divided among the parts. */
void kernel_concat(const struct kernel *k) {
  const struct plan_tensor *out = kernel_out(k, 0);
  const uint32_t bytes = plan_type_bytes(out->type);
  const uint32_t axis = k->op->axis;
  uint64_t out_strides[PLAN_RANK_MAX];
  plan_tensor_strides(out, out_strides);
  uint64_t begin = 0;
  for (uint32_t i = 0; i < k->op->inputs_count; i++) {
    const struct plan_tensor *in = kernel_in(k, i);
    const bool rows = in->layout == PLAN_ROW_MAJOR;
    uint64_t in_strides[PLAN_RANK_MAX];
    uint64_t width = 1;
    plan_tensor_strides(in, in_strides);
    for (uint32_t a = axis; rows && a < in->rank; a++) {
      width *= in->dims[a]; /* contiguous on both sides */
    }
    const struct element_range range =
        element_part(plan_tensor_elements(in) / width, k->part, k->parts);
    for (uint64_t run = range.begin; run < range.end; run++) {
      uint32_t at[PLAN_RANK_MAX];
      element_coordinates(in, run * width, at);
      const uint64_t from = element_offset(in->rank, at, in_strides);
      const uint64_t to = element_offset(out->rank, at, out_strides) + begin * out_strides[axis];
      memcpy((unsigned char *)kernel_out_data(k, 0) + to * bytes,
             (const unsigned char *)kernel_in_data(k, i) + from * bytes, width * bytes);
    }
    begin += in->dims[axis];
  }
}

static bool pad_source(enum plan_pad_mode mode, int64_t at, int64_t size, int64_t *ret_at) {
  if (at >= 0 && at < size) {
    *ret_at = at;
    return true;
  }
  switch (mode) {
  case PLAN_PAD_EDGE:
    *ret_at = at < 0 ? 0 : size - 1;
    return true;
  case PLAN_PAD_REFLECT: {
    const int64_t period = size > 1 ? 2 * (size - 1) : 1;
    const int64_t within = ((at % period) + period) % period;
    *ret_at = within < size ? within : period - within;
    return true;
  }
  case PLAN_PAD_WRAP:
    *ret_at = ((at % size) + size) % size;
    return true;
  default:
    return false;
  }
}

void kernel_pad(const struct kernel *k) {
  const struct plan_pad *pad = &k->op->pad;
  const struct plan_tensor *in = kernel_in(k, 0);
  const struct plan_tensor *out = kernel_out(k, 0);
  const uint32_t bytes = plan_type_bytes(out->type);
  uint64_t strides[PLAN_RANK_MAX];
  plan_tensor_strides(in, strides);
  const struct element_range range = element_part(plan_tensor_elements(out), k->part, k->parts);
  for (uint64_t index = range.begin; index < range.end; index++) {
    uint32_t at[PLAN_RANK_MAX];
    uint64_t from = 0;
    bool inside = true;
    element_coordinates(out, index, at);
    for (uint32_t axis = 0; axis < out->rank; axis++) {
      int64_t source = 0;
      inside &= pad_source(pad->mode, (int64_t)at[axis] - pad->before[axis],
                           (int64_t)in->dims[axis], &source);
      from += (uint64_t)source * strides[axis];
    }
    if (inside) {
      copy_element(kernel_out_data(k, 0), index, kernel_in_data(k, 0), from, bytes);
    } else {
      element_store(out->type, kernel_out_data(k, 0), index, pad->fill);
    }
  }
}

void kernel_trilu(const struct kernel *k) {
  const struct plan_trilu *trilu = &k->op->trilu;
  const struct plan_tensor *out = kernel_out(k, 0);
  const uint32_t bytes = plan_type_bytes(out->type);
  const uint64_t columns = out->dims[out->rank - 1];
  const uint64_t rows = out->dims[out->rank - 2];
  const struct element_range range = element_part(plan_tensor_elements(out), k->part, k->parts);
  for (uint64_t index = range.begin; index < range.end; index++) {
    const int64_t column = (int64_t)(index % columns);
    const int64_t row = (int64_t)(index / columns % rows);
    const int64_t above = column - row - trilu->diagonal;
    if (trilu->upper ? above >= 0 : above <= 0) {
      copy_element(kernel_out_data(k, 0), index, kernel_in_data(k, 0), index, bytes);
    } else {
      memset((unsigned char *)kernel_out_data(k, 0) + index * bytes, 0, bytes);
    }
  }
}
