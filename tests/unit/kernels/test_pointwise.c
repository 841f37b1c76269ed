/* Programs in single precision against the same programs in double: two ways through the kernels
 * that share nothing but the loop over rows. */
#include <math.h>

#include "base/prng.h"
#include "support/cmocka.h"
#include "support/kernel_case.h"

enum { PROGRAMS = 400, STEPS_MAX = 6, ELEMENTS_MAX = 4096 };

static const enum plan_scalar SCALARS[] = {
    PLAN_S_COPY, PLAN_S_ADD,        PLAN_S_SUB, PLAN_S_MUL,        PLAN_S_DIV,
    PLAN_S_MIN,  PLAN_S_MAX,        PLAN_S_NEG, PLAN_S_ABS,        PLAN_S_SQRT,
    PLAN_S_EXP,  PLAN_S_RECIPROCAL, PLAN_S_FMA, PLAN_S_ACTIVATION,
};

static uint32_t operands_of(enum plan_scalar scalar) {
  const bool is_two = scalar >= PLAN_S_ADD && scalar <= PLAN_S_MAX;
  return scalar == PLAN_S_FMA ? 3 : is_two ? 2 : 1;
}

static struct plan_operand draw_operand(struct prng *prng, uint32_t inputs, uint32_t step) {
  const uint64_t choice = prng_below(prng, 4);
  if (choice == 0) {
    return (struct plan_operand){PLAN_OPERAND_NUMBER, 0, 0.25 * (double)(1 + prng_below(prng, 8))};
  }
  if (choice < 3 && step > 0) {
    return (struct plan_operand){PLAN_OPERAND_STEP, step - 1, 0};
  }
  return (struct plan_operand){PLAN_OPERAND_INPUT, (uint32_t)prng_below(prng, inputs), 0};
}

static void draw_steps(struct prng *prng, uint32_t inputs, struct plan_step *steps,
                       uint32_t count) {
  for (uint32_t s = 0; s < count; s++) {
    steps[s] = (struct plan_step){
        .scalar = SCALARS[prng_below(prng, sizeof(SCALARS) / sizeof(SCALARS[0]))],
        .type = PLAN_F32,
        .activation = {.kind = (enum plan_activation_kind)prng_below(prng, PLAN_ACTS_END),
                       .alpha = 0.25f,
                       .beta = 0.75f}};
    const uint32_t operands = operands_of(steps[s].scalar);
    steps[s].a = draw_operand(prng, inputs, s);
    steps[s].b = operands > 1 ? draw_operand(prng, inputs, s) : steps[s].b;
    steps[s].c = operands > 2 ? draw_operand(prng, inputs, s) : steps[s].c;
  }
}

static uint64_t span(const struct plan_tensor *tensor) {
  return plan_tensor_span_bytes(tensor) / plan_type_bytes(tensor->type);
}

/* (n, c, h, w) in either layout, or what broadcasts to it. */
static struct plan_tensor draw_tensor(struct prng *prng, const uint32_t *dims, bool is_output) {
  struct plan_tensor tensor = {.type = PLAN_F32, .layout = PLAN_ROW_MAJOR, .rank = 4};
  for (uint32_t i = 0; i < PLAN_RANK_MAX; i++) {
    const bool is_one = i >= 4 || (!is_output && prng_below(prng, 3) == 0);
    tensor.dims[i] = is_one ? 1 : dims[i];
  }
  if (prng_below(prng, 2) == 0) {
    tensor.layout = PLAN_CHANNELS_LAST;
    tensor.pitch = tensor.dims[1] + (uint32_t)prng_below(prng, 3);
  }
  return tensor;
}

static void add_inputs(struct prng *prng, struct kernel_case *single, struct kernel_case *twice,
                       uint32_t inputs, const uint32_t *dims) {
  static float values[ELEMENTS_MAX];
  static double wide[ELEMENTS_MAX];
  for (uint32_t i = 0; i < inputs; i++) {
    struct plan_tensor tensor = draw_tensor(prng, dims, false);
    const uint64_t count = span(&tensor);
    assert_true(count <= ELEMENTS_MAX);
    for (uint64_t e = 0; e < count; e++) {
      values[e] = (float)(0.25 + 4 * prng_unit(prng));
      wide[e] = (double)values[e];
    }
    kernel_case_in(single, &tensor, values);
    tensor.type = PLAN_F64;
    kernel_case_in(twice, &tensor, wide);
  }
}

static void check_close(const struct plan_tensor *tensor, const float *single,
                        const double *twice) {
  uint64_t strides[PLAN_RANK_MAX];
  plan_tensor_strides(tensor, strides);
  for (uint32_t i = 0; i < plan_tensor_elements(tensor); i++) {
    uint64_t at = 0;
    uint32_t rest = i;
    for (uint32_t axis = 4; axis-- > 0;) {
      at += rest % tensor->dims[axis] * strides[axis];
      rest /= tensor->dims[axis];
    }
    const double wanted = twice[at];
    const double got = (double)single[at];
    /* Sums may cancel, so the bound is of the operands' size, which is some thousands at most
     * where the result is of use at all. */
    const bool is_wild = !(fabs(wanted) < 1e4);
    if (!is_wild && !(fabs(got - wanted) <= 2e-3 * (1 + fabs(wanted)))) {
      fail_msg("element %u is %g instead of %g", i, got, wanted);
    }
  }
}

static void agrees_with_double_precision(void **state) {
  (void)state;
  struct prng prng;
  prng_init(&prng, 11, 0);
  for (int program = 0; program < PROGRAMS; program++) {
    struct kernel_case single = {.op = {.kind = PLAN_OP_POINTWISE}};
    struct kernel_case twice = {.op = {.kind = PLAN_OP_POINTWISE}};
    const uint32_t inputs = 1 + (uint32_t)prng_below(&prng, 3);
    const uint32_t count = 1 + (uint32_t)prng_below(&prng, STEPS_MAX);
    const uint32_t dims[4] = {
        1 + (uint32_t)prng_below(&prng, 2), 1 + (uint32_t)prng_below(&prng, 9),
        1 + (uint32_t)prng_below(&prng, 9), 1 + (uint32_t)prng_below(&prng, 12)};
    struct plan_step steps[STEPS_MAX];
    struct plan_step wide_steps[STEPS_MAX];
    draw_steps(&prng, inputs, steps, count);
    memcpy(wide_steps, steps, sizeof(steps));
    for (uint32_t s = 0; s < count; s++) {
      wide_steps[s].type = PLAN_F64;
    }
    single.op.pointwise = (struct plan_pointwise){count, steps};
    twice.op.pointwise = (struct plan_pointwise){count, wide_steps};
    add_inputs(&prng, &single, &twice, inputs, dims);
    struct plan_tensor out = draw_tensor(&prng, dims, true);
    const float *got = kernel_case_out(&single, &out);
    out.type = PLAN_F64;
    const double *wanted = kernel_case_out(&twice, &out);
    kernel_case_run(&single, 1 + (uint32_t)prng_below(&prng, 3));
    kernel_case_run(&twice, 1);
    check_close(&single.tensors[single.outputs[0]], got, wanted);
    kernel_case_finish(&single);
    kernel_case_finish(&twice);
  }
}

static void exponentials_are_exact_to_a_few_units(void **state) {
  (void)state;
  enum { COUNT = 2000 };
  static float values[COUNT];
  for (int i = 0; i < COUNT; i++) {
    values[i] = -87.0f + 0.0875f * (float)i;
  }
  struct kernel_case c = {.op = {.kind = PLAN_OP_POINTWISE}};
  const struct plan_step step = {
      .scalar = PLAN_S_EXP, .type = PLAN_F32, .a = {PLAN_OPERAND_INPUT, 0, 0}};
  const struct plan_tensor line = {.type = PLAN_F32, .rank = 1, .dims = {COUNT}};
  c.op.pointwise = (struct plan_pointwise){1, &step};
  kernel_case_in(&c, &line, values);
  const float *out = kernel_case_out(&c, &line);
  kernel_case_run(&c, 1);
  for (int i = 0; i < COUNT; i++) {
    const double wanted = exp((double)values[i]);
    assert_true(fabs((double)out[i] - wanted) <= 2e-7 * wanted);
  }
  kernel_case_finish(&c);
}

static void numbers_beyond_a_float_come_out_as_they_should(void **state) {
  (void)state;
  const float values[] = {NAN, INFINITY, -INFINITY, 200.0f, -200.0f, -0.0f};
  struct kernel_case c = {.op = {.kind = PLAN_OP_POINTWISE}};
  const struct plan_step step = {
      .scalar = PLAN_S_EXP, .type = PLAN_F32, .a = {PLAN_OPERAND_INPUT, 0, 0}};
  const struct plan_tensor line = {.type = PLAN_F32, .rank = 1, .dims = {6}};
  c.op.pointwise = (struct plan_pointwise){1, &step};
  kernel_case_in(&c, &line, values);
  const float *out = kernel_case_out(&c, &line);
  kernel_case_run(&c, 1);
  assert_true(isnan(out[0]));
  assert_true(isinf(out[1]) && out[1] > 0);
  assert_true(out[2] >= 0 && out[2] < 1e-40f);
  assert_true(isinf(out[3]));
  assert_true(out[4] >= 0 && out[4] < 1e-40f);
  assert_true(fabsf(out[5] - 1) < 1e-7f);
  kernel_case_finish(&c);
}

/* Integers: a * b + c wraps, division by zero is 0, comparisons give bytes of 0 and 1. */
static void integers_wrap_and_compare(void **state) {
  (void)state;
  const int8_t a[] = {100, -128, 7, -7};
  const int8_t b[] = {2, -1, 0, 2};
  const struct plan_tensor four = {.type = PLAN_I8, .rank = 1, .dims = {4}};
  const struct {
    enum plan_scalar scalar;
    enum plan_type out;
    int8_t wanted[4];
  } cases[] = {
      {PLAN_S_MUL, PLAN_I8, {-56, -128, 0, -14}}, {PLAN_S_DIV, PLAN_I8, {50, -128, 0, -3}},
      {PLAN_S_MOD, PLAN_I8, {0, 0, 0, 1}},        {PLAN_S_FMOD, PLAN_I8, {0, 0, 0, -1}},
      {PLAN_S_LESS, PLAN_BOOL, {0, 1, 0, 1}},     {PLAN_S_EQUAL, PLAN_BOOL, {0, 0, 0, 0}},
      {PLAN_S_MAX, PLAN_I8, {100, -1, 7, 2}},     {PLAN_S_BIT_AND, PLAN_I8, {0, -128, 0, 0}},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    struct kernel_case c = {.op = {.kind = PLAN_OP_POINTWISE}};
    const struct plan_step step = {.scalar = cases[i].scalar,
                                   .type = PLAN_I8,
                                   .a = {PLAN_OPERAND_INPUT, 0, 0},
                                   .b = {PLAN_OPERAND_INPUT, 1, 0}};
    struct plan_tensor out_tensor = four;
    out_tensor.type = cases[i].out;
    c.op.pointwise = (struct plan_pointwise){1, &step};
    kernel_case_in(&c, &four, a);
    kernel_case_in(&c, &four, b);
    const int8_t *out = kernel_case_out(&c, &out_tensor);
    kernel_case_run(&c, 2);
    for (int e = 0; e < 4; e++) {
      if (out[e] != cases[i].wanted[e]) {
        fail_msg("function %d: element %d is %d", (int)cases[i].scalar, e, out[e]);
      }
    }
    kernel_case_finish(&c);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(agrees_with_double_precision),
      cmocka_unit_test(exponentials_are_exact_to_a_few_units),
      cmocka_unit_test(numbers_beyond_a_float_come_out_as_they_should),
      cmocka_unit_test(integers_wrap_and_compare),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
