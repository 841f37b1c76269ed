/* The emulated backend as the options want it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/emulated/emulated.h"
#include "base/arena.h"
#include "base/check.h"
#include "model/profile.h"
#include "os/file.h"
#include "os/memory.h"
#include "worker/backends.h"
#include "worker/default_profile.h"

enum { PROFILE_BYTES_MAX = 16 << 20 };

struct profile_text {
  const char *text;
  size_t bytes;
  char *owned; /* to free */
  const char *name;
};

static enum err read_profile(const struct options *options, struct profile_text *ret_profile,
                             struct error_text *ret_error) {
  if (options->profile[0] == '\0') {
    *ret_profile = (struct profile_text){
        .text = default_profile, .bytes = default_profile_bytes, .name = "v100, built in"};
    return ERR_OK;
  }
  char *content = NULL;
  size_t bytes = 0;
  const enum err error =
      file_read(options->profile, PROFILE_BYTES_MAX, &content, &bytes, ret_error);
  if (error == ERR_OK) {
    *ret_profile = (struct profile_text){
        .text = content, .bytes = bytes, .owned = content, .name = options->profile};
  }
  return error;
}

/* No profile has more rows than lines. */
static uint32_t lines_of(const struct profile_text *profile) {
  uint32_t lines = 1;
  for (size_t i = 0; i < profile->bytes; i++) {
    lines += profile->text[i] == '\n';
  }
  return lines;
}

static void describe_gpus(const struct options *options, uint32_t gpus_count, uint32_t clock_mhz,
                          struct emulated_gpu_config *ret_gpus) {
  for (uint32_t i = 0; i < gpus_count; i++) {
    ret_gpus[i] = (struct emulated_gpu_config){
        .pages = options->pages.count == 0 ? EMULATED_PAGES
                                           : (uint32_t)gpu_values_at(&options->pages, i),
        .io_bytes = options->io_bytes,
        .workspace_bytes = options->workspace_bytes,
        .clock_mhz = options->clock_mhz.count == 0
                         ? clock_mhz
                         : (uint32_t)gpu_values_at(&options->clock_mhz, i),
        .lose_after = options->lose_after.count == 0 ? 0 : gpu_values_at(&options->lose_after, i),
    };
  }
}

/* `specs` must live as long as the backend: both go into one block. */
static enum err build(const struct options *options, const struct model_spec *specs, uint32_t count,
                      struct worker_backend *ret_backend) {
  struct emulated_gpu_config gpus[WORKER_GPUS_MAX];
  const uint32_t gpus_count = options->gpus == 0 ? 1 : (uint32_t)options->gpus;
  describe_gpus(options, gpus_count, specs[0].clock_mhz, gpus);
  struct emulated_config config;
  emulated_config_defaults(&config);
  config.gpus = gpus;
  config.gpus_count = gpus_count;
  config.profile_count = count;
  config.models_max = (uint32_t)options->models;
  config.seed = options->seed;
  config.execute_jitter_ppm = (uint32_t)options->jitter_ppm;
  config.transfer_jitter_ppm = (uint32_t)options->transfer_jitter_ppm;

  const size_t specs_bytes = (count * sizeof(*specs) + 63) / 64 * 64;
  const size_t memory_bytes = specs_bytes + emulated_bytes(&config);
  unsigned char *memory = os_memory_take(memory_bytes);
  if (memory == NULL) {
    return ERR_NO_MEMORY;
  }
  memcpy(memory, specs, count * sizeof(*specs));
  config.profile = (const struct model_spec *)(const void *)memory;
  ret_backend->memory = memory;
  ret_backend->memory_bytes = memory_bytes;
  ret_backend->backend = emulated_init(memory + specs_bytes, &config);
  return ERR_OK;
}

static enum err parse_and_build(const struct options *options, const struct profile_text *profile,
                                struct worker_backend *ret_backend, struct error_text *ret_error) {
  const uint32_t capacity = lines_of(profile);
  struct model_spec *specs = calloc(capacity, sizeof(*specs));
  if (specs == NULL) {
    error_text_set(ret_error, "out of memory for the profile");
    return ERR_NO_MEMORY;
  }
  uint32_t count = 0;
  struct profile_fault fault;
  enum err error = profile_parse(profile->text, profile->bytes, specs, capacity, &count, &fault);
  if (error != ERR_OK) {
    error_text_set(ret_error, "%.120s:%u: %s", profile->name, fault.line, fault.message);
  } else if (count == 0) {
    error_text_set(ret_error, "%.120s: has no model; give it a row a model", profile->name);
    error = ERR_MALFORMED;
  } else {
    error = build(options, specs, count, ret_backend);
    if (error != ERR_OK) {
      error_text_set(ret_error, "out of memory for %u models; lower --models",
                     (unsigned)options->models);
    }
    snprintf(ret_backend->description, sizeof(ret_backend->description),
             "GPUs are emulated, nothing is computed; %u models in profile %.80s", count,
             profile->name);
  }
  free(specs);
  return error;
}

enum err emulated_create(const struct backend_request *request, struct worker_backend *ret_backend,
                         struct error_text *ret_error) {
  struct profile_text profile;
  enum err error = read_profile(request->options, &profile, ret_error);
  if (error == ERR_OK) {
    error = parse_and_build(request->options, &profile, ret_backend, ret_error);
    free(profile.owned);
  }
  return error;
}
