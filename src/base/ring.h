/* A queue of fixed capacity whose elements are copied in and out. One thread. */
#ifndef CLOCKWORK_BASE_RING_H
#define CLOCKWORK_BASE_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

struct ring {
  unsigned char *elements;
  size_t element_bytes;
  uint32_t capacity;
  uint32_t count;
  uint32_t first;
};

void ring_init(struct ring *ring, struct arena *arena, uint32_t capacity, size_t element_bytes);

/* False when full: nothing was copied. */
bool ring_push(struct ring *ring, const void *element);

/* False when empty. */
bool ring_pop(struct ring *ring, void *ret_element);

/* The oldest but `index`, in place; NULL past the end. Valid until the next push or pop. */
void *ring_peek(const struct ring *ring, uint32_t index);

#endif
