/* Pooling, reductions over an image, response normalisation, resizing. */
#include <math.h>

#include "backend/cpu/builder.h"

/* The layout that an operation over images is fastest with: that of its input's home, without gaps
 * between pixels. */
static dnnl_memory_desc_t layout_like(const struct builder *builder, uint32_t input,
                                      const struct plan_tensor *tensor) {
  dnnl_dims_t dims;
  desc_dims(tensor, dims);
  const bool is_blocked =
      !builder_is_weights(builder, input) && builder_home_is_blocked(builder, input);
  if (is_blocked && tensor->rank == 4) {
    return desc_blocked(dims);
  }
  struct plan_tensor dense = *tensor;
  if (builder_tensor(builder, input)->layout == PLAN_CHANNELS_LAST) {
    dense.layout = PLAN_CHANNELS_LAST;
    dense.pitch = dense.dims[1];
    return desc_plain(&dense);
  }
  return desc_rows(tensor->rank, dims, dnnl_f32);
}

struct window {
  dnnl_dims_t kernel;
  dnnl_dims_t strides;
  dnnl_dims_t dilations;
  dnnl_dims_t before;
  dnnl_dims_t after;
};

static bool emit_pool(struct builder *builder, uint32_t x, uint32_t y, dnnl_alg_kind_t kind,
                      const struct window *window) {
  const dnnl_memory_desc_t from = layout_like(builder, x, builder_tensor(builder, x));
  const dnnl_memory_desc_t to = layout_like(builder, x, builder_tensor(builder, y));
  struct post post;
  post_open(&post);
  dnnl_pooling_v2_desc_t desc;
  dnnl_primitive_desc_t primitive = NULL;
  const bool is_possible =
      dnnl_pooling_v2_forward_desc_init(&desc, dnnl_forward_inference, kind, &from, &to,
                                        window->strides, window->kernel, window->dilations,
                                        window->before, window->after) == dnnl_success &&
      dnnl_primitive_desc_create(&primitive, &desc, post_close(&post), builder->engine, NULL) ==
          dnnl_success;
  post_finish(&post);
  if (!is_possible) {
    return false;
  }
  struct arguments arguments = {.count = 0};
  arguments_add(&arguments, DNNL_ARG_SRC, builder_source(builder, x, &from));
  const struct target target = builder_target(builder, y, &to);
  arguments_add(&arguments, DNNL_ARG_DST, target.memory);
  builder_emit(builder, primitive, &arguments);
  builder_settle(builder, &target);
  return true;
}

bool lower_pool(struct builder *builder, const struct plan_op *op) {
  const struct plan_pool *pool = &op->pool;
  if (builder_tensor(builder, op->inputs[0])->type != PLAN_F32 || pool->kind == PLAN_POOL_LP) {
    return false;
  }
  struct window window;
  for (uint32_t i = 0; i < pool->spatial; i++) {
    window.kernel[i] = pool->kernel[i];
    window.strides[i] = pool->strides[i];
    window.dilations[i] = (dnnl_dim_t)pool->dilations[i] - 1;
    window.before[i] = pool->pads_before[i];
    window.after[i] = pool->pads_after[i];
    /* oneDNN divides by whole windows; ones that reach past what was declared do not count so. */
    if (pool->kind == PLAN_POOL_MEAN && pool->count_padding &&
        pool->pads_after[i] > pool->declared_pads_after[i]) {
      return false;
    }
    /* A window that holds padding alone is nobody's mean or maximum. */
    if (pool->pads_before[i] >= pool->kernel[i] || pool->pads_after[i] >= pool->kernel[i]) {
      return false;
    }
  }
  const dnnl_alg_kind_t kind = pool->kind == PLAN_POOL_MAX ? dnnl_pooling_max
                               : pool->count_padding       ? dnnl_pooling_avg_include_padding
                                                           : dnnl_pooling_avg_exclude_padding;
  return emit_pool(builder, op->inputs[0], op->outputs[0], kind, &window);
}

/* A sum over a short axis, in rows, is an addition of slices: one of them for each image of the
 * batch (what stands in front of the axis). */
enum { SLICES_MAX = 8, SLICE_SUMS_MAX = 128 };

static bool lower_short_sum(struct builder *builder, const struct plan_op *op) {
  const struct plan_tensor *x = builder_tensor(builder, op->inputs[0]);
  const uint32_t axes = op->reduce.axes;
  if (op->reduce.kind != PLAN_REDUCE_SUM || axes == 0 || (axes & (axes - 1)) != 0 ||
      op->reduce.activation.kind != PLAN_ACT_NONE || x->layout != PLAN_ROW_MAJOR ||
      builder_is_weights(builder, op->inputs[0]) ||
      builder_home_is_blocked(builder, op->inputs[0]) ||
      builder_home_is_blocked(builder, op->outputs[0]) ||
      builder_tensor(builder, op->outputs[0])->layout != PLAN_ROW_MAJOR) {
    return false;
  }
  uint64_t outer = 1;
  uint64_t inner = 1;
  const uint32_t axis = (uint32_t)__builtin_ctz(axes);
  for (uint32_t i = 0; i < x->rank; i++) {
    outer *= i < axis ? x->dims[i] : 1;
    inner *= i > axis ? x->dims[i] : 1;
  }
  const uint32_t slices = x->dims[axis];
  if (slices < 2 || slices > SLICES_MAX || outer > SLICE_SUMS_MAX) {
    return false;
  }
  struct program_area from;
  struct program_area to;
  dnnl_memory_desc_t desc;
  builder_home(builder, op->inputs[0], &from, &desc);
  builder_home(builder, op->outputs[0], &to, &desc);
  const dnnl_dims_t dims = {1, (dnnl_dim_t)inner};
  const dnnl_memory_desc_t row = desc_rows(2, dims, dnnl_f32);
  for (uint64_t i = 0; i < outer; i++) {
    struct post post;
    post_open(&post);
    struct arguments arguments = {.count = 0};
    for (uint32_t slice = 0; slice < slices; slice++) {
      struct program_area area = from;
      area.offset_bytes += (i * slices + slice) * inner * sizeof(float);
      const int name = slice == 0   ? DNNL_ARG_SRC_0
                       : slice == 1 ? DNNL_ARG_SRC_1
                                    : post_add_binary(&post, dnnl_binary_add, &row);
      arguments_add(&arguments, name, builder_memory(builder, &area, &row));
    }
    struct program_area area = to;
    area.offset_bytes += i * inner * sizeof(float);
    arguments_add(&arguments, DNNL_ARG_DST, builder_memory(builder, &area, &row));
    dnnl_binary_desc_t sum;
    dnnl_primitive_desc_t primitive = NULL;
    const bool is_possible =
        dnnl_binary_desc_init(&sum, dnnl_binary_add, &row, &row, &row) == dnnl_success &&
        dnnl_primitive_desc_create(&primitive, &sum, post_close(&post), builder->engine, NULL) ==
            dnnl_success;
    post_finish(&post);
    if (!is_possible) {
      /* The same for every image: refused at the first, when nothing was emitted. */
      return false;
    }
    builder_emit(builder, primitive, &arguments);
  }
  return true;
}

/* The mean or maximum of each channel's pixels is a pool with one window. */
bool lower_reduce(struct builder *builder, const struct plan_op *op) {
  const struct plan_tensor *x = builder_tensor(builder, op->inputs[0]);
  if (x->type == PLAN_F32 && lower_short_sum(builder, op)) {
    return true;
  }
  const bool is_over_pixels = x->rank == 4 && op->reduce.axes == 0xCU;
  const bool is_pool = op->reduce.kind == PLAN_REDUCE_MEAN || op->reduce.kind == PLAN_REDUCE_MAX;
  if (x->type != PLAN_F32 || !is_over_pixels || !is_pool ||
      op->reduce.activation.kind != PLAN_ACT_NONE) {
    return false;
  }
  struct window window = {.kernel = {0}};
  for (uint32_t i = 0; i < 2; i++) {
    window.kernel[i] = x->dims[2 + i];
    window.strides[i] = 1;
  }
  return emit_pool(builder, op->inputs[0], op->outputs[0],
                   op->reduce.kind == PLAN_REDUCE_MAX ? dnnl_pooling_max
                                                      : dnnl_pooling_avg_exclude_padding,
                   &window);
}

bool lower_lrn(struct builder *builder, const struct plan_op *op) {
  const struct plan_tensor *x = builder_tensor(builder, op->inputs[0]);
  if (x->type != PLAN_F32 || x->rank > 5) {
    return false;
  }
  const dnnl_memory_desc_t layout = layout_like(builder, op->inputs[0], x);
  struct post post;
  post_open(&post);
  dnnl_lrn_desc_t desc;
  dnnl_primitive_desc_t primitive = NULL;
  const bool is_possible =
      dnnl_lrn_forward_desc_init(&desc, dnnl_forward_inference, dnnl_lrn_across_channels, &layout,
                                 op->lrn.size, op->lrn.alpha, op->lrn.beta,
                                 op->lrn.bias) == dnnl_success &&
      dnnl_primitive_desc_create(&primitive, &desc, post_close(&post), builder->engine, NULL) ==
          dnnl_success;
  post_finish(&post);
  if (!is_possible) {
    return false;
  }
  struct arguments arguments = {.count = 0};
  arguments_add(&arguments, DNNL_ARG_SRC, builder_source(builder, op->inputs[0], &layout));
  const struct target target = builder_target(builder, op->outputs[0], &layout);
  arguments_add(&arguments, DNNL_ARG_DST, target.memory);
  builder_emit(builder, primitive, &arguments);
  builder_settle(builder, &target);
  return true;
}

/* oneDNN takes a pixel's centre for where it lies. For whole factors that gives the nearest pixel
 * of every rounding and convention but those that look at corners. */
static bool is_resize_of_library(const struct plan_op *op, const struct plan_tensor *x,
                                 const struct plan_tensor *y) {
  const struct plan_resize *resize = &op->resize;
  if (x->type != PLAN_F32 || x->rank != 4 || x->dims[0] != y->dims[0] || x->dims[1] != y->dims[1]) {
    return false;
  }
  for (uint32_t i = 2; i < 4; i++) {
    const bool is_given_scale =
        fabsf(resize->scales[i] * (float)x->dims[i] - (float)y->dims[i]) < 1e-3F;
    const bool is_whole = y->dims[i] % x->dims[i] == 0;
    if (!is_given_scale || (resize->mode == PLAN_RESIZE_NEAREST && !is_whole)) {
      return false;
    }
  }
  if (resize->mode == PLAN_RESIZE_LINEAR) {
    return resize->coordinates == PLAN_RESIZE_HALF_PIXEL && !resize->exclude_outside;
  }
  return resize->mode == PLAN_RESIZE_NEAREST &&
         ((resize->coordinates == PLAN_RESIZE_ASYMMETRIC && resize->rounding == PLAN_ROUND_FLOOR) ||
          (resize->coordinates == PLAN_RESIZE_HALF_PIXEL &&
           (resize->rounding == PLAN_ROUND_PREFER_FLOOR ||
            resize->rounding == PLAN_ROUND_PREFER_CEIL)));
}

bool lower_resize(struct builder *builder, const struct plan_op *op) {
  const struct plan_tensor *x = builder_tensor(builder, op->inputs[0]);
  const struct plan_tensor *y = builder_tensor(builder, op->outputs[0]);
  if (!is_resize_of_library(op, x, y)) {
    return false;
  }
  const dnnl_memory_desc_t from = layout_like(builder, op->inputs[0], x);
  const dnnl_memory_desc_t to = layout_like(builder, op->inputs[0], y);
  const float factors[2] = {(float)y->dims[2] / (float)x->dims[2],
                            (float)y->dims[3] / (float)x->dims[3]};
  struct post post;
  post_open(&post);
  dnnl_resampling_desc_t desc;
  dnnl_primitive_desc_t primitive = NULL;
  const bool is_possible =
      dnnl_resampling_forward_desc_init(
          &desc, dnnl_forward_inference,
          op->resize.mode == PLAN_RESIZE_LINEAR ? dnnl_resampling_linear : dnnl_resampling_nearest,
          factors, &from, &to) == dnnl_success &&
      dnnl_primitive_desc_create(&primitive, &desc, post_close(&post), builder->engine, NULL) ==
          dnnl_success;
  post_finish(&post);
  if (!is_possible) {
    return false;
  }
  struct arguments arguments = {.count = 0};
  arguments_add(&arguments, DNNL_ARG_SRC, builder_source(builder, op->inputs[0], &from));
  const struct target target = builder_target(builder, op->outputs[0], &to);
  arguments_add(&arguments, DNNL_ARG_DST, target.memory);
  builder_emit(builder, primitive, &arguments);
  builder_settle(builder, &target);
  return true;
}
