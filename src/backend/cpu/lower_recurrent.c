/* LSTMs with weights, by lstm.h; all else that is recurrent is the kernels'. */
#include <stdlib.h>

#include "backend/cpu/builder.h"
#include "backend/cpu/lstm.h"
#include "backend/cpu/packed_product.h"

/* Inputs and outputs of the operation, as ONNX orders them. */
enum { IN_X, IN_W, IN_R, IN_BIAS, IN_LENGTHS, IN_H, IN_C, IN_PEEPHOLES };
enum { OUT_Y, OUT_H, OUT_C };

enum area {
  AREA_X,
  AREA_W,
  AREA_R,
  AREA_BIAS,
  AREA_FIRST_H,
  AREA_FIRST_C,
  AREA_Y,
  AREA_LAST_H,
  AREA_LAST_C,
  AREA_SCRATCH,
  AREAS
};

static void run_lstm(const void *shape, unsigned char *const *data, uint32_t part, uint32_t parts) {
  const struct lstm_operands operands = {.x = (const void *)data[AREA_X],
                                         .w = (const void *)data[AREA_W],
                                         .r = (const void *)data[AREA_R],
                                         .bias = (const void *)data[AREA_BIAS],
                                         .first_h = (const void *)data[AREA_FIRST_H],
                                         .first_c = (const void *)data[AREA_FIRST_C],
                                         .y = (void *)data[AREA_Y],
                                         .last_h = (void *)data[AREA_LAST_H],
                                         .last_c = (void *)data[AREA_LAST_C],
                                         .scratch = (void *)data[AREA_SCRATCH]};
  lstm_run(shape, &operands, part, parts);
}

static bool has_input(const struct plan_op *op, uint32_t input) {
  return op->inputs_count > input && op->inputs[input] != PLAN_NONE;
}

static bool has_usual_gates(const struct plan_recurrent *recurrent, uint32_t directions) {
  static const enum plan_activation_kind USUAL[] = {PLAN_ACT_SIGMOID, PLAN_ACT_TANH, PLAN_ACT_TANH};
  for (uint32_t i = 0; i < directions * 3; i++) {
    if (recurrent->activations[i].kind != USUAL[i % 3]) {
      return false;
    }
  }
  return true;
}

static bool is_plain(const struct builder *builder, uint32_t tensor) {
  const struct plan_tensor *at = builder_tensor(builder, tensor);
  return at->type == PLAN_F32 && at->layout == PLAN_ROW_MAJOR &&
         (builder_is_weights(builder, tensor) || !builder_home_is_blocked(builder, tensor));
}

static bool can_lower(const struct builder *builder, const struct plan_op *op,
                      uint32_t directions) {
  for (uint32_t i = 0; i < op->inputs_count; i++) {
    if (op->inputs[i] != PLAN_NONE && i != IN_LENGTHS && !is_plain(builder, op->inputs[i])) {
      return false;
    }
  }
  for (uint32_t i = 0; i < op->outputs_count; i++) {
    if (op->outputs[i] != PLAN_NONE && !is_plain(builder, op->outputs[i])) {
      return false;
    }
  }
  return !has_input(op, IN_PEEPHOLES) && builder_is_weights(builder, op->inputs[IN_W]) &&
         builder_is_weights(builder, op->inputs[IN_R]) &&
         has_usual_gates(&op->recurrent, directions);
}

/* (directions, 4 x hidden, depth) as panels. */
static struct program_area pack(struct builder *builder, uint32_t tensor) {
  const struct plan_tensor *w = builder_tensor(builder, tensor);
  const dnnl_dim_t depth = w->dims[2];
  const dnnl_dim_t columns = w->dims[1];
  const dnnl_dims_t dims = {depth, columns, w->dims[0]};
  const dnnl_dims_t strides = {1, depth, depth * columns};
  dnnl_memory_desc_t from;
  dnnl_memory_desc_init_by_strides(&from, 3, dims, dnnl_f32, strides);
  const dnnl_memory_desc_t to = desc_panels(depth, columns, w->dims[0]);
  return builder_weights_area(builder, tensor, &from, &to);
}

static struct program_area area_of(struct builder *builder, uint32_t count, const uint32_t *tensors,
                                   uint32_t which) {
  struct program_area area = {.place = PROGRAM_PLACES};
  if (which >= count || tensors[which] == PLAN_NONE) {
    return area;
  }
  if (builder_is_weights(builder, tensors[which])) {
    return builder_weights_verbatim(builder, tensors[which]);
  }
  dnnl_memory_desc_t desc;
  builder_home(builder, tensors[which], &area, &desc);
  return area;
}

bool lower_lstm(struct builder *builder, const struct plan_op *op) {
  const uint32_t directions = op->recurrent.direction == PLAN_BIDIRECTIONAL ? 2 : 1;
  if (!can_lower(builder, op, directions)) {
    return false;
  }
  const struct plan_tensor *x = builder_tensor(builder, op->inputs[IN_X]);
  struct lstm *lstm = calloc(1, sizeof(*lstm));
  if (lstm == NULL) {
    builder->error = ERR_NO_MEMORY;
    return true;
  }
  *lstm = (struct lstm){.steps = x->dims[0],
                        .batch = x->dims[1],
                        .width = x->dims[2],
                        .hidden = op->recurrent.hidden,
                        .directions = directions,
                        .first_is_turned = op->recurrent.direction == PLAN_REVERSE};
  const dnnl_dim_t floats = (dnnl_dim_t)lstm_scratch_floats(lstm);
  const dnnl_memory_desc_t row = desc_rows(1, &floats, dnnl_f32);
  const uint32_t scratch = builder_temporary(builder, &row);
  if (scratch == PLAN_NONE) {
    free(lstm);
    return true;
  }
  struct program_native native = {.run = run_lstm,
                                  .shape = lstm,
                                  .areas_count = AREAS,
                                  .parts =
                                      lstm->batch < builder->team ? lstm->batch : builder->team};
  native.areas[AREA_X] = area_of(builder, op->inputs_count, op->inputs, IN_X);
  native.areas[AREA_W] = pack(builder, op->inputs[IN_W]);
  native.areas[AREA_R] = pack(builder, op->inputs[IN_R]);
  native.areas[AREA_BIAS] = area_of(builder, op->inputs_count, op->inputs, IN_BIAS);
  native.areas[AREA_FIRST_H] = area_of(builder, op->inputs_count, op->inputs, IN_H);
  native.areas[AREA_FIRST_C] = area_of(builder, op->inputs_count, op->inputs, IN_C);
  native.areas[AREA_Y] = area_of(builder, op->outputs_count, op->outputs, OUT_Y);
  native.areas[AREA_LAST_H] = area_of(builder, op->outputs_count, op->outputs, OUT_H);
  native.areas[AREA_LAST_C] = area_of(builder, op->outputs_count, op->outputs, OUT_C);
  native.areas[AREA_SCRATCH] = builder->program->memories[scratch].area;
  builder_emit_native(builder, &native, "lstm");
  return true;
}
