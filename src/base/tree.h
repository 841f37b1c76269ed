/* A sorted set of intrusive nodes, ordered by (key, tie): a treap.
 *
 * For queues from which members leave anywhere and that are walked in order, which a heap can't do.
 * Priorities are a hash of the tie, so the shape is a function of the content alone.
 * Cost: insert and remove O(log n) expected; first, next amortised O(1). No memory of its own.
 */
#ifndef CLOCKWORK_BASE_TREE_H
#define CLOCKWORK_BASE_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All zero: stands in no tree. */
struct tree_node {
  struct tree_node *parent;
  struct tree_node *left;
  struct tree_node *right;
  int64_t key;
  uint64_t tie : 63; /* in one word with the bit: a node and three more words are a cache line */
  bool is_linked : 1;
};

#define TREE_TIE_MAX (UINT64_MAX >> 1)

/* All zero: empty. */
struct tree {
  struct tree_node *root;
  struct tree_node *first; /* kept, because the earliest is asked for on every event */
  struct tree_node *last;
  uint32_t count;
};

/* (key, tie) must be unique in the tree, `tie` at most TREE_TIE_MAX (CHECK). */
void tree_insert(struct tree *tree, struct tree_node *node, int64_t key, uint64_t tie);

/* Its key and tie stay readable. */
void tree_remove(struct tree *tree, struct tree_node *node);

/* In order; NULL at the end. */
struct tree_node *tree_next(const struct tree_node *node);

/* The first node with key >= `key`; NULL if none. */
struct tree_node *tree_at_least(const struct tree *tree, int64_t key);

#define TREE_ENTRY(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

#endif
