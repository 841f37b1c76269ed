/* Packages in host memory, and their instances on the GPUs.
 *
 * A package is read once: its weights lie in pinned memory that every instance's LOAD copies from,
 * and how its operations run was chosen once per GPU. An instance is a window of addresses on each
 * GPU and, per batch size, a graph captured with that window: executing it is one call. Nothing of
 * this changes while models are served. docs/decisions/ says why each instance has graphs of its
 * own.
 *
 * Thread: the loader's builds; an instance is handed to the others once, whole (loader.h), and only
 * read from then on.
 */
#ifndef CLOCKWORK_BACKEND_CUDA_MODELS_H
#define CLOCKWORK_BACKEND_CUDA_MODELS_H

#include "backend/cuda/choices.h"
#include "backend/cuda/device.h"
#include "backend/cuda/pinned.h"

/* One batch size of a package on one GPU. */
struct program {
  bool is_fit; /* its areas fit into the device's */
  struct choice *choices;
  struct duration execute;
};

struct package_gpu {
  bool is_prepared;
  struct program programs[MODEL_BATCH_KINDS]; /* as plan->batches */
  struct duration load;
  uint32_t clock_mhz;
};

struct package {
  char path[MODEL_PATH_BYTES];
  uint64_t plan_checksum;
  const struct plan *plan;
  void *plan_memory;
  size_t plan_memory_bytes;
  struct pinned weights;
  struct package_gpu *gpus;
  struct package *next;
};

struct instance_gpu {
  CUdeviceptr reserved; /* 0: none; the window and a guard on either side */
  CUdeviceptr window;   /* of weights_pages pages */
  CUgraphExec graphs[MODEL_BATCH_KINDS];
};

struct instance {
  struct package *package; /* NULL: the id is free */
  uint32_t weights_pages;
  struct instance_gpu *gpus;
};

/* What of a GPU the functions below need. */
struct models_gpu {
  struct device *device;
  struct choice_store *store;
};

struct models {
  const struct library *library;
  uint32_t gpus_count;
  struct models_gpu *gpus;
  uint32_t capacity; /* model ids are below this */
  struct instance *instances;
  struct package *packages;
  /* The clock of GPU `gpu_index` now. */
  uint32_t (*clock_mhz)(void *user, uint32_t gpu_index);
  void *clock_user;
  /* A line about each operation while a package is prepared; NULL: not wanted, nothing is timed. */
  void (*on_timed)(void *user, const char *line);
  void *on_timed_user;
};

/* Loads as backend.h says of load_model(). Everything or nothing of the copies is there afterwards.
 * `ahead`: NULL or from models_read_ahead(); consumed.
 * Cost: seconds for a package that is new on this kind of GPU. */
void models_load(struct models *models, const struct backend_load_model *job, struct package *ahead,
                 struct backend_loaded_model *ret_loaded);

/* What takes long about a package and needs no GPU, done before its job's turn: its files read and
 * checked, its weights in memory that can be pinned. It asks the driver for nothing, so that what
 * is measured at the time is not disturbed. Any thread, beside models_load(). NULL: it can't be
 * read; models_load() will say why. */
struct package *models_read_ahead(const struct models *models, const char *package_path);

/* Accepts NULL. */
void models_forget(const struct models *models, struct package *ahead);

/* Whether a package of this path is held: reading it ahead would be in vain, unless it changed. */
bool models_has_read(const struct models *models, const char *package_path);

/* Gives back all instances and packages; every engine must be at rest. */
void models_clear(struct models *models);

/* Index of `batch_size` in the package's batches; the batch size must be one of them (CHECK). */
uint32_t models_kind(const struct package *package, uint32_t batch_size);

#endif
