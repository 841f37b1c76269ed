#include "backend/cpu/vector_program.h"

#include <stddef.h>

#include "backend/cpu/packed_product.h"
#include "backend/cpu/vectors.h"

enum { LANES = 8, VECTORS = 8, CHUNK = LANES * VECTORS };

/* ---- what it can do -------------------------------------------------------------------------- */

static bool is_test(enum plan_scalar scalar) {
  return scalar >= PLAN_S_EQUAL && scalar <= PLAN_S_GREATER_EQUAL;
}

static bool has_function(const struct plan_step *step) {
  switch (step->scalar) {
  case PLAN_S_COPY:
  case PLAN_S_ADD:
  case PLAN_S_SUB:
  case PLAN_S_MUL:
  case PLAN_S_DIV:
  case PLAN_S_MIN:
  case PLAN_S_MAX:
  case PLAN_S_NEG:
  case PLAN_S_ABS:
  case PLAN_S_FLOOR:
  case PLAN_S_CEIL:
  case PLAN_S_ROUND:
  case PLAN_S_SQRT:
  case PLAN_S_RECIPROCAL:
  case PLAN_S_EXP:
  case PLAN_S_TANH:
  case PLAN_S_ERF:
  case PLAN_S_FMA:
    return true;
  case PLAN_S_ACTIVATION:
    return packed_product_has_activation(&step->activation);
  default:
    return is_test(step->scalar);
  }
}

/* A test's value, which is a BOOL, may only be cast to floats. */
static bool reads_a_test(const struct plan_op *op, const struct plan_operand *operand) {
  return operand->kind == PLAN_OPERAND_STEP && is_test(op->pointwise.steps[operand->index].scalar);
}

static bool is_of_floats(const struct plan_op *op, const struct plan_tensor *tensors,
                         const struct plan_operand *operand) {
  return operand->kind == PLAN_OPERAND_INPUT ? tensors[op->inputs[operand->index]].type == PLAN_F32
                                             : !reads_a_test(op, operand);
}

static bool can_do(const struct plan_op *op, const struct plan_tensor *tensors, uint32_t index) {
  const struct plan_step *step = &op->pointwise.steps[index];
  const bool are_floats = is_of_floats(op, tensors, &step->a) &&
                          is_of_floats(op, tensors, &step->b) &&
                          is_of_floats(op, tensors, &step->c);
  if (step->scalar == PLAN_S_CAST) {
    return step->type == PLAN_F32 && (are_floats || reads_a_test(op, &step->a));
  }
  if (step->scalar == PLAN_S_EQUAL && step->type == PLAN_I32) {
    return step->a.kind == PLAN_OPERAND_INPUT && step->b.kind == PLAN_OPERAND_INPUT &&
           tensors[op->inputs[step->a.index]].type == PLAN_I32 &&
           tensors[op->inputs[step->b.index]].type == PLAN_I32;
  }
  return step->type == PLAN_F32 && are_floats && has_function(step);
}

/* ---- where the operands lie ------------------------------------------------------------------ */

static bool can_join(const struct vector_axis *outer, const struct vector_axis *inner,
                     uint32_t inputs) {
  bool joins = outer->out == inner->out * inner->count;
  for (uint32_t i = 0; i < inputs; i++) {
    joins = joins && outer->in[i] == inner->in[i] * inner->count;
  }
  return joins;
}

/* The output's axes as they lie, joined where no tensor breaks off. */
static uint32_t find_axes(const struct plan_op *op, const struct plan_tensor *tensors,
                          struct vector_axis *ret_axes) {
  const struct plan_tensor *out = &tensors[op->outputs[0]];
  uint64_t strides[PLAN_RANK_MAX];
  uint64_t in_strides[PLAN_POINTWISE_INPUTS][PLAN_RANK_MAX];
  plan_tensor_strides(out, strides);
  for (uint32_t i = 0; i < op->inputs_count; i++) {
    plan_tensor_strides(&tensors[op->inputs[i]], in_strides[i]);
  }
  uint32_t rank = 0;
  for (uint32_t a = 0; a < out->rank; a++) {
    if (out->dims[a] == 1) {
      continue;
    }
    struct vector_axis axis = {.count = out->dims[a], .out = strides[a]};
    for (uint32_t i = 0; i < op->inputs_count; i++) {
      const struct plan_tensor *in = &tensors[op->inputs[i]];
      const uint32_t missing = out->rank - in->rank;
      axis.in[i] = a >= missing && in->dims[a - missing] > 1 ? in_strides[i][a - missing] : 0;
    }
    uint32_t place = rank++;
    for (; place > 0 && ret_axes[place - 1].out < axis.out; place--) {
      ret_axes[place] = ret_axes[place - 1];
    }
    ret_axes[place] = axis;
  }
  uint32_t joined = 0;
  for (uint32_t a = 0; a < rank; a++) {
    const struct vector_axis inner = ret_axes[a];
    if (joined > 0 && can_join(&ret_axes[joined - 1], &inner, op->inputs_count)) {
      const uint64_t count = ret_axes[joined - 1].count * inner.count;
      ret_axes[joined - 1] = inner;
      ret_axes[joined - 1].count = count;
    } else {
      ret_axes[joined++] = inner;
    }
  }
  return joined;
}

static bool find_mode(const struct vector_axis *inner, uint32_t input, enum vector_mode *ret_mode) {
  *ret_mode = inner->in[input] == 0 ? VECTOR_SAME : VECTOR_ALONG;
  return inner->in[input] <= 1;
}

/* Two innermost axes as one run, the inner of eight: images in groups of channels. */
static bool find_mode_of_groups(const struct vector_axis *outer, const struct vector_axis *inner,
                                uint32_t input, enum vector_mode *ret_mode) {
  if (inner->in[input] == 0) {
    *ret_mode = outer->in[input] == 0 ? VECTOR_SAME : VECTOR_PER_EIGHT;
    return true;
  }
  *ret_mode = outer->in[input] == 0 ? VECTOR_LANES : VECTOR_ALONG;
  return inner->in[input] == 1 && (outer->in[input] == 0 || outer->in[input] == LANES);
}

static bool find_run(struct vector_program *program, uint32_t rank) {
  if (rank == 0) {
    program->rank = 0;
    program->run = 1;
    for (uint32_t i = 0; i < program->inputs_count; i++) {
      program->modes[i] = VECTOR_SAME;
    }
    return true;
  }
  const struct vector_axis *inner = &program->axes[rank - 1];
  const struct vector_axis *outer = rank > 1 ? &program->axes[rank - 2] : NULL;
  bool are_groups =
      outer != NULL && inner->count == LANES && inner->out == 1 && outer->out == LANES;
  for (uint32_t i = 0; are_groups && i < program->inputs_count; i++) {
    are_groups = find_mode_of_groups(outer, inner, i, &program->modes[i]);
    program->distances[i] = outer->in[i];
  }
  if (are_groups) {
    program->rank = rank - 2;
    program->run = outer->count * LANES;
    return true;
  }
  bool is_run = inner->out == 1;
  for (uint32_t i = 0; is_run && i < program->inputs_count; i++) {
    is_run = find_mode(inner, i, &program->modes[i]);
  }
  program->rank = rank - 1;
  program->run = inner->count;
  return is_run;
}

bool vector_program_init(struct vector_program *program, const struct plan_op *op,
                         const struct plan_tensor *tensors) {
  const struct plan_pointwise *pointwise = &op->pointwise;
  if (tensors[op->outputs[0]].type != PLAN_F32) {
    return false;
  }
  *program = (struct vector_program){.inputs_count = op->inputs_count,
                                     .steps_count = pointwise->steps_count};
  for (uint32_t i = 0; i < op->inputs_count; i++) {
    if (op->inputs[i] == PLAN_NONE) {
      return false;
    }
  }
  for (uint32_t i = 0; i < pointwise->steps_count; i++) {
    if (!can_do(op, tensors, i)) {
      return false;
    }
    program->steps[i] = pointwise->steps[i];
  }
  return !is_test(program->steps[program->steps_count - 1].scalar) &&
         find_run(program, find_axes(op, tensors, program->axes));
}

uint64_t vector_program_elements(const struct vector_program *program) {
  uint64_t elements = program->run;
  for (uint32_t a = 0; a < program->rank; a++) {
    elements *= program->axes[a].count;
  }
  return elements;
}

/* ---- steps ----------------------------------------------------------------------------------- */

/* The values of an operand: one vector after another, or (step 0) always the same. */
struct values {
  const __m256 *at;
  size_t step;
};

/* As the vectors' own minimum and maximum, but what is no number stays none. */
static inline __m256 minimum(__m256 a, __m256 b) {
  return _mm256_blendv_ps(_mm256_min_ps(a, b), a, _mm256_cmp_ps(a, a, _CMP_UNORD_Q));
}
static inline __m256 maximum(__m256 a, __m256 b) {
  return _mm256_blendv_ps(_mm256_max_ps(a, b), a, _mm256_cmp_ps(a, a, _CMP_UNORD_Q));
}

/* To the ends of what a float can be: 0 and infinity. */
static inline __m256 exponential(__m256 x) {
  const __m256 none = _mm256_cmp_ps(x, _mm256_set1_ps(-87.33654F), _CMP_LT_OQ);
  const __m256 over = _mm256_cmp_ps(x, _mm256_set1_ps(88.72283F), _CMP_GT_OQ);
  const __m256 held = _mm256_andnot_ps(none, vectors_exponential(x));
  const __m256 ended = _mm256_blendv_ps(held, _mm256_set1_ps(__builtin_inff()), over);
  return _mm256_blendv_ps(ended, x, _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
}

#define ONE_BY_ONE(expression)                                                                     \
  for (uint32_t v = 0; v < count; v++) {                                                           \
    const __m256 x = a.at[v * a.step];                                                             \
    out[v] = (expression);                                                                         \
  }
#define Y (b.at[v * b.step])
#define Z (c.at[v * c.step])
#define TEST(kind) _mm256_and_ps(_mm256_cmp_ps(x, Y, kind), _mm256_set1_ps(1.0F))

/* 1 where it holds, else 0. */
static inline __attribute__((always_inline)) void run_test(const struct plan_step *step,
                                                           uint32_t count, struct values a,
                                                           struct values b, __m256 *out) {
  switch (step->scalar) {
  case PLAN_S_EQUAL:
    if (step->type == PLAN_I32) {
      ONE_BY_ONE(_mm256_and_ps(
          _mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_castps_si256(x), _mm256_castps_si256(Y))),
          _mm256_set1_ps(1.0F)))
    } else {
      ONE_BY_ONE(TEST(_CMP_EQ_OQ))
    }
    break;
  case PLAN_S_LESS:
    ONE_BY_ONE(TEST(_CMP_LT_OQ))
    break;
  case PLAN_S_LESS_EQUAL:
    ONE_BY_ONE(TEST(_CMP_LE_OQ))
    break;
  case PLAN_S_GREATER:
    ONE_BY_ONE(TEST(_CMP_GT_OQ))
    break;
  default: /* PLAN_S_GREATER_EQUAL */
    ONE_BY_ONE(TEST(_CMP_GE_OQ))
    break;
  }
}

static inline __attribute__((always_inline)) void run_step(const struct plan_step *step,
                                                           uint32_t count, struct values a,
                                                           struct values b, struct values c,
                                                           __m256 *out) {
  const __m256 minus = _mm256_set1_ps(-0.0F);
  if (is_test(step->scalar)) {
    run_test(step, count, a, b, out);
    return;
  }
  switch (step->scalar) {
  case PLAN_S_ADD:
    ONE_BY_ONE(_mm256_add_ps(x, Y))
    break;
  case PLAN_S_SUB:
    ONE_BY_ONE(_mm256_sub_ps(x, Y))
    break;
  case PLAN_S_MUL:
    ONE_BY_ONE(_mm256_mul_ps(x, Y))
    break;
  case PLAN_S_DIV:
    ONE_BY_ONE(_mm256_div_ps(x, Y))
    break;
  case PLAN_S_MIN:
    ONE_BY_ONE(minimum(x, Y))
    break;
  case PLAN_S_MAX:
    ONE_BY_ONE(maximum(x, Y))
    break;
  case PLAN_S_FMA:
    ONE_BY_ONE(_mm256_fmadd_ps(x, Y, Z))
    break;
  case PLAN_S_NEG:
    ONE_BY_ONE(_mm256_xor_ps(x, minus))
    break;
  case PLAN_S_ABS:
    ONE_BY_ONE(_mm256_andnot_ps(minus, x))
    break;
  case PLAN_S_FLOOR:
    ONE_BY_ONE(_mm256_floor_ps(x))
    break;
  case PLAN_S_CEIL:
    ONE_BY_ONE(_mm256_ceil_ps(x))
    break;
  case PLAN_S_ROUND:
    ONE_BY_ONE(_mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC))
    break;
  case PLAN_S_SQRT:
    ONE_BY_ONE(_mm256_sqrt_ps(x))
    break;
  case PLAN_S_RECIPROCAL:
    ONE_BY_ONE(_mm256_div_ps(_mm256_set1_ps(1.0F), x))
    break;
  case PLAN_S_EXP:
    ONE_BY_ONE(exponential(x))
    break;
  case PLAN_S_TANH:
    ONE_BY_ONE(vectors_tanh(x))
    break;
  case PLAN_S_ERF:
    ONE_BY_ONE(vectors_erf(x))
    break;
  case PLAN_S_ACTIVATION:
    ONE_BY_ONE(vectors_activate(&step->activation, x))
    break;
  default: /* COPY, and CAST of what is a float already */
    ONE_BY_ONE(x)
    break;
  }
}
#undef TEST
#undef Z
#undef Y
#undef ONE_BY_ONE

/* ---- runs ------------------------------------------------------------------------------------ */

struct machine {
  const struct vector_program *program;
  __m256 inputs[PLAN_POINTWISE_INPUTS][VECTORS];
  __m256 steps[PLAN_POINTWISE_STEPS][VECTORS];
  __m256 numbers[PLAN_POINTWISE_STEPS][3];
  const float *from[PLAN_POINTWISE_INPUTS]; /* begins of the run */
  float *to;
};

static void set_numbers(struct machine *machine) {
  const struct vector_program *program = machine->program;
  for (uint32_t s = 0; s < program->steps_count; s++) {
    machine->numbers[s][0] = _mm256_set1_ps((float)program->steps[s].a.number);
    machine->numbers[s][1] = _mm256_set1_ps((float)program->steps[s].b.number);
    machine->numbers[s][2] = _mm256_set1_ps((float)program->steps[s].c.number);
  }
}

static inline struct values values_of(const struct machine *machine, uint32_t step, uint32_t place,
                                      const struct plan_operand *operand) {
  switch (operand->kind) {
  case PLAN_OPERAND_INPUT:
    return (struct values){machine->inputs[operand->index], 1};
  case PLAN_OPERAND_STEP:
    return (struct values){machine->steps[operand->index], 1};
  default:
    return (struct values){&machine->numbers[step][place], 0};
  }
}

/* Elements `at` to `at` + `count` - 1 of the run. Of the last vector only some may exist. */
static inline __attribute__((always_inline)) void fetch(struct machine *machine, uint64_t at,
                                                        uint32_t vectors, uint32_t count) {
  const struct vector_program *program = machine->program;
  for (uint32_t i = 0; i < program->inputs_count; i++) {
    const float *from = machine->from[i];
    __m256 *to = machine->inputs[i];
    switch (program->modes[i]) {
    case VECTOR_ALONG:
      for (uint32_t v = 0; v < vectors; v++) {
        to[v] = count == CHUNK
                    ? _mm256_loadu_ps(from + at + v * LANES)
                    : _mm256_maskload_ps(from + at + v * LANES, vectors_mask(count - v * LANES));
      }
      break;
    case VECTOR_PER_EIGHT:
      for (uint32_t v = 0; v < vectors; v++) {
        to[v] = _mm256_broadcast_ss(from + (at / LANES + v) * program->distances[i]);
      }
      break;
    default: {
      const __m256 same =
          program->modes[i] == VECTOR_SAME ? _mm256_broadcast_ss(from) : _mm256_loadu_ps(from);
      for (uint32_t v = 0; v < vectors; v++) {
        to[v] = same;
      }
      break;
    }
    }
  }
}

static inline __attribute__((always_inline)) void run_chunk(struct machine *machine, uint64_t at,
                                                            uint32_t vectors, uint32_t count) {
  const struct vector_program *program = machine->program;
  fetch(machine, at, vectors, count);
  for (uint32_t s = 0; s < program->steps_count; s++) {
    const struct plan_step *step = &program->steps[s];
    run_step(step, vectors, values_of(machine, s, 0, &step->a), values_of(machine, s, 1, &step->b),
             values_of(machine, s, 2, &step->c), machine->steps[s]);
  }
  const __m256 *last = machine->steps[program->steps_count - 1];
  for (uint32_t v = 0; v < vectors; v++) {
    float *to = machine->to + at + v * LANES;
    if (count == CHUNK) {
      _mm256_storeu_ps(to, last[v]);
    } else {
      _mm256_maskstore_ps(to, vectors_mask(count - v * LANES), last[v]);
    }
  }
}

static void run_rest(struct machine *machine, uint64_t at, uint32_t count) {
  run_chunk(machine, at, (count + LANES - 1) / LANES, count);
}

static void find_begins(struct machine *machine, unsigned char *const *data, uint64_t run) {
  const struct vector_program *program = machine->program;
  uint64_t offsets[PLAN_POINTWISE_INPUTS] = {0};
  uint64_t out = 0;
  for (uint32_t a = program->rank; a-- > 0;) {
    const struct vector_axis *axis = &program->axes[a];
    const uint64_t coordinate = run % axis->count;
    run /= axis->count;
    out += coordinate * axis->out;
    for (uint32_t i = 0; i < program->inputs_count; i++) {
      offsets[i] += coordinate * axis->in[i];
    }
  }
  for (uint32_t i = 0; i < program->inputs_count; i++) {
    machine->from[i] = (const float *)(const void *)data[i] + offsets[i];
  }
  machine->to = (float *)(void *)data[program->inputs_count] + out;
}

void vector_program_run(const struct vector_program *program, unsigned char *const *data,
                        uint32_t part, uint32_t parts) {
  /* Whole eights, so that a part begins where a vector does in groups of channels. */
  const uint64_t elements = vector_program_elements(program);
  const uint64_t eights = (elements + LANES - 1) / LANES;
  const uint64_t begin = eights * part / parts * LANES;
  uint64_t end = eights * (part + 1) / parts * LANES;
  end = end < elements ? end : elements;
  struct machine machine;
  machine.program = program;
  set_numbers(&machine);
  for (uint64_t at = begin; at < end;) {
    uint64_t along = at % program->run;
    const uint64_t left = program->run - along;
    const uint64_t count = left < end - at ? left : end - at;
    find_begins(&machine, data, at / program->run);
    at += count;
    for (const uint64_t last = along + count; along < last; along += CHUNK) {
      if (last - along >= CHUNK) {
        run_chunk(&machine, along, VECTORS, CHUNK);
      } else {
        run_rest(&machine, along, (uint32_t)(last - along));
      }
    }
  }
}
