/* The contract between the worker's brain (executor/) and what runs models: a GPU, a CPU, a
 * profile.
 *
 * A backend has one or more GPUs ("devices"). Each GPU has four engines that run beside each other
 * and each run one command at a time, in the order of submission:
 *   LOAD     weights, host to GPU         INPUT   inputs, host to GPU
 *   EXECUTE  one batch of one model       OUTPUT  outputs, GPU to host
 * The executor never submits a second command to an engine before the first one's completion came
 * out of poll(), so a backend needs no queue of its own.
 *
 * Guarantees of a backend:
 *  - every submitted command completes exactly once, also when it fails (status tells);
 *  - begin and end of a completion are on the clock of `now`, begin <= end, begin >= the submit's
 * now;
 *  - a GPU that fails for good (it fell off the bus, or every further call would fail) is lost, for
 *    ever: whatever is submitted there later, and what is under way unless it just made it,
 *    completes with ACTION_GPU_LOST. lost_count() has counted it before the first of these comes
 * out of poll(). The others go on;
 *  - while models are served it allocates nothing and never blocks in submit() or poll();
 *  - nothing here aborts on what a package, a path or an input contains.
 *
 * Thread: all calls from the one thread that owns the backend; a backend with threads of its own
 * calls `notify` (see backend_config) from any of them when poll() has something new.
 */
#ifndef CLOCKWORK_BACKEND_BACKEND_H
#define CLOCKWORK_BACKEND_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/time.h"
#include "model/model.h"
#include "model/status.h"

enum backend_engine {
  BACKEND_ENGINE_LOAD,
  BACKEND_ENGINE_INPUT,
  BACKEND_ENGINE_EXECUTE,
  BACKEND_ENGINE_OUTPUT,
  BACKEND_ENGINES,
};

/* "load", "input", "execute", "output"; never NULL, static storage. For messages and metrics. */
const char *backend_engine_text(enum backend_engine engine);

/* Of backend_gpu.lost_reason. */
enum { BACKEND_LOST_REASON_BYTES = 96 };

struct backend_gpu {
  char name[64];            /* NUL terminated */
  uint32_t pages;           /* of MODEL_PAGE_BYTES, for weights */
  uint64_t io_bytes;        /* for inputs and outputs of batches under way */
  uint64_t workspace_bytes; /* for intermediate results */
  uint32_t clock_mhz;       /* now */
  bool is_lost;
  char lost_reason[BACKEND_LOST_REASON_BYTES]; /* is_lost: why, in a few words; else "". NUL
                                                  terminated */
};

/* The bytes of one batch. Owned by who submits; must stay until the INFER's last completion. */
struct backend_io {
  /* One pointer per request of the batch, each to input_bytes; NULL, or single NULL entries: the
   * backend makes up that input itself. */
  const void *const *inputs;
  /* batch_size x output_bytes, one after another; NULL: outputs are not wanted. */
  void *outputs;
};

struct backend_command {
  uint64_t command_id; /* chosen by the submitter, returned in the completion */
  enum backend_engine engine;
  uint32_t gpu_index;
  uint32_t model_id;
  uint32_t batch_size;         /* INPUT, EXECUTE, OUTPUT */
  uint32_t io_slot;            /* INPUT, EXECUTE, OUTPUT: which of the GPU's batches under way,
                                  0 .. BACKEND_IO_SLOTS - 1; the same for the three of one INFER */
  const uint32_t *pages;       /* LOAD: the pages to fill, weights_pages of them; the submitter's,
                                  valid until the completion */
  const struct backend_io *io; /* INPUT, OUTPUT */
};

/* Of backend_loaded_model.reason. */
enum { BACKEND_REASON_BYTES = 256 };

/* Batches of one GPU that may be between INPUT and OUTPUT at once: one being copied in, one
 * executing, one being copied out, and one in reserve so that no engine waits for a slot. */
enum { BACKEND_IO_SLOTS = 4 };

struct backend_completion {
  uint64_t command_id;
  enum action_status status;
  struct instant begin;
  struct instant end;
  uint32_t clock_before_mhz;
  uint32_t clock_after_mhz;
};

/* Asks for `copies` instances of the package at `path`, as model ids first_model_id, +1, ... */
struct backend_load_model {
  uint64_t job_id; /* returned in backend_loaded_model */
  uint32_t first_model_id;
  uint32_t copies;
  char path[MODEL_PATH_BYTES]; /* NUL terminated */
  uint32_t max_batch;          /* leave out batch sizes above; 0: all */
  struct duration max_execute; /* leave out batch sizes that take longer, never batch 1; 0: all */
};

struct backend_loaded_model {
  uint64_t job_id;
  enum action_status status; /* ACTION_SUCCESS, ACTION_INVALID_MODEL_PATH, ACTION_RUNTIME_ERROR,
                                ACTION_INVALID_MODEL_ID (no copies, or an id is taken or too large;
                                then none of them is loaded), ACTION_GPU_LOST (no GPU is left; one
                                that is lost is no reason to fail) */
  struct model_spec spec;    /* on success: with measured durations */
  char reason[BACKEND_REASON_BYTES]; /* on failure: one line that names the file and the mend; ""
                                        where the status says all. NUL terminated */
};

/* The operations of one kind of backend. `self` is the backend's own state. All are required. */
struct backend_ops {
  const char *name; /* "emulated", "cpu", "cuda" */

  uint32_t (*gpus_count)(const void *self);

  /* gpu_index < gpus_count (CHECK). */
  void (*gpu)(const void *self, uint32_t gpu_index, struct backend_gpu *ret_gpu);

  /* How many GPUs are lost. A backend with threads of its own calls notify when it grows. */
  uint32_t (*lost_count)(const void *self);

  /* Begin to load a model into host memory and measure it; answered through poll_loaded(). May take
   * seconds of background work, which must not disturb commands under way. ERR_FULL: too many jobs
   * or models at once; then nothing was begun. */
  enum err (*load_model)(void *self, struct instant now, const struct backend_load_model *job);

  /* At most `capacity` finished jobs; returns how many. */
  uint32_t (*poll_loaded)(void *self, struct instant now, struct backend_loaded_model *ret_loaded,
                          uint32_t capacity);

  /* The engine must be idle and the model loaded (CHECK); the command is copied. A LOAD that fails
   * leaves its pages as if evicted. A lost GPU takes commands, too, and answers them. */
  void (*submit)(void *self, struct instant now, const struct backend_command *command);

  /* Release the pages of `model_id` on this GPU: a later LOAD may fill them. Never called while an
   * EXECUTE of that instance is under way. */
  void (*evict)(void *self, struct instant now, uint32_t gpu_index, uint32_t model_id,
                const uint32_t *pages, uint32_t pages_count);

  /* At most `capacity` completions with end <= now, in order of end; returns how many. */
  uint32_t (*poll)(void *self, struct instant now, struct backend_completion *ret_completions,
                   uint32_t capacity);

  /* When poll() or poll_loaded() will next have something; INSTANT_NEVER if that is not known ahead
   * (a real device: it calls notify instead) or nothing is under way. */
  struct instant (*wakeup)(const void *self);

  void (*destroy)(void *self); /* accepts NULL */
};

struct backend {
  const struct backend_ops *ops;
  void *self;
};

#endif
