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

/* An axis as a copy walks it; distances in elements. */
struct walk_axis {
  uint64_t count;
  int64_t in;
  uint64_t out;
};

/* The output's axes as they lie, joined where neither side breaks off; the last is the innermost.
 * Returns how many: at least one. */
static uint32_t plan_walk(const struct plan_tensor *out, const int64_t *steps,
                          struct walk_axis *ret_axes) {
  uint64_t out_strides[PLAN_RANK_MAX];
  uint32_t rank = 0;
  plan_tensor_strides(out, out_strides);
  for (uint32_t i = 0; i < out->rank; i++) {
    if (out->dims[i] == 1) {
      continue;
    }
    const struct walk_axis axis = {.count = out->dims[i], .in = steps[i], .out = out_strides[i]};
    uint32_t place = rank++;
    for (; place > 0 && ret_axes[place - 1].out < axis.out; place--) {
      ret_axes[place] = ret_axes[place - 1];
    }
    ret_axes[place] = axis;
  }
  uint32_t joined = 0;
  for (uint32_t i = 0; i < rank; i++) {
    struct walk_axis *outer = &ret_axes[joined == 0 ? 0 : joined - 1];
    const struct walk_axis inner = ret_axes[i];
    if (joined > 0 && outer->out == inner.out * inner.count &&
        outer->in == inner.in * (int64_t)inner.count) {
      *outer = (struct walk_axis){outer->count * inner.count, inner.in, inner.out};
    } else {
      ret_axes[joined++] = inner;
    }
  }
  if (joined == 0) {
    ret_axes[joined++] = (struct walk_axis){.count = 1, .in = 1, .out = 1};
  }
  return joined;
}

static void copy_run(uint32_t bytes, const struct walk_axis *inner, const unsigned char *from,
                     unsigned char *to) {
  if (inner->in == 1 && inner->out == 1) {
    memcpy(to, from, inner->count * bytes);
    return;
  }
  for (uint64_t i = 0; i < inner->count; i++) {
    copy_element(to, i * inner->out, from + (int64_t)i * inner->in * (int64_t)bytes, 0, bytes);
  }
}

/* out[i] = in[base + sum of i x steps], along the innermost axis at once. */
static void copy_stepped(const struct kernel *k, uint64_t base, const int64_t *steps) {
  const struct plan_tensor *out = kernel_out(k, 0);
  const uint32_t bytes = plan_type_bytes(out->type);
  struct walk_axis axes[PLAN_RANK_MAX];
  const uint32_t outer = plan_walk(out, steps, axes) - 1;
  uint64_t runs = 1;
  for (uint32_t i = 0; i < outer; i++) {
    runs *= axes[i].count;
  }
  const struct element_range range = element_part(runs, k->part, k->parts);
  for (uint64_t run = range.begin; run < range.end; run++) {
    int64_t from = (int64_t)base;
    uint64_t to = 0;
    uint64_t rest = run;
    for (uint32_t i = outer; i-- > 0;) {
      const uint64_t at = rest % axes[i].count;
      rest /= axes[i].count;
      from += (int64_t)at * axes[i].in;
      to += at * axes[i].out;
    }
    copy_run(bytes, &axes[outer], (const unsigned char *)kernel_in_data(k, 0) + from * bytes,
             (unsigned char *)kernel_out_data(k, 0) + to * bytes);
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

/* One row of the output, whose last axis is the input's, cut and continued on both sides. */
static void pad_row(const struct kernel *k, uint64_t to, uint64_t from, uint64_t step) {
  const struct plan_pad *pad = &k->op->pad;
  const struct plan_tensor *out = kernel_out(k, 0);
  const uint32_t bytes = plan_type_bytes(out->type);
  const uint32_t last = out->rank - 1;
  const int64_t size = kernel_in(k, 0)->dims[last];
  const int64_t width = out->dims[last];
  const int64_t before = pad->before[last];
  const int64_t first = before > 0 ? (before < width ? before : width) : 0;
  const int64_t end = before + size < width ? before + size : width;
  for (int64_t i = 0; i < width; i++) {
    if (step == 1 && i == first && first < end) {
      memcpy((unsigned char *)kernel_out_data(k, 0) + (to + (uint64_t)i) * bytes,
             (const unsigned char *)kernel_in_data(k, 0) + (from + (uint64_t)(i - before)) * bytes,
             (uint64_t)(end - first) * bytes);
      i = end - 1;
      continue;
    }
    int64_t source = 0;
    if (pad_source(pad->mode, i - before, size, &source)) {
      copy_element(kernel_out_data(k, 0), to + (uint64_t)i, kernel_in_data(k, 0),
                   from + (uint64_t)source * step, bytes);
    } else {
      element_store(out->type, kernel_out_data(k, 0), to + (uint64_t)i, pad->fill);
    }
  }
}

void kernel_pad(const struct kernel *k) {
  const struct plan_pad *pad = &k->op->pad;
  const struct plan_tensor *in = kernel_in(k, 0);
  const struct plan_tensor *out = kernel_out(k, 0);
  uint64_t strides[PLAN_RANK_MAX];
  if (out->rank == 0) {
    copy_element(kernel_out_data(k, 0), 0, kernel_in_data(k, 0), 0, plan_type_bytes(out->type));
    return;
  }
  const uint64_t width = out->dims[out->rank - 1];
  plan_tensor_strides(in, strides);
  const struct element_range range =
      element_part(plan_tensor_elements(out) / width, k->part, k->parts);
  for (uint64_t row = range.begin; row < range.end; row++) {
    uint32_t at[PLAN_RANK_MAX];
    uint64_t from = 0;
    bool inside = true;
    element_coordinates(out, row * width, at);
    for (uint32_t axis = 0; axis + 1 < out->rank; axis++) {
      int64_t source = 0;
      inside &= pad_source(pad->mode, (int64_t)at[axis] - pad->before[axis],
                           (int64_t)in->dims[axis], &source);
      from += (uint64_t)source * strides[axis];
    }
    if (inside) {
      pad_row(k, row * width, from, strides[out->rank - 1]);
      continue;
    }
    for (uint64_t i = 0; i < width; i++) {
      element_store(out->type, kernel_out_data(k, 0), row * width + i, pad->fill);
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
