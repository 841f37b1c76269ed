/* The CPU backend as the options want it. */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "backend/cpu/cpu.h"
#include "worker/backends.h"

enum {
  /* Of the machine's memory, what all devices' weights caches get together if nothing is said: the
   * host weights, the models' workspaces and everything else on the machine want the rest. */
  MEMORY_SHARE = 8,
  PAGES_MIN = 8,
};

static uint32_t default_pages(uint32_t devices) {
  const long pages = sysconf(_SC_PHYS_PAGES);
  const long page_bytes = sysconf(_SC_PAGESIZE);
  if (pages <= 0 || page_bytes <= 0) {
    return PAGES_MIN;
  }
  const uint64_t share =
      (uint64_t)pages * (uint64_t)page_bytes / MEMORY_SHARE / devices / MODEL_PAGE_BYTES;
  return share < PAGES_MIN ? PAGES_MIN : (uint32_t)share;
}

enum err cpu_setup_create(const struct backend_request *request, struct worker_backend *ret_backend,
                          struct error_text *ret_error) {
  const struct options *options = request->options;
  const uint32_t devices = options->gpus == 0 ? 1 : (uint32_t)options->gpus;
  const uint32_t cores = cpu_cores();
  if (devices > CPU_DEVICES_MAX) {
    error_text_set(ret_error, "gpus: the cpu backend has at most %d devices; give fewer",
                   CPU_DEVICES_MAX);
    return ERR_RANGE;
  }
  for (uint32_t i = 1; i < options->pages.count; i++) {
    if (options->pages.values[i] != options->pages.values[0]) {
      error_text_set(ret_error, "pages: devices of the cpu backend are alike; give one number");
      return ERR_RANGE;
    }
  }
  /* One core is left to whatever else runs: on a core that executes, it would be felt. */
  const uint32_t share = (cores - 1) / devices == 0 ? 1 : (cores - 1) / devices;
  const struct cpu_config config = {
      .devices = devices,
      .cores = options->cores_per_gpu == 0 ? share : (uint32_t)options->cores_per_gpu,
      .pages =
          options->pages.count == 0 ? default_pages(devices) : (uint32_t)options->pages.values[0],
      .io_bytes = options->io_bytes,
      .workspace_bytes = options->workspace_bytes,
      .models_max = (uint32_t)options->models,
      .notify = request->notify,
      .notify_user = request->notify_user,
  };
  const enum err error = cpu_create(&config, &ret_backend->backend, ret_error);
  if (error == ERR_OK) {
    cpu_keep_off(&config);
    snprintf(ret_backend->description, sizeof(ret_backend->description),
             "compiled models with oneDNN, %u of %u cores a device", config.cores, cores);
  }
  return error;
}
