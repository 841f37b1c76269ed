/* A min-heap of intrusive nodes without memory of its own: a pairing heap.
 *
 * Order is (key, tie), so a run repeats exactly whatever the heap's shape. For queues of which only
 * the first is asked for and most members leave from anywhere: insert looks at the first node and
 * no other, where a tree is walked from its root down, a node in another cache line each.
 * Cost: insert O(1), remove O(log n) amortised, first O(1).
 */
#ifndef CLOCKWORK_BASE_PAIRING_H
#define CLOCKWORK_BASE_PAIRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All zero: stands in none. */
struct pairing_node {
  struct pairing_node *child;    /* the first of those behind it */
  struct pairing_node *next;     /* behind the same one */
  struct pairing_node *previous; /* likewise; of the first child: its parent */
  int64_t key;
  uint64_t tie : 63; /* in one word with the bit: a node and three more words are a cache line */
  bool is_linked : 1;
};

#define PAIRING_TIE_MAX (UINT64_MAX >> 1)

/* All zero: empty. */
struct pairing {
  struct pairing_node *first;
  uint32_t count;
};

/* (key, tie) must be unique, `tie` at most PAIRING_TIE_MAX (CHECK); `node` must stand in none. */
void pairing_insert(struct pairing *heap, struct pairing_node *node, int64_t key, uint64_t tie);

/* `node` must stand in this heap. Its key and tie stay readable. */
void pairing_remove(struct pairing *heap, struct pairing_node *node);

#define PAIRING_ENTRY(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

#endif
