#include "worker/backends.h"

#include <stdio.h>
#include <string.h>

#include "backend/cpu/cpu.h"
#ifdef CLOCKWORK_HAS_CUDA
#include "backend/cuda/cuda.h"
#endif
#include "os/memory.h"

static bool is_always_usable(void) {
  return true;
}

const struct backend_kind backend_kinds[] = {
#ifdef CLOCKWORK_HAS_CUDA
    {"cuda", "the NVIDIA GPUs of this machine", cuda_is_usable, cuda_setup_create},
#endif
    {"cpu", "compiled models on this machine's cores", cpu_is_usable, cpu_setup_create},
    {"emulated", "GPUs that take the time a profile says and compute nothing", is_always_usable,
     emulated_create},
};

const size_t backend_kinds_count = sizeof(backend_kinds) / sizeof(backend_kinds[0]);

const struct backend_kind *backend_kind_choose(const char *name) {
  for (size_t i = 0; i < backend_kinds_count; i++) {
    const struct backend_kind *kind = &backend_kinds[i];
    if (strcmp(name, kind->name) == 0 || (strcmp(name, "auto") == 0 && kind->is_usable())) {
      return kind;
    }
  }
  return NULL;
}

void backend_kinds_list(size_t capacity, char *ret_text) {
  size_t used = 0;
  ret_text[0] = '\0';
  for (size_t i = 0; i < backend_kinds_count && used < capacity; i++) {
    used += (size_t)snprintf(ret_text + used, capacity - used, "%s%s", i == 0 ? "" : ", ",
                             backend_kinds[i].name);
  }
}

void worker_backend_destroy(struct worker_backend *backend) {
  if (backend == NULL || backend->backend.ops == NULL) {
    return;
  }
  backend->backend.ops->destroy(backend->backend.self);
  os_memory_give(backend->memory, backend->memory_bytes);
  *backend = (struct worker_backend){.memory = NULL};
}
