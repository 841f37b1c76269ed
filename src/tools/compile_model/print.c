#include "tools/compile_model/print.h"

#include <inttypes.h>

static const char *activation_text(enum plan_activation_kind kind) {
  static const char *const NAMES[PLAN_ACTS_END] = {
      "none",         "relu",       "clip", "leaky_relu", "sigmoid",   "swish",
      "hard_sigmoid", "hard_swish", "tanh", "gelu_erf",   "gelu_tanh", "elu"};
  return kind < PLAN_ACTS_END ? NAMES[kind] : "?";
}

static const char *scalar_text(enum plan_scalar scalar) {
  static const char *const NAMES[PLAN_SCALARS_END] = {
      "?",          "copy",       "cast",        "cast_saturate", "add",           "sub",
      "mul",        "div",        "mod",         "fmod",          "pow",           "min",
      "max",        "neg",        "abs",         "sign",          "floor",         "ceil",
      "round",      "sqrt",       "reciprocal",  "exp",           "log",           "sin",
      "cos",        "tan",        "asin",        "acos",          "atan",          "sinh",
      "cosh",       "tanh",       "asinh",       "acosh",         "atanh",         "erf",
      "activation", "softplus",   "softsign",    "selu",          "fma",           "select",
      "equal",      "less",       "less_equal",  "greater",       "greater_equal", "and",
      "or",         "xor",        "not",         "bit_and",       "bit_or",        "bit_xor",
      "bit_not",    "shift_left", "shift_right", "is_nan",        "is_inf"};
  return scalar < PLAN_SCALARS_END ? NAMES[scalar] : "?";
}

void print_dims(FILE *file, enum plan_type type, uint32_t rank, const uint32_t *dims) {
  fprintf(file, "%s", plan_type_text(type));
  for (uint32_t i = 0; i < rank; i++) {
    fprintf(file, "%c%" PRIu32, i == 0 ? ' ' : 'x', dims[i]);
  }
}

static void print_tensor(FILE *file, const struct plan_batch *batch, uint32_t index) {
  static const char *const PLACES[] = {"?", "in", "out", "weights", "work"};
  if (index == PLAN_NONE) {
    fprintf(file, "-");
    return;
  }
  const struct plan_tensor *tensor = &batch->tensors[index];
  const struct plan_buffer *buffer = &batch->buffers[tensor->buffer];
  fprintf(file, "%s+%" PRIu64 " ", PLACES[buffer->place],
          buffer->offset_bytes + tensor->offset_bytes);
  print_dims(file, tensor->type, tensor->rank, tensor->dims);
  if (tensor->layout == PLAN_CHANNELS_LAST) {
    fprintf(file, " last");
    if (tensor->pitch != tensor->dims[1]) {
      fprintf(file, "/%" PRIu32, tensor->pitch);
    }
  }
}

static void print_operand(FILE *file, const struct plan_operand *operand) {
  switch (operand->kind) {
  case PLAN_OPERAND_INPUT:
    fprintf(file, " i%" PRIu32, operand->index);
    break;
  case PLAN_OPERAND_STEP:
    fprintf(file, " s%" PRIu32, operand->index);
    break;
  case PLAN_OPERAND_NUMBER:
    fprintf(file, " %.9g", operand->number);
    break;
  case PLAN_OPERAND_NONE:
    break;
  }
}

static void print_activation(FILE *file, const struct plan_activation *activation) {
  if (activation->kind != PLAN_ACT_NONE) {
    fprintf(file, " %s", activation_text(activation->kind));
    if (activation->alpha < 0 || activation->alpha > 0 || activation->beta > 0 ||
        activation->beta < 0) {
      fprintf(file, "(%.9g %.9g)", (double)activation->alpha, (double)activation->beta);
    }
  }
}

static void print_window(FILE *file, uint32_t spatial, const uint32_t *strides,
                         const uint32_t *before, const uint32_t *after) {
  fprintf(file, " stride");
  for (uint32_t i = 0; i < spatial; i++) {
    fprintf(file, "%c%" PRIu32, i == 0 ? ' ' : 'x', strides[i]);
  }
  fprintf(file, " pad");
  for (uint32_t i = 0; i < spatial; i++) {
    fprintf(file, "%c%" PRIu32 "+%" PRIu32, i == 0 ? ' ' : 'x', before[i], after[i]);
  }
}

static void print_program(FILE *file, const struct plan_pointwise *program) {
  fprintf(file, " {");
  for (uint32_t i = 0; i < program->steps_count; i++) {
    const struct plan_step *step = &program->steps[i];
    fprintf(file, "%s%s", i == 0 ? "" : "; ", scalar_text(step->scalar));
    print_operand(file, &step->a);
    print_operand(file, &step->b);
    print_operand(file, &step->c);
    print_activation(file, &step->activation);
  }
  fprintf(file, "}");
}

static void print_attributes(FILE *file, const struct plan_op *op) {
  switch (op->kind) {
  case PLAN_OP_CONV:
  case PLAN_OP_CONV_TRANSPOSE:
    print_window(file, op->conv.spatial, op->conv.strides, op->conv.pads_before,
                 op->conv.pads_after);
    if (op->conv.groups > 1) {
      fprintf(file, " groups %" PRIu32, op->conv.groups);
    }
    print_activation(file, &op->conv.activation);
    if (op->conv.residual_last) {
      fprintf(file, " residual_last");
    }
    break;
  case PLAN_OP_MATMUL:
    fprintf(file, "%s%s", op->matmul.transpose_a ? " transpose_a" : "",
            op->matmul.transpose_b ? " transpose_b" : "");
    if (op->matmul.alpha < 1 || op->matmul.alpha > 1) {
      fprintf(file, " alpha %.9g", (double)op->matmul.alpha);
    }
    print_activation(file, &op->matmul.activation);
    break;
  case PLAN_OP_POOL:
    fprintf(file, " %s", op->pool.kind == PLAN_POOL_MAX ? "max" : "mean");
    print_window(file, op->pool.spatial, op->pool.strides, op->pool.pads_before,
                 op->pool.pads_after);
    break;
  case PLAN_OP_POINTWISE:
    print_program(file, &op->pointwise);
    break;
  case PLAN_OP_REDUCE:
    fprintf(file, " kind %d axes 0x%" PRIx32, (int)op->reduce.kind, op->reduce.axes);
    break;
  case PLAN_OP_SOFTMAX:
    fprintf(file, " axis %" PRIu32, op->softmax.axis);
    break;
  case PLAN_OP_CONCAT:
    fprintf(file, " axis %" PRIu32, op->axis);
    break;
  case PLAN_OP_LAYER_NORM:
    fprintf(file, " axis %" PRIu32 " epsilon %.9g", op->normalize.axis,
            (double)op->normalize.epsilon);
    break;
  default:
    break;
  }
}

static void print_batch(FILE *file, const struct plan_batch *batch) {
  fprintf(file,
          "batch %" PRIu32 ": %" PRIu32 " operations, input %" PRIu64 ", output %" PRIu64
          ", workspace %" PRIu64 " (naive %" PRIu64 ") bytes\n",
          batch->batch_size, batch->ops_count, batch->input_bytes, batch->output_bytes,
          batch->workspace_bytes, batch->naive_bytes);
  for (uint32_t i = 0; i < batch->ops_count; i++) {
    const struct plan_op *op = &batch->ops[i];
    fprintf(file, "%4" PRIu32 " %s", i, plan_op_kind_text(op->kind));
    print_attributes(file, op);
    for (uint32_t j = 0; j < op->inputs_count; j++) {
      fprintf(file, "%s", j == 0 ? " (" : ", ");
      print_tensor(file, batch, op->inputs[j]);
    }
    for (uint32_t j = 0; j < op->outputs_count; j++) {
      fprintf(file, "%s", j == 0 ? ") -> " : ", ");
      print_tensor(file, batch, op->outputs[j]);
    }
    fprintf(file, "\n");
  }
}

static void print_ports(FILE *file, const char *what, uint32_t count,
                        const struct plan_port *ports) {
  for (uint32_t i = 0; i < count; i++) {
    fprintf(file, "%s %s: ", what, ports[i].name);
    print_dims(file, ports[i].type, ports[i].rank, ports[i].dims);
    fprintf(file, "%s\n", ports[i].batched ? " a request" : "");
  }
}

void print_plan(FILE *file, const struct plan *plan) {
  static const char *const PRECISIONS[] = {"?", "fp32", "tf32", "fp16"};
  fprintf(file, "model %s, %s, weights %" PRIu64 " bytes\n", plan->name,
          PRECISIONS[plan->precision], plan->weights_bytes);
  print_ports(file, "input", plan->inputs_count, plan->inputs);
  print_ports(file, "output", plan->outputs_count, plan->outputs);
  for (uint32_t i = 0; i < plan->batch_kinds; i++) {
    print_batch(file, &plan->batches[i]);
  }
}
