#include "base/pool.h"

#include <string.h>

#include "base/check.h"

void pool_init(struct pool *pool, struct arena *arena, uint32_t capacity, size_t object_bytes) {
  CHECK_LT(capacity, UINT32_MAX);
  object_bytes = (object_bytes + 7) / 8 * 8;
  size_t slot_bytes = sizeof(struct pool_slot) + object_bytes;
  if (slot_bytes > PREFETCH_LINE_BYTES) {
    slot_bytes = (slot_bytes + PREFETCH_LINE_BYTES - 1) / PREFETCH_LINE_BYTES * PREFETCH_LINE_BYTES;
  }
  *pool =
      (struct pool){.slot_bytes = slot_bytes, .object_bytes = object_bytes, .capacity = capacity};
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
  struct pool_slot *slot = pool_slot_at(pool, index);
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

void pool_give(struct pool *pool, void *object) {
  struct pool_slot *slot = pool_slot_of(pool, object);
  const uint32_t link = slot->link;
  slot->link = pool->free_link;
  pool->free_link = link;
  pool->taken_count--;
}
