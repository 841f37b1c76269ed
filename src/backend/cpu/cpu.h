/* The CPU backend: compiled models on this machine's cores, computed by oneDNN.
 *
 * A "GPU" of this backend is a device made of cores and memory: `cores` cores that run one
 * execution at a time, a weights cache of pages that are really filled, areas for inputs and
 * outputs, and a workspace. Several devices may share a machine; where it has cores enough, each
 * device's threads are pinned to cores of their own, and the backend's other threads keep off them.
 * Executions take what was predicted as far as nothing else runs on those cores.
 *
 * What holds while models are served: every primitive, memory object and scratchpad was made when
 * its model was loaded; a LOAD moves whole pages into the instance's window of addresses and copies
 * the weights there. oneDNN takes a few hundred bytes from the heap for each primitive that it
 * executes and gives them back; nothing else is allocated.
 *
 * A model is measured when it is loaded, on threads of its own at low priority: executions under
 * way go first. How operations become oneDNN's primitives stands in lower.h.
 */
#ifndef CLOCKWORK_BACKEND_CPU_CPU_H
#define CLOCKWORK_BACKEND_CPU_CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/backend.h"
#include "os/error_text.h"

enum {
  CPU_DEVICES_MAX = 64,
  /* load_model() jobs that may wait; one more is ERR_FULL. */
  CPU_LOAD_JOBS = 256,
};

struct cpu_config {
  uint32_t devices;         /* 1 .. CPU_DEVICES_MAX */
  uint32_t cores;           /* of each device, > 0 */
  uint32_t pages;           /* weights cache of each device; resident from the start */
  uint64_t io_bytes;        /* of each device, shared evenly by its BACKEND_IO_SLOTS batches */
  uint64_t workspace_bytes; /* of each device; becomes resident as models need it */
  uint32_t models_max;      /* model ids are below this */
  /* poll() or poll_loaded() has something new. From any thread; may be NULL. */
  void (*notify)(void *user);
  void *notify_user;
};

/* Whether this machine's processor and kernel can run it. */
bool cpu_is_usable(void);

/* Cores that the calling thread may use. */
uint32_t cpu_cores(void);

/* The calling thread, and those that it starts from now on, leave the devices' cores to these, if
 * the machine has others. After cpu_create(): devices get their cores from what their maker may
 * use. */
void cpu_keep_off(const struct cpu_config *config);

/* Takes memory and starts threads: four a device, and one that loads models. ERR_NO_MEMORY, ERR_IO;
 * `ret_error` says what to lower. destroy() waits for what is under way. */
MUST_USE enum err cpu_create(const struct cpu_config *config, struct backend *ret_backend,
                             struct error_text *ret_error);

#endif
