#include "base/arena.h"

#include <stdint.h>

#include "base/check.h"

/* A cache line: parts that different threads might one day own never share one. */
enum { ARENA_ALIGN_BYTES = 64 };

void arena_init(struct arena *arena, void *memory, size_t capacity_bytes) {
  CHECK(memory != NULL);
  CHECK_EQ((uintptr_t)memory % ARENA_ALIGN_BYTES, 0);
  *arena = (struct arena){.memory = memory, .capacity_bytes = capacity_bytes};
}

void arena_init_counting(struct arena *arena) {
  /* Half of the range: sizes stay comparable as signed numbers. */
  *arena = (struct arena){.memory = NULL, .capacity_bytes = SIZE_MAX / 2};
}

void *arena_take(struct arena *arena, size_t count, size_t element_bytes) {
  CHECK(element_bytes == 0 || count <= (SIZE_MAX / 2) / element_bytes);
  const size_t bytes =
      (count * element_bytes + ARENA_ALIGN_BYTES - 1) / ARENA_ALIGN_BYTES * ARENA_ALIGN_BYTES;
  CHECK_LE(bytes, arena->capacity_bytes - arena->used_bytes);
  void *part = NULL;
  if (!arena_is_counting(arena)) {
    part = arena->memory + arena->used_bytes;
  }
  arena->used_bytes += bytes;
  return part;
}
