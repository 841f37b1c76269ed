/* The offers of one GPU, the most urgent first.
 *
 * Order is (key, model id), so a run repeats exactly. Keys stand side by side, and above each eight
 * of them the least: what is inserted, moved or removed touches a few lines of this block and none
 * of the other offers, which lie far from each other in memory. In a heap of linked nodes a removal
 * looks at a dozen of them. Offers that find no place here, because a GPU has very many, stand in
 * such a heap behind it.
 *
 * Pure; state beside struct offers. Cost: O(OFFER_QUEUE_PLACES / 8) a change, of what stands behind
 * O(log offers).
 */
#ifndef CLOCKWORK_SCHEDULER_OFFER_QUEUE_H
#define CLOCKWORK_SCHEDULER_OFFER_QUEUE_H

#include "scheduler/offers.h"

enum {
  OFFER_QUEUE_GROUP = 8,
  OFFER_QUEUE_GROUPS = 16,
  /* With profiles of a V100 a GPU holds a hundred models. */
  OFFER_QUEUE_PLACES = OFFER_QUEUE_GROUP * OFFER_QUEUE_GROUPS,
};

struct offer_queue_entry {
  uint32_t holder; /* its index in offers->holders */
  uint32_t model_id;
};

/* Of a holder that stands here `offer` says key, model id as tie, and that it is linked. */
struct offer_queue {
  _Alignas(64) int64_t first_key;
  struct offer_queue_entry first;          /* of no meaning while count is 0 */
  uint32_t first_place;                    /* OFFER_QUEUE_PLACES: it stands behind */
  uint32_t count;                          /* in all */
  uint64_t taken[OFFER_QUEUE_PLACES / 64]; /* bit per place */
  struct pairing behind;
  int64_t least[OFFER_QUEUE_GROUPS]; /* of the keys of each group */
  int64_t keys[OFFER_QUEUE_PLACES];  /* INT64_MAX: free */
  struct offer_queue_entry entries[OFFER_QUEUE_PLACES];
};

void offer_queue_init(struct offer_queue *queue);

/* `key` < INT64_MAX (CHECK); the holder must stand in none. A model has one offer a GPU. */
void offer_queue_insert(struct offer_queue *queue, const struct offers *offers,
                        struct offers_holder *holder, int64_t key, uint32_t model_id);

/* The holder must stand in this one. Its key and model id stay readable. */
void offer_queue_remove(struct offer_queue *queue, const struct offers *offers,
                        struct offers_holder *holder);

/* The same with another key. */
void offer_queue_move(struct offer_queue *queue, const struct offers *offers,
                      struct offers_holder *holder, int64_t key);

/* NULL if there is none. */
static inline struct offers_holder *offer_queue_first(const struct offer_queue *queue,
                                                      const struct offers *offers) {
  return queue->count == 0 ? NULL : &offers->holders[queue->first.holder];
}

/* prefetch() what a change at the head will touch. */
void offer_queue_expect(const struct offer_queue *queue);

/* CHECK its own books. */
void offer_queue_validate(const struct offer_queue *queue, const struct offers *offers);

#endif
