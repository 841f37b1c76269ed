/* A plan by the reference kernels and as this backend lowers it, side by side. */
#ifndef CLOCKWORK_TESTS_UNIT_BACKEND_CPU_LOWERED_H
#define CLOCKWORK_TESTS_UNIT_BACKEND_CPU_LOWERED_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cpu/lower.h"
#include "backend/cpu/team.h"
#include "base/prng.h"
#include "kernels/kernels.h"
#include "support/cmocka.h"
#include "support/memory.h"
#include "support/plan_maker.h"

enum { LOWERED_TEAM = 2 };

#define LOWERED_TOLERANCE 2e-5F

/* From low to high, both included. */
static inline uint32_t lowered_draw(struct prng *prng, uint32_t low, uint32_t high) {
  return low + (uint32_t)prng_below(prng, high - low + 1);
}

static inline void lowered_run_reference(const struct plan_batch *batch, unsigned char *weights,
                                         unsigned char *input, unsigned char *output) {
  unsigned char *workspace = test_memory_take(batch->workspace_bytes + 64);
  void *data[PLAN_MAKER_TENSORS];
  for (uint32_t i = 0; i < batch->tensors_count; i++) {
    const struct plan_tensor *tensor = &batch->tensors[i];
    const struct plan_buffer *buffer = &batch->buffers[tensor->buffer];
    unsigned char *place = buffer->place == PLAN_INPUT     ? input
                           : buffer->place == PLAN_OUTPUT  ? output
                           : buffer->place == PLAN_WEIGHTS ? weights
                                                           : workspace;
    data[i] = place + buffer->offset_bytes + tensor->offset_bytes;
  }
  for (uint32_t i = 0; i < batch->ops_count; i++) {
    void *scratch = test_memory_take(kernels_scratch_bytes(&batch->ops[i], batch->tensors) + 64);
    kernels_run(&batch->ops[i], batch->tensors, data, scratch, 0, 1);
    free(scratch);
  }
  free(workspace);
}

/* Returns what ran the operations, one after the other. */
static inline void lowered_run(const struct plan *plan, unsigned char *weights,
                               unsigned char *input, unsigned char *output, char *ret_what,
                               size_t capacity) {
  dnnl_engine_t engine = NULL;
  dnnl_stream_t stream = NULL;
  assert_int_equal(dnnl_engine_create(&engine, dnnl_cpu, 0), dnnl_success);
  assert_int_equal(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags), dnnl_success);
  struct weights_layout layout = {.count = 0};
  struct program *program = NULL;
  assert_int_equal(lower_batch(engine, plan, &plan->batches[0], LOWERED_TEAM, &layout, &program),
                   ERR_OK);
  unsigned char *converted = test_memory_take(layout.bytes + 64);
  unsigned char *workspace = test_memory_take(program->workspace_bytes + 64);
  /* What no step wrote must not be read: as floats these are no numbers. */
  memset(workspace, 0xff, program->workspace_bytes);
  assert_int_equal(weights_layout_fill(&layout, engine, weights, converted), ERR_OK);
  struct program_run *run = program_run_create(program, engine);
  assert_non_null(run);
  const struct program_bases bases = {{[PROGRAM_INPUT] = input,
                                       [PROGRAM_OUTPUT] = output,
                                       [PROGRAM_WEIGHTS] = converted,
                                       [PROGRAM_WORKSPACE] = workspace}};
  assert_int_equal(program_run_execute(run, stream, &bases), ERR_OK);
  size_t used = 0;
  for (uint32_t i = 0; i < program->steps_count && used < capacity; i++) {
    used += (size_t)snprintf(ret_what + used, capacity - used, "%s ", program->steps[i].what);
  }
  program_run_destroy(run);
  program_destroy(program);
  weights_layout_finish(&layout);
  free(converted);
  free(workspace);
  dnnl_stream_destroy(stream);
  dnnl_engine_destroy(engine);
}

/* Inputs are drawn. Returns whether `step` is one of those that ran; NULL: nobody wants to know. */
static inline bool assert_agrees(const struct plan_maker *maker, struct prng *prng,
                                 const char *step) {
  const struct plan_batch *batch = &maker->plan.batches[0];
  unsigned char *input = test_memory_take(batch->input_bytes + 64);
  unsigned char *expected = test_memory_take(batch->output_bytes + 64);
  unsigned char *output = test_memory_take(batch->output_bytes + 64);
  for (uint64_t i = 0; i + sizeof(float) <= batch->input_bytes; i += sizeof(float)) {
    const float value = (float)prng_normal(prng);
    memcpy(input + i, &value, sizeof(value));
  }
  char what[512] = "";
  lowered_run_reference(batch, maker->weights, input, expected);
  lowered_run(&maker->plan, maker->weights, input, output, what, sizeof(what));
  const uint64_t count = maker->plan.output_bytes / sizeof(float) * batch->batch_size;
  float largest = 0.0F;
  for (uint64_t i = 0; i < count; i++) {
    float value = 0.0F;
    memcpy(&value, expected + i * sizeof(float), sizeof(value));
    largest = fmaxf(largest, fabsf(value));
  }
  for (uint64_t i = 0; i < count; i++) {
    float a = 0.0F;
    float b = 0.0F;
    memcpy(&a, expected + i * sizeof(float), sizeof(a));
    memcpy(&b, output + i * sizeof(float), sizeof(b));
    if (!(fabsf(a - b) <= largest * LOWERED_TOLERANCE)) {
      fail_msg("element %llu of %llu: %g, the reference says %g (largest %g); steps: %s",
               (unsigned long long)i, (unsigned long long)count, (double)b, (double)a,
               (double)largest, what);
    }
  }
  free(input);
  free(expected);
  free(output);
  return step != NULL && strstr(what, step) != NULL;
}

#endif
