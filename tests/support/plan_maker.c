#include "support/plan_maker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/check.h"
#include "base/prng.h"
#include "os/file.h"
#include "package/format.h"
#include "package/memory_plan.h"
#include "support/memory.h"

struct plan_maker *plan_maker_create(const char *name, uint64_t seed) {
  struct plan_maker *maker = calloc(1, sizeof(*maker));
  CHECK(maker != NULL);
  maker->seed = seed;
  snprintf(maker->plan.name, sizeof(maker->plan.name), "%s", name);
  maker->plan.precision = PLAN_FP32;
  maker->plan.inputs = maker->inputs;
  maker->plan.outputs = maker->outputs;
  maker->plan.batches = maker->plan_batches;
  return maker;
}

void plan_maker_destroy(struct plan_maker *maker) {
  if (maker != NULL) {
    free(maker->weights);
    free(maker);
  }
}

void plan_maker_begin(struct plan_maker *maker, uint32_t batch_size) {
  CHECK_LT(maker->plan.batch_kinds, PLAN_MAKER_BATCHES);
  maker->at = &maker->batches[maker->plan.batch_kinds];
  maker->at->batch.batch_size = batch_size;
}

static uint32_t add_buffer(struct plan_maker_batch *at, enum plan_place place, uint64_t offset,
                           uint64_t bytes) {
  CHECK_LT(at->batch.buffers_count, PLAN_MAKER_TENSORS);
  at->buffers[at->batch.buffers_count] =
      (struct plan_buffer){.place = place, .offset_bytes = offset, .bytes = bytes};
  return at->batch.buffers_count++;
}

static struct plan_tensor describe(enum plan_layout layout, uint32_t rank, const uint32_t *dims,
                                   uint32_t pitch) {
  struct plan_tensor tensor = {.type = PLAN_F32, .layout = layout, .rank = rank};
  for (uint32_t i = 0; i < PLAN_RANK_MAX; i++) {
    tensor.dims[i] = i < rank ? dims[i] : 1;
  }
  if (layout == PLAN_CHANNELS_LAST) {
    tensor.pitch = pitch == 0 ? dims[1] : pitch;
  }
  return tensor;
}

static uint32_t add_tensor(struct plan_maker_batch *at, struct plan_tensor tensor) {
  CHECK_LT(at->batch.tensors_count, PLAN_MAKER_TENSORS);
  at->tensors[at->batch.tensors_count] = tensor;
  return at->batch.tensors_count++;
}

static uint64_t aligned(uint64_t bytes) {
  return (bytes + PLAN_ALIGN_BYTES - 1) / PLAN_ALIGN_BYTES * PLAN_ALIGN_BYTES;
}

static uint32_t add_port(struct plan_maker *maker, bool is_input, uint32_t rank,
                         const uint32_t *dims) {
  struct plan_maker_batch *at = maker->at;
  struct plan_tensor tensor = describe(PLAN_ROW_MAJOR, rank, dims, 0);
  const uint64_t bytes = plan_tensor_span_bytes(&tensor);
  uint64_t *place_bytes = is_input ? &at->batch.input_bytes : &at->batch.output_bytes;
  uint32_t *count = is_input ? &at->inputs_count : &at->outputs_count;
  CHECK_LT(*count, PLAN_MAKER_PORTS);
  struct plan_port *port = &(is_input ? maker->inputs : maker->outputs)[*count];
  *port = (struct plan_port){.type = PLAN_F32, .rank = rank - 1, .batched = true};
  snprintf(port->name, sizeof(port->name), "%s%u", is_input ? "x" : "y", *count);
  for (uint32_t i = 0; i < PLAN_RANK_MAX; i++) {
    port->dims[i] = i + 1 < rank ? dims[i + 1] : 1;
  }
  port->bytes_per_request = bytes / at->batch.batch_size;
  tensor.buffer = add_buffer(at, is_input ? PLAN_INPUT : PLAN_OUTPUT, *place_bytes, bytes);
  *place_bytes += aligned(bytes);
  const uint32_t index = add_tensor(at, tensor);
  (is_input ? at->inputs : at->outputs)[*count] = index;
  (*count)++;
  return index;
}

uint32_t plan_maker_input(struct plan_maker *maker, uint32_t rank, const uint32_t *dims) {
  return add_port(maker, true, rank, dims);
}

uint32_t plan_maker_output(struct plan_maker *maker, uint32_t rank, const uint32_t *dims) {
  return add_port(maker, false, rank, dims);
}

static uint64_t make_up_weights(struct plan_maker *maker, uint64_t bytes, double scale) {
  struct plan *plan = &maker->plan;
  const uint64_t offset = plan->weights_bytes;
  plan->weights_bytes += aligned(bytes);
  maker->weights = realloc(maker->weights, plan->weights_bytes);
  CHECK(maker->weights != NULL);
  memset(maker->weights + offset, 0, plan->weights_bytes - offset);
  struct prng prng;
  prng_init(&prng, maker->seed, offset);
  for (uint64_t i = 0; i < bytes; i += sizeof(float)) {
    const float value = (float)(scale * prng_normal(&prng));
    memcpy(maker->weights + offset + i, &value, sizeof(value));
  }
  return offset;
}

uint32_t plan_maker_weights(struct plan_maker *maker, enum plan_layout layout, uint32_t rank,
                            const uint32_t *dims, double scale) {
  struct plan_maker_batch *at = maker->at;
  struct plan_tensor tensor = describe(layout, rank, dims, 0);
  const uint64_t bytes = plan_tensor_span_bytes(&tensor);
  CHECK_LT(at->weights_count, PLAN_MAKER_WEIGHTS);
  if (maker->plan.batch_kinds == 0) {
    maker->weights_offsets[at->weights_count] = make_up_weights(maker, bytes, scale);
  }
  tensor.buffer = add_buffer(at, PLAN_WEIGHTS, maker->weights_offsets[at->weights_count++], bytes);
  return add_tensor(at, tensor);
}

uint32_t plan_maker_tensor(struct plan_maker *maker, enum plan_layout layout, uint32_t rank,
                           const uint32_t *dims) {
  struct plan_tensor tensor = describe(layout, rank, dims, 0);
  tensor.buffer = add_buffer(maker->at, PLAN_WORKSPACE, 0, plan_tensor_span_bytes(&tensor));
  return add_tensor(maker->at, tensor);
}

uint32_t plan_maker_view(struct plan_maker *maker, uint32_t other, enum plan_layout layout,
                         uint32_t rank, const uint32_t *dims, uint32_t pitch,
                         uint64_t offset_bytes) {
  struct plan_tensor tensor = describe(layout, rank, dims, pitch);
  tensor.buffer = maker->at->tensors[other].buffer;
  tensor.offset_bytes = offset_bytes;
  return add_tensor(maker->at, tensor);
}

struct plan_op *plan_maker_op(struct plan_maker *maker, enum plan_op_kind kind,
                              uint32_t inputs_count, const uint32_t *inputs, uint32_t output) {
  struct plan_maker_batch *at = maker->at;
  const uint32_t index = at->batch.ops_count++;
  CHECK_LT(index, PLAN_MAKER_OPS);
  CHECK_LT(inputs_count, 16);
  memcpy(at->operands[index], inputs, inputs_count * sizeof(*inputs));
  at->operands[index][inputs_count] = output;
  struct plan_op *op = &at->ops[index];
  *op = (struct plan_op){.kind = kind,
                         .inputs_count = inputs_count,
                         .outputs_count = 1,
                         .inputs = at->operands[index],
                         .outputs = at->operands[index] + inputs_count};
  if (kind == PLAN_OP_POINTWISE) {
    op->pointwise.steps = at->steps[index];
  }
  snprintf(op->name, sizeof(op->name), "op%u", index);
  return op;
}

static void note_use(struct plan_maker_batch *at, uint32_t tensor, uint32_t op, bool *is_seen) {
  if (tensor == PLAN_NONE) {
    return;
  }
  struct plan_buffer *buffer = &at->buffers[at->tensors[tensor].buffer];
  bool *seen = &is_seen[at->tensors[tensor].buffer];
  buffer->first_op = *seen ? buffer->first_op : op;
  buffer->last_op = op;
  *seen = true;
}

static void place_buffers(struct plan_maker_batch *at) {
  bool is_seen[PLAN_MAKER_TENSORS] = {false};
  for (uint32_t i = 0; i < at->batch.ops_count; i++) {
    for (uint32_t j = 0; j < at->ops[i].inputs_count; j++) {
      note_use(at, at->ops[i].inputs[j], i, is_seen);
    }
    note_use(at, at->ops[i].outputs[0], i, is_seen);
  }
  struct memory_plan_buffer wanted[PLAN_MAKER_TENSORS];
  uint32_t of[PLAN_MAKER_TENSORS];
  uint32_t count = 0;
  for (uint32_t i = 0; i < at->batch.buffers_count; i++) {
    if (at->buffers[i].place == PLAN_WORKSPACE) {
      at->batch.naive_bytes += aligned(at->buffers[i].bytes);
      of[count] = i;
      wanted[count++] = (struct memory_plan_buffer){.bytes = at->buffers[i].bytes,
                                                    .first_op = at->buffers[i].first_op,
                                                    .last_op = at->buffers[i].last_op};
    } else {
      at->buffers[i].first_op = 0;
      at->buffers[i].last_op = 0;
    }
  }
  void *scratch = test_memory_take(memory_plan_scratch_bytes(count));
  at->batch.workspace_bytes = aligned(memory_plan_assign(wanted, count, PLAN_ALIGN_BYTES, scratch));
  free(scratch);
  for (uint32_t i = 0; i < count; i++) {
    at->buffers[of[i]].offset_bytes = wanted[i].offset_bytes;
  }
}

void plan_maker_end(struct plan_maker *maker) {
  struct plan_maker_batch *at = maker->at;
  struct plan *plan = &maker->plan;
  place_buffers(at);
  at->batch.buffers = at->buffers;
  at->batch.tensors = at->tensors;
  at->batch.ops = at->ops;
  at->batch.inputs = at->inputs;
  at->batch.outputs = at->outputs;
  plan->inputs_count = at->inputs_count;
  plan->outputs_count = at->outputs_count;
  plan->input_bytes = 0;
  plan->output_bytes = 0;
  for (uint32_t i = 0; i < plan->inputs_count; i++) {
    plan->input_bytes += maker->inputs[i].bytes_per_request;
  }
  for (uint32_t i = 0; i < plan->outputs_count; i++) {
    plan->output_bytes += maker->outputs[i].bytes_per_request;
  }
  maker->plan_batches[plan->batch_kinds++] = at->batch;
}

void plan_maker_write(const struct plan_maker *maker, const char *path) {
  const struct plan *plan = &maker->plan;
  void *scratch = test_memory_take(plan_check_bytes(plan));
  struct plan_fault fault = {.text = ""};
  if (!plan_check(plan, scratch, &fault)) {
    fprintf(stderr, "%s: batch size %u, operation %u: %s\n", plan->name, fault.batch_size, fault.op,
            fault.text);
    CHECK(false);
  }
  free(scratch);
  (void)mkdir(path, 0777);
  char name[512];
  const uint64_t padded = (uint64_t)model_pages_of(plan->weights_bytes) * MODEL_PAGE_BYTES;
  unsigned char *weights = calloc(1, padded);
  CHECK(weights != NULL);
  memcpy(weights, maker->weights, plan->weights_bytes);
  snprintf(name, sizeof(name), "%s/%s", path, FORMAT_WEIGHTS_FILE);
  CHECK_EQ(file_write_atomically(name, weights, padded, NULL), ERR_OK);
  const size_t bytes = format_encoded_bytes(plan);
  void *encoded = calloc(1, bytes);
  CHECK(encoded != NULL);
  format_encode(plan, format_checksum(0, weights, padded), encoded, bytes);
  snprintf(name, sizeof(name), "%s/%s", path, FORMAT_PLAN_FILE);
  CHECK_EQ(file_write_atomically(name, encoded, bytes, NULL), ERR_OK);
  free(encoded);
  free(weights);
}
