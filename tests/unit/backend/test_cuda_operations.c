/* Every operation that the CUDA backend knows, at random shapes, against the plain C of kernels/:
 * relative to the largest value, 1e-3 in single precision, 5e-3 in tf32, 2e-2 in half. Integers and
 * moves to the bit.
 *
 * An operation is run alone: its tensors lie side by side in the workspace, filled with what the
 * reference is given too. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "support/cmocka.h"

#ifdef CLOCKWORK_HAS_CUDA

#include "backend/cuda/choices.h"
#include "backend/cuda/device.h"
#include "backend/cuda/emit.h"
#include "base/prng.h"
#include "kernels/kernels.h"
#include "support/memory.h"

enum { TENSORS_MAX = 12, OUTPUTS_MAX = 3, ROUNDS = 12, AREA_BYTES = 64 << 20 };

struct bench {
  struct library library;
  struct device *device;
  struct choice_store *store;
  struct prng prng;
};

/* One operation and its tensors. */
struct subject {
  struct plan plan;
  struct plan_batch batch;
  struct plan_op op;
  struct plan_step steps[4];
  struct plan_buffer buffers[TENSORS_MAX];
  struct plan_tensor tensors[TENSORS_MAX];
  uint32_t inputs[TENSORS_MAX];
  uint32_t outputs[OUTPUTS_MAX];
  uint32_t halvings[TENSORS_MAX]; /* of the floats that it is filled with */
  uint32_t count;
};

static struct bench bench;

static uint32_t draw(uint32_t low, uint32_t high) {
  return low + (uint32_t)prng_below(&bench.prng, high - low + 1);
}

static void subject_init(struct subject *s, enum plan_op_kind kind, enum plan_precision precision) {
  memset(s, 0, sizeof(*s));
  s->plan.precision = precision;
  s->op.kind = kind;
  s->op.inputs = s->inputs;
  s->op.outputs = s->outputs;
}

static uint32_t add(struct subject *s, enum plan_type type, enum plan_layout layout, uint32_t rank,
                    const uint32_t *dims) {
  const uint32_t index = s->count++;
  struct plan_tensor *t = &s->tensors[index];
  *t = (struct plan_tensor){.type = type, .layout = layout, .rank = rank, .buffer = index};
  for (uint32_t i = 0; i < PLAN_RANK_MAX; i++) {
    t->dims[i] = i < rank ? dims[i] : 1;
  }
  t->pitch = layout == PLAN_CHANNELS_LAST ? dims[1] : 0;
  s->buffers[index] = (struct plan_buffer){.place = PLAN_WORKSPACE,
                                           .offset_bytes = s->batch.workspace_bytes,
                                           .bytes = plan_tensor_span_bytes(t),
                                           .last_op = 0};
  s->batch.workspace_bytes +=
      (s->buffers[index].bytes + PLAN_ALIGN_BYTES - 1) / PLAN_ALIGN_BYTES * PLAN_ALIGN_BYTES;
  return index;
}

static void add_input(struct subject *s, enum plan_type type, enum plan_layout layout,
                      uint32_t rank, const uint32_t *dims) {
  s->inputs[s->op.inputs_count++] = add(s, type, layout, rank, dims);
}

static void skip_input(struct subject *s) {
  s->inputs[s->op.inputs_count++] = PLAN_NONE;
}

static void add_output(struct subject *s, enum plan_type type, enum plan_layout layout,
                       uint32_t rank, const uint32_t *dims) {
  s->outputs[s->op.outputs_count++] = add(s, type, layout, rank, dims);
}

static void skip_output(struct subject *s) {
  s->outputs[s->op.outputs_count++] = PLAN_NONE;
}

/* Halves as bits: the compilers here have no common type for them. */
static float half_to_float(uint16_t bits) {
  const int exponent = bits >> 10 & 31;
  const float mantissa = (float)(bits & 1023) / 1024.0F;
  if (exponent == 31) {
    return mantissa > 0.0F ? NAN : (bits & 0x8000) != 0 ? -INFINITY : INFINITY;
  }
  const float value =
      exponent == 0 ? ldexpf(mantissa, -14) : ldexpf(1.0F + mantissa, exponent - 15);
  return (bits & 0x8000) != 0 ? -value : value;
}

static void fill(const struct subject *s, uint32_t tensor, unsigned char *to) {
  const struct plan_tensor *t = &s->tensors[tensor];
  const uint64_t count = plan_tensor_span_bytes(t) / plan_type_bytes(t->type);
  const int halvings = (int)s->halvings[tensor];
  for (uint64_t i = 0; i < count; i++) {
    const double unit = prng_unit(&bench.prng);
    switch (t->type) {
    case PLAN_F32:
      ((float *)(void *)to)[i] = ldexpf((float)(2.0 * unit - 1.0), -halvings);
      break;
    case PLAN_F16:
      ((uint16_t *)(void *)to)[i] =
          (uint16_t)(draw(0, 1) << 15 | (draw(12, 14) - (uint32_t)halvings) << 10 | draw(0, 1023));
      break;
    case PLAN_F64:
      ((double *)(void *)to)[i] = ldexp(2.0 * unit - 1.0, -halvings);
      break;
    case PLAN_I64:
    case PLAN_U64:
      ((int64_t *)(void *)to)[i] = (int64_t)draw(0, 20) - 10;
      break;
    case PLAN_I32:
    case PLAN_U32:
      ((int32_t *)(void *)to)[i] = (int32_t)draw(0, 20) - 10;
      break;
    case PLAN_I16:
    case PLAN_U16:
      ((int16_t *)(void *)to)[i] = (int16_t)((int)draw(0, 20) - 10);
      break;
    case PLAN_I8:
    case PLAN_U8:
      ((int8_t *)(void *)to)[i] = (int8_t)((int)draw(0, 20) - 10);
      break;
    default:
      to[i] = (unsigned char)draw(0, 1);
      break;
    }
  }
}

static double element(const struct plan_tensor *t, const unsigned char *bytes, uint64_t i) {
  switch (t->type) {
  case PLAN_F32:
    return (double)((const float *)(const void *)bytes)[i];
  case PLAN_F16:
    return (double)half_to_float(((const uint16_t *)(const void *)bytes)[i]);
  case PLAN_F64:
    return ((const double *)(const void *)bytes)[i];
  case PLAN_I64:
  case PLAN_U64:
    return (double)((const int64_t *)(const void *)bytes)[i];
  case PLAN_I32:
  case PLAN_U32:
    return (double)((const int32_t *)(const void *)bytes)[i];
  case PLAN_I16:
  case PLAN_U16:
    return (double)((const int16_t *)(const void *)bytes)[i];
  default:
    return (double)bytes[i];
  }
}

static void run_reference(const struct subject *s, unsigned char *memory) {
  void *data[TENSORS_MAX];
  for (uint32_t i = 0; i < s->count; i++) {
    data[i] = memory + s->buffers[s->tensors[i].buffer].offset_bytes;
  }
  void *scratch = test_memory_take(kernels_scratch_bytes(&s->op, s->tensors) + 64);
  kernels_run(&s->op, s->tensors, data, scratch, 0, 1);
  free(scratch);
}

static void run_device(struct subject *s, const unsigned char *before, unsigned char *ret_after) {
  struct device *device = bench.device;
  const struct library *library = &bench.library;
  struct choice choice;
  struct emit emit;
  struct error_text error = {.text = ""};
  uint32_t measured = 0;
  memset(&choice, 0, sizeof(choice));
  emit_init(&emit, device, device->stream, &s->plan, &s->batch, &device->bench, 0, &choice);
  const CUdeviceptr at = device->bench.workspace;
  assert_int_equal(
      library->driver.cuMemcpyHtoDAsync(at, before, s->batch.workspace_bytes, device->stream),
      CUDA_SUCCESS);
  if (choose(bench.store, &emit, &choice, &measured, &error) != ERR_OK) {
    fail_msg("%s", error.text);
  }
  /* Choosing ran it a few times, in place where it may. */
  library->driver.cuMemcpyHtoDAsync(at, before, s->batch.workspace_bytes, device->stream);
  assert_int_equal(emit_op(&emit, 0), CUDA_SUCCESS);
  assert_int_equal(
      library->driver.cuMemcpyDtoHAsync(ret_after, at, s->batch.workspace_bytes, device->stream),
      CUDA_SUCCESS);
  assert_int_equal(library->driver.cuStreamSynchronize(device->stream), CUDA_SUCCESS);
}

static double tolerance_of(const struct subject *s, const struct plan_tensor *out) {
  if (!plan_type_is_float(out->type)) {
    return 0.0;
  }
  return s->plan.precision == PLAN_FP16 ? 2e-2 : s->plan.precision == PLAN_TF32 ? 5e-3 : 1e-3;
}

static void compare_tensor(const struct subject *s, uint32_t tensor, const unsigned char *expected,
                           const unsigned char *actual, const char *what) {
  const struct plan_tensor *out = &s->tensors[tensor];
  const uint64_t at = s->buffers[out->buffer].offset_bytes;
  const uint64_t count = plan_tensor_elements(out);
  double largest = 0.0;
  double worst = 0.0;
  for (uint64_t i = 0; i < count; i++) {
    const double a = element(out, expected + at, i);
    const double b = element(out, actual + at, i);
    if (!(isnan(a) && isnan(b)) && !(isinf(a) && isinf(b) && signbit(a) == signbit(b))) {
      largest = isfinite(a) ? fmax(largest, fabs(a)) : largest;
      const double error = fabs(a - b);
      worst = error <= worst ? worst : error; /* NaN is the worst of all */
    }
  }
  if (!(worst <= largest * tolerance_of(s, out))) {
    fail_msg("%s: off by %g of %g; output %ux%ux%ux%u, type %d, precision %d", what, worst, largest,
             out->dims[0], out->dims[1], out->dims[2], out->dims[3], (int)out->type,
             (int)s->plan.precision);
  }
}

/* The outputs in `actual` with those in `expected`, each all of the subject's memory. */
static void compare(const struct subject *s, const unsigned char *expected,
                    const unsigned char *actual, const char *what) {
  for (uint32_t i = 0; i < s->op.outputs_count; i++) {
    if (s->outputs[i] != PLAN_NONE) {
      compare_tensor(s, s->outputs[i], expected, actual, what);
    }
  }
}

static void finish_batch(struct subject *s) {
  s->batch.batch_size = 1;
  s->batch.buffers_count = s->count;
  s->batch.tensors_count = s->count;
  s->batch.ops_count = 1;
  s->batch.buffers = s->buffers;
  s->batch.tensors = s->tensors;
  s->batch.ops = &s->op;
}

static void check(struct subject *s, const char *what) {
  finish_batch(s);
  unsigned char *expected = test_memory_take(s->batch.workspace_bytes);
  unsigned char *before = test_memory_take(s->batch.workspace_bytes);
  unsigned char *after = test_memory_take(s->batch.workspace_bytes);
  for (uint32_t i = 0; i < s->count; i++) {
    fill(s, i, before + s->buffers[i].offset_bytes);
  }
  for (uint32_t i = 0; i < s->op.outputs_count; i++) {
    const uint32_t output = s->outputs[i];
    if (output != PLAN_NONE && s->tensors[output].buffer == output) {
      /* what is never written must show */
      memset(before + s->buffers[output].offset_bytes, 0x7f, s->buffers[output].bytes);
    }
  }
  memcpy(expected, before, s->batch.workspace_bytes);
  run_reference(s, expected);
  run_device(s, before, after);
  compare(s, expected, after, what);
  free(expected);
  free(before);
  free(after);
}

/* ---------------------------------------------------------------------------------- the subjects
 */

static enum plan_type type_of(enum plan_precision precision) {
  return precision == PLAN_FP16 ? PLAN_F16 : PLAN_F32;
}

static struct plan_activation draw_activation(void) {
  static const enum plan_activation_kind kinds[] = {
      PLAN_ACT_NONE,     PLAN_ACT_RELU,       PLAN_ACT_RELU,       PLAN_ACT_CLIP, PLAN_ACT_SWISH,
      PLAN_ACT_GELU_ERF, PLAN_ACT_HARD_SWISH, PLAN_ACT_LEAKY_RELU, PLAN_ACT_TANH};
  struct plan_activation activation = {.kind = kinds[draw(0, 8)], .alpha = 0.0F, .beta = 6.0F};
  if (activation.kind == PLAN_ACT_LEAKY_RELU) {
    activation.alpha = 0.1F;
  }
  return activation;
}

static void check_conv(enum plan_precision precision, uint32_t round) {
  static const char *const what = "conv";
  struct subject s;
  subject_init(&s, PLAN_OP_CONV, precision);
  const enum plan_type type = type_of(precision);
  const bool is_depthwise = round % 4 == 3;
  const uint32_t kernel = round % 4 == 0 ? 1 : draw(1, 3) * 2 - 1;
  const uint32_t groups = is_depthwise ? draw(1, 4) * 8 : round % 5 == 4 ? 2 : 1;
  const uint32_t in = is_depthwise ? groups : groups * draw(1, 3) * 8;
  const uint32_t out = is_depthwise ? groups : groups * draw(1, 4) * 8;
  const uint32_t stride = kernel == 1 ? 1 : draw(1, 2);
  const uint32_t side = draw(6, 20);
  const uint32_t pad = kernel / 2;
  const uint32_t to = (side + 2 * pad - kernel) / stride + 1;
  const uint32_t n = draw(1, 3);
  add_input(&s, type, PLAN_CHANNELS_LAST, 4, (uint32_t[]){n, in, side, side});
  add_input(&s, type, PLAN_CHANNELS_LAST, 4, (uint32_t[]){out, in / groups, kernel, kernel});
  if (draw(0, 3) > 0) {
    add_input(&s, type, PLAN_ROW_MAJOR, 1, (uint32_t[]){out});
  } else {
    skip_input(&s);
  }
  if (draw(0, 1) == 1) {
    add_input(&s, type, PLAN_CHANNELS_LAST, 4, (uint32_t[]){n, out, to, to});
  }
  add_output(&s, type, PLAN_CHANNELS_LAST, 4, (uint32_t[]){n, out, to, to});
  if (s.op.inputs_count > 3 && draw(0, 1) == 1) { /* over the residual */
    s.tensors[s.outputs[0]].buffer = s.tensors[s.inputs[3]].buffer;
  }
  s.op.conv = (struct plan_conv){.spatial = 2,
                                 .groups = groups,
                                 .strides = {stride, stride},
                                 .dilations = {1, 1},
                                 .pads_before = {pad, pad},
                                 .pads_after = {pad, pad},
                                 .residual_last = draw(0, 3) == 0,
                                 .activation = draw_activation()};
  check(&s, what);
}

static struct plan_op reordering(struct subject *s, uint32_t index, uint32_t *from, uint32_t *to) {
  const bool is_cast = s->tensors[*from].type != s->tensors[*to].type;
  s->steps[index] = (struct plan_step){.scalar = is_cast ? PLAN_S_CAST : PLAN_S_COPY,
                                       .type = s->tensors[*to].type,
                                       .a = {.kind = PLAN_OPERAND_INPUT}};
  return (struct plan_op){.kind = PLAN_OP_POINTWISE,
                          .inputs = from,
                          .inputs_count = 1,
                          .outputs = to,
                          .outputs_count = 1,
                          .pointwise = {.steps_count = 1, .steps = &s->steps[index]}};
}

/* What the first convolution of a network answers that reads the request's image itself. */
static void check_stem(enum plan_precision precision, uint32_t round) {
  struct subject s;
  subject_init(&s, PLAN_OP_CONV, precision);
  const enum plan_type type = type_of(precision);
  const uint32_t kernel = draw(1, 3) * 2 + 1;
  const uint32_t pad = draw(0, kernel / 2);
  const uint32_t out = draw(1, 12) * 8;
  const uint32_t from[4] = {draw(1, 3), draw(1, 4), draw(20, 60), draw(20, 60)};
  const uint32_t dims_to[4] = {from[0], out, (from[2] + 2 * pad - kernel) / 2 + 1,
                               (from[3] + 2 * pad - kernel) / 2 + 1};
  uint32_t values[3] = {add(&s, PLAN_F32, PLAN_ROW_MAJOR, 4, from)};
  s.buffers[0].place = PLAN_INPUT;
  uint32_t moves_count = 0;
  struct plan_op ops[3];
  if (precision == PLAN_FP16 && round % 3 > 0) { /* cast and moved one after the other */
    values[1] = add(&s, type, PLAN_ROW_MAJOR, 4, from);
    ops[0] = reordering(&s, 0, &values[0], &values[1]);
    moves_count = 1;
  }
  add_input(&s, type, PLAN_CHANNELS_LAST, 4, from);
  values[moves_count + 1] = s.inputs[0];
  ops[moves_count] = reordering(&s, moves_count, &values[moves_count], &values[moves_count + 1]);
  moves_count++;
  add_input(&s, type, PLAN_CHANNELS_LAST, 4, (uint32_t[]){out, from[1], kernel, kernel});
  add_input(&s, type, PLAN_ROW_MAJOR, 1, (uint32_t[]){out});
  add_output(&s, type, PLAN_CHANNELS_LAST, 4, dims_to);
  s.op.conv = (struct plan_conv){.spatial = 2,
                                 .groups = 1,
                                 .strides = {2, 2},
                                 .dilations = {1, 1},
                                 .pads_before = {pad, pad},
                                 .pads_after = {pad, pad},
                                 .activation = draw_activation()};
  finish_batch(&s);
  ops[moves_count] = s.op;
  s.batch.ops = ops;
  s.batch.ops_count = moves_count + 1;

  unsigned char *memory = test_memory_take(s.batch.workspace_bytes);
  unsigned char *answer = test_memory_take(s.batch.workspace_bytes);
  for (uint32_t i = 0; i < s.count; i++) {
    fill(&s, i, memory + s.buffers[i].offset_bytes);
  }
  for (uint32_t i = 0; i <= moves_count; i++) {
    s.op = ops[i];
    run_reference(&s, memory);
  }
  struct device *device = bench.device;
  const struct library *library = &bench.library;
  struct emit emit;
  emit_init(&emit, device, device->stream, &s.plan, &s.batch, &device->bench, 0, NULL);
  const struct kernel_places places = {.input_address = device->bench.input};
  emit.slot_places = round % 2 == 0 ? 0 : device->bench.places;
  uint32_t sources[EMIT_STEM_SOURCES];
  const uint32_t count = emit_stem_sources(&emit, moves_count, sources);
  assert_int_equal(count, precision == PLAN_FP32 ? 0 : moves_count);
  if (count > 0) {
    assert_int_equal(sources[count - 1], 0);
    const CUdeviceptr at = device->bench.workspace;
    library->driver.cuMemcpyHtoDAsync(at, memory, s.batch.workspace_bytes, device->stream);
    library->driver.cuMemcpyHtoDAsync(device->bench.input, memory, s.buffers[0].bytes,
                                      device->stream);
    library->driver.cuMemcpyHtoDAsync(device->bench.places, &places, sizeof(places),
                                      device->stream);
    /* What is never written must show, and what it reorders must not be read. */
    const struct plan_buffer *hidden[2] = {&s.buffers[s.outputs[0]], &s.buffers[s.inputs[0]]};
    memset(answer, 0x7f, s.batch.workspace_bytes);
    for (int i = 0; i < 2; i++) {
      library->driver.cuMemcpyHtoDAsync(at + hidden[i]->offset_bytes, answer, hidden[i]->bytes,
                                        device->stream);
    }
    assert_int_equal(emit_stem(&emit, &ops[moves_count], sources[count - 1]), CUDA_SUCCESS);
    library->driver.cuMemcpyDtoHAsync(answer, at, s.batch.workspace_bytes, device->stream);
    assert_int_equal(library->driver.cuStreamSynchronize(device->stream), CUDA_SUCCESS);
    compare(&s, memory, answer, "stem");
  }
  free(memory);
  free(answer);
}

/* Few channels are for our own kernel, many also for cuDNN. */
static void check_conv_transpose(enum plan_precision precision, uint32_t round) {
  struct subject s;
  subject_init(&s, PLAN_OP_CONV_TRANSPOSE, precision);
  const enum plan_type type = type_of(precision);
  const uint32_t times = round % 2 == 0 ? 1 : 8;
  const uint32_t in = times * draw(1, 6), out = times * draw(1, 6);
  const uint32_t side = draw(3, 9), stride = draw(1, 2);
  const uint32_t to = (side - 1) * stride + 3 - 2;
  add_input(&s, type, PLAN_ROW_MAJOR, 4, (uint32_t[]){2, in, side, side});
  add_input(&s, type, PLAN_ROW_MAJOR, 4, (uint32_t[]){in, out, 3, 3});
  add_input(&s, type, PLAN_ROW_MAJOR, 1, (uint32_t[]){out});
  add_output(&s, type, PLAN_ROW_MAJOR, 4, (uint32_t[]){2, out, to, to});
  s.op.conv = (struct plan_conv){.spatial = 2,
                                 .groups = 1,
                                 .strides = {stride, stride},
                                 .dilations = {1, 1},
                                 .pads_before = {1, 1},
                                 .pads_after = {1, 1},
                                 .activation = draw_activation()};
  check(&s, "conv_transpose");
}

static void check_matmul(enum plan_precision precision, uint32_t round) {
  struct subject s;
  subject_init(&s, PLAN_OP_MATMUL, precision);
  const enum plan_type type = type_of(precision);
  const uint32_t m = draw(1, 40), n = draw(1, 10) * 8, k = draw(1, 10) * 8;
  const uint32_t b = draw(2, 5);
  const bool ta = round % 4 == 1, tb = round % 4 >= 2;
  const uint32_t a_dims[3] = {b, ta ? k : m, ta ? m : k};
  const uint32_t b_dims[3] = {b, tb ? n : k, tb ? k : n};
  const uint32_t out_dims[3] = {b, m, n};
  const bool is_batched = round % 3 != 0;
  const bool is_shared = round % 3 == 2; /* one right side for all batches */
  add_input(&s, type, PLAN_ROW_MAJOR, is_batched ? 3 : 2, a_dims + (is_batched ? 0 : 1));
  add_input(&s, type, PLAN_ROW_MAJOR, is_batched && !is_shared ? 3 : 2,
            b_dims + (is_batched && !is_shared ? 0 : 1));
  if (draw(0, 1) == 1) {
    add_input(&s, type, PLAN_ROW_MAJOR, 1, (uint32_t[]){n});
  } else {
    skip_input(&s);
  }
  if (draw(0, 1) == 1) {
    add_input(&s, type, PLAN_ROW_MAJOR, is_batched ? 3 : 2, out_dims + (is_batched ? 0 : 1));
  }
  add_output(&s, type, PLAN_ROW_MAJOR, is_batched ? 3 : 2, out_dims + (is_batched ? 0 : 1));
  s.op.matmul = (struct plan_matmul){
      .transpose_a = ta, .transpose_b = tb, .alpha = 0.5F, .activation = draw_activation()};
  check(&s, "matmul");
}

static void check_pool(enum plan_precision precision, uint32_t round) {
  struct subject s;
  subject_init(&s, PLAN_OP_POOL, precision);
  const enum plan_type type = type_of(precision);
  const enum plan_layout layout = round % 3 == 0 ? PLAN_ROW_MAJOR : PLAN_CHANNELS_LAST;
  const uint32_t channels = round % 2 == 0 ? draw(1, 4) * 8 : draw(1, 20), side = draw(5, 15);
  const uint32_t kernel = draw(2, 3), stride = draw(1, 2);
  const uint32_t to = (side + 2 - kernel) / stride + 1;
  add_input(&s, type, layout, 4, (uint32_t[]){2, channels, side, side});
  add_output(&s, type, layout, 4, (uint32_t[]){2, channels, to, to});
  s.op.pool = (struct plan_pool){.kind = draw(0, 1) == 0 ? PLAN_POOL_MAX : PLAN_POOL_MEAN,
                                 .spatial = 2,
                                 .kernel = {kernel, kernel},
                                 .strides = {stride, stride},
                                 .dilations = {1, 1},
                                 .pads_before = {1, 1},
                                 .pads_after = {1, 1},
                                 .declared_pads_after = {1, 1},
                                 .count_padding = draw(0, 1) == 1};
  check(&s, "pool");
}

static void check_pointwise_floats(enum plan_precision precision, uint32_t round) {
  struct subject s;
  subject_init(&s, PLAN_OP_POINTWISE, precision);
  const enum plan_type type = type_of(precision);
  const uint32_t dims[4] = {2, draw(1, 3) * 4, draw(1, 9), draw(1, 4) * 4};
  const enum plan_layout to = round % 2 == 0 ? PLAN_CHANNELS_LAST : PLAN_ROW_MAJOR;
  add_input(&s, type, round % 3 == 0 ? PLAN_CHANNELS_LAST : PLAN_ROW_MAJOR, 4, dims);
  add_input(&s, type, PLAN_ROW_MAJOR, 4, (uint32_t[]){1, dims[1], 1, 1});
  add_input(&s, PLAN_F32, to, 4, dims);
  add_output(&s, type, to, 4, dims);
  const struct plan_operand image = {.kind = PLAN_OPERAND_INPUT, .index = 0};
  const struct plan_operand scale = {.kind = PLAN_OPERAND_INPUT, .index = 1};
  const struct plan_operand other = {.kind = PLAN_OPERAND_INPUT, .index = 2};
  const struct plan_operand number = {.kind = PLAN_OPERAND_NUMBER, .number = 0.25};
  s.steps[0] = (struct plan_step){
      .scalar = PLAN_S_FMA, .type = PLAN_F32, .a = image, .b = scale, .c = number};
  s.steps[1] = (struct plan_step){.scalar = PLAN_S_ACTIVATION,
                                  .type = PLAN_F32,
                                  .a = {.kind = PLAN_OPERAND_STEP, .index = 0},
                                  .activation = {.kind = PLAN_ACT_SIGMOID}};
  s.steps[2] = (struct plan_step){
      .scalar = PLAN_S_MUL,
      .type = PLAN_F32,
      .a = {.kind = PLAN_OPERAND_STEP, .index = 1},
      .b = round % 2 == 0 ? other : (struct plan_operand){.kind = PLAN_OPERAND_STEP}};
  s.steps[3] = (struct plan_step){
      .scalar = PLAN_S_CAST, .type = type, .a = {.kind = PLAN_OPERAND_STEP, .index = 2}};
  s.op.pointwise = (struct plan_pointwise){.steps_count = 4, .steps = s.steps};
  check(&s, "pointwise of floats");
}

static void check_pointwise_any(void) {
  struct subject s;
  subject_init(&s, PLAN_OP_POINTWISE, PLAN_FP32);
  const uint32_t dims[3] = {draw(1, 4), draw(1, 9), draw(1, 9)};
  add_input(&s, PLAN_I64, PLAN_ROW_MAJOR, 3, dims);
  add_input(&s, PLAN_I64, PLAN_ROW_MAJOR, 1, dims + 2);
  add_output(&s, PLAN_I64, PLAN_ROW_MAJOR, 3, dims);
  const struct plan_operand a = {.kind = PLAN_OPERAND_INPUT, .index = 0};
  const struct plan_operand b = {.kind = PLAN_OPERAND_INPUT, .index = 1};
  s.steps[0] = (struct plan_step){.scalar = PLAN_S_LESS, .type = PLAN_I64, .a = a, .b = b};
  s.steps[1] = (struct plan_step){.scalar = PLAN_S_DIV, .type = PLAN_I64, .a = a, .b = b};
  s.steps[2] = (struct plan_step){.scalar = PLAN_S_SELECT,
                                  .type = PLAN_I64,
                                  .a = {.kind = PLAN_OPERAND_STEP, .index = 0},
                                  .b = {.kind = PLAN_OPERAND_STEP, .index = 1},
                                  .c = b};
  s.op.pointwise = (struct plan_pointwise){.steps_count = 3, .steps = s.steps};
  check(&s, "pointwise of integers");
}

static void check_reduce(enum plan_precision precision, uint32_t round) {
  static const enum plan_reduce_kind kinds[] = {
      PLAN_REDUCE_SUM, PLAN_REDUCE_MEAN, PLAN_REDUCE_MAX,  PLAN_REDUCE_MIN,
      PLAN_REDUCE_L1,  PLAN_REDUCE_L2,   PLAN_REDUCE_MEAN, PLAN_REDUCE_LOG_SUM_EXP};
  struct subject s;
  subject_init(&s, PLAN_OP_REDUCE, precision);
  const enum plan_type type = type_of(precision);
  uint32_t dims[4] = {draw(1, 3), draw(1, 40), draw(1, 9), draw(1, 9)};
  if (round % 4 == 0) { /* long enough to be cut in parts */
    dims[2] = 16 * draw(1, 4);
    dims[3] = 16;
  }
  uint32_t to[4];
  const uint32_t axes = round % 2 == 0 ? 12 : draw(1, 15);
  for (uint32_t i = 0; i < 4; i++) {
    to[i] = (axes >> i & 1) != 0 ? 1 : dims[i];
  }
  add_input(&s, type, round % 2 == 0 ? PLAN_CHANNELS_LAST : PLAN_ROW_MAJOR, 4, dims);
  add_output(&s, type, PLAN_ROW_MAJOR, 4, to);
  s.op.reduce = (struct plan_reduce){.kind = kinds[round % 8], .axes = axes};
  check(&s, "reduce");
}

static void check_rows(enum plan_precision precision, uint32_t round) {
  struct subject s;
  const enum plan_type type = type_of(precision);
  const uint32_t dims[3] = {draw(1, 5), draw(1, 8) * 2, draw(2, 300)};
  subject_init(&s, PLAN_OP_SOFTMAX, precision);
  add_input(&s, type, PLAN_ROW_MAJOR, 3, dims);
  add_output(&s, type, PLAN_ROW_MAJOR, 3, dims);
  s.op.softmax = (struct plan_softmax){.axis = 2 - round % 2, .logarithm = round % 4 == 3};
  check(&s, "softmax");
  subject_init(&s, PLAN_OP_LAYER_NORM, precision);
  add_input(&s, type, PLAN_ROW_MAJOR, 3, dims);
  add_input(&s, type, PLAN_ROW_MAJOR, 1, dims + 2);
  add_input(&s, type, PLAN_ROW_MAJOR, 1, dims + 2);
  add_output(&s, type, PLAN_ROW_MAJOR, 3, dims);
  s.op.normalize = (struct plan_normalize){.axis = 2, .epsilon = 1e-5F, .rms = round % 3 == 2};
  check(&s, "layer_norm");
  subject_init(&s, PLAN_OP_GROUP_NORM, precision);
  add_input(&s, type, PLAN_ROW_MAJOR, 3, dims);
  add_input(&s, type, PLAN_ROW_MAJOR, 1, dims + 1);
  add_input(&s, type, PLAN_ROW_MAJOR, 1, dims + 1);
  add_output(&s, type, PLAN_ROW_MAJOR, 3, dims);
  s.op.normalize = (struct plan_normalize){.groups = 2, .epsilon = 1e-5F};
  check(&s, "group_norm");
  subject_init(&s, PLAN_OP_LRN, precision);
  const uint32_t image[4] = {2, draw(3, 20), 5, 4};
  const enum plan_layout layout = round % 2 == 0 ? PLAN_CHANNELS_LAST : PLAN_ROW_MAJOR;
  add_input(&s, type, layout, 4, image);
  add_output(&s, type, layout, 4, image);
  s.op.lrn = (struct plan_lrn){.size = 5, .alpha = 1e-2F, .beta = 0.75F, .bias = 1.0F};
  check(&s, "lrn");
}

static void check_moves(enum plan_type type, uint32_t round) {
  struct subject s;
  const uint32_t dims[4] = {draw(1, 3), draw(2, 6), draw(2, 9), draw(2, 12)};
  subject_init(&s, PLAN_OP_TRANSPOSE, PLAN_FP32);
  static const uint32_t orders[3][4] = {{0, 2, 3, 1}, {3, 2, 1, 0}, {0, 2, 1, 3}};
  const uint32_t *order = orders[round % 3];
  add_input(&s, type, PLAN_ROW_MAJOR, 4, dims);
  add_output(&s, type, PLAN_ROW_MAJOR, 4,
             (uint32_t[]){dims[order[0]], dims[order[1]], dims[order[2]], dims[order[3]]});
  memcpy(s.op.transpose.permutation, order, sizeof(orders[0]));
  check(&s, "transpose");
  subject_init(&s, PLAN_OP_CONCAT, PLAN_FP32);
  const enum plan_layout layout = round % 2 == 0 ? PLAN_CHANNELS_LAST : PLAN_ROW_MAJOR;
  const uint32_t more = draw(1, 5);
  add_input(&s, type, layout, 4, dims);
  add_input(&s, type, layout, 4, (uint32_t[]){dims[0], more, dims[2], dims[3]});
  add_output(&s, type, layout, 4, (uint32_t[]){dims[0], dims[1] + more, dims[2], dims[3]});
  s.op.axis = 1;
  check(&s, "concat");
  subject_init(&s, PLAN_OP_SLICE, PLAN_FP32);
  add_input(&s, type, PLAN_ROW_MAJOR, 4, dims);
  add_output(&s, type, PLAN_ROW_MAJOR, 4, (uint32_t[]){dims[0], 2, dims[2] - 1, dims[3] / 2});
  s.op.slice = (struct plan_slice){.starts = {0, 1, 1, 0}, .steps = {1, -1, 1, 2, 1, 1, 1, 1}};
  check(&s, "slice");
  subject_init(&s, PLAN_OP_PAD, PLAN_FP32);
  add_input(&s, type, PLAN_ROW_MAJOR, 4, dims);
  add_output(&s, type, PLAN_ROW_MAJOR, 4,
             (uint32_t[]){dims[0], dims[1] + 2, dims[2] + 1, dims[3] + 1});
  s.op.pad = (struct plan_pad){
      .mode = (enum plan_pad_mode)(1 + round % 4), .before = {0, 1, 1, 0}, .fill = 3.0};
  check(&s, "pad");
  subject_init(&s, PLAN_OP_GATHER, PLAN_FP32);
  add_input(&s, type, PLAN_ROW_MAJOR, 4, dims);
  add_input(&s, round % 2 == 0 ? PLAN_I64 : PLAN_I32, PLAN_ROW_MAJOR, 1, (uint32_t[]){7});
  add_output(&s, type, PLAN_ROW_MAJOR, 4, (uint32_t[]){dims[0], 7, dims[2], dims[3]});
  s.op.gather = (struct plan_gather){.axis = 1};
  check(&s, "gather");
}

static void check_resize(enum plan_precision precision, uint32_t round) {
  struct subject s;
  subject_init(&s, PLAN_OP_RESIZE, precision);
  const enum plan_type type = type_of(precision);
  const enum plan_layout layout = round % 2 == 0 ? PLAN_CHANNELS_LAST : PLAN_ROW_MAJOR;
  const uint32_t side = draw(2, 6);
  add_input(&s, type, layout, 4, (uint32_t[]){2, 5, side, side});
  add_output(&s, type, layout, 4, (uint32_t[]){2, 5, side * 2, side * 3});
  s.op.resize =
      (struct plan_resize){.mode = (enum plan_resize_mode)(1 + round % 3),
                           .coordinates = (enum plan_resize_coordinates)(1 + round / 3 % 4),
                           .rounding = (enum plan_resize_rounding)(1 + round % 4),
                           .scales = {1, 1, 2, 3, 1, 1, 1, 1},
                           .cubic_a = -0.75F};
  check(&s, "resize");
}

/* Every function in every type that it computes in, alone: operands of ordinary size. */
struct scalar_rule {
  enum plan_scalar first;
  enum plan_scalar last;
  uint32_t operands;
  bool has_floats;
  bool has_integers;
};

static const struct scalar_rule scalar_rules[] = {
    {PLAN_S_COPY, PLAN_S_COPY, 1, true, true},
    {PLAN_S_ADD, PLAN_S_MAX, 2, true, true},
    {PLAN_S_NEG, PLAN_S_SIGN, 1, true, true},
    {PLAN_S_FLOOR, PLAN_S_SELU, 1, true, false},
    {PLAN_S_FMA, PLAN_S_FMA, 3, true, true},
    {PLAN_S_EQUAL, PLAN_S_GREATER_EQUAL, 2, true, true},
    {PLAN_S_BIT_AND, PLAN_S_BIT_XOR, 2, false, true},
    {PLAN_S_BIT_NOT, PLAN_S_BIT_NOT, 1, false, true},
    {PLAN_S_SHIFT_LEFT, PLAN_S_SHIFT_RIGHT, 2, false, true},
    {PLAN_S_IS_NAN, PLAN_S_IS_INF, 1, true, false}};

static bool gives_bool(enum plan_scalar scalar) {
  return (scalar >= PLAN_S_EQUAL && scalar <= PLAN_S_NOT) || scalar == PLAN_S_IS_NAN ||
         scalar == PLAN_S_IS_INF;
}

/* One input is a column that is broadcast; the last operand, if there are several, a number. */
static void check_scalar(enum plan_scalar scalar, enum plan_type type, uint32_t operands) {
  struct subject s;
  char what[64];
  subject_init(&s, PLAN_OP_POINTWISE, type == PLAN_F16 ? PLAN_FP16 : PLAN_FP32);
  const uint32_t dims[2] = {draw(2, 9), draw(2, 40)};
  struct plan_step *step = &s.steps[0];
  *step = (struct plan_step){.scalar = scalar, .type = type};
  struct plan_operand *const all[3] = {&step->a, &step->b, &step->c};
  for (uint32_t i = 0; i < operands; i++) {
    if (i == 1 && draw(0, 2) == 0) {
      *all[i] = (struct plan_operand){.kind = PLAN_OPERAND_NUMBER, .number = 3.0};
      continue;
    }
    *all[i] = (struct plan_operand){.kind = PLAN_OPERAND_INPUT, .index = s.op.inputs_count};
    add_input(&s, type, PLAN_ROW_MAJOR, 2, i == 2 ? (uint32_t[]){dims[0], 1} : dims);
  }
  step->activation = (struct plan_activation){.kind = PLAN_ACT_ELU, .alpha = 1.25F, .beta = 1.5F};
  if (scalar == PLAN_S_IS_INF) {
    step->activation =
        (struct plan_activation){.alpha = (float)draw(0, 1), .beta = (float)draw(0, 1)};
  }
  add_output(&s, gives_bool(scalar) ? PLAN_BOOL : type, PLAN_ROW_MAJOR, 2, dims);
  s.op.pointwise = (struct plan_pointwise){.steps_count = 1, .steps = s.steps};
  snprintf(what, sizeof(what), "function %d of %s", (int)scalar, plan_type_text(type));
  check(&s, what);
}

static void check_scalars(enum plan_type type) {
  const bool is_float = plan_type_is_float(type);
  for (size_t i = 0; i < sizeof(scalar_rules) / sizeof(scalar_rules[0]); i++) {
    const struct scalar_rule *rule = &scalar_rules[i];
    for (int scalar = (int)rule->first; scalar <= (int)rule->last; scalar++) {
      if (is_float ? rule->has_floats : rule->has_integers) {
        check_scalar((enum plan_scalar)scalar, type, rule->operands);
      }
    }
  }
}

/* From each type to each; floats are scaled so that they come to more than 0 as integers. */
static void check_cast(enum plan_type from, enum plan_type to, bool saturates) {
  struct subject s;
  char what[64];
  const bool is_float = plan_type_is_float(from);
  subject_init(&s, PLAN_OP_POINTWISE, to == PLAN_F16 || from == PLAN_F16 ? PLAN_FP16 : PLAN_FP32);
  const uint32_t dims[2] = {draw(1, 9), draw(1, 40)};
  add_input(&s, from, PLAN_ROW_MAJOR, 2, dims);
  add_output(&s, to, PLAN_ROW_MAJOR, 2, dims);
  const struct plan_operand in = {.kind = PLAN_OPERAND_INPUT, .index = 0};
  const struct plan_operand scaled = {.kind = PLAN_OPERAND_STEP, .index = 0};
  s.steps[0] = (struct plan_step){.scalar = PLAN_S_MUL,
                                  .type = from,
                                  .a = in,
                                  .b = {.kind = PLAN_OPERAND_NUMBER, .number = 16.0}};
  s.steps[is_float ? 1 : 0] =
      (struct plan_step){.scalar = saturates ? PLAN_S_CAST_SATURATE : PLAN_S_CAST,
                         .type = to,
                         .a = is_float ? scaled : in};
  s.op.pointwise = (struct plan_pointwise){.steps_count = is_float ? 2 : 1, .steps = s.steps};
  snprintf(what, sizeof(what), "cast%s of %s to %s", saturates ? ", held," : "",
           plan_type_text(from), plan_type_text(to));
  check(&s, what);
}

static void check_logic(void) {
  static const enum plan_scalar scalars[4] = {PLAN_S_AND, PLAN_S_OR, PLAN_S_XOR, PLAN_S_NOT};
  for (int i = 0; i < 4; i++) {
    check_scalar(scalars[i], PLAN_BOOL, scalars[i] == PLAN_S_NOT ? 1 : 2);
  }
}

/* ----------------------------------------------------------- places that data names, and orders */

static void check_gather_places(enum plan_type type, uint32_t round) {
  struct subject s;
  const enum plan_type index_type = round % 2 == 0 ? PLAN_I64 : PLAN_I32;
  const uint32_t dims[3] = {draw(1, 4), draw(2, 12), draw(1, 30)};
  uint32_t some[3] = {draw(1, dims[0]), draw(1, dims[1]), draw(1, dims[2])};
  const uint32_t axis = round % 3;
  some[axis] = draw(1, 40);
  subject_init(&s, PLAN_OP_GATHER_ELEMENTS, PLAN_FP32);
  add_input(&s, type, PLAN_ROW_MAJOR, 3, dims);
  add_input(&s, index_type, PLAN_ROW_MAJOR, 3, some);
  add_output(&s, type, PLAN_ROW_MAJOR, 3, some);
  s.op.gather = (struct plan_gather){.axis = axis};
  check(&s, "gather_elements");
  const uint32_t batch_dims = round % 2;
  const uint32_t depth = draw(1, 3 - batch_dims);
  const uint32_t tuples = draw(1, 20);
  uint32_t to[4] = {dims[0], tuples};
  uint32_t rank = batch_dims + 1;
  to[batch_dims] = tuples;
  for (uint32_t i = batch_dims + depth; i < 3; i++) {
    to[rank++] = dims[i];
  }
  subject_init(&s, PLAN_OP_GATHER_ND, PLAN_FP32);
  add_input(&s, type, PLAN_ROW_MAJOR, 3, dims);
  add_input(&s, index_type, PLAN_ROW_MAJOR, batch_dims + 2,
            batch_dims == 1 ? (uint32_t[]){dims[0], tuples, depth} : (uint32_t[]){tuples, depth});
  add_output(&s, type, PLAN_ROW_MAJOR, rank, to);
  s.op.gather = (struct plan_gather){.batch_dims = batch_dims};
  check(&s, "gather_nd");
}

/* Few places and many updates, so that most meet others. */
static void check_scatter(enum plan_type type, uint32_t round) {
  struct subject s;
  const enum plan_type index_type = round % 2 == 0 ? PLAN_I64 : PLAN_I32;
  const enum plan_scatter_reduction reduction =
      type == PLAN_BOOL ? PLAN_SCATTER_PUT : (enum plan_scatter_reduction)(round % 5);
  const enum plan_precision precision = type == PLAN_F16 ? PLAN_FP16 : PLAN_FP32;
  const uint32_t dims[3] = {draw(1, 4), draw(2, 12), draw(1, 30)};
  uint32_t some[3] = {draw(1, dims[0]), draw(1, dims[1]), draw(1, dims[2])};
  const uint32_t axis = draw(0, 2);
  some[axis] = draw(1, 40);
  subject_init(&s, PLAN_OP_SCATTER_ELEMENTS, precision);
  add_input(&s, type, PLAN_ROW_MAJOR, 3, dims);
  add_input(&s, index_type, PLAN_ROW_MAJOR, 3, some);
  add_input(&s, type, PLAN_ROW_MAJOR, 3, some);
  add_output(&s, type, PLAN_ROW_MAJOR, 3, dims);
  s.op.gather = (struct plan_gather){.axis = axis, .reduction = reduction};
  check(&s, "scatter_elements");
  const uint32_t depth = draw(1, 3);
  const uint32_t tuples = draw(1, 300);
  uint32_t update[4] = {tuples};
  uint32_t rank = 1;
  for (uint32_t i = depth; i < 3; i++) {
    update[rank++] = dims[i];
  }
  subject_init(&s, PLAN_OP_SCATTER_ND, precision);
  add_input(&s, type, PLAN_ROW_MAJOR, 3, dims);
  add_input(&s, index_type, PLAN_ROW_MAJOR, 2, (uint32_t[]){tuples, depth});
  add_input(&s, type, PLAN_ROW_MAJOR, rank, update);
  add_output(&s, type, PLAN_ROW_MAJOR, 3, dims);
  s.op.gather = (struct plan_gather){.reduction = reduction};
  check(&s, "scatter_nd");
}

static void check_order(enum plan_type type, uint32_t round) {
  struct subject s;
  const enum plan_precision precision = type == PLAN_F16 ? PLAN_FP16 : PLAN_FP32;
  const uint32_t axis = round % 3;
  uint32_t dims[3] = {draw(1, 4), draw(1, 12), draw(1, 40)};
  dims[axis] = round % 4 == 3 ? draw(500, 1500) : draw(1, 60);
  uint32_t to[3] = {dims[0], dims[1], dims[2]};
  to[axis] = draw(1, dims[axis]);
  subject_init(&s, PLAN_OP_TOPK, precision);
  add_input(&s, type, PLAN_ROW_MAJOR, 3, dims);
  if (round % 5 == 0) {
    skip_output(&s);
  } else {
    add_output(&s, type, PLAN_ROW_MAJOR, 3, to);
  }
  if (round % 5 != 1) {
    add_output(&s, PLAN_I64, PLAN_ROW_MAJOR, 3, to);
  }
  s.op.topk = (struct plan_topk){.axis = axis, .largest = draw(0, 1) == 1};
  check(&s, "topk");
  subject_init(&s, PLAN_OP_CUMSUM, precision);
  add_input(&s, type, PLAN_ROW_MAJOR, 3, dims);
  add_output(&s, type, PLAN_ROW_MAJOR, 3, dims);
  s.op.cumsum =
      (struct plan_cumsum){.axis = axis, .exclusive = draw(0, 1) == 1, .reverse = draw(0, 1) == 1};
  check(&s, "cumsum");
}

static void check_trilu(enum plan_type type, uint32_t round) {
  struct subject s;
  const uint32_t dims[3] = {draw(1, 3), draw(1, 20), draw(1, 20)};
  subject_init(&s, PLAN_OP_TRILU, PLAN_FP32);
  add_input(&s, type, PLAN_ROW_MAJOR, 3, dims);
  add_output(&s, type, PLAN_ROW_MAJOR, 3, dims);
  s.op.trilu = (struct plan_trilu){.upper = round % 2 == 0, .diagonal = (int32_t)draw(0, 10) - 5};
  check(&s, "trilu");
}

/* --------------------------------------------------------------------------- recurrent operations
 */

static void set_activations(struct plan_op *op, uint32_t round) {
  static const enum plan_activation_kind usual[3][3] = {
      {PLAN_ACT_SIGMOID, PLAN_ACT_TANH, PLAN_ACT_TANH},
      {PLAN_ACT_SIGMOID, PLAN_ACT_TANH, PLAN_ACT_NONE},
      {PLAN_ACT_TANH, PLAN_ACT_NONE, PLAN_ACT_NONE}};
  const uint32_t row = op->kind == PLAN_OP_LSTM ? 0 : op->kind == PLAN_OP_GRU ? 1 : 2;
  const uint32_t each = 3 - row;
  for (uint32_t i = 0; i < 2 * each; i++) {
    op->recurrent.activations[i].kind = usual[row][i % each];
  }
  if (round % 4 == 3) { /* the other direction's are its own */
    op->recurrent.activations[2 * each - 1] =
        (struct plan_activation){.kind = PLAN_ACT_HARD_SIGMOID, .alpha = 0.2F, .beta = 0.5F};
  }
}

static void maybe_input(struct subject *s, bool is_there, enum plan_type type, uint32_t rank,
                        const uint32_t *dims) {
  if (is_there) {
    add_input(s, type, PLAN_ROW_MAJOR, rank, dims);
  } else {
    skip_input(s);
  }
}

static void maybe_output(struct subject *s, bool is_there, enum plan_type type, uint32_t rank,
                         const uint32_t *dims) {
  if (is_there) {
    add_output(s, type, PLAN_ROW_MAJOR, rank, dims);
  } else {
    skip_output(s);
  }
}

struct recurrent_case {
  uint32_t steps;
  uint32_t batch;
  uint32_t width;
  uint32_t hidden;
  enum plan_direction direction;
};

static void check_recurrent(enum plan_op_kind kind, enum plan_type type,
                            enum plan_precision precision, const struct recurrent_case *how,
                            uint32_t round) {
  struct subject s;
  subject_init(&s, kind, precision);
  const uint32_t gates = kind == PLAN_OP_LSTM ? 4 : kind == PLAN_OP_GRU ? 3 : 1;
  const uint32_t d = how->direction == PLAN_BIDIRECTIONAL ? 2 : 1;
  const uint32_t h = how->hidden;
  const uint32_t state[3] = {d, how->batch, h};
  const bool is_lstm = kind == PLAN_OP_LSTM;
  add_input(&s, type, PLAN_ROW_MAJOR, 3, (uint32_t[]){how->steps, how->batch, how->width});
  add_input(&s, type, PLAN_ROW_MAJOR, 3, (uint32_t[]){d, gates * h, how->width});
  add_input(&s, type, PLAN_ROW_MAJOR, 3, (uint32_t[]){d, gates * h, h});
  /* As trained weights are: a step neither forgets nor blows up what differs. */
  for (uint32_t reach = how->width; reach > 1; reach /= 4) {
    s.halvings[s.inputs[1]]++;
  }
  for (uint32_t reach = h; reach > 1; reach /= 4) {
    s.halvings[s.inputs[2]]++;
  }
  maybe_input(&s, round % 3 != 0, type, 2, (uint32_t[]){d, 2 * gates * h});
  skip_input(&s);
  maybe_input(&s, round % 2 == 0, type, 3, state);
  if (is_lstm) {
    maybe_input(&s, round % 4 < 2, type, 3, state);
    maybe_input(&s, round % 3 == 1, type, 2, (uint32_t[]){d, 3 * h});
  }
  maybe_output(&s, round % 5 != 4, type, 4, (uint32_t[]){how->steps, d, how->batch, h});
  maybe_output(&s, round % 5 != 3, type, 3, state);
  if (is_lstm) {
    maybe_output(&s, round % 3 != 2, type, 3, state);
  }
  s.op.recurrent = (struct plan_recurrent){
      .direction = how->direction, .hidden = h, .linear_before_reset = round % 2 == 1};
  set_activations(&s.op, round);
  check(&s, plan_op_kind_text(kind));
}

/* --------------------------------------------------------------------------------------- the tests
 */

#define SKIP_IF_ABSENT()                                                                           \
  do {                                                                                             \
    (void)state;                                                                                   \
    if (bench.device == NULL) {                                                                    \
      print_message("skipped: no CUDA device\n");                                                  \
      skip();                                                                                      \
    }                                                                                              \
  } while (0)

static const enum plan_precision precisions[3] = {PLAN_FP32, PLAN_TF32, PLAN_FP16};

#define IN_EACH_PRECISION(call)                                                                    \
  SKIP_IF_ABSENT();                                                                                \
  for (int i = 0; i < 3; i++) {                                                                    \
    const enum plan_precision precision = precisions[i];                                           \
    for (uint32_t round = 0; round < ROUNDS; round++) {                                            \
      call;                                                                                        \
    }                                                                                              \
  }

static void convolutions(void **state) {
  IN_EACH_PRECISION(check_conv(precision, round); check_conv_transpose(precision, round))
}

static void stems(void **state) {
  IN_EACH_PRECISION(check_stem(precision, round))
}

static void products(void **state) {
  IN_EACH_PRECISION(check_matmul(precision, round))
}

static void pools(void **state) {
  IN_EACH_PRECISION(check_pool(precision, round))
}

static void pointwise(void **state) {
  IN_EACH_PRECISION(check_pointwise_floats(precision, round); check_pointwise_any())
}

static void reductions(void **state) {
  IN_EACH_PRECISION(check_reduce(precision, round))
}

static void rows(void **state) {
  IN_EACH_PRECISION(check_rows(precision, round))
}

static void resizes(void **state) {
  IN_EACH_PRECISION(check_resize(precision, round))
}

static void moves(void **state) {
  SKIP_IF_ABSENT();
  static const enum plan_type types[4] = {PLAN_F32, PLAN_F16, PLAN_I64, PLAN_U8};
  for (uint32_t round = 0; round < ROUNDS; round++) {
    for (int i = 0; i < 4; i++) {
      check_moves(types[i], round);
    }
  }
}

static const enum plan_type all_types[] = {PLAN_F32, PLAN_F16, PLAN_F64, PLAN_I8,
                                           PLAN_I16, PLAN_I32, PLAN_I64, PLAN_U8,
                                           PLAN_U16, PLAN_U32, PLAN_U64, PLAN_BOOL};
enum { TYPES = sizeof(all_types) / sizeof(all_types[0]) };

static void functions_of_every_type(void **state) {
  SKIP_IF_ABSENT();
  check_logic();
  for (int i = 0; i < TYPES; i++) {
    if (all_types[i] != PLAN_BOOL) {
      check_scalars(all_types[i]);
    }
    for (int k = 0; k < TYPES; k++) {
      /* What isn't 0 is true, which the compiler says by a comparison. */
      const bool is_comparison = all_types[k] == PLAN_BOOL && all_types[i] != PLAN_BOOL;
      if (!is_comparison) {
        check_cast(all_types[i], all_types[k], false);
        check_cast(all_types[i], all_types[k], true);
      }
    }
  }
}

static void places(void **state) {
  SKIP_IF_ABSENT();
  static const enum plan_type types[6] = {PLAN_F32, PLAN_F16, PLAN_F64,
                                          PLAN_I64, PLAN_U8,  PLAN_BOOL};
  for (uint32_t round = 0; round < ROUNDS; round++) {
    for (int i = 0; i < 6; i++) {
      check_gather_places(types[i], round);
      check_scatter(types[i], round);
      check_trilu(types[i], round);
    }
  }
}

static void orders_and_running_sums(void **state) {
  SKIP_IF_ABSENT();
  static const enum plan_type types[5] = {PLAN_F32, PLAN_F16, PLAN_F64, PLAN_I32, PLAN_I64};
  for (uint32_t round = 0; round < ROUNDS; round++) {
    for (int i = 0; i < 5; i++) {
      check_order(types[i], round);
    }
  }
}

static void recurrent_operations(void **state) {
  /* One block and clusters of 2, 4 and 8; units that don't divide; R kept and read anew; one
   * sequence a block and several. */
  static const struct recurrent_case cases[] = {
      {1, 1, 128, 128, PLAN_FORWARD},     {8, 1, 128, 128, PLAN_FORWARD},
      {5, 3, 7, 5, PLAN_BIDIRECTIONAL},   {6, 2, 20, 33, PLAN_REVERSE},
      {9, 4, 16, 70, PLAN_BIDIRECTIONAL}, {3, 2, 40, 200, PLAN_BIDIRECTIONAL},
      {7, 19, 24, 129, PLAN_FORWARD},     {6, 10, 32, 130, PLAN_BIDIRECTIONAL},
      {5, 2, 64, 300, PLAN_REVERSE},      {2, 33, 8, 64, PLAN_REVERSE}};
  static const enum plan_op_kind kinds[3] = {PLAN_OP_LSTM, PLAN_OP_GRU, PLAN_OP_RNN};
  SKIP_IF_ABSENT();
  for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
    for (uint32_t k = 0; k < 3; k++) {
      for (uint32_t round = 2 * i; round < 2 * i + 2; round++) {
        check_recurrent(kinds[k], PLAN_F32, PLAN_FP32, &cases[i], round);
        check_recurrent(kinds[k], PLAN_F32, PLAN_TF32, &cases[i], round);
        check_recurrent(kinds[k], PLAN_F16, PLAN_FP16, &cases[i], round);
      }
      check_recurrent(kinds[k], PLAN_F64, PLAN_FP32, &cases[i], i);
    }
  }
}

static int open_bench(void **state) {
  (void)state;
  prng_init(&bench.prng, 29, 0);
  if (!library_has_device()) {
    return 0;
  }
  struct error_text error = {.text = ""};
  const struct device_limits limits = {
      .pages = 1, .io_bytes = 8 << 20, .workspace_bytes = AREA_BYTES};
  bool is_open = library_open(&bench.library, &error) == ERR_OK &&
                 bench.library.driver.cuInit(0) == CUDA_SUCCESS &&
                 device_create(&bench.library, 0, &limits, &bench.device, &error) == ERR_OK;
  bench.store = choice_store_create(false);
  if (!is_open || bench.store == NULL) {
    print_error("%s\n", error.text);
    return 1;
  }
  return 0;
}

static int close_bench(void **state) {
  (void)state;
  if (bench.device != NULL) {
    choice_store_destroy(bench.device, bench.store);
    device_destroy(bench.device);
    library_close(&bench.library);
  }
  return 0;
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(convolutions),
                                     cmocka_unit_test(stems),
                                     cmocka_unit_test(products),
                                     cmocka_unit_test(pools),
                                     cmocka_unit_test(pointwise),
                                     cmocka_unit_test(reductions),
                                     cmocka_unit_test(rows),
                                     cmocka_unit_test(resizes),
                                     cmocka_unit_test(moves),
                                     cmocka_unit_test(functions_of_every_type),
                                     cmocka_unit_test(places),
                                     cmocka_unit_test(orders_and_running_sums),
                                     cmocka_unit_test(recurrent_operations)};
  return cmocka_run_group_tests(tests, open_bench, close_bench);
}

#else

static void needs_the_backend(void **state) {
  (void)state;
  print_message("skipped: no CUDA device (and built without the CUDA backend)\n");
  skip();
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(needs_the_backend)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
