#include "simulator/memory.h"

#include <stdint.h>
#include <sys/mman.h>

#include "os/memory.h"

static const uintptr_t PAGE_BYTES = 4096;
static const size_t HUGE_PAGE_BYTES = (size_t)2 << 20;

void *simulator_memory_take(size_t size_bytes) {
  void *memory = os_memory_take(size_bytes);
  if (memory != NULL && size_bytes >= HUGE_PAGE_BYTES && (uintptr_t)memory % PAGE_BYTES == 0) {
    /* A kernel without them refuses the advice, which costs time and nothing else. */
    (void)madvise(memory, size_bytes, MADV_HUGEPAGE);
  }
  return memory;
}
