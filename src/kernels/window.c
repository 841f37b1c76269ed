/* Windows over images: convolutions, pools, resizing, neighbouring channels. */
#include <math.h>
#include <string.h>

#include "kernels/private.h"

/* Of neighbours: several sums at once, because an addition takes a few cycles to come out. */
static double dot_dense(const float *x, const float *y, uint64_t count) {
  enum { SUMS = 8 };
  double sums[SUMS] = {0};
  uint64_t i = 0;
  for (; i + SUMS <= count; i += SUMS) {
    for (uint64_t s = 0; s < SUMS; s++) {
      sums[s] += (double)x[i + s] * (double)y[i + s];
    }
  }
  for (; i < count; i++) {
    sums[i % SUMS] += (double)x[i] * (double)y[i];
  }
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

/* Sum over `count` pairs that lie `a_stride` and `b_stride` elements apart. */
static double dot(enum plan_type type, const void *a, uint64_t a_at, uint64_t a_stride,
                  const void *b, uint64_t b_at, uint64_t b_stride, uint64_t count) {
  double sum = 0;
  if (type == PLAN_F32) {
    const float *x = (const float *)a + a_at;
    const float *y = (const float *)b + b_at;
    if (a_stride == 1 && b_stride == 1) {
      return dot_dense(x, y, count);
    }
    for (uint64_t i = 0; i < count; i++) {
      sum += (double)x[i * a_stride] * (double)y[i * b_stride];
    }
    return sum;
  }
  for (uint64_t i = 0; i < count; i++) {
    sum += element_load(type, a, a_at + i * a_stride) * element_load(type, b, b_at + i * b_stride);
  }
  return sum;
}

static double bias_of(const struct kernel *k, uint32_t channel) {
  return kernel_has_input(k, 2) ? element_load(kernel_in(k, 2)->type, kernel_in_data(k, 2), channel)
                                : 0;
}

/* What follows the sum: residual and activation in their order. */
static void finish(const struct kernel *k, uint32_t rank, const uint32_t *at, uint64_t out_offset,
                   double sum) {
  const struct plan_conv *conv = &k->op->conv;
  const struct plan_tensor *out = kernel_out(k, 0);
  double residual = 0;
  if (kernel_has_input(k, 3)) {
    uint64_t strides[PLAN_RANK_MAX];
    plan_tensor_strides(kernel_in(k, 3), strides);
    residual = element_load(out->type, kernel_in_data(k, 3), element_offset(rank, at, strides));
  }
  const double result = conv->residual_last ? element_activate(&conv->activation, sum) + residual
                                            : element_activate(&conv->activation, sum + residual);
  element_store(out->type, kernel_out_data(k, 0), out_offset, result);
}

void kernel_conv(const struct kernel *k) {
  const struct plan_conv *conv = &k->op->conv;
  const struct plan_tensor *in = kernel_in(k, 0);
  const struct plan_tensor *weights = kernel_in(k, 1);
  const struct plan_tensor *out = kernel_out(k, 0);
  uint64_t in_strides[PLAN_RANK_MAX];
  uint64_t weight_strides[PLAN_RANK_MAX];
  uint64_t out_strides[PLAN_RANK_MAX];
  plan_tensor_strides(in, in_strides);
  plan_tensor_strides(weights, weight_strides);
  plan_tensor_strides(out, out_strides);
  const uint32_t group_channels = weights->dims[1];
  const uint32_t group_filters = weights->dims[0] / conv->groups;
  uint64_t taps = 1;
  for (uint32_t i = 0; i < conv->spatial; i++) {
    taps *= weights->dims[2 + i];
  }
  const struct element_range range = element_part(plan_tensor_elements(out), k->part, k->parts);
  for (uint64_t index = range.begin; index < range.end; index++) {
    uint32_t at[PLAN_RANK_MAX];
    element_coordinates(out, index, at);
    const uint64_t channel = (uint64_t)(at[1] / group_filters) * group_channels;
    double sum = bias_of(k, at[1]);
    for (uint64_t tap = 0; tap < taps; tap++) {
      uint64_t in_at = at[0] * in_strides[0] + channel * in_strides[1];
      uint64_t weight_at = at[1] * weight_strides[0];
      uint64_t rest = tap;
      bool inside = true;
      for (uint32_t i = conv->spatial; i-- > 0;) {
        const uint32_t r = (uint32_t)(rest % weights->dims[2 + i]);
        rest /= weights->dims[2 + i];
        const int64_t x = (int64_t)at[2 + i] * conv->strides[i] + (int64_t)r * conv->dilations[i] -
                          conv->pads_before[i];
        inside &= x >= 0 && x < (int64_t)in->dims[2 + i];
        in_at += (uint64_t)(inside ? x : 0) * in_strides[2 + i];
        weight_at += r * weight_strides[2 + i];
      }
      if (inside) {
        sum += dot(in->type, kernel_in_data(k, 0), in_at, in_strides[1], kernel_in_data(k, 1),
                   weight_at, weight_strides[1], group_channels);
      }
    }
    finish(k, out->rank, at, element_offset(out->rank, at, out_strides), sum);
  }
}

/* Backwards: which input pixel and tap come to this output pixel. */
void kernel_conv_transpose(const struct kernel *k) {
  const struct plan_conv *conv = &k->op->conv;
  const struct plan_tensor *in = kernel_in(k, 0);
  const struct plan_tensor *weights = kernel_in(k, 1);
  const struct plan_tensor *out = kernel_out(k, 0);
  uint64_t in_strides[PLAN_RANK_MAX];
  uint64_t weight_strides[PLAN_RANK_MAX];
  uint64_t out_strides[PLAN_RANK_MAX];
  plan_tensor_strides(in, in_strides);
  plan_tensor_strides(weights, weight_strides);
  plan_tensor_strides(out, out_strides);
  const uint32_t group_channels = in->dims[1] / conv->groups;
  const uint32_t group_filters = weights->dims[1];
  uint64_t taps = 1;
  for (uint32_t i = 0; i < conv->spatial; i++) {
    taps *= weights->dims[2 + i];
  }
  const struct element_range range = element_part(plan_tensor_elements(out), k->part, k->parts);
  for (uint64_t index = range.begin; index < range.end; index++) {
    uint32_t at[PLAN_RANK_MAX];
    element_coordinates(out, index, at);
    const uint64_t channel = (uint64_t)(at[1] / group_filters) * group_channels;
    double sum = bias_of(k, at[1]);
    for (uint64_t tap = 0; tap < taps; tap++) {
      uint64_t in_at = at[0] * in_strides[0] + channel * in_strides[1];
      uint64_t weight_at =
          channel * weight_strides[0] + (at[1] % group_filters) * weight_strides[1];
      uint64_t rest = tap;
      bool inside = true;
      for (uint32_t i = conv->spatial; i-- > 0;) {
        const uint32_t r = (uint32_t)(rest % weights->dims[2 + i]);
        rest /= weights->dims[2 + i];
        const int64_t from =
            (int64_t)at[2 + i] + conv->pads_before[i] - (int64_t)r * conv->dilations[i];
        const int64_t x = from / conv->strides[i];
        inside &= from >= 0 && from % conv->strides[i] == 0 && x < (int64_t)in->dims[2 + i];
        in_at += (uint64_t)(inside ? x : 0) * in_strides[2 + i];
        weight_at += r * weight_strides[2 + i];
      }
      if (inside) {
        sum += dot(in->type, kernel_in_data(k, 0), in_at, in_strides[1], kernel_in_data(k, 1),
                   weight_at, weight_strides[0], group_channels);
      }
    }
    finish(k, out->rank, at, element_offset(out->rank, at, out_strides), sum);
  }
}

/* How many taps of a mean's windows count: those within the padded image, as it was declared. */
static uint64_t declared_taps(const struct plan_pool *pool, const struct plan_tensor *in,
                              const uint32_t *at) {
  uint64_t taps = 1;
  for (uint32_t i = 0; i < pool->spatial; i++) {
    const int64_t begin = (int64_t)at[2 + i] * pool->strides[i] - pool->pads_before[i];
    const int64_t end = (int64_t)in->dims[2 + i] + pool->declared_pads_after[i];
    uint64_t count = 0;
    for (uint32_t r = 0; r < pool->kernel[i]; r++) {
      count += begin + (int64_t)r * pool->dilations[i] < end;
    }
    taps *= count;
  }
  return taps;
}

static double pool_one(const struct kernel *k, const uint32_t *at, const uint64_t *strides) {
  const struct plan_pool *pool = &k->op->pool;
  const struct plan_tensor *in = kernel_in(k, 0);
  double result = pool->kind == PLAN_POOL_MAX ? (double)-INFINITY : 0;
  uint64_t taps = 1;
  uint64_t counted = 0;
  for (uint32_t i = 0; i < pool->spatial; i++) {
    taps *= pool->kernel[i];
  }
  for (uint64_t tap = 0; tap < taps; tap++) {
    uint64_t in_at = at[0] * strides[0] + at[1] * strides[1];
    uint64_t rest = tap;
    bool inside = true;
    for (uint32_t i = pool->spatial; i-- > 0;) {
      const uint32_t r = (uint32_t)(rest % pool->kernel[i]);
      rest /= pool->kernel[i];
      const int64_t x = (int64_t)at[2 + i] * pool->strides[i] + (int64_t)r * pool->dilations[i] -
                        pool->pads_before[i];
      inside &= x >= 0 && x < (int64_t)in->dims[2 + i];
      in_at += (uint64_t)(inside ? x : 0) * strides[2 + i];
    }
    if (!inside) {
      continue;
    }
    const double x = element_load(in->type, kernel_in_data(k, 0), in_at);
    counted++;
    if (pool->kind == PLAN_POOL_MAX) {
      result = x > result || isnan(x) ? x : result;
    } else {
      result += pool->kind == PLAN_POOL_MEAN ? x : pow(fabs(x), pool->p);
    }
  }
  if (pool->kind == PLAN_POOL_LP) {
    return pow(result, 1.0 / pool->p);
  }
  if (pool->kind == PLAN_POOL_MEAN) {
    const uint64_t divisor = pool->count_padding ? declared_taps(pool, in, at) : counted;
    return divisor == 0 ? 0 : result / (double)divisor;
  }
  return result;
}

void kernel_pool(const struct kernel *k) {
  const struct plan_tensor *out = kernel_out(k, 0);
  uint64_t in_strides[PLAN_RANK_MAX];
  uint64_t out_strides[PLAN_RANK_MAX];
  plan_tensor_strides(kernel_in(k, 0), in_strides);
  plan_tensor_strides(out, out_strides);
  const struct element_range range = element_part(plan_tensor_elements(out), k->part, k->parts);
  for (uint64_t index = range.begin; index < range.end; index++) {
    uint32_t at[PLAN_RANK_MAX];
    element_coordinates(out, index, at);
    element_store(out->type, kernel_out_data(k, 0), element_offset(out->rank, at, out_strides),
                  pool_one(k, at, in_strides));
  }
}

void kernel_lrn(const struct kernel *k) {
  const struct plan_lrn *lrn = &k->op->lrn;
  const struct plan_tensor *in = kernel_in(k, 0);
  const struct plan_tensor *out = kernel_out(k, 0);
  uint64_t in_strides[PLAN_RANK_MAX];
  uint64_t out_strides[PLAN_RANK_MAX];
  plan_tensor_strides(in, in_strides);
  plan_tensor_strides(out, out_strides);
  const struct element_range range = element_part(plan_tensor_elements(out), k->part, k->parts);
  for (uint64_t index = range.begin; index < range.end; index++) {
    uint32_t at[PLAN_RANK_MAX];
    element_coordinates(out, index, at);
    const uint64_t own = element_offset(in->rank, at, in_strides);
    const int64_t first = (int64_t)at[1] - (lrn->size - 1) / 2;
    double squares = 0;
    for (int64_t c = first; c < first + (int64_t)lrn->size; c++) {
      if (c >= 0 && c < (int64_t)in->dims[1]) {
        const double x = element_load(in->type, kernel_in_data(k, 0),
                                      own - at[1] * in_strides[1] + (uint64_t)c * in_strides[1]);
        squares += x * x;
      }
    }
    const double base = (double)lrn->bias + (double)lrn->alpha / lrn->size * squares;
    element_store(out->type, kernel_out_data(k, 0), element_offset(out->rank, at, out_strides),
                  element_load(in->type, kernel_in_data(k, 0), own) / pow(base, (double)lrn->beta));
  }
}

/* Up to four places along one axis and their weights. */
struct taps {
  uint32_t count;
  uint32_t at[4];
  double weight[4];
};

static double source_of(const struct plan_resize *resize, uint32_t x, uint32_t in, uint32_t out,
                        double scale) {
  switch (resize->coordinates) {
  case PLAN_RESIZE_ALIGN_CORNERS:
    return out > 1 ? (double)x * (in - 1) / (out - 1) : 0;
  case PLAN_RESIZE_ASYMMETRIC:
    return x / scale;
  case PLAN_RESIZE_PYTORCH_HALF_PIXEL:
    return out > 1 ? (x + 0.5) / scale - 0.5 : 0;
  default:
    return (x + 0.5) / scale - 0.5;
  }
}

static double nearest(enum plan_resize_rounding rounding, double x) {
  switch (rounding) {
  case PLAN_ROUND_FLOOR:
    return floor(x);
  case PLAN_ROUND_CEIL:
    return ceil(x);
  case PLAN_ROUND_PREFER_CEIL:
    return floor(x + 0.5);
  default:
    return ceil(x - 0.5);
  }
}

static uint32_t hold(double x, uint32_t in) {
  return x < 0 ? 0 : x > in - 1 ? in - 1 : (uint32_t)x;
}

static double cubic_weight(double a, double distance) {
  const double d = fabs(distance);
  return d <= 1  ? ((a + 2) * d - (a + 3)) * d * d + 1
         : d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
                 : 0;
}

static void find_taps(const struct plan_resize *resize, uint32_t axis, uint32_t x, uint32_t in,
                      uint32_t out, struct taps *taps) {
  const double scale = (double)resize->scales[axis];
  const double from = source_of(resize, x, in, out, scale);
  *taps = (struct taps){.count = 1, .at = {x < in ? x : in - 1}, .weight = {1}};
  if (in == out && fabs(from - x) < 1e-9) {
    return;
  }
  if (resize->mode == PLAN_RESIZE_NEAREST) {
    taps->at[0] = hold(nearest(resize->rounding, from), in);
    return;
  }
  if (resize->mode == PLAN_RESIZE_LINEAR) {
    const double held = fmin(fmax(from, 0), in - 1);
    taps->count = 2;
    taps->at[0] = hold(floor(held), in);
    taps->at[1] = hold(floor(held) + 1, in);
    taps->weight[1] = held - floor(held);
    taps->weight[0] = 1 - taps->weight[1];
    return;
  }
  double sum = 0;
  taps->count = 4;
  for (uint32_t i = 0; i < 4; i++) {
    const double place = floor(from) - 1 + i;
    const bool outside = place < 0 || place > in - 1;
    taps->at[i] = hold(place, in);
    taps->weight[i] = outside && resize->exclude_outside
                          ? 0
                          : cubic_weight((double)resize->cubic_a, from - place);
    sum += taps->weight[i];
  }
  for (uint32_t i = 0; resize->exclude_outside && i < 4; i++) {
    taps->weight[i] /= sum;
  }
}

void kernel_resize(const struct kernel *k) {
  const struct plan_resize *resize = &k->op->resize;
  const struct plan_tensor *in = kernel_in(k, 0);
  const struct plan_tensor *out = kernel_out(k, 0);
  uint64_t in_strides[PLAN_RANK_MAX];
  uint64_t out_strides[PLAN_RANK_MAX];
  plan_tensor_strides(in, in_strides);
  plan_tensor_strides(out, out_strides);
  const struct element_range range = element_part(plan_tensor_elements(out), k->part, k->parts);
  for (uint64_t index = range.begin; index < range.end; index++) {
    uint32_t at[PLAN_RANK_MAX];
    struct taps taps[PLAN_RANK_MAX];
    uint64_t combinations = 1;
    element_coordinates(out, index, at);
    for (uint32_t axis = 0; axis < out->rank; axis++) {
      find_taps(resize, axis, at[axis], in->dims[axis], out->dims[axis], &taps[axis]);
      combinations *= taps[axis].count;
    }
    double sum = 0;
    for (uint64_t c = 0; c < combinations; c++) {
      uint64_t rest = c;
      uint64_t offset = 0;
      double weight = 1;
      for (uint32_t axis = 0; axis < out->rank; axis++) {
        const uint32_t tap = (uint32_t)(rest % taps[axis].count);
        rest /= taps[axis].count;
        offset += taps[axis].at[tap] * in_strides[axis];
        weight *= taps[axis].weight[tap];
      }
      sum += weight * element_load(in->type, kernel_in_data(k, 0), offset);
    }
    element_store(out->type, kernel_out_data(k, 0), element_offset(out->rank, at, out_strides),
                  sum);
  }
}
