/* A fixed number of equal objects, handed out and taken back in O(1). Full is an answer, not
 * growth.
 *
 * Objects are named by index, so that an id can be made of (index, generation) and a stale id be
 * recognised: every take gives the slot a new generation.
 */
#ifndef CLOCKWORK_BASE_POOL_H
#define CLOCKWORK_BASE_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

#define POOL_NONE UINT32_MAX

struct pool {
  unsigned char *objects;
  uint32_t *next_free;  /* per slot: the next free slot, or POOL_TAKEN_ */
  uint32_t *generation; /* per slot: how often it was taken */
  size_t object_bytes;
  uint32_t capacity;
  uint32_t taken_count;
  uint32_t first_free;
};

void pool_init(struct pool *pool, struct arena *arena, uint32_t capacity, size_t object_bytes);

/* A zeroed object, or NULL when all are taken. */
void *pool_take(struct pool *pool);

void pool_give(struct pool *pool, void *object);

uint32_t pool_index(const struct pool *pool, const void *object);

/* A 64-bit name of a taken object that no later object of this pool has: generation in the upper
 * half, index in the lower. Never 0. */
uint64_t pool_id(const struct pool *pool, const void *object);

/* The object of that name; NULL if it was given back since, or never was. */
void *pool_find(const struct pool *pool, uint64_t id);

/* The object at `index`, NULL if that slot is free. */
void *pool_at(const struct pool *pool, uint32_t index);

#endif
