/* The CUDA backend: every NVIDIA GPU of this machine, run as predictably as it can be.
 *
 * What backend.h promises, and how it is kept here: physical pages, io slots and workspace are
 * taken at start; a model's kernels are chosen by measurement and captured into one graph per
 * instance and batch size when it is loaded; serving is one launch per execution, one mapping and
 * one copy per page of a LOAD, and nothing else. docs/cuda.md has the measurements.
 *
 * NVIDIA's libraries are loaded when the backend is created; a program with it also runs where
 * there are none.
 */
#ifndef CLOCKWORK_BACKEND_CUDA_CUDA_H
#define CLOCKWORK_BACKEND_CUDA_CUDA_H

#include "backend/backend.h"
#include "os/error_text.h"

enum {
  CUDA_GPUS_MAX = 64,
  CUDA_IO_BYTES = 512 * 1024 * 1024,
  CUDA_WORKSPACE_BYTES = 512 * 1024 * 1024,
};

struct cuda_config {
  uint32_t gpus;                 /* use the first so many; 0: all */
  uint32_t pages[CUDA_GPUS_MAX]; /* of each; 0: all its free memory but reserve_bytes */
  uint64_t io_bytes;             /* per GPU */
  uint64_t workspace_bytes;
  uint64_t reserve_bytes; /* per GPU: for graphs and the libraries' code */
  uint32_t models_max;    /* model ids are below this */
  bool compiled;          /* also try cuDNN engines that are compiled at load, a second each */
  struct duration spin;   /* how long an engine without work watches before it sleeps */
  void (*notify)(void *user);
  void *notify_user;
  /* A line of text per operation of each package that is prepared, with what it takes alone; from
   * the loader's thread. NULL: not wanted. */
  void (*on_timed)(void *user, const char *line);
  void *on_timed_user;
};

/* Everything but notify and models_max. */
void cuda_config_defaults(struct cuda_config *config);

/* Whether a driver and a GPU are there. */
bool cuda_is_usable(void);

/* ERR_NOT_FOUND, ERR_NO_MEMORY, ERR_IO: `ret_error` names what lacks. Takes seconds. */
MUST_USE enum err cuda_create(const struct cuda_config *config, struct backend *ret_backend,
                              struct error_text *ret_error);

/* "NVIDIA H100 80GB HBM3, cuDNN 9.14.0": for logs and results. */
void cuda_describe(const struct backend *backend, char *ret_text, size_t capacity);

#endif
