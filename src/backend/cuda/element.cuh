/* Elements as numbers, and the scalar functions that several kernels share. */
#include <cuda_fp16.h>

#include "backend/cuda/kernel_parameters.h"

__device__ inline float load_float(uint64_t address, int64_t index, uint32_t type) {
  return type == PLAN_F16 ? __half2float(((const __half *)address)[index])
                          : ((const float *)address)[index];
}

__device__ inline void store_float(uint64_t address, int64_t index, uint32_t type, float value) {
  if (type == PLAN_F16) {
    ((__half *)address)[index] = __float2half_rn(value);
  } else {
    ((float *)address)[index] = value;
  }
}

/* Any type as a double or a 64-bit integer. */
struct number {
  double real;
  int64_t whole;
};

__host__ __device__ inline bool is_real(uint32_t type) {
  return type == PLAN_F32 || type == PLAN_F16 || type == PLAN_F64;
}

__device__ inline number load_number(uint64_t address, int64_t index, uint32_t type) {
  number n = {0.0, 0};
  switch (type) {
  case PLAN_F32:
    n.real = ((const float *)address)[index];
    break;
  case PLAN_F16:
    n.real = __half2float(((const __half *)address)[index]);
    break;
  case PLAN_F64:
    n.real = ((const double *)address)[index];
    break;
  case PLAN_I8:
    n.whole = ((const int8_t *)address)[index];
    break;
  case PLAN_I16:
    n.whole = ((const int16_t *)address)[index];
    break;
  case PLAN_I32:
    n.whole = ((const int32_t *)address)[index];
    break;
  case PLAN_I64:
  case PLAN_U64:
    n.whole = ((const int64_t *)address)[index];
    break;
  case PLAN_U16:
    n.whole = ((const uint16_t *)address)[index];
    break;
  case PLAN_U32:
    n.whole = ((const uint32_t *)address)[index];
    break;
  default:
    n.whole = ((const uint8_t *)address)[index];
    break;
  }
  return n;
}

__device__ inline void store_number(uint64_t address, int64_t index, uint32_t type, number n) {
  switch (type) {
  case PLAN_F32:
    ((float *)address)[index] = (float)n.real;
    break;
  case PLAN_F16:
    ((__half *)address)[index] = __double2half(n.real);
    break;
  case PLAN_F64:
    ((double *)address)[index] = n.real;
    break;
  case PLAN_I16:
  case PLAN_U16:
    ((int16_t *)address)[index] = (int16_t)n.whole;
    break;
  case PLAN_I32:
  case PLAN_U32:
    ((int32_t *)address)[index] = (int32_t)n.whole;
    break;
  case PLAN_I64:
  case PLAN_U64:
    ((int64_t *)address)[index] = n.whole;
    break;
  default:
    ((int8_t *)address)[index] = (int8_t)n.whole;
    break;
  }
}

/* An integer as its own type holds it: wrapped, sign or zero extended. */
__device__ inline int64_t wrap(int64_t whole, uint32_t type) {
  switch (type) {
  case PLAN_I8:
    return (int8_t)whole;
  case PLAN_I16:
    return (int16_t)whole;
  case PLAN_I32:
    return (int32_t)whole;
  case PLAN_U8:
    return (uint8_t)whole;
  case PLAN_U16:
    return (uint16_t)whole;
  case PLAN_U32:
    return (uint32_t)whole;
  case PLAN_BOOL:
    return whole != 0;
  default:
    return whole;
  }
}

__device__ inline float sigmoid(float x) {
  return 1.0f / (1.0f + __expf(-x));
}

/* plan.h says what each is. */
__device__ inline float activate(uint32_t kind, float x, float alpha, float beta) {
  switch (kind) {
  case PLAN_ACT_RELU:
    return x < 0.0f ? 0.0f : x; /* NaN stays */
  case PLAN_ACT_CLIP:
    return fminf(fmaxf(x, alpha), beta);
  case PLAN_ACT_LEAKY_RELU:
    return x < 0.0f ? alpha * x : x;
  case PLAN_ACT_SIGMOID:
    return sigmoid(x);
  case PLAN_ACT_SWISH:
    return x * sigmoid(x);
  case PLAN_ACT_HARD_SIGMOID:
    return fminf(fmaxf(alpha * x + beta, 0.0f), 1.0f);
  case PLAN_ACT_HARD_SWISH:
    return x * fminf(fmaxf(x / 6.0f + 0.5f, 0.0f), 1.0f);
  case PLAN_ACT_TANH:
    return tanhf(x);
  case PLAN_ACT_GELU_ERF:
    return x * (1.0f + erff(x * 0.70710678f)) * 0.5f;
  case PLAN_ACT_GELU_TANH:
    return 0.5f * x * (1.0f + tanhf(0.79788456f * (x + 0.044715f * x * x * x)));
  case PLAN_ACT_ELU:
    return x < 0.0f ? alpha * expm1f(x) : x;
  default:
    return x;
  }
}

/* Where element `index` lies, its axes' positions times `strides`. */
__device__ inline int64_t offset_of(uint64_t index, uint32_t axes, const uint32_t *dims,
                                    const int64_t *strides) {
  int64_t offset = 0;
  if (index <= UINT32_MAX) { /* nearly always, and 32-bit division is far cheaper */
    uint32_t rest = (uint32_t)index;
    for (int axis = (int)axes - 1; axis > 0; axis--) {
      const uint32_t up = rest / dims[axis];
      offset += (int64_t)(rest - up * dims[axis]) * strides[axis];
      rest = up;
    }
    return offset + (int64_t)rest * strides[0];
  }
  for (int axis = (int)axes - 1; axis > 0; axis--) {
    offset += (int64_t)(index % dims[axis]) * strides[axis];
    index /= dims[axis];
  }
  return offset + (int64_t)index * strides[0];
}

/* The loop of every kernel that takes elements one by one. */
#define FOR_EACH(index, count)                                                                     \
  for (uint64_t index = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x; index < (count);          \
       index += (uint64_t)gridDim.x * blockDim.x)

/* Sum, or maximum, over a block of at most 1,024 threads; the same in all of them. */
template <typename T, typename F> __device__ inline T reduce_block(T value, F combine, T neutral) {
  __shared__ T partial[33];
  for (int width = 16; width > 0; width /= 2) {
    value = combine(value, __shfl_xor_sync(0xffffffffu, value, width));
  }
  __syncthreads(); /* of an earlier call's readers */
  if (threadIdx.x % 32 == 0) {
    partial[threadIdx.x / 32] = value;
  }
  __syncthreads();
  if (threadIdx.x < 32) {
    T v = threadIdx.x < (blockDim.x + 31) / 32 ? partial[threadIdx.x] : neutral;
    for (int width = 16; width > 0; width /= 2) {
      v = combine(v, __shfl_xor_sync(0xffffffffu, v, width));
    }
    if (threadIdx.x == 0) {
      partial[32] = v;
    }
  }
  __syncthreads();
  return partial[32];
}
