/* Homes: each model on one GPU at a time, for policies that place models on demand and no further.
 *
 * A model gets a home with its first queued request: the GPU that holds its weights, else of those
 * with pages enough the one that is home to the fewest models, of equals the one with the fewest
 * queued requests. It keeps the home while it has requests or weights there. When a GPU is lost its
 * models are homeless until homes_settle() finds them another; so are those that came while there
 * was no GPU. What no GPU is large enough for is answered by homes_settle() with
 * REQUEST_CANNOT_START.
 *
 * Pure; state beside the scheduler's. Cost: O(log GPUs) a call; O(GPUs) for a model that is too
 * large for the first choice; O(models at home there) for a lost GPU.
 */
#ifndef CLOCKWORK_SCHEDULER_HOMES_H
#define CLOCKWORK_SCHEDULER_HOMES_H

#include "scheduler/state.h"

struct homes_model {
  struct gpu *gpu;     /* NULL: none */
  struct list of_home; /* in the home's models, or in homes->homeless while requests wait */
  uint32_t queued;
};

struct homes_gpu {
  struct list models; /* of struct homes_model */
  uint32_t models_count;
  uint32_t queued;
  struct heap_node lightness_node; /* in homes->gpus_by_load while it is up */
};

struct homes {
  struct scheduler *scheduler;
  struct homes_model *models; /* by model id */
  struct homes_gpu *gpus;     /* by gpu id */
  struct heap gpus_by_load;
  struct list homeless;
};

void homes_init(struct homes *homes, struct arena *arena, struct scheduler *scheduler);
void homes_on_model_added(struct homes *homes, const struct model *model);

/* Returns the home, or NULL: homes_settle() has to find one. */
struct gpu *homes_on_queued(struct homes *homes, struct model *model);
void homes_on_dequeued(struct homes *homes, const struct model *model);
void homes_on_unloaded(struct homes *homes, const struct residency *residency);
void homes_on_gpu_up(struct homes *homes, struct gpu *gpu);
void homes_on_gpu_lost(struct homes *homes, const struct gpu *gpu);

/* NULL: none yet. */
static inline struct gpu *homes_of(const struct homes *homes, const struct model *model) {
  return homes->models[model->model_id].gpu;
}

/* Find a home for one that lacks it; returns it, or NULL when none can be found now. Only from
 * plan(): it may answer requests. */
struct model *homes_settle(struct homes *homes);

/* CHECK lists and sums. O(models + GPUs). */
void homes_validate(const struct homes *homes);

#endif
