/* Which of the GPUs that hold a model are asked to run what it has queued.
 *
 * A model's holders (its LOADED weights) are those that it is offered to and those that wait for
 * their turn. Asking only OFFERS of them, and first one that would take the work at once, keeps the
 * cost of a request independent of how many GPUs hold its model (docs/decisions/0001-offers.md).
 * What an offer is worth to its GPU is the policy's business.
 *
 * Pure; state beside the scheduler's. Cost: O(1) a call, O(OFFERS) where said.
 */
#ifndef CLOCKWORK_SCHEDULER_OFFERS_H
#define CLOCKWORK_SCHEDULER_OFFERS_H

#include "base/pairing.h"
#include "scheduler/state.h"

/* In the model cluster of tests/unit/scheduler/test_quality.c two, four and eight make no
 * difference that shows: one choice among several is what counts. Each costs two changes of a tree.
 */
enum { OFFERS = 4 };

/* A cache line: a request looks at it. */
struct offers_model {
  _Alignas(64) struct list offered; /* of struct offers_holder, those longest offered to first */
  struct list waiting;              /* of struct offers_holder, those that waited longest first */
  uint32_t offered_count;
};

/* A cache line, from which a policy can tell what the offer is worth without a look at the
 * residency: its number in the pool is the number here. */
struct offers_holder {
  _Alignas(64) struct pairing_node offer; /* in an order of the policy's for the GPU: is offered */
  struct list of_model;                   /* linked while its residency is LOADED */
  struct gpu *gpu;
};

struct offers {
  struct scheduler *scheduler;
  struct offers_model *models;   /* by model id */
  struct offers_holder *holders; /* by pool index of the residency */
};

void offers_init(struct offers *offers, struct arena *arena, struct scheduler *scheduler);
void offers_on_model_added(struct offers *offers, const struct model *model);

/* prefetch() what a request for this model will touch: in each step, from 0 on, what the step
 * before has led to. From step 1 on the model is known. */
void offers_expect(const struct offers *offers, uint32_t model_id, uint32_t step);

/* It waits for its turn. */
void offers_on_loaded(struct offers *offers, struct residency *residency);

/* No effect if it was never LOADED; an offer must have been withdrawn (CHECK). */
void offers_on_unloaded(struct offers *offers, const struct residency *residency);

/* From waiting to offered, and back. `offer` must stand in no heap; what the policy does with it
 * is between these calls. */
void offers_make(struct offers *offers, const struct model *model, struct offers_holder *holder);
void offers_withdraw(struct offers *offers, const struct model *model,
                     struct offers_holder *holder);

/* The holder that waited longest; NULL if none waits. */
struct offers_holder *offers_next(const struct offers *offers, const struct model *model);

/* Of the next OFFERS that wait the first that `takes_at_once`; NULL if none does. Those passed over
 * go behind the others. O(OFFERS). */
struct offers_holder *offers_next_ready(struct offers *offers, const struct model *model,
                                        bool (*takes_at_once)(const void *self,
                                                              const struct model *model,
                                                              const struct gpu *gpu),
                                        const void *self);

/* Walk over those that the model is offered to; NULL at the end. */
struct offers_holder *offers_first(const struct offers *offers, const struct model *model);
struct offers_holder *offers_after(const struct offers *offers, const struct model *model,
                                   const struct offers_holder *holder);

static inline struct offers_holder *offers_holder_of(const struct offers *offers,
                                                     const struct residency *residency) {
  return &offers->holders[pool_index(&offers->scheduler->residencies, residency)];
}

/* Of a holder that waits or is offered to. */
static inline struct residency *offers_residency_of(const struct offers *offers,
                                                    const struct offers_holder *holder) {
  return pool_at(&offers->scheduler->residencies, (uint32_t)(holder - offers->holders));
}

/* CHECK that lists and counts agree with the residencies. O(everything). */
void offers_validate(const struct offers *offers);

#endif
