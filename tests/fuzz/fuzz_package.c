/* Any bytes as the payload of a `model.plan`: read, checked, and, if accepted, run.
 *
 * The header is put in front here, so that a mutation is not lost at the checksum. What is accepted
 * must encode to the very bytes it was read from, and every operation of a plan that is small
 * enough must stay within buffers that are just as long as the plan says: backends look at nothing
 * twice. Built with libFuzzer: LLVMFuzzerTestOneInput.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "kernels/kernels.h"
#include "package/format.h"
#include "support/memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
  HEADER_BYTES = 40,
  PAYLOAD_LENGTH_AT = 16,
  /* What one input may cost: more memory or more multiply-adds teach nothing. */
  MEMORY_BYTES_MAX = 1 << 20,
  WORK_MAX = 1 << 20,
};

static void put_u64(unsigned char *at, uint64_t value) {
  for (int i = 0; i < 8; i++) {
    at[i] = (unsigned char)(value >> (8 * i));
  }
}

/* Elements that an operation goes through, at most; more than WORK_MAX if that is not clear. */
static uint64_t work_of(const struct plan_batch *batch, const struct plan_op *op) {
  uint64_t work = 1;
  for (uint32_t i = 0; i < op->outputs_count; i++) {
    if (op->outputs[i] != PLAN_NONE) {
      work += plan_tensor_elements(&batch->tensors[op->outputs[i]]);
    }
  }
  for (uint32_t i = 0; i < op->inputs_count; i++) {
    if (op->inputs[i] != PLAN_NONE && work <= WORK_MAX) {
      const uint64_t elements = plan_tensor_elements(&batch->tensors[op->inputs[i]]);
      work = op->kind == PLAN_OP_CONCAT || op->kind == PLAN_OP_POINTWISE ? work + elements
                                                                         : work * elements;
    }
  }
  if (op->kind == PLAN_OP_POOL) {
    for (uint32_t i = 0; i < op->pool.spatial && work <= WORK_MAX; i++) {
      work *= op->pool.kernel[i];
    }
  }
  return op->kind == PLAN_OP_LRN && work <= WORK_MAX ? work * op->lrn.size : work;
}

static bool is_small(const struct plan_batch *batch) {
  uint64_t bytes = 0;
  uint64_t work = 0;
  for (uint32_t i = 0; i < batch->buffers_count && bytes <= MEMORY_BYTES_MAX; i++) {
    bytes += batch->buffers[i].bytes;
  }
  for (uint32_t i = 0; i < batch->ops_count && work <= WORK_MAX; i++) {
    work += work_of(batch, &batch->ops[i]);
  }
  return bytes <= MEMORY_BYTES_MAX && work <= WORK_MAX;
}

/* Buffers of their own for all that the plan lets lie in one place. */
static void run(const struct plan_batch *batch) {
  unsigned char **buffers = calloc(batch->buffers_count + 1, sizeof(*buffers));
  void **data = calloc(batch->tensors_count + 1, sizeof(*data));
  CHECK(buffers != NULL);
  CHECK(data != NULL);
  for (uint32_t i = 0; i < batch->buffers_count; i++) {
    buffers[i] = malloc(batch->buffers[i].bytes);
    CHECK(buffers[i] != NULL);
    memset(buffers[i], 1, batch->buffers[i].bytes);
  }
  for (uint32_t i = 0; i < batch->tensors_count; i++) {
    data[i] = buffers[batch->tensors[i].buffer] + batch->tensors[i].offset_bytes;
  }
  for (uint32_t i = 0; i < batch->ops_count; i++) {
    const struct plan_op *op = &batch->ops[i];
    for (uint32_t part = 0; part < 2; part++) {
      const size_t scratch_bytes = kernels_scratch_bytes(op, batch->tensors);
      void *scratch = malloc(scratch_bytes + 1);
      CHECK(scratch != NULL);
      kernels_run(op, batch->tensors, data, scratch, part, 2);
      free(scratch);
    }
  }
  for (uint32_t i = 0; i < batch->buffers_count; i++) {
    free(buffers[i]);
  }
  free(buffers);
  free(data);
}

static void check_round_trip(const struct plan *plan, const unsigned char *bytes, size_t count) {
  CHECK_EQ(format_encoded_bytes(plan), count);
  unsigned char *again = malloc(count);
  CHECK(again != NULL);
  format_encode(plan, 0, again, count);
  CHECK_EQ(memcmp(again, bytes, count), 0);
  free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const size_t count = HEADER_BYTES + size;
  unsigned char *bytes = calloc(1, count);
  CHECK(bytes != NULL);
  memcpy(bytes, "CWPLAN\r\n", 8);
  bytes[8] = FORMAT_VERSION;
  put_u64(bytes + PAYLOAD_LENGTH_AT, size);
  put_u64(bytes + PAYLOAD_LENGTH_AT + 8, format_checksum(0, data, size));
  if (size > 0) {
    memcpy(bytes + HEADER_BYTES, data, size);
  }
  size_t needed = 0;
  if (format_decoded_bytes(bytes, count, &needed) == ERR_OK) {
    struct arena arena = test_arena_open(needed);
    const struct plan *plan = NULL;
    uint64_t weights_checksum = 0;
    struct plan_fault fault;
    if (format_decode(bytes, count, &arena, &plan, &weights_checksum, &fault) == ERR_OK) {
      check_round_trip(plan, bytes, count);
      for (uint32_t i = 0; i < plan->batch_kinds; i++) {
        if (is_small(&plan->batches[i])) {
          run(&plan->batches[i]);
        }
      }
    } else {
      CHECK_NE(fault.text[0], '\0');
    }
    test_arena_close(&arena);
  }
  free(bytes);
  return 0;
}
