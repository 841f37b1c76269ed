/* POINTWISE: a plan's program in the form that the kernels read. */
#include <string.h>

#include "backend/cuda/emit.h"
#include "backend/cuda/views.h"

enum { WIDTH = 4 };

static uint8_t operand_code(const struct plan_operand *operand, uint32_t step) {
  switch (operand->kind) {
  case PLAN_OPERAND_INPUT:
    return (uint8_t)(KERNEL_OPERAND_INPUT + operand->index);
  case PLAN_OPERAND_STEP:
    return operand->index + 1 == step ? KERNEL_OPERAND_PREVIOUS : (uint8_t)operand->index;
  case PLAN_OPERAND_NUMBER:
    return KERNEL_OPERAND_NUMBER;
  default:
    return KERNEL_OPERAND_NONE;
  }
}

/* Comparisons, logic and tests give BOOL. */
static bool is_bool_step(enum plan_scalar scalar) {
  return (scalar >= PLAN_S_EQUAL && scalar <= PLAN_S_NOT) || scalar == PLAN_S_IS_NAN ||
         scalar == PLAN_S_IS_INF;
}

static enum plan_type operand_type(const struct emit *emit, const struct plan_op *op,
                                   const struct plan_operand *operand, enum plan_type otherwise) {
  if (operand->kind == PLAN_OPERAND_INPUT) {
    return emit_tensor(emit, op->inputs[operand->index])->type;
  }
  if (operand->kind == PLAN_OPERAND_STEP) {
    const struct plan_step *step = &op->pointwise.steps[operand->index];
    return is_bool_step(step->scalar) ? PLAN_BOOL : step->type;
  }
  return otherwise;
}

static void translate(const struct emit *emit, const struct plan_op *op,
                      struct kernel_pointwise *program) {
  program->steps_count = op->pointwise.steps_count;
  for (uint32_t i = 0; i < program->steps_count; i++) {
    const struct plan_step *from = &op->pointwise.steps[i];
    struct kernel_step *step = &program->steps[i];
    const struct plan_operand *operands[3] = {&from->a, &from->b, &from->c};
    step->scalar = (uint8_t)from->scalar;
    step->type = (uint8_t)(is_bool_step(from->scalar) ? PLAN_BOOL : from->type);
    step->compute_type = (uint8_t)from->type;
    step->operand_type = (uint8_t)operand_type(emit, op, &from->a, from->type);
    step->activation = (uint8_t)from->activation.kind;
    step->alpha = from->activation.alpha;
    step->beta = from->activation.beta;
    for (int k = 0; k < 3; k++) {
      step->operands[k] = operand_code(operands[k], i);
      step->numbers[k] = operands[k]->number;
    }
  }
}

static bool is_single_or_half(enum plan_type type) {
  return type == PLAN_F32 || type == PLAN_F16;
}

static bool is_all_float(const struct emit *emit, const struct plan_op *op) {
  bool is_float = is_single_or_half(emit_tensor(emit, op->outputs[0])->type);
  for (uint32_t i = 0; i < op->inputs_count; i++) {
    is_float = is_float && is_single_or_half(emit_tensor(emit, op->inputs[i])->type);
  }
  for (uint32_t i = 0; i < op->pointwise.steps_count; i++) {
    const struct plan_step *step = &op->pointwise.steps[i];
    is_float = is_float && is_single_or_half(step->type) && !is_bool_step(step->scalar) &&
               step->scalar != PLAN_S_SELECT;
  }
  return is_float;
}

static bool is_chain(const struct kernel_pointwise *program) {
  for (uint32_t i = 0; i < program->steps_count; i++) {
    for (int k = 0; k < 3; k++) {
      if (program->steps[i].operands[k] < KERNEL_OPERAND_INPUT) {
        return false;
      }
    }
  }
  return true;
}

/* Whether WIDTH neighbours can be handled at once: all operands either lie side by side along the
 * last axis or are one value along it. */
static bool is_packed(const struct view *view, const struct kernel_pointwise *program) {
  const uint32_t last = view->axes - 1;
  if (!view_is_packed(view, 0, WIDTH, program->to,
                      plan_type_bytes((enum plan_type)program->to_type))) {
    return false;
  }
  for (uint32_t i = 0; i < program->inputs_count; i++) {
    const struct kernel_operand *in = &program->inputs[i];
    if (view->strides[i + 1][last] != 0 &&
        !view_is_packed(view, i + 1, WIDTH, in->address,
                        plan_type_bytes((enum plan_type)in->type))) {
      return false;
    }
  }
  return true;
}

CUresult emit_pointwise(const struct emit *emit, const struct plan_op *op) {
  const struct plan_tensor *out = emit_tensor(emit, op->outputs[0]);
  struct kernel_pointwise program;
  memset(&program, 0, sizeof(program));
  translate(emit, op, &program);
  struct view view;
  view_init(&view, out);
  for (uint32_t i = 0; i < op->inputs_count; i++) {
    view_add(&view, emit_tensor(emit, op->inputs[i]));
  }
  view_collapse(&view);
  program.to = emit_address(emit, op->outputs[0]);
  program.to_type = (uint32_t)out->type;
  program.inputs_count = op->inputs_count;
  program.axes = view.axes;
  memcpy(program.dims, view.dims, sizeof(program.dims));
  memcpy(program.to_strides, view.strides[0], sizeof(program.to_strides));
  for (uint32_t i = 0; i < op->inputs_count; i++) {
    struct kernel_operand *in = &program.inputs[i];
    in->address = emit_address(emit, op->inputs[i]);
    in->type = (uint32_t)emit_tensor(emit, op->inputs[i])->type;
    in->is_contiguous = view.strides[i + 1][view.axes - 1] == 1;
    memcpy(in->strides, view.strides[i + 1], sizeof(in->strides));
  }
  program.count = view_elements(&view);
  if (!is_all_float(emit, op)) {
    return emit_launch(emit, KERNEL_pointwise_any, program.count, &program);
  }
  const bool chain = is_chain(&program);
  if (!is_packed(&view, &program)) {
    return emit_launch(emit, chain ? KERNEL_pointwise_float_chain : KERNEL_pointwise_float,
                       program.count, &program);
  }
  program.count /= WIDTH;
  return emit_launch(emit, chain ? KERNEL_pointwise_float4_chain : KERNEL_pointwise_float4,
                     program.count, &program);
}
