/* A doubly linked list of intrusive nodes: O(1) everything, no memory of its own. */
#ifndef CLOCKWORK_BASE_LIST_H
#define CLOCKWORK_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

/* Both the list's head and a member. A member that stands in no list has next == NULL. */
struct list {
  struct list *next;
  struct list *previous;
};

static inline void list_init(struct list *head) {
  head->next = head;
  head->previous = head;
}

static inline bool list_is_empty(const struct list *head) {
  return head->next == head;
}

static inline bool list_is_linked(const struct list *node) {
  return node->next != NULL;
}

static inline void list_insert_before(struct list *at, struct list *node) {
  node->next = at;
  node->previous = at->previous;
  at->previous->next = node;
  at->previous = node;
}

static inline void list_append(struct list *head, struct list *node) {
  list_insert_before(head, node);
}

static inline void list_prepend(struct list *head, struct list *node) {
  list_insert_before(head->next, node);
}

static inline void list_remove(struct list *node) {
  node->next->previous = node->previous;
  node->previous->next = node->next;
  node->next = NULL;
  node->previous = NULL;
}

/* NULL when empty. */
static inline struct list *list_first(const struct list *head) {
  return list_is_empty(head) ? NULL : head->next;
}

#define LIST_ENTRY(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

#endif
