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

struct offers_holder {
  struct list of_model; /* linked while its residency is LOADED */
  bool is_offered;
  struct residency *residency;
};

struct offers {
  struct scheduler *scheduler;
  struct offers_model *models;   /* by model id */
  struct offers_holder *holders; /* by pool index of the residency */
};

void offers_init(struct offers *offers, struct arena *arena, struct scheduler *scheduler);
void offers_on_model_added(struct offers *offers, const struct model *model);

/* It waits for its turn. */
void offers_on_loaded(struct offers *offers, struct residency *residency);

/* No effect if it was never LOADED; an offer must have been withdrawn (CHECK). */
void offers_on_unloaded(struct offers *offers, const struct residency *residency);

/* From waiting to offered, and back. */
void offers_make(struct offers *offers, const struct residency *residency);
void offers_withdraw(struct offers *offers, const struct residency *residency);

/* The holder that waited longest; NULL if none waits. */
struct residency *offers_next(const struct offers *offers, const struct model *model);

/* Of the next OFFERS that wait the first that `takes_at_once`; NULL if none does. Those passed over
 * go behind the others. O(OFFERS). */
struct residency *offers_next_ready(struct offers *offers, const struct model *model,
                                    bool (*takes_at_once)(const void *self,
                                                          const struct residency *residency),
                                    const void *self);

/* Walk over those that the model is offered to; NULL at the end. */
struct residency *offers_first(const struct offers *offers, const struct model *model);
struct residency *offers_after(const struct offers *offers, const struct residency *residency);

static inline struct offers_holder *offers_holder_of(const struct offers *offers,
                                                     const struct residency *residency) {
  return &offers->holders[pool_index(&offers->scheduler->residencies, residency)];
}

static inline bool offers_is_made(const struct offers *offers, const struct residency *residency) {
  return offers_holder_of(offers, residency)->is_offered;
}

/* CHECK that lists and counts agree with the residencies. O(everything). */
void offers_validate(const struct offers *offers);

#endif
