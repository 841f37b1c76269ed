/* One operation with its tensors in memory of their own, just as long as they are, run by the
 * reference kernels in some number of parts. */
#ifndef CLOCKWORK_TESTS_SUPPORT_KERNEL_CASE_H
#define CLOCKWORK_TESTS_SUPPORT_KERNEL_CASE_H

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "kernels/kernels.h"

enum { KERNEL_CASE_TENSORS = 12 };

struct kernel_case {
  struct plan_op op;
  struct plan_tensor tensors[KERNEL_CASE_TENSORS];
  void *data[KERNEL_CASE_TENSORS];
  uint32_t inputs[KERNEL_CASE_TENSORS];
  uint32_t outputs[KERNEL_CASE_TENSORS];
  uint32_t count;
};

static inline uint32_t kernel_case_tensor(struct kernel_case *c, const struct plan_tensor *tensor,
                                          const void *values) {
  const uint32_t index = c->count++;
  CHECK_LT(index, KERNEL_CASE_TENSORS);
  c->tensors[index] = *tensor;
  for (uint32_t i = tensor->rank; i < PLAN_RANK_MAX; i++) {
    c->tensors[index].dims[i] = 1;
  }
  c->tensors[index].layout = tensor->layout == 0 ? PLAN_ROW_MAJOR : tensor->layout;
  const size_t bytes = plan_tensor_span_bytes(&c->tensors[index]);
  c->data[index] = malloc(bytes);
  CHECK(c->data[index] != NULL);
  if (values != NULL) {
    memcpy(c->data[index], values, bytes);
  } else {
    memset(c->data[index], 0x77, bytes);
  }
  return index;
}

/* `values`: plan_tensor_span_bytes() of them. */
static inline void kernel_case_in(struct kernel_case *c, const struct plan_tensor *tensor,
                                  const void *values) {
  c->op.inputs = c->inputs;
  c->inputs[c->op.inputs_count++] = kernel_case_tensor(c, tensor, values);
}

static inline void kernel_case_no_input(struct kernel_case *c) {
  c->op.inputs = c->inputs;
  c->inputs[c->op.inputs_count++] = PLAN_NONE;
}

/* The result: read it after kernel_case_run(), free with kernel_case_finish(). */
static inline void *kernel_case_out(struct kernel_case *c, const struct plan_tensor *tensor) {
  c->op.outputs = c->outputs;
  const uint32_t index = kernel_case_tensor(c, tensor, NULL);
  c->outputs[c->op.outputs_count++] = index;
  return c->data[index];
}

static inline void kernel_case_run(struct kernel_case *c, uint32_t parts) {
  for (uint32_t part = parts; part-- > 0;) { /* in any order */
    void *scratch = malloc(kernels_scratch_bytes(&c->op, c->tensors) + 1);
    CHECK(scratch != NULL);
    kernels_run(&c->op, c->tensors, c->data, scratch, part, parts);
    free(scratch);
  }
}

static inline void kernel_case_finish(struct kernel_case *c) {
  for (uint32_t i = 0; i < c->count; i++) {
    free(c->data[i]);
  }
  memset(c, 0, sizeof(*c));
}

#endif
