#include "base/list.h"

#include "support/cmocka.h"

struct item {
  int value;
  struct list link;
};

static int values_of(const struct list *head) {
  int digits = 0;
  for (struct list *at = head->next; at != head; at = at->next) {
    assert_ptr_equal(at->next->previous, at);
    digits = digits * 10 + LIST_ENTRY(at, struct item, link)->value;
  }
  return digits;
}

static void order_and_membership(void **state) {
  (void)state;
  struct list head;
  struct item items[4] = {{.value = 1}, {.value = 2}, {.value = 3}, {.value = 4}};
  list_init(&head);
  assert_true(list_is_empty(&head));
  assert_null(list_first(&head));
  assert_false(list_is_linked(&items[0].link));
  list_append(&head, &items[1].link);
  list_append(&head, &items[2].link);
  list_prepend(&head, &items[0].link);
  assert_int_equal(values_of(&head), 123);
  list_insert_before(&items[1].link, &items[3].link);
  assert_int_equal(values_of(&head), 1423);
  assert_true(list_is_linked(&items[3].link));
  list_remove(&items[3].link);
  assert_false(list_is_linked(&items[3].link));
  list_remove(&items[0].link);
  assert_int_equal(values_of(&head), 23);
  assert_ptr_equal(list_first(&head), &items[1].link);
  list_remove(&items[2].link);
  list_remove(&items[1].link);
  assert_true(list_is_empty(&head));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(order_and_membership)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
