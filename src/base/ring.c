#include "base/ring.h"

#include <string.h>

void ring_init(struct ring *ring, struct arena *arena, uint32_t capacity, size_t element_bytes) {
  *ring = (struct ring){.elements = arena_take(arena, capacity, element_bytes),
                        .element_bytes = element_bytes,
                        .capacity = capacity};
}

static unsigned char *ring_slot(const struct ring *ring, uint32_t index) {
  uint64_t at = (uint64_t)ring->first + index;
  if (at >= ring->capacity) {
    at -= ring->capacity;
  }
  return ring->elements + at * ring->element_bytes;
}

bool ring_push(struct ring *ring, const void *element) {
  if (ring->count == ring->capacity) {
    return false;
  }
  memcpy(ring_slot(ring, ring->count), element, ring->element_bytes);
  ring->count++;
  return true;
}

bool ring_pop(struct ring *ring, void *ret_element) {
  if (ring->count == 0) {
    return false;
  }
  memcpy(ret_element, ring_slot(ring, 0), ring->element_bytes);
  ring->first = ring->first + 1 == ring->capacity ? 0 : ring->first + 1;
  ring->count--;
  return true;
}

void *ring_peek(const struct ring *ring, uint32_t index) {
  return index < ring->count ? ring_slot(ring, index) : NULL;
}
