#include "support/model_packages.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/prng.h"
#include "package/format.h"
#include "package/memory_plan.h"
#include "package/plan.h"

enum { ITEMS_MAX = 16, KINDS_MAX = 4 };

/* One batch size's program under construction. */
struct builder {
  struct plan_batch batch;
  struct plan_buffer buffers[ITEMS_MAX];
  struct plan_tensor tensors[ITEMS_MAX];
  struct plan_op ops[ITEMS_MAX];
  uint32_t indices[ITEMS_MAX][8];
  struct plan_step steps[ITEMS_MAX];
  uint32_t input;
  uint32_t output;
};

struct weights {
  float *values;
  uint64_t bytes;
};

static uint64_t aligned(uint64_t bytes) {
  return (bytes + PLAN_ALIGN_BYTES - 1) / PLAN_ALIGN_BYTES * PLAN_ALIGN_BYTES;
}

static uint32_t add_tensor(struct builder *b, uint32_t buffer, enum plan_layout layout,
                           uint32_t rank, const uint32_t *dims) {
  const uint32_t index = b->batch.tensors_count++;
  struct plan_tensor *tensor = &b->tensors[index];
  *tensor =
      (struct plan_tensor){.type = PLAN_F32, .layout = layout, .rank = rank, .buffer = buffer};
  for (uint32_t i = 0; i < PLAN_RANK_MAX; i++) {
    tensor->dims[i] = i < rank ? dims[i] : 1;
  }
  tensor->pitch = layout == PLAN_CHANNELS_LAST ? dims[1] : 0;
  return index;
}

static uint32_t add_buffer(struct builder *b, enum plan_place place, uint64_t offset_bytes,
                           uint64_t bytes) {
  const uint32_t index = b->batch.buffers_count++;
  b->buffers[index] =
      (struct plan_buffer){.place = place, .offset_bytes = offset_bytes, .bytes = bytes};
  return index;
}

static uint64_t bytes_of(uint32_t rank, const uint32_t *dims) {
  uint64_t bytes = sizeof(float);
  for (uint32_t i = 0; i < rank; i++) {
    bytes *= dims[i];
  }
  return bytes;
}

/* In a buffer of its own in the workspace, alive from operation `first` to `last`. */
static uint32_t add_value(struct builder *b, enum plan_layout layout, uint32_t rank,
                          const uint32_t *dims, uint32_t first, uint32_t last) {
  const uint64_t bytes = bytes_of(rank, dims);
  const uint32_t buffer = add_buffer(b, PLAN_WORKSPACE, aligned(b->batch.workspace_bytes), bytes);
  b->buffers[buffer].first_op = first;
  b->buffers[buffer].last_op = last;
  b->batch.workspace_bytes = aligned(b->batch.workspace_bytes) + aligned(bytes);
  b->batch.naive_bytes = b->batch.workspace_bytes;
  return add_tensor(b, buffer, layout, rank, dims);
}

/* At `offset_bytes` of the weights; the same for each batch size. */
static uint32_t add_weights(struct builder *b, uint64_t *offset_bytes, enum plan_layout layout,
                            uint32_t rank, const uint32_t *dims) {
  const uint64_t bytes = bytes_of(rank, dims);
  const uint32_t buffer = add_buffer(b, PLAN_WEIGHTS, *offset_bytes, bytes);
  *offset_bytes += aligned(bytes);
  return add_tensor(b, buffer, layout, rank, dims);
}

static struct plan_op *add_op(struct builder *b, enum plan_op_kind kind, uint32_t inputs_count,
                              const uint32_t *inputs, uint32_t output) {
  const uint32_t index = b->batch.ops_count++;
  struct plan_op *op = &b->ops[index];
  memcpy(b->indices[index], inputs, inputs_count * sizeof(*inputs));
  b->indices[index][7] = output;
  *op = (struct plan_op){.kind = kind,
                         .inputs_count = inputs_count,
                         .outputs_count = 1,
                         .inputs = b->indices[index],
                         .outputs = &b->indices[index][7]};
  snprintf(op->name, sizeof(op->name), "op%u", index);
  return op;
}

static void add_copy(struct builder *b, uint32_t from, uint32_t to) {
  struct plan_op *op = add_op(b, PLAN_OP_POINTWISE, 1, (uint32_t[]){from}, to);
  struct plan_step *step = &b->steps[b->batch.ops_count - 1];
  *step = (struct plan_step){
      .scalar = PLAN_S_COPY, .type = PLAN_F32, .a = {.kind = PLAN_OPERAND_INPUT, .index = 0}};
  op->pointwise = (struct plan_pointwise){.steps_count = 1, .steps = step};
}

static void add_product(struct builder *b, uint32_t from, uint32_t weights, uint32_t bias,
                        uint32_t to, enum plan_activation_kind activation) {
  struct plan_op *op = add_op(b, PLAN_OP_MATMUL, 3, (uint32_t[]){from, weights, bias}, to);
  op->matmul = (struct plan_matmul){.alpha = 1.0F, .activation = {.kind = activation}};
}

static void finish(struct builder *b, uint32_t batch_size, uint64_t input_bytes,
                   uint64_t output_bytes) {
  b->batch.batch_size = batch_size;
  b->batch.buffers = b->buffers;
  b->batch.tensors = b->tensors;
  b->batch.ops = b->ops;
  b->batch.inputs = &b->input;
  b->batch.outputs = &b->output;
  b->batch.input_bytes = aligned(input_bytes);
  b->batch.output_bytes = aligned(output_bytes);
}

/* Returns the bytes of the weights. */
static uint64_t build_wide(struct builder *b, uint32_t n) {
  uint64_t at = 0;
  const uint32_t image[4] = {n, 3, 32, 32};
  const uint32_t features[4] = {n, 16, 32, 32};
  const uint32_t pooled[4] = {n, 16, 16, 16};
  const uint32_t flat[2] = {n, 4096};
  const uint32_t hidden[2] = {n, 1024};
  const uint32_t result[2] = {n, 100};
  b->input =
      add_tensor(b, add_buffer(b, PLAN_INPUT, 0, bytes_of(4, image)), PLAN_ROW_MAJOR, 4, image);
  b->output =
      add_tensor(b, add_buffer(b, PLAN_OUTPUT, 0, bytes_of(2, result)), PLAN_ROW_MAJOR, 2, result);
  const uint32_t filters = add_weights(b, &at, PLAN_CHANNELS_LAST, 4, (uint32_t[]){16, 3, 3, 3});
  const uint32_t filters_bias = add_weights(b, &at, PLAN_ROW_MAJOR, 1, (uint32_t[]){16});
  const uint32_t first = add_weights(b, &at, PLAN_ROW_MAJOR, 2, (uint32_t[]){4096, 1024});
  const uint32_t first_bias = add_weights(b, &at, PLAN_ROW_MAJOR, 1, (uint32_t[]){1024});
  const uint32_t second = add_weights(b, &at, PLAN_ROW_MAJOR, 2, (uint32_t[]){1024, 100});
  const uint32_t second_bias = add_weights(b, &at, PLAN_ROW_MAJOR, 1, (uint32_t[]){100});
  const uint32_t pixels = add_value(b, PLAN_CHANNELS_LAST, 4, image, 0, 1);
  const uint32_t conv = add_value(b, PLAN_CHANNELS_LAST, 4, features, 1, 2);
  const uint32_t pool = add_value(b, PLAN_CHANNELS_LAST, 4, pooled, 2, 3);
  const uint32_t rows = add_value(b, PLAN_ROW_MAJOR, 4, pooled, 3, 4);
  const uint32_t row = add_tensor(b, b->tensors[rows].buffer, PLAN_ROW_MAJOR, 2, flat);
  const uint32_t inner = add_value(b, PLAN_ROW_MAJOR, 2, hidden, 4, 5);
  add_copy(b, b->input, pixels);
  struct plan_op *op =
      add_op(b, PLAN_OP_CONV, 3, (uint32_t[]){pixels, filters, filters_bias}, conv);
  op->conv = (struct plan_conv){.spatial = 2,
                                .groups = 1,
                                .strides = {1, 1},
                                .dilations = {1, 1},
                                .pads_before = {1, 1},
                                .pads_after = {1, 1},
                                .activation = {.kind = PLAN_ACT_RELU}};
  op = add_op(b, PLAN_OP_POOL, 1, (uint32_t[]){conv}, pool);
  op->pool = (struct plan_pool){.kind = PLAN_POOL_MAX,
                                .spatial = 2,
                                .kernel = {2, 2},
                                .strides = {2, 2},
                                .dilations = {1, 1}};
  add_copy(b, pool, rows);
  add_product(b, row, first, first_bias, inner, PLAN_ACT_RELU);
  add_product(b, inner, second, second_bias, b->output, PLAN_ACT_NONE);
  finish(b, n, bytes_of(4, image), bytes_of(2, result));
  return at;
}

static uint64_t build_narrow(struct builder *b, uint32_t n) {
  uint64_t at = 0;
  const uint32_t numbers[2] = {n, 256};
  const uint32_t result[2] = {n, 1000};
  b->input =
      add_tensor(b, add_buffer(b, PLAN_INPUT, 0, bytes_of(2, numbers)), PLAN_ROW_MAJOR, 2, numbers);
  b->output =
      add_tensor(b, add_buffer(b, PLAN_OUTPUT, 0, bytes_of(2, result)), PLAN_ROW_MAJOR, 2, result);
  const uint32_t weights = add_weights(b, &at, PLAN_ROW_MAJOR, 2, (uint32_t[]){256, 1000});
  const uint32_t bias = add_weights(b, &at, PLAN_ROW_MAJOR, 1, (uint32_t[]){1000});
  const uint32_t scores = add_value(b, PLAN_ROW_MAJOR, 2, result, 0, 1);
  add_product(b, b->input, weights, bias, scores, PLAN_ACT_NONE);
  struct plan_op *op = add_op(b, PLAN_OP_SOFTMAX, 1, (uint32_t[]){scores}, b->output);
  op->softmax = (struct plan_softmax){.axis = 1};
  finish(b, n, bytes_of(2, numbers), bytes_of(2, result));
  return at;
}

static void write_file(const char *folder, const char *name, const void *bytes, size_t count) {
  char path[2 * TEST_PACKAGE_PATH_BYTES];
  snprintf(path, sizeof(path), "%s/%s", folder, name);
  FILE *file = fopen(path, "wb");
  CHECK(file != NULL);
  CHECK_EQ(fwrite(bytes, 1, count, file), count);
  CHECK_EQ(fclose(file), 0);
}

/* Zero mean, and small enough that a sum over 4,096 of them stays of the order of one. */
static struct weights make_weights(uint64_t weights_bytes, uint64_t seed) {
  struct weights weights = {.bytes = (uint64_t)model_pages_of(weights_bytes) * MODEL_PAGE_BYTES};
  weights.values = calloc(1, weights.bytes);
  CHECK(weights.values != NULL);
  struct prng prng;
  prng_init(&prng, seed, 0);
  for (uint64_t i = 0; i < weights_bytes / sizeof(float); i++) {
    weights.values[i] = (float)(prng_unit(&prng) - 0.5) * 0.1F;
  }
  return weights;
}

static void write_package(const char *folder, struct plan *plan) {
  CHECK_EQ(mkdir(folder, 0700), 0);
  const struct weights weights = make_weights(plan->weights_bytes, plan->inputs[0].rank);
  write_file(folder, FORMAT_WEIGHTS_FILE, weights.values, weights.bytes);
  void *scratch = calloc(1, plan_check_bytes(plan));
  struct plan_fault fault = {.text = ""};
  CHECK(scratch != NULL);
  if (!plan_check(plan, scratch, &fault)) {
    fprintf(stderr, "%s: batch %u, operation %u: %s\n", folder, fault.batch_size, fault.op,
            fault.text);
    CHECK(false);
  }
  free(scratch);
  const size_t bytes = format_encoded_bytes(plan);
  unsigned char *encoded = malloc(bytes);
  CHECK(encoded != NULL);
  format_encode(plan, format_checksum(0, weights.values, weights.bytes), encoded, bytes);
  write_file(folder, FORMAT_PLAN_FILE, encoded, bytes);
  free(encoded);
  free(weights.values);
}

static void write_model(const char *folder, bool is_wide) {
  static const uint32_t wide_sizes[KINDS_MAX] = {1, 2, 4, 8};
  static const uint32_t narrow_sizes[KINDS_MAX] = {1, 4, 16};
  struct builder *builders = calloc(KINDS_MAX, sizeof(*builders));
  CHECK(builders != NULL);
  struct plan_batch batches[KINDS_MAX];
  struct plan_port input = {.name = "input", .type = PLAN_F32, .batched = true};
  struct plan_port output = {.name = "output", .type = PLAN_F32, .rank = 1, .batched = true};
  for (int i = 0; i < PLAN_RANK_MAX; i++) {
    input.dims[i] = 1;
    output.dims[i] = 1;
  }
  struct plan plan = {.precision = PLAN_FP32,
                      .inputs_count = 1,
                      .inputs = &input,
                      .outputs_count = 1,
                      .outputs = &output,
                      .batch_kinds = is_wide ? 4 : 3,
                      .batches = batches};
  snprintf(plan.name, sizeof(plan.name), "%s", is_wide ? "wide" : "narrow");
  for (uint32_t kind = 0; kind < plan.batch_kinds; kind++) {
    const uint32_t size = is_wide ? wide_sizes[kind] : narrow_sizes[kind];
    struct builder *b = &builders[kind];
    plan.weights_bytes = is_wide ? build_wide(b, size) : build_narrow(b, size);
    batches[kind] = b->batch;
  }
  const struct plan_tensor *in = &builders[0].tensors[builders[0].input];
  const struct plan_tensor *out = &builders[0].tensors[builders[0].output];
  input.rank = in->rank - 1;
  memcpy(input.dims, in->dims + 1, input.rank * sizeof(input.dims[0]));
  output.dims[0] = out->dims[1];
  input.bytes_per_request = bytes_of(in->rank, in->dims);
  output.bytes_per_request = bytes_of(out->rank, out->dims);
  plan.input_bytes = input.bytes_per_request;
  plan.output_bytes = output.bytes_per_request;
  write_package(folder, &plan);
  free(builders);
}

void test_packages_create(struct test_packages *packages) {
  const char *base = getenv("TMPDIR");
  snprintf(packages->folder, sizeof(packages->folder), "%.40s/packages-XXXXXX",
           base == NULL ? "/tmp" : base);
  CHECK(mkdtemp(packages->folder) != NULL);
  for (int i = 0; i < 2; i++) {
    snprintf(packages->paths[i], sizeof(packages->paths[i]), "%s/%s", packages->folder,
             i == 0 ? "wide" : "narrow");
    write_model(packages->paths[i], i == 0);
  }
}

static void remove_folder(const char *folder) {
  DIR *entries = opendir(folder);
  const struct dirent *entry = NULL;
  while (entries != NULL && (entry = readdir(entries)) != NULL) {
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
    unlink(path);
  }
  if (entries != NULL) {
    closedir(entries);
  }
  rmdir(folder);
}

void test_packages_remove(struct test_packages *packages) {
  remove_folder(packages->paths[0]);
  remove_folder(packages->paths[1]);
  remove_folder(packages->folder);
}
