/* Elements from or to places that data names. Indices out of range are held at the nearest valid
 * one: data can't make a kernel step outside.
 */
#include <math.h>
#include <string.h>

#include "kernels/private.h"

static uint64_t place_of(const struct plan_tensor *indices, const void *data, uint64_t at,
                         uint32_t size) {
  int64_t index = element_load_int(indices->type, data, at);
  index = index < 0 ? index + (int64_t)size : index;
  return index < 0 ? 0 : index >= (int64_t)size ? size - 1 : (uint64_t)index;
}

static uint64_t product(const struct plan_tensor *tensor, uint32_t first, uint32_t end) {
  uint64_t count = 1;
  for (uint32_t axis = first; axis < end; axis++) {
    count *= tensor->dims[axis];
  }
  return count;
}

void kernel_gather(const struct kernel *k) {
  const uint32_t axis = k->op->gather.axis;
  const struct plan_tensor *in = kernel_in(k, 0);
  const struct plan_tensor *indices = kernel_in(k, 1);
  const uint64_t width = product(in, axis + 1, in->rank) * plan_type_bytes(in->type);
  const uint64_t count = plan_tensor_elements(indices);
  const struct element_range range = element_part(product(in, 0, axis) * count, k->part, k->parts);
  for (uint64_t i = range.begin; i < range.end; i++) {
    const uint64_t from = i / count * in->dims[axis] +
                          place_of(indices, kernel_in_data(k, 1), i % count, in->dims[axis]);
    memcpy((unsigned char *)kernel_out_data(k, 0) + i * width,
           (const unsigned char *)kernel_in_data(k, 0) + from * width, width);
  }
}

void kernel_gather_elements(const struct kernel *k) {
  const uint32_t axis = k->op->gather.axis;
  const struct plan_tensor *in = kernel_in(k, 0);
  const struct plan_tensor *indices = kernel_in(k, 1);
  const uint32_t bytes = plan_type_bytes(in->type);
  uint64_t strides[PLAN_RANK_MAX];
  plan_tensor_strides(in, strides);
  const struct element_range range = element_part(plan_tensor_elements(indices), k->part, k->parts);
  for (uint64_t i = range.begin; i < range.end; i++) {
    uint32_t at[PLAN_RANK_MAX];
    element_coordinates(indices, i, at);
    at[axis] = (uint32_t)place_of(indices, kernel_in_data(k, 1), i, in->dims[axis]);
    memcpy((unsigned char *)kernel_out_data(k, 0) + i * bytes,
           (const unsigned char *)kernel_in_data(k, 0) +
               element_offset(in->rank, at, strides) * bytes,
           bytes);
  }
}

/* Offset that the tuple at `tuple` names, from axis `first` on. */
static uint64_t tuple_offset(const struct plan_tensor *tensor, const struct plan_tensor *indices,
                             const void *data, uint64_t tuple, uint32_t first) {
  const uint32_t depth = indices->dims[indices->rank - 1];
  uint64_t strides[PLAN_RANK_MAX];
  uint64_t offset = 0;
  plan_tensor_strides(tensor, strides);
  for (uint32_t d = 0; d < depth; d++) {
    offset +=
        place_of(indices, data, tuple * depth + d, tensor->dims[first + d]) * strides[first + d];
  }
  return offset;
}

void kernel_gather_nd(const struct kernel *k) {
  const uint32_t batch_dims = k->op->gather.batch_dims;
  const struct plan_tensor *in = kernel_in(k, 0);
  const struct plan_tensor *indices = kernel_in(k, 1);
  const uint32_t depth = indices->dims[indices->rank - 1];
  const uint64_t width = product(in, batch_dims + depth, in->rank);
  const uint64_t batch_elements = product(in, batch_dims, in->rank);
  const uint64_t tuples = plan_tensor_elements(indices) / depth;
  const uint64_t per_batch = tuples / product(indices, 0, batch_dims);
  const uint32_t bytes = plan_type_bytes(in->type);
  const struct element_range range = element_part(tuples, k->part, k->parts);
  for (uint64_t t = range.begin; t < range.end; t++) {
    const uint64_t from = t / per_batch * batch_elements +
                          tuple_offset(in, indices, kernel_in_data(k, 1), t, batch_dims);
    memcpy((unsigned char *)kernel_out_data(k, 0) + t * width * bytes,
           (const unsigned char *)kernel_in_data(k, 0) + from * bytes, width * bytes);
  }
}

static double combine_real(enum plan_scatter_reduction reduction, double a, double b) {
  switch (reduction) {
  case PLAN_SCATTER_ADD:
    return a + b;
  case PLAN_SCATTER_MUL:
    return a * b;
  case PLAN_SCATTER_MIN:
    return a < b || isnan(a) ? a : b;
  default:
    return a > b || isnan(a) ? a : b;
  }
}

static int64_t combine_whole(enum plan_scatter_reduction reduction, int64_t a, int64_t b) {
  switch (reduction) {
  case PLAN_SCATTER_ADD:
    return (int64_t)((uint64_t)a + (uint64_t)b);
  case PLAN_SCATTER_MUL:
    return (int64_t)((uint64_t)a * (uint64_t)b);
  case PLAN_SCATTER_MIN:
    return a < b ? a : b;
  default:
    return a > b ? a : b;
  }
}

static void put(const struct kernel *k, uint64_t to, uint64_t from) {
  const enum plan_type type = kernel_out(k, 0)->type;
  const enum plan_scatter_reduction reduction = k->op->gather.reduction;
  const uint32_t bytes = plan_type_bytes(type);
  void *out = kernel_out_data(k, 0);
  const void *updates = kernel_in_data(k, 2);
  if (reduction == PLAN_SCATTER_PUT) {
    memcpy((unsigned char *)out + to * bytes, (const unsigned char *)updates + from * bytes, bytes);
  } else if (plan_type_is_float(type)) {
    element_store(
        type, out, to,
        combine_real(reduction, element_load(type, out, to), element_load(type, updates, from)));
  } else {
    element_store_int(type, out, to,
                      combine_whole(reduction, element_load_int(type, out, to),
                                    element_load_int(type, updates, from)));
  }
}

/* Later updates of one place win or add up in their order, so one part does it all. */
static bool begin_scatter(const struct kernel *k) {
  if (k->part != 0) {
    return false;
  }
  memcpy(kernel_out_data(k, 0), kernel_in_data(k, 0), plan_tensor_span_bytes(kernel_in(k, 0)));
  return true;
}

void kernel_scatter_elements(const struct kernel *k) {
  const uint32_t axis = k->op->gather.axis;
  const struct plan_tensor *out = kernel_out(k, 0);
  const struct plan_tensor *indices = kernel_in(k, 1);
  uint64_t strides[PLAN_RANK_MAX];
  plan_tensor_strides(out, strides);
  if (!begin_scatter(k)) {
    return;
  }
  const uint64_t count = plan_tensor_elements(indices);
  for (uint64_t i = 0; i < count; i++) {
    uint32_t at[PLAN_RANK_MAX];
    element_coordinates(indices, i, at);
    at[axis] = (uint32_t)place_of(indices, kernel_in_data(k, 1), i, out->dims[axis]);
    put(k, element_offset(out->rank, at, strides), i);
  }
}

void kernel_scatter_nd(const struct kernel *k) {
  const struct plan_tensor *out = kernel_out(k, 0);
  const struct plan_tensor *indices = kernel_in(k, 1);
  const uint32_t depth = indices->dims[indices->rank - 1];
  const uint64_t width = product(out, depth, out->rank);
  const uint64_t tuples = plan_tensor_elements(indices) / depth;
  if (!begin_scatter(k)) {
    return;
  }
  for (uint64_t t = 0; t < tuples; t++) {
    const uint64_t to = tuple_offset(out, indices, kernel_in_data(k, 1), t, 0);
    for (uint64_t i = 0; i < width; i++) {
      put(k, to + i, t * width + i);
    }
  }
}
