/* Host memory that the GPUs copy weights from: pinned, in huge pages where the kernel has them, so
 * that a copy's addresses are few and its speed even.
 *
 * Thread: the loader's, with a device entered. Cost: milliseconds per 100 MiB.
 */
#ifndef CLOCKWORK_BACKEND_CUDA_PINNED_H
#define CLOCKWORK_BACKEND_CUDA_PINNED_H

#include <stdbool.h>
#include <stddef.h>

#include "backend/cuda/library.h"

struct pinned {
  void *bytes; /* NULL: none */
  size_t size_bytes;
  bool is_pinned;
};

/* Memory that can be written, and pinned later. Any thread. False: there is no room; *ret_pinned is
 * untouched. */
bool pinned_take(size_t size_bytes, struct pinned *ret_pinned);

/* For every GPU's use. On failure it stays as it was. */
CUresult pinned_pin(const struct library *library, struct pinned *pinned);

/* Accepts one that holds nothing. No copy may be under way. */
void pinned_give(const struct library *library, struct pinned *pinned);

#endif
