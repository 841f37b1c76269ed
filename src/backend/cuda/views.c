#include "backend/cuda/views.h"

#include <string.h>

#include "base/check.h"

void view_init(struct view *view, const struct plan_tensor *output) {
  memset(view, 0, sizeof(*view));
  view->axes = output->rank;
  memcpy(view->dims, output->dims, sizeof(view->dims));
  view_add(view, output);
}

void view_add(struct view *view, const struct plan_tensor *tensor) {
  CHECK_LT(view->operands, VIEW_OPERANDS_MAX);
  CHECK_LE(tensor->rank, view->axes);
  uint64_t strides[PLAN_RANK_MAX];
  plan_tensor_strides(tensor, strides);
  const uint32_t shift = view->axes - tensor->rank;
  for (uint32_t i = 0; i < tensor->rank; i++) {
    const bool is_broadcast = tensor->dims[i] == 1 && view->dims[i + shift] != 1;
    view->strides[view->operands][i + shift] = is_broadcast ? 0 : (int64_t)strides[i];
  }
  view->operands++;
}

static void swap_axes(struct view *view, uint32_t a, uint32_t b) {
  const uint32_t dim = view->dims[a];
  view->dims[a] = view->dims[b];
  view->dims[b] = dim;
  for (uint32_t i = 0; i < view->operands; i++) {
    const int64_t stride = view->strides[i][a];
    view->strides[i][a] = view->strides[i][b];
    view->strides[i][b] = stride;
  }
}

static void remove_axis(struct view *view, uint32_t axis) {
  for (uint32_t j = axis; j + 1 < view->axes; j++) {
    swap_axes(view, j, j + 1);
  }
  view->axes--;
}

static bool is_mergeable(const struct view *view, uint32_t axis) {
  for (uint32_t i = 0; i < view->operands; i++) {
    if (view->strides[i][axis] != view->strides[i][axis + 1] * (int64_t)view->dims[axis + 1]) {
      return false;
    }
  }
  return (uint64_t)view->dims[axis] * view->dims[axis + 1] <= UINT32_MAX;
}

void view_collapse(struct view *view) {
  for (uint32_t i = 0; i < view->axes;) {
    if (view->dims[i] == 1) {
      remove_axis(view, i);
    } else {
      i++;
    }
  }
  for (uint32_t i = 1; i < view->axes; i++) {
    for (uint32_t j = i; j > 0 && view->strides[0][j - 1] < view->strides[0][j]; j--) {
      swap_axes(view, j - 1, j);
    }
  }
  for (uint32_t i = 0; i + 1 < view->axes;) {
    if (is_mergeable(view, i)) {
      view->dims[i + 1] *= view->dims[i];
      remove_axis(view, i);
    } else {
      i++;
    }
  }
  if (view->axes == 0) {
    view->axes = 1;
    view->dims[0] = 1;
    for (uint32_t i = 0; i < view->operands; i++) {
      view->strides[i][0] = 0;
    }
  }
}

uint64_t view_elements(const struct view *view) {
  uint64_t elements = 1;
  for (uint32_t i = 0; i < view->axes; i++) {
    elements *= view->dims[i];
  }
  return elements;
}

bool view_is_packed(const struct view *view, uint32_t operand, uint32_t width, uint64_t address,
                    uint32_t element_bytes) {
  const uint32_t last = view->axes - 1;
  if (view->dims[last] % width != 0 || view->strides[operand][last] != 1 ||
      address % ((uint64_t)width * element_bytes) != 0) {
    return false;
  }
  for (uint32_t i = 0; i < last; i++) {
    if (view->strides[operand][i] % (int64_t)width != 0) {
      return false;
    }
  }
  return true;
}
