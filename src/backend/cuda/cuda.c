#include "backend/cuda/cuda.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/engines.h"
#include "backend/cuda/loader.h"
#include "base/check.h"
#include "os/numa.h"
#include "os/thread.h"

/* Between two looks at a GPU's clock. NVML takes tens of microseconds and locks the driver. */
#define CLOCK_PERIOD duration_ms(50)

struct cuda_gpu {
  struct device *device;
  struct engines *engines;
  library_nvml_device nvml;
  uint32_t clock_mhz_declared;
  bool is_placed; /* its threads and its pinned memory are on its NUMA node */
};

struct cuda {
  struct library library;
  struct cuda_config config;
  struct models models;
  uint32_t gpus_count;
  struct cuda_gpu gpus[CUDA_GPUS_MAX];
  struct models_gpu models_gpus[CUDA_GPUS_MAX];
  struct loader *loader;
  struct os_thread clock_thread;
  struct os_event clock_stop;
};

void cuda_config_defaults(struct cuda_config *config) {
  *config = (struct cuda_config){.io_bytes = CUDA_IO_BYTES,
                                 .workspace_bytes = CUDA_WORKSPACE_BYTES,
                                 .reserve_bytes = (uint64_t)6 << 30,
                                 .spin = duration_ms(2)};
}

bool cuda_is_usable(void) {
  return library_has_device();
}

/* ----------------------------------------------------------------------------------------- clocks
 */

/* NVML is the first to know of a GPU that fell off the bus while nothing ran on it. */
static uint32_t read_clock(struct cuda *cuda, uint32_t gpu_index) {
  struct cuda_gpu *gpu = &cuda->gpus[gpu_index];
  unsigned mhz = 0;
  if (gpu->nvml == NULL) {
    return gpu->clock_mhz_declared;
  }
  const int outcome = cuda->library.nvml.device_clock_mhz(gpu->nvml, LIBRARY_NVML_CLOCK_SM, &mhz);
  if (outcome == LIBRARY_NVML_GPU_IS_LOST && !device_is_lost(gpu->device)) {
    device_lose(gpu->device, CUDA_ERROR_NO_DEVICE);
    cuda->config.notify(cuda->config.notify_user);
  }
  return outcome != 0 || mhz == 0 || mhz > MODEL_CLOCK_MAX_MHZ ? gpu->clock_mhz_declared : mhz;
}

static uint32_t clock_now(void *user, uint32_t gpu_index) {
  return read_clock(user, gpu_index);
}

static uint32_t cuda_lost_count(const void *self) {
  const struct cuda *cuda = self;
  uint32_t count = 0;
  for (uint32_t i = 0; i < cuda->gpus_count; i++) {
    count += device_is_lost(cuda->gpus[i].device);
  }
  return count;
}

/* What CUDA answers after a kernel's fault it answers for every GPU of the process (seen on two
 * H100s with driver 580): when one is lost, the others are asked at once, not when their next
 * command fails. */
static uint32_t ask_the_others(struct cuda *cuda, uint32_t lost_before) {
  const uint32_t lost = cuda_lost_count(cuda);
  for (uint32_t i = 0; lost != lost_before && i < cuda->gpus_count; i++) {
    if (!device_is_lost(cuda->gpus[i].device) && !device_still_lives(cuda->gpus[i].device)) {
      cuda->config.notify(cuda->config.notify_user);
    }
  }
  return lost;
}

static void *clock_main(void *user) {
  struct cuda *cuda = user;
  uint32_t lost_count = 0;
  do {
    lost_count = ask_the_others(cuda, lost_count);
    for (uint32_t i = 0; i < cuda->gpus_count; i++) {
      engines_set_clock(cuda->gpus[i].engines, read_clock(cuda, i));
    }
  } while (!os_event_wait(&cuda->clock_stop, CLOCK_PERIOD));
  return NULL;
}

static void open_clock(struct cuda *cuda, struct cuda_gpu *gpu) {
  int khz = 0;
  if (cuda->library.driver.cuDeviceGetAttribute(&khz, CU_DEVICE_ATTRIBUTE_CLOCK_RATE,
                                                gpu->device->handle) == CUDA_SUCCESS &&
      khz >= 1000) {
    gpu->clock_mhz_declared = (uint32_t)khz / 1000;
  } else {
    gpu->clock_mhz_declared = 1;
  }
  if (!cuda->library.nvml.is_open ||
      cuda->library.nvml.device_by_pci_bus_id(gpu->device->pci_bus_id, &gpu->nvml) != 0) {
    gpu->nvml = NULL;
  }
}

/* --------------------------------------------------------------------------------------- contract
 */

static uint32_t cuda_gpus_count(const void *self) {
  return ((const struct cuda *)self)->gpus_count;
}

static void cuda_gpu(const void *self, uint32_t gpu_index, struct backend_gpu *ret_gpu) {
  const struct cuda *cuda = self;
  CHECK_LT(gpu_index, cuda->gpus_count);
  const struct device *device = cuda->gpus[gpu_index].device;
  struct backend_gpu gpu = {.pages = device->pages_count,
                            .io_bytes = cuda->config.io_bytes,
                            .workspace_bytes = device->workspace_bytes,
                            .clock_mhz = engines_clock(cuda->gpus[gpu_index].engines)};
  snprintf(gpu.name, sizeof(gpu.name), "%s", device->name);
  gpu.is_lost = device_is_lost(device);
  if (gpu.is_lost) {
    snprintf(gpu.lost_reason, sizeof(gpu.lost_reason), "%s",
             library_driver_text(&cuda->library, (CUresult)atomic_load(&device->failure)));
  }
  *ret_gpu = gpu;
}

static enum err cuda_load_model(void *self, struct instant now,
                                const struct backend_load_model *job) {
  struct cuda *cuda = self;
  (void)now;
  return loader_put(cuda->loader, job);
}

static uint32_t cuda_poll_loaded(void *self, struct instant now,
                                 struct backend_loaded_model *ret_loaded, uint32_t capacity) {
  struct cuda *cuda = self;
  (void)now;
  uint32_t count = 0;
  while (count < capacity && loader_take(cuda->loader, &ret_loaded[count])) {
    count++;
  }
  return count;
}

static void cuda_submit(void *self, struct instant now, const struct backend_command *command) {
  struct cuda *cuda = self;
  CHECK_LT(command->gpu_index, cuda->gpus_count);
  engines_submit(cuda->gpus[command->gpu_index].engines, now, command);
}

static void cuda_evict(void *self, struct instant now, uint32_t gpu_index, uint32_t model_id,
                       const uint32_t *pages, uint32_t pages_count) {
  struct cuda *cuda = self;
  (void)now;
  (void)pages;
  (void)pages_count;
  CHECK_LT(gpu_index, cuda->gpus_count);
  engines_evict(cuda->gpus[gpu_index].engines, model_id);
}

struct ready {
  struct backend_completion completion;
  uint32_t gpu_index;
  enum backend_engine engine;
};

static int compare_ends(const void *a, const void *b) {
  const int64_t x = ((const struct ready *)a)->completion.end.ns;
  const int64_t y = ((const struct ready *)b)->completion.end.ns;
  return (x > y) - (x < y);
}

/* All engines are looked at once, then put in order: one that ends meanwhile is for the next poll.
 */
static uint32_t cuda_poll(void *self, struct instant now,
                          struct backend_completion *ret_completions, uint32_t capacity) {
  struct cuda *cuda = self;
  struct ready ready[CUDA_GPUS_MAX * BACKEND_ENGINES];
  uint32_t count = 0;
  for (uint32_t i = 0; i < cuda->gpus_count; i++) {
    for (int engine = 0; engine < BACKEND_ENGINES; engine++) {
      ready[count].gpu_index = i;
      ready[count].engine = (enum backend_engine)engine;
      count += engines_peek(cuda->gpus[i].engines, (enum backend_engine)engine, now,
                            &ready[count].completion);
    }
  }
  qsort(ready, count, sizeof(ready[0]), compare_ends);
  count = count < capacity ? count : capacity;
  for (uint32_t i = 0; i < count; i++) {
    engines_take(cuda->gpus[ready[i].gpu_index].engines, ready[i].engine);
    ret_completions[i] = ready[i].completion;
  }
  return count;
}

/* The engines call notify instead. */
static struct instant cuda_wakeup(const void *self) {
  (void)self;
  return INSTANT_NEVER;
}

static void cuda_destroy(void *self) {
  struct cuda *cuda = self;
  if (cuda == NULL) {
    return;
  }
  loader_destroy(cuda->loader);
  if (cuda->clock_stop.fd >= 0) {
    os_event_set(&cuda->clock_stop);
  }
  os_thread_join(&cuda->clock_thread);
  os_event_finish(&cuda->clock_stop);
  for (uint32_t i = 0; i < cuda->gpus_count; i++) {
    engines_destroy(cuda->gpus[i].engines);
  }
  models_clear(&cuda->models);
  for (uint32_t i = 0; i < cuda->gpus_count; i++) {
    if (cuda->gpus[i].device != NULL) {
      device_enter(cuda->gpus[i].device);
      choice_store_destroy(cuda->gpus[i].device, cuda->models_gpus[i].store);
    }
    device_destroy(cuda->gpus[i].device);
  }
  free(cuda->models.instances);
  library_close(&cuda->library);
  free(cuda);
}

static const struct backend_ops cuda_ops = {
    .name = "cuda",
    .gpus_count = cuda_gpus_count,
    .gpu = cuda_gpu,
    .lost_count = cuda_lost_count,
    .load_model = cuda_load_model,
    .poll_loaded = cuda_poll_loaded,
    .submit = cuda_submit,
    .evict = cuda_evict,
    .poll = cuda_poll,
    .wakeup = cuda_wakeup,
    .destroy = cuda_destroy,
};

/* ------------------------------------------------------------------------------------------- start
 */

static enum err open_gpu(struct cuda *cuda, uint32_t gpu_index, struct error_text *ret_error) {
  struct cuda_gpu *gpu = &cuda->gpus[gpu_index];
  const struct device_limits limits = {.pages = cuda->config.pages[gpu_index],
                                       .io_bytes = cuda->config.io_bytes,
                                       .workspace_bytes = cuda->config.workspace_bytes,
                                       .reserve_bytes = cuda->config.reserve_bytes};
  enum err error = device_create(&cuda->library, gpu_index, &limits, &gpu->device, ret_error);
  if (error != ERR_OK) {
    return error;
  }
  open_clock(cuda, gpu);
  cuda->models_gpus[gpu_index] = (struct models_gpu){
      .device = gpu->device, .store = choice_store_create(cuda->config.compiled)};
  if (cuda->models_gpus[gpu_index].store == NULL) {
    error_text_set(ret_error, "out of memory");
    return ERR_NO_MEMORY;
  }
  const struct engines_config config = {.device = gpu->device,
                                        .gpu_index = gpu_index,
                                        .models = &cuda->models,
                                        .spin = cuda->config.spin,
                                        .notify = cuda->config.notify,
                                        .notify_user = cuda->config.notify_user};
  error = engines_create(&config, &gpu->engines, ret_error);
  if (error == ERR_OK) {
    engines_set_clock(gpu->engines, read_clock(cuda, gpu_index));
  }
  return error;
}

/* From near it, where the machine has more than one node and says which is the GPU's: the engines'
 * threads and the pinned memory of its io slots are then there, too. */
static enum err open_gpu_in_place(struct cuda *cuda, uint32_t gpu_index,
                                  struct error_text *ret_error) {
  struct numa_place place;
  cpu_set_t before;
  CUdevice handle = 0;
  char pci_bus_id[32];
  const bool is_placed =
      cuda->library.driver.cuDeviceGet(&handle, (int)gpu_index) == CUDA_SUCCESS &&
      cuda->library.driver.cuDeviceGetPCIBusId(pci_bus_id, sizeof(pci_bus_id), handle) ==
          CUDA_SUCCESS &&
      numa_place_of_pci(NUMA_SYSFS, pci_bus_id, &place) == ERR_OK && numa_enter(&place, &before);
  cuda->gpus[gpu_index].is_placed = is_placed;
  const enum err error = open_gpu(cuda, gpu_index, ret_error);
  if (is_placed) {
    numa_leave(&before);
  }
  return error;
}

static enum err open_gpus(struct cuda *cuda, struct error_text *ret_error) {
  int found = 0;
  const CUresult result = cuda->library.driver.cuInit(0);
  if (result != CUDA_SUCCESS || cuda->library.driver.cuDeviceGetCount(&found) != CUDA_SUCCESS ||
      found == 0) {
    error_text_set(ret_error, "no CUDA device: %.120s",
                   library_driver_text(&cuda->library, result));
    return ERR_NOT_FOUND;
  }
  uint32_t wanted = cuda->config.gpus == 0 ? (uint32_t)found : cuda->config.gpus;
  if (wanted > (uint32_t)found) {
    error_text_set(ret_error, "--gpus %u: this machine has %d", wanted, found);
    return ERR_NOT_FOUND;
  }
  wanted = wanted < CUDA_GPUS_MAX ? wanted : CUDA_GPUS_MAX;
  enum err error = ERR_OK;
  for (uint32_t i = 0; i < wanted && error == ERR_OK; i++) {
    cuda->gpus_count = i + 1;
    error = open_gpu_in_place(cuda, i, ret_error);
  }
  return error;
}

enum err cuda_create(const struct cuda_config *config, struct backend *ret_backend,
                     struct error_text *ret_error) {
  struct cuda *cuda = calloc(1, sizeof(*cuda));
  if (cuda == NULL) {
    error_text_set(ret_error, "out of memory");
    return ERR_NO_MEMORY;
  }
  cuda->config = *config;
  cuda->clock_stop.fd = -1;
  enum err error = library_open(&cuda->library, ret_error);
  if (error != ERR_OK) {
    free(cuda);
    return error;
  }
  cuda->models = (struct models){.library = &cuda->library,
                                 .gpus = cuda->models_gpus,
                                 .capacity = config->models_max,
                                 .instances = calloc(config->models_max, sizeof(struct instance)),
                                 .clock_mhz = clock_now,
                                 .clock_user = cuda,
                                 .on_timed = config->on_timed,
                                 .on_timed_user = config->on_timed_user};
  if (cuda->models.instances == NULL) {
    error_text_set(ret_error, "out of memory for %u models; lower --models", config->models_max);
    error = ERR_NO_MEMORY;
  }
  error = error == ERR_OK ? open_gpus(cuda, ret_error) : error;
  cuda->models.gpus_count = cuda->gpus_count;
  if (error == ERR_OK) {
    error = os_event_init(&cuda->clock_stop);
    error = error == ERR_OK ? os_thread_start(&cuda->clock_thread, "gpu-clock", clock_main, cuda)
                            : error;
    error = error == ERR_OK
                ? loader_create(&cuda->models, config->notify, config->notify_user, &cuda->loader)
                : error;
    if (error != ERR_OK) {
      error_text_set(ret_error, "the threads of the CUDA backend did not start: %s",
                     err_text(error));
    }
  }
  if (error != ERR_OK) {
    cuda_destroy(cuda);
    return error;
  }
  *ret_backend = (struct backend){.ops = &cuda_ops, .self = cuda};
  return ERR_OK;
}

void cuda_describe(const struct backend *backend, char *ret_text, size_t capacity) {
  const struct cuda *cuda = backend->self;
  int driver = 0;
  cuda->library.driver.cuDriverGetVersion(&driver);
  const size_t cudnn = cuda->library.cudnn.cudnnGetVersion();
  const size_t cublaslt = cuda->library.cublaslt.cublasLtGetVersion();
  uint32_t placed = 0;
  for (uint32_t i = 0; i < cuda->gpus_count; i++) {
    placed += cuda->gpus[i].is_placed;
  }
  char place[40] = "";
  if (placed > 0) {
    snprintf(place, sizeof(place), ", %u near their NUMA node", placed);
  }
  snprintf(ret_text, capacity, "%u x %s%s, driver for CUDA %d.%d, cuDNN %zu.%zu.%zu, cuBLASLt %zu",
           cuda->gpus_count, cuda->gpus[0].device->name, place, driver / 1000, driver % 1000 / 10,
           cudnn / 10000, cudnn / 100 % 100, cudnn % 100, cublaslt);
}
