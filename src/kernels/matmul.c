/* Matrix products, one row of the result at a time with sums in double. */
#include <string.h>

#include "kernels/private.h"

size_t kernel_matmul_scratch_bytes(const struct plan_op *op, const struct plan_tensor *tensors) {
  const struct plan_tensor *out = &tensors[op->outputs[0]];
  return out->dims[out->rank - 1] * sizeof(double);
}

/* Offset of the matrix that belongs to the leading coordinates `at` of the output. */
static uint64_t matrix_of(const struct plan_tensor *tensor, const struct plan_tensor *out,
                          const uint32_t *at) {
  uint64_t strides[PLAN_RANK_MAX];
  uint64_t offset = 0;
  plan_tensor_strides(tensor, strides);
  for (uint32_t axis = 0; axis + 2 < tensor->rank; axis++) {
    if (tensor->dims[axis] > 1) {
      offset += at[axis + out->rank - tensor->rank] * strides[axis];
    }
  }
  return offset;
}

static void add_row(enum plan_type type, double a, const void *b, uint64_t at, uint64_t stride,
                    uint32_t columns, double *sums) {
  if (type == PLAN_F32) {
    const float *row = (const float *)b + at;
    for (uint32_t n = 0; n < columns; n++) {
      sums[n] += a * (double)row[n * stride];
    }
    return;
  }
  for (uint32_t n = 0; n < columns; n++) {
    sums[n] += a * element_load(type, b, at + n * stride);
  }
}

void kernel_matmul(const struct kernel *k) {
  const struct plan_matmul *matmul = &k->op->matmul;
  const struct plan_tensor *a = kernel_in(k, 0);
  const struct plan_tensor *b = kernel_in(k, 1);
  const struct plan_tensor *out = kernel_out(k, 0);
  const uint32_t columns = out->dims[out->rank - 1];
  const uint32_t inner = a->dims[a->rank - (matmul->transpose_a ? 2 : 1)];
  const uint64_t a_row = matmul->transpose_a ? 1 : inner;
  const uint64_t a_step = matmul->transpose_a ? a->dims[a->rank - 1] : 1;
  const uint64_t b_step = matmul->transpose_b ? 1 : columns;
  const uint64_t b_column = matmul->transpose_b ? inner : 1;
  double *sums = k->scratch;
  const struct element_range range =
      element_part(plan_tensor_elements(out) / columns, k->part, k->parts);
  for (uint64_t row = range.begin; row < range.end; row++) {
    uint32_t at[PLAN_RANK_MAX];
    element_coordinates(out, row * columns, at);
    const uint64_t a_at = matrix_of(a, out, at) + at[out->rank - 2] * a_row;
    const uint64_t b_at = matrix_of(b, out, at);
    memset(sums, 0, columns * sizeof(sums[0]));
    for (uint32_t i = 0; i < inner; i++) {
      add_row(b->type, element_load(a->type, kernel_in_data(k, 0), a_at + i * a_step),
              kernel_in_data(k, 1), b_at + i * b_step, b_column, columns, sums);
    }
    for (uint32_t n = 0; n < columns; n++) {
      double sum = (double)matmul->alpha * sums[n];
      if (kernel_has_input(k, 2)) {
        sum += element_load(out->type, kernel_in_data(k, 2), n);
      }
      if (kernel_has_input(k, 3)) {
        sum += element_load(out->type, kernel_in_data(k, 3), row * columns + n);
      }
      element_store(out->type, kernel_out_data(k, 0), row * columns + n,
                    element_activate(&matmul->activation, sum));
    }
  }
}
