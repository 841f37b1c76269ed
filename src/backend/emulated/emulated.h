/* The emulated backend: GPUs that take the time a measured profile says and compute nothing.
 *
 * A pure sibling of the real backends, held to the same conformance suite: time is an argument, so
 * it serves a worker in real time and the simulator in virtual time alike. A command submitted at
 * `now` begins at `now` and ends a profiled, jittered duration later; poll() reports that end
 * exactly, as a GPU's own events would, however late the host came to look.
 *
 * What it models: load, execution per batch size, copies of inputs and outputs by bytes and link
 * rate, jitter (normal, cut off at 6 sigma, one stream of random numbers per GPU), the GPU clock (a
 * duration scales with profile clock / GPU clock for EXECUTE only). Loading a model into host
 * memory takes no time. What it leaves out: contention between the engines of one GPU, and the
 * contents of results: an output is a function of model name and input (emulated_output()), so that
 * a test can tell a right answer from a wrong one.
 */
#ifndef CLOCKWORK_BACKEND_EMULATED_EMULATED_H
#define CLOCKWORK_BACKEND_EMULATED_EMULATED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/backend.h"

enum {
  /* A 32 GB V100 as the published system cuts it: 23,085,449,216 bytes of weights cache. */
  EMULATED_PAGES = 1376,
  EMULATED_IO_BYTES = 512 * 1024 * 1024,
  EMULATED_WORKSPACE_BYTES = 512 * 1024 * 1024,
  /* Answers to load_model() that may wait for poll_loaded(); one more is ERR_FULL. */
  EMULATED_LOAD_JOBS = 256,
};

struct emulated_gpu_config {
  uint32_t pages;
  uint64_t io_bytes;
  uint64_t workspace_bytes;
  uint32_t clock_mhz;
  /* So many EXECUTEs begin; the one after them finds the GPU lost. 0: it is never lost. */
  uint64_t lose_after;
};

struct emulated_config {
  const struct emulated_gpu_config *gpus; /* gpus_count of them; may differ; copied */
  uint32_t gpus_count;
  const struct model_spec
      *profile; /* profile_count rows, one a package; must outlive the backend */
  uint32_t profile_count;
  uint32_t models_max; /* model ids are below this */
  uint32_t loads_max;  /* calls of load_model() that succeed; 0: as many as models */
  uint64_t seed;
  /* Standard deviation of a duration's jitter, in parts per million of its profiled value.
   * Defaults: EXECUTE 80 (p99.99 = +3.72 sigma = +0.03 %, as measured on V100s in OSDI 2020,
   * section 2), LOAD and copies 2,000. */
  uint32_t execute_jitter_ppm;
  uint32_t transfer_jitter_ppm;
  /* Host to GPU and back, bytes per second. ResNet50's 102,160,300 bytes took 8.32 ms on the V100s:
   * 12.28 GB/s. */
  uint64_t link_bytes_per_s;
};

/* The defaults of everything but gpus, profile and models_max. */
void emulated_config_defaults(struct emulated_config *config);

/* Bytes for emulated_init(). */
size_t emulated_bytes(const struct emulated_config *config);

/* `memory`: 64-byte aligned, all zero, emulated_bytes() long, the caller's. A path's last component
 * (without a trailing '/') names the profile row; an unknown one is ACTION_INVALID_MODEL_PATH.
 * destroy() does nothing: the memory is the caller's. */
struct backend emulated_init(void *memory, const struct emulated_config *config);

/* A hint: poll() will soon be called. Memory that the first completion to come touches begins to
 * come (base/prefetch.h), and where that command runs is told; false: none is under way. */
bool emulated_expect(const struct backend *backend, uint32_t *ret_gpu_index,
                     enum backend_engine *ret_engine);

/* From now on the GPU runs at this clock; executions under way keep their end. clock_mhz > 0. */
void emulated_set_clock(struct backend *backend, uint32_t gpu_index, uint32_t clock_mhz);

/* The GPU is lost from now on; what is under way there ends now. A second call has no effect. */
void emulated_lose(struct backend *backend, struct instant now, uint32_t gpu_index);

/* What an emulated model answers: `output_bytes` that depend on the model's name and on the input's
 * length, first 64 and last 64 bytes (all of a 602 kB image would cost more host time than the rest
 * of the request together), as 32-bit floats in [0, 1). `input` may be NULL: then on the name
 * alone. */
void emulated_output(const char *model_name, const void *input, size_t input_bytes,
                     void *ret_output, size_t output_bytes);

#endif
