/* POINTWISE: the small program of a plan, run per element.
 *
 * pointwise_float: all floats in single precision, four elements a thread where they lie side by
 * side, so that one decoded step serves four. A program in which each step takes at most the value
 * just before it (most do) keeps it in registers. pointwise_any: every type, one element at a time.
 */

enum { VALUES = PLAN_POINTWISE_STEPS };

__device__ inline float scalar_float(const kernel_step &s, float a, float b, float c) {
  switch (s.scalar) {
  case PLAN_S_ADD:
    return a + b;
  case PLAN_S_SUB:
    return a - b;
  case PLAN_S_MUL:
    return a * b;
  case PLAN_S_DIV:
    return a / b;
  case PLAN_S_MOD: {
    const float m = fmodf(a, b);
    return m != 0.0f && (m < 0.0f) != (b < 0.0f) ? m + b : m;
  }
  case PLAN_S_FMOD:
    return fmodf(a, b);
  case PLAN_S_POW:
    return b == 2.0f ? a * a : powf(a, b);
  case PLAN_S_MIN:
    return a != a ? a : b != b ? b : fminf(a, b);
  case PLAN_S_MAX:
    return a != a ? a : b != b ? b : fmaxf(a, b);
  case PLAN_S_NEG:
    return -a;
  case PLAN_S_ABS:
    return fabsf(a);
  case PLAN_S_SIGN:
    return a > 0.0f ? 1.0f : a < 0.0f ? -1.0f : a;
  case PLAN_S_FLOOR:
    return floorf(a);
  case PLAN_S_CEIL:
    return ceilf(a);
  case PLAN_S_ROUND:
    return rintf(a);
  case PLAN_S_SQRT:
    return sqrtf(a);
  case PLAN_S_RECIPROCAL:
    return 1.0f / a;
  case PLAN_S_EXP:
    return expf(a);
  case PLAN_S_LOG:
    return logf(a);
  case PLAN_S_SIN:
    return sinf(a);
  case PLAN_S_COS:
    return cosf(a);
  case PLAN_S_TAN:
    return tanf(a);
  case PLAN_S_ASIN:
    return asinf(a);
  case PLAN_S_ACOS:
    return acosf(a);
  case PLAN_S_ATAN:
    return atanf(a);
  case PLAN_S_SINH:
    return sinhf(a);
  case PLAN_S_COSH:
    return coshf(a);
  case PLAN_S_TANH:
    return tanhf(a);
  case PLAN_S_ASINH:
    return asinhf(a);
  case PLAN_S_ACOSH:
    return acoshf(a);
  case PLAN_S_ATANH:
    return atanhf(a);
  case PLAN_S_ERF:
    return erff(a);
  case PLAN_S_ACTIVATION:
    return activate(s.activation, a, s.alpha, s.beta);
  case PLAN_S_SOFTPLUS:
    return a > 0.0f ? a + log1pf(expf(-a)) : log1pf(expf(a));
  case PLAN_S_SOFTSIGN:
    return a / (1.0f + fabsf(a));
  case PLAN_S_SELU:
    return s.beta * (a < 0.0f ? s.alpha * expm1f(a) : a);
  case PLAN_S_FMA:
    return fmaf(a, b, c);
  default: /* COPY and casts between floats */
    return a;
  }
}

template <int WIDTH> struct lane { float v[WIDTH]; };

template <int WIDTH>
__device__ inline lane<WIDTH> load_lane(const kernel_operand &in, int64_t offset) {
  lane<WIDTH> r;
  if (WIDTH == 4 && in.is_contiguous) {
    if (in.type == PLAN_F16) {
      const uint2 raw = *(const uint2 *)((const __half *)in.address + offset);
      const __half2 low = *(const __half2 *)&raw.x;
      const __half2 high = *(const __half2 *)&raw.y;
      r.v[0] = __low2float(low);
      r.v[1 % WIDTH] = __high2float(low);
      r.v[2 % WIDTH] = __low2float(high);
      r.v[3 % WIDTH] = __high2float(high);
    } else {
      const float4 raw = *(const float4 *)((const float *)in.address + offset);
      r.v[0] = raw.x;
      r.v[1 % WIDTH] = raw.y;
      r.v[2 % WIDTH] = raw.z;
      r.v[3 % WIDTH] = raw.w;
    }
  } else { /* one value for all of them */
    const float value = load_float(in.address, offset, in.type);
    for (int i = 0; i < WIDTH; i++) {
      r.v[i] = value;
    }
  }
  return r;
}

template <int WIDTH>
__device__ inline void store_lane(uint64_t to, int64_t offset, uint32_t type,
                                  const lane<WIDTH> &value) {
  if (WIDTH == 4 && type == PLAN_F16) {
    __half2 pair[2] = {__floats2half2_rn(value.v[0], value.v[1 % WIDTH]),
                       __floats2half2_rn(value.v[2 % WIDTH], value.v[3 % WIDTH])};
    *(uint2 *)((__half *)to + offset) = *(const uint2 *)pair;
  } else if (WIDTH == 4) {
    *(float4 *)((float *)to + offset) =
        make_float4(value.v[0], value.v[1 % WIDTH], value.v[2 % WIDTH], value.v[3 % WIDTH]);
  } else {
    store_float(to, offset, type, value.v[0]);
  }
}

template <int WIDTH, bool CHAIN> __device__ inline void pointwise_run(const kernel_pointwise &p) {
  FOR_EACH(group, p.count) {
    const uint64_t index = group * WIDTH;
    lane<WIDTH> values[CHAIN ? 1 : VALUES];
    lane<WIDTH> previous;
    for (uint32_t i = 0; i < p.steps_count; i++) {
      const kernel_step &step = p.steps[i];
      lane<WIDTH> operands[3];
#pragma unroll
      for (int k = 0; k < 3; k++) {
        const uint8_t from = step.operands[k];
        if (from == KERNEL_OPERAND_PREVIOUS) {
          operands[k] = previous;
        } else if (from == KERNEL_OPERAND_NUMBER) {
          for (int j = 0; j < WIDTH; j++) {
            operands[k].v[j] = (float)step.numbers[k];
          }
        } else if (from == KERNEL_OPERAND_NONE) {
          operands[k] = lane<WIDTH>();
        } else if (from >= KERNEL_OPERAND_INPUT) {
          const kernel_operand &in = p.inputs[from - KERNEL_OPERAND_INPUT];
          operands[k] = load_lane<WIDTH>(in, offset_of(index, p.axes, p.dims, in.strides));
        } else if (!CHAIN) {
          operands[k] = values[from];
        }
      }
      for (int j = 0; j < WIDTH; j++) {
        previous.v[j] = scalar_float(step, operands[0].v[j], operands[1].v[j], operands[2].v[j]);
      }
      if (!CHAIN) {
        values[i] = previous;
      }
    }
    store_lane<WIDTH>(p.to, offset_of(index, p.axes, p.dims, p.to_strides), p.to_type, previous);
  }
}

extern "C" __global__ void __launch_bounds__(KERNEL_THREADS)
    pointwise_float(const __grid_constant__ kernel_pointwise p) {
  pointwise_run<1, false>(p);
}

extern "C" __global__ void __launch_bounds__(KERNEL_THREADS)
    pointwise_float_chain(const __grid_constant__ kernel_pointwise p) {
  pointwise_run<1, true>(p);
}

extern "C" __global__ void __launch_bounds__(KERNEL_THREADS)
    pointwise_float4(const __grid_constant__ kernel_pointwise p) {
  pointwise_run<4, false>(p);
}

extern "C" __global__ void __launch_bounds__(KERNEL_THREADS)
    pointwise_float4_chain(const __grid_constant__ kernel_pointwise p) {
  pointwise_run<4, true>(p);
}

/* -------------------------------------------------------------------------------- every type */

__device__ inline int64_t saturate(double x, uint32_t type) {
  double low = -9223372036854775808.0, high = 9223372036854775807.0;
  switch (type) {
  case PLAN_I8:
    low = -128.0, high = 127.0;
    break;
  case PLAN_I16:
    low = -32768.0, high = 32767.0;
    break;
  case PLAN_I32:
    low = -2147483648.0, high = 2147483647.0;
    break;
  case PLAN_U8:
    low = 0.0, high = 255.0;
    break;
  case PLAN_U16:
    low = 0.0, high = 65535.0;
    break;
  case PLAN_U32:
    low = 0.0, high = 4294967295.0;
    break;
  case PLAN_U64:
    low = 0.0;
    break;
  default:
    break;
  }
  return x != x ? 0 : x <= low ? (int64_t)low : x >= high ? (int64_t)high : (int64_t)x;
}

/* As the type holds it. */
__device__ inline double round_real(double x, uint32_t type) {
  return type == PLAN_F32   ? (double)(float)x
         : type == PLAN_F16 ? (double)__half2float(__double2half(x))
                            : x;
}

__device__ inline number cast_number(number a, uint32_t from, uint32_t to, bool saturates) {
  number r = {0.0, 0};
  if (to == PLAN_BOOL) {
    r.whole = is_real(from) ? a.real != 0.0 : a.whole != 0;
  } else if (is_real(to)) {
    r.real = round_real(is_real(from)      ? a.real
                        : from == PLAN_U64 ? (double)(uint64_t)a.whole
                                           : (double)a.whole,
                        to);
  } else if (is_real(from)) {
    const double whole = trunc(a.real);
    r.whole = saturates ? saturate(whole, to) : a.real != a.real ? 0 : wrap((int64_t)whole, to);
  } else {
    r.whole = saturates && from != PLAN_U64 ? saturate((double)a.whole, to) : wrap(a.whole, to);
  }
  return r;
}

__device__ inline double scalar_double(const kernel_step &s, double a, double b, double c) {
  switch (s.scalar) {
  case PLAN_S_ADD:
    return a + b;
  case PLAN_S_SUB:
    return a - b;
  case PLAN_S_MUL:
    return a * b;
  case PLAN_S_DIV:
    return a / b;
  case PLAN_S_POW:
    return pow(a, b);
  case PLAN_S_FMA:
    return fma(a, b, c);
  case PLAN_S_MIN:
    return a != a ? a : b != b ? b : fmin(a, b);
  case PLAN_S_MAX:
    return a != a ? a : b != b ? b : fmax(a, b);
  case PLAN_S_NEG:
    return -a;
  case PLAN_S_ABS:
    return fabs(a);
  case PLAN_S_FLOOR:
    return floor(a);
  case PLAN_S_CEIL:
    return ceil(a);
  case PLAN_S_ROUND:
    return rint(a);
  case PLAN_S_SQRT:
    return sqrt(a);
  case PLAN_S_EXP:
    return exp(a);
  case PLAN_S_LOG:
    return log(a);
  case PLAN_S_ERF:
    return erf(a);
  case PLAN_S_TANH:
    return tanh(a);
  case PLAN_S_SIN:
    return sin(a);
  case PLAN_S_COS:
    return cos(a);
  case PLAN_S_FMOD:
    return fmod(a, b);
  case PLAN_S_COPY:
    return a;
  default:
    return (double)scalar_float(s, (float)a, (float)b, (float)c);
  }
}

__device__ inline int64_t scalar_whole(const kernel_step &s, int64_t a, int64_t b, bool is_signed) {
  const uint64_t ua = (uint64_t)a, ub = (uint64_t)b;
  switch (s.scalar) {
  case PLAN_S_ADD:
    return (int64_t)(ua + ub);
  case PLAN_S_SUB:
    return (int64_t)(ua - ub);
  case PLAN_S_MUL:
    return (int64_t)(ua * ub);
  case PLAN_S_DIV:
    return b == 0 ? 0 : is_signed ? (b == -1 ? (int64_t)(0 - ua) : a / b) : (int64_t)(ua / ub);
  case PLAN_S_FMOD:
  case PLAN_S_MOD: {
    if (b == 0 || (is_signed && b == -1)) {
      return 0;
    }
    if (!is_signed) {
      return (int64_t)(ua % ub);
    }
    const int64_t m = a % b;
    return s.scalar == PLAN_S_MOD && m != 0 && (m < 0) != (b < 0) ? m + b : m;
  }
  case PLAN_S_POW: {
    if (b < 0) {
      return a == 1 ? 1 : a == -1 ? (b % 2 == 0 ? 1 : -1) : 0;
    }
    uint64_t result = 1, base = ua;
    for (uint64_t left = ub; left > 0; left >>= 1) {
      result *= left & 1 ? base : 1;
      base *= base;
    }
    return (int64_t)result;
  }
  case PLAN_S_MIN:
    return is_signed ? (a < b ? a : b) : (ua < ub ? a : b);
  case PLAN_S_MAX:
    return is_signed ? (a > b ? a : b) : (ua > ub ? a : b);
  case PLAN_S_NEG:
    return (int64_t)(0 - ua);
  case PLAN_S_ABS:
    return is_signed && a < 0 ? (int64_t)(0 - ua) : a;
  case PLAN_S_SIGN:
    return is_signed ? (a > 0) - (a < 0) : a != 0;
  case PLAN_S_BIT_AND:
    return a & b;
  case PLAN_S_BIT_OR:
    return a | b;
  case PLAN_S_BIT_XOR:
    return a ^ b;
  case PLAN_S_BIT_NOT:
    return ~a;
  default:
    return a;
  }
}

__device__ inline int64_t shift(const kernel_step &s, int64_t a, int64_t b, uint32_t bits,
                                bool is_signed) {
  if (b < 0 || b >= bits) {
    return 0;
  }
  if (s.scalar == PLAN_S_SHIFT_LEFT) {
    return (int64_t)((uint64_t)a << b);
  }
  return is_signed ? a >> b : (int64_t)((uint64_t)a >> b);
}

__device__ inline bool compare(uint32_t scalar, int order, bool is_unordered) {
  switch (scalar) {
  case PLAN_S_EQUAL:
    return !is_unordered && order == 0;
  case PLAN_S_LESS:
    return !is_unordered && order < 0;
  case PLAN_S_LESS_EQUAL:
    return !is_unordered && order <= 0;
  case PLAN_S_GREATER:
    return !is_unordered && order > 0;
  default:
    return !is_unordered && order >= 0;
  }
}

__device__ inline uint32_t bits_of(uint32_t type) {
  switch (type) {
  case PLAN_I8:
  case PLAN_U8:
    return 8;
  case PLAN_I16:
  case PLAN_U16:
    return 16;
  case PLAN_I32:
  case PLAN_U32:
    return 32;
  default:
    return 64;
  }
}

__device__ number step_any(const kernel_step &s, number a, number b, number c) {
  const uint32_t type = s.compute_type;
  const bool real = is_real(type);
  const bool is_signed = type >= PLAN_I8 && type <= PLAN_I64;
  number r = {0.0, 0};
  if (s.scalar == PLAN_S_CAST || s.scalar == PLAN_S_CAST_SATURATE) {
    r = cast_number(a, s.operand_type, type, s.scalar == PLAN_S_CAST_SATURATE);
  } else if (s.scalar == PLAN_S_SELECT) {
    r = a.whole != 0 ? b : c;
  } else if (s.scalar >= PLAN_S_EQUAL && s.scalar <= PLAN_S_GREATER_EQUAL) {
    const int order =
        real ? (a.real > b.real) - (a.real < b.real)
        : is_signed || type == PLAN_BOOL
            ? (a.whole > b.whole) - (a.whole < b.whole)
            : ((uint64_t)a.whole > (uint64_t)b.whole) - ((uint64_t)a.whole < (uint64_t)b.whole);
    r.whole = compare(s.scalar, order, real && (a.real != a.real || b.real != b.real));
  } else if (s.scalar == PLAN_S_AND) {
    r.whole = a.whole != 0 && b.whole != 0;
  } else if (s.scalar == PLAN_S_OR) {
    r.whole = a.whole != 0 || b.whole != 0;
  } else if (s.scalar == PLAN_S_XOR) {
    r.whole = (a.whole != 0) != (b.whole != 0);
  } else if (s.scalar == PLAN_S_NOT) {
    r.whole = a.whole == 0;
  } else if (s.scalar == PLAN_S_IS_NAN) {
    r.whole = a.real != a.real;
  } else if (s.scalar == PLAN_S_IS_INF) {
    const bool positive = s.alpha != 0.0f, negative = s.beta != 0.0f;
    r.whole = isinf(a.real) && (positive == negative || (a.real > 0.0 ? positive : negative));
  } else if (real) {
    r.real = type == PLAN_F64
                 ? scalar_double(s, a.real, b.real, c.real)
                 : (double)scalar_float(s, (float)a.real, (float)b.real, (float)c.real);
  } else if (s.scalar == PLAN_S_SHIFT_LEFT || s.scalar == PLAN_S_SHIFT_RIGHT) {
    r.whole = wrap(shift(s, a.whole, b.whole, bits_of(type), is_signed), type);
  } else if (s.scalar == PLAN_S_FMA) {
    r.whole = wrap((int64_t)((uint64_t)a.whole * (uint64_t)b.whole + (uint64_t)c.whole), type);
  } else {
    r.whole = wrap(scalar_whole(s, a.whole, b.whole, is_signed), type);
  }
  return r;
}

extern "C" __global__ void __launch_bounds__(KERNEL_THREADS)
    pointwise_any(const __grid_constant__ kernel_pointwise p) {
  FOR_EACH(index, p.count) {
    number values[VALUES];
    for (uint32_t i = 0; i < p.steps_count; i++) {
      const kernel_step &step = p.steps[i];
      number operands[3];
      for (int k = 0; k < 3; k++) {
        const uint8_t from = step.operands[k];
        operands[k].real = round_real(step.numbers[k], step.compute_type);
        operands[k].whole = (int64_t)step.numbers[k];
        if (from == KERNEL_OPERAND_PREVIOUS) {
          operands[k] = values[i - 1];
        } else if (from < VALUES) {
          operands[k] = values[from];
        } else if (from >= KERNEL_OPERAND_INPUT && from < KERNEL_OPERAND_PREVIOUS) {
          const kernel_operand &in = p.inputs[from - KERNEL_OPERAND_INPUT];
          operands[k] =
              load_number(in.address, offset_of(index, p.axes, p.dims, in.strides), in.type);
        }
      }
      values[i] = step_any(step, operands[0], operands[1], operands[2]);
    }
    store_number(p.to, offset_of(index, p.axes, p.dims, p.to_strides), p.to_type,
                 values[p.steps_count - 1]);
  }
}
