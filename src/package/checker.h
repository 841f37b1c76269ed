/* What the parts of plan_check() share. Private to src/package/. */
#ifndef CLOCKWORK_PACKAGE_CHECKER_H
#define CLOCKWORK_PACKAGE_CHECKER_H

#include "package/fault.h"
#include "package/plan.h"

enum {
  /* No stride, dilation or padding of a real model comes near; sums of a few products of one with a
   * dimension fit 64 bits. */
  CHECK_WINDOW_MAX = 1 << 24,
};

/* Of a place, a buffer and a tensor: more than any machine's memory, and sums of 2^18 of them still
 * fit 64 bits. */
#define CHECK_BYTES_MAX ((uint64_t)1 << 44)

struct checker {
  const struct plan *plan;
  const struct plan_batch *batch; /* the one being looked at */
  uint32_t batch_size;            /* 0: the plan as a whole */
  uint32_t op_index;              /* PLAN_NONE: of no operation */
  const struct plan_op *op;
  struct plan_fault *fault;
};

/* `return CHECKER_FAIL(...)`: says what is wrong and where, and is false. */
#define CHECKER_FAIL(checker, ...)                                                                 \
  (plan_fault_set((checker)->fault, (checker)->batch_size, (checker)->op_index, __VA_ARGS__), false)

/* The operation's input or output; NULL where it is absent. */
const struct plan_tensor *checker_in(const struct checker *checker, uint32_t i);
const struct plan_tensor *checker_out(const struct checker *checker, uint32_t i);

bool checker_same_dims(const struct plan_tensor *a, const struct plan_tensor *b);

/* Whether two tensors of the batch have bytes in common; in a channel's slices of one image only
 * the bytes of elements count, not the gaps. */
bool checker_share_bytes(const struct plan_tensor *a, const struct plan_tensor *b);

/* Whether a text ends within `bytes` and has no character that would spoil a line. */
bool checker_is_name(const char *text, size_t bytes);

/* checker_operation.c: kind, number and presence of tensors, shapes, types and attributes of
 * checker->op. All tensor tables were checked before. */
bool check_operation(struct checker *checker);

/* checker_move.c: the kinds that only move elements, and gathering and scattering. */
bool check_move(struct checker *checker);

/* checker_pointwise.c */
bool check_pointwise(struct checker *checker);
bool check_activation(struct checker *checker, const struct plan_activation *activation);

/* checker_memory.c: lifetimes, sharing, order of writes and reads of one batch. */
size_t check_memory_bytes(const struct plan_batch *batch);
bool check_memory(struct checker *checker, void *scratch);

#endif
