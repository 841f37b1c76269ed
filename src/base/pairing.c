#include "base/pairing.h"

#include "base/check.h"

static bool node_before(const struct pairing_node *a, const struct pairing_node *b) {
  return a->key != b->key ? a->key < b->key : a->tie < b->tie;
}

/* One heap of two, of nodes that have no siblings. */
static struct pairing_node *meld(struct pairing_node *a, struct pairing_node *b) {
  if (a == NULL || b == NULL) {
    return a == NULL ? b : a;
  }
  struct pairing_node *first = node_before(a, b) ? a : b;
  struct pairing_node *second = first == a ? b : a;
  second->previous = first;
  second->next = first->child;
  if (second->next != NULL) {
    second->next->previous = second;
  }
  first->child = second;
  return first;
}

/* One heap of a row of siblings: in pairs from left to right, then all from right to left. */
static struct pairing_node *meld_siblings(struct pairing_node *first) {
  struct pairing_node *pairs = NULL; /* the last of them first, linked by `next` */
  while (first != NULL) {
    struct pairing_node *a = first;
    struct pairing_node *b = a->next;
    first = b == NULL ? NULL : b->next;
    a->next = NULL;
    if (b != NULL) {
      b->next = NULL;
    }
    struct pairing_node *pair = meld(a, b);
    pair->next = pairs;
    pairs = pair;
  }
  struct pairing_node *all = NULL;
  while (pairs != NULL) {
    struct pairing_node *pair = pairs;
    pairs = pair->next;
    pair->next = NULL;
    all = meld(all, pair);
  }
  if (all != NULL) {
    all->previous = NULL;
  }
  return all;
}

void pairing_insert(struct pairing *heap, struct pairing_node *node, int64_t key, uint64_t tie) {
  CHECK(!node->is_linked);
  CHECK(tie <= PAIRING_TIE_MAX);
  *node = (struct pairing_node){.key = key, .tie = tie & PAIRING_TIE_MAX, .is_linked = true};
  heap->first = meld(heap->first, node);
  heap->count++;
}

void pairing_remove(struct pairing *heap, struct pairing_node *node) {
  CHECK(node->is_linked);
  struct pairing_node *behind = meld_siblings(node->child);
  if (heap->first == node) {
    heap->first = behind;
  } else {
    struct pairing_node *previous = node->previous;
    if (previous->child == node) {
      previous->child = node->next;
    } else {
      previous->next = node->next;
    }
    if (node->next != NULL) {
      node->next->previous = previous;
    }
    heap->first = meld(heap->first, behind);
  }
  node->child = node->next = node->previous = NULL;
  node->is_linked = false;
  heap->count--;
}
