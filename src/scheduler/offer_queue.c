#include "scheduler/offer_queue.h"

#include "base/check.h"
#include "base/prefetch.h"

enum { GROUP = OFFER_QUEUE_GROUP, GROUPS = OFFER_QUEUE_GROUPS, PLACES = OFFER_QUEUE_PLACES };

void offer_queue_init(struct offer_queue *queue) {
  *queue = (struct offer_queue){.first = {.holder = UINT32_MAX}, .first_place = PLACES};
  for (uint32_t i = 0; i < GROUPS; i++) {
    queue->least[i] = INT64_MAX;
  }
  for (uint32_t i = 0; i < PLACES; i++) {
    queue->keys[i] = INT64_MAX;
  }
}

static inline int64_t lesser(int64_t a, int64_t b) {
  return b < a ? b : a;
}

static inline int64_t least_of(const int64_t *keys, uint32_t count) {
  int64_t least = keys[0];
  for (uint32_t i = 1; i < count; i++) {
    least = lesser(least, keys[i]);
  }
  return least;
}

static void set_key(struct offer_queue *queue, uint32_t place, int64_t key) {
  queue->keys[place] = key;
  queue->least[place / GROUP] = least_of(&queue->keys[place / GROUP * GROUP], GROUP);
}

/* PLACES: it stands behind. */
static uint32_t place_of(const struct offer_queue *queue, uint32_t holder, int64_t key) {
  if (holder == queue->first.holder) {
    return queue->first_place;
  }
  for (uint32_t group = 0; group < GROUPS; group++) {
    if (queue->least[group] > key) {
      continue;
    }
    for (uint32_t place = group * GROUP; place < (group + 1) * GROUP; place++) {
      if (queue->keys[place] == key && queue->entries[place].holder == holder) {
        return place;
      }
    }
  }
  return PLACES;
}

static bool is_before_first(const struct offer_queue *queue, int64_t key, uint32_t model_id) {
  return key != queue->first_key ? key < queue->first_key : model_id < queue->first.model_id;
}

static void lead(struct offer_queue *queue, int64_t key, struct offer_queue_entry entry,
                 uint32_t place) {
  queue->first_key = key;
  queue->first = entry;
  queue->first_place = place;
}

static struct offer_queue_entry entry_of(const struct offers *offers,
                                         const struct pairing_node *node) {
  const struct offers_holder *holder = PAIRING_ENTRY(node, const struct offers_holder, offer);
  return (struct offer_queue_entry){.holder = (uint32_t)(holder - offers->holders),
                                    .model_id = (uint32_t)node->tie};
}

static void find_first(struct offer_queue *queue, const struct offers *offers) {
  const int64_t key = least_of(queue->least, GROUPS);
  const struct pairing_node *behind = queue->behind.first;
  lead(queue, INT64_MAX, (struct offer_queue_entry){.holder = UINT32_MAX, .model_id = UINT32_MAX},
       PLACES);
  if (behind != NULL) {
    lead(queue, behind->key, entry_of(offers, behind), PLACES);
  }
  for (uint32_t group = 0; key != INT64_MAX && group < GROUPS; group++) {
    if (queue->least[group] != key) {
      continue;
    }
    for (uint32_t place = group * GROUP; place < (group + 1) * GROUP; place++) {
      if (queue->keys[place] == key &&
          is_before_first(queue, key, queue->entries[place].model_id)) {
        lead(queue, key, queue->entries[place], place);
      }
    }
  }
}

static uint32_t free_place(const struct offer_queue *queue) {
  for (uint32_t i = 0; i < PLACES / 64; i++) {
    if (queue->taken[i] != UINT64_MAX) {
      return i * 64 + (uint32_t)__builtin_ctzll(~queue->taken[i]);
    }
  }
  return PLACES;
}

void offer_queue_insert(struct offer_queue *queue, const struct offers *offers,
                        struct offers_holder *holder, int64_t key, uint32_t model_id) {
  CHECK(!holder->offer.is_linked);
  CHECK_LT(key, INT64_MAX);
  const struct offer_queue_entry entry = {.holder = (uint32_t)(holder - offers->holders),
                                          .model_id = model_id};
  const uint32_t place = free_place(queue);
  if (place == PLACES) {
    pairing_insert(&queue->behind, &holder->offer, key, model_id);
  } else {
    holder->offer = (struct pairing_node){.key = key, .tie = model_id, .is_linked = true};
    queue->taken[place / 64] |= UINT64_C(1) << place % 64;
    queue->entries[place] = entry;
    queue->keys[place] = key;
    queue->least[place / GROUP] = lesser(queue->least[place / GROUP], key);
  }
  if (queue->count++ == 0 || is_before_first(queue, key, model_id)) {
    lead(queue, key, entry, place);
  }
}

void offer_queue_remove(struct offer_queue *queue, const struct offers *offers,
                        struct offers_holder *holder) {
  CHECK(holder->offer.is_linked);
  const uint32_t index = (uint32_t)(holder - offers->holders);
  const uint32_t place = place_of(queue, index, holder->offer.key);
  if (place == PLACES) {
    pairing_remove(&queue->behind, &holder->offer);
  } else {
    holder->offer.is_linked = false;
    queue->taken[place / 64] &= ~(UINT64_C(1) << place % 64);
    set_key(queue, place, INT64_MAX);
  }
  queue->count--;
  if (queue->first.holder == index) {
    find_first(queue, offers);
  }
}

void offer_queue_move(struct offer_queue *queue, const struct offers *offers,
                      struct offers_holder *holder, int64_t key) {
  CHECK(holder->offer.is_linked);
  CHECK_LT(key, INT64_MAX);
  const uint32_t index = (uint32_t)(holder - offers->holders);
  const uint32_t model_id = (uint32_t)holder->offer.tie;
  const uint32_t place = place_of(queue, index, holder->offer.key);
  if (place == PLACES) {
    pairing_remove(&queue->behind, &holder->offer);
    pairing_insert(&queue->behind, &holder->offer, key, model_id);
  } else {
    holder->offer.key = key;
    set_key(queue, place, key);
  }
  if (queue->first.holder == index) {
    find_first(queue, offers);
  } else if (is_before_first(queue, key, model_id)) {
    lead(queue, key, (struct offer_queue_entry){.holder = index, .model_id = model_id}, place);
  }
}

void offer_queue_expect(const struct offer_queue *queue) {
  const uint32_t place = queue->first_place < PLACES ? queue->first_place : 0;
  prefetch(queue->least, sizeof(queue->least));
  prefetch(&queue->keys[place / GROUP * GROUP], PREFETCH_LINE_BYTES);
  prefetch(&queue->entries[place / GROUP * GROUP], PREFETCH_LINE_BYTES);
}

void offer_queue_validate(const struct offer_queue *queue, const struct offers *offers) {
  uint32_t count = queue->behind.count;
  const struct pairing_node *first = queue->behind.first;
  for (uint32_t place = 0; place < PLACES; place++) {
    const bool is_taken = (queue->taken[place / 64] >> place % 64 & 1) != 0;
    CHECK_EQ(is_taken, queue->keys[place] != INT64_MAX);
    CHECK_LE(queue->least[place / GROUP], queue->keys[place]);
    if (is_taken) {
      const struct pairing_node *node = &offers->holders[queue->entries[place].holder].offer;
      CHECK(node->is_linked);
      CHECK_EQ(node->key, queue->keys[place]);
      CHECK_EQ(node->tie, queue->entries[place].model_id);
      if (first == NULL || node->key < first->key ||
          (node->key == first->key && node->tie < first->tie)) {
        first = node;
      }
      count++;
    }
  }
  CHECK_EQ(count, queue->count);
  CHECK(count == 0 || first == &offers->holders[queue->first.holder].offer);
}
