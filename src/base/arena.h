/* Carving one block of caller memory into parts, at init and never after.
 *
 * An arena opened on NULL counts instead of carving: a module runs the same carve function twice,
 * once to learn its size (`xxx_bytes(limits)`) and once for real, so the two can't disagree.
 */
#ifndef CLOCKWORK_BASE_ARENA_H
#define CLOCKWORK_BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

struct arena {
  unsigned char *memory; /* NULL: count only */
  size_t capacity_bytes;
  size_t used_bytes;
};

/* An arena over `memory`, which stays the caller's, must be aligned to 64 bytes and all zero (fresh
 * from the system): parts that are never used then cost no memory. */
void arena_init(struct arena *arena, void *memory, size_t capacity_bytes);

/* An arena that only counts. */
void arena_init_counting(struct arena *arena);

/* `count` elements of `element_bytes`, aligned to 64 bytes, all zero. Returns NULL only when
 * counting. Running out is a bug of the sizing (CHECK). */
void *arena_take(struct arena *arena, size_t count, size_t element_bytes);

static inline bool arena_is_counting(const struct arena *arena) {
  return arena->memory == NULL;
}

#endif
