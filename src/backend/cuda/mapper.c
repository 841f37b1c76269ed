#include "backend/cuda/mapper.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "backend/cuda/relax.h"
#include "base/check.h"
#include "os/clock.h"
#include "os/thread.h"

/* How long the thread sleeps at most before it looks again. */
#define NAP duration_s(1)

enum { LOOKS = 64 }; /* at the state between two looks at the clock */

enum map_state { MAP_IDLE, MAP_WANTED, MAP_DONE };

struct mapper {
  struct device *device;
  uint32_t gpu_index;
  const struct models *models;
  struct os_thread thread;
  struct os_event wake;
  _Atomic(bool) is_stopping;
  /* The map under way: written before `state` becomes MAP_WANTED, its result before MAP_DONE. */
  _Atomic(int) state;
  uint32_t model_id;
  const uint32_t *pages;
  CUresult result;
  /* Windows to unmap, a ring: one writer, the owner, and one reader, the mapper. */
  uint32_t *evicted;
  uint32_t capacity;
  _Atomic(uint32_t) written;
  _Atomic(uint32_t) read;
  /* The mapper's alone. */
  bool *is_mapped;         /* by model id */
  uint32_t unmapped_pages; /* of the oldest eviction */
};

static CUdeviceptr page_address(const struct mapper *mapper, const struct instance *instance,
                                uint32_t page) {
  return instance->gpus[mapper->gpu_index].window + (uint64_t)page * MODEL_PAGE_BYTES;
}

/* Unmap one page of the oldest evicted window; false: there is none. */
static bool unmap_some(struct mapper *mapper) {
  const uint32_t read = atomic_load_explicit(&mapper->read, memory_order_relaxed);
  if (read == atomic_load_explicit(&mapper->written, memory_order_acquire)) {
    return false;
  }
  const uint32_t model_id = mapper->evicted[read % mapper->capacity];
  const struct instance *instance = &mapper->models->instances[model_id];
  if (mapper->is_mapped[model_id] && mapper->unmapped_pages < instance->weights_pages) {
    /* A device that fails here fails the next copy or launch, whose engine then gives it up. */
    mapper->device->library->driver.cuMemUnmap(
        page_address(mapper, instance, mapper->unmapped_pages), MODEL_PAGE_BYTES);
    mapper->unmapped_pages++;
  }
  if (!mapper->is_mapped[model_id] || mapper->unmapped_pages == instance->weights_pages) {
    mapper->is_mapped[model_id] = false;
    mapper->unmapped_pages = 0;
    atomic_store_explicit(&mapper->read, read + 1, memory_order_release);
  }
  return true;
}

static CUresult map_page(const struct device *device, CUdeviceptr at, uint32_t page) {
  CHECK_LT(page, device->pages_count);
  CUresult result =
      device->library->driver.cuMemMap(at, MODEL_PAGE_BYTES, 0, device->pages[page], 0);
  if (result == CUDA_SUCCESS) {
    result = device_allow_access(device, at, MODEL_PAGE_BYTES);
    if (result != CUDA_SUCCESS) {
      device->library->driver.cuMemUnmap(at, MODEL_PAGE_BYTES);
    }
  }
  return result;
}

/* Page by page: the driver's lock is free for launches and copies in between. */
static CUresult map_window(struct mapper *mapper) {
  const struct instance *instance = &mapper->models->instances[mapper->model_id];
  while (mapper->is_mapped[mapper->model_id] && unmap_some(mapper)) {
    /* This instance itself was evicted: its window must be free first. */
  }
  CHECK(!mapper->is_mapped[mapper->model_id]);
  CUresult result = CUDA_SUCCESS;
  uint32_t mapped = 0;
  while (mapped < instance->weights_pages && result == CUDA_SUCCESS) {
    result =
        map_page(mapper->device, page_address(mapper, instance, mapped), mapper->pages[mapped]);
    mapped += result == CUDA_SUCCESS;
  }
  if (result == CUDA_SUCCESS) {
    mapper->is_mapped[mapper->model_id] = true;
  } else if (mapped > 0) {
    mapper->device->library->driver.cuMemUnmap(page_address(mapper, instance, 0),
                                               (size_t)mapped * MODEL_PAGE_BYTES);
  }
  return result;
}

static void *mapper_main(void *user) {
  struct mapper *mapper = user;
  device_enter(mapper->device);
  while (!atomic_load(&mapper->is_stopping)) {
    if (atomic_load_explicit(&mapper->state, memory_order_acquire) == MAP_WANTED) {
      mapper->result = map_window(mapper);
      atomic_store_explicit(&mapper->state, MAP_DONE, memory_order_release);
    } else if (!unmap_some(mapper)) {
      os_event_wait(&mapper->wake, NAP);
    }
  }
  return NULL;
}

enum err mapper_create(struct device *device, uint32_t gpu_index, const struct models *models,
                       struct mapper **ret_mapper) {
  struct mapper *mapper = calloc(1, sizeof(*mapper));
  if (mapper == NULL) {
    return ERR_NO_MEMORY;
  }
  mapper->device = device;
  mapper->gpu_index = gpu_index;
  mapper->models = models;
  mapper->wake.fd = -1;
  /* Each instance is evicted at most once before it is loaded, and unmapped, again. */
  mapper->capacity = models->capacity + 1;
  mapper->evicted = calloc(mapper->capacity, sizeof(uint32_t));
  mapper->is_mapped = calloc(models->capacity, sizeof(bool));
  enum err error = mapper->evicted == NULL || mapper->is_mapped == NULL ? ERR_NO_MEMORY : ERR_OK;
  error = error == ERR_OK ? os_event_init(&mapper->wake) : error;
  if (error == ERR_OK) {
    char name[16];
    snprintf(name, sizeof(name), "gpu%u-map", gpu_index % 1000);
    error = os_thread_start(&mapper->thread, name, mapper_main, mapper);
  }
  if (error != ERR_OK) {
    mapper_destroy(mapper);
    return error;
  }
  *ret_mapper = mapper;
  return ERR_OK;
}

void mapper_destroy(struct mapper *mapper) {
  if (mapper == NULL) {
    return;
  }
  atomic_store(&mapper->is_stopping, true);
  if (mapper->wake.fd >= 0) {
    os_event_set(&mapper->wake);
  }
  os_thread_join(&mapper->thread);
  os_event_finish(&mapper->wake);
  device_enter(mapper->device);
  const bool lives = !device_is_lost(mapper->device);
  while (lives && mapper->evicted != NULL && mapper->is_mapped != NULL && unmap_some(mapper)) {
    /* What was evicted last. */
  }
  for (uint32_t id = 0; lives && mapper->is_mapped != NULL && id < mapper->models->capacity; id++) {
    if (mapper->is_mapped[id]) {
      const struct instance *instance = &mapper->models->instances[id];
      mapper->device->library->driver.cuMemUnmap(
          page_address(mapper, instance, 0), (size_t)instance->weights_pages * MODEL_PAGE_BYTES);
    }
  }
  free(mapper->evicted);
  free(mapper->is_mapped);
  free(mapper);
}

void mapper_map(struct mapper *mapper, uint32_t model_id, const uint32_t *pages) {
  CHECK_EQ(atomic_load(&mapper->state), MAP_IDLE);
  mapper->model_id = model_id;
  mapper->pages = pages;
  atomic_store_explicit(&mapper->state, MAP_WANTED, memory_order_release);
  os_event_set(&mapper->wake);
}

CUresult mapper_wait(struct mapper *mapper, struct duration patience) {
  const struct instant begin = os_now();
  for (;;) {
    for (int i = 0; i < LOOKS; i++) {
      if (atomic_load_explicit(&mapper->state, memory_order_acquire) == MAP_DONE) {
        atomic_store(&mapper->state, MAP_IDLE);
        return mapper->result;
      }
      relax();
    }
    if (instant_since(os_now(), begin).ns > patience.ns) {
      return CUDA_ERROR_LAUNCH_TIMEOUT;
    }
  }
}

/* The mapper learns of it with the next map: it asks for no window that was not evicted. */
void mapper_undo(struct mapper *mapper, uint32_t model_id) {
  const struct instance *instance = &mapper->models->instances[model_id];
  CHECK_EQ(atomic_load(&mapper->state), MAP_IDLE);
  mapper->device->library->driver.cuMemUnmap(page_address(mapper, instance, 0),
                                             (size_t)instance->weights_pages * MODEL_PAGE_BYTES);
  mapper->is_mapped[model_id] = false;
}

void mapper_evict(struct mapper *mapper, uint32_t model_id) {
  const uint32_t written = atomic_load_explicit(&mapper->written, memory_order_relaxed);
  CHECK_LT(written - atomic_load_explicit(&mapper->read, memory_order_acquire), mapper->capacity);
  mapper->evicted[written % mapper->capacity] = model_id;
  atomic_store_explicit(&mapper->written, written + 1, memory_order_release);
  os_event_set(&mapper->wake);
}
