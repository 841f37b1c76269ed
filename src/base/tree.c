#include "base/tree.h"

#include "base/check.h"
#include "base/prng.h"

static bool node_before(const struct tree_node *a, const struct tree_node *b) {
  return a->key != b->key ? a->key < b->key : a->tie < b->tie;
}

static bool node_outranks(const struct tree_node *a, const struct tree_node *b) {
  return prng_mix(a->tie) > prng_mix(b->tie);
}

/* Where the pointer to `node` is kept: in its parent or in the tree. */
static struct tree_node **node_slot(struct tree *tree, const struct tree_node *node) {
  if (node->parent == NULL) {
    return &tree->root;
  }
  return node->parent->left == node ? &node->parent->left : &node->parent->right;
}

/* Lift `node` over its parent, keeping the order. */
static void node_rotate_up(struct tree *tree, struct tree_node *node) {
  struct tree_node *parent = node->parent;
  *node_slot(tree, parent) = node;
  node->parent = parent->parent;
  parent->parent = node;
  if (parent->left == node) {
    parent->left = node->right;
    if (parent->left != NULL) {
      parent->left->parent = parent;
    }
    node->right = parent;
  } else {
    parent->right = node->left;
    if (parent->right != NULL) {
      parent->right->parent = parent;
    }
    node->left = parent;
  }
}

void tree_insert(struct tree *tree, struct tree_node *node, int64_t key, uint64_t tie) {
  CHECK(!node->is_linked);
  CHECK(tie <= TREE_TIE_MAX);
  *node = (struct tree_node){.key = key, .tie = tie & TREE_TIE_MAX, .is_linked = true};
  tree->count++;
  if (tree->root == NULL) {
    tree->root = tree->first = tree->last = node;
    return;
  }
  /* Most arrivals have the latest deadline so far: go straight to the end. */
  struct tree_node *at = tree->root;
  if (node_before(tree->last, node)) {
    at = tree->last;
  }
  for (;;) {
    CHECK(at->key != key || at->tie != tie);
    struct tree_node **child = node_before(node, at) ? &at->left : &at->right;
    if (*child == NULL) {
      *child = node;
      node->parent = at;
      break;
    }
    at = *child;
  }
  if (node_before(node, tree->first)) {
    tree->first = node;
  }
  if (node_before(tree->last, node)) {
    tree->last = node;
  }
  while (node->parent != NULL && node_outranks(node, node->parent)) {
    node_rotate_up(tree, node);
  }
}

static struct tree_node *node_previous(const struct tree_node *node) {
  if (node->left != NULL) {
    struct tree_node *at = node->left;
    while (at->right != NULL) {
      at = at->right;
    }
    return at;
  }
  while (node->parent != NULL && node->parent->left == node) {
    node = node->parent;
  }
  return node->parent;
}

struct tree_node *tree_next(const struct tree_node *node) {
  if (node->right != NULL) {
    struct tree_node *at = node->right;
    while (at->left != NULL) {
      at = at->left;
    }
    return at;
  }
  while (node->parent != NULL && node->parent->right == node) {
    node = node->parent;
  }
  return node->parent;
}

void tree_remove(struct tree *tree, struct tree_node *node) {
  CHECK(node->is_linked);
  if (tree->first == node) {
    tree->first = tree_next(node);
  }
  if (tree->last == node) {
    tree->last = node_previous(node);
  }
  while (node->left != NULL && node->right != NULL) {
    node_rotate_up(tree, node_outranks(node->left, node->right) ? node->left : node->right);
  }
  struct tree_node *child = node->left != NULL ? node->left : node->right;
  *node_slot(tree, node) = child;
  if (child != NULL) {
    child->parent = node->parent;
  }
  node->parent = node->left = node->right = NULL;
  node->is_linked = false;
  tree->count--;
}

struct tree_node *tree_at_least(const struct tree *tree, int64_t key) {
  struct tree_node *found = NULL;
  struct tree_node *at = tree->root;
  while (at != NULL) {
    if (at->key >= key) {
      found = at;
      at = at->left;
    } else {
      at = at->right;
    }
  }
  return found;
}
