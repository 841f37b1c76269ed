/* Several tensors walked together, with as few axes as their strides allow.
 *
 * Operand 0 is the output: axes are ordered so that its fastest is the last, axes of length 1 are
 * dropped, and neighbours that lie as one in all operands become one. A kernel then divides an
 * index two or three times instead of eight, and mostly not at all. Pure.
 */
#ifndef CLOCKWORK_BACKEND_CUDA_VIEWS_H
#define CLOCKWORK_BACKEND_CUDA_VIEWS_H

#include <stdbool.h>
#include <stdint.h>

#include "package/plan.h"

enum { VIEW_OPERANDS_MAX = PLAN_POINTWISE_INPUTS + 1 };

struct view {
  uint32_t operands;
  uint32_t axes; /* at least 1 after view_collapse() */
  uint32_t dims[PLAN_RANK_MAX];
  int64_t strides[VIEW_OPERANDS_MAX][PLAN_RANK_MAX]; /* in elements; 0: broadcast */
};

/* Over all elements of `output`, as operand 0. */
void view_init(struct view *view, const struct plan_tensor *output);

/* One more operand, broadcast to the output as numpy does. */
void view_add(struct view *view, const struct plan_tensor *tensor);

void view_collapse(struct view *view);

uint64_t view_elements(const struct view *view);

/* Whether operand `operand` can be read or written `width` elements at a time along the last axis:
 * stride 1 there, all else a multiple of `width`, and `address` aligned to width x element_bytes.
 */
bool view_is_packed(const struct view *view, uint32_t operand, uint32_t width, uint64_t address,
                    uint32_t element_bytes);

#endif
