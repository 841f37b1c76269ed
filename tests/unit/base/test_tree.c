#include "base/tree.h"

#include "base/prng.h"
#include "support/cmocka.h"
#include "support/death.h"

enum { ITEMS = 200 };

struct item {
  int before; /* so that TREE_ENTRY has an offset to undo */
  struct tree_node node;
};

static bool comes_before(const struct tree_node *a, const struct tree_node *b) {
  return a->key != b->key ? a->key < b->key : a->tie < b->tie;
}

/* Links, order, heap property of priorities. Returns the number of nodes. */
static uint32_t validate_under(const struct tree_node *node) {
  if (node == NULL) {
    return 0;
  }
  assert_true(node->is_linked);
  if (node->left != NULL) {
    assert_ptr_equal(node->left->parent, node);
    assert_true(comes_before(node->left, node));
    assert_true(prng_mix(node->left->tie) <= prng_mix(node->tie));
  }
  if (node->right != NULL) {
    assert_ptr_equal(node->right->parent, node);
    assert_true(comes_before(node, node->right));
    assert_true(prng_mix(node->right->tie) <= prng_mix(node->tie));
  }
  return validate_under(node->left) + 1 + validate_under(node->right);
}

static uint32_t depth_under(const struct tree_node *node) {
  if (node == NULL) {
    return 0;
  }
  const uint32_t left = depth_under(node->left);
  const uint32_t right = depth_under(node->right);
  return 1 + (left > right ? left : right);
}

static void validate(const struct tree *tree) {
  assert_int_equal(validate_under(tree->root), tree->count);
  if (tree->root != NULL) {
    assert_null(tree->root->parent);
  }
  uint32_t walked = 0;
  const struct tree_node *last = NULL;
  for (const struct tree_node *at = tree->first; at != NULL; at = tree_next(at)) {
    if (last != NULL) {
      assert_true(comes_before(last, at));
    }
    last = at;
    walked++;
  }
  assert_int_equal(walked, tree->count);
  assert_ptr_equal(tree->last, last);
}

static const struct tree_node *naive_at_least(const struct item *items, int64_t key) {
  const struct tree_node *best = NULL;
  for (int i = 0; i < ITEMS; i++) {
    const struct tree_node *node = &items[i].node;
    if (node->is_linked && node->key >= key && (best == NULL || comes_before(node, best))) {
      best = node;
    }
  }
  return best;
}

static void random_operations_match_a_scan(void **state) {
  (void)state;
  static struct item items[ITEMS];
  struct tree tree = {0};
  struct prng prng;
  prng_init(&prng, 3, 3);
  for (int step = 0; step < 20000; step++) {
    const uint64_t index = prng_below(&prng, ITEMS);
    struct tree_node *node = &items[index].node;
    if (node->is_linked) {
      tree_remove(&tree, node);
      assert_false(node->is_linked);
    } else {
      tree_insert(&tree, node, (int64_t)prng_below(&prng, 40) - 20, index);
    }
    const int64_t wanted = (int64_t)prng_below(&prng, 44) - 22;
    assert_ptr_equal(tree_at_least(&tree, wanted), naive_at_least(items, wanted));
    assert_ptr_equal(tree.first, naive_at_least(items, INT64_MIN));
    if (step % 16 == 0) {
      validate(&tree);
    }
  }
  while (tree.first != NULL) {
    const struct item *first = TREE_ENTRY(tree.first, struct item, node);
    assert_int_equal(first - items, tree.first->tie);
    tree_remove(&tree, tree.first);
    validate(&tree);
  }
  assert_int_equal(tree.count, 0);
}

/* The usual use: in at the end, out at the front. */
static void a_queue_stays_shallow(void **state) {
  (void)state;
  enum { LIVE = 4096 };
  static struct item items[LIVE];
  struct tree tree = {0};
  for (uint64_t i = 0; i < 20 * LIVE; i++) {
    struct tree_node *node = &items[i % LIVE].node;
    if (node->is_linked) {
      assert_ptr_equal(tree.first, node);
      tree_remove(&tree, node);
    }
    tree_insert(&tree, node, (int64_t)i, i);
    assert_ptr_equal(tree.last, node);
  }
  validate(&tree);
  /* A random tree of 4,096 nodes is about 30 deep; 60 would be a broken balance. */
  assert_true(depth_under(tree.root) < 60);
}

static void same_content_same_shape(void **state) {
  (void)state;
  static struct item forward[ITEMS];
  static struct item backward[ITEMS];
  struct tree a = {0};
  struct tree b = {0};
  for (uint64_t i = 0; i < ITEMS; i++) {
    tree_insert(&a, &forward[i].node, (int64_t)i, i);
    const uint64_t j = ITEMS - 1 - i;
    tree_insert(&b, &backward[j].node, (int64_t)j, j);
  }
  assert_int_equal(a.root->tie, b.root->tie);
  assert_int_equal(depth_under(a.root), depth_under(b.root));
}

static void insert_equal(void *tree) {
  struct tree_node node = {0};
  tree_insert(tree, &node, 1, 1);
}

static void remove_absent(void *tree) {
  struct tree_node node = {0};
  tree_remove(tree, &node);
}

static void misuse_aborts(void **state) {
  (void)state;
  struct tree tree = {0};
  struct tree_node node = {0};
  tree_insert(&tree, &node, 1, 1);
  assert_true(test_dies(insert_equal, &tree));
  assert_true(test_dies(remove_absent, &tree));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(random_operations_match_a_scan),
      cmocka_unit_test(a_queue_stays_shallow),
      cmocka_unit_test(same_content_same_shape),
      cmocka_unit_test(misuse_aborts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
