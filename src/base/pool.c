#include "base/pool.h"

#include <string.h>

#include "base/check.h"

static struct pool_slot *slot_at(const struct pool *pool, uint32_t index) {
  return (struct pool_slot *)(void *)(pool->slots + (size_t)index * pool->slot_bytes);
}

void pool_init(struct pool *pool, struct arena *arena, uint32_t capacity, size_t object_bytes) {
  CHECK_LT(capacity, UINT32_MAX);
  object_bytes = (object_bytes + 7) / 8 * 8;
  *pool = (struct pool){.slot_bytes = sizeof(struct pool_slot) + object_bytes,
                        .object_bytes = object_bytes,
                        .capacity = capacity};
  pool->slots = arena_take(arena, capacity, pool->slot_bytes);
}

void *pool_take(struct pool *pool) {
  uint32_t index = pool->used_count;
  if (pool->free_link != 0) {
    index = pool->free_link - 1;
  } else if (pool->used_count < pool->capacity) {
    pool->used_count++;
  } else {
    return NULL;
  }
  struct pool_slot *slot = slot_at(pool, index);
  pool->free_link = slot->link;
  slot->link = index + 1;
  slot->generation++;
  if (slot->generation == 0) {
    slot->generation = 1; /* so that an id is never 0 */
  }
  pool->taken_count++;
  memset(slot + 1, 0, pool->object_bytes);
  return slot + 1;
}

/* The slot of a taken object of this pool. */
static struct pool_slot *slot_of(const struct pool *pool, const void *object) {
  const struct pool_slot *slot = (const struct pool_slot *)object - 1;
  const size_t offset = (size_t)((const unsigned char *)slot - pool->slots);
  CHECK(offset < pool->slot_bytes * pool->capacity);
  CHECK_EQ(offset + pool->slot_bytes, slot->link * pool->slot_bytes);
  return slot_at(pool, slot->link - 1);
}

uint32_t pool_index(const struct pool *pool, const void *object) {
  return slot_of(pool, object)->link - 1;
}

void pool_give(struct pool *pool, void *object) {
  struct pool_slot *slot = slot_of(pool, object);
  const uint32_t link = slot->link;
  slot->link = pool->free_link;
  pool->free_link = link;
  pool->taken_count--;
}

uint64_t pool_id(const struct pool *pool, const void *object) {
  const struct pool_slot *slot = slot_of(pool, object);
  return (uint64_t)slot->generation << 32 | (slot->link - 1);
}

void *pool_at(const struct pool *pool, uint32_t index) {
  if (index >= pool->capacity) {
    return NULL;
  }
  struct pool_slot *slot = slot_at(pool, index);
  return slot->link == index + 1 ? slot + 1 : NULL;
}

void *pool_find(const struct pool *pool, uint64_t id) {
  void *object = pool_at(pool, (uint32_t)id);
  return object != NULL && ((struct pool_slot *)object - 1)->generation == (uint32_t)(id >> 32)
             ? object
             : NULL;
}
