#include "base/heap.h"

#include <stddef.h>

#include "base/check.h"

enum { HEAP_ARITY = 4 };

void heap_init(struct heap *heap, struct arena *arena, uint32_t capacity) {
  heap->slots = arena_take(arena, capacity, sizeof(struct heap_slot));
  heap->count = 0;
  heap->capacity = capacity;
}

static bool slot_before(const struct heap_slot *a, const struct heap_slot *b) {
  return a->key != b->key ? a->key < b->key : a->tie < b->tie;
}

static void heap_place(struct heap *heap, uint32_t index, struct heap_slot slot) {
  heap->slots[index] = slot;
  slot.node->position = index + 1;
}

static void heap_sift_up(struct heap *heap, uint32_t index, struct heap_slot slot) {
  while (index > 0) {
    const uint32_t parent = (index - 1) / HEAP_ARITY;
    if (!slot_before(&slot, &heap->slots[parent])) {
      break;
    }
    heap_place(heap, index, heap->slots[parent]);
    index = parent;
  }
  heap_place(heap, index, slot);
}

static void heap_sift_down(struct heap *heap, uint32_t index, struct heap_slot slot) {
  for (;;) {
    const uint64_t first = (uint64_t)index * HEAP_ARITY + 1;
    if (first >= heap->count) {
      break;
    }
    uint32_t best = (uint32_t)first;
    uint32_t end = best + HEAP_ARITY;
    if (end > heap->count) {
      end = heap->count;
    }
    for (uint32_t child = best + 1; child < end; child++) {
      if (slot_before(&heap->slots[child], &heap->slots[best])) {
        best = child;
      }
    }
    if (!slot_before(&heap->slots[best], &slot)) {
      break;
    }
    heap_place(heap, index, heap->slots[best]);
    index = best;
  }
  heap_place(heap, index, slot);
}

void heap_insert(struct heap *heap, struct heap_node *node, int64_t key, uint64_t tie) {
  CHECK_EQ(node->position, 0);
  CHECK_LT(heap->count, heap->capacity);
  const struct heap_slot slot = {.key = key, .tie = tie, .node = node};
  heap->count++;
  heap_sift_up(heap, heap->count - 1, slot);
}

/* Put `slot` where the hole at `index` is, moving it whichever way its key asks. */
static void heap_fill(struct heap *heap, uint32_t index, struct heap_slot slot) {
  if (index > 0 && slot_before(&slot, &heap->slots[(index - 1) / HEAP_ARITY])) {
    heap_sift_up(heap, index, slot);
  } else {
    heap_sift_down(heap, index, slot);
  }
}

void heap_remove(struct heap *heap, struct heap_node *node) {
  CHECK_GT(node->position, 0);
  const uint32_t index = node->position - 1;
  CHECK_LT(index, heap->count);
  CHECK(heap->slots[index].node == node);
  node->position = 0;
  heap->count--;
  if (index != heap->count) {
    heap_fill(heap, index, heap->slots[heap->count]);
  }
}

void heap_set(struct heap *heap, struct heap_node *node, int64_t key, uint64_t tie) {
  if (node->position == 0) {
    heap_insert(heap, node, key, tie);
    return;
  }
  const uint32_t index = node->position - 1;
  CHECK(heap->slots[index].node == node);
  heap_fill(heap, index, (struct heap_slot){.key = key, .tie = tie, .node = node});
}

void heap_discard(struct heap *heap, struct heap_node *node) {
  if (node->position != 0) {
    heap_remove(heap, node);
  }
}
