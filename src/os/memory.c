#include "os/memory.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
  MEMORY_ALIGNMENT_BYTES = 64,
  MEMORY_MAPPED_FROM_BYTES = 64 * 1024,
};

void *os_memory_take(size_t size_bytes) {
  if (size_bytes >= MEMORY_MAPPED_FROM_BYTES) {
    void *memory = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
      return NULL;
    }
    /* A kernel without huge pages refuses the advice, which is as good. */
    (void)madvise(memory, size_bytes, MADV_NOHUGEPAGE);
    return memory;
  }
  const size_t rounded =
      (size_bytes / MEMORY_ALIGNMENT_BYTES + 1) * MEMORY_ALIGNMENT_BYTES; /* never 0 */
  void *memory = aligned_alloc(MEMORY_ALIGNMENT_BYTES, rounded);
  if (memory != NULL) {
    memset(memory, 0, rounded);
  }
  return memory;
}

void os_memory_give(void *memory, size_t size_bytes) {
  if (memory == NULL) {
    return;
  }
  if (size_bytes >= MEMORY_MAPPED_FROM_BYTES) {
    munmap(memory, size_bytes);
  } else {
    free(memory);
  }
}
