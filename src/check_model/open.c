#include "check_model/open.h"

#include <stdlib.h>
#include <string.h>

#include "backend/cpu/cpu.h"
#include "backend/emulated/emulated.h"
#include "model/profile.h"
#include "os/file.h"
#include "os/memory.h"
#ifdef CLOCKWORK_HAS_CUDA
#include "backend/cuda/cuda.h"
#endif

enum {
  MODELS_MAX = 1,
  IO_BYTES = 512 << 20,
  WORKSPACE_BYTES = 2047 << 20,
  PROFILE_BYTES_MAX = 16 << 20,
  PROFILE_ROWS_MAX = 4096,
};

#ifdef CLOCKWORK_HAS_CUDA
const char OPEN_NAMES[] = "cuda, cpu, emulated or auto";

static enum err open_cuda(const struct open_request *request, struct opened *opened,
                          struct error_text *error) {
  struct cuda_config config;
  cuda_config_defaults(&config);
  config.gpus = 1;
  config.pages[0] = request->pages;
  config.io_bytes = IO_BYTES;
  config.workspace_bytes = WORKSPACE_BYTES;
  config.models_max = MODELS_MAX;
  config.notify = request->notify;
  config.notify_user = request->notify_user;
  return cuda_create(&config, &opened->backend, error);
}
#else
const char OPEN_NAMES[] = "cpu, emulated or auto";
#endif

static enum err open_cpu(const struct open_request *request, struct opened *opened,
                         struct error_text *error) {
  const struct cpu_config config = {.devices = 1,
                                    .cores = request->cores == 0 ? cpu_cores() : request->cores,
                                    .pages = request->pages,
                                    .io_bytes = IO_BYTES,
                                    .workspace_bytes = WORKSPACE_BYTES,
                                    .models_max = MODELS_MAX,
                                    .notify = request->notify,
                                    .notify_user = request->notify_user};
  if (!cpu_is_usable()) {
    error_text_set(error, "backend cpu: this processor lacks AVX2; give --backend emulated");
    return ERR_NOT_FOUND;
  }
  return cpu_create(&config, &opened->backend, error);
}

static enum err read_profile(const char *path, struct opened *opened, uint32_t *ret_count,
                             struct error_text *error) {
  char *text = NULL;
  size_t bytes = 0;
  enum err result = file_read(path, PROFILE_BYTES_MAX, &text, &bytes, error);
  if (result != ERR_OK) {
    return result;
  }
  struct profile_fault fault;
  opened->profile = calloc(PROFILE_ROWS_MAX, sizeof(*opened->profile));
  if (opened->profile == NULL) {
    error_text_set(error, "out of memory for the profile");
    result = ERR_NO_MEMORY;
  } else if (profile_parse(text, bytes, opened->profile, PROFILE_ROWS_MAX, ret_count, &fault) !=
             ERR_OK) {
    error_text_set(error, "%s:%u: %s", path, fault.line, fault.message);
    result = ERR_MALFORMED;
  } else if (*ret_count == 0) {
    error_text_set(error, "%s: has no model; zoo/profiles has tables that do", path);
    result = ERR_MALFORMED;
  }
  free(text);
  return result;
}

static enum err open_emulated(const struct open_request *request, struct opened *opened,
                              struct error_text *error) {
  if (request->profile == NULL) {
    error_text_set(error, "backend emulated: give --profile FILE, a table of measured durations");
    return ERR_NOT_FOUND;
  }
  uint32_t count = 0;
  const enum err result = read_profile(request->profile, opened, &count, error);
  if (result != ERR_OK) {
    return result;
  }
  const struct emulated_gpu_config gpu = {.pages = request->pages,
                                          .io_bytes = IO_BYTES,
                                          .workspace_bytes = WORKSPACE_BYTES,
                                          .clock_mhz = opened->profile[0].clock_mhz};
  struct emulated_config config;
  emulated_config_defaults(&config);
  config.gpus = &gpu;
  config.gpus_count = 1;
  config.profile = opened->profile;
  config.profile_count = count;
  config.models_max = MODELS_MAX;
  opened->memory_bytes = emulated_bytes(&config);
  opened->memory = os_memory_take(opened->memory_bytes);
  if (opened->memory == NULL) {
    error_text_set(error, "out of memory");
    return ERR_NO_MEMORY;
  }
  opened->backend = emulated_init(opened->memory, &config);
  return ERR_OK;
}

enum err open_backend(const struct open_request *request, struct opened *ret_opened,
                      struct error_text *ret_error) {
  static const struct {
    const char *name;
    bool (*is_usable)(void); /* NULL: "auto" never takes it */
    enum err (*open)(const struct open_request *request, struct opened *opened,
                     struct error_text *error);
  } KINDS[] = {
#ifdef CLOCKWORK_HAS_CUDA
      {"cuda", cuda_is_usable, open_cuda},
#endif
      {"cpu", cpu_is_usable, open_cpu},
      {"emulated", NULL, open_emulated},
  };
  const bool is_auto = strcmp(request->name, "auto") == 0;
  *ret_opened = (struct opened){.memory = NULL};
  for (size_t i = 0; i < sizeof(KINDS) / sizeof(KINDS[0]); i++) {
    if (is_auto ? KINDS[i].is_usable != NULL && KINDS[i].is_usable()
                : strcmp(request->name, KINDS[i].name) == 0) {
      return KINDS[i].open(request, ret_opened, ret_error);
    }
  }
  if (is_auto) {
    error_text_set(ret_error, "neither GPU nor processor can run models; give --backend emulated");
  } else {
    error_text_set(ret_error, "--backend: '%s' is not built in; give %s", request->name,
                   OPEN_NAMES);
  }
  return ERR_NOT_FOUND;
}

void open_close(struct opened *opened) {
  if (opened->backend.ops != NULL) {
    opened->backend.ops->destroy(opened->backend.self);
  }
  os_memory_give(opened->memory, opened->memory_bytes);
  free(opened->profile);
  *opened = (struct opened){.memory = NULL};
}
