/* Memory for modules under test, from the heap, so that ASan sees a step outside. */
#ifndef CLOCKWORK_TESTS_SUPPORT_MEMORY_H
#define CLOCKWORK_TESTS_SUPPORT_MEMORY_H

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/check.h"

/* 64-byte aligned and zeroed, as base/arena.h asks. free() gives it back. */
static inline void *test_memory_take(size_t bytes) {
  const size_t rounded = (bytes + 63) / 64 * 64 + (bytes == 0 ? 64 : 0);
  void *memory = aligned_alloc(64, rounded);
  CHECK(memory != NULL);
  memset(memory, 0, rounded);
  return memory;
}

static inline struct arena test_arena_open(size_t bytes) {
  struct arena arena;
  arena_init(&arena, test_memory_take(bytes), bytes);
  return arena;
}

static inline void test_arena_close(struct arena *arena) {
  free(arena->memory);
  arena->memory = NULL;
}

#endif
