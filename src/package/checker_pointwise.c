#include "package/checker.h"

#include <math.h>

bool check_activation(struct checker *checker, const struct plan_activation *activation) {
  if (activation->kind >= PLAN_ACTS_END || isnan(activation->alpha) || isnan(activation->beta)) {
    return CHECKER_FAIL(checker, "activation %u is unknown, or a parameter of it is no number",
                        activation->kind);
  }
  return true;
}

/* Types that a scalar computes in. */
enum domain {
  ANY_TYPE,
  NUMBERS,  /* all but BOOL */
  FLOATS,   /* F32, F16, F64 */
  INTEGERS, /* signed or not */
  LOGIC,    /* BOOL */
};

struct rule {
  uint32_t operands;
  enum domain domain;
  bool gives_bool;
};

static const struct rule RULES[PLAN_SCALARS_END] = {
    [PLAN_S_COPY] = {1, ANY_TYPE, false},
    [PLAN_S_CAST] = {1, ANY_TYPE, false},
    [PLAN_S_CAST_SATURATE] = {1, ANY_TYPE, false},
    [PLAN_S_ADD] = {2, NUMBERS, false},
    [PLAN_S_SUB] = {2, NUMBERS, false},
    [PLAN_S_MUL] = {2, NUMBERS, false},
    [PLAN_S_DIV] = {2, NUMBERS, false},
    [PLAN_S_MOD] = {2, NUMBERS, false},
    [PLAN_S_FMOD] = {2, NUMBERS, false},
    [PLAN_S_POW] = {2, NUMBERS, false},
    [PLAN_S_MIN] = {2, NUMBERS, false},
    [PLAN_S_MAX] = {2, NUMBERS, false},
    [PLAN_S_NEG] = {1, NUMBERS, false},
    [PLAN_S_ABS] = {1, NUMBERS, false},
    [PLAN_S_SIGN] = {1, NUMBERS, false},
    [PLAN_S_FLOOR] = {1, FLOATS, false},
    [PLAN_S_CEIL] = {1, FLOATS, false},
    [PLAN_S_ROUND] = {1, FLOATS, false},
    [PLAN_S_SQRT] = {1, FLOATS, false},
    [PLAN_S_RECIPROCAL] = {1, FLOATS, false},
    [PLAN_S_EXP] = {1, FLOATS, false},
    [PLAN_S_LOG] = {1, FLOATS, false},
    [PLAN_S_SIN] = {1, FLOATS, false},
    [PLAN_S_COS] = {1, FLOATS, false},
    [PLAN_S_TAN] = {1, FLOATS, false},
    [PLAN_S_ASIN] = {1, FLOATS, false},
    [PLAN_S_ACOS] = {1, FLOATS, false},
    [PLAN_S_ATAN] = {1, FLOATS, false},
    [PLAN_S_SINH] = {1, FLOATS, false},
    [PLAN_S_COSH] = {1, FLOATS, false},
    [PLAN_S_TANH] = {1, FLOATS, false},
    [PLAN_S_ASINH] = {1, FLOATS, false},
    [PLAN_S_ACOSH] = {1, FLOATS, false},
    [PLAN_S_ATANH] = {1, FLOATS, false},
    [PLAN_S_ERF] = {1, FLOATS, false},
    [PLAN_S_ACTIVATION] = {1, FLOATS, false},
    [PLAN_S_SOFTPLUS] = {1, FLOATS, false},
    [PLAN_S_SOFTSIGN] = {1, FLOATS, false},
    [PLAN_S_SELU] = {1, FLOATS, false},
    [PLAN_S_FMA] = {3, NUMBERS, false},
    [PLAN_S_SELECT] = {3, ANY_TYPE, false},
    [PLAN_S_EQUAL] = {2, ANY_TYPE, true},
    [PLAN_S_LESS] = {2, NUMBERS, true},
    [PLAN_S_LESS_EQUAL] = {2, NUMBERS, true},
    [PLAN_S_GREATER] = {2, NUMBERS, true},
    [PLAN_S_GREATER_EQUAL] = {2, NUMBERS, true},
    [PLAN_S_AND] = {2, LOGIC, true},
    [PLAN_S_OR] = {2, LOGIC, true},
    [PLAN_S_XOR] = {2, LOGIC, true},
    [PLAN_S_NOT] = {1, LOGIC, true},
    [PLAN_S_BIT_AND] = {2, INTEGERS, false},
    [PLAN_S_BIT_OR] = {2, INTEGERS, false},
    [PLAN_S_BIT_XOR] = {2, INTEGERS, false},
    [PLAN_S_BIT_NOT] = {1, INTEGERS, false},
    [PLAN_S_SHIFT_LEFT] = {2, INTEGERS, false},
    [PLAN_S_SHIFT_RIGHT] = {2, INTEGERS, false},
    [PLAN_S_IS_NAN] = {1, FLOATS, true},
    [PLAN_S_IS_INF] = {1, FLOATS, true},
};

static bool is_in_domain(enum plan_type type, enum domain domain) {
  switch (domain) {
  case ANY_TYPE:
    return true;
  case NUMBERS:
    return type != PLAN_BOOL;
  case FLOATS:
    return plan_type_is_float(type);
  case INTEGERS:
    return type != PLAN_BOOL && !plan_type_is_float(type);
  case LOGIC:
    return type == PLAN_BOOL;
  }
  return false;
}

static enum plan_type value_type(const struct plan_step *step) {
  return RULES[step->scalar].gives_bool ? PLAN_BOOL : step->type;
}

/* `wanted`: its type; none in particular if 0. */
static bool check_operand(struct checker *checker, uint32_t step,
                          const struct plan_operand *operand, enum plan_type wanted) {
  const struct plan_pointwise *pointwise = &checker->op->pointwise;
  enum plan_type type = wanted;
  switch (operand->kind) {
  case PLAN_OPERAND_INPUT:
    if (operand->index >= checker->op->inputs_count) {
      return CHECKER_FAIL(checker, "step %u takes input %u of %u", step, operand->index,
                          checker->op->inputs_count);
    }
    type = checker_in(checker, operand->index)->type;
    break;
  case PLAN_OPERAND_STEP:
    if (operand->index >= step) {
      return CHECKER_FAIL(checker, "step %u takes the value of step %u", step, operand->index);
    }
    type = value_type(&pointwise->steps[operand->index]);
    break;
  case PLAN_OPERAND_NUMBER:
    break;
  default:
    return CHECKER_FAIL(checker, "step %u lacks an operand", step);
  }
  if (wanted != 0 && type != wanted) {
    return CHECKER_FAIL(checker, "step %u takes %s where it needs %s", step, plan_type_text(type),
                        plan_type_text(wanted));
  }
  return true;
}

static bool check_step(struct checker *checker, uint32_t index) {
  const struct plan_step *step = &checker->op->pointwise.steps[index];
  if (step->scalar < PLAN_S_COPY || step->scalar >= PLAN_SCALARS_END ||
      plan_type_bytes(step->type) == 0) {
    return CHECKER_FAIL(checker, "step %u has the unknown function %u or type %u", index,
                        step->scalar, step->type);
  }
  const struct rule *rule = &RULES[step->scalar];
  if (!is_in_domain(step->type, rule->domain)) {
    return CHECKER_FAIL(checker, "step %u: function %u does not compute in %s", index, step->scalar,
                        plan_type_text(step->type));
  }
  const struct plan_operand *operands[3] = {&step->a, &step->b, &step->c};
  for (uint32_t i = 0; i < 3; i++) {
    if (i >= rule->operands) {
      if (operands[i]->kind != PLAN_OPERAND_NONE) {
        return CHECKER_FAIL(checker, "step %u: function %u takes %u operands", index, step->scalar,
                            rule->operands);
      }
      continue;
    }
    enum plan_type wanted = step->type;
    if (step->scalar == PLAN_S_CAST || step->scalar == PLAN_S_CAST_SATURATE) {
      wanted = (enum plan_type)0;
    } else if (step->scalar == PLAN_S_SELECT && i == 0) {
      wanted = PLAN_BOOL;
    }
    if (!check_operand(checker, index, operands[i], wanted)) {
      return false;
    }
  }
  return check_activation(checker, &step->activation);
}

bool check_pointwise(struct checker *checker) {
  const struct plan_pointwise *pointwise = &checker->op->pointwise;
  if (pointwise->steps_count == 0 || pointwise->steps_count > PLAN_POINTWISE_STEPS) {
    return CHECKER_FAIL(checker, "%u steps; from 1 to %u", pointwise->steps_count,
                        (unsigned)PLAN_POINTWISE_STEPS);
  }
  for (uint32_t i = 0; i < pointwise->steps_count; i++) {
    if (!check_step(checker, i)) {
      return false;
    }
  }
  const struct plan_tensor *out = checker_out(checker, 0);
  const enum plan_type type = value_type(&pointwise->steps[pointwise->steps_count - 1]);
  if (out->type != type) {
    return CHECKER_FAIL(checker, "the last step gives %s, the output is %s", plan_type_text(type),
                        plan_type_text(out->type));
  }
  for (uint32_t i = 0; i < checker->op->inputs_count; i++) {
    const struct plan_tensor *in = checker_in(checker, i);
    for (uint32_t axis = 0; axis < in->rank; axis++) {
      const uint32_t behind = in->rank - axis;
      const uint32_t wanted = behind <= out->rank ? out->dims[out->rank - behind] : 1;
      if (in->dims[axis] != 1 && in->dims[axis] != wanted) {
        return CHECKER_FAIL(checker, "dim %u of input %u is %u, which does not broadcast to %u",
                            axis, i, in->dims[axis], wanted);
      }
    }
    if (in->rank > out->rank) {
      return CHECKER_FAIL(checker, "input %u has rank %u, the output %u", i, in->rank, out->rank);
    }
  }
  return true;
}
