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

/* Objects are aligned to 8 bytes; with 56 of them a slot is a cache line. */
void pool_init(struct pool *pool, struct arena *arena, uint32_t capacity, size_t object_bytes);

/* A zeroed object, or NULL when all are taken. */
void *pool_take(struct pool *pool);

void pool_give(struct pool *pool, void *object);

/* Of a taken object (CHECK). */
uint32_t pool_index(const struct pool *pool, const void *object);

/* A 64-bit name of a taken object that no later object of this pool has: generation in the upper
 * half, index in the lower. Never 0. */
uint64_t pool_id(const struct pool *pool, const void *object);

/* The object of that name; NULL if it was given back since, or never was. */
void *pool_find(const struct pool *pool, uint64_t id);

/* The object at `index`, NULL if that slot is free. */
void *pool_at(const struct pool *pool, uint32_t index);

#endif
