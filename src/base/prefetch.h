/* Ask for memory before it is needed, where several places will be read one after another and none
 * of them is likely to be in the processor's caches: then they come at the same time.
 *
 * Only a hint: any address is allowed, nothing is read. Cost: an instruction a cache line.
 */
#ifndef CLOCKWORK_BASE_PREFETCH_H
#define CLOCKWORK_BASE_PREFETCH_H

#include <stddef.h>
#include <stdint.h>

enum { PREFETCH_LINE_BYTES = 64 };

/* All cache lines of an object of `bytes`; a constant, so that the loop goes away. */
static inline void prefetch(const void *object, size_t bytes) {
  for (size_t at = 0; at < bytes; at += PREFETCH_LINE_BYTES) {
    __builtin_prefetch((const void *)((uintptr_t)object + at));
  }
}

#endif
