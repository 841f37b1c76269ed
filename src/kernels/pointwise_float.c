/* Programs of single precision alone, which is what networks spend their time in: loops that a
 * compiler turns into vectors, over blocks of elements.
 *
 * A block may be many short rows (an image of few channels beside one value a channel); its
 * operands are then gathered, else they are read where they lie.
 */
#include <math.h>
#include <string.h>

#include "kernels/pointwise.h"

enum { BLOCK = POINTWISE_BLOCK };

static bool has_loop(const struct plan_step *step) {
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
  case PLAN_S_SQRT:
  case PLAN_S_RECIPROCAL:
  case PLAN_S_EXP:
  case PLAN_S_FMA:
  case PLAN_S_ACTIVATION:
    return true;
  default:
    return false;
  }
}

bool pointwise_float_applies(const struct kernel *k) {
  const struct plan_pointwise *program = &k->op->pointwise;
  bool applies = kernel_out(k, 0)->type == PLAN_F32;
  for (uint32_t i = 0; i < k->op->inputs_count; i++) {
    applies = applies && kernel_in(k, i)->type == PLAN_F32;
  }
  for (uint32_t s = 0; s < program->steps_count; s++) {
    applies = applies && program->steps[s].type == PLAN_F32 && has_loop(&program->steps[s]);
  }
  return applies;
}

/* A block for each step's values, for each input gathered, for each number. */
size_t pointwise_float_scratch_bytes(const struct plan_op *op) {
  return (4 * (size_t)op->pointwise.steps_count + PLAN_POINTWISE_INPUTS) * BLOCK * sizeof(float);
}

/* e^x within 1 ulp or so: x = n ln 2 + r, and the series of e^r, |r| <= ln 2 / 2, to its seventh
 * power (what is left out is below 6e-9). Branch-free, so that it becomes vectors. */
static inline float exponential(float x) {
  const float log2_e = 0x1.715476p+0f;
  const float ln2_high = 0x1.62e4p-1f; /* 16 bits: n times it is exact */
  const float ln2_low = 1.42860682e-6f;
  const float to_whole = 0x1.8p23f; /* added: what is behind the point rounds away */
  const float low = x < -104.0f ? -104.0f : x;
  const float held = low > 89.0f ? 89.0f : low;
  const float shifted = held * log2_e + to_whole;
  const float n = shifted - to_whole;
  const float r = (held - n * ln2_high) - n * ln2_low;
  float sum = 1.0f / 5040;
  sum = sum * r + 1.0f / 720;
  sum = sum * r + 1.0f / 120;
  sum = sum * r + 1.0f / 24;
  sum = sum * r + 1.0f / 6;
  sum = sum * r + 1.0f / 2;
  sum = sum * r + 1.0f;
  sum = sum * r + 1.0f;
  /* 2^n as two factors, because it may be beyond what one can say. */
  int32_t bits;
  memcpy(&bits, &shifted, sizeof(bits));
  const int32_t whole = (bits & 0x7fffff) - 0x400000;
  const int32_t half = whole >> 1;
  const uint32_t first_bits = (uint32_t)(half + 127) << 23;
  const uint32_t second_bits = (uint32_t)(whole - half + 127) << 23;
  float first;
  float second;
  memcpy(&first, &first_bits, sizeof(first));
  memcpy(&second, &second_bits, sizeof(second));
  return sum * first * second;
}

#define EACH(expression)                                                                           \
  for (uint32_t e = 0; e < count; e++) {                                                           \
    const float x = a[e];                                                                          \
    out[e] = (expression);                                                                         \
  }

static void activate(const struct plan_activation *activation, uint32_t count, const float *a,
                     float *restrict out) {
  const float alpha = activation->alpha;
  const float beta = activation->beta;
  switch (activation->kind) {
  case PLAN_ACT_NONE:
    EACH(x)
    break;
  case PLAN_ACT_RELU:
    EACH(x < 0 ? 0 : x)
    break;
  case PLAN_ACT_CLIP:
    EACH((x < alpha ? alpha : x) > beta ? beta : (x < alpha ? alpha : x))
    break;
  case PLAN_ACT_LEAKY_RELU:
    EACH(x < 0 ? alpha * x : x)
    break;
  case PLAN_ACT_SIGMOID:
    EACH(1 / (1 + exponential(-x)))
    break;
  case PLAN_ACT_SWISH:
    EACH(x / (1 + exponential(-x)))
    break;
  case PLAN_ACT_HARD_SIGMOID:
    for (uint32_t e = 0; e < count; e++) {
      const float y = alpha * a[e] + beta;
      const float low = y > 0 ? y : 0;
      out[e] = low < 1 ? low : 1;
    }
    break;
  case PLAN_ACT_HARD_SWISH:
    for (uint32_t e = 0; e < count; e++) {
      const float y = a[e] / 6 + 0.5f;
      const float low = y > 0 ? y : 0;
      out[e] = a[e] * (low < 1 ? low : 1);
    }
    break;
  default: /* of the C library, one by one */
    EACH((float)element_activate(activation, (double)x))
    break;
  }
}

static void run_two(enum plan_scalar scalar, uint32_t count, const float *a, const float *b,
                    float *restrict out) {
  switch (scalar) {
  case PLAN_S_ADD:
    EACH(x + b[e])
    break;
  case PLAN_S_SUB:
    EACH(x - b[e])
    break;
  case PLAN_S_MUL:
    EACH(b[e] * x)
    break;
  case PLAN_S_DIV:
    EACH(x / b[e])
    break;
  case PLAN_S_MIN: /* no number wins */
    EACH((!(x >= b[e]) & (b[e] == b[e])) != 0 ? x : b[e])
    break;
  default:
    EACH((!(x <= b[e]) & (b[e] == b[e])) != 0 ? x : b[e])
    break;
  }
}

static void run_step(const struct plan_step *step, uint32_t count, const float *a, const float *b,
                     const float *c, float *restrict out) {
  switch (step->scalar) {
  case PLAN_S_COPY:
    EACH(x)
    break;
  case PLAN_S_NEG:
    EACH(-x)
    break;
  case PLAN_S_ABS:
    EACH(__builtin_fabsf(x))
    break;
  case PLAN_S_SQRT:
    EACH((float)sqrt((double)x))
    break;
  case PLAN_S_RECIPROCAL:
    EACH(1 / x)
    break;
  case PLAN_S_EXP:
    EACH(exponential(x))
    break;
  case PLAN_S_FMA:
    EACH(b[e] * x + c[e])
    break;
  case PLAN_S_ACTIVATION:
    activate(&step->activation, count, a, out);
    break;
  default:
    run_two(step->scalar, count, a, b, out);
    break;
  }
}
#undef EACH

/* Where a block's operands are. */
struct block {
  const float *inputs[PLAN_POINTWISE_INPUTS];
  float *gathered[PLAN_POINTWISE_INPUTS];
  float *steps;   /* BLOCK values for each step */
  float *numbers; /* BLOCK equal values for each operand of each step that is a number */
};

static const float *operand_of(const struct block *block, uint32_t step, uint32_t place,
                               const struct plan_operand *operand) {
  switch (operand->kind) {
  case PLAN_OPERAND_INPUT:
    return block->inputs[operand->index];
  case PLAN_OPERAND_STEP:
    return block->steps + (size_t)operand->index * BLOCK;
  default:
    return block->numbers + (3 * (size_t)step + place) * BLOCK;
  }
}

static void fill_numbers(const struct plan_pointwise *program, struct block *block) {
  for (uint32_t s = 0; s < program->steps_count; s++) {
    const struct plan_operand *operands[3] = {&program->steps[s].a, &program->steps[s].b,
                                              &program->steps[s].c};
    for (uint32_t i = 0; i < 3; i++) {
      float *values = block->numbers + (3 * (size_t)s + i) * BLOCK;
      for (uint32_t e = 0; operands[i]->kind == PLAN_OPERAND_NUMBER && e < BLOCK; e++) {
        values[e] = (float)operands[i]->number;
      }
    }
  }
}

/* Offsets of the element `at`, counted as the loop goes: [0] the output's, then the inputs'. */
static void find_offsets(const struct pointwise_loop *loop, uint32_t inputs, uint64_t at,
                         uint64_t *ret_offsets) {
  memset(ret_offsets, 0, (1 + (size_t)inputs) * sizeof(ret_offsets[0]));
  for (uint32_t a = loop->rank; a-- > 0;) {
    const struct pointwise_axis *axis = &loop->axes[a];
    const uint64_t coordinate = at % axis->count;
    at /= axis->count;
    ret_offsets[0] += coordinate * axis->out;
    for (uint32_t i = 0; i < inputs; i++) {
      ret_offsets[1 + i] += coordinate * axis->in[i];
    }
  }
}

static void gather(const float *from, uint64_t stride, uint32_t count, float *to) {
  if (stride == 1) {
    memcpy(to, from, count * sizeof(to[0]));
    return;
  }
  for (uint32_t e = 0; e < count; e++) {
    to[e] = from[e * stride];
  }
}

/* Elements `at` to `at` + `count` - 1, row by row. */
static void gather_rows(const struct kernel *k, const struct pointwise_loop *loop, uint64_t at,
                        uint32_t count, struct block *block) {
  const struct pointwise_axis *inner = &loop->axes[loop->rank - 1];
  const uint32_t inputs = k->op->inputs_count;
  uint64_t offsets[1 + PLAN_POINTWISE_INPUTS];
  for (uint32_t done = 0; done < count;) {
    const uint64_t left = inner->count - (at + done) % inner->count;
    const uint32_t row = left < count - done ? (uint32_t)left : count - done;
    find_offsets(loop, inputs, at + done, offsets);
    for (uint32_t i = 0; i < inputs; i++) {
      const float *from = (const float *)kernel_in_data(k, i) + offsets[1 + i];
      if (row == count && inner->in[i] == 1) {
        block->inputs[i] = from;
      } else {
        gather(from, inner->in[i], row, block->gathered[i] + done);
        block->inputs[i] = block->gathered[i];
      }
    }
    done += row;
  }
}

static void scatter_rows(const struct kernel *k, const struct pointwise_loop *loop, uint64_t at,
                         uint32_t count, const float *values) {
  const struct pointwise_axis *inner = &loop->axes[loop->rank - 1];
  for (uint32_t done = 0; done < count;) {
    const uint64_t left = inner->count - (at + done) % inner->count;
    const uint32_t row = left < count - done ? (uint32_t)left : count - done;
    uint64_t offset = 0;
    find_offsets(loop, 0, at + done, &offset);
    float *to = (float *)kernel_out_data(k, 0) + offset;
    if (inner->out == 1) {
      memcpy(to, values + done, row * sizeof(to[0]));
    } else {
      for (uint32_t e = 0; e < row; e++) {
        to[e * inner->out] = values[done + e];
      }
    }
    done += row;
  }
}

void pointwise_float_run(const struct kernel *k, const struct pointwise_loop *loop) {
  const struct plan_pointwise *program = &k->op->pointwise;
  struct block block = {.steps = k->scratch};
  block.numbers = block.steps + (size_t)program->steps_count * BLOCK;
  for (uint32_t i = 0; i < PLAN_POINTWISE_INPUTS; i++) {
    block.gathered[i] = block.numbers + (3 * (size_t)program->steps_count + i) * BLOCK;
  }
  fill_numbers(program, &block);
  uint64_t total = 1;
  for (uint32_t a = 0; a < loop->rank; a++) {
    total *= loop->axes[a].count;
  }
  const struct element_range range = element_part(total, k->part, k->parts);
  for (uint64_t at = range.begin; at < range.end;) {
    const uint64_t left = range.end - at;
    const uint32_t count = left < BLOCK ? (uint32_t)left : BLOCK;
    gather_rows(k, loop, at, count, &block);
    float *out = block.steps;
    for (uint32_t s = 0; s < program->steps_count; s++) {
      const struct plan_step *step = &program->steps[s];
      out = block.steps + (size_t)s * BLOCK;
      run_step(step, count, operand_of(&block, s, 0, &step->a), operand_of(&block, s, 1, &step->b),
               operand_of(&block, s, 2, &step->c), out);
    }
    scatter_rows(k, loop, at, count, out);
    at += count;
  }
}
