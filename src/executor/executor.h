/* The worker's brain: decides what its GPUs' engines do next and refuses what comes too late.
 *
 * Guarantees:
 *  - an action starts inside its window [earliest, latest] or is refused with a status that says
 * so; it is never run late. The window of an INFER is that of its execution; its input may be
 *    copied up to EXECUTOR_INPUT_LEAD earlier;
 *  - every accepted action gives exactly one result;
 *  - pages are never overcommitted, no page belongs to two models, weights in use (being loaded or
 *    executing) are never evicted, weights that are not wholly there are never executed;
 *  - of the actions of one kind that wait for the same engine of a GPU, the one with the smallest
 *    (earliest, arrival) goes next: nothing else reorders them. Evictions go before loads;
 *  - nothing is allocated after init; every queue has a limit, a full one is a refusal.
 *
 * What a refusal says (model/status.h), in the order of the checks:
 *  - at once: 12 unknown type, 3 shutting down, 13 no such GPU, 14 GPU lost, 52 62 72 no such
 * model, 12 earliest after latest, 31 no such batch size, 76 more input and output than the whole
 * IO pool, 51 61 71 `latest` has passed;
 *  - when its turn comes: LOAD 21 already there, 54 being loaded right now, 53 too few pages free;
 *    EVICT 63 not there, 22 being loaded or executing; INFER 82 weights not wholly there;
 *  - when `latest` passes (wakeup() covers it, 1 ns after): 51, 61, and for an INFER 71 while its
 * input waits to be copied (76 if that is for lack of IO memory), else 81. An input that is being
 *    copied then is answered when the copy ends, because its buffers are in use;
 *  - on shutdown: 3; when its GPU is lost: 14. A step that fails in the backend passes its status
 * on.
 *
 * Pure: time comes in, commands go out. The shell moves actions in, commands to the backend,
 * completions back, and results out:
 *
 *   on_action / on_completion  ->  next_commands (to backend.submit) -> next_results (to the wire)
 *
 * Thread: one owner. Cost of each call: O(log actions) per action or completion handled.
 */
#ifndef CLOCKWORK_EXECUTOR_EXECUTOR_H
#define CLOCKWORK_EXECUTOR_EXECUTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/backend.h"
#include "base/time.h"
#include "model/model.h"
#include "model/status.h"

/* An input may be copied this long before its execution's window opens: copying 16 images takes
 * under 1 ms on PCIe 3, so the execution engine need not wait for it. */
#define EXECUTOR_INPUT_LEAD duration_ms(10)

struct executor_limits {
  uint32_t models;  /* model ids are below this */
  uint32_t loads;   /* of models into host memory, copies together; 0: as many as models */
  uint32_t actions; /* accepted and without result yet, all GPUs together */
  uint32_t gpus;
  uint32_t pages_per_gpu; /* the largest of the GPUs */
};

struct executor_action {
  uint64_t action_id;
  enum action_type type;
  uint32_t gpu_index;
  uint32_t model_id;
  uint32_t batch_size; /* INFER */
  struct instant earliest;
  struct instant latest;
  struct backend_io io; /* INFER; pointers stay the shell's and valid until the result */
};

/* What the shell hands to the backend: either a command for an engine (submit) or an eviction. */
struct executor_command {
  bool is_evict;
  struct backend_command command; /* is_evict: only gpu_index, model_id and pages hold, the pages
                                     until the next call of executor_next_commands() */
  uint32_t pages_count;           /* is_evict */
};

/* One step of an action on an engine; begin = end = 0 if it did not happen. */
struct executor_step {
  struct instant begin;
  struct instant end;
};

struct executor_result {
  uint64_t action_id;
  enum action_type type;
  enum action_status status;
  uint32_t gpu_index;
  uint32_t model_id;
  uint32_t batch_size;
  struct executor_step input;  /* INFER */
  struct executor_step run;    /* LOAD: the transfer; INFER: the execution; EVICT: the moment */
  struct executor_step output; /* INFER */
  uint32_t clock_before_mhz;
  uint32_t clock_after_mhz;
};

struct executor;

/* How many bytes executor_init() needs for these limits. */
size_t executor_bytes(const struct executor_limits *limits);

/* `memory` (64-byte aligned, all zero, executor_bytes()) stays the caller's. `gpus`: gpus_count
 * descriptions, copied. GPUs may differ in size. */
struct executor *executor_init(void *memory, const struct executor_limits *limits,
                               const struct backend_gpu *gpus, uint32_t gpus_count);

/* The backend holds these instances in host memory from now on. False: there are none, an id is out
 * of range or taken, the spec is not valid, or it is one load more than limits.loads. */
bool executor_on_model_loaded(struct executor *executor, uint32_t first_model_id, uint32_t copies,
                              const struct model_spec *spec);

/* Take the action in, or answer it at once: either way its result comes out of next_results().
 * False only when `limits.actions` are outstanding: nothing was taken, the shell answers with
 * ACTION_RUNTIME_ERROR. Anything may stand in the fields. */
bool executor_on_action(struct executor *executor, struct instant now,
                        const struct executor_action *action);

/* A command of this executor finished. An unknown command id is a bug of the backend (CHECK). With
 * ACTION_GPU_LOST its GPU is lost, as with executor_on_gpu_lost(). */
void executor_on_completion(struct executor *executor, struct instant now,
                            const struct backend_completion *completion);

/* A hint: a command of that engine will end soon. Memory that its completion will touch begins to
 * come (base/prefetch.h). No effect on anything but time. `gpu_index` < GPUs (CHECK). */
void executor_expect_completion(const struct executor *executor, uint32_t gpu_index,
                                enum backend_engine engine);

/* Commands to submit to the backend now, evictions included; returns how many of `capacity`. Call
 * until it returns less than capacity, and hand them over in this order: an eviction may make room
 * for the load after it. A command's engine is idle. */
uint32_t executor_next_commands(struct executor *executor, struct instant now,
                                struct executor_command *ret_commands, uint32_t capacity);

/* Results that are ready; returns how many of `capacity`. */
uint32_t executor_next_results(struct executor *executor, struct executor_result *ret_results,
                               uint32_t capacity);

/* When next_commands() must be called again if nothing else happens: a window opens or closes.
 * INSTANT_NEVER if nothing waits for time, INSTANT_ZERO if it should be called at once. O(1). */
struct instant executor_wakeup(const struct executor *executor);

/* Refuse all that has not started, with ACTION_SHUTTING_DOWN; what runs completes. */
void executor_on_shutdown(struct executor *executor);

/* That GPU is lost for good. What waits for it is refused with ACTION_GPU_LOST, and so is whatever
 * comes for it later; what runs is answered when the backend says so. Its weights and pages count
 * for nothing from now on, and no command for it comes out of next_commands(). A second call has no
 * effect. `gpu_index` < GPUs (CHECK). */
void executor_on_gpu_lost(struct executor *executor, uint32_t gpu_index);

/* Evict all weights that are not in use (the ClearCache action); returns how many pages were freed.
 * Evictions come out of next_commands(). O(pages of all GPUs). */
uint32_t executor_on_clear_cache(struct executor *executor, struct instant now);

/* Of a lost GPU all counts are 0. */
struct executor_gpu_state {
  bool is_lost;
  uint32_t pages_total;
  uint32_t pages_free;      /* free now, or with the next evictions out of next_commands() */
  uint32_t models_resident; /* wholly loaded */
};

void executor_gpu_state(const struct executor *executor, uint32_t gpu_index,
                        struct executor_gpu_state *ret_state);

/* Whether that instance's weights are wholly on that GPU. */
bool executor_is_resident(const struct executor *executor, uint32_t gpu_index, uint32_t model_id);

/* NULL if no such model is loaded. */
const struct model_spec *executor_model(const struct executor *executor, uint32_t model_id);

/* Walk everything and CHECK the guarantees above. For tests: O(models x GPUs + actions). */
void executor_validate(const struct executor *executor);

#endif
