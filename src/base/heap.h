/* A min-heap of intrusive nodes with a total order, in memory of fixed size.
 *
 * Order is (key, tie): equal keys leave in the order of their ties, so a run repeats exactly. Give
 * ties that are unique among the nodes of one heap (an id, a sequence number).
 * Cost: insert, update, remove O(log n); first O(1). No allocation after init.
 * Four children a node and keys beside the pointers: half the cache misses of a binary heap of
 * pointers, and the heaps here are consulted on every event.
 */
#ifndef CLOCKWORK_BASE_HEAP_H
#define CLOCKWORK_BASE_HEAP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"

/* Embed one per heap that an object may stand in. All zero: stands in none. */
struct heap_node {
  uint32_t position; /* index in the heap + 1; 0 when in none */
};

struct heap_slot {
  int64_t key;
  uint64_t tie;
  struct heap_node *node;
};

struct heap {
  struct heap_slot *slots;
  uint32_t count;
  uint32_t capacity;
};

void heap_init(struct heap *heap, struct arena *arena, uint32_t capacity);

/* `node` must stand in no heap; `heap` must have room (CHECK). */
void heap_insert(struct heap *heap, struct heap_node *node, int64_t key, uint64_t tie);

/* `node` must stand in this heap. */
void heap_remove(struct heap *heap, struct heap_node *node);

/* Insert, or move to the new key when it already stands here. */
void heap_set(struct heap *heap, struct heap_node *node, int64_t key, uint64_t tie);

/* Remove if it stands here; no effect otherwise. */
void heap_discard(struct heap *heap, struct heap_node *node);

static inline bool heap_contains(const struct heap_node *node) {
  return node->position != 0;
}

/* NULL when empty. */
static inline struct heap_node *heap_first(const struct heap *heap) {
  return heap->count == 0 ? 0 : heap->slots[0].node;
}

/* The key of heap_first(); INT64_MAX when empty. */
static inline int64_t heap_first_key(const struct heap *heap) {
  return heap->count == 0 ? INT64_MAX : heap->slots[0].key;
}

static inline int64_t heap_key(const struct heap *heap, const struct heap_node *node) {
  return heap->slots[node->position - 1].key;
}

/* The object that embeds `node` as `member`. */
#define HEAP_ENTRY(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

#endif
