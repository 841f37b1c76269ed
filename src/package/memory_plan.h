/* Where buffers with known lifetimes lie, so that those never alive at once share bytes.
 *
 * Greedy by size (each buffer, the largest first, at the lowest offset where it meets none that
 * lives at the same time), as in Pisarchyk and Lee, "Efficient Memory Management for Deep Neural
 * Net Inference" (2020). Used by the compiler, and by backends that lay tensors out in a way of
 * their own.
 */
#ifndef CLOCKWORK_PACKAGE_MEMORY_PLAN_H
#define CLOCKWORK_PACKAGE_MEMORY_PLAN_H

#include <stddef.h>
#include <stdint.h>

struct memory_plan_buffer {
  uint64_t bytes;
  uint32_t first_op;     /* alive from the begin of this operation ... */
  uint32_t last_op;      /* ... to the end of this one, >= first_op */
  uint64_t offset_bytes; /* returned: a multiple of align_bytes */
};

/* Memory that memory_plan_assign() works in. */
size_t memory_plan_scratch_bytes(uint32_t buffers_count);

/* Sets every offset_bytes; returns the bytes that all of them need together. No limit is checked:
 * sums of bytes must fit 63 bits (CHECK). Cost n log n, n squared where thousands live at once. */
uint64_t memory_plan_assign(struct memory_plan_buffer *buffers, uint32_t buffers_count,
                            uint32_t align_bytes, void *scratch);

#endif
