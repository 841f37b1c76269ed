/* Programs over blocks of elements: each step makes an array of results, so that the loops inside
 * are short and plain. Axes are ordered as the output lies and joined where no tensor breaks off,
 * so most programs are one long run.
 */
#include <math.h>
#include <string.h>

#include "kernels/pointwise.h"

enum { BLOCK = POINTWISE_BLOCK };

union number {
  double real;
  int64_t whole;
};

size_t kernel_pointwise_scratch_bytes(const struct plan_op *op) {
  const size_t any_type =
      (op->pointwise.steps_count + 3 * (size_t)1) * BLOCK * sizeof(union number);
  const size_t floats = pointwise_float_scratch_bytes(op);
  return any_type > floats ? any_type : floats;
}

static bool is_bool_step(enum plan_scalar scalar) {
  return (scalar >= PLAN_S_EQUAL && scalar <= PLAN_S_NOT) || scalar == PLAN_S_IS_NAN ||
         scalar == PLAN_S_IS_INF;
}

static bool can_join(const struct pointwise_axis *outer, const struct pointwise_axis *inner,
                     uint32_t inputs) {
  bool joins = outer->out == inner->out * inner->count;
  for (uint32_t i = 0; i < inputs; i++) {
    joins &= outer->in[i] == inner->in[i] * inner->count;
  }
  return joins;
}

static void plan_loop(const struct kernel *k, struct pointwise_loop *loop) {
  const struct plan_tensor *out = kernel_out(k, 0);
  const uint32_t inputs = k->op->inputs_count;
  uint64_t strides[PLAN_RANK_MAX];
  struct pointwise_axis axes[PLAN_RANK_MAX];
  uint32_t rank = 0;
  plan_tensor_strides(out, strides);
  for (uint32_t a = 0; a < out->rank; a++) {
    if (out->dims[a] > 1) {
      axes[rank] = (struct pointwise_axis){.count = out->dims[a], .out = strides[a]};
      for (uint32_t i = 0; i < inputs; i++) {
        const struct plan_tensor *in = kernel_in(k, i);
        uint64_t in_strides[PLAN_RANK_MAX];
        const uint32_t missing = out->rank - in->rank;
        plan_tensor_strides(in, in_strides);
        axes[rank].in[i] = a >= missing && in->dims[a - missing] > 1 ? in_strides[a - missing] : 0;
      }
      rank++;
    }
  }
  for (uint32_t a = 1; a < rank; a++) { /* by falling output stride */
    for (uint32_t b = a; b > 0 && axes[b].out > axes[b - 1].out; b--) {
      const struct pointwise_axis swap = axes[b];
      axes[b] = axes[b - 1];
      axes[b - 1] = swap;
    }
  }
  loop->rank = 0;
  for (uint32_t a = 0; a < rank; a++) {
    if (loop->rank > 0 && can_join(&loop->axes[loop->rank - 1], &axes[a], inputs)) {
      const uint64_t count = loop->axes[loop->rank - 1].count * axes[a].count;
      loop->axes[loop->rank - 1] = axes[a];
      loop->axes[loop->rank - 1].count = count;
    } else {
      loop->axes[loop->rank++] = axes[a];
    }
  }
  if (loop->rank == 0) {
    loop->axes[loop->rank++] = (struct pointwise_axis){.count = 1};
  }
}

static int64_t wrap(enum plan_type type, int64_t number) {
  switch (type) {
  case PLAN_I8:
    return (int8_t)number;
  case PLAN_U8:
    return (uint8_t)number;
  case PLAN_I16:
    return (int16_t)number;
  case PLAN_U16:
    return (uint16_t)number;
  case PLAN_I32:
    return (int32_t)number;
  case PLAN_U32:
    return (uint32_t)number;
  case PLAN_BOOL:
    return number != 0;
  default:
    return number;
  }
}

static double round_to(enum plan_type type, double number) {
  return type == PLAN_F32   ? (double)(float)number
         : type == PLAN_F16 ? element_half_to_double(element_double_to_half(number))
                            : number;
}

static double mod_like(double a, double b) {
  const double rest = fmod(a, b);
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

static double real_one(const struct plan_step *step, double a) {
  switch (step->scalar) {
  case PLAN_S_NEG:
    return -a;
  case PLAN_S_ABS:
    return fabs(a);
  case PLAN_S_SIGN:
    return a > 0 ? 1 : a < 0 ? -1 : a;
  case PLAN_S_FLOOR:
    return floor(a);
  case PLAN_S_CEIL:
    return ceil(a);
  case PLAN_S_ROUND:
    return nearbyint(a);
  case PLAN_S_SQRT:
    return sqrt(a);
  case PLAN_S_RECIPROCAL:
    return 1 / a;
  case PLAN_S_EXP:
    return exp(a);
  case PLAN_S_LOG:
    return log(a);
  case PLAN_S_SIN:
    return sin(a);
  case PLAN_S_COS:
    return cos(a);
  case PLAN_S_TAN:
    return tan(a);
  case PLAN_S_ASIN:
    return asin(a);
  case PLAN_S_ACOS:
    return acos(a);
  case PLAN_S_ATAN:
    return atan(a);
  case PLAN_S_SINH:
    return sinh(a);
  case PLAN_S_COSH:
    return cosh(a);
  case PLAN_S_TANH:
    return tanh(a);
  case PLAN_S_ASINH:
    return asinh(a);
  case PLAN_S_ACOSH:
    return acosh(a);
  case PLAN_S_ATANH:
    return atanh(a);
  case PLAN_S_ERF:
    return erf(a);
  case PLAN_S_ACTIVATION:
    return element_activate(&step->activation, a);
  case PLAN_S_SOFTPLUS:
    return a > 0 ? a + log1p(exp(-a)) : log1p(exp(a));
  case PLAN_S_SOFTSIGN:
    return a / (1 + fabs(a));
  case PLAN_S_SELU:
    return (double)step->activation.beta * (a < 0 ? (double)step->activation.alpha * expm1(a) : a);
  default:
    return a;
  }
}

static double real_two(enum plan_scalar scalar, double a, double b) {
  switch (scalar) {
  case PLAN_S_ADD:
    return a + b;
  case PLAN_S_SUB:
    return a - b;
  case PLAN_S_MUL:
    return a * b;
  case PLAN_S_DIV:
    return a / b;
  case PLAN_S_MOD:
    return mod_like(a, b);
  case PLAN_S_FMOD:
    return fmod(a, b);
  case PLAN_S_POW:
    return pow(a, b);
  case PLAN_S_MIN:
    return a < b || isnan(a) ? a : b;
  case PLAN_S_MAX:
    return a > b || isnan(a) ? a : b;
  default:
    return a;
  }
}

static bool real_test(const struct plan_step *step, double a, double b) {
  switch (step->scalar) {
  case PLAN_S_EQUAL:
    return a <= b && a >= b;
  case PLAN_S_LESS:
    return a < b;
  case PLAN_S_LESS_EQUAL:
    return a <= b;
  case PLAN_S_GREATER:
    return a > b;
  case PLAN_S_GREATER_EQUAL:
    return a >= b;
  case PLAN_S_IS_NAN:
    return isnan(a);
  case PLAN_S_IS_INF: {
    const bool positive = step->activation.alpha > 0 || step->activation.alpha < 0;
    const bool negative = step->activation.beta > 0 || step->activation.beta < 0;
    return isinf(a) && (positive == negative || (a > 0 ? positive : negative));
  }
  default:
    return false;
  }
}

static int64_t power(int64_t a, int64_t b) {
  uint64_t result = 1;
  uint64_t base = (uint64_t)a;
  if (b < 0) {
    return a == 1 ? 1 : a == -1 ? (b % 2 == 0 ? 1 : -1) : 0;
  }
  for (; b > 0; b >>= 1) {
    result *= (b & 1) != 0 ? base : 1;
    base *= base;
  }
  return (int64_t)result;
}

static int64_t whole_divide(enum plan_scalar scalar, bool is_u64, int64_t a, int64_t b) {
  if (b == 0) {
    return 0;
  }
  if (is_u64) {
    return scalar == PLAN_S_DIV ? (int64_t)((uint64_t)a / (uint64_t)b)
                                : (int64_t)((uint64_t)a % (uint64_t)b);
  }
  if (b == -1) {
    return scalar == PLAN_S_DIV ? (int64_t)(0 - (uint64_t)a) : 0;
  }
  if (scalar == PLAN_S_DIV) {
    return a / b;
  }
  const int64_t rest = a % b;
  return scalar == PLAN_S_MOD && rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

static int64_t whole_shift(const struct plan_step *step, int64_t a, int64_t b) {
  const int64_t width = (int64_t)plan_type_bytes(step->type) * 8;
  if (b < 0 || b >= width) {
    return 0;
  }
  if (step->scalar == PLAN_S_SHIFT_LEFT) {
    return (int64_t)((uint64_t)a << b);
  }
  return step->type == PLAN_U64 ? (int64_t)((uint64_t)a >> b) : a >> b;
}

static bool whole_test(enum plan_scalar scalar, bool is_u64, int64_t a, int64_t b) {
  const bool less = is_u64 ? (uint64_t)a < (uint64_t)b : a < b;
  switch (scalar) {
  case PLAN_S_EQUAL:
    return a == b;
  case PLAN_S_LESS:
    return less;
  case PLAN_S_LESS_EQUAL:
    return less || a == b;
  case PLAN_S_GREATER:
    return !less && a != b;
  case PLAN_S_GREATER_EQUAL:
    return !less;
  case PLAN_S_AND:
    return a != 0 && b != 0;
  case PLAN_S_OR:
    return a != 0 || b != 0;
  case PLAN_S_XOR:
    return (a != 0) != (b != 0);
  case PLAN_S_NOT:
    return a == 0;
  default:
    return false;
  }
}

static int64_t whole_two(const struct plan_step *step, int64_t a, int64_t b) {
  const bool is_u64 = step->type == PLAN_U64;
  switch (step->scalar) {
  case PLAN_S_ADD:
    return (int64_t)((uint64_t)a + (uint64_t)b);
  case PLAN_S_SUB:
    return (int64_t)((uint64_t)a - (uint64_t)b);
  case PLAN_S_MUL:
    return (int64_t)((uint64_t)a * (uint64_t)b);
  case PLAN_S_DIV:
  case PLAN_S_MOD:
  case PLAN_S_FMOD:
    return whole_divide(step->scalar, is_u64, a, b);
  case PLAN_S_POW:
    return power(a, b);
  case PLAN_S_MIN:
    return whole_test(PLAN_S_LESS, is_u64, a, b) ? a : b;
  case PLAN_S_MAX:
    return whole_test(PLAN_S_LESS, is_u64, a, b) ? b : a;
  case PLAN_S_NEG:
    return (int64_t)(0 - (uint64_t)a);
  case PLAN_S_ABS:
    return a < 0 && !is_u64 ? (int64_t)(0 - (uint64_t)a) : a;
  case PLAN_S_SIGN:
    return a > 0 || (is_u64 && a != 0) ? 1 : a < 0 ? -1 : 0;
  case PLAN_S_BIT_AND:
    return a & b;
  case PLAN_S_BIT_OR:
    return a | b;
  case PLAN_S_BIT_XOR:
    return a ^ b;
  case PLAN_S_BIT_NOT:
    return ~a;
  case PLAN_S_SHIFT_LEFT:
  case PLAN_S_SHIFT_RIGHT:
    return whole_shift(step, a, b);
  default:
    return a;
  }
}

static int64_t saturate(enum plan_type type, double number) {
  static const struct {
    double low;
    double high;
  } LIMITS[PLAN_TYPES_END] = {
      [PLAN_I8] = {-128, 127},
      [PLAN_U8] = {0, 255},
      [PLAN_I16] = {-32768, 32767},
      [PLAN_U16] = {0, 65535},
      [PLAN_I32] = {-0x1p31, 0x1p31 - 1},
      [PLAN_U32] = {0, 0x1p32 - 1},
      [PLAN_BOOL] = {0, 1},
  };
  if (isnan(number)) {
    return 0;
  }
  if (type == PLAN_I64) {
    return number >= 0x1p63 ? INT64_MAX : number < -0x1p63 ? INT64_MIN : (int64_t)number;
  }
  if (type == PLAN_U64) {
    return number >= 0x1p64 ? -1 : number < 0 ? 0 : (int64_t)(uint64_t)number;
  }
  return (int64_t)fmin(fmax(number, LIMITS[type].low), LIMITS[type].high);
}

/* A value of type `from` as `to`. */
static union number cast(enum plan_type from, enum plan_type to, bool saturates, union number x) {
  union number result = {.whole = 0};
  if (plan_type_is_float(to)) {
    const double real = plan_type_is_float(from) ? x.real
                        : from == PLAN_U64       ? (double)(uint64_t)x.whole
                                                 : (double)x.whole;
    result.real = round_to(to, real);
  } else if (plan_type_is_float(from)) {
    if (saturates) {
      result.whole = saturate(to, x.real);
    } else {
      int64_t whole = 0;
      element_store(PLAN_I64, &whole, 0, x.real);
      result.whole = wrap(to, whole);
    }
  } else {
    result.whole =
        saturates && from != PLAN_U64 ? saturate(to, (double)x.whole) : wrap(to, x.whole);
  }
  return result;
}

struct operand {
  const union number *values;
  enum plan_type type;
};

struct run {
  const struct kernel *k;
  union number *steps;    /* BLOCK values for each */
  union number *operands; /* 3 x BLOCK: inputs and numbers as values */
  const void *inputs[PLAN_POINTWISE_INPUTS];
  uint64_t strides[PLAN_POINTWISE_INPUTS];
  uint64_t offsets[PLAN_POINTWISE_INPUTS];
  uint32_t count;
};

static enum plan_type step_type(const struct plan_step *step) {
  return is_bool_step(step->scalar) ? PLAN_BOOL : step->type;
}

static struct operand fetch(struct run *r, const struct plan_operand *operand, enum plan_type type,
                            uint32_t place) {
  union number *values = r->operands + place * BLOCK;
  struct operand result = {.values = values, .type = type};
  switch (operand->kind) {
  case PLAN_OPERAND_STEP:
    result.values = r->steps + operand->index * BLOCK;
    result.type = step_type(&r->k->op->pointwise.steps[operand->index]);
    break;
  case PLAN_OPERAND_NUMBER:
    for (uint32_t e = 0; e < r->count; e++) {
      if (plan_type_is_float(type)) {
        values[e].real = round_to(type, operand->number);
      } else {
        values[e].whole = (int64_t)operand->number;
      }
    }
    break;
  case PLAN_OPERAND_INPUT: {
    const uint32_t i = operand->index;
    result.type = kernel_in(r->k, i)->type;
    for (uint32_t e = 0; e < r->count; e++) {
      const uint64_t at = r->offsets[i] + e * r->strides[i];
      if (plan_type_is_float(result.type)) {
        values[e].real = element_load(result.type, r->inputs[i], at);
      } else {
        values[e].whole = element_load_int(result.type, r->inputs[i], at);
      }
    }
    break;
  }
  default:
    break;
  }
  return result;
}

static void run_real(const struct plan_step *step, uint32_t count, const union number *a,
                     const union number *b, const union number *c, union number *out) {
  const bool tests = is_bool_step(step->scalar);
  const bool two = step->scalar >= PLAN_S_ADD && step->scalar <= PLAN_S_MAX;
  for (uint32_t e = 0; e < count; e++) {
    if (tests) {
      out[e].whole = real_test(step, a[e].real, b[e].real);
    } else if (step->scalar == PLAN_S_FMA) {
      out[e].real = round_to(step->type, a[e].real * b[e].real + c[e].real);
    } else if (two) {
      out[e].real = round_to(step->type, real_two(step->scalar, a[e].real, b[e].real));
    } else {
      out[e].real = round_to(step->type, real_one(step, a[e].real));
    }
  }
}

static void run_whole(const struct plan_step *step, uint32_t count, const union number *a,
                      const union number *b, const union number *c, union number *out) {
  const bool tests = is_bool_step(step->scalar);
  for (uint32_t e = 0; e < count; e++) {
    if (tests) {
      out[e].whole = whole_test(step->scalar, step->type == PLAN_U64, a[e].whole, b[e].whole);
    } else if (step->scalar == PLAN_S_FMA) {
      out[e].whole = wrap(step->type, (int64_t)((uint64_t)a[e].whole * (uint64_t)b[e].whole +
                                                (uint64_t)c[e].whole));
    } else {
      out[e].whole = wrap(step->type, whole_two(step, a[e].whole, b[e].whole));
    }
  }
}

static void run_step(struct run *r, const struct plan_step *step, union number *out) {
  const bool casts = step->scalar == PLAN_S_CAST || step->scalar == PLAN_S_CAST_SATURATE;
  const struct operand a =
      fetch(r, &step->a, step->scalar == PLAN_S_SELECT ? PLAN_BOOL : step->type, 0);
  const struct operand b = fetch(r, &step->b, step->type, 1);
  const struct operand c = fetch(r, &step->c, step->type, 2);
  if (casts) {
    for (uint32_t e = 0; e < r->count; e++) {
      out[e] = cast(a.type, step->type, step->scalar == PLAN_S_CAST_SATURATE, a.values[e]);
    }
  } else if (step->scalar == PLAN_S_SELECT) {
    for (uint32_t e = 0; e < r->count; e++) {
      out[e] = a.values[e].whole != 0 ? b.values[e] : c.values[e];
    }
  } else if (step->scalar == PLAN_S_COPY) {
    memcpy(out, a.values, r->count * sizeof(out[0]));
  } else if (plan_type_is_float(step->type)) {
    run_real(step, r->count, a.values, b.values, c.values, out);
  } else {
    run_whole(step, r->count, a.values, b.values, c.values, out);
  }
}

static void run_block(struct run *r, void *out, uint64_t out_offset, uint64_t out_stride) {
  const struct plan_pointwise *program = &r->k->op->pointwise;
  const enum plan_type type = kernel_out(r->k, 0)->type;
  for (uint32_t s = 0; s < program->steps_count; s++) {
    run_step(r, &program->steps[s], r->steps + s * BLOCK);
  }
  const union number *last = r->steps + (program->steps_count - 1) * BLOCK;
  for (uint32_t e = 0; e < r->count; e++) {
    if (plan_type_is_float(type)) {
      element_store(type, out, out_offset + e * out_stride, last[e].real);
    } else {
      element_store_int(type, out, out_offset + e * out_stride, last[e].whole);
    }
  }
}

/* A copy between equal types, in runs: what expansions and changes of layout are. */
static bool is_copy(const struct kernel *k) {
  const struct plan_step *step = &k->op->pointwise.steps[0];
  return k->op->pointwise.steps_count == 1 && k->op->inputs_count == 1 &&
         step->scalar == PLAN_S_COPY && step->a.kind == PLAN_OPERAND_INPUT &&
         kernel_in(k, 0)->type == kernel_out(k, 0)->type;
}

static void copy_run(uint32_t bytes, const unsigned char *from, uint64_t from_stride,
                     unsigned char *to, uint64_t to_stride, uint64_t count) {
  if (from_stride == 1 && to_stride == 1) {
    if (from != to) {
      memcpy(to, from, count * bytes);
    }
    return;
  }
  for (uint64_t e = 0; e < count; e++) {
    memcpy(to + e * to_stride * bytes, from + e * from_stride * bytes, bytes);
  }
}

void kernel_pointwise(const struct kernel *k) {
  struct pointwise_loop loop;
  struct run r = {.k = k, .steps = k->scratch};
  const bool copies = is_copy(k);
  const uint32_t inputs = k->op->inputs_count;
  const uint32_t bytes = plan_type_bytes(kernel_out(k, 0)->type);
  r.operands = r.steps + k->op->pointwise.steps_count * BLOCK;
  plan_loop(k, &loop);
  if (!copies && pointwise_float_applies(k)) {
    pointwise_float_run(k, &loop);
    return;
  }
  const struct pointwise_axis *inner = &loop.axes[loop.rank - 1];
  uint64_t total = 1;
  for (uint32_t a = 0; a < loop.rank; a++) {
    total *= loop.axes[a].count;
  }
  for (uint32_t i = 0; i < inputs; i++) {
    r.inputs[i] = kernel_in_data(k, i);
    r.strides[i] = inner->in[i];
  }
  const struct element_range range = element_part(total, k->part, k->parts);
  for (uint64_t at = range.begin; at < range.end;) {
    const uint64_t along = at % inner->count;
    uint64_t rest = at / inner->count;
    uint64_t count = inner->count - along;
    count = count < range.end - at ? count : range.end - at;
    count = count < BLOCK || copies ? count : BLOCK;
    uint64_t out_offset = along * inner->out;
    for (uint32_t i = 0; i < inputs; i++) {
      r.offsets[i] = along * inner->in[i];
    }
    for (uint32_t a = loop.rank - 1; a-- > 0;) {
      const uint64_t coordinate = rest % loop.axes[a].count;
      rest /= loop.axes[a].count;
      out_offset += coordinate * loop.axes[a].out;
      for (uint32_t i = 0; i < inputs; i++) {
        r.offsets[i] += coordinate * loop.axes[a].in[i];
      }
    }
    if (copies) {
      copy_run(bytes, (const unsigned char *)r.inputs[0] + r.offsets[0] * bytes, r.strides[0],
               (unsigned char *)kernel_out_data(k, 0) + out_offset * bytes, inner->out, count);
    } else {
      r.count = (uint32_t)count;
      run_block(&r, kernel_out_data(k, 0), out_offset, inner->out);
    }
    at += count;
  }
}
