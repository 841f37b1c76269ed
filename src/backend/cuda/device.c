#include "backend/cuda/device.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/module.h"
#include "base/check.h"
#include "os/clock.h"

static const char *const kernel_names[DEVICE_KERNELS] = {
#define DEVICE_KERNEL_TEXT_(name) #name,
    DEVICE_KERNEL_MAP(DEVICE_KERNEL_TEXT_)
#undef DEVICE_KERNEL_TEXT_
};

/* What a kernel may have without being asked for more. */
enum { SHARED_BYTES_DEFAULT = 48 * 1024 };

/* A ping that takes longer than this will not come: the device is lost. */
#define PING_PATIENCE duration_s(2)

/* Fails the surrounding function with what was attempted and what the driver says. */
#define TRY(device, call, ...)                                                                     \
  do {                                                                                             \
    const CUresult try_result_ = (call);                                                           \
    if (try_result_ != CUDA_SUCCESS) {                                                             \
      char try_what_[160];                                                                         \
      snprintf(try_what_, sizeof(try_what_), __VA_ARGS__);                                         \
      error_text_set(ret_error, "GPU %.40s: %s: %.80s", (device)->name, try_what_,                 \
                     library_driver_text((device)->library, try_result_));                         \
      return try_result_ == CUDA_ERROR_OUT_OF_MEMORY ? ERR_NO_MEMORY : ERR_IO;                     \
    }                                                                                              \
  } while (0)

static enum err take_area(struct device *device, struct device_area *area,
                          struct error_text *ret_error) {
  const struct library *library = device->library;
  void *cell = NULL;
  TRY(device, library->driver.cuMemAlloc(&area->input, device->slot_bytes), "memory for inputs");
  TRY(device, library->driver.cuMemAlloc(&area->output, device->slot_bytes), "memory for outputs");
  TRY(device,
      library->driver.cuMemAlloc(&area->workspace, device->workspace_bytes + DEVICE_SCRATCH_BYTES),
      "memory for the workspace; lower workspace_pool_size");
  TRY(device, library->driver.cuMemAlloc(&area->places, sizeof(struct kernel_places)),
      "memory for addresses");
  TRY(device,
      library->driver.cuMemHostAlloc(&cell, sizeof(*area->cell),
                                     CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP),
      "pinned memory");
  area->cell = cell;
  memset(area->cell, 0, sizeof(*area->cell));
  TRY(device, library->driver.cuMemHostGetDevicePointer(&area->cell_address, cell, 0),
      "pinned memory");
  return ERR_OK;
}

static enum err take_slots(struct device *device, struct error_text *ret_error) {
  const struct library *library = device->library;
  for (int i = 0; i < BACKEND_IO_SLOTS; i++) {
    /* Input and output of a batch share a slot: the input's copy stands in front. */
    TRY(device, library->driver.cuMemAlloc(&device->slots[i], 2 * device->slot_bytes),
        "memory for io; lower io_pool_size");
    TRY(device,
        library->driver.cuMemHostAlloc(&device->staging_in[i], device->slot_bytes,
                                       CU_MEMHOSTALLOC_PORTABLE),
        "pinned memory for io; lower io_pool_size");
    TRY(device,
        library->driver.cuMemHostAlloc(&device->staging_out[i], device->slot_bytes,
                                       CU_MEMHOSTALLOC_PORTABLE),
        "pinned memory for io; lower io_pool_size");
    memset(device->staging_out[i], 0, device->slot_bytes);
  }
  return ERR_OK;
}

static CUresult fill(const struct device *device, CUdeviceptr address, uint64_t bytes,
                     uint32_t seed) {
  const struct kernel_fill fill = {.address = address, .bytes = bytes / 4 * 4, .seed = seed};
  return device_launch(device, KERNEL_fill, device->stream, device_blocks(device, bytes / 4),
                       KERNEL_THREADS, &fill);
}

/* An input that nobody gave is what its slot held before: at first, numbers in [0, 1). */
static enum err fill_inputs(struct device *device, struct error_text *ret_error) {
  const struct library *library = device->library;
  TRY(device, fill(device, device->bench.input, device->slot_bytes, 1), "first kernel");
  for (int i = 0; i < BACKEND_IO_SLOTS; i++) {
    TRY(device, fill(device, device->slots[i], 2 * device->slot_bytes, 2 + (uint32_t)i),
        "first kernel");
    TRY(device,
        library->driver.cuMemcpyDtoHAsync(device->staging_in[i], device->bench.input,
                                          device->slot_bytes, device->stream),
        "first copy");
  }
  TRY(device, library->driver.cuStreamSynchronize(device->stream), "first kernel");
  return ERR_OK;
}

static CUmemAllocationProp page_properties(const struct device *device) {
  CUmemAllocationProp properties;
  memset(&properties, 0, sizeof(properties));
  properties.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  properties.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  properties.location.id = device->handle;
  return properties;
}

/* 27 us a page. */
static enum err map_pool(struct device *device, struct error_text *ret_error) {
  const struct library *library = device->library;
  const size_t bytes = (size_t)device->pages_count * MODEL_PAGE_BYTES;
  TRY(device, library->driver.cuMemAddressReserve(&device->pool, bytes, MODEL_PAGE_BYTES, 0, 0),
      "addresses for %u pages", device->pages_count);
  for (uint32_t i = 0; i < device->pages_count; i++) {
    TRY(device,
        library->driver.cuMemMap(device->pool + (uint64_t)i * MODEL_PAGE_BYTES, MODEL_PAGE_BYTES, 0,
                                 device->pages[i], 0),
        "mapping pages");
    device->pool_pages_count++;
  }
  TRY(device, device_allow_access(device, device->pool, bytes), "mapping pages");
  return ERR_OK;
}

static enum err take_pages(struct device *device, const struct device_limits *limits,
                           struct error_text *ret_error) {
  const struct library *library = device->library;
  uint32_t wanted = limits->pages;
  if (wanted == 0) {
    size_t free_bytes = 0;
    size_t total_bytes = 0;
    TRY(device, library->driver.cuMemGetInfo(&free_bytes, &total_bytes), "free memory");
    if (free_bytes < limits->reserve_bytes + MODEL_PAGE_BYTES) {
      error_text_set(ret_error,
                     "GPU %.40s: %zu MiB of its memory are free, too few; end what else uses it",
                     device->name, free_bytes >> 20);
      return ERR_NO_MEMORY;
    }
    wanted = (uint32_t)((free_bytes - limits->reserve_bytes) / MODEL_PAGE_BYTES);
  }
  device->pages = calloc(wanted, sizeof(*device->pages));
  if (device->pages == NULL) {
    error_text_set(ret_error, "out of memory");
    return ERR_NO_MEMORY;
  }
  const CUmemAllocationProp properties = page_properties(device);
  TRY(device, library->driver.cuMemCreate(&device->guard, DEVICE_GUARD_BYTES, &properties, 0),
      "a page of guards");
  for (; device->pages_count < wanted; device->pages_count++) {
    TRY(device,
        library->driver.cuMemCreate(&device->pages[device->pages_count], MODEL_PAGE_BYTES,
                                    &properties, 0),
        "%u pages of 16 MiB, has %u; lower --pages", wanted, device->pages_count);
  }
  return map_pool(device, ret_error);
}

static enum err open_libraries(struct device *device, struct error_text *ret_error) {
  const struct library *library = device->library;
  const cudnnStatus_t status = library->cudnn.cudnnCreate(&device->cudnn);
  if (status != CUDNN_STATUS_SUCCESS) {
    error_text_set(ret_error, "GPU %.40s: cuDNN: %.120s", device->name,
                   library->cudnn.cudnnGetErrorString(status));
    return ERR_IO;
  }
  if (library->cudnn.cudnnSetStream(device->cudnn, device->stream) != CUDNN_STATUS_SUCCESS ||
      library->cublaslt.cublasLtCreate(&device->cublaslt) != CUBLAS_STATUS_SUCCESS) {
    error_text_set(ret_error, "GPU %.40s: cuBLASLt cannot be opened", device->name);
    return ERR_IO;
  }
  return ERR_OK;
}

static enum err open_context(struct device *device, uint32_t device_index,
                             struct error_text *ret_error) {
  const struct library *library = device->library;
  TRY(device, library->driver.cuDeviceGet(&device->handle, (int)device_index), "opening it");
  TRY(device, library->driver.cuDeviceGetName(device->name, sizeof(device->name), device->handle),
      "name");
  TRY(device,
      library->driver.cuDeviceGetPCIBusId(device->pci_bus_id, sizeof(device->pci_bus_id),
                                          device->handle),
      "bus id");
  int count = 0;
  TRY(device,
      library->driver.cuDeviceGetAttribute(&count, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT,
                                           device->handle),
      "multiprocessors");
  device->multiprocessors = (uint32_t)count;
  int shared_bytes = SHARED_BYTES_DEFAULT;
  int has_clusters = 0;
  TRY(device,
      library->driver.cuDeviceGetAttribute(
          &shared_bytes, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, device->handle),
      "shared memory");
  TRY(device,
      library->driver.cuDeviceGetAttribute(&has_clusters, CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH,
                                           device->handle),
      "clusters");
  device->shared_bytes_max = (uint32_t)shared_bytes;
  device->has_clusters = has_clusters != 0;
  /* Waits spin: a sleeping wait is woken by an interrupt, which takes tens of microseconds. */
  library->driver.cuDevicePrimaryCtxSetFlags(device->handle, CU_CTX_SCHED_SPIN);
  TRY(device, library->driver.cuDevicePrimaryCtxRetain(&device->context, device->handle),
      "context");
  device_enter(device);
  TRY(device, library->driver.cuModuleLoadData(&device->module, cuda_kernels_module),
      "loading this program's kernels");
  for (int i = 0; i < DEVICE_KERNELS; i++) {
    TRY(device,
        library->driver.cuModuleGetFunction(&device->kernels[i], device->module, kernel_names[i]),
        "kernel %s", kernel_names[i]);
  }
  TRY(device,
      library->driver.cuStreamCreateWithPriority(&device->stream, CU_STREAM_NON_BLOCKING, 0),
      "stream");
  for (int i = 0; i < 2; i++) {
    TRY(device, library->driver.cuEventCreate(&device->events[i], CU_EVENT_DEFAULT), "event");
  }
  return ERR_OK;
}

static enum err build(struct device *device, uint32_t device_index,
                      const struct device_limits *limits, struct error_text *ret_error) {
  /* Half of a slot's share is its input's, half its output's; see backend_gpu.io_bytes. */
  device->slot_bytes =
      limits->io_bytes / (2 * BACKEND_IO_SLOTS) / DEVICE_IO_ALIGN_BYTES * DEVICE_IO_ALIGN_BYTES;
  device->workspace_bytes = limits->workspace_bytes / DEVICE_IO_ALIGN_BYTES * DEVICE_IO_ALIGN_BYTES;
  enum err error = open_context(device, device_index, ret_error);
  error = error == ERR_OK ? open_libraries(device, ret_error) : error;
  error = error == ERR_OK ? take_area(device, &device->serve, ret_error) : error;
  error = error == ERR_OK ? take_area(device, &device->bench, ret_error) : error;
  error = error == ERR_OK ? take_slots(device, ret_error) : error;
  error = error == ERR_OK ? fill_inputs(device, ret_error) : error;
  return error == ERR_OK ? take_pages(device, limits, ret_error) : error;
}

enum err device_create(const struct library *library, uint32_t device_index,
                       const struct device_limits *limits, struct device **ret_device,
                       struct error_text *ret_error) {
  struct device *device = calloc(1, sizeof(*device));
  if (device == NULL) {
    error_text_set(ret_error, "out of memory");
    return ERR_NO_MEMORY;
  }
  device->library = library;
  snprintf(device->name, sizeof(device->name), "%u", device_index);
  const enum err error = build(device, device_index, limits, ret_error);
  if (error != ERR_OK) {
    device_destroy(device);
    return error;
  }
  *ret_device = device;
  return ERR_OK;
}

static void give_area(const struct library *library, struct device_area *area) {
  library->driver.cuMemFree(area->input);
  library->driver.cuMemFree(area->output);
  library->driver.cuMemFree(area->workspace);
  library->driver.cuMemFree(area->places);
  library->driver.cuMemFreeHost(area->cell);
}

void device_destroy(struct device *device) {
  if (device == NULL) {
    return;
  }
  const struct library *library = device->library;
  if (device->context != NULL && !device_is_lost(device)) {
    device_enter(device);
    if (device->cudnn != NULL) {
      library->cudnn.cudnnDestroy(device->cudnn);
    }
    if (device->cublaslt != NULL) {
      library->cublaslt.cublasLtDestroy(device->cublaslt);
    }
    for (uint32_t i = 0; i < device->pool_pages_count; i++) {
      library->driver.cuMemUnmap(device->pool + (uint64_t)i * MODEL_PAGE_BYTES, MODEL_PAGE_BYTES);
    }
    if (device->pool != 0) {
      library->driver.cuMemAddressFree(device->pool,
                                       (size_t)device->pages_count * MODEL_PAGE_BYTES);
    }
    for (uint32_t i = 0; i < device->pages_count; i++) {
      library->driver.cuMemRelease(device->pages[i]);
    }
    if (device->guard != 0) {
      library->driver.cuMemRelease(device->guard);
    }
    for (int i = 0; i < BACKEND_IO_SLOTS; i++) {
      library->driver.cuMemFree(device->slots[i]);
      library->driver.cuMemFreeHost(device->staging_in[i]);
      library->driver.cuMemFreeHost(device->staging_out[i]);
    }
    give_area(library, &device->serve);
    give_area(library, &device->bench);
    for (int i = 0; i < 2; i++) {
      if (device->events[i] != NULL) {
        library->driver.cuEventDestroy(device->events[i]);
      }
    }
    if (device->stream != NULL) {
      library->driver.cuStreamDestroy(device->stream);
    }
    if (device->module != NULL) {
      library->driver.cuModuleUnload(device->module);
    }
    library->driver.cuDevicePrimaryCtxRelease(device->handle);
  }
  free(device->pages);
  free(device);
}

CUresult device_allow_access(const struct device *device, CUdeviceptr at, size_t bytes) {
  CUmemAccessDesc access;
  memset(&access, 0, sizeof(access));
  access.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  access.location.id = device->handle;
  access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  return device->library->driver.cuMemSetAccess(at, bytes, &access, 1);
}

CUdeviceptr device_page(const struct device *device, uint32_t page) {
  CHECK_LT(page, device->pages_count);
  return device->pool + (uint64_t)page * MODEL_PAGE_BYTES;
}

void device_enter(struct device *device) {
  const CUresult result = device->library->driver.cuCtxSetCurrent(device->context);
  if (result != CUDA_SUCCESS) {
    device_lose(device, result);
  }
}

void device_lose(struct device *device, CUresult failure) {
  int lives = CUDA_SUCCESS;
  atomic_compare_exchange_strong(&device->failure, &lives, (int)failure);
}

bool device_still_lives(struct device *device) {
  device_enter(device);
  size_t free_bytes = 0;
  size_t total_bytes = 0;
  const CUresult result = device_is_lost(device)
                              ? CUDA_SUCCESS
                              : device->library->driver.cuMemGetInfo(&free_bytes, &total_bytes);
  if (result != CUDA_SUCCESS) {
    device_lose(device, result);
  }
  return !device_is_lost(device);
}

CUresult device_launch(const struct device *device, enum device_kernel kernel, CUstream stream,
                       uint32_t blocks, uint32_t threads, const void *parameters) {
  return device_launch_shared(device, kernel, stream, blocks, 1, threads, 0, parameters);
}

union argument {
  const void *read;
  void *any; /* the driver copies the arguments; its type lacks the const */
};

static CUresult allow_shared(const struct device *device, enum device_kernel kernel,
                             uint32_t shared_bytes) {
  if (shared_bytes <= SHARED_BYTES_DEFAULT) {
    return CUDA_SUCCESS;
  }
  return device->library->driver.cuFuncSetAttribute(
      device->kernels[kernel], CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, (int)shared_bytes);
}

CUresult device_launch_shared(const struct device *device, enum device_kernel kernel,
                              CUstream stream, uint32_t blocks, uint32_t blocks_y, uint32_t threads,
                              uint32_t shared_bytes, const void *parameters) {
  const union argument argument = {.read = parameters};
  void *arguments[1] = {argument.any};
  const CUresult result = allow_shared(device, kernel, shared_bytes);
  if (result != CUDA_SUCCESS) {
    return result;
  }
  return device->library->driver.cuLaunchKernel(device->kernels[kernel], blocks, blocks_y, 1,
                                                threads, 1, 1, shared_bytes, stream, arguments,
                                                NULL);
}

CUresult device_launch_clusters(const struct device *device, enum device_kernel kernel,
                                CUstream stream, uint32_t blocks, uint32_t cluster,
                                uint32_t threads, uint32_t shared_bytes, const void *parameters) {
  const union argument argument = {.read = parameters};
  void *arguments[1] = {argument.any};
  CUlaunchAttribute attribute = {.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION,
                                 .value = {.clusterDim = {.x = cluster, .y = 1, .z = 1}}};
  const CUlaunchConfig config = {.gridDimX = blocks,
                                 .gridDimY = 1,
                                 .gridDimZ = 1,
                                 .blockDimX = threads,
                                 .blockDimY = 1,
                                 .blockDimZ = 1,
                                 .sharedMemBytes = shared_bytes,
                                 .hStream = stream,
                                 .attrs = &attribute,
                                 .numAttrs = cluster > 1 ? 1 : 0};
  const CUresult result = allow_shared(device, kernel, shared_bytes);
  if (result != CUDA_SUCCESS) {
    return result;
  }
  return device->library->driver.cuLaunchKernelEx(&config, device->kernels[kernel], arguments,
                                                  NULL);
}

uint32_t device_blocks(const struct device *device, uint64_t count) {
  const uint64_t blocks = (count + KERNEL_THREADS - 1) / KERNEL_THREADS;
  const uint64_t most = (uint64_t)device->multiprocessors * 16;
  return (uint32_t)(blocks == 0 ? 1 : blocks < most ? blocks : most);
}

enum err device_compare_clocks(const struct device *device, uint32_t rounds, int64_t *ret_offset_ns,
                               int64_t *ret_error_ns) {
  struct kernel_cell *cell = device->bench.cell;
  const struct kernel_ping ping = {.cell = device->bench.cell_address};
  int64_t best_ns = INT64_MAX;
  int64_t offset_ns = 0;
  for (uint32_t i = 0; i < rounds; i++) {
    cell->sequence++;
    const uint32_t sequence = cell->sequence;
    atomic_thread_fence(memory_order_seq_cst);
    const struct instant sent = os_now();
    if (device_launch(device, KERNEL_ping, device->stream, 1, 1, &ping) != CUDA_SUCCESS) {
      return ERR_IO;
    }
    struct instant seen = sent;
    while (__atomic_load_n(&cell->is_done, __ATOMIC_ACQUIRE) != sequence) {
      seen = os_now();
      if (instant_since(seen, sent).ns > PING_PATIENCE.ns) {
        return ERR_IO;
      }
    }
    seen = os_now();
    const int64_t round_trip_ns = instant_since(seen, sent).ns;
    if (round_trip_ns < best_ns) {
      best_ns = round_trip_ns;
      /* The way there, a launch, takes far longer than the way back, one write over the bus. */
      offset_ns = (int64_t)cell->end_ns - (seen.ns - round_trip_ns / 8);
    }
  }
  *ret_offset_ns = offset_ns;
  *ret_error_ns = best_ns;
  return ERR_OK;
}
