/* Pointwise programs, sums and softmax along any axis, as this backend lowers them, over random
 * shapes against the reference kernels. */
#include "unit/backend/cpu/lowered.h"

enum { ROUNDS = 60, RANK = 4, STEPS_MAX = 9, INPUTS_MAX = 3 };

static struct prng prng;

static uint32_t draw(uint32_t low, uint32_t high) {
  return lowered_draw(&prng, low, high);
}

static struct plan_operand input(uint32_t index) {
  return (struct plan_operand){.kind = PLAN_OPERAND_INPUT, .index = index};
}

static struct plan_operand step_before(uint32_t index) {
  return (struct plan_operand){.kind = PLAN_OPERAND_STEP, .index = index};
}

static struct plan_operand number(double value) {
  return (struct plan_operand){.kind = PLAN_OPERAND_NUMBER, .number = value};
}

/* An earlier step, an input or a number. */
static struct plan_operand draw_operand(uint32_t steps, uint32_t inputs) {
  switch (draw(0, 2)) {
  case 0:
    return number((double)draw(1, 9) / 4.0);
  case 1:
    return steps == 0 ? input(draw(0, inputs - 1)) : step_before(draw(0, steps - 1));
  default:
    return input(draw(0, inputs - 1));
  }
}

/* Functions without poles or jumps, so that both ways may round as they do: the ones that have them
 * come one by one below. */
static const enum plan_scalar SMOOTH[] = {
    PLAN_S_ADD,  PLAN_S_SUB, PLAN_S_MUL, PLAN_S_MIN, PLAN_S_MAX,        PLAN_S_NEG, PLAN_S_ABS,
    PLAN_S_TANH, PLAN_S_ERF, PLAN_S_FMA, PLAN_S_ADD, PLAN_S_ACTIVATION, PLAN_S_COPY};

static uint32_t operands_of(enum plan_scalar scalar) {
  switch (scalar) {
  case PLAN_S_FMA:
    return 3;
  case PLAN_S_ADD:
  case PLAN_S_SUB:
  case PLAN_S_MUL:
  case PLAN_S_DIV:
  case PLAN_S_MIN:
  case PLAN_S_MAX:
    return 2;
  default:
    return 1;
  }
}

static struct plan_step draw_step(uint32_t steps, uint32_t inputs) {
  struct plan_step step = {.scalar = SMOOTH[prng_below(&prng, sizeof(SMOOTH) / sizeof(SMOOTH[0]))],
                           .type = PLAN_F32};
  const uint32_t count = operands_of(step.scalar);
  step.a = steps == 0 ? input(0) : step_before(steps - 1);
  step.b = count > 1 ? draw_operand(steps, inputs) : step.b;
  step.c = count > 2 ? draw_operand(steps, inputs) : step.c;
  if (step.scalar == PLAN_S_ACTIVATION) {
    static const enum plan_activation_kind KINDS[] = {
        PLAN_ACT_RELU,       PLAN_ACT_LEAKY_RELU, PLAN_ACT_SWISH,   PLAN_ACT_HARD_SIGMOID,
        PLAN_ACT_HARD_SWISH, PLAN_ACT_SIGMOID,    PLAN_ACT_GELU_ERF};
    step.activation =
        (struct plan_activation){.kind = KINDS[prng_below(&prng, sizeof(KINDS) / sizeof(KINDS[0]))],
                                 .alpha = 0.2F,
                                 .beta = 0.5F};
  }
  return step;
}

/* Axes of 1 broadcast; so do missing ones in front. */
static uint32_t draw_broadcast(struct plan_maker *maker, const uint32_t *dims) {
  uint32_t own[RANK];
  const uint32_t missing = draw(0, 1) == 0 ? 0 : draw(1, RANK - 1);
  for (uint32_t i = 0; i < RANK; i++) {
    own[i] = draw(0, 1) == 0 ? 1 : dims[i];
  }
  return plan_maker_weights(maker, PLAN_ROW_MAJOR, RANK - missing, own + missing, 0.8);
}

static void draw_dims(uint32_t *ret_dims) {
  static const uint32_t LAST[] = {1, 3, 8, 16, 33, 64, 100};
  ret_dims[0] = draw(1, 3);
  ret_dims[1] = draw(1, 12);
  ret_dims[2] = draw(1, 9);
  ret_dims[3] = LAST[prng_below(&prng, sizeof(LAST) / sizeof(LAST[0]))];
}

static void programs_of_many_steps(void **state) {
  (void)state;
  uint32_t own = 0; /* the others are such as oneDNN has */
  prng_init(&prng, 23, 1);
  for (uint64_t i = 0; i < 3 * ROUNDS; i++) {
    struct plan_maker *maker = plan_maker_create("program", i);
    uint32_t dims[RANK];
    draw_dims(dims);
    plan_maker_begin(maker, dims[0]);
    uint32_t inputs[INPUTS_MAX] = {plan_maker_input(maker, RANK, dims)};
    const uint32_t inputs_count = draw(1, INPUTS_MAX);
    for (uint32_t j = 1; j < inputs_count; j++) {
      inputs[j] = draw_broadcast(maker, dims);
    }
    const uint32_t y = plan_maker_output(maker, RANK, dims);
    struct plan_op *op = plan_maker_op(maker, PLAN_OP_POINTWISE, inputs_count, inputs, y);
    struct plan_step *steps = (struct plan_step *)(uintptr_t)op->pointwise.steps;
    op->pointwise.steps_count = draw(3, STEPS_MAX);
    for (uint32_t j = 0; j < op->pointwise.steps_count; j++) {
      steps[j] = draw_step(j, inputs_count);
    }
    plan_maker_end(maker);
    own += assert_agrees(maker, &prng, "vectors") ? 1 : 0;
    plan_maker_destroy(maker);
  }
  assert_true(own > 3 * ROUNDS / 2);
}

/* One function and what keeps its argument where it is defined: |x| + 0.5. Where a result jumps,
 * the argument is a multiple of a quarter, the same for both. */
static void try_function(enum plan_scalar scalar, bool jumps, uint64_t seed) {
  struct plan_maker *maker = plan_maker_create("function", seed);
  uint32_t dims[RANK];
  draw_dims(dims);
  plan_maker_begin(maker, dims[0]);
  const uint32_t x = plan_maker_input(maker, RANK, dims);
  const uint32_t y = plan_maker_output(maker, RANK, dims);
  struct plan_op *op = plan_maker_op(maker, PLAN_OP_POINTWISE, 1, &x, y);
  struct plan_step *steps = (struct plan_step *)(uintptr_t)op->pointwise.steps;
  uint32_t count = 0;
  if (jumps) { /* to a multiple of a quarter, by the one rounding that test has no jump near */
    steps[count++] =
        (struct plan_step){.scalar = PLAN_S_MUL, .type = PLAN_F32, .a = input(0), .b = number(4.0)};
    steps[count++] =
        (struct plan_step){.scalar = PLAN_S_ROUND, .type = PLAN_F32, .a = step_before(0)};
    steps[count++] = (struct plan_step){
        .scalar = PLAN_S_MUL, .type = PLAN_F32, .a = step_before(1), .b = number(0.25)};
  } else {
    steps[count++] = (struct plan_step){.scalar = PLAN_S_ABS, .type = PLAN_F32, .a = input(0)};
    steps[count++] = (struct plan_step){
        .scalar = PLAN_S_ADD, .type = PLAN_F32, .a = step_before(0), .b = number(0.5)};
  }
  const bool is_test = scalar >= PLAN_S_EQUAL && scalar <= PLAN_S_GREATER_EQUAL;
  steps[count] =
      (struct plan_step){.scalar = scalar, .type = PLAN_F32, .a = step_before(count - 1)};
  if (is_test || operands_of(scalar) > 1) {
    steps[count].b = number(0.75);
  }
  count++;
  if (is_test) {
    steps[count] =
        (struct plan_step){.scalar = PLAN_S_CAST, .type = PLAN_F32, .a = step_before(count - 1)};
    count++;
  }
  op->pointwise.steps_count = count;
  plan_maker_end(maker);
  (void)assert_agrees(maker, &prng, NULL);
  plan_maker_destroy(maker);
}

static void functions_one_by_one(void **state) {
  (void)state;
  prng_init(&prng, 23, 2);
  static const enum plan_scalar DEFINED[] = {PLAN_S_DIV,  PLAN_S_SQRT, PLAN_S_RECIPROCAL,
                                             PLAN_S_EXP,  PLAN_S_TANH, PLAN_S_ERF,
                                             PLAN_S_COPY, PLAN_S_CAST, PLAN_S_NEG};
  static const enum plan_scalar JUMPING[] = {PLAN_S_FLOOR,   PLAN_S_CEIL,         PLAN_S_ROUND,
                                             PLAN_S_EQUAL,   PLAN_S_LESS,         PLAN_S_LESS_EQUAL,
                                             PLAN_S_GREATER, PLAN_S_GREATER_EQUAL};
  for (uint64_t i = 0; i < 4; i++) {
    for (size_t j = 0; j < sizeof(DEFINED) / sizeof(DEFINED[0]); j++) {
      try_function(DEFINED[j], false, i);
    }
    for (size_t j = 0; j < sizeof(JUMPING) / sizeof(JUMPING[0]); j++) {
      try_function(JUMPING[j], true, i);
    }
  }
}

/* Neighbouring axes at once, too. */
static void reductions_along_any_axis(void **state) {
  (void)state;
  uint32_t own = 0; /* the others are such as oneDNN has */
  prng_init(&prng, 23, 3);
  static const enum plan_reduce_kind KINDS[] = {PLAN_REDUCE_SUM, PLAN_REDUCE_MEAN, PLAN_REDUCE_MAX,
                                                PLAN_REDUCE_MIN, PLAN_REDUCE_SUM_SQUARE};
  for (uint64_t i = 0; i < 2 * ROUNDS; i++) {
    struct plan_maker *maker = plan_maker_create("reduction", i);
    uint32_t dims[RANK];
    draw_dims(dims);
    /* More than are summed in one group. */
    dims[2] = draw(0, 3) == 0 ? draw(120, 300) : dims[2];
    const uint32_t first = draw(1, RANK - 1);
    const uint32_t last = draw(first, RANK - 1);
    uint32_t reduced[RANK];
    for (uint32_t a = 0; a < RANK; a++) {
      reduced[a] = a >= first && a <= last ? 1 : dims[a];
    }
    plan_maker_begin(maker, dims[0]);
    const uint32_t x = plan_maker_input(maker, RANK, dims);
    const uint32_t y = plan_maker_output(maker, RANK, reduced);
    struct plan_op *op = plan_maker_op(maker, PLAN_OP_REDUCE, 1, &x, y);
    op->reduce = (struct plan_reduce){.kind = KINDS[prng_below(&prng, 5)],
                                      .axes = (2U << last) - (1U << first)};
    plan_maker_end(maker);
    own += assert_agrees(maker, &prng, "along axis") ? 1 : 0;
    plan_maker_destroy(maker);
  }
  assert_true(own > 2 * ROUNDS / 2);
}

static void softmax_along_any_axis(void **state) {
  (void)state;
  prng_init(&prng, 23, 4);
  for (uint64_t i = 0; i < ROUNDS; i++) {
    struct plan_maker *maker = plan_maker_create("softmax", i);
    uint32_t dims[RANK];
    draw_dims(dims);
    const uint32_t axis = draw(1, RANK - 1);
    plan_maker_begin(maker, dims[0]);
    const uint32_t x = plan_maker_input(maker, RANK, dims);
    const uint32_t y = plan_maker_output(maker, RANK, dims);
    struct plan_op *op = plan_maker_op(maker, PLAN_OP_SOFTMAX, 1, &x, y);
    op->softmax =
        (struct plan_softmax){.axis = axis, .logarithm = dims[axis] > 1 && draw(0, 3) == 0};
    plan_maker_end(maker);
    (void)assert_agrees(maker, &prng, NULL);
    plan_maker_destroy(maker);
  }
}

static void layer_norms(void **state) {
  (void)state;
  prng_init(&prng, 23, 5);
  for (uint64_t i = 0; i < ROUNDS; i++) {
    struct plan_maker *maker = plan_maker_create("norm", i);
    uint32_t dims[RANK];
    draw_dims(dims);
    const uint32_t axis = draw(1, RANK - 1);
    plan_maker_begin(maker, dims[0]);
    const uint32_t x = plan_maker_input(maker, RANK, dims);
    const uint32_t scale = plan_maker_weights(maker, PLAN_ROW_MAJOR, RANK - axis, dims + axis, 0.8);
    const uint32_t bias = plan_maker_weights(maker, PLAN_ROW_MAJOR, RANK - axis, dims + axis, 0.8);
    const uint32_t y = plan_maker_output(maker, RANK, dims);
    struct plan_op *op = plan_maker_op(
        maker, PLAN_OP_LAYER_NORM, 3,
        (uint32_t[]){x, draw(0, 3) == 0 ? PLAN_NONE : scale, draw(0, 3) == 0 ? PLAN_NONE : bias},
        y);
    op->normalize = (struct plan_normalize){.axis = axis, .epsilon = 1e-3F, .rms = draw(0, 3) == 0};
    plan_maker_end(maker);
    (void)assert_agrees(maker, &prng, NULL);
    plan_maker_destroy(maker);
  }
}

static void transpositions(void **state) {
  (void)state;
  prng_init(&prng, 23, 6);
  for (uint64_t i = 0; i < ROUNDS; i++) {
    struct plan_maker *maker = plan_maker_create("transpose", i);
    uint32_t dims[RANK];
    draw_dims(dims);
    uint32_t order[RANK] = {0, 1, 2, 3};
    for (uint32_t a = RANK - 1; a > 1; a--) { /* the batch stays in front */
      const uint32_t other = draw(1, a);
      const uint32_t kept = order[a];
      order[a] = order[other];
      order[other] = kept;
    }
    uint32_t turned[RANK];
    for (uint32_t a = 0; a < RANK; a++) {
      turned[a] = dims[order[a]];
    }
    plan_maker_begin(maker, dims[0]);
    const uint32_t x = plan_maker_input(maker, RANK, dims);
    const uint32_t y = plan_maker_output(maker, RANK, turned);
    struct plan_op *op = plan_maker_op(maker, PLAN_OP_TRANSPOSE, 1, &x, y);
    memcpy(op->transpose.permutation, order, sizeof(order));
    plan_maker_end(maker);
    (void)assert_agrees(maker, &prng, NULL);
    plan_maker_destroy(maker);
  }
}

int main(void) {
  team_form(LOWERED_TEAM, -1);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(programs_of_many_steps),
      cmocka_unit_test(functions_one_by_one),
      cmocka_unit_test(reductions_along_any_axis),
      cmocka_unit_test(softmax_along_any_axis),
      cmocka_unit_test(layer_norms),
      cmocka_unit_test(transpositions),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
