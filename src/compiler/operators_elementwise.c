/* One element in, one out, with broadcasting: POINTWISE of one or a few steps. */
#include <math.h>

#include "compiler/lowering.h"

static void lower_unary(struct node *node) {
  node->outputs[0] = graph_unary(node->graph, (enum plan_scalar)node->variant, node_input(node, 0));
}

static void lower_float_unary(struct node *node) {
  node_check_float(node, node_input(node, 0));
  lower_unary(node);
}

static void lower_binary(struct node *node) {
  const uint32_t a = node_input(node, 0);
  const uint32_t b = node_input(node, 1);
  node->outputs[0] = graph_binary(node->graph, (enum plan_scalar)node->variant, a, b);
}

static void lower_logic(struct node *node) {
  const uint32_t a = node_input(node, 0);
  if (graph_value(node->graph, a)->type != PLAN_BOOL) {
    node_malformed(node, "its inputs must be bool");
  }
  if (node->variant == PLAN_S_NOT) {
    lower_unary(node);
  } else {
    lower_binary(node);
  }
}

static void lower_bitwise(struct node *node) {
  const enum plan_type type = graph_value(node->graph, node_input(node, 0))->type;
  if (plan_type_is_float(type) || type == PLAN_BOOL) {
    node_malformed(node, "its inputs must be integers");
  }
  if (node->variant == PLAN_S_BIT_NOT) {
    lower_unary(node);
  } else {
    lower_binary(node);
  }
}

static void lower_shift(struct node *node) {
  const char *direction = node_text(node, "direction", "");
  const enum plan_type type = graph_value(node->graph, node_input(node, 0))->type;
  if (type != PLAN_U8 && type != PLAN_U16 && type != PLAN_U32 && type != PLAN_U64) {
    node_unsupported(node, "shifts %s; unsigned integers are supported", plan_type_text(type));
  }
  node->variant = direction[0] == 'L' ? PLAN_S_SHIFT_LEFT : PLAN_S_SHIFT_RIGHT;
  lower_bitwise(node);
}

static void lower_mod(struct node *node) {
  const enum plan_type type = graph_value(node->graph, node_input(node, 0))->type;
  const bool fmod = node_flag(node, "fmod", false);
  if (plan_type_is_float(type) && !fmod) {
    node_malformed(node, "floats need fmod = 1");
  }
  node->variant = fmod ? PLAN_S_FMOD : PLAN_S_MOD;
  lower_binary(node);
}

/* The exponent may have a type of its own. */
static void lower_pow(struct node *node) {
  const uint32_t a = node_input(node, 0);
  const enum plan_type type = graph_value(node->graph, a)->type;
  const enum plan_type exponent = graph_value(node->graph, node_input(node, 1))->type;
  double number = 0;
  if (graph_is_scalar(node->graph, node_input(node, 1), &number) && number == 2 &&
      graph_value(node->graph, node_input(node, 1))->rank <= graph_value(node->graph, a)->rank) {
    node->outputs[0] = graph_binary(node->graph, PLAN_S_MUL, a, a);
    return;
  }
  if (type == exponent) {
    node->outputs[0] = graph_binary(node->graph, PLAN_S_POW, a, node_input(node, 1));
    return;
  }
  const enum plan_type wide = type == PLAN_F32 && exponent != PLAN_F64 ? PLAN_F32 : PLAN_F64;
  const uint32_t power =
      graph_binary(node->graph, PLAN_S_POW, graph_cast(node->graph, a, wide, false),
                   graph_cast(node->graph, node_input(node, 1), wide, false));
  node->outputs[0] = graph_cast(node->graph, power, type, false);
}

/* Min, Max, Sum, Mean: any number of inputs. */
static void lower_variadic(struct node *node) {
  uint32_t value = node_input(node, 0);
  for (uint32_t i = 1; i < node->inputs_count; i++) {
    value = graph_binary(node->graph, (enum plan_scalar)node->variant, value, node_input(node, i));
  }
  node->outputs[0] = value;
}

static void lower_mean(struct node *node) {
  node_check_float(node, node_input(node, 0));
  node->variant = PLAN_S_ADD;
  lower_variadic(node);
  node->outputs[0] =
      graph_binary(node->graph, PLAN_S_MUL, node->outputs[0],
                   graph_add_number(node->graph, graph_value(node->graph, node->outputs[0])->type,
                                    1.0 / node->inputs_count));
}

static void lower_activation(struct node *node) {
  struct plan_activation activation = {.kind = (enum plan_activation_kind)node->variant};
  node_check_float(node, node_input(node, 0));
  switch (activation.kind) {
  case PLAN_ACT_LEAKY_RELU:
    activation.alpha = node_float(node, "alpha", 0.01F);
    break;
  case PLAN_ACT_ELU:
    activation.alpha = node_float(node, "alpha", 1.0F);
    break;
  case PLAN_ACT_HARD_SIGMOID:
    activation.alpha = node_float(node, "alpha", 0.2F);
    activation.beta = node_float(node, "beta", 0.5F);
    break;
  default:
    break;
  }
  node->outputs[0] = graph_activation(node->graph, activation, node_input(node, 0));
}

static void lower_relu(struct node *node) {
  const uint32_t x = node_input(node, 0);
  if (plan_type_is_float(graph_value(node->graph, x)->type)) {
    node->outputs[0] =
        graph_activation(node->graph, (struct plan_activation){.kind = PLAN_ACT_RELU}, x);
    return;
  }
  const uint32_t zero = graph_add_number(node->graph, graph_value(node->graph, x)->type, 0);
  node->outputs[0] = graph_binary(node->graph, PLAN_S_MAX, x, zero);
}

static void lower_gelu(struct node *node) {
  const char *approximate = node_text(node, "approximate", "none");
  node->variant = approximate[0] == 't' ? PLAN_ACT_GELU_TANH : PLAN_ACT_GELU_ERF;
  lower_activation(node);
}

/* A program over input 0 alone. */
static uint32_t program(struct node *node, uint32_t count, struct plan_step *steps) {
  const uint32_t x = node_input(node, 0);
  const struct graph_value value = *graph_value(node->graph, x);
  node_check_float(node, x);
  for (uint32_t i = 0; i < count; i++) {
    steps[i].type = value.type;
  }
  return graph_pointwise(node->graph, 1, &x, count, steps, value.rank, value.dims);
}

static void lower_selu(struct node *node) {
  struct plan_step step = {
      .scalar = PLAN_S_SELU,
      .a = graph_operand_input(0),
      .activation = {.alpha = node_float(node, "alpha", 1.67326319217681884765625F),
                     .beta = node_float(node, "gamma", 1.05070102214813232421875F)}};
  node->outputs[0] = program(node, 1, &step);
}

/* x < 0 ? alpha (exp(x / alpha) - 1) : x */
static void lower_celu(struct node *node) {
  const float alpha = node_float(node, "alpha", 1.0F);
  if (!(fabsf(alpha) > 0)) {
    node_malformed(node, "alpha is 0");
  }
  struct plan_step steps[3] = {
      {.scalar = PLAN_S_DIV, .a = graph_operand_input(0), .b = graph_operand_number((double)alpha)},
      {.scalar = PLAN_S_ACTIVATION,
       .a = graph_operand_step(0),
       .activation = {.kind = PLAN_ACT_ELU, .alpha = 1.0F}},
      {.scalar = PLAN_S_MUL, .a = graph_operand_step(1), .b = graph_operand_number((double)alpha)},
  };
  node->outputs[0] = program(node, 3, steps);
}

static void lower_mish(struct node *node) {
  struct plan_step steps[3] = {
      {.scalar = PLAN_S_SOFTPLUS, .a = graph_operand_input(0)},
      {.scalar = PLAN_S_TANH, .a = graph_operand_step(0)},
      {.scalar = PLAN_S_MUL, .a = graph_operand_input(0), .b = graph_operand_step(1)},
  };
  node->outputs[0] = program(node, 3, steps);
}

static void lower_thresholded_relu(struct node *node) {
  struct plan_step steps[2] = {
      {.scalar = PLAN_S_GREATER,
       .a = graph_operand_input(0),
       .b = graph_operand_number((double)node_float(node, "alpha", 1.0F))},
      {.scalar = PLAN_S_SELECT,
       .a = graph_operand_step(0),
       .b = graph_operand_input(0),
       .c = graph_operand_number(0)},
  };
  node->outputs[0] = program(node, 2, steps);
}

/* x < -lambd: x + bias; x > lambd: x - bias; else 0. */
static void lower_shrink(struct node *node) {
  const double lambd = (double)node_float(node, "lambd", 0.5F);
  const double bias = (double)node_float(node, "bias", 0.0F);
  struct plan_step steps[6] = {
      {.scalar = PLAN_S_LESS, .a = graph_operand_input(0), .b = graph_operand_number(-lambd)},
      {.scalar = PLAN_S_ADD, .a = graph_operand_input(0), .b = graph_operand_number(bias)},
      {.scalar = PLAN_S_GREATER, .a = graph_operand_input(0), .b = graph_operand_number(lambd)},
      {.scalar = PLAN_S_SUB, .a = graph_operand_input(0), .b = graph_operand_number(bias)},
      {.scalar = PLAN_S_SELECT,
       .a = graph_operand_step(2),
       .b = graph_operand_step(3),
       .c = graph_operand_number(0)},
      {.scalar = PLAN_S_SELECT,
       .a = graph_operand_step(0),
       .b = graph_operand_step(1),
       .c = graph_operand_step(4)},
  };
  node->outputs[0] = program(node, 6, steps);
}

static void lower_prelu(struct node *node) {
  const uint32_t inputs[2] = {node_input(node, 0), node_input(node, 1)};
  const struct graph_value x = *graph_value(node->graph, inputs[0]);
  node_check_float(node, inputs[0]);
  node_check_types(node, inputs[0], inputs[1]);
  const struct plan_step steps[3] = {
      {.scalar = PLAN_S_LESS,
       .type = x.type,
       .a = graph_operand_input(0),
       .b = graph_operand_number(0)},
      {.scalar = PLAN_S_MUL,
       .type = x.type,
       .a = graph_operand_input(0),
       .b = graph_operand_input(1)},
      {.scalar = PLAN_S_SELECT,
       .type = x.type,
       .a = graph_operand_step(0),
       .b = graph_operand_step(1),
       .c = graph_operand_input(0)},
  };
  uint32_t rank = 0;
  uint32_t dims[PLAN_RANK_MAX];
  const struct graph_value *slope = graph_value(node->graph, inputs[1]);
  if (!graph_broadcast(x.rank, x.dims, slope->rank, slope->dims, &rank, dims) || rank != x.rank) {
    node_malformed(node, "its slope doesn't broadcast to its input");
  }
  node->outputs[0] = graph_pointwise(node->graph, 2, inputs, 3, steps, x.rank, x.dims);
}

/* Limits are attributes up to opset 10, inputs since. */
static bool clip_limit(struct node *node, uint32_t index, const char *name, uint32_t *ret_value,
                       double *ret_number) {
  if (node->opset < 11) {
    if (!node_has(node, name)) {
      return false;
    }
    *ret_number = (double)node_float(node, name, 0);
    *ret_value = graph_add_number(node->graph, graph_value(node->graph, node_input(node, 0))->type,
                                  *ret_number);
    return true;
  }
  if (!node_has_input(node, index)) {
    return false;
  }
  *ret_value = node_input(node, index);
  if (!graph_is_scalar(node->graph, *ret_value, ret_number)) {
    *ret_number = NAN;
  }
  return true;
}

static void lower_clip(struct node *node) {
  uint32_t value = node_input(node, 0);
  const enum plan_type type = graph_value(node->graph, value)->type;
  double low = -INFINITY;
  double high = INFINITY;
  uint32_t low_value = GRAPH_NONE;
  uint32_t high_value = GRAPH_NONE;
  const bool has_low = clip_limit(node, 1, "min", &low_value, &low);
  const bool has_high = clip_limit(node, 2, "max", &high_value, &high);
  if (type == PLAN_F32 && !isnan(low) && !isnan(high) && (has_low || has_high)) {
    const struct plan_activation relu = {.kind = PLAN_ACT_RELU};
    const struct plan_activation clip = {
        .kind = PLAN_ACT_CLIP, .alpha = (float)low, .beta = (float)high};
    const bool is_relu = !(low < 0) && !(low > 0) && high > (double)3.402823e38F;
    node->outputs[0] = graph_activation(node->graph, is_relu ? relu : clip, value);
    return;
  }
  if (has_low) {
    value = graph_binary(node->graph, PLAN_S_MAX, value, low_value);
  }
  if (has_high) {
    value = graph_binary(node->graph, PLAN_S_MIN, value, high_value);
  }
  node->outputs[0] = value;
}

static void lower_cast(struct node *node) {
  enum plan_type type = 0;
  if (node->variant == 1) {
    type = graph_value(node->graph, node_input(node, 1))->type;
  } else {
    const int64_t to = node_int(node, "to", 0);
    if (to < 0 || to > INT32_MAX || !lower_type((int32_t)to, &type)) {
      node_unsupported(node, "casts to element type %lld; numbers and bool are supported",
                       (long long)to);
    }
  }
  node->outputs[0] = graph_cast(node->graph, node_input(node, 0), type, false);
}

static void lower_where(struct node *node) {
  const uint32_t inputs[3] = {node_input(node, 0), node_input(node, 1), node_input(node, 2)};
  const struct graph_value c = *graph_value(node->graph, inputs[0]);
  const struct graph_value x = *graph_value(node->graph, inputs[1]);
  const struct graph_value y = *graph_value(node->graph, inputs[2]);
  node_check_types(node, inputs[1], inputs[2]);
  if (c.type != PLAN_BOOL) {
    node_malformed(node, "its condition must be bool");
  }
  uint32_t rank = 0;
  uint32_t dims[PLAN_RANK_MAX];
  if (!graph_broadcast(x.rank, x.dims, y.rank, y.dims, &rank, dims) ||
      !graph_broadcast(rank, dims, c.rank, c.dims, &rank, dims)) {
    node_malformed(node, "its inputs' dimensions don't broadcast");
  }
  const struct plan_step step = {.scalar = PLAN_S_SELECT,
                                 .type = x.type,
                                 .a = graph_operand_input(0),
                                 .b = graph_operand_input(1),
                                 .c = graph_operand_input(2)};
  node->outputs[0] = graph_pointwise(node->graph, 3, inputs, 1, &step, rank, dims);
}

static void lower_is_inf(struct node *node) {
  const bool positive = node_flag(node, "detect_positive", true);
  const bool negative = node_flag(node, "detect_negative", true);
  const uint32_t x = node_input(node, 0);
  const struct graph_value value = *graph_value(node->graph, x);
  node_check_float(node, x);
  if (!positive && !negative) {
    node_unsupported(node, "detects neither sign of infinity");
  }
  const struct plan_step step = {.scalar = PLAN_S_IS_INF,
                                 .type = value.type,
                                 .a = graph_operand_input(0),
                                 .activation = {.alpha = positive && !negative ? 1 : 0,
                                                .beta = negative && !positive ? 1 : 0}};
  node->outputs[0] = graph_pointwise(node->graph, 1, &x, 1, &step, value.rank, value.dims);
}

static void lower_identity(struct node *node) {
  node->outputs[0] = node_input(node, 0);
}

/* Serving is inference: nothing is dropped, whatever training_mode says when it is false. */
static void lower_dropout(struct node *node) {
  double training = 0;
  const uint32_t x = node_input(node, 0);
  if (node_has_input(node, 2) &&
      (!graph_is_scalar(node->graph, node_input(node, 2), &training) || training > 0)) {
    node_unsupported(node, "is in training mode; export the model for inference");
  }
  node->outputs[0] = x;
  if (node->outputs_count > 1 && node->wanted[1]) {
    const struct graph_value value = *graph_value(node->graph, x);
    const uint32_t yes = graph_add_number(node->graph, PLAN_BOOL, 1);
    node->outputs[1] = graph_expand(node->graph, yes, value.rank, value.dims);
  }
}

static const struct operator_line LINES[] = {
    {"", "Abs", 6, 0, lower_unary, PLAN_S_ABS},
    {"", "Acos", 7, 0, lower_float_unary, PLAN_S_ACOS},
    {"", "Acosh", 9, 0, lower_float_unary, PLAN_S_ACOSH},
    {"", "Add", 7, 0, lower_binary, PLAN_S_ADD},
    {"", "And", 7, 0, lower_logic, PLAN_S_AND},
    {"", "Asin", 7, 0, lower_float_unary, PLAN_S_ASIN},
    {"", "Asinh", 9, 0, lower_float_unary, PLAN_S_ASINH},
    {"", "Atan", 7, 0, lower_float_unary, PLAN_S_ATAN},
    {"", "Atanh", 9, 0, lower_float_unary, PLAN_S_ATANH},
    {"", "BitShift", 11, 0, lower_shift, 0},
    {"", "BitwiseAnd", 18, 0, lower_bitwise, PLAN_S_BIT_AND},
    {"", "BitwiseNot", 18, 0, lower_bitwise, PLAN_S_BIT_NOT},
    {"", "BitwiseOr", 18, 0, lower_bitwise, PLAN_S_BIT_OR},
    {"", "BitwiseXor", 18, 0, lower_bitwise, PLAN_S_BIT_XOR},
    {"", "Cast", 6, 0, lower_cast, 0},
    {"", "CastLike", 15, 0, lower_cast, 1},
    {"", "Ceil", 6, 0, lower_float_unary, PLAN_S_CEIL},
    {"", "Celu", 12, 0, lower_celu, 0},
    {"", "Clip", 6, 0, lower_clip, 0},
    {"", "Cos", 7, 0, lower_float_unary, PLAN_S_COS},
    {"", "Cosh", 9, 0, lower_float_unary, PLAN_S_COSH},
    {"", "Div", 7, 0, lower_binary, PLAN_S_DIV},
    {"", "Dropout", 7, 0, lower_dropout, 0},
    {"", "Elu", 6, 0, lower_activation, PLAN_ACT_ELU},
    {"", "Equal", 7, 0, lower_binary, PLAN_S_EQUAL},
    {"", "Erf", 9, 0, lower_float_unary, PLAN_S_ERF},
    {"", "Exp", 6, 0, lower_float_unary, PLAN_S_EXP},
    {"", "Floor", 6, 0, lower_float_unary, PLAN_S_FLOOR},
    {"", "Gelu", 20, 0, lower_gelu, 0},
    {"com.microsoft", "Gelu", 1, 0, lower_activation, PLAN_ACT_GELU_ERF},
    {"", "Greater", 7, 0, lower_binary, PLAN_S_GREATER},
    {"", "GreaterOrEqual", 12, 0, lower_binary, PLAN_S_GREATER_EQUAL},
    {"", "HardSigmoid", 6, 0, lower_activation, PLAN_ACT_HARD_SIGMOID},
    {"", "HardSwish", 14, 0, lower_activation, PLAN_ACT_HARD_SWISH},
    {"", "Identity", 1, 0, lower_identity, 0},
    {"", "IsInf", 10, 0, lower_is_inf, 0},
    {"", "IsNaN", 9, 0, lower_float_unary, PLAN_S_IS_NAN},
    {"", "LeakyRelu", 6, 0, lower_activation, PLAN_ACT_LEAKY_RELU},
    {"", "Less", 7, 0, lower_binary, PLAN_S_LESS},
    {"", "LessOrEqual", 12, 0, lower_binary, PLAN_S_LESS_EQUAL},
    {"", "Log", 6, 0, lower_float_unary, PLAN_S_LOG},
    {"", "Max", 6, 0, lower_variadic, PLAN_S_MAX},
    {"", "Mean", 6, 0, lower_mean, 0},
    {"", "Min", 6, 0, lower_variadic, PLAN_S_MIN},
    {"", "Mish", 18, 0, lower_mish, 0},
    {"", "Mod", 10, 0, lower_mod, 0},
    {"", "Mul", 7, 0, lower_binary, PLAN_S_MUL},
    {"", "Neg", 6, 0, lower_unary, PLAN_S_NEG},
    {"", "Not", 1, 0, lower_logic, PLAN_S_NOT},
    {"", "Or", 7, 0, lower_logic, PLAN_S_OR},
    {"", "PRelu", 7, 0, lower_prelu, 0},
    {"", "Pow", 7, 0, lower_pow, 0},
    {"", "Reciprocal", 6, 0, lower_float_unary, PLAN_S_RECIPROCAL},
    {"", "Relu", 6, 0, lower_relu, 0},
    {"", "Round", 11, 0, lower_float_unary, PLAN_S_ROUND},
    {"", "Selu", 6, 0, lower_selu, 0},
    {"", "Shrink", 9, 0, lower_shrink, 0},
    {"", "Sigmoid", 6, 0, lower_activation, PLAN_ACT_SIGMOID},
    {"", "Sign", 9, 0, lower_unary, PLAN_S_SIGN},
    {"", "Sin", 7, 0, lower_float_unary, PLAN_S_SIN},
    {"", "Sinh", 9, 0, lower_float_unary, PLAN_S_SINH},
    {"", "Softplus", 1, 0, lower_float_unary, PLAN_S_SOFTPLUS},
    {"", "Softsign", 1, 0, lower_float_unary, PLAN_S_SOFTSIGN},
    {"", "Sqrt", 6, 0, lower_float_unary, PLAN_S_SQRT},
    {"", "Sub", 7, 0, lower_binary, PLAN_S_SUB},
    {"", "Sum", 6, 0, lower_variadic, PLAN_S_ADD},
    {"", "Tan", 7, 0, lower_float_unary, PLAN_S_TAN},
    {"", "Tanh", 6, 0, lower_activation, PLAN_ACT_TANH},
    {"", "ThresholdedRelu", 10, 0, lower_thresholded_relu, 0},
    {"", "Where", 9, 0, lower_where, 0},
    {"", "Xor", 7, 0, lower_logic, PLAN_S_XOR},
    {0},
};

const struct operator_family OPERATORS_ELEMENTWISE = {"element-wise", LINES};
