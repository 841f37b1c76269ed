/* Images to another size. */
#include <math.h>
#include <string.h>

#include "compiler/lowering.h"

static uint32_t resize(struct node *node, uint32_t x, const struct plan_resize *attributes,
                       const uint32_t *dims) {
  struct graph *graph = node->graph;
  const struct graph_value in = *graph_value(graph, x);
  if (memcmp(in.dims, dims, in.rank * sizeof(dims[0])) == 0) {
    return x; /* every coordinate maps to itself */
  }
  node_check_rank(node, x, 3, 5);
  const uint32_t out = graph_add_value(graph, in.type, in.rank, dims);
  struct graph_op *op = graph_add_op(graph, PLAN_OP_RESIZE, 1, &x, 1, &out);
  op->plan.resize = *attributes;
  graph_finish_op(graph, op);
  return out;
}

static enum plan_resize_mode read_mode(struct node *node) {
  const char *mode = node_text(node, "mode", "nearest");
  if (strcmp(mode, "nearest") == 0) {
    return PLAN_RESIZE_NEAREST;
  }
  if (strcmp(mode, "linear") == 0 || strcmp(mode, "bilinear") == 0) {
    return PLAN_RESIZE_LINEAR;
  }
  if (strcmp(mode, "cubic") == 0) {
    return PLAN_RESIZE_CUBIC;
  }
  node_unsupported(node, "mode '%s' is not supported", mode);
}

static void read_manner(struct node *node, struct plan_resize *ret) {
  static const struct {
    const char *name;
    enum plan_resize_coordinates value;
  } COORDINATES[] = {{"half_pixel", PLAN_RESIZE_HALF_PIXEL},
                     {"pytorch_half_pixel", PLAN_RESIZE_PYTORCH_HALF_PIXEL},
                     {"align_corners", PLAN_RESIZE_ALIGN_CORNERS},
                     {"asymmetric", PLAN_RESIZE_ASYMMETRIC}};
  static const struct {
    const char *name;
    enum plan_resize_rounding value;
  } ROUNDINGS[] = {{"round_prefer_floor", PLAN_ROUND_PREFER_FLOOR},
                   {"round_prefer_ceil", PLAN_ROUND_PREFER_CEIL},
                   {"floor", PLAN_ROUND_FLOOR},
                   {"ceil", PLAN_ROUND_CEIL}};
  const char *coordinates = node_text(node, "coordinate_transformation_mode", "half_pixel");
  const char *rounding = node_text(node, "nearest_mode", "round_prefer_floor");
  for (uint32_t i = 0; i < 4; i++) {
    if (strcmp(coordinates, COORDINATES[i].name) == 0) {
      ret->coordinates = COORDINATES[i].value;
    }
    if (strcmp(rounding, ROUNDINGS[i].name) == 0) {
      ret->rounding = ROUNDINGS[i].value;
    }
  }
  if (ret->coordinates == 0 || ret->rounding == 0) {
    node_unsupported(node,
                     "coordinate_transformation_mode '%s' or nearest_mode '%s' is not supported",
                     coordinates, rounding);
  }
  if (node_flag(node, "antialias", false)) {
    node_unsupported(node, "antialias is not supported");
  }
  ret->cubic_a = node_float(node, "cubic_coeff_a", -0.75F);
  ret->exclude_outside = node_flag(node, "exclude_outside", false);
}

/* Numbers of input `index`, one for each axis that takes part. */
static bool read_numbers(struct node *node, uint32_t index, const char *what, uint32_t count,
                         double *ret_numbers) {
  if (!node_has_input(node, index)) {
    return false;
  }
  const uint32_t value = node_constant(node, index, what);
  const uint64_t given = graph_elements(node->graph, value);
  if (given == 0) {
    return false;
  }
  if (given != count) {
    node_malformed(node, "its %s has %llu numbers; %u are needed", what, (unsigned long long)given,
                   count);
  }
  for (uint32_t i = 0; i < count; i++) {
    ret_numbers[i] = graph_number_at(node->graph, value, i);
  }
  return true;
}

static void set_scales(struct node *node, const struct graph_value *in, uint32_t count,
                       const uint32_t *axes, const double *scales, struct plan_resize *plan,
                       uint32_t *dims) {
  for (uint32_t i = 0; i < count; i++) {
    const double size = floor((double)in->dims[axes[i]] * scales[i]);
    if (!(scales[i] > 0) || !(size >= 1) || !(size < INT32_MAX)) {
      node_malformed(node, "a scale gives no size");
    }
    if (plan->coordinates == PLAN_RESIZE_ALIGN_CORNERS &&
        size < (double)in->dims[axes[i]] * scales[i]) {
      /* Runtimes differ in whether the corner that is aligned is the cut size's. */
      node_unsupported(node, "align_corners with a scale that gives no whole size; give sizes");
    }
    plan->scales[axes[i]] = (float)scales[i];
    dims[axes[i]] = (uint32_t)size;
  }
}

/* keep_aspect_ratio_policy: one scale for all axes. */
static void set_sizes(struct node *node, const struct graph_value *in, uint32_t count,
                      const uint32_t *axes, const double *sizes, struct plan_resize *plan,
                      uint32_t *dims) {
  const char *policy = node_text(node, "keep_aspect_ratio_policy", "stretch");
  const bool larger = strcmp(policy, "not_smaller") == 0;
  const bool stretch = strcmp(policy, "stretch") == 0;
  double common = 0;
  for (uint32_t i = 0; i < count; i++) {
    if (!(sizes[i] >= 1) || !(sizes[i] < INT32_MAX)) {
      node_malformed(node, "a size is out of range");
    }
    const double scale = sizes[i] / (double)in->dims[axes[i]];
    common = i == 0 || (larger ? scale > common : scale < common) ? scale : common;
  }
  for (uint32_t i = 0; i < count; i++) {
    const double scale = stretch ? sizes[i] / (double)in->dims[axes[i]] : common;
    plan->scales[axes[i]] = (float)scale;
    dims[axes[i]] = stretch ? (uint32_t)sizes[i]
                            : node_size(node, llround((double)in->dims[axes[i]] * scale), "a size");
  }
}

static void lower_resize(struct node *node) {
  const uint32_t x = node_input(node, 0);
  const struct graph_value in = *graph_value(node->graph, x);
  struct plan_resize plan = {.mode = read_mode(node)};
  uint32_t dims[PLAN_RANK_MAX];
  uint32_t mask = 0;
  uint32_t count = in.rank;
  uint32_t axes[PLAN_RANK_MAX] = {0, 1, 2, 3, 4, 5, 6, 7};
  double numbers[PLAN_RANK_MAX];
  memcpy(dims, in.dims, sizeof(dims));
  for (uint32_t i = 0; i < PLAN_RANK_MAX; i++) {
    plan.scales[i] = 1.0F;
  }
  if (node->opset < 11) {
    plan.coordinates = PLAN_RESIZE_ASYMMETRIC;
    plan.rounding = PLAN_ROUND_FLOOR;
    plan.cubic_a = -0.75F;
    if (!read_numbers(node, 1, "scales", count, numbers)) {
      node_malformed(node, "lacks its scales");
    }
    set_scales(node, &in, count, axes, numbers, &plan, dims);
  } else {
    read_manner(node, &plan);
    if (node->opset >= 18 && node_has(node, "axes")) {
      (void)node_axes(node, UINT32_MAX, in.rank, &mask, &count, axes);
    }
    if (read_numbers(node, 2, "scales", count, numbers)) {
      set_scales(node, &in, count, axes, numbers, &plan, dims);
    } else if (read_numbers(node, 3, "sizes", count, numbers)) {
      set_sizes(node, &in, count, axes, numbers, &plan, dims);
    } else {
      node_malformed(node, "has neither scales nor sizes");
    }
  }
  node->outputs[0] = resize(node, x, &plan, dims);
}

static void lower_upsample(struct node *node) {
  const uint32_t x = node_input(node, 0);
  const struct graph_value in = *graph_value(node->graph, x);
  struct plan_resize plan = {.mode = read_mode(node),
                             .coordinates = PLAN_RESIZE_ASYMMETRIC,
                             .rounding = PLAN_ROUND_FLOOR,
                             .cubic_a = -0.75F};
  uint32_t dims[PLAN_RANK_MAX];
  static const uint32_t AXES[PLAN_RANK_MAX] = {0, 1, 2, 3, 4, 5, 6, 7};
  double numbers[PLAN_RANK_MAX];
  memcpy(dims, in.dims, sizeof(dims));
  if (node->opset < 9) {
    const Onnx__AttributeProto *scales = node_attribute(node, "scales");
    if (scales == NULL || scales->n_floats != in.rank) {
      node_malformed(node, "its scales don't fit rank %u", in.rank);
    }
    for (uint32_t i = 0; i < in.rank; i++) {
      numbers[i] = (double)scales->floats[i];
    }
  } else if (!read_numbers(node, 1, "scales", in.rank, numbers)) {
    node_malformed(node, "lacks its scales");
  }
  set_scales(node, &in, in.rank, AXES, numbers, &plan, dims);
  node->outputs[0] = resize(node, x, &plan, dims);
}

static const struct operator_line LINES[] = {
    {"", "Resize", 10, 0, lower_resize, 0},
    {"", "Upsample", 7, 9, lower_upsample, 0},
    {0},
};

const struct operator_family OPERATORS_RESIZE = {"resizing", LINES};
