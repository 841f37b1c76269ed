/* The CUDA backend as the options want it. */
#include "worker/backends.h"

#ifdef CLOCKWORK_HAS_CUDA

#include "backend/cuda/cuda.h"

enum err cuda_setup_create(const struct backend_request *request,
                           struct worker_backend *ret_backend, struct error_text *ret_error) {
  const struct options *options = request->options;
  struct cuda_config config;
  cuda_config_defaults(&config);
  config.gpus = (uint32_t)options->gpus;
  for (uint32_t i = 0; i < CUDA_GPUS_MAX && options->pages.count > 0; i++) {
    config.pages[i] = i < options->pages.count || options->pages.count == 1
                          ? (uint32_t)gpu_values_at(&options->pages, i)
                          : 0;
  }
  config.io_bytes = options->io_bytes;
  config.workspace_bytes = options->workspace_bytes;
  config.models_max = (uint32_t)options->models;
  config.notify = request->notify;
  config.notify_user = request->notify_user;
  const enum err error = cuda_create(&config, &ret_backend->backend, ret_error);
  if (error == ERR_OK) {
    cuda_describe(&ret_backend->backend, ret_backend->description,
                  sizeof(ret_backend->description));
  }
  return error;
}

#endif
