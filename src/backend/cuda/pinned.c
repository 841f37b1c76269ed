#include "backend/cuda/pinned.h"

#include "os/memory.h"

CUresult pinned_take(const struct library *library, size_t size_bytes, struct pinned *ret_pinned) {
  struct pinned pinned = {.size_bytes = size_bytes};
  pinned.bytes = os_memory_take_huge(size_bytes);
  if (pinned.bytes == NULL) {
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  const CUresult result =
      library->driver.cuMemHostRegister(pinned.bytes, size_bytes, CU_MEMHOSTREGISTER_PORTABLE);
  if (result != CUDA_SUCCESS) {
    os_memory_give_huge(pinned.bytes, size_bytes);
    return result;
  }
  *ret_pinned = pinned;
  return CUDA_SUCCESS;
}

void pinned_give(const struct library *library, struct pinned *pinned) {
  if (pinned->bytes == NULL) {
    return;
  }
  library->driver.cuMemHostUnregister(pinned->bytes);
  os_memory_give_huge(pinned->bytes, pinned->size_bytes);
  pinned->bytes = NULL;
}
