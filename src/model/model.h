/* What a model is to a scheduler and a worker: sizes, and how long it takes.
 *
 * A model instance ("copy") is named by a 32-bit model id that the controller chooses; copies of
 * one package share everything in this struct but have weights of their own in GPU memory.
 */
#ifndef CLOCKWORK_MODEL_MODEL_H
#define CLOCKWORK_MODEL_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/time.h"

enum {
  /* The unit in which GPU memory is handed to weights (Clockwork, OSDI 2020, section 5.2). */
  MODEL_PAGE_BYTES = 16 * 1024 * 1024,
  /* How many batch sizes a model may have been compiled for. */
  MODEL_BATCH_KINDS = 8,
  MODEL_BATCH_MAX = 64,
  /* Far above any GPU, and small enough that duration x clock can't overflow. */
  MODEL_CLOCK_MAX_MHZ = 100000,
  MODEL_NAME_BYTES = 64,
  MODEL_PATH_BYTES = 512,
};

#define MODEL_ID_NONE UINT32_MAX

/* What every decision reads comes first: a cache line. */
struct model_spec {
  uint32_t weights_pages;
  uint32_t clock_mhz;                         /* GPU clock of these measurements, > 0 */
  uint32_t batch_kinds;                       /* > 0 */
  uint32_t batch_sizes[MODEL_BATCH_KINDS];    /* rising; the first is 1 */
  struct duration execute[MODEL_BATCH_KINDS]; /* at clock_mhz, one per batch size */
  struct duration load;                       /* weights transfer, host to GPU */
  uint64_t input_bytes;                       /* of one request */
  uint64_t output_bytes;                      /* of one request */
  uint64_t weights_bytes;                     /* > 0 */
  char name[MODEL_NAME_BYTES];                /* NUL terminated */
};

/* Pages that `weights_bytes` fill. */
uint32_t model_pages_of(uint64_t weights_bytes);

/* Whether a spec that came from a peer or a file can be worked with: batch sizes rising from 1,
 * durations and clock positive, sizes within range. */
bool model_spec_is_valid(const struct model_spec *spec);

/* The index of `batch_size` in batch_sizes; MODEL_BATCH_KINDS if the model lacks it. */
uint32_t model_batch_kind(const struct model_spec *spec, uint32_t batch_size);

#endif
