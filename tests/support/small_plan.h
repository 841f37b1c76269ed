/* A plan of seven operations with all that plan_check() looks at: two batch sizes, an image whose
 * channels two operations write, buffers that follow one another in the same bytes, an operation
 * in place. For tests that spoil one thing in it.
 *
 *   x (N, 3, 4, 4) -> channels last -> conv 3x3 + bias + relu -> channels 0..3 of an image of 8
 *                                   -> 2 x of these           -> channels 4..7
 *   -> mean over the image -> matmul with (8, 5) + bias -> softmax in place -> copy to y (N, 5)
 */
#ifndef CLOCKWORK_TESTS_SUPPORT_SMALL_PLAN_H
#define CLOCKWORK_TESTS_SUPPORT_SMALL_PLAN_H

#include <string.h>

#include "package/plan.h"

enum {
  SMALL_BATCHES = 2,
  SMALL_WEIGHTS_BYTES = 1280,
  SMALL_IDS = 4,
};

enum small_buffer {
  SMALL_BUFFER_X,
  SMALL_BUFFER_Y,
  SMALL_BUFFER_FILTER,
  SMALL_BUFFER_BIAS,
  SMALL_BUFFER_MATRIX,
  SMALL_BUFFER_OFFSET,
  SMALL_BUFFER_PIXELS,
  SMALL_BUFFER_IMAGE,
  SMALL_BUFFER_LOGITS,
  SMALL_BUFFERS,
};

enum small_tensor {
  SMALL_X,
  SMALL_Y,
  SMALL_FILTER,
  SMALL_BIAS,
  SMALL_MATRIX,
  SMALL_OFFSET,
  SMALL_PIXELS,
  SMALL_LOW,  /* channels 0 .. 3 of the image */
  SMALL_HIGH, /* channels 4 .. 7 */
  SMALL_IMAGE,
  SMALL_MEAN,
  SMALL_FLAT, /* the means as a matrix */
  SMALL_LOGITS,
  SMALL_TENSORS,
};

enum small_op {
  SMALL_OP_TURN,
  SMALL_OP_CONV,
  SMALL_OP_DOUBLE,
  SMALL_OP_MEAN,
  SMALL_OP_MATMUL,
  SMALL_OP_SOFTMAX,
  SMALL_OP_COPY,
  SMALL_OPS,
};

struct small_batch {
  struct plan_buffer buffers[SMALL_BUFFERS];
  struct plan_tensor tensors[SMALL_TENSORS];
  struct plan_op ops[SMALL_OPS];
  struct plan_step steps[SMALL_OPS];
  uint32_t inputs[SMALL_OPS][SMALL_IDS];
  uint32_t outputs[SMALL_OPS][SMALL_IDS];
  uint32_t x;
  uint32_t y;
};

/* The plan points into the struct: it must not be copied. */
struct small_plan {
  struct plan plan;
  struct plan_port x;
  struct plan_port y;
  struct plan_batch heads[SMALL_BATCHES];
  struct small_batch batches[SMALL_BATCHES];
};

static inline void small_plan_op(struct small_batch *batch, enum small_op op,
                                 enum plan_op_kind kind, uint32_t in, uint32_t out) {
  batch->inputs[op][0] = in;
  batch->outputs[op][0] = out;
  batch->ops[op].kind = kind;
  batch->ops[op].inputs_count = 1;
  batch->ops[op].outputs_count = 1;
  batch->ops[op].inputs = batch->inputs[op];
  batch->ops[op].outputs = batch->outputs[op];
  memcpy(batch->ops[op].name, "node", sizeof("node"));
}

static inline void small_plan_pointwise(struct small_batch *batch, enum small_op op,
                                        enum plan_scalar scalar, uint32_t in, uint32_t out) {
  small_plan_op(batch, op, PLAN_OP_POINTWISE, in, out);
  batch->steps[op].scalar = scalar;
  batch->steps[op].type = PLAN_F32;
  batch->steps[op].a.kind = PLAN_OPERAND_INPUT;
  batch->ops[op].pointwise = (struct plan_pointwise){1, &batch->steps[op]};
}

static inline void small_plan_buffers(struct small_batch *batch, uint32_t n) {
  const uint32_t image_bytes = n * 512;
  const struct plan_buffer buffers[SMALL_BUFFERS] = {
      [SMALL_BUFFER_X] = {PLAN_INPUT, 0, n * 192, 0, 0},
      [SMALL_BUFFER_Y] = {PLAN_OUTPUT, 0, n * 20, 0, 0},
      [SMALL_BUFFER_FILTER] = {PLAN_WEIGHTS, 0, 432, 0, 0},
      [SMALL_BUFFER_BIAS] = {PLAN_WEIGHTS, 512, 16, 0, 0},
      [SMALL_BUFFER_MATRIX] = {PLAN_WEIGHTS, 768, 160, 0, 0},
      [SMALL_BUFFER_OFFSET] = {PLAN_WEIGHTS, 1024, 20, 0, 0},
      [SMALL_BUFFER_PIXELS] = {PLAN_WORKSPACE, image_bytes, n * 192, SMALL_OP_TURN, SMALL_OP_CONV},
      [SMALL_BUFFER_IMAGE] = {PLAN_WORKSPACE, 0, image_bytes, SMALL_OP_CONV, SMALL_OP_MEAN},
      [SMALL_BUFFER_LOGITS] = {PLAN_WORKSPACE, image_bytes, 512, SMALL_OP_MEAN, SMALL_OP_COPY},
  };
  memcpy(batch->buffers, buffers, sizeof(buffers));
}

static inline void small_plan_tensors(struct small_batch *batch, uint32_t n) {
#define SMALL_ROWS_(rank_, ...) PLAN_F32, PLAN_ROW_MAJOR, rank_, {__VA_ARGS__}, 0
#define SMALL_IMAGE_(channels, pitch)                                                              \
  PLAN_F32, PLAN_CHANNELS_LAST, 4, {n, channels, 4, 4, 1, 1, 1, 1}, pitch
  const struct plan_tensor tensors[SMALL_TENSORS] = {
      [SMALL_X] = {SMALL_ROWS_(4, n, 3, 4, 4, 1, 1, 1, 1), SMALL_BUFFER_X, 0},
      [SMALL_Y] = {SMALL_ROWS_(2, n, 5, 1, 1, 1, 1, 1, 1), SMALL_BUFFER_Y, 0},
      [SMALL_FILTER] =
          {PLAN_F32, PLAN_CHANNELS_LAST, 4, {4, 3, 3, 3, 1, 1, 1, 1}, 3, SMALL_BUFFER_FILTER, 0},
      [SMALL_BIAS] = {SMALL_ROWS_(1, 4, 1, 1, 1, 1, 1, 1, 1), SMALL_BUFFER_BIAS, 0},
      [SMALL_MATRIX] = {SMALL_ROWS_(2, 8, 5, 1, 1, 1, 1, 1, 1), SMALL_BUFFER_MATRIX, 0},
      [SMALL_OFFSET] = {SMALL_ROWS_(1, 5, 1, 1, 1, 1, 1, 1, 1), SMALL_BUFFER_OFFSET, 0},
      [SMALL_PIXELS] = {SMALL_IMAGE_(3, 3), SMALL_BUFFER_PIXELS, 0},
      [SMALL_LOW] = {SMALL_IMAGE_(4, 8), SMALL_BUFFER_IMAGE, 0},
      [SMALL_HIGH] = {SMALL_IMAGE_(4, 8), SMALL_BUFFER_IMAGE, 16},
      [SMALL_IMAGE] = {SMALL_IMAGE_(8, 8), SMALL_BUFFER_IMAGE, 0},
      [SMALL_MEAN] = {SMALL_ROWS_(4, n, 8, 1, 1, 1, 1, 1, 1), SMALL_BUFFER_LOGITS, 0},
      [SMALL_FLAT] = {SMALL_ROWS_(2, n, 8, 1, 1, 1, 1, 1, 1), SMALL_BUFFER_LOGITS, 0},
      [SMALL_LOGITS] = {SMALL_ROWS_(2, n, 5, 1, 1, 1, 1, 1, 1), SMALL_BUFFER_LOGITS, 256},
  };
#undef SMALL_ROWS_
#undef SMALL_IMAGE_
  memcpy(batch->tensors, tensors, sizeof(tensors));
}

static inline void small_plan_ops(struct small_batch *batch) {
  small_plan_pointwise(batch, SMALL_OP_TURN, PLAN_S_COPY, SMALL_X, SMALL_PIXELS);
  small_plan_op(batch, SMALL_OP_CONV, PLAN_OP_CONV, SMALL_PIXELS, SMALL_LOW);
  batch->inputs[SMALL_OP_CONV][1] = SMALL_FILTER;
  batch->inputs[SMALL_OP_CONV][2] = SMALL_BIAS;
  batch->inputs[SMALL_OP_CONV][3] = PLAN_NONE;
  batch->ops[SMALL_OP_CONV].inputs_count = 4;
  batch->ops[SMALL_OP_CONV].conv = (struct plan_conv){.spatial = 2,
                                                      .groups = 1,
                                                      .strides = {1, 1, 1},
                                                      .dilations = {1, 1, 1},
                                                      .pads_before = {1, 1, 0},
                                                      .pads_after = {1, 1, 0},
                                                      .activation = {.kind = PLAN_ACT_RELU}};
  small_plan_pointwise(batch, SMALL_OP_DOUBLE, PLAN_S_MUL, SMALL_LOW, SMALL_HIGH);
  batch->steps[SMALL_OP_DOUBLE].b = (struct plan_operand){PLAN_OPERAND_NUMBER, 0, 2};
  small_plan_op(batch, SMALL_OP_MEAN, PLAN_OP_REDUCE, SMALL_IMAGE, SMALL_MEAN);
  batch->ops[SMALL_OP_MEAN].reduce = (struct plan_reduce){.kind = PLAN_REDUCE_MEAN, .axes = 12};
  small_plan_op(batch, SMALL_OP_MATMUL, PLAN_OP_MATMUL, SMALL_FLAT, SMALL_LOGITS);
  batch->inputs[SMALL_OP_MATMUL][1] = SMALL_MATRIX;
  batch->inputs[SMALL_OP_MATMUL][2] = SMALL_OFFSET;
  batch->ops[SMALL_OP_MATMUL].inputs_count = 3;
  batch->ops[SMALL_OP_MATMUL].matmul = (struct plan_matmul){.alpha = 1};
  small_plan_op(batch, SMALL_OP_SOFTMAX, PLAN_OP_SOFTMAX, SMALL_LOGITS, SMALL_LOGITS);
  batch->ops[SMALL_OP_SOFTMAX].softmax = (struct plan_softmax){.axis = 1};
  small_plan_pointwise(batch, SMALL_OP_COPY, PLAN_S_COPY, SMALL_LOGITS, SMALL_Y);
}

static inline void small_plan_port(struct plan_port *port, const char *name, uint32_t rank,
                                   uint32_t a, uint32_t b, uint32_t c) {
  *port = (struct plan_port){.type = PLAN_F32, .rank = rank, .dims = {a, b, c}, .batched = true};
  memcpy(port->name, name, strlen(name));
  port->bytes_per_request = 4 * (uint64_t)a * (rank > 1 ? b * c : 1);
}

static inline void small_plan_init(struct small_plan *small) {
  memset(small, 0, sizeof(*small));
  small_plan_port(&small->x, "x", 3, 3, 4, 4);
  small_plan_port(&small->y, "y", 1, 5, 0, 0);
  small->plan = (struct plan){.name = "small",
                              .precision = PLAN_FP32,
                              .inputs_count = 1,
                              .inputs = &small->x,
                              .outputs_count = 1,
                              .outputs = &small->y,
                              .input_bytes = 192,
                              .output_bytes = 20,
                              .weights_bytes = SMALL_WEIGHTS_BYTES,
                              .batch_kinds = SMALL_BATCHES,
                              .batches = small->heads};
  for (uint32_t i = 0; i < SMALL_BATCHES; i++) {
    struct small_batch *batch = &small->batches[i];
    const uint32_t n = i + 1;
    small_plan_buffers(batch, n);
    small_plan_tensors(batch, n);
    small_plan_ops(batch);
    batch->x = SMALL_X;
    batch->y = SMALL_Y;
    small->heads[i] = (struct plan_batch){.batch_size = n,
                                          .buffers_count = SMALL_BUFFERS,
                                          .buffers = batch->buffers,
                                          .tensors_count = SMALL_TENSORS,
                                          .tensors = batch->tensors,
                                          .ops_count = SMALL_OPS,
                                          .ops = batch->ops,
                                          .inputs = &batch->x,
                                          .outputs = &batch->y,
                                          .input_bytes = n * 192,
                                          .output_bytes = n * 20,
                                          .workspace_bytes = n * 512 + 512,
                                          .naive_bytes = n * 704 + 512};
  }
}

#endif
