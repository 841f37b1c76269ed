/* Products that are an activation of x by another name: x times a function of x times a number.
 *
 *   SiLU       x sigmoid(x)
 *   HardSwish  x clip(x + 3, 0, 6) / 6, x hardsigmoid(x)
 *   GELU       x (1 + erf(x / sqrt 2)) / 2, and its tanh form
 *   HardSigmoid clip(x + 3, 0, 6) / 6
 */
#include <math.h>
#include <string.h>

#include "compiler/passes.h"

enum { FACTORS_MAX = 3 };

struct factors {
  struct plan_operand operands[FACTORS_MAX];
  uint32_t count;
  double number;
};

static bool near(double a, double b) {
  return fabs(a - b) <= 1e-4 * fabs(b); /* exporters round sqrt 2 and the like */
}

static bool same(struct plan_operand a, struct plan_operand b) {
  return a.kind == b.kind && a.kind != PLAN_OPERAND_NUMBER && a.kind != PLAN_OPERAND_NONE &&
         a.index == b.index;
}

static const struct plan_step *step_of(const struct plan_step *steps, struct plan_operand operand) {
  return operand.kind == PLAN_OPERAND_STEP ? &steps[operand.index] : NULL;
}

static bool collect(const struct plan_step *steps, struct plan_operand operand, uint32_t depth,
                    struct factors *f) {
  const struct plan_step *step = step_of(steps, operand);
  if (operand.kind == PLAN_OPERAND_NUMBER) {
    f->number *= operand.number;
    return true;
  }
  if (depth > 0 && step != NULL && step->scalar == PLAN_S_MUL) {
    return collect(steps, step->a, depth - 1, f) && collect(steps, step->b, depth - 1, f);
  }
  if (depth > 0 && step != NULL && step->scalar == PLAN_S_DIV &&
      step->b.kind == PLAN_OPERAND_NUMBER) {
    f->number /= step->b.number;
    return collect(steps, step->a, depth - 1, f);
  }
  if (f->count == FACTORS_MAX) {
    return false;
  }
  f->operands[f->count++] = operand;
  return true;
}

/* operand = other + number, in either order; *ret_other. */
static bool is_sum(const struct plan_step *steps, struct plan_operand operand, double number,
                   struct plan_operand *ret_other) {
  const struct plan_step *step = step_of(steps, operand);
  if (step == NULL || step->scalar != PLAN_S_ADD) {
    return false;
  }
  const bool first = step->a.kind == PLAN_OPERAND_NUMBER;
  const struct plan_operand constant = first ? step->a : step->b;
  *ret_other = first ? step->b : step->a;
  return constant.kind == PLAN_OPERAND_NUMBER && near(constant.number, number);
}

/* operand = x number. */
static bool is_scaled(const struct plan_step *steps, struct plan_operand operand, double number,
                      struct plan_operand x) {
  struct factors f = {.number = 1};
  return collect(steps, operand, 1, &f) && f.count == 1 && same(f.operands[0], x) &&
         near(f.number, number);
}

static bool is_activation(const struct plan_step *steps, struct plan_operand operand,
                          enum plan_activation_kind kind) {
  const struct plan_step *step = step_of(steps, operand);
  return step != NULL && step->scalar == PLAN_S_ACTIVATION && step->activation.kind == kind;
}

/* clip(x + 3, 0, 6); *ret_x. */
static bool is_relu6(const struct plan_step *steps, struct plan_operand operand,
                     struct plan_operand *ret_x) {
  if (!is_activation(steps, operand, PLAN_ACT_CLIP)) {
    return false;
  }
  const struct plan_step *step = step_of(steps, operand);
  return fabsf(step->activation.alpha) <= 0 && near((double)step->activation.beta, 6) &&
         is_sum(steps, step->a, 3, ret_x);
}

static bool is_cube(const struct plan_step *steps, struct plan_operand operand,
                    struct plan_operand x) {
  const struct plan_step *step = step_of(steps, operand);
  if (step != NULL && step->scalar == PLAN_S_POW) {
    return same(step->a, x) && step->b.kind == PLAN_OPERAND_NUMBER && near(step->b.number, 3);
  }
  struct factors f = {.number = 1};
  return collect(steps, operand, 2, &f) && f.count == 3 && near(f.number, 1) &&
         same(f.operands[0], x) && same(f.operands[1], x) && same(f.operands[2], x);
}

/* sqrt(2 / pi) (x + 0.044715 x^3) */
static bool is_gelu_argument(const struct plan_step *steps, struct plan_operand operand,
                             struct plan_operand x) {
  struct factors f = {.number = 1};
  if (!collect(steps, operand, 1, &f) || f.count != 1 || !near(f.number, 0.7978845608)) {
    return false;
  }
  const struct plan_step *sum = step_of(steps, f.operands[0]);
  if (sum == NULL || sum->scalar != PLAN_S_ADD) {
    return false;
  }
  const bool first = same(sum->a, x);
  struct factors cubic = {.number = 1};
  if (!first && !same(sum->b, x)) {
    return false;
  }
  const struct plan_operand rest = first ? sum->b : sum->a;
  if (!collect(steps, rest, 1, &cubic) || !near(cubic.number, 0.044715)) {
    return false;
  }
  if (cubic.count == 1) {
    return is_cube(steps, cubic.operands[0], x);
  }
  struct factors all = {.number = 1};
  return collect(steps, rest, 3, &all) && all.count == 3 && same(all.operands[0], x) &&
         same(all.operands[1], x) && same(all.operands[2], x);
}

/* x f(x) number. */
static bool match_product(const struct plan_step *steps, struct plan_operand x,
                          struct plan_operand function, double number,
                          struct plan_activation *ret) {
  struct plan_operand inner;
  const struct plan_step *step = step_of(steps, function);
  if (near(number, 1) && is_activation(steps, function, PLAN_ACT_SIGMOID) && same(step->a, x)) {
    *ret = (struct plan_activation){.kind = PLAN_ACT_SWISH};
    return true;
  }
  if ((near(number, 1) && is_activation(steps, function, PLAN_ACT_HARD_SIGMOID) &&
       same(step->a, x) && near((double)step->activation.alpha, 1.0 / 6) &&
       near((double)step->activation.beta, 0.5)) ||
      (near(number, 1.0 / 6) && is_relu6(steps, function, &inner) && same(inner, x))) {
    *ret = (struct plan_activation){.kind = PLAN_ACT_HARD_SWISH};
    return true;
  }
  if (!near(number, 0.5) || !is_sum(steps, function, 1, &inner)) {
    return false;
  }
  const struct plan_step *curve = step_of(steps, inner);
  if (curve != NULL && curve->scalar == PLAN_S_ERF && is_scaled(steps, curve->a, 0.70710678, x)) {
    *ret = (struct plan_activation){.kind = PLAN_ACT_GELU_ERF};
    return true;
  }
  if (is_activation(steps, inner, PLAN_ACT_TANH) && is_gelu_argument(steps, curve->a, x)) {
    *ret = (struct plan_activation){.kind = PLAN_ACT_GELU_TANH};
    return true;
  }
  return false;
}

static bool match(const struct plan_step *steps, uint32_t index, struct plan_operand *ret_x,
                  struct plan_activation *ret) {
  struct factors f = {.number = 1};
  if (!collect(steps, graph_operand_step(index), 3, &f)) {
    return false;
  }
  if (f.count == 1 && near(f.number, 1.0 / 6) && is_relu6(steps, f.operands[0], ret_x)) {
    *ret = (struct plan_activation){.kind = PLAN_ACT_HARD_SIGMOID, .alpha = 1.0F / 6, .beta = 0.5F};
    return true;
  }
  for (uint32_t i = 0; f.count == 2 && i < 2; i++) {
    if (match_product(steps, f.operands[i], f.operands[1 - i], f.number, ret)) {
      *ret_x = f.operands[i];
      return true;
    }
  }
  return false;
}

static void mark(const struct plan_operand *operand, bool *steps_used, bool *inputs_used) {
  if (operand->kind == PLAN_OPERAND_STEP) {
    steps_used[operand->index] = true;
  } else if (operand->kind == PLAN_OPERAND_INPUT) {
    inputs_used[operand->index] = true;
  }
}

static void renumber(struct plan_operand *operand, const uint32_t *steps_at,
                     const uint32_t *inputs_at) {
  if (operand->kind == PLAN_OPERAND_STEP) {
    operand->index = steps_at[operand->index];
  } else if (operand->kind == PLAN_OPERAND_INPUT) {
    operand->index = inputs_at[operand->index];
  }
}

/* Steps and inputs that the last step doesn't need go. */
static void drop_unused(struct graph_op *op, struct plan_step *steps, uint32_t count) {
  bool steps_used[PLAN_POINTWISE_STEPS] = {false};
  bool inputs_used[PLAN_POINTWISE_INPUTS] = {false};
  uint32_t steps_at[PLAN_POINTWISE_STEPS] = {0};
  uint32_t inputs_at[PLAN_POINTWISE_INPUTS] = {0};
  steps_used[count - 1] = true;
  for (uint32_t i = count; i-- > 0;) {
    if (steps_used[i]) {
      mark(&steps[i].a, steps_used, inputs_used);
      mark(&steps[i].b, steps_used, inputs_used);
      mark(&steps[i].c, steps_used, inputs_used);
    }
  }
  uint32_t kept = 0;
  for (uint32_t i = 0; i < op->inputs_count; i++) {
    inputs_at[i] = kept;
    if (inputs_used[i]) {
      op->inputs[kept++] = op->inputs[i];
    }
  }
  op->inputs_count = kept;
  kept = 0;
  for (uint32_t i = 0; i < count; i++) {
    if (steps_used[i]) {
      steps_at[i] = kept;
      renumber(&steps[i].a, steps_at, inputs_at);
      renumber(&steps[i].b, steps_at, inputs_at);
      renumber(&steps[i].c, steps_at, inputs_at);
      steps[kept++] = steps[i];
    }
  }
  op->plan.pointwise = (struct plan_pointwise){.steps_count = kept, .steps = steps};
}

static void visit(struct graph *graph, struct graph_op *op) {
  const uint32_t count = op->plan.pointwise.steps_count;
  struct plan_step *steps = context_take(graph->context, count, sizeof(steps[0]));
  memcpy(steps, op->plan.pointwise.steps, count * sizeof(steps[0]));
  bool any = false;
  for (uint32_t i = 0; i < count; i++) {
    struct plan_operand x;
    struct plan_activation activation;
    const bool product = steps[i].scalar == PLAN_S_MUL || steps[i].scalar == PLAN_S_DIV;
    if (product && plan_type_is_float(steps[i].type) && match(steps, i, &x, &activation)) {
      steps[i] = (struct plan_step){
          .scalar = PLAN_S_ACTIVATION, .type = steps[i].type, .a = x, .activation = activation};
      any = true;
    }
  }
  if (any) {
    drop_unused(op, steps, count);
  }
}

void pass_activation(struct graph *graph) {
  for (uint32_t i = 0; i < graph->ops_count; i++) {
    if (graph->ops[i].plan.kind == PLAN_OP_POINTWISE) {
      visit(graph, &graph->ops[i]);
    }
  }
}
