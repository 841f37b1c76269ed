#include "base/pool.h"

#include <string.h>

#include "base/check.h"

#define POOL_TAKEN_ (UINT32_MAX - 1)

void pool_init(struct pool *pool, struct arena *arena, uint32_t capacity, size_t object_bytes) {
  CHECK_LT(capacity, POOL_TAKEN_);
  /* Objects keep the alignment of malloc's. */
  object_bytes = (object_bytes + 15) / 16 * 16;
  pool->objects = arena_take(arena, capacity, object_bytes);
  pool->next_free = arena_take(arena, capacity, sizeof(uint32_t));
  pool->generation = arena_take(arena, capacity, sizeof(uint32_t));
  pool->object_bytes = object_bytes;
  pool->capacity = capacity;
  pool->taken_count = 0;
  pool->first_free = capacity == 0 ? POOL_NONE : 0;
  if (arena_is_counting(arena)) {
    return;
  }
  for (uint32_t i = 0; i < capacity; i++) {
    pool->next_free[i] = i + 1 < capacity ? i + 1 : POOL_NONE;
  }
}

void *pool_take(struct pool *pool) {
  const uint32_t index = pool->first_free;
  if (index == POOL_NONE) {
    return NULL;
  }
  pool->first_free = pool->next_free[index];
  pool->next_free[index] = POOL_TAKEN_;
  pool->generation[index]++;
  if (pool->generation[index] == 0) {
    pool->generation[index] = 1; /* so that an id is never 0 */
  }
  pool->taken_count++;
  void *object = pool->objects + (size_t)index * pool->object_bytes;
  memset(object, 0, pool->object_bytes);
  return object;
}

uint32_t pool_index(const struct pool *pool, const void *object) {
  const size_t offset = (size_t)((const unsigned char *)object - pool->objects);
  DCHECK(offset % pool->object_bytes == 0);
  const uint32_t index = (uint32_t)(offset / pool->object_bytes);
  CHECK_LT(index, pool->capacity);
  return index;
}

void pool_give(struct pool *pool, void *object) {
  const uint32_t index = pool_index(pool, object);
  CHECK_EQ(pool->next_free[index], POOL_TAKEN_);
  pool->next_free[index] = pool->first_free;
  pool->first_free = index;
  pool->taken_count--;
}

uint64_t pool_id(const struct pool *pool, const void *object) {
  const uint32_t index = pool_index(pool, object);
  return (uint64_t)pool->generation[index] << 32 | index;
}

void *pool_at(const struct pool *pool, uint32_t index) {
  if (index >= pool->capacity || pool->next_free[index] != POOL_TAKEN_) {
    return NULL;
  }
  return pool->objects + (size_t)index * pool->object_bytes;
}

void *pool_find(const struct pool *pool, uint64_t id) {
  const uint32_t index = (uint32_t)id;
  void *object = pool_at(pool, index);
  return object != NULL && pool->generation[index] == (uint32_t)(id >> 32) ? object : NULL;
}
