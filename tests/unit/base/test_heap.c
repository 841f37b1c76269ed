#include "base/heap.h"

#include <stddef.h>

#include "base/prng.h"
#include "support/cmocka.h"
#include "support/death.h"
#include "support/memory.h"

enum { ITEMS = 300 };

struct item {
  uint32_t before; /* so that HEAP_ENTRY has an offset to undo */
  struct heap_node node;
  int64_t key;
  uint64_t tie;
};

static size_t heap_memory_bytes(uint32_t capacity) {
  struct arena counting;
  struct heap heap;
  arena_init_counting(&counting);
  heap_init(&heap, &counting, capacity);
  return counting.used_bytes;
}

static void leaves_in_order_of_key_then_tie(void **state) {
  (void)state;
  struct arena arena = test_arena_open(heap_memory_bytes(6));
  struct heap heap;
  heap_init(&heap, &arena, 6);
  struct item items[6] = {{.key = 5, .tie = 2}, {.key = 5, .tie = 1},         {.key = -7, .tie = 9},
                          {.key = 9, .tie = 0}, {.key = INT64_MAX, .tie = 4}, {.key = 5, .tie = 3}};
  for (int i = 0; i < 6; i++) {
    heap_insert(&heap, &items[i].node, items[i].key, items[i].tie);
  }
  const int order[6] = {2, 1, 0, 5, 3, 4};
  for (int i = 0; i < 6; i++) {
    struct heap_node *first = heap_first(&heap);
    assert_ptr_equal(HEAP_ENTRY(first, struct item, node), &items[order[i]]);
    assert_int_equal(heap_first_key(&heap), items[order[i]].key);
    assert_int_equal(heap_key(&heap, first), items[order[i]].key);
    heap_remove(&heap, first);
    assert_false(heap_contains(first));
  }
  assert_null(heap_first(&heap));
  assert_int_equal(heap_first_key(&heap), INT64_MAX);
  test_arena_close(&arena);
}

static const struct item *naive_first(const struct item *items) {
  const struct item *first = NULL;
  for (int i = 0; i < ITEMS; i++) {
    const struct item *item = &items[i];
    if (heap_contains(&item->node) && (first == NULL || item->key < first->key ||
                                       (item->key == first->key && item->tie < first->tie))) {
      first = item;
    }
  }
  return first;
}

static void random_operations_match_a_scan(void **state) {
  (void)state;
  struct arena arena = test_arena_open(heap_memory_bytes(ITEMS));
  struct heap heap;
  heap_init(&heap, &arena, ITEMS);
  static struct item items[ITEMS];
  struct prng prng;
  prng_init(&prng, 1, 1);
  uint32_t count = 0;
  for (int step = 0; step < 30000; step++) {
    struct item *item = &items[prng_below(&prng, ITEMS)];
    const int64_t key = (int64_t)prng_below(&prng, 50) - 25;
    const uint64_t tie = (uint64_t)(item - items);
    const bool was_in = heap_contains(&item->node);
    switch (prng_below(&prng, 4)) {
    case 0:
      if (!was_in) {
        heap_insert(&heap, &item->node, key, tie);
        item->key = key;
        item->tie = tie;
        count++;
      }
      break;
    case 1:
      heap_set(&heap, &item->node, key, tie);
      item->key = key;
      item->tie = tie;
      count += !was_in;
      break;
    case 2:
      heap_discard(&heap, &item->node);
      count -= was_in;
      break;
    default:
      if (count > 0 && prng_below(&prng, 2) == 0) {
        heap_remove(&heap, heap_first(&heap));
        count--;
      }
      break;
    }
    assert_int_equal(heap.count, count);
    const struct item *expected = naive_first(items);
    assert_ptr_equal(heap_first(&heap), expected == NULL ? NULL : &expected->node);
    assert_int_equal(heap_first_key(&heap), expected == NULL ? INT64_MAX : expected->key);
  }
  test_arena_close(&arena);
}

static void sorts_many(void **state) {
  (void)state;
  enum { MANY = 20000 };
  struct arena arena = test_arena_open(heap_memory_bytes(MANY));
  struct heap heap;
  heap_init(&heap, &arena, MANY);
  static struct item items[MANY];
  struct prng prng;
  prng_init(&prng, 2, 2);
  for (int i = 0; i < MANY; i++) {
    items[i].key = (int64_t)prng_below(&prng, 5000);
    items[i].tie = (uint64_t)i;
    heap_insert(&heap, &items[i].node, items[i].key, items[i].tie);
  }
  const struct item *previous = NULL;
  for (int i = 0; i < MANY; i++) {
    const struct item *item = HEAP_ENTRY(heap_first(&heap), struct item, node);
    if (previous != NULL) {
      assert_true(previous->key < item->key ||
                  (previous->key == item->key && previous->tie < item->tie));
    }
    previous = item;
    heap_remove(&heap, heap_first(&heap));
  }
  assert_int_equal(heap.count, 0);
  test_arena_close(&arena);
}

static void insert_into_full(void *heap) {
  struct heap_node node = {0};
  heap_insert(heap, &node, 1, 1);
}

static void insert_twice(void *heap) {
  struct heap *of = heap;
  heap_insert(of, heap_first(of), 1, 1);
}

static void remove_absent(void *heap) {
  struct heap_node node = {0};
  heap_remove(heap, &node);
}

static void misuse_aborts(void **state) {
  (void)state;
  struct arena arena = test_arena_open(heap_memory_bytes(1));
  struct heap heap;
  heap_init(&heap, &arena, 1);
  struct heap_node node = {0};
  heap_insert(&heap, &node, 0, 0);
  assert_true(test_dies(insert_into_full, &heap));
  assert_true(test_dies(insert_twice, &heap));
  assert_true(test_dies(remove_absent, &heap));
  test_arena_close(&arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(leaves_in_order_of_key_then_tie),
      cmocka_unit_test(random_operations_match_a_scan),
      cmocka_unit_test(sorts_many),
      cmocka_unit_test(misuse_aborts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
