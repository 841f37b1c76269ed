/* The executor's state, shared by its own files only.
 *
 * Who changes what: page_cache.c pages; windows.c the waiting queues, expiry and openings;
 * engines.c what runs; executor.c the rest.
 *
 * The life of an action is its stage. It leaves the waiting queues when it starts or is refused,
 * and its slot in the pool when its result is fetched, so `limits.actions` bounds every list here.
 */
#ifndef CLOCKWORK_EXECUTOR_EXECUTOR_PRIVATE_H
#define CLOCKWORK_EXECUTOR_EXECUTOR_PRIVATE_H

#include "base/list.h"
#include "base/pool.h"
#include "base/tournament.h"
#include "base/tree.h"
#include "executor/executor.h"
#include "executor/page_cache.h"
#include "model/ranges.h"

enum pending_stage {
  /* Waiting in the GPU's queue of that number, in the order (earliest, arrival). */
  STAGE_WAIT_EVICT,
  STAGE_WAIT_LOAD,
  STAGE_WAIT_INPUT,
  STAGE_WAIT_EXECUTE,
  STAGE_WAIT_KINDS,
  /* Executed; outputs leave in the order in which executions end. */
  STAGE_WAIT_OUTPUT = STAGE_WAIT_KINDS,
  /* On an engine: STAGE_RUN + enum backend_engine. */
  STAGE_RUN,
  STAGE_DONE = STAGE_RUN + BACKEND_ENGINES,
};

enum { IO_SLOT_NONE = BACKEND_IO_SLOTS };

/* One accepted action. A slot of its pool is three cache lines. */
struct pending {
  struct tree_node
      order; /* in a waiting queue of its GPU, by (earliest, arrival): they stay here */
  struct instant latest;
  uint8_t stage;       /* enum pending_stage */
  uint8_t io_slot;     /* IO_SLOT_NONE: holds neither slot nor io_bytes */
  bool is_short_of_io; /* it was its turn, but the IO pool had no room */
  struct list link;    /* in the GPU's outputs, or in executor.done */
  uint64_t io_bytes;   /* INFER: what it takes of the GPU's IO pool */
  struct executor_result result;
  struct backend_io io;
};

/* By cache lines: the first is what every look at the GPU reads, the second what waits for its
 * transfers, the third what INFERs wait for. */
struct executor_gpu {
  _Alignas(64) struct pending *running[BACKEND_ENGINES];
  struct list dirty; /* in executor.dirty: something may start or be refused */
  uint64_t io_free_bytes;
  uint32_t io_free_slots; /* bit per slot */
  uint8_t waiting_stages; /* bit per stage: whose queue is not empty */
  bool is_lost;
  struct tree waiting[STAGE_WAIT_KINDS];
  struct page_cache cache;
  struct list outputs; /* STAGE_WAIT_OUTPUT */
  uint64_t io_total_bytes;
};

struct executor {
  struct list dirty;
  struct list done;    /* results to fetch */
  struct pool actions; /* struct pending */
  struct executor_gpu *gpus;
  uint32_t gpus_count;
  bool is_shutting_down;
  uint64_t arrivals_count;
  struct tournament expiry;   /* by index in actions, those that wait to start: latest */
  struct tournament openings; /* GPUs, by when a window opens for an idle engine */
  struct model_spec *specs;   /* in the order of the loads; copies share one */
  uint32_t specs_count;
  struct model_ranges spec_of_model; /* index in specs, by model id */
  struct executor_limits limits;
};

/* Of a model that is loaded. */
static inline const struct model_spec *executor_spec(const struct executor *executor,
                                                     uint32_t model_id) {
  return &executor->specs[model_ranges_get(&executor->spec_of_model, model_id)];
}

/* windows.c */

void executor_wait(struct executor *executor, struct pending *pending, enum pending_stage stage);

/* Take `pending` out of its waiting queue, because it starts or is refused. */
void executor_unwait(struct executor *executor, struct pending *pending);

/* The first in a waiting queue; NULL if it is empty. */
struct pending *executor_first_waiting(const struct executor_gpu *gpu, enum pending_stage stage);

/* When the window of a waiting action opens. */
struct instant executor_opening_of(const struct pending *pending);

/* Give the result out. The action must stand in no queue and on no engine. */
void executor_finish(struct executor *executor, struct pending *pending, enum action_status status);

/* Take the waiting action out of its queue and finish it. */
void executor_refuse(struct executor *executor, struct pending *pending, enum action_status status);

void executor_mark_dirty(struct executor *executor, struct executor_gpu *gpu);

/* Refuse what can no longer start and mark the GPUs whose windows have opened. */
void executor_on_time(struct executor *executor, struct instant now);

/* Note when the GPU has to be looked at again. */
void executor_update_opening(struct executor *executor, struct executor_gpu *gpu);

/* Which status says that this action's window has passed. */
enum action_status executor_too_late_status(const struct pending *pending);

/* engines.c */

/* Give back IO slot and bytes, if held. */
void executor_release_io(struct executor *executor, struct pending *pending);

static inline struct executor_gpu *executor_gpu_of(const struct executor *executor,
                                                   const struct pending *pending) {
  return &executor->gpus[pending->result.gpu_index];
}

#endif
