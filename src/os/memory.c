#include "os/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
  MEMORY_ALIGNMENT_BYTES = 64,
  MEMORY_MAPPED_FROM_BYTES = 64 * 1024,
  MEMORY_HUGE_BYTES = 2 * 1024 * 1024,
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

static size_t huge_bytes(size_t size_bytes) {
  return (size_bytes + MEMORY_HUGE_BYTES - 1) / MEMORY_HUGE_BYTES * MEMORY_HUGE_BYTES;
}

void *os_memory_take_huge(size_t size_bytes) {
  const size_t wanted = huge_bytes(size_bytes);
  char *mapped = mmap(NULL, wanted + MEMORY_HUGE_BYTES, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if ((void *)mapped == MAP_FAILED) {
    return NULL;
  }
  /* Of one huge page more than wanted, what lies in front of and behind the aligned part goes. */
  const size_t before =
      (MEMORY_HUGE_BYTES - (uintptr_t)mapped % MEMORY_HUGE_BYTES) % MEMORY_HUGE_BYTES;
  char *memory = mapped + before;
  if (before > 0) {
    munmap(mapped, before);
  }
  munmap(memory + wanted, MEMORY_HUGE_BYTES - before);
  (void)madvise(memory, wanted, MADV_HUGEPAGE);
  return memory;
}

void os_memory_give_huge(void *memory, size_t size_bytes) {
  if (memory != NULL) {
    munmap(memory, huge_bytes(size_bytes));
  }
}
