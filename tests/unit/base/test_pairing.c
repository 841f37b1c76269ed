#include "base/pairing.h"

#include "base/prng.h"
#include "support/cmocka.h"
#include "support/death.h"

enum { ITEMS = 300 };

static bool is_before(const struct pairing_node *a, const struct pairing_node *b) {
  return a->key != b->key ? a->key < b->key : a->tie < b->tie;
}

/* Links and order. Returns the number of nodes at and behind `node`. */
static uint32_t validate(const struct pairing_node *node) {
  uint32_t count = 1;
  const struct pairing_node *previous = node;
  for (const struct pairing_node *at = node->child; at != NULL; at = at->next) {
    assert_true(at->is_linked);
    assert_ptr_equal(at->previous, previous);
    assert_true(is_before(node, at));
    count += validate(at);
    previous = at;
  }
  return count;
}

static const struct pairing_node *scan(const struct pairing_node *items) {
  const struct pairing_node *first = NULL;
  for (int i = 0; i < ITEMS; i++) {
    if (items[i].is_linked && (first == NULL || is_before(&items[i], first))) {
      first = &items[i];
    }
  }
  return first;
}

static void random_changes_match_a_scan(void **state) {
  (void)state;
  for (uint64_t seed = 0; seed < 8; seed++) {
    struct pairing_node items[ITEMS] = {{.key = 0}};
    struct pairing heap = {.count = 0};
    struct prng prng;
    prng_init(&prng, seed, 0);
    for (int step = 0; step < 5000; step++) {
      const uint32_t i = (uint32_t)prng_below(&prng, ITEMS);
      if (items[i].is_linked) {
        pairing_remove(&heap, &items[i]);
      } else {
        pairing_insert(&heap, &items[i], (int64_t)prng_below(&prng, 40) - 20, i);
      }
      assert_ptr_equal(heap.first, scan(items));
      if (heap.count > 0) {
        assert_null(heap.first->previous);
        assert_null(heap.first->next);
        assert_int_equal(validate(heap.first), heap.count);
      }
    }
  }
}

static void the_first_leave_in_order(void **state) {
  (void)state;
  struct pairing_node items[ITEMS] = {{.key = 0}};
  struct pairing heap = {.count = 0};
  for (uint32_t i = 0; i < ITEMS; i++) {
    pairing_insert(&heap, &items[i], i * 7919 % 100, i);
  }
  struct pairing_node before = {.key = INT64_MIN};
  while (heap.first != NULL) {
    struct pairing_node *first = heap.first;
    assert_true(is_before(&before, first));
    before = *first;
    pairing_remove(&heap, first);
    assert_int_equal(first->key, before.key);
    assert_int_equal(first->tie, before.tie);
    assert_false(first->is_linked);
  }
  assert_int_equal(heap.count, 0);
}

static void remove_what_stands_nowhere(void *unused) {
  (void)unused;
  struct pairing_node node = {.key = 0};
  struct pairing heap = {.count = 0};
  pairing_remove(&heap, &node);
}

static void insert_twice(void *unused) {
  (void)unused;
  struct pairing_node node = {.key = 0};
  struct pairing heap = {.count = 0};
  pairing_insert(&heap, &node, 0, 0);
  pairing_insert(&heap, &node, 0, 1);
}

static void insert_with_a_tie_too_large(void *unused) {
  (void)unused;
  struct pairing_node node = {.key = 0};
  struct pairing heap = {.count = 0};
  pairing_insert(&heap, &node, 0, PAIRING_TIE_MAX + 1);
}

static void wrong_use_ends_the_program(void **state) {
  (void)state;
  assert_true(test_dies(remove_what_stands_nowhere, NULL));
  assert_true(test_dies(insert_twice, NULL));
  assert_true(test_dies(insert_with_a_tie_too_large, NULL));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(random_changes_match_a_scan),
      cmocka_unit_test(the_first_leave_in_order),
      cmocka_unit_test(wrong_use_ends_the_program),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
