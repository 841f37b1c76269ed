/* What looks at whole rows: reductions, softmax, normalisations, and the product that no library
 * call fits. */

struct add_float {
  __device__ float operator()(float a, float b) const {
    return a + b;
  }
};

struct max_float {
  __device__ float operator()(float a, float b) const {
    return fmaxf(a, b);
  }
};

/* ---------------------------------------------------------------------------------- reduction */

struct reduced {
  double real;
  int64_t whole;
  int64_t index;
};

__device__ inline reduced reduce_neutral(const kernel_reduce &p) {
  reduced r = {0.0, 0, INT64_MAX};
  switch (p.kind) {
  case PLAN_REDUCE_MAX:
  case PLAN_REDUCE_ARG_MAX:
  case PLAN_REDUCE_LOG_SUM_EXP:
    r.real = -INFINITY;
    r.whole = INT64_MIN;
    break;
  case PLAN_REDUCE_MIN:
  case PLAN_REDUCE_ARG_MIN:
    r.real = INFINITY;
    r.whole = INT64_MAX;
    break;
  case PLAN_REDUCE_PROD:
    r.real = 1.0;
    r.whole = 1;
    break;
  default:
    break;
  }
  return r;
}

__device__ inline reduced reduce_combine(const kernel_reduce &p, reduced a, reduced b) {
  const bool real = is_real(p.type);
  switch (p.kind) {
  case PLAN_REDUCE_MAX:
    a.real = a.real != a.real || a.real > b.real ? a.real : b.real;
    a.whole = max(a.whole, b.whole);
    return a;
  case PLAN_REDUCE_MIN:
    a.real = a.real != a.real || a.real < b.real ? a.real : b.real;
    a.whole = min(a.whole, b.whole);
    return a;
  case PLAN_REDUCE_PROD:
    a.real *= b.real;
    a.whole *= b.whole;
    return a;
  case PLAN_REDUCE_ARG_MAX:
  case PLAN_REDUCE_ARG_MIN: {
    const bool is_max = p.kind == PLAN_REDUCE_ARG_MAX;
    const int order =
        real ? (a.real > b.real) - (a.real < b.real) : (a.whole > b.whole) - (a.whole < b.whole);
    if (a.index == INT64_MAX || b.index == INT64_MAX) {
      return a.index == INT64_MAX ? b : a;
    }
    if (order == 0) {
      return (a.index < b.index) != (p.last_index != 0) ? a : b;
    }
    return (order > 0) == is_max ? a : b;
  }
  case PLAN_REDUCE_LOG_SUM_EXP: /* real: the maximum so far; whole is unused; index: see below */
    return a;
  default:
    a.real += b.real;
    a.whole += b.whole;
    return a;
  }
}

__device__ inline reduced reduce_load(const kernel_reduce &p, int64_t base, uint64_t i) {
  const int64_t at = base + offset_of(i, p.reduced_axes, p.reduced_dims, p.reduced_strides);
  const number n = load_number(p.from, at, p.type);
  reduced r = {n.real, n.whole, (int64_t)i};
  switch (p.kind) {
  case PLAN_REDUCE_L1:
    r.real = fabs(r.real);
    r.whole = r.whole < 0 ? -r.whole : r.whole;
    break;
  case PLAN_REDUCE_L2:
  case PLAN_REDUCE_SUM_SQUARE:
    r.real *= r.real;
    r.whole *= r.whole;
    break;
  default:
    break;
  }
  return r;
}

__device__ inline void reduce_store(const kernel_reduce &p, uint64_t output, reduced r) {
  const int64_t at = offset_of(output, p.axes, p.dims, p.to_strides);
  if (p.kind == PLAN_REDUCE_ARG_MAX || p.kind == PLAN_REDUCE_ARG_MIN) {
    ((int64_t *)p.to)[at] = r.index;
    return;
  }
  switch (p.kind) {
  case PLAN_REDUCE_MEAN:
    r.real /= (double)p.reduced;
    r.whole /= (int64_t)p.reduced;
    break;
  case PLAN_REDUCE_L2:
    r.real = sqrt(r.real);
    r.whole = (int64_t)sqrt((double)r.whole);
    break;
  case PLAN_REDUCE_LOG_SUM:
    r.real = log(r.real);
    break;
  default:
    break;
  }
  if (p.activation != PLAN_ACT_NONE) {
    r.real = activate(p.activation, (float)r.real, p.alpha, p.beta);
  }
  const number n = {r.real, r.whole};
  store_number(p.to, at, p.type, n);
}

/* A warp an output; any kind and type. */
extern "C" __global__ void __launch_bounds__(KERNEL_THREADS)
    reduce_any(const __grid_constant__ kernel_reduce p) {
  const uint32_t lane_index = threadIdx.x % 32;
  const uint64_t warps = (uint64_t)gridDim.x * (blockDim.x / 32);
  for (uint64_t output = (uint64_t)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
       output < p.outputs; output += warps) {
    const int64_t base = offset_of(output, p.axes, p.dims, p.from_strides);
    reduced total = reduce_neutral(p);
    if (p.kind == PLAN_REDUCE_LOG_SUM_EXP) {
      double best = -INFINITY, sum = 0.0;
      for (uint64_t i = lane_index; i < p.reduced; i += 32) {
        best = fmax(best, reduce_load(p, base, i).real);
      }
      for (int width = 16; width > 0; width /= 2) {
        best = fmax(best, __shfl_xor_sync(0xffffffffu, best, width));
      }
      const double shift = isinf(best) ? 0.0 : best;
      for (uint64_t i = lane_index; i < p.reduced; i += 32) {
        sum += exp(reduce_load(p, base, i).real - shift);
      }
      for (int width = 16; width > 0; width /= 2) {
        sum += __shfl_xor_sync(0xffffffffu, sum, width);
      }
      total.real = log(sum) + shift;
    } else {
      for (uint64_t i = lane_index; i < p.reduced; i += 32) {
        total = reduce_combine(p, total, reduce_load(p, base, i));
      }
      for (int width = 16; width > 0; width /= 2) {
        reduced other;
        other.real = __shfl_xor_sync(0xffffffffu, total.real, width);
        other.whole = __shfl_xor_sync(0xffffffffu, total.whole, width);
        other.index = __shfl_xor_sync(0xffffffffu, total.index, width);
        total = reduce_combine(p, total, other);
      }
    }
    if (lane_index == 0) {
      reduce_store(p, output, total);
    }
  }
}

/* SUM and MEAN of single and half precision where neighbouring outputs are neighbours in memory
 * (an image's mean, CHANNELS_LAST): 32 outputs by 8 parts of the sum a block. */
extern "C" __global__ void __launch_bounds__(KERNEL_THREADS)
    reduce_columns(const __grid_constant__ kernel_reduce p) {
  __shared__ float parts[8][33];
  const uint32_t column = threadIdx.x % 32, part = threadIdx.x / 32;
  for (uint64_t first = (uint64_t)blockIdx.x * 32; first < p.outputs;
       first += (uint64_t)gridDim.x * 32) {
    const uint64_t output = first + column;
    float sum = 0.0f;
    if (output < p.outputs) {
      const int64_t base = offset_of(output, p.axes, p.dims, p.from_strides);
      if (p.reduced_axes == 1) {
#pragma unroll 4
        for (uint64_t i = part; i < p.reduced; i += 8) {
          sum += load_float(p.from, base + (int64_t)i * p.reduced_strides[0], p.type);
        }
      } else {
        for (uint64_t i = part; i < p.reduced; i += 8) {
          sum += load_float(p.from,
                            base + offset_of(i, p.reduced_axes, p.reduced_dims, p.reduced_strides),
                            p.type);
        }
      }
    }
    parts[part][column] = sum;
    __syncthreads();
    if (part == 0 && output < p.outputs) {
      for (int i = 1; i < 8; i++) {
        sum += parts[i][column];
      }
      store_float(p.to, offset_of(output, p.axes, p.dims, p.to_strides), p.to_type,
                  activate(p.activation, sum / p.divisor, p.alpha, p.beta));
    }
    __syncthreads();
  }
}

/* ------------------------------------------------------------------------------------ softmax */

extern "C" __global__ void __launch_bounds__(KERNEL_THREADS)
    softmax_rows(const __grid_constant__ kernel_softmax p) {
  for (uint64_t row = blockIdx.x; row < p.rows; row += gridDim.x) {
    const int64_t base = (int64_t)(row / p.inner * p.inner * p.length + row % p.inner);
    const int64_t stride = (int64_t)p.inner;
    float best = -INFINITY;
    for (uint32_t i = threadIdx.x; i < p.length; i += blockDim.x) {
      best = fmaxf(best, load_float(p.from, base + i * stride, p.type));
    }
    best = reduce_block(best, max_float(), -INFINITY);
    if (p.hard) {
      float first = INFINITY; /* rows are shorter than 2^24 */
      for (uint32_t i = threadIdx.x; i < p.length; i += blockDim.x) {
        if (load_float(p.from, base + i * stride, p.type) == best) {
          first = fminf(first, (float)i);
        }
      }
      first = -reduce_block(-first, max_float(), -INFINITY);
      for (uint32_t i = threadIdx.x; i < p.length; i += blockDim.x) {
        store_float(p.to, base + i * stride, p.type, (float)i == first ? 1.0f : 0.0f);
      }
      continue;
    }
    float sum = 0.0f;
    for (uint32_t i = threadIdx.x; i < p.length; i += blockDim.x) {
      sum += __expf(load_float(p.from, base + i * stride, p.type) - best);
    }
    sum = reduce_block(sum, add_float(), 0.0f);
    const float log_sum = logf(sum), scale = 1.0f / sum;
    for (uint32_t i = threadIdx.x; i < p.length; i += blockDim.x) {
      const float x = load_float(p.from, base + i * stride, p.type) - best;
      store_float(p.to, base + i * stride, p.type, p.logarithm ? x - log_sum : __expf(x) * scale);
    }
  }
}

/* LAYER_NORM and GROUP_NORM: a block a row. */
extern "C" __global__ void __launch_bounds__(KERNEL_THREADS)
    normalize_rows(const __grid_constant__ kernel_norm p) {
  for (uint64_t row = blockIdx.x; row < p.rows; row += gridDim.x) {
    const int64_t base = (int64_t)(row * p.length);
    float sum = 0.0f;
    for (uint64_t i = threadIdx.x; i < p.length && !p.rms; i += blockDim.x) {
      sum += load_float(p.from, base + (int64_t)i, p.type);
    }
    const float mean = p.rms ? 0.0f : reduce_block(sum, add_float(), 0.0f) / (float)p.length;
    float squares = 0.0f;
    for (uint64_t i = threadIdx.x; i < p.length; i += blockDim.x) {
      const float d = load_float(p.from, base + (int64_t)i, p.type) - mean;
      squares += d * d;
    }
    squares = reduce_block(squares, add_float(), 0.0f);
    const float scale = rsqrtf(squares / (float)p.length + p.epsilon);
    for (uint64_t i = threadIdx.x; i < p.length; i += blockDim.x) {
      const int64_t weight =
          p.groups == 0 ? (int64_t)i
                        : (int64_t)(row % p.groups * p.group_channels + i / p.channel_length);
      float x = (load_float(p.from, base + (int64_t)i, p.type) - mean) * scale;
      x *= p.scale != 0 ? load_float(p.scale, weight, p.type) : 1.0f;
      x += p.shift != 0 ? load_float(p.shift, weight, p.type) : 0.0f;
      store_float(p.to, base + (int64_t)i, p.type, x);
    }
  }
}

extern "C" __global__ void __launch_bounds__(KERNEL_THREADS)
    lrn_any(const __grid_constant__ kernel_lrn p) {
  FOR_EACH(index, p.count) {
    uint32_t channel;
    int64_t base_from, base_to, step_from;
    if (p.from_pitch != 0) {
      channel = (uint32_t)(index % p.channels);
      base_from = (int64_t)(index / p.channels * p.from_pitch);
      base_to = (int64_t)(index / p.channels * p.to_pitch) + channel;
      step_from = 1;
    } else {
      channel = (uint32_t)(index / p.inner % p.channels);
      base_from = (int64_t)(index - channel * p.inner);
      base_to = (int64_t)index;
      step_from = (int64_t)p.inner;
    }
    const int32_t low = (int32_t)channel - (int32_t)((p.size - 1) / 2);
    const int32_t high = (int32_t)channel + (int32_t)(p.size / 2);
    float squares = 0.0f;
    for (int32_t c = max(low, 0); c <= min(high, (int32_t)p.channels - 1); c++) {
      const float x = load_float(p.from, base_from + c * step_from, p.type);
      squares += x * x;
    }
    const float x = load_float(p.from, base_from + channel * step_from, p.type);
    store_float(p.to, base_to, p.type,
                x / powf(p.bias + p.alpha / (float)p.size * squares, p.beta));
  }
}

extern "C" __global__ void __launch_bounds__(KERNEL_THREADS)
    matmul_any(const __grid_constant__ kernel_matmul p) {
  const uint64_t area = (uint64_t)p.m * p.n;
  FOR_EACH(index, p.batches * area) {
    const uint64_t batch = index / area;
    const uint32_t row = (uint32_t)(index % area / p.n), column = (uint32_t)(index % p.n);
    const int64_t a =
        (p.axes != 0 ? offset_of(batch, p.axes, p.dims, p.a_strides) : 0) + row * p.a_row;
    const int64_t b =
        (p.axes != 0 ? offset_of(batch, p.axes, p.dims, p.b_strides) : 0) + column * p.b_column;
    number out = {0.0, 0};
    if (p.type == PLAN_F64) {
      double sum = 0.0;
      for (uint32_t k = 0; k < p.k; k++) {
        sum += ((const double *)p.a)[a + k * p.a_column] * ((const double *)p.b)[b + k * p.b_row];
      }
      sum *= (double)p.scale;
      sum += p.bias != 0 ? ((const double *)p.bias)[column] : 0.0;
      sum += p.residual != 0 ? ((const double *)p.residual)[index] : 0.0;
      out.real = p.activation == PLAN_ACT_NONE
                     ? sum
                     : (double)activate(p.activation, (float)sum, p.alpha, p.beta);
    } else {
      float sum = 0.0f;
      for (uint32_t k = 0; k < p.k; k++) {
        sum = fmaf(load_float(p.a, a + k * p.a_column, p.type),
                   load_float(p.b, b + k * p.b_row, p.type), sum);
      }
      sum *= p.scale;
      sum += p.bias != 0 ? load_float(p.bias, column, p.type) : 0.0f;
      sum += p.residual != 0 ? load_float(p.residual, (int64_t)index, p.type) : 0.0f;
      out.real = activate(p.activation, sum, p.alpha, p.beta);
    }
    store_number(p.to, (int64_t)index, p.type, out);
  }
}
