/* Every operation that oneDNN computes, over random shapes, against the reference kernels. */
#include "unit/backend/cpu/lowered.h"

enum { ROUNDS = 30 };

static struct prng prng;

static uint32_t draw(uint32_t low, uint32_t high) {
  return lowered_draw(&prng, low, high);
}

/* ---- parts of plans -------------------------------------------------------------------------- */

static void copy(struct plan_maker *maker, uint32_t from, uint32_t to) {
  struct plan_op *op = plan_maker_op(maker, PLAN_OP_POINTWISE, 1, &from, to);
  op->pointwise.steps_count = 1;
  ((struct plan_step *)(uintptr_t)op->pointwise.steps)[0] = (struct plan_step){
      .scalar = PLAN_S_COPY, .type = PLAN_F32, .a = {.kind = PLAN_OPERAND_INPUT}};
}

/* An input, as an image in channels-last. */
static uint32_t open_image(struct plan_maker *maker, const uint32_t *dims) {
  const uint32_t x = plan_maker_input(maker, 4, dims);
  const uint32_t image = plan_maker_tensor(maker, PLAN_CHANNELS_LAST, 4, dims);
  copy(maker, x, image);
  return image;
}

static void close_image(struct plan_maker *maker, uint32_t image, const uint32_t *dims) {
  copy(maker, image, plan_maker_output(maker, 4, dims));
}

static struct plan_activation draw_activation(void) {
  static const enum plan_activation_kind KINDS[] = {
      PLAN_ACT_NONE,  PLAN_ACT_RELU,         PLAN_ACT_CLIP,       PLAN_ACT_LEAKY_RELU,
      PLAN_ACT_SWISH, PLAN_ACT_HARD_SIGMOID, PLAN_ACT_HARD_SWISH, PLAN_ACT_SIGMOID,
      PLAN_ACT_TANH,  PLAN_ACT_GELU_ERF,     PLAN_ACT_GELU_TANH,  PLAN_ACT_ELU};
  struct plan_activation activation = {
      .kind = KINDS[prng_below(&prng, sizeof(KINDS) / sizeof(KINDS[0]))],
      .alpha = 0.2F,
      .beta = 0.5F};
  if (activation.kind == PLAN_ACT_CLIP) {
    activation.alpha = 0.0F;
    activation.beta = 6.0F;
  }
  return activation;
}

/* ---- the cases ------------------------------------------------------------------------------- */

enum grouping { ONE_GROUP, DEPTHWISE, NARROW_GROUPS };

static void try_conv(enum grouping grouping, uint64_t seed) {
  struct plan_maker *maker = plan_maker_create("conv", seed);
  const uint32_t n = draw(1, 3);
  const uint32_t side = draw(3, 13);
  const uint32_t kernel = draw(1, 3);
  const uint32_t stride = draw(1, 2);
  const uint32_t groups = grouping == ONE_GROUP ? 1 : grouping == DEPTHWISE ? draw(2, 20) : 8;
  const uint32_t own = grouping == DEPTHWISE ? 1 : grouping == NARROW_GROUPS ? 4 : draw(1, 20);
  const uint32_t c = groups * own;
  const uint32_t k = grouping == ONE_GROUP ? draw(1, 24) : c;
  const uint32_t out = (side + 2 * (kernel / 2) - kernel) / stride + 1;
  const uint32_t y_dims[4] = {n, k, out, out};
  plan_maker_begin(maker, n);
  const uint32_t x = open_image(maker, (uint32_t[]){n, c, side, side});
  const uint32_t w =
      plan_maker_weights(maker, PLAN_CHANNELS_LAST, 4, (uint32_t[]){k, own, kernel, kernel}, 0.5);
  const uint32_t bias = plan_maker_weights(maker, PLAN_ROW_MAJOR, 1, (uint32_t[]){k}, 0.5);
  uint32_t residual = PLAN_NONE;
  const uint32_t mode = draw(0, 2); /* none, another tensor, in place */
  if (mode > 0) {
    residual = open_image(maker, y_dims);
  }
  const uint32_t y = mode == 2
                         ? plan_maker_view(maker, residual, PLAN_CHANNELS_LAST, 4, y_dims, 0, 0)
                         : plan_maker_tensor(maker, PLAN_CHANNELS_LAST, 4, y_dims);
  struct plan_op *op = plan_maker_op(maker, PLAN_OP_CONV, 4, (uint32_t[]){x, w, bias, residual}, y);
  op->conv = (struct plan_conv){.spatial = 2,
                                .groups = groups,
                                .strides = {stride, stride, 1},
                                .dilations = {1, 1, 1},
                                .pads_before = {kernel / 2, kernel / 2},
                                .pads_after = {kernel / 2, kernel / 2},
                                .residual_last = mode > 0 && draw(0, 1) == 1,
                                .activation = draw_activation()};
  close_image(maker, y, y_dims);
  plan_maker_end(maker);
  (void)assert_agrees(maker, &prng, NULL);
  plan_maker_destroy(maker);
}

static void convolutions(void **state) {
  (void)state;
  prng_init(&prng, 21, 1);
  for (uint64_t i = 0; i < ROUNDS; i++) {
    try_conv(ONE_GROUP, i);
    try_conv(DEPTHWISE, i);
    try_conv(NARROW_GROUPS, i);
  }
}

static void transposed_convolutions(void **state) {
  (void)state;
  prng_init(&prng, 21, 6);
  for (uint64_t i = 0; i < ROUNDS; i++) {
    struct plan_maker *maker = plan_maker_create("transposed", i);
    const uint32_t n = draw(1, 3);
    const uint32_t c = draw(1, 40);
    const uint32_t k = draw(1, 40);
    const uint32_t height = draw(1, 9);
    const uint32_t width = draw(1, 9);
    const uint32_t kernel = draw(1, 4);
    const uint32_t stride = draw(1, 3);
    const uint32_t dilation = draw(1, 2);
    const uint32_t pad = draw(0, (kernel - 1) * dilation / 2);
    const uint32_t full[2] = {(height - 1) * stride + (kernel - 1) * dilation + 1,
                              (width - 1) * stride + (kernel - 1) * dilation + 1};
    const uint32_t y_dims[4] = {n, k, full[0] - 2 * pad, full[1] - 2 * pad};
    plan_maker_begin(maker, n);
    const uint32_t x = plan_maker_input(maker, 4, (uint32_t[]){n, c, height, width});
    const uint32_t w =
        plan_maker_weights(maker, PLAN_ROW_MAJOR, 4, (uint32_t[]){c, k, kernel, kernel}, 0.3);
    const uint32_t bias = plan_maker_weights(maker, PLAN_ROW_MAJOR, 1, (uint32_t[]){k}, 0.3);
    const uint32_t y = plan_maker_output(maker, 4, y_dims);
    struct plan_op *op =
        plan_maker_op(maker, PLAN_OP_CONV_TRANSPOSE, draw(2, 3), (uint32_t[]){x, w, bias}, y);
    op->conv = (struct plan_conv){.spatial = 2,
                                  .groups = 1,
                                  .strides = {stride, stride, 1},
                                  .dilations = {dilation, dilation, 1},
                                  .pads_before = {pad, pad},
                                  .pads_after = {pad, pad},
                                  .activation = draw_activation()};
    plan_maker_end(maker);
    (void)assert_agrees(maker, &prng, NULL);
    plan_maker_destroy(maker);
  }
}

/* Two convolutions write slices of one image; what follows reads the whole. */
static void slices_of_channels(void **state) {
  (void)state;
  prng_init(&prng, 21, 2);
  for (uint64_t i = 0; i < ROUNDS; i++) {
    struct plan_maker *maker = plan_maker_create("slices", i);
    const uint32_t n = draw(1, 2);
    const uint32_t first = draw(1, 3) * (draw(0, 3) == 0 ? 5 : 8);
    const uint32_t second = draw(1, 20);
    const uint32_t whole_dims[4] = {n, first + second, 6, 6};
    plan_maker_begin(maker, n);
    const uint32_t x = open_image(maker, (uint32_t[]){n, 16, 6, 6});
    const uint32_t whole = plan_maker_tensor(maker, PLAN_CHANNELS_LAST, 4, whole_dims);
    const uint32_t parts[2] = {first, second};
    for (uint32_t part = 0; part < 2; part++) {
      const uint32_t w = plan_maker_weights(maker, PLAN_CHANNELS_LAST, 4,
                                            (uint32_t[]){parts[part], 16, 3, 3}, 0.2);
      const uint32_t y =
          plan_maker_view(maker, whole, PLAN_CHANNELS_LAST, 4, (uint32_t[]){n, parts[part], 6, 6},
                          first + second, part == 0 ? 0 : first * sizeof(float));
      struct plan_op *op = plan_maker_op(maker, PLAN_OP_CONV, 2, (uint32_t[]){x, w}, y);
      op->conv = (struct plan_conv){.spatial = 2,
                                    .groups = 1,
                                    .strides = {1, 1, 1},
                                    .dilations = {1, 1, 1},
                                    .pads_before = {1, 1},
                                    .pads_after = {1, 1}};
    }
    const uint32_t pooled = plan_maker_tensor(maker, PLAN_CHANNELS_LAST, 4, whole_dims);
    struct plan_op *op = plan_maker_op(maker, PLAN_OP_POOL, 1, &whole, pooled);
    op->pool = (struct plan_pool){.kind = draw(0, 1) == 0 ? PLAN_POOL_MAX : PLAN_POOL_MEAN,
                                  .spatial = 2,
                                  .kernel = {3, 3, 1},
                                  .strides = {1, 1, 1},
                                  .dilations = {1, 1, 1},
                                  .pads_before = {1, 1},
                                  .pads_after = {1, 1},
                                  .declared_pads_after = {1, 1},
                                  .count_padding = draw(0, 1) == 1};
    close_image(maker, pooled, whole_dims);
    plan_maker_end(maker);
    (void)assert_agrees(maker, &prng, NULL);
    plan_maker_destroy(maker);
  }
}

static void products(void **state) {
  (void)state;
  prng_init(&prng, 21, 3);
  for (uint64_t i = 0; i < ROUNDS; i++) {
    struct plan_maker *maker = plan_maker_create("product", i);
    const uint32_t n = draw(1, 3);
    const uint32_t m = draw(1, 9);
    /* Deep ones are summed in several parts, wide ones shared by two threads. */
    const uint32_t k = draw(0, 2) > 0 ? draw(1, 40) : draw(300, 900);
    const uint32_t columns = draw(0, 2) > 0 ? draw(1, 40) : draw(100, 200);
    const bool is_transposed = draw(0, 1) == 1;
    const bool has_residual = draw(0, 1) == 1;
    plan_maker_begin(maker, n);
    const uint32_t a = plan_maker_input(maker, 3, (uint32_t[]){n, m, k});
    const uint32_t residual = plan_maker_input(maker, 3, (uint32_t[]){n, m, columns});
    const uint32_t b = plan_maker_weights(
        maker, PLAN_ROW_MAJOR, 2,
        is_transposed ? (uint32_t[]){columns, k} : (uint32_t[]){k, columns}, k < 100 ? 0.3 : 0.03);
    const uint32_t bias = plan_maker_weights(maker, PLAN_ROW_MAJOR, 1, (uint32_t[]){columns}, 0.3);
    const uint32_t sums = plan_maker_tensor(maker, PLAN_ROW_MAJOR, 3, (uint32_t[]){n, m, columns});
    const uint32_t y = plan_maker_output(maker, 3, (uint32_t[]){n, m, columns});
    struct plan_op *op = plan_maker_op(maker, PLAN_OP_MATMUL, has_residual ? 4 : 3,
                                       (uint32_t[]){a, b, bias, residual}, sums);
    op->matmul = (struct plan_matmul){.transpose_b = is_transposed,
                                      .alpha = draw(0, 1) == 0 ? 1.0F : 0.125F,
                                      .activation = draw_activation()};
    op = plan_maker_op(maker, PLAN_OP_SOFTMAX, 1, &sums, y);
    op->softmax = (struct plan_softmax){.axis = draw(0, 2)};
    plan_maker_end(maker);
    (void)assert_agrees(maker, &prng, NULL);
    plan_maker_destroy(maker);
  }
}

/* a (operation) operand, then a function, over images and over rows, with operands of all kinds. */
static void pointwise_chains(void **state) {
  (void)state;
  prng_init(&prng, 21, 4);
  for (uint64_t i = 0; i < 2 * ROUNDS; i++) {
    struct plan_maker *maker = plan_maker_create("chain", i);
    const uint32_t n = draw(1, 3);
    const uint32_t c = draw(0, 1) == 0 ? draw(1, 3) * 8 : draw(1, 20);
    const uint32_t dims[4] = {n, c, 5, 4};
    const uint32_t operands[4][4] = {{1, c, 1, 1}, {1, 1, 1, 1}, {1, 1, 1, 4}, {1, c, 5, 4}};
    plan_maker_begin(maker, n);
    uint32_t x = 0;
    const bool is_image = draw(0, 1) == 1;
    if (is_image) {
      /* A convolution makes groups of channels worth while. */
      const uint32_t from = open_image(maker, (uint32_t[]){n, 8, 5, 4});
      const uint32_t w =
          plan_maker_weights(maker, PLAN_CHANNELS_LAST, 4, (uint32_t[]){c, 8, 1, 1}, 0.4);
      x = plan_maker_tensor(maker, PLAN_CHANNELS_LAST, 4, dims);
      struct plan_op *op = plan_maker_op(maker, PLAN_OP_CONV, 2, (uint32_t[]){from, w}, x);
      op->conv = (struct plan_conv){
          .spatial = 2, .groups = 1, .strides = {1, 1, 1}, .dilations = {1, 1, 1}};
    } else {
      x = plan_maker_input(maker, 4, dims);
    }
    const uint32_t operand =
        plan_maker_weights(maker, PLAN_ROW_MAJOR, 4, operands[draw(0, 3)], 0.7);
    const enum plan_layout layout = is_image ? PLAN_CHANNELS_LAST : PLAN_ROW_MAJOR;
    const uint32_t y = plan_maker_tensor(maker, layout, 4, dims);
    static const enum plan_scalar SCALARS[] = {PLAN_S_ADD, PLAN_S_SUB, PLAN_S_MUL,
                                               PLAN_S_MAX, PLAN_S_MIN, PLAN_S_FMA};
    struct plan_op *op = plan_maker_op(maker, PLAN_OP_POINTWISE, 2, (uint32_t[]){x, operand}, y);
    struct plan_step *steps = (struct plan_step *)(uintptr_t)op->pointwise.steps;
    op->pointwise.steps_count = 2;
    steps[0] = (struct plan_step){.scalar = SCALARS[prng_below(&prng, 6)],
                                  .type = PLAN_F32,
                                  .a = {.kind = PLAN_OPERAND_INPUT, .index = 0},
                                  .b = {.kind = PLAN_OPERAND_INPUT, .index = 1}};
    if (steps[0].scalar == PLAN_S_FMA) {
      steps[0].c = (struct plan_operand){.kind = PLAN_OPERAND_INPUT, .index = 1};
    }
    steps[1] = (struct plan_step){.scalar = PLAN_S_ACTIVATION,
                                  .type = PLAN_F32,
                                  .a = {.kind = PLAN_OPERAND_STEP, .index = 0},
                                  .activation = {.kind = PLAN_ACT_RELU}};
    close_image(maker, y, dims);
    plan_maker_end(maker);
    (void)assert_agrees(maker, &prng, NULL);
    plan_maker_destroy(maker);
  }
}

static void reductions(void **state) {
  (void)state;
  prng_init(&prng, 21, 5);
  for (uint64_t i = 0; i < ROUNDS; i++) {
    struct plan_maker *maker = plan_maker_create("reduction", i);
    const uint32_t n = draw(1, 3);
    const uint32_t c = draw(1, 20);
    const bool is_mean = draw(0, 1) == 1;
    plan_maker_begin(maker, n);
    const uint32_t x = plan_maker_input(maker, 4, (uint32_t[]){n, c, 4, 6});
    const uint32_t y =
        plan_maker_output(maker, 4, is_mean ? (uint32_t[]){n, c, 1, 1} : (uint32_t[]){n, 1, 4, 6});
    struct plan_op *op = plan_maker_op(maker, PLAN_OP_REDUCE, 1, &x, y);
    op->reduce = (struct plan_reduce){.kind = is_mean ? PLAN_REDUCE_MEAN : PLAN_REDUCE_SUM,
                                      .axes = is_mean ? 0xC : 0x2};
    plan_maker_end(maker);
    (void)assert_agrees(maker, &prng, NULL);
    plan_maker_destroy(maker);
  }
}

int main(void) {
  team_form(LOWERED_TEAM, -1);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(convolutions),     cmocka_unit_test(slices_of_channels),
      cmocka_unit_test(products),         cmocka_unit_test(transposed_convolutions),
      cmocka_unit_test(pointwise_chains), cmocka_unit_test(reductions),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
