/* A policy: which model runs next on a GPU that wants work, and which weights go where.
 *
 * One file in policy/ and two lines in policy/registry.c make a policy available to the simulator
 * and the tests; a row in the types of controller/options.c names it on the controller's command
 * line, with its parameters there. A policy keeps its own state beside the scheduler's, in arrays
 * by pool index that it carves at init; file-static state is forbidden.
 *
 * The scheduler calls, in this order, on an event: its own bookkeeping first, then the hook below;
 * plan() comes later, from next_actions(), once per call. Hooks only take notes; plan() acts.
 */
#ifndef CLOCKWORK_SCHEDULER_POLICY_H
#define CLOCKWORK_SCHEDULER_POLICY_H

#include "scheduler/state.h"

struct policy {
  const char *name;    /* "infer4" */
  const char *summary; /* one line for -h */
  /* Whether infer() must hold the deadline guarantee, and hopeless requests are answered when they
   * become hopeless. False for policies that serve late. */
  bool keeps_deadlines;
  enum estimate_rank estimates; /* which of the last measurements its predictions are */

  /* Carve and initialise the state. Also called with a counting arena to learn the size: then every
   * arena_take() returns NULL, nothing may be written, and the result is ignored. `scheduler` has
   * its config set, nothing else. */
  void *(*init)(struct arena *arena, struct scheduler *scheduler);

  /* [optional] A request for this model comes: prefetch() what the hooks below will touch, in steps
   * as of scheduler_expect_request(). From step 1 on the model is known. */
  void (*expect)(const void *self, const struct model *model, uint32_t step);

  /* [optional] hooks; all notes only. */
  void (*on_model_added)(void *self, struct model *model);
  void (*on_queued)(void *self, struct request *request);   /* it stands in model->queue */
  void (*on_dequeued)(void *self, struct request *request); /* it no longer does */
  /* Nothing could serve it in time; it is about to leave the queue and be answered. */
  void (*on_given_up)(void *self, struct request *request);
  void (*on_loading)(void *self, struct residency *residency);
  void (*on_loaded)(void *self, struct residency *residency);
  /* It leaves (eviction, failed LOAD, lost GPU): no new work for it. */
  void (*on_unloaded)(void *self, struct residency *residency);
  void (*on_gpu_up)(void *self, struct gpu *gpu);
  void (*on_gpu_lost)(void *self, struct gpu *gpu); /* after on_unloaded() of all it held */
  /* An action of this GPU ended: its predicted times changed, a LOAD slot may be free. */
  void (*on_gpu_progress)(void *self, struct gpu *gpu);

  /* Give out work through the functions below, until there is none or policy_has_room() is false.
   */
  void (*plan)(void *self);

  /* When plan() wants to be called again if nothing happens. */
  struct instant (*wakeup)(const void *self);

  /* [optional] CHECK its own books. For tests: O(everything). */
  void (*validate)(const void *self);
};

/* All policies, ended by NULL. */
extern const struct policy *const policy_registry[];

/* NULL if there is none of that name. */
const struct policy *policy_find(const char *name);

/* ---- what a policy may do ---------------------------------------------------------------------
 */

/* Whether next_actions() can take `count` more actions in this call. */
bool policy_has_room(const struct scheduler *scheduler, uint32_t count);

/* Run these queued requests of residency->model as one batch of model->spec.batch_sizes[kind];
 * count <= batch size; the residency is LOADED. They leave the queue. With keeps_deadlines the
 * estimate must fit every target (CHECK). False: the GPU has too many actions under way. */
bool policy_infer(struct scheduler *scheduler, struct residency *residency, uint32_t kind,
                  struct request *const *requests, uint32_t count);

/* Load model onto gpu, which does not hold it; a LOAD slot must be free (CHECK). Evicts least
 * recently used weights first if pages lack: those with no work under way whose model `may_evict`
 * allows (NULL: all). Returns the new residency, or NULL: room can't be made now. Then nothing was
 * done, except for a model that takes more evictions than a GPU may have actions: those that could
 * be sent are, and it can be tried again when their results come. */
struct residency *policy_load(struct scheduler *scheduler, struct model *model, struct gpu *gpu,
                              bool (*may_evict)(const void *self, const struct residency *victim),
                              const void *self);

/* Evict idle LOADED or UNWANTED weights (CHECK). False: the GPU has too many actions under way. */
bool policy_evict(struct scheduler *scheduler, struct residency *residency);

/* Answer a queued request without running it. */
void policy_answer(struct scheduler *scheduler, struct request *request,
                   enum request_result result);

/* How long that batch kind takes on that GPU, at its present clock. */
struct duration policy_estimate(const struct model *model, uint32_t kind, const struct gpu *gpu);

#endif
