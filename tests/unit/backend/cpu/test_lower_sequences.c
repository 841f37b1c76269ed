/* Recurrent networks and convolutions along one axis, as this backend lowers them, over random
 * shapes against the reference kernels: directions, batches, initial states, outputs that are not
 * wanted, windows that overlap, touch and leave gaps. */
#include "unit/backend/cpu/lowered.h"

enum { ROUNDS = 40 };

static struct prng prng;

static uint32_t draw(uint32_t low, uint32_t high) {
  return lowered_draw(&prng, low, high);
}

struct sequences {
  enum plan_op_kind kind;
  enum plan_direction direction;
  uint32_t steps;
  uint32_t batch;
  uint32_t width;
  uint32_t hidden;
  bool has_bias;
  bool has_first_h;
  bool has_first_c;
  bool is_wanted[3]; /* outputs */
};

static uint32_t gates_of(enum plan_op_kind kind) {
  return kind == PLAN_OP_LSTM ? 4 : kind == PLAN_OP_GRU ? 3 : 1;
}

static struct sequences draw_sequences(enum plan_op_kind kind) {
  struct sequences s = {.kind = kind,
                        .direction = (enum plan_direction)draw(PLAN_FORWARD, PLAN_BIDIRECTIONAL),
                        .steps = draw(1, 7),
                        .batch = draw(1, 5),
                        .width = draw(1, 40),
                        .hidden = draw(1, 40),
                        .has_bias = draw(0, 1) == 1,
                        .has_first_h = draw(0, 1) == 1,
                        .has_first_c = kind == PLAN_OP_LSTM && draw(0, 1) == 1};
  const uint32_t wanted = draw(1, kind == PLAN_OP_LSTM ? 7 : 3);
  for (uint32_t i = 0; i < 3; i++) {
    s.is_wanted[i] = (wanted >> i & 1U) == 1U;
  }
  return s;
}

static void set_activations(struct plan_recurrent *recurrent, enum plan_op_kind kind,
                            uint32_t directions, bool are_usual) {
  static const enum plan_activation_kind OF_LSTM[] = {PLAN_ACT_SIGMOID, PLAN_ACT_TANH,
                                                      PLAN_ACT_TANH};
  const uint32_t each = kind == PLAN_OP_LSTM ? 3 : kind == PLAN_OP_GRU ? 2 : 1;
  for (uint32_t i = 0; i < directions * each; i++) {
    const enum plan_activation_kind usual = kind == PLAN_OP_RNN ? PLAN_ACT_TANH : OF_LSTM[i % each];
    recurrent->activations[i] = (struct plan_activation){
        .kind = are_usual ? usual : PLAN_ACT_HARD_SIGMOID, .alpha = 0.2F, .beta = 0.5F};
  }
}

static void try_sequences(const struct sequences *s, bool has_peepholes, bool are_usual,
                          const char *step, uint64_t seed) {
  struct plan_maker *maker = plan_maker_create("sequences", seed);
  const uint32_t directions = s->direction == PLAN_BIDIRECTIONAL ? 2 : 1;
  const uint32_t rows = gates_of(s->kind) * s->hidden;
  const uint32_t state[3] = {directions, s->batch, s->hidden};
  plan_maker_begin(maker, 1);
  const uint32_t x = plan_maker_input(maker, 3, (uint32_t[]){s->steps, s->batch, s->width});
  const uint32_t w =
      plan_maker_weights(maker, PLAN_ROW_MAJOR, 3, (uint32_t[]){directions, rows, s->width}, 0.3);
  const uint32_t r =
      plan_maker_weights(maker, PLAN_ROW_MAJOR, 3, (uint32_t[]){directions, rows, s->hidden}, 0.3);
  uint32_t inputs[8] = {x, w, r, PLAN_NONE, PLAN_NONE, PLAN_NONE, PLAN_NONE, PLAN_NONE};
  if (s->has_bias) {
    inputs[3] =
        plan_maker_weights(maker, PLAN_ROW_MAJOR, 2, (uint32_t[]){directions, 2 * rows}, 0.3);
  }
  inputs[5] = s->has_first_h ? plan_maker_input(maker, 3, state) : PLAN_NONE;
  inputs[6] = s->has_first_c ? plan_maker_input(maker, 3, state) : PLAN_NONE;
  if (has_peepholes) {
    inputs[7] =
        plan_maker_weights(maker, PLAN_ROW_MAJOR, 2, (uint32_t[]){directions, 3 * s->hidden}, 0.3);
  }
  const bool is_lstm = s->kind == PLAN_OP_LSTM;
  uint32_t outputs[3] = {PLAN_NONE, PLAN_NONE, PLAN_NONE};
  const uint32_t whole[4] = {s->steps, directions, s->batch, s->hidden};
  for (uint32_t i = 0; i < 3; i++) {
    if (s->is_wanted[i]) {
      outputs[i] = plan_maker_output(maker, i == 0 ? 4 : 3, i == 0 ? whole : state);
    }
  }
  struct plan_op *op = plan_maker_op(maker, s->kind, is_lstm ? 8 : 6, inputs, outputs[0]);
  op->outputs_count = is_lstm ? 3 : 2;
  memcpy((uint32_t *)(uintptr_t)op->outputs, outputs, op->outputs_count * sizeof(outputs[0]));
  op->recurrent = (struct plan_recurrent){
      .direction = s->direction, .hidden = s->hidden, .linear_before_reset = draw(0, 1) == 1};
  set_activations(&op->recurrent, s->kind, directions, are_usual);
  plan_maker_end(maker);
  const bool ran = assert_agrees(maker, &prng, step);
  assert_true(ran || step == NULL);
  plan_maker_destroy(maker);
}

static void lstms(void **state) {
  (void)state;
  prng_init(&prng, 22, 1);
  for (uint64_t i = 0; i < 2 * ROUNDS; i++) {
    const struct sequences s = draw_sequences(PLAN_OP_LSTM);
    try_sequences(&s, false, true, "lstm", i);
  }
}

/* As trained ones have it: more hidden numbers than a panel of packed weights, all at once. */
static void wide_lstms_of_both_directions(void **state) {
  (void)state;
  prng_init(&prng, 22, 2);
  for (uint32_t batch = 1; batch <= 3; batch++) {
    const struct sequences s = {.kind = PLAN_OP_LSTM,
                                .direction = PLAN_BIDIRECTIONAL,
                                .steps = 12,
                                .batch = batch,
                                .width = 96,
                                .hidden = 130,
                                .has_bias = true,
                                .has_first_h = true,
                                .has_first_c = true,
                                .is_wanted = {true, true, true}};
    try_sequences(&s, false, true, "lstm", batch);
  }
}

/* What lstm.h does not know goes to the kernels. */
static void unusual_lstms(void **state) {
  (void)state;
  prng_init(&prng, 22, 3);
  for (uint64_t i = 0; i < ROUNDS; i++) {
    const struct sequences s = draw_sequences(PLAN_OP_LSTM);
    const bool has_peepholes = draw(0, 1) == 1;
    try_sequences(&s, has_peepholes, has_peepholes, NULL, i);
  }
}

static void grus_and_rnns(void **state) {
  (void)state;
  prng_init(&prng, 22, 4);
  for (uint64_t i = 0; i < ROUNDS; i++) {
    const struct sequences gru = draw_sequences(PLAN_OP_GRU);
    try_sequences(&gru, false, draw(0, 1) == 1, NULL, i);
    const struct sequences rnn = draw_sequences(PLAN_OP_RNN);
    try_sequences(&rnn, false, draw(0, 1) == 1, NULL, i);
  }
}

/* Rank 3: (N, C, length). */
static void windows_along_one_axis(void **state) {
  (void)state;
  prng_init(&prng, 22, 5);
  for (uint64_t i = 0; i < ROUNDS; i++) {
    struct plan_maker *maker = plan_maker_create("windows", i);
    const uint32_t n = draw(1, 3);
    const uint32_t c = draw(1, 40);
    const uint32_t k = draw(1, 70);
    const uint32_t kernel = draw(2, 5);
    const uint32_t stride = draw(1, 6); /* past the kernel, too */
    const uint32_t length = draw(kernel, 40);
    const bool is_padded = draw(0, 2) == 0;
    const uint32_t before = is_padded ? draw(0, kernel - 1) : 0;
    const uint32_t after = is_padded ? draw(0, kernel - 1) : 0;
    const uint32_t out = (length + before + after - kernel) / stride + 1;
    plan_maker_begin(maker, n);
    const uint32_t x = plan_maker_input(maker, 3, (uint32_t[]){n, c, length});
    const uint32_t w =
        plan_maker_weights(maker, PLAN_ROW_MAJOR, 3, (uint32_t[]){k, c, kernel}, 0.3);
    const uint32_t bias = plan_maker_weights(maker, PLAN_ROW_MAJOR, 1, (uint32_t[]){k}, 0.3);
    const uint32_t y = plan_maker_output(maker, 3, (uint32_t[]){n, k, out});
    struct plan_op *op =
        plan_maker_op(maker, PLAN_OP_CONV, draw(2, 3), (uint32_t[]){x, w, bias}, y);
    op->conv =
        (struct plan_conv){.spatial = 1,
                           .groups = 1,
                           .strides = {stride, 1, 1},
                           .dilations = {1, 1, 1},
                           .pads_before = {before},
                           .pads_after = {after},
                           .activation = {.kind = draw(0, 1) == 0 ? PLAN_ACT_RELU : PLAN_ACT_NONE}};
    plan_maker_end(maker);
    assert_int_equal(assert_agrees(maker, &prng, "windows"), before + after == 0);
    plan_maker_destroy(maker);
  }
}

int main(void) {
  team_form(LOWERED_TEAM, -1);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(lstms),
      cmocka_unit_test(wide_lstms_of_both_directions),
      cmocka_unit_test(unusual_lstms),
      cmocka_unit_test(grus_and_rnns),
      cmocka_unit_test(windows_along_one_axis),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
