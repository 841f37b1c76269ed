/* A fixed number of equal objects, handed out and taken back in O(1). Full is an answer, not
 * growth.
 *
 * Objects are named by index, so that an id can be made of (index, generation) and a stale id be
 * recognised: every take gives the slot a new generation. What the pool knows of a slot stands
 * right before its object: who looks at the object has it in the cache.
 */
#ifndef CLOCKWORK_BASE_POOL_H
#define CLOCKWORK_BASE_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/check.h"
#include "base/prefetch.h"

struct pool_slot {
  uint32_t link; /* taken: its own index + 1; free: the next free slot's, 0 if there is none */
  uint32_t generation; /* how often it was taken */
};

struct pool {
  unsigned char *slots; /* a struct pool_slot and an object each */
  size_t slot_bytes;
  size_t object_bytes;
  uint32_t capacity;
  uint32_t taken_count;
  uint32_t used_count; /* slots from here on were never taken: their memory is untouched */
  uint32_t free_link;  /* as of a free slot: the one that was given back last */
};

/* Objects are aligned to 8 bytes; with 56 of them a slot is a cache line, larger slots are whole
 * lines. */
void pool_init(struct pool *pool, struct arena *arena, uint32_t capacity, size_t object_bytes);

/* A zeroed object, or NULL when all are taken. */
void *pool_take(struct pool *pool);

void pool_give(struct pool *pool, void *object);

/* [private] */
static inline struct pool_slot *pool_slot_at(const struct pool *pool, uint32_t index) {
  return (struct pool_slot *)(void *)(pool->slots + (size_t)index * pool->slot_bytes);
}

/* [private] The slot of a taken object of this pool (CHECK). */
static inline struct pool_slot *pool_slot_of(const struct pool *pool, const void *object) {
  const struct pool_slot *slot = (const struct pool_slot *)object - 1;
  CHECK_LT(slot->link - 1, pool->capacity);
  CHECK(pool_slot_at(pool, slot->link - 1) == slot);
  return pool_slot_at(pool, slot->link - 1);
}

/* Of a taken object (CHECK). */
static inline uint32_t pool_index(const struct pool *pool, const void *object) {
  return pool_slot_of(pool, object)->link - 1;
}

/* A 64-bit name of a taken object that no later object of this pool has: generation in the upper
 * half, index in the lower. Never 0. */
static inline uint64_t pool_id(const struct pool *pool, const void *object) {
  const struct pool_slot *slot = pool_slot_of(pool, object);
  return (uint64_t)slot->generation << 32 | (slot->link - 1);
}

/* The object at `index`, NULL if that slot is free. */
static inline void *pool_at(const struct pool *pool, uint32_t index) {
  if (index >= pool->capacity) {
    return NULL;
  }
  struct pool_slot *slot = pool_slot_at(pool, index);
  return slot->link == index + 1 ? slot + 1 : NULL;
}

/* The object of that name; NULL if it was given back since, or never was. */
static inline void *pool_find(const struct pool *pool, uint64_t id) {
  void *object = pool_at(pool, (uint32_t)id);
  return object != NULL && ((struct pool_slot *)object - 1)->generation == (uint32_t)(id >> 32)
             ? object
             : NULL;
}

/* What a look at that name will touch, `object_bytes` of it (base/prefetch.h). */
static inline void pool_expect(const struct pool *pool, uint64_t id, size_t object_bytes) {
  if ((uint32_t)id < pool->capacity) {
    prefetch(pool_slot_at(pool, (uint32_t)id), sizeof(struct pool_slot) + object_bytes);
  }
}

#endif
