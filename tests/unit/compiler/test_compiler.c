/* What the compiler makes of small graphs, and what it says of bad ones. */
#include "support/cmocka.h"

#include "compiler/compiler.h"
#include "support/memory.h"
#include "support/onnx_builder.h"

#define ARENA_BYTES ((size_t)64 << 20)

struct compiled {
  struct arena arena;
  enum err error;
  struct compile_fault fault;
  const struct compile_result *result;
};

static struct compiled compile_bytes(const uint8_t *bytes, size_t count,
                                     const struct compile_options *options) {
  struct compiled c = {.arena = test_arena_open(ARENA_BYTES)};
  struct compiler *compiler = NULL;
  c.error = compiler_open(&c.arena, bytes, count, &compiler, &c.fault);
  if (c.error == ERR_OK) {
    c.error = compiler_run(compiler, options, &c.result, &c.fault);
  }
  return c;
}

static const uint32_t SIZES[3] = {1, 2, 4};

static struct compile_options options_of(uint32_t kinds) {
  return (struct compile_options){.name = "test",
                                  .precision = PLAN_FP32,
                                  .batch_kinds = kinds,
                                  .batch_sizes = SIZES,
                                  .batch_sizes_asked = true};
}

static struct compiled compile(const struct onnx_builder *b, uint32_t kinds) {
  size_t count = 0;
  uint8_t *bytes = onnx_builder_bytes(b, &count);
  const struct compile_options options = options_of(kinds);
  return compile_bytes(bytes, count, &options);
}

static uint32_t count_of(const struct compiled *c, enum plan_op_kind kind) {
  uint32_t count = 0;
  if (c->error != ERR_OK) {
    fail_msg("%s", c->fault.text);
  }
  const struct plan_batch *batch = &c->result->plan->batches[0];
  for (uint32_t i = 0; i < batch->ops_count; i++) {
    count += batch->ops[i].kind == kind;
  }
  return count;
}

static const struct plan_op *only(const struct compiled *c, enum plan_op_kind kind) {
  assert_int_equal(count_of(c, kind), 1);
  const struct plan_batch *batch = &c->result->plan->batches[0];
  for (uint32_t i = 0; i < batch->ops_count; i++) {
    if (batch->ops[i].kind == kind) {
      return &batch->ops[i];
    }
  }
  return NULL;
}

static void finish(struct compiled *c) {
  test_arena_close(&c->arena);
}

static void add_conv(struct onnx_builder *b, const char *input, const char *output) {
  onnx_builder_ints_attribute(onnx_builder_node(b, "Conv", onnx_builder_text(input), output),
                              "pads", ONNX_DIMS(1, 1, 1, 1));
}

/* convolution + batch normalisation + residual + relu: one operation, twice. */
static void test_convolution_takes_what_follows(void **state) {
  (void)state;
  struct onnx_builder b;
  onnx_builder_init(&b, 13);
  onnx_builder_input(&b, "x", ONNX_DIMS(0, 4, 6, 6));
  onnx_builder_floats(&b, "w", -1, ONNX_DIMS(4, 4, 3, 3));
  onnx_builder_floats(&b, "scale", 1, ONNX_DIMS(4));
  onnx_builder_floats(&b, "shift", 0, ONNX_DIMS(4));
  onnx_builder_floats(&b, "mean", 0, ONNX_DIMS(4));
  onnx_builder_floats(&b, "variance", 1, ONNX_DIMS(4));
  add_conv(&b, "x w", "c1");
  (void)onnx_builder_node(&b, "BatchNormalization", "c1 scale shift mean variance", "n1");
  (void)onnx_builder_node(&b, "Relu", "n1", "r1");
  add_conv(&b, "r1 w", "c2");
  (void)onnx_builder_node(&b, "Add", "c2 r1", "sum");
  (void)onnx_builder_node(&b, "Relu", "sum", "y");
  onnx_builder_output(&b, "y");
  struct compiled c = compile(&b, 3);
  assert_int_equal(count_of(&c, PLAN_OP_CONV), 2);
  const struct plan_batch *batch = &c.result->plan->batches[0];
  uint32_t with_residual = 0;
  for (uint32_t i = 0; i < batch->ops_count; i++) {
    const struct plan_op *op = &batch->ops[i];
    if (op->kind == PLAN_OP_CONV) {
      assert_int_equal(op->conv.activation.kind, PLAN_ACT_RELU);
      assert_int_equal(batch->tensors[op->inputs[0]].layout, PLAN_CHANNELS_LAST);
      with_residual += op->inputs[3] != PLAN_NONE;
    } else {
      /* What is left is the change of layout at the begin and the end. */
      assert_int_equal(op->kind, PLAN_OP_POINTWISE);
      assert_int_equal(op->pointwise.steps[0].scalar, PLAN_S_COPY);
    }
  }
  assert_int_equal(with_residual, 1);
  assert_int_equal(batch->ops_count, 4);
  /* Three batch sizes, one set of weights: those as given, those scaled, a bias. */
  assert_int_equal(c.result->plan->batch_kinds, 3);
  assert_true(c.result->plan->weights_bytes < 4 * 4 * 4 * 9 * sizeof(float));
  finish(&c);
}

static void test_gelu_by_its_parts_is_an_activation(void **state) {
  (void)state;
  struct onnx_builder b;
  onnx_builder_init(&b, 13);
  onnx_builder_input(&b, "x", ONNX_DIMS(0, 8));
  onnx_builder_floats(&b, "w", 0, ONNX_DIMS(8, 8));
  onnx_builder_floats(&b, "bias", 0, ONNX_DIMS(8));
  onnx_builder_number(&b, "root", 1.41421356F);
  onnx_builder_number(&b, "one", 1);
  onnx_builder_number(&b, "half", 0.5F);
  (void)onnx_builder_node(&b, "MatMul", "x w", "m");
  (void)onnx_builder_node(&b, "Add", "bias m", "a");
  (void)onnx_builder_node(&b, "Div", "a root", "d");
  (void)onnx_builder_node(&b, "Erf", "d", "e");
  (void)onnx_builder_node(&b, "Add", "e one", "f");
  (void)onnx_builder_node(&b, "Mul", "a f", "g");
  (void)onnx_builder_node(&b, "Mul", "g half", "y");
  onnx_builder_output(&b, "y");
  struct compiled c = compile(&b, 1);
  const struct plan_op *op = only(&c, PLAN_OP_MATMUL);
  assert_int_equal(op->matmul.activation.kind, PLAN_ACT_GELU_ERF);
  assert_int_not_equal(op->inputs[2], PLAN_NONE);
  assert_int_equal(c.result->plan->batches[0].ops_count, 1);
  finish(&c);
}

/* The same with another number is no GELU, and must stay what it is. */
static void test_what_is_almost_gelu_is_not(void **state) {
  (void)state;
  struct onnx_builder b;
  onnx_builder_init(&b, 13);
  onnx_builder_input(&b, "x", ONNX_DIMS(0, 8));
  onnx_builder_number(&b, "root", 1.5F);
  onnx_builder_number(&b, "one", 1);
  onnx_builder_number(&b, "half", 0.5F);
  (void)onnx_builder_node(&b, "Div", "x root", "d");
  (void)onnx_builder_node(&b, "Erf", "d", "e");
  (void)onnx_builder_node(&b, "Add", "e one", "f");
  (void)onnx_builder_node(&b, "Mul", "x f", "g");
  (void)onnx_builder_node(&b, "Mul", "g half", "y");
  onnx_builder_output(&b, "y");
  struct compiled c = compile(&b, 1);
  assert_int_equal(only(&c, PLAN_OP_POINTWISE)->pointwise.steps_count, 5);
  finish(&c);
}

static void test_layer_norm_by_its_parts(void **state) {
  (void)state;
  struct onnx_builder b;
  onnx_builder_init(&b, 13);
  onnx_builder_input(&b, "x", ONNX_DIMS(0, 3, 8));
  onnx_builder_number(&b, "two", 2);
  onnx_builder_number(&b, "epsilon", 1e-5F);
  onnx_builder_floats(&b, "gamma", 1, ONNX_DIMS(8));
  onnx_builder_floats(&b, "beta", 0, ONNX_DIMS(8));
  onnx_builder_ints_attribute(onnx_builder_node(&b, "ReduceMean", "x", "mean"), "axes",
                              ONNX_DIMS(-1));
  (void)onnx_builder_node(&b, "Sub", "x mean", "d");
  (void)onnx_builder_node(&b, "Pow", "d two", "square");
  onnx_builder_ints_attribute(onnx_builder_node(&b, "ReduceMean", "square", "variance"), "axes",
                              ONNX_DIMS(-1));
  (void)onnx_builder_node(&b, "Add", "variance epsilon", "safe");
  (void)onnx_builder_node(&b, "Sqrt", "safe", "deviation");
  (void)onnx_builder_node(&b, "Div", "d deviation", "n");
  (void)onnx_builder_node(&b, "Mul", "n gamma", "g");
  (void)onnx_builder_node(&b, "Add", "g beta", "y");
  onnx_builder_output(&b, "y");
  struct compiled c = compile(&b, 1);
  const struct plan_op *op = only(&c, PLAN_OP_LAYER_NORM);
  assert_int_equal(op->normalize.axis, 2);
  assert_int_not_equal(op->inputs[1], PLAN_NONE);
  assert_int_not_equal(op->inputs[2], PLAN_NONE);
  assert_int_equal(c.result->plan->batches[0].ops_count, 1);
  finish(&c);
}

/* How the sum of rows of 8 is reduced when `op` combines it with `number`, and a root follows. */
static enum plan_reduce_kind reduced_as(const char *op, float number, int64_t keepdims) {
  struct onnx_builder b;
  onnx_builder_init(&b, 11);
  onnx_builder_input(&b, "x", ONNX_DIMS(0, 3, 8));
  onnx_builder_number(&b, "number", number);
  Onnx__NodeProto *sum = onnx_builder_node(&b, "ReduceSum", "x", "sum");
  onnx_builder_ints_attribute(sum, "axes", ONNX_DIMS(-1));
  onnx_builder_int_attribute(sum, "keepdims", keepdims);
  (void)onnx_builder_node(&b, op, "sum number", "scaled");
  (void)onnx_builder_node(&b, "Sqrt", "scaled", "y");
  onnx_builder_output(&b, "y");
  struct compiled c = compile(&b, 1);
  const enum plan_reduce_kind kind = only(&c, PLAN_OP_REDUCE)->reduce.kind;
  const struct plan_op *rest = only(&c, PLAN_OP_POINTWISE);
  assert_int_equal(rest->pointwise.steps_count, kind == PLAN_REDUCE_MEAN ? 1 : 2);
  finish(&c);
  return kind;
}

static void test_sums_over_their_count_are_means(void **state) {
  (void)state;
  for (int64_t keepdims = 0; keepdims < 2; keepdims++) {
    assert_int_equal(reduced_as("Mul", 0.125F, keepdims), PLAN_REDUCE_MEAN);
    assert_int_equal(reduced_as("Div", 8, keepdims), PLAN_REDUCE_MEAN);
    assert_int_equal(reduced_as("Mul", 0.25F, keepdims), PLAN_REDUCE_SUM);
    assert_int_equal(reduced_as("Div", 0.125F, keepdims), PLAN_REDUCE_SUM);
    assert_int_equal(reduced_as("Add", 0.125F, keepdims), PLAN_REDUCE_SUM);
  }
}

/* Two convolutions write next to one another: nobody concatenates. */
static void test_concatenation_of_channels_is_no_work(void **state) {
  (void)state;
  struct onnx_builder b;
  onnx_builder_init(&b, 13);
  onnx_builder_input(&b, "x", ONNX_DIMS(0, 4, 6, 6));
  onnx_builder_floats(&b, "w", -1, ONNX_DIMS(4, 4, 3, 3));
  onnx_builder_floats(&b, "v", -1, ONNX_DIMS(4, 8, 3, 3));
  add_conv(&b, "x w", "a");
  add_conv(&b, "a w", "b");
  onnx_builder_int_attribute(onnx_builder_node(&b, "Concat", "a b", "c"), "axis", 1);
  add_conv(&b, "c v", "y");
  onnx_builder_output(&b, "y");
  struct compiled c = compile(&b, 1);
  assert_int_equal(count_of(&c, PLAN_OP_CONCAT), 0);
  assert_int_equal(count_of(&c, PLAN_OP_CONV), 3);
  assert_int_equal(c.result->plan->batches[0].ops_count, 5);
  finish(&c);
}

/* One that undoes another is no work; two that don't are one. */
static void test_transposes_in_a_row_are_one_at_most(void **state) {
  (void)state;
  struct onnx_builder b;
  onnx_builder_init(&b, 13);
  onnx_builder_input(&b, "x", ONNX_DIMS(0, 3, 4, 5));
  onnx_builder_ints_attribute(onnx_builder_node(&b, "Transpose", "x", "a"), "perm",
                              ONNX_DIMS(0, 2, 3, 1));
  onnx_builder_ints_attribute(onnx_builder_node(&b, "Transpose", "a", "b"), "perm",
                              ONNX_DIMS(0, 3, 1, 2));
  (void)onnx_builder_node(&b, "Relu", "b", "y");
  onnx_builder_ints_attribute(onnx_builder_node(&b, "Transpose", "a", "c"), "perm",
                              ONNX_DIMS(0, 2, 1, 3));
  (void)onnx_builder_node(&b, "Relu", "c", "z");
  onnx_builder_output(&b, "y");
  onnx_builder_output(&b, "z");
  struct compiled c = compile(&b, 1);
  const uint32_t joined[4] = {0, 3, 2, 1};
  assert_memory_equal(only(&c, PLAN_OP_TRANSPOSE)->transpose.permutation, joined, sizeof(joined));
  finish(&c);
}

/* The longer one takes the shorter one's result in place of its inputs. */
static void test_concatenations_share_their_beginning(void **state) {
  (void)state;
  struct onnx_builder b;
  onnx_builder_init(&b, 13);
  onnx_builder_input(&b, "x", ONNX_DIMS(0, 4));
  (void)onnx_builder_node(&b, "Exp", "x", "p");
  (void)onnx_builder_node(&b, "Abs", "x", "q");
  onnx_builder_int_attribute(onnx_builder_node(&b, "Concat", "x p", "y"), "axis", 1);
  onnx_builder_int_attribute(onnx_builder_node(&b, "Concat", "x p q", "z"), "axis", 1);
  onnx_builder_output(&b, "y");
  onnx_builder_output(&b, "z");
  struct compiled c = compile(&b, 1);
  assert_int_equal(count_of(&c, PLAN_OP_CONCAT), 2);
  const struct plan_batch *batch = &c.result->plan->batches[0];
  for (uint32_t i = 0; i < batch->ops_count; i++) {
    if (batch->ops[i].kind == PLAN_OP_CONCAT) {
      assert_int_equal(batch->ops[i].inputs_count, 2);
    }
  }
  finish(&c);
}

/* Reshape to what Shape, Gather and Concat make of the batch: known while compiling. */
static void test_shapes_are_computed_while_compiling(void **state) {
  (void)state;
  struct onnx_builder b;
  onnx_builder_init(&b, 13);
  onnx_builder_input(&b, "x", ONNX_DIMS(0, 4, 6));
  onnx_builder_ints(&b, "zero", ONNX_DIMS(0));
  onnx_builder_ints(&b, "rest", ONNX_DIMS(-1));
  (void)onnx_builder_node(&b, "Shape", "x", "shape");
  (void)onnx_builder_node(&b, "Gather", "shape zero", "batch");
  onnx_builder_int_attribute(onnx_builder_node(&b, "Concat", "batch rest", "wanted"), "axis", 0);
  (void)onnx_builder_node(&b, "Reshape", "x wanted", "flat");
  (void)onnx_builder_node(&b, "Exp", "flat", "y");
  onnx_builder_output(&b, "y");
  struct compiled c = compile(&b, 3);
  assert_int_equal(only(&c, PLAN_OP_POINTWISE)->pointwise.steps[0].scalar, PLAN_S_EXP);
  assert_int_equal(c.result->plan->batches[0].ops_count, 1);
  assert_int_equal(c.result->plan->outputs[0].dims[0], 24);
  finish(&c);
}

static void test_half_precision_keeps_the_ports(void **state) {
  (void)state;
  struct onnx_builder b;
  size_t count = 0;
  onnx_builder_init(&b, 13);
  onnx_builder_input(&b, "x", ONNX_DIMS(0, 8));
  onnx_builder_floats(&b, "w", 0, ONNX_DIMS(8, 8));
  (void)onnx_builder_node(&b, "MatMul", "x w", "y");
  onnx_builder_output(&b, "y");
  uint8_t *bytes = onnx_builder_bytes(&b, &count);
  struct compile_options options = options_of(2);
  options.precision = PLAN_FP16;
  struct compiled c = compile_bytes(bytes, count, &options);
  assert_int_equal(c.error, ERR_OK);
  const struct plan_op *op = only(&c, PLAN_OP_MATMUL);
  assert_int_equal(c.result->plan->batches[0].tensors[op->inputs[1]].type, PLAN_F16);
  assert_int_equal(c.result->plan->inputs[0].type, PLAN_F32);
  assert_int_equal(c.result->plan->outputs[0].type, PLAN_F32);
  finish(&c);
}

static void expect_refusal(const struct compiled *c, enum err error, const char *part) {
  assert_int_equal(c->error, error);
  if (strstr(c->fault.text, part) == NULL) {
    fail_msg("'%s' lacks '%s'", c->fault.text, part);
  }
}

static void test_refusals_say_what_would_help(void **state) {
  (void)state;
  struct onnx_builder b;
  onnx_builder_init(&b, 13);
  onnx_builder_input(&b, "x", ONNX_DIMS(0, 8));
  (void)onnx_builder_node(&b, "Frobnicate", "x", "strange");
  onnx_builder_output(&b, "strange");
  struct compiled c = compile(&b, 1);
  expect_refusal(&c, ERR_UNSUPPORTED, "Frobnicate 'strange'");
  finish(&c);

  onnx_builder_init(&b, 13);
  onnx_builder_input(&b, "x", ONNX_DIMS(0, 3, -1));
  (void)onnx_builder_node(&b, "Relu", "x", "y");
  onnx_builder_output(&b, "y");
  c = compile(&b, 1);
  expect_refusal(&c, ERR_RANGE, "--shape x=1x3x?");
  finish(&c);

  onnx_builder_init(&b, 22);
  onnx_builder_input(&b, "x", ONNX_DIMS(0, 3));
  (void)onnx_builder_node(&b, "Relu", "x", "y");
  onnx_builder_output(&b, "y");
  c = compile(&b, 1);
  expect_refusal(&c, ERR_VERSION, "opset 22");
  finish(&c);

  onnx_builder_init(&b, 13);
  onnx_builder_input(&b, "x", ONNX_DIMS(2, 3));
  (void)onnx_builder_node(&b, "Relu", "x", "y");
  onnx_builder_output(&b, "y");
  c = compile(&b, 3);
  expect_refusal(&c, ERR_UNSUPPORTED, "--batch 1");
  finish(&c);
}

/* A file that was cut anywhere is refused, and nothing else happens. */
static void test_every_cut_file_is_refused(void **state) {
  (void)state;
  struct onnx_builder b;
  size_t count = 0;
  onnx_builder_init(&b, 13);
  onnx_builder_input(&b, "x", ONNX_DIMS(0, 8));
  onnx_builder_floats(&b, "w", 0, ONNX_DIMS(8, 2));
  (void)onnx_builder_node(&b, "MatMul", "x w", "y");
  onnx_builder_output(&b, "y");
  const uint8_t *bytes = onnx_builder_bytes(&b, &count);
  const struct compile_options options = options_of(1);
  for (size_t cut = 0; cut < count; cut++) {
    uint8_t *part = calloc(1, cut + 1);
    assert_non_null(part);
    memcpy(part, bytes, cut);
    struct compiled c = compile_bytes(part, cut, &options);
    assert_int_not_equal(c.error, ERR_OK);
    assert_int_not_equal(c.fault.text[0], '\0');
    finish(&c);
    free(part);
  }
}

/* Tensors whose sizes multiply beyond 64 bits. */
static void test_absurd_sizes_are_refused(void **state) {
  (void)state;
  struct onnx_builder b;
  onnx_builder_init(&b, 13);
  onnx_builder_input(&b, "x", ONNX_DIMS(0, INT32_MAX, INT32_MAX, INT32_MAX));
  (void)onnx_builder_node(&b, "Relu", "x", "y");
  onnx_builder_output(&b, "y");
  struct compiled c = compile(&b, 1);
  expect_refusal(&c, ERR_TOO_LARGE, "GiB");
  finish(&c);
}

/* Messages in messages, deeper than any model. */
static void test_deep_nesting_is_refused(void **state) {
  (void)state;
  enum { DEPTH = 4096, FRAME = 6 };
  uint8_t *bytes = onnx_builder_take(DEPTH * FRAME);
  /* graph { node { attribute { g { node { ... }}}}}: lengths reach to the end of the bytes. */
  static const uint8_t TAGS[3] = {0x0a, 0x2a, 0x32}; /* node 1, attribute 5, g 6 */
  for (uint32_t i = 0; i < DEPTH; i++) {
    const uint32_t left = (DEPTH - i - 1) * FRAME;
    uint8_t *frame = bytes + i * FRAME;
    frame[0] = i == 0 ? 0x3a : TAGS[(i - 1) % 3]; /* ModelProto.graph is 7 */
    for (uint32_t j = 0; j < FRAME - 1; j++) {
      frame[1 + j] = (uint8_t)((left >> (7 * j) & 0x7f) | (j + 1 < FRAME - 1 ? 0x80 : 0));
    }
  }
  const struct compile_options options = options_of(1);
  struct compiled c = compile_bytes(bytes, DEPTH * FRAME, &options);
  expect_refusal(&c, ERR_MALFORMED, "nested too deep");
  finish(&c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_convolution_takes_what_follows),
      cmocka_unit_test(test_gelu_by_its_parts_is_an_activation),
      cmocka_unit_test(test_what_is_almost_gelu_is_not),
      cmocka_unit_test(test_layer_norm_by_its_parts),
      cmocka_unit_test(test_sums_over_their_count_are_means),
      cmocka_unit_test(test_concatenation_of_channels_is_no_work),
      cmocka_unit_test(test_transposes_in_a_row_are_one_at_most),
      cmocka_unit_test(test_concatenations_share_their_beginning),
      cmocka_unit_test(test_shapes_are_computed_while_compiling),
      cmocka_unit_test(test_half_precision_keeps_the_ports),
      cmocka_unit_test(test_refusals_say_what_would_help),
      cmocka_unit_test(test_every_cut_file_is_refused),
      cmocka_unit_test(test_absurd_sizes_are_refused),
      cmocka_unit_test(test_deep_nesting_is_refused),
  };
  const int failed_count = cmocka_run_group_tests(tests, NULL, NULL);
  onnx_builder_release();
  return failed_count;
}
