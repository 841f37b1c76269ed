/* Small plans and packages, built by hand for tests: operations in order, buffers placed and
 * weights made up here.
 *
 * The same function is called once for each batch size and adds the same operations; weights are
 * numbered by the order in which it asks for them, and shared by all sizes. What goes wrong ends
 * the test.
 */
#ifndef CLOCKWORK_TESTS_SUPPORT_PLAN_MAKER_H
#define CLOCKWORK_TESTS_SUPPORT_PLAN_MAKER_H

#include <stdint.h>

#include "package/plan.h"

enum {
  PLAN_MAKER_OPS = 64,
  PLAN_MAKER_TENSORS = 256,
  PLAN_MAKER_WEIGHTS = 64,
  PLAN_MAKER_BATCHES = 4,
  PLAN_MAKER_PORTS = 4,
};

struct plan_maker_batch {
  struct plan_batch batch;
  struct plan_buffer buffers[PLAN_MAKER_TENSORS];
  struct plan_tensor tensors[PLAN_MAKER_TENSORS];
  struct plan_op ops[PLAN_MAKER_OPS];
  uint32_t operands[PLAN_MAKER_OPS][16];
  struct plan_step steps[PLAN_MAKER_OPS][PLAN_POINTWISE_STEPS];
  uint32_t inputs[PLAN_MAKER_PORTS];
  uint32_t outputs[PLAN_MAKER_PORTS];
  uint32_t inputs_count;
  uint32_t outputs_count;
  uint32_t weights_count;
};

struct plan_maker {
  struct plan plan;
  struct plan_port inputs[PLAN_MAKER_PORTS];
  struct plan_port outputs[PLAN_MAKER_PORTS];
  struct plan_maker_batch batches[PLAN_MAKER_BATCHES];
  struct plan_batch plan_batches[PLAN_MAKER_BATCHES];
  struct plan_maker_batch *at; /* the batch size being made */
  uint64_t weights_offsets[PLAN_MAKER_WEIGHTS];
  unsigned char *weights; /* plan.weights_bytes */
  uint64_t weights_capacity;
  uint64_t seed;
};

/* A new plan without batch sizes. */
struct plan_maker *plan_maker_create(const char *name, uint64_t seed);
void plan_maker_destroy(struct plan_maker *maker);

/* Begin the next batch size. */
void plan_maker_begin(struct plan_maker *maker, uint32_t batch_size);
/* Lifetimes, offsets, sums. */
void plan_maker_end(struct plan_maker *maker);

/* Tensors. dims as in plan.h. Inputs and outputs with the batch in front. */
uint32_t plan_maker_input(struct plan_maker *maker, uint32_t rank, const uint32_t *dims);
uint32_t plan_maker_output(struct plan_maker *maker, uint32_t rank, const uint32_t *dims);
/* Single precision, normally distributed with standard deviation `scale`. */
uint32_t plan_maker_weights(struct plan_maker *maker, enum plan_layout layout, uint32_t rank,
                            const uint32_t *dims, double scale);
/* In a buffer of the workspace of its own. */
uint32_t plan_maker_tensor(struct plan_maker *maker, enum plan_layout layout, uint32_t rank,
                           const uint32_t *dims);
/* A part of, or another view on, the buffer of `other`; pitch 0: without gaps. */
uint32_t plan_maker_view(struct plan_maker *maker, uint32_t other, enum plan_layout layout,
                         uint32_t rank, const uint32_t *dims, uint32_t pitch,
                         uint64_t offset_bytes);

/* The next operation, zeroed but for kind and operands: its attributes are the caller's to fill. */
struct plan_op *plan_maker_op(struct plan_maker *maker, enum plan_op_kind kind,
                              uint32_t inputs_count, const uint32_t *inputs, uint32_t output);

/* Write it as a package into the folder `path`, which is made. */
void plan_maker_write(const struct plan_maker *maker, const char *path);

#endif
