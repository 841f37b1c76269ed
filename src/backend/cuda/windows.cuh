/* What looks at an image through a window: pooling, the convolutions that cuDNN has no engine for,
 * and resizing. */

__device__ inline void position_of(const kernel_window &w, uint64_t index, uint32_t *ret_batch,
                                   uint32_t *ret_channel, int32_t *ret_at) {
  uint32_t channel = 0;
  if (w.is_channels_last) {
    channel = (uint32_t)(index % w.channels);
    index /= w.channels;
  }
  for (int axis = 2; axis >= 0; axis--) {
    ret_at[axis] = (int32_t)(index % w.to.spatial[axis]);
    index /= w.to.spatial[axis];
  }
  if (!w.is_channels_last) {
    channel = (uint32_t)(index % w.channels);
    index /= w.channels;
  }
  *ret_batch = (uint32_t)index;
  *ret_channel = channel;
}

__device__ inline int64_t image_offset(const kernel_image &image, uint32_t batch, uint32_t channel,
                                       const int32_t *at) {
  return (int64_t)batch * image.batch_stride + (int64_t)channel * image.channel_stride +
         at[0] * image.strides[0] + at[1] * image.strides[1] + at[2] * image.strides[2];
}

extern "C" __global__ void __launch_bounds__(KERNEL_THREADS)
    pool_any(const __grid_constant__ kernel_pool p) {
  const kernel_window &w = p.window;
  FOR_EACH(index, w.count) {
    uint32_t batch, channel;
    int32_t at[3], from[3];
    position_of(w, index, &batch, &channel, at);
    float best = -INFINITY, sum = 0.0f;
    int32_t held = 0, declared = 0;
    for (int32_t i = 0; i < w.kernel[0]; i++) {
      from[0] = at[0] * w.stride[0] - w.before[0] + i * w.dilation[0];
      for (int32_t j = 0; j < w.kernel[1]; j++) {
        from[1] = at[1] * w.stride[1] - w.before[1] + j * w.dilation[1];
        for (int32_t k = 0; k < w.kernel[2]; k++) {
          from[2] = at[2] * w.stride[2] - w.before[2] + k * w.dilation[2];
          declared += from[0] < p.declared_end[0] && from[1] < p.declared_end[1] &&
                      from[2] < p.declared_end[2];
          if ((uint32_t)from[0] >= w.from.spatial[0] || (uint32_t)from[1] >= w.from.spatial[1] ||
              (uint32_t)from[2] >= w.from.spatial[2]) {
            continue;
          }
          const float x =
              load_float(w.from.address, image_offset(w.from, batch, channel, from), w.type);
          held++;
          best = fmaxf(best, x);
          sum += p.kind == PLAN_POOL_LP ? (p.p == 1 ? fabsf(x) : powf(fabsf(x), (float)p.p)) : x;
        }
      }
    }
    float result = best;
    if (p.kind == PLAN_POOL_MEAN) {
      result = sum / (float)max(p.count_padding ? declared : held, 1);
    } else if (p.kind == PLAN_POOL_LP) {
      result = powf(sum, 1.0f / (float)p.p);
    }
    store_float(w.to.address, image_offset(w.to, batch, channel, at), w.type, result);
  }
}

template <typename T> struct packed;
template <> struct packed<float> {
  enum { WIDTH = 4 };
};
template <> struct packed<__half> {
  enum { WIDTH = 8 };
};

template <typename T>
__device__ inline void load_packed(const T *from, float (&v)[packed<T>::WIDTH]);

template <> __device__ inline void load_packed(const float *from, float (&v)[4]) {
  const float4 raw = *(const float4 *)from;
  v[0] = raw.x;
  v[1] = raw.y;
  v[2] = raw.z;
  v[3] = raw.w;
}

template <> __device__ inline void load_packed(const __half *from, float (&v)[8]) {
  const uint4 raw = *(const uint4 *)from;
  const __half2 *pairs = (const __half2 *)&raw;
  for (int i = 0; i < 4; i++) {
    v[2 * i] = __low2float(pairs[i]);
    v[2 * i + 1] = __high2float(pairs[i]);
  }
}

template <typename T>
__device__ inline void store_packed(T *to, const float (&v)[packed<T>::WIDTH]);

template <> __device__ inline void store_packed(float *to, const float (&v)[4]) {
  *(float4 *)to = make_float4(v[0], v[1], v[2], v[3]);
}

template <> __device__ inline void store_packed(__half *to, const float (&v)[8]) {
  __half2 pairs[4];
  for (int i = 0; i < 4; i++) {
    pairs[i] = __floats2half2_rn(v[2 * i], v[2 * i + 1]);
  }
  *(uint4 *)to = *(const uint4 *)pairs;
}

/* Two-dimensional MAX and MEAN, CHANNELS_LAST, channels and pitches a multiple of the vector: 16
 * bytes of neighbouring channels a thread. Axes 1 and 2 are the image's. */
template <typename T> __device__ inline void pool_packed(const kernel_pool &p) {
  enum { WIDTH = packed<T>::WIDTH };
  const kernel_window &w = p.window;
  const uint32_t groups = w.channels / WIDTH;
  FOR_EACH(index, w.count / WIDTH) {
    uint32_t rest = (uint32_t)index;
    const uint32_t channel = rest % groups * WIDTH;
    rest /= groups;
    const int32_t x = (int32_t)(rest % w.to.spatial[2]);
    rest /= w.to.spatial[2];
    const int32_t y = (int32_t)(rest % w.to.spatial[1]);
    const uint32_t batch = rest / w.to.spatial[1];
    float total[WIDTH];
    for (int i = 0; i < WIDTH; i++) {
      total[i] = p.kind == PLAN_POOL_MAX ? -INFINITY : 0.0f;
    }
    int32_t held = 0, declared = 0;
    const int32_t y0 = y * w.stride[1] - w.before[1], x0 = x * w.stride[2] - w.before[2];
    for (int32_t i = 0; i < w.kernel[1]; i++) {
      const int32_t from_y = y0 + i * w.dilation[1];
      for (int32_t j = 0; j < w.kernel[2]; j++) {
        const int32_t from_x = x0 + j * w.dilation[2];
        declared += from_y < p.declared_end[1] && from_x < p.declared_end[2];
        if ((uint32_t)from_y >= w.from.spatial[1] || (uint32_t)from_x >= w.from.spatial[2]) {
          continue;
        }
        held++;
        float v[WIDTH];
        load_packed((const T *)w.from.address + (int64_t)batch * w.from.batch_stride +
                        from_y * w.from.strides[1] + from_x * w.from.strides[2] + channel,
                    v);
        for (int k = 0; k < WIDTH; k++) {
          total[k] = p.kind == PLAN_POOL_MAX ? fmaxf(total[k], v[k]) : total[k] + v[k];
        }
      }
    }
    if (p.kind == PLAN_POOL_MEAN) {
      const float scale = 1.0f / (float)max(p.count_padding ? declared : held, 1);
      for (int k = 0; k < WIDTH; k++) {
        total[k] *= scale;
      }
    }
    store_packed((T *)w.to.address + (int64_t)batch * w.to.batch_stride + y * w.to.strides[1] +
                     x * w.to.strides[2] + channel,
                 total);
  }
}

extern "C" __global__ void __launch_bounds__(KERNEL_THREADS)
    pool_packed_f32(const __grid_constant__ kernel_pool p) {
  pool_packed<float>(p);
}

extern "C" __global__ void __launch_bounds__(KERNEL_THREADS)
    pool_packed_f16(const __grid_constant__ kernel_pool p) {
  pool_packed<__half>(p);
}

/* ------------------------------------------------------------------------------- convolutions */

__device__ inline float conv_finish(const kernel_conv &p, float sum, uint32_t channel,
                                    float residual) {
  const float biased = sum + (p.bias != 0 ? load_float(p.bias, channel, p.window.type) : 0.0f);
  return p.residual_last ? activate(p.activation, biased, p.alpha, p.beta) + residual
                         : activate(p.activation, biased + residual, p.alpha, p.beta);
}

extern "C" __global__ void __launch_bounds__(KERNEL_THREADS)
    conv_any(const __grid_constant__ kernel_conv p) {
  const kernel_window &w = p.window;
  FOR_EACH(index, w.count) {
    uint32_t batch, channel;
    int32_t at[3], from[3];
    position_of(w, index, &batch, &channel, at);
    const uint32_t first = channel / p.channels_out_group * p.channels_in_group;
    float sum = 0.0f;
    for (int32_t i = 0; i < w.kernel[0]; i++) {
      from[0] = at[0] * w.stride[0] - w.before[0] + i * w.dilation[0];
      for (int32_t j = 0; j < w.kernel[1]; j++) {
        from[1] = at[1] * w.stride[1] - w.before[1] + j * w.dilation[1];
        for (int32_t k = 0; k < w.kernel[2]; k++) {
          from[2] = at[2] * w.stride[2] - w.before[2] + k * w.dilation[2];
          if ((uint32_t)from[0] >= w.from.spatial[0] || (uint32_t)from[1] >= w.from.spatial[1] ||
              (uint32_t)from[2] >= w.from.spatial[2]) {
            continue;
          }
          const int64_t x = image_offset(w.from, batch, first, from);
          const int64_t y = (int64_t)channel * p.weight_strides[0] + i * p.weight_strides[2] +
                            j * p.weight_strides[3] + k * p.weight_strides[4];
          for (uint32_t c = 0; c < p.channels_in_group; c++) {
            sum = fmaf(load_float(w.from.address, x + c * w.from.channel_stride, w.type),
                       load_float(p.weights, y + c * p.weight_strides[1], w.type), sum);
          }
        }
      }
    }
    const float residual =
        p.residual.address != 0
            ? load_float(p.residual.address, image_offset(p.residual, batch, channel, at), w.type)
            : 0.0f;
    store_float(w.to.address, image_offset(w.to, batch, channel, at), w.type,
                conv_finish(p, sum, channel, residual));
  }
}

/* weights are (C, K/groups, kernel...): each output gathers what reaches it. */
extern "C" __global__ void __launch_bounds__(KERNEL_THREADS)
    conv_transpose_any(const __grid_constant__ kernel_conv p) {
  const kernel_window &w = p.window;
  FOR_EACH(index, w.count) {
    uint32_t batch, channel;
    int32_t at[3], from[3];
    position_of(w, index, &batch, &channel, at);
    const uint32_t group = channel / p.channels_out_group;
    const uint32_t inner = channel % p.channels_out_group;
    float sum = 0.0f;
    for (int32_t i = 0; i < w.kernel[0]; i++) {
      const int32_t y0 = at[0] + w.before[0] - i * w.dilation[0];
      for (int32_t j = 0; j < w.kernel[1]; j++) {
        const int32_t y1 = at[1] + w.before[1] - j * w.dilation[1];
        for (int32_t k = 0; k < w.kernel[2]; k++) {
          const int32_t y2 = at[2] + w.before[2] - k * w.dilation[2];
          from[0] = y0 / w.stride[0];
          from[1] = y1 / w.stride[1];
          from[2] = y2 / w.stride[2];
          if (y0 < 0 || y1 < 0 || y2 < 0 || from[0] * w.stride[0] != y0 ||
              from[1] * w.stride[1] != y1 || from[2] * w.stride[2] != y2 ||
              (uint32_t)from[0] >= w.from.spatial[0] || (uint32_t)from[1] >= w.from.spatial[1] ||
              (uint32_t)from[2] >= w.from.spatial[2]) {
            continue;
          }
          for (uint32_t c = 0; c < p.channels_in_group; c++) {
            const uint32_t in = group * p.channels_in_group + c;
            const int64_t y = (int64_t)in * p.weight_strides[0] +
                              (int64_t)inner * p.weight_strides[1] + i * p.weight_strides[2] +
                              j * p.weight_strides[3] + k * p.weight_strides[4];
            sum = fmaf(load_float(w.from.address, image_offset(w.from, batch, in, from), w.type),
                       load_float(p.weights, y, w.type), sum);
          }
        }
      }
    }
    const float residual =
        p.residual.address != 0
            ? load_float(p.residual.address, image_offset(p.residual, batch, channel, at), w.type)
            : 0.0f;
    store_float(w.to.address, image_offset(w.to, batch, channel, at), w.type,
                conv_finish(p, sum, channel, residual));
  }
}

/* One filter a channel, CHANNELS_LAST, two dimensions: 16 bytes of neighbouring channels a thread.
 * cuDNN's grouped engines treat each group as a product of its own and are slow here. */
template <typename T> __device__ inline void conv_depthwise(const kernel_conv &p) {
  enum { WIDTH = packed<T>::WIDTH };
  const kernel_window &w = p.window;
  const uint32_t groups = w.channels / WIDTH;
  const T *weights = (const T *)p.weights;
  FOR_EACH(index, w.count / WIDTH) {
    uint32_t rest = (uint32_t)index;
    const uint32_t channel = rest % groups * WIDTH;
    rest /= groups;
    const int32_t x = (int32_t)(rest % w.to.spatial[2]);
    rest /= w.to.spatial[2];
    const int32_t y = (int32_t)(rest % w.to.spatial[1]);
    const uint32_t batch = rest / w.to.spatial[1];
    float sum[WIDTH] = {};
    const T *image = (const T *)w.from.address + (int64_t)batch * w.from.batch_stride + channel;
    const int32_t y0 = y * w.stride[1] - w.before[1], x0 = x * w.stride[2] - w.before[2];
    for (int32_t i = 0; i < w.kernel[1]; i++) {
      const int32_t from_y = y0 + i * w.dilation[1];
      for (int32_t j = 0; j < w.kernel[2]; j++) {
        const int32_t from_x = x0 + j * w.dilation[2];
        if ((uint32_t)from_y >= w.from.spatial[1] || (uint32_t)from_x >= w.from.spatial[2]) {
          continue;
        }
        float v[WIDTH];
        load_packed(image + from_y * w.from.strides[1] + from_x * w.from.strides[2], v);
        const int64_t tap = i * p.weight_strides[3] + j * p.weight_strides[4];
        for (int k = 0; k < WIDTH; k++) {
          sum[k] = fmaf(v[k], (float)weights[(channel + k) * p.weight_strides[0] + tap], sum[k]);
        }
      }
    }
    float residual[WIDTH] = {};
    if (p.residual.address != 0) {
      load_packed((const T *)p.residual.address + (int64_t)batch * p.residual.batch_stride +
                      y * p.residual.strides[1] + x * p.residual.strides[2] + channel,
                  residual);
    }
    for (int k = 0; k < WIDTH; k++) {
      sum[k] = conv_finish(p, sum[k], channel + k, residual[k]);
    }
    store_packed((T *)w.to.address + (int64_t)batch * w.to.batch_stride + y * w.to.strides[1] +
                     x * w.to.strides[2] + channel,
                 sum);
  }
}

extern "C" __global__ void __launch_bounds__(KERNEL_THREADS)
    conv_depthwise_f32(const __grid_constant__ kernel_conv p) {
  conv_depthwise<float>(p);
}

extern "C" __global__ void __launch_bounds__(KERNEL_THREADS)
    conv_depthwise_f16(const __grid_constant__ kernel_conv p) {
  conv_depthwise<__half>(p);
}

extern "C" __global__ void __launch_bounds__(KERNEL_THREADS)
    epilogue(const __grid_constant__ kernel_epilogue p) {
  FOR_EACH(index, p.rows * p.columns) {
    const uint64_t row = index / p.columns;
    const uint32_t column = (uint32_t)(index % p.columns);
    float x = load_float(p.from, (int64_t)(row * p.from_pitch + column), p.type);
    const uint32_t channel = p.channels == 0 ? column : (uint32_t)(row % p.channels);
    x += p.bias != 0 ? load_float(p.bias, channel, p.type) : 0.0f;
    const float residual =
        p.residual != 0 ? load_float(p.residual, (int64_t)(row * p.residual_pitch + column), p.type)
                        : 0.0f;
    x = p.residual_last ? activate(p.activation, x, p.alpha, p.beta) + residual
                        : activate(p.activation, x + residual, p.alpha, p.beta);
    store_float(p.data, (int64_t)(row * p.data_pitch + column), p.type, x);
  }
}

/* ------------------------------------------------------------------------------------- resize */

struct taps {
  int32_t count;
  int32_t at[4];
  float weight[4];
};

__device__ inline float coordinate(const kernel_resize &p, uint32_t axis, uint32_t at) {
  const float in = (float)p.dims_from[axis], out = (float)p.dims_to[axis], x = (float)at;
  switch (p.coordinates) {
  case PLAN_RESIZE_HALF_PIXEL:
    return (x + 0.5f) / p.scales[axis] - 0.5f;
  case PLAN_RESIZE_PYTORCH_HALF_PIXEL:
    return p.dims_to[axis] == 1 ? 0.0f : (x + 0.5f) / p.scales[axis] - 0.5f;
  case PLAN_RESIZE_ALIGN_CORNERS:
    return p.dims_to[axis] == 1 ? 0.0f : x * (in - 1.0f) / (out - 1.0f);
  default:
    return x / p.scales[axis];
  }
}

__device__ inline float cubic(float t, float a) {
  t = fabsf(t);
  return t <= 1.0f  ? ((a + 2.0f) * t - (a + 3.0f)) * t * t + 1.0f
         : t < 2.0f ? ((a * t - 5.0f * a) * t + 8.0f * a) * t - 4.0f * a
                    : 0.0f;
}

__device__ inline taps taps_of(const kernel_resize &p, uint32_t axis, uint32_t at) {
  taps t = {1, {(int32_t)at}, {1.0f}};
  const int32_t last = (int32_t)p.dims_from[axis] - 1;
  if (p.dims_from[axis] == p.dims_to[axis] && p.scales[axis] == 1.0f) {
    return t;
  }
  const float x = coordinate(p, axis, at);
  if (p.mode == PLAN_RESIZE_NEAREST) {
    const float whole = floorf(x);
    float r = whole;
    switch (p.rounding) {
    case PLAN_ROUND_PREFER_FLOOR:
      r = x == whole + 0.5f ? whole : floorf(x + 0.5f);
      break;
    case PLAN_ROUND_PREFER_CEIL:
      r = floorf(x + 0.5f);
      break;
    case PLAN_ROUND_CEIL:
      r = ceilf(x);
      break;
    default:
      break;
    }
    t.at[0] = min(max((int32_t)r, 0), last);
    return t;
  }
  const int32_t base = (int32_t)floorf(x);
  const float f = x - (float)base;
  t.count = p.mode == PLAN_RESIZE_LINEAR ? 2 : 4;
  float sum = 0.0f;
  for (int i = 0; i < t.count; i++) {
    const int32_t where = p.mode == PLAN_RESIZE_LINEAR ? base + i : base - 1 + i;
    const float weight = p.mode == PLAN_RESIZE_LINEAR ? (i == 0 ? 1.0f - f : f)
                                                      : cubic(f + 1.0f - (float)i, p.cubic_a);
    const bool is_outside = where < 0 || where > last;
    t.weight[i] = p.exclude_outside && is_outside ? 0.0f : weight;
    t.at[i] = min(max(where, 0), last);
    sum += t.weight[i];
  }
  for (int i = 0; i < t.count && p.exclude_outside && sum != 0.0f; i++) {
    t.weight[i] /= sum;
  }
  return t;
}

/* At most three axes change their size (the host sees to it). */
extern "C" __global__ void __launch_bounds__(KERNEL_THREADS)
    resize_any(const __grid_constant__ kernel_resize p) {
  FOR_EACH(index, p.count) {
    taps t[3];
    int64_t strides[3] = {0, 0, 0};
    int changed = 0;
    int64_t from = 0, to = 0;
    uint64_t rest = index;
    for (int i = (int)p.rank - 1; i >= 0; i--) {
      const uint32_t axis = p.order[i];
      const uint32_t at = (uint32_t)(rest % p.dims_to[axis]);
      rest /= p.dims_to[axis];
      to += at * p.to_strides[axis];
      const taps here = taps_of(p, axis, at);
      if (here.count == 1 || changed == 3) {
        from += here.at[0] * p.from_strides[axis];
      } else {
        t[changed] = here;
        strides[changed] = p.from_strides[axis];
        changed++;
      }
    }
    for (int i = changed; i < 3; i++) {
      t[i].count = 1;
      t[i].at[0] = 0;
      t[i].weight[0] = 1.0f;
    }
    float sum = 0.0f;
    for (int i = 0; i < t[0].count; i++) {
      for (int j = 0; j < t[1].count; j++) {
        for (int k = 0; k < t[2].count; k++) {
          sum += t[0].weight[i] * t[1].weight[j] * t[2].weight[k] *
                 load_float(p.from,
                            from + t[0].at[i] * strides[0] + t[1].at[j] * strides[1] +
                                t[2].at[k] * strides[2],
                            p.type);
        }
      }
    }
    store_float(p.to, to, p.type, sum);
  }
}
