#include "backend/cuda/pinned.h"

#include "os/memory.h"

bool pinned_take(size_t size_bytes, struct pinned *ret_pinned) {
  void *bytes = os_memory_take_huge(size_bytes);
  if (bytes == NULL) {
    return false;
  }
  *ret_pinned = (struct pinned){.bytes = bytes, .size_bytes = size_bytes};
  return true;
}

CUresult pinned_pin(const struct library *library, struct pinned *pinned) {
  const CUresult result = library->driver.cuMemHostRegister(pinned->bytes, pinned->size_bytes,
                                                            CU_MEMHOSTREGISTER_PORTABLE);
  pinned->is_pinned = result == CUDA_SUCCESS;
  return result;
}

void pinned_give(const struct library *library, struct pinned *pinned) {
  if (pinned->bytes == NULL) {
    return;
  }
  if (pinned->is_pinned) {
    library->driver.cuMemHostUnregister(pinned->bytes);
  }
  os_memory_give_huge(pinned->bytes, pinned->size_bytes);
  *pinned = (struct pinned){.bytes = NULL};
}
