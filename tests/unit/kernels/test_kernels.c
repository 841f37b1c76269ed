/* Each kind of operation on an example small enough to be worked out by hand, in one part and in
 * three. Differences from ONNX Runtime on random graphs are looked for elsewhere. */
#include <math.h>

#include "support/cmocka.h"
#include "support/kernel_case.h"

#define SHAPE(...)                                                                                 \
  {                                                                                                \
    .type = PLAN_F32, .dims = { __VA_ARGS__ }                                                      \
  }

struct shape {
  enum plan_type type;
  uint32_t dims[PLAN_RANK_MAX]; /* up to the first 0 */
};

static struct plan_tensor tensor_of(struct shape shape) {
  struct plan_tensor tensor = {.type = shape.type, .layout = PLAN_ROW_MAJOR};
  while (tensor.rank < PLAN_RANK_MAX && shape.dims[tensor.rank] != 0) {
    tensor.dims[tensor.rank] = shape.dims[tensor.rank];
    tensor.rank++;
  }
  return tensor;
}

enum { EXAMPLE_INPUTS = 4, EXAMPLE_VALUES = 24 };

struct example {
  const char *name;
  struct plan_op op; /* kind and attributes */
  struct shape inputs[EXAMPLE_INPUTS];
  double values[EXAMPLE_INPUTS][EXAMPLE_VALUES];
  struct shape output;
  double wanted[EXAMPLE_VALUES];
};

static double get(enum plan_type type, const void *data, uint64_t at) {
  return type == PLAN_I64   ? (double)((const int64_t *)data)[at]
         : type == PLAN_I32 ? (double)((const int32_t *)data)[at]
                            : (double)((const float *)data)[at];
}

static void put(enum plan_type type, void *data, uint64_t at, double value) {
  if (type == PLAN_I64) {
    ((int64_t *)data)[at] = (int64_t)value;
  } else if (type == PLAN_I32) {
    ((int32_t *)data)[at] = (int32_t)value;
  } else {
    ((float *)data)[at] = (float)value;
  }
}

static void run_example(const struct example *example, uint32_t parts) {
  struct kernel_case c = {.op = example->op};
  uint32_t inputs = EXAMPLE_INPUTS;
  while (inputs > 0 && example->inputs[inputs - 1].type == 0) {
    inputs--;
  }
  for (uint32_t i = 0; i < inputs; i++) {
    if (example->inputs[i].type == 0) {
      kernel_case_no_input(&c);
      continue;
    }
    const struct plan_tensor tensor = tensor_of(example->inputs[i]);
    int64_t bytes[EXAMPLE_VALUES];
    for (uint64_t e = 0; e < plan_tensor_elements(&tensor); e++) {
      put(tensor.type, bytes, e, example->values[i][e]);
    }
    kernel_case_in(&c, &tensor, bytes);
  }
  const struct plan_tensor out = tensor_of(example->output);
  const void *got = kernel_case_out(&c, &out);
  kernel_case_run(&c, parts);
  for (uint64_t e = 0; e < plan_tensor_elements(&out); e++) {
    const double value = get(out.type, got, e);
    if (!(fabs(value - example->wanted[e]) <= 1e-5)) {
      fail_msg("%s: element %d is %g instead of %g", example->name, (int)e, value,
               example->wanted[e]);
    }
  }
  kernel_case_finish(&c);
}

static const struct example EXAMPLES[] = {
    {"convolution with padding, stride, bias, residual and relu",
     {.kind = PLAN_OP_CONV,
      .conv = {.spatial = 1,
               .groups = 1,
               .strides = {2},
               .dilations = {1},
               .pads_before = {1},
               .pads_after = {1},
               .activation = {.kind = PLAN_ACT_RELU}}},
     {SHAPE(1, 1, 4), SHAPE(1, 1, 3), SHAPE(1), SHAPE(1, 1, 2)},
     {{1, 2, 3, 4}, {1, 10, 100}, {-200}, {0, 1}},
     SHAPE(1, 1, 2),
     {10, 233}},
    {"convolution in groups, residual behind the activation",
     {.kind = PLAN_OP_CONV,
      .conv = {.spatial = 1,
               .groups = 2,
               .strides = {1},
               .dilations = {2},
               .residual_last = true,
               .activation = {.kind = PLAN_ACT_RELU}}},
     {SHAPE(1, 2, 3), SHAPE(2, 1, 2), {0}, SHAPE(1, 2, 1)},
     {{1, 2, 3, 4, 5, 6}, {1, 1, -1, -1}, {0}, {-5, -5}},
     SHAPE(1, 2, 1),
     {-1, -5}},
    {"transposed convolution",
     {.kind = PLAN_OP_CONV_TRANSPOSE,
      .conv = {.spatial = 1, .groups = 1, .strides = {2}, .dilations = {1}}},
     {SHAPE(1, 1, 2), SHAPE(1, 1, 3)},
     {{1, 2}, {1, 10, 100}},
     SHAPE(1, 1, 5),
     {1, 10, 102, 20, 200}},
    {"product with bias",
     {.kind = PLAN_OP_MATMUL, .matmul = {.alpha = 2}},
     {SHAPE(2, 2), SHAPE(2, 3), SHAPE(3)},
     {{1, 2, 3, 4}, {1, 0, 1, 0, 1, 1}, {1, 1, 0}},
     SHAPE(2, 3),
     {3, 5, 6, 7, 9, 14}},
    {"product of turned matrices, one broadcast",
     {.kind = PLAN_OP_MATMUL, .matmul = {.alpha = 1, .transpose_a = true, .transpose_b = true}},
     {SHAPE(2, 2, 1), SHAPE(1, 2)},
     {{1, 2, 3, 4}, {10, 1}},
     SHAPE(2, 1, 1),
     {12, 34}},
    {"greatest of windows",
     {.kind = PLAN_OP_POOL,
      .pool = {.kind = PLAN_POOL_MAX,
               .spatial = 1,
               .kernel = {2},
               .strides = {2},
               .dilations = {1},
               .pads_before = {1},
               .pads_after = {1}}},
     {SHAPE(1, 1, 4)},
     {{-3, -2, -5, -7}},
     SHAPE(1, 1, 3),
     {-3, -2, -7}},
    {"mean of windows without the padding",
     {.kind = PLAN_OP_POOL,
      .pool = {.kind = PLAN_POOL_MEAN,
               .spatial = 1,
               .kernel = {2},
               .strides = {2},
               .dilations = {1},
               .pads_before = {1},
               .pads_after = {1}}},
     {SHAPE(1, 1, 4)},
     {{2, 4, 6, 8}},
     SHAPE(1, 1, 3),
     {2, 5, 8}},
    {"mean of windows with the padding",
     {.kind = PLAN_OP_POOL,
      .pool = {.kind = PLAN_POOL_MEAN,
               .spatial = 1,
               .kernel = {2},
               .strides = {2},
               .dilations = {1},
               .pads_before = {1},
               .pads_after = {1},
               .count_padding = true,
               .declared_pads_after = {1}}},
     {SHAPE(1, 1, 4)},
     {{2, 4, 6, 8}},
     SHAPE(1, 1, 3),
     {1, 5, 4}},
    {"mean over the middle axis",
     {.kind = PLAN_OP_REDUCE, .reduce = {.kind = PLAN_REDUCE_MEAN, .axes = 2}},
     {SHAPE(2, 2, 2)},
     {{1, 2, 3, 4, 5, 6, 7, 8}},
     SHAPE(2, 1, 2),
     {2, 3, 6, 7}},
    {"last of the greatest",
     {.kind = PLAN_OP_REDUCE,
      .reduce = {.kind = PLAN_REDUCE_ARG_MAX, .axes = 2, .last_index = true}},
     {SHAPE(2, 3)},
     {{7, 7, 1, 0, 2, 1}},
     {.type = PLAN_I64, .dims = {2, 1}},
     {1, 1}},
    {"logarithm of a sum of exponentials",
     {.kind = PLAN_OP_REDUCE, .reduce = {.kind = PLAN_REDUCE_LOG_SUM_EXP, .axes = 1}},
     {SHAPE(2)},
     {{0, 0}},
     SHAPE(1),
     {0.69314718}},
    {"softmax along the first axis",
     {.kind = PLAN_OP_SOFTMAX, .softmax = {.axis = 0}},
     {SHAPE(2, 2)},
     {{0, 100, 0, 0}},
     SHAPE(2, 2),
     {0.5, 1, 0.5, 0}},
    {"layer norm with scale and offset",
     {.kind = PLAN_OP_LAYER_NORM, .normalize = {.axis = 1}},
     {SHAPE(2, 2), SHAPE(2), SHAPE(2)},
     {{1, 3, -2, 2}, {1, 2}, {0, 1}},
     SHAPE(2, 2),
     {-1, 3, -1, 3}},
    {"norm of groups of channels",
     {.kind = PLAN_OP_GROUP_NORM, .normalize = {.groups = 1}},
     {SHAPE(1, 2, 1), SHAPE(2), SHAPE(2)},
     {{1, 3}, {1, 2}, {0, 1}},
     SHAPE(1, 2, 1),
     {-1, 3}},
    {"local response",
     {.kind = PLAN_OP_LRN, .lrn = {.size = 3, .alpha = 3, .beta = 1, .bias = 1}},
     {SHAPE(1, 3, 1)},
     {{1, 2, 3}},
     SHAPE(1, 3, 1),
     {1.0 / 6, 2.0 / 15, 3.0 / 14}},
    {"transpose",
     {.kind = PLAN_OP_TRANSPOSE, .transpose = {.permutation = {2, 0, 1}}},
     {SHAPE(1, 2, 3)},
     {{1, 2, 3, 4, 5, 6}},
     SHAPE(3, 1, 2),
     {1, 4, 2, 5, 3, 6}},
    {"concatenation along the last axis",
     {.kind = PLAN_OP_CONCAT, .axis = 1},
     {SHAPE(2, 1), SHAPE(2, 2)},
     {{1, 4}, {2, 3, 5, 6}},
     SHAPE(2, 3),
     {1, 2, 3, 4, 5, 6}},
    {"slice backwards",
     {.kind = PLAN_OP_SLICE, .slice = {.starts = {0, 3}, .steps = {1, -2}}},
     {SHAPE(2, 4)},
     {{1, 2, 3, 4, 5, 6, 7, 8}},
     SHAPE(2, 2),
     {4, 2, 8, 6}},
    {"padding with a number, cut off in front",
     {.kind = PLAN_OP_PAD, .pad = {.mode = PLAN_PAD_FILL, .before = {-1}, .fill = 9}},
     {SHAPE(3)},
     {{1, 2, 3}},
     SHAPE(4),
     {2, 3, 9, 9}},
    {"padding by reflection",
     {.kind = PLAN_OP_PAD, .pad = {.mode = PLAN_PAD_REFLECT, .before = {2}}},
     {SHAPE(3)},
     {{1, 2, 3}},
     SHAPE(7),
     {3, 2, 1, 2, 3, 2, 1}},
    {"padding by the edge",
     {.kind = PLAN_OP_PAD, .pad = {.mode = PLAN_PAD_EDGE, .before = {1}}},
     {SHAPE(2)},
     {{1, 2}},
     SHAPE(4),
     {1, 1, 2, 2}},
    {"gathering, from the end and held in range",
     {.kind = PLAN_OP_GATHER, .gather = {.axis = 1}},
     {SHAPE(2, 3), {.type = PLAN_I32, .dims = {3}}},
     {{1, 2, 3, 4, 5, 6}, {-1, 0, 100}},
     SHAPE(2, 3),
     {3, 1, 3, 6, 4, 6}},
    {"gathering element by element",
     {.kind = PLAN_OP_GATHER_ELEMENTS, .gather = {.axis = 0}},
     {SHAPE(2, 2), {.type = PLAN_I64, .dims = {1, 2}}},
     {{1, 2, 3, 4}, {1, 0}},
     SHAPE(1, 2),
     {3, 2}},
    {"gathering by tuples in batches",
     {.kind = PLAN_OP_GATHER_ND, .gather = {.batch_dims = 1}},
     {SHAPE(2, 2, 2), {.type = PLAN_I64, .dims = {2, 1}}},
     {{1, 2, 3, 4, 5, 6, 7, 8}, {1, 0}},
     SHAPE(2, 2),
     {3, 4, 5, 6}},
    {"scattering by addition",
     {.kind = PLAN_OP_SCATTER_ELEMENTS, .gather = {.axis = 0, .reduction = PLAN_SCATTER_ADD}},
     {SHAPE(3), {.type = PLAN_I64, .dims = {3}}, SHAPE(3)},
     {{1, 1, 1}, {0, 2, 2}, {10, 20, 30}},
     SHAPE(3),
     {11, 1, 51}},
    {"scattering by tuples",
     {.kind = PLAN_OP_SCATTER_ND},
     {SHAPE(2, 2), {.type = PLAN_I64, .dims = {1, 1}}, SHAPE(1, 2)},
     {{1, 2, 3, 4}, {1}, {8, 9}},
     SHAPE(2, 2),
     {1, 2, 8, 9}},
    {"enlarging to the nearest",
     {.kind = PLAN_OP_RESIZE,
      .resize = {.mode = PLAN_RESIZE_NEAREST,
                 .coordinates = PLAN_RESIZE_ASYMMETRIC,
                 .rounding = PLAN_ROUND_FLOOR,
                 .scales = {1, 1, 2}}},
     {SHAPE(1, 1, 2)},
     {{1, 2}},
     SHAPE(1, 1, 4),
     {1, 1, 2, 2}},
    {"enlarging by straight lines",
     {.kind = PLAN_OP_RESIZE,
      .resize = {.mode = PLAN_RESIZE_LINEAR,
                 .coordinates = PLAN_RESIZE_HALF_PIXEL,
                 .scales = {1, 1, 2}}},
     {SHAPE(1, 1, 2)},
     {{0, 4}},
     SHAPE(1, 1, 4),
     {0, 1, 3, 4}},
    {"the two greatest, equal ones in their order",
     {.kind = PLAN_OP_TOPK, .topk = {.axis = 0, .largest = true}},
     {SHAPE(4)},
     {{5, 9, 1, 9}},
     SHAPE(2),
     {9, 9}},
    {"sums of what stands before, backwards",
     {.kind = PLAN_OP_CUMSUM, .cumsum = {.axis = 0, .exclusive = true, .reverse = true}},
     {SHAPE(3)},
     {{1, 2, 3}},
     SHAPE(3),
     {5, 3, 0}},
    {"upper triangle",
     {.kind = PLAN_OP_TRILU, .trilu = {.upper = true, .diagonal = 1}},
     {SHAPE(2, 2)},
     {{1, 2, 3, 4}},
     SHAPE(2, 2),
     {0, 2, 0, 0}},
    {"a recurrence of one unit",
     {.kind = PLAN_OP_RNN, .recurrent = {.direction = PLAN_REVERSE, .hidden = 1}},
     {SHAPE(3, 1, 1), SHAPE(1, 1, 1), SHAPE(1, 1, 1), SHAPE(1, 2)},
     {{1, 2, 3}, {1}, {10}, {0.25, 0.25}},
     SHAPE(3, 1, 1, 1),
     {376.5, 37.5, 3.5}},
};

static void gives_what_was_worked_out_by_hand(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof(EXAMPLES) / sizeof(EXAMPLES[0]); i++) {
    run_example(&EXAMPLES[i], 1);
    run_example(&EXAMPLES[i], 3);
  }
}

/* One step of both, every gate wide open or shut: h and c are plain. */
static void gates_stand_in_the_order_of_onnx(void **state) {
  (void)state;
  const struct plan_activation sigmoid = {.kind = PLAN_ACT_SIGMOID};
  const struct plan_activation none = {.kind = PLAN_ACT_NONE};
  const float one[] = {1};
  const struct plan_tensor unit = {.type = PLAN_F32, .rank = 3, .dims = {1, 1, 1}};
  const struct plan_tensor y = {.type = PLAN_F32, .rank = 4, .dims = {1, 1, 1, 1}};

  /* i open, o half open, f shut, g = 3: c = 3, h = c / 2. */
  struct kernel_case lstm = {.op = {.kind = PLAN_OP_LSTM,
                                    .recurrent = {.direction = PLAN_FORWARD,
                                                  .hidden = 1,
                                                  .activations = {sigmoid, none, none}}}};
  const struct plan_tensor four = {.type = PLAN_F32, .rank = 3, .dims = {1, 4, 1}};
  const float lstm_w[] = {100, 0, -100, 3};
  const float lstm_r[] = {0, 0, 0, 0};
  kernel_case_in(&lstm, &unit, one);
  kernel_case_in(&lstm, &four, lstm_w);
  kernel_case_in(&lstm, &four, lstm_r);
  const float *lstm_y = kernel_case_out(&lstm, &y);
  const float *last_h = kernel_case_out(&lstm, &unit);
  const float *last_c = kernel_case_out(&lstm, &unit);
  kernel_case_run(&lstm, 1);
  assert_true(fabsf(lstm_y[0] - 1.5f) < 1e-6f);
  assert_true(fabsf(last_h[0] - 1.5f) < 1e-6f);
  assert_true(fabsf(last_c[0] - 3) < 1e-6f);
  kernel_case_finish(&lstm);

  /* z half open, r shut, h~ = 4, h before = 2: h = 3. */
  struct kernel_case gru = {
      .op = {
          .kind = PLAN_OP_GRU,
          .recurrent = {.direction = PLAN_FORWARD, .hidden = 1, .activations = {sigmoid, none}}}};
  const struct plan_tensor three = {.type = PLAN_F32, .rank = 3, .dims = {1, 3, 1}};
  const float gru_w[] = {0, -100, 4};
  const float gru_r[] = {0, 0, 1000};
  const float before[] = {2};
  kernel_case_in(&gru, &unit, one);
  kernel_case_in(&gru, &three, gru_w);
  kernel_case_in(&gru, &three, gru_r);
  kernel_case_no_input(&gru);
  kernel_case_no_input(&gru);
  kernel_case_in(&gru, &unit, before);
  const float *gru_y = kernel_case_out(&gru, &y);
  kernel_case_run(&gru, 1);
  assert_true(fabsf(gru_y[0] - 3) < 1e-6f);
  kernel_case_finish(&gru);
}

/* The same convolution as rows and as pixels, with room between the pixels. */
static void layouts_of_images_agree(void **state) {
  (void)state;
  enum { IN = 2 * 3 * 5 * 5, FILTER = 4 * 3 * 3 * 3, OUT = 2 * 4 * 5 * 5, PITCH = 7 };
  static float rows[IN], filter[FILTER], pixels[2 * 5 * 5 * PITCH], turned[FILTER];
  for (int i = 0; i < IN; i++) {
    rows[i] = (float)(i * 7 % 11) - 5;
  }
  for (int i = 0; i < FILTER; i++) {
    filter[i] = (float)(i * 5 % 13) - 6;
  }
  for (int n = 0; n < 2; n++) {
    for (int c = 0; c < 3; c++) {
      for (int p = 0; p < 25; p++) {
        pixels[(n * 25 + p) * PITCH + c] = rows[(n * 3 + c) * 25 + p];
      }
    }
  }
  for (int k = 0; k < 4; k++) {
    for (int c = 0; c < 3; c++) {
      for (int p = 0; p < 9; p++) {
        turned[(k * 9 + p) * 3 + c] = filter[(k * 3 + c) * 9 + p];
      }
    }
  }
  const struct plan_op op = {.kind = PLAN_OP_CONV,
                             .conv = {.spatial = 2,
                                      .groups = 1,
                                      .strides = {1, 1},
                                      .dilations = {1, 1},
                                      .pads_before = {1, 1},
                                      .pads_after = {1, 1}}};
  struct kernel_case by_rows = {.op = op};
  struct kernel_case by_pixels = {.op = op};
  struct plan_tensor x = {.type = PLAN_F32, .rank = 4, .dims = {2, 3, 5, 5}};
  struct plan_tensor w = {.type = PLAN_F32, .rank = 4, .dims = {4, 3, 3, 3}};
  struct plan_tensor y = {.type = PLAN_F32, .rank = 4, .dims = {2, 4, 5, 5}};
  kernel_case_in(&by_rows, &x, rows);
  kernel_case_in(&by_rows, &w, filter);
  const float *row_result = kernel_case_out(&by_rows, &y);
  x.layout = w.layout = y.layout = PLAN_CHANNELS_LAST;
  x.pitch = PITCH;
  w.pitch = 3;
  y.pitch = 4;
  kernel_case_in(&by_pixels, &x, pixels);
  kernel_case_in(&by_pixels, &w, turned);
  const float *pixel_result = kernel_case_out(&by_pixels, &y);
  kernel_case_run(&by_rows, 2);
  kernel_case_run(&by_pixels, 3);
  for (int i = 0; i < OUT; i++) { /* small whole numbers: exact either way */
    const int image = i / 100;
    const int channel = i / 25 % 4;
    assert_true(fabsf(row_result[i] - pixel_result[(image * 25 + i % 25) * 4 + channel]) < 0.5f);
  }
  kernel_case_finish(&by_rows);
  kernel_case_finish(&by_pixels);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(gives_what_was_worked_out_by_hand),
      cmocka_unit_test(gates_stand_in_the_order_of_onnx),
      cmocka_unit_test(layouts_of_images_agree),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
