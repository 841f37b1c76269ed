#include "transport/body.h"

#include <string.h>

#include "support/cmocka.h"
#include "support/death.h"
#include "wire/frame.h"

static void bodies_are_counted_and_reused(void **state) {
  (void)state;
  struct body_budget budget;
  body_budget_init(&budget, 1024 * 1024);
  struct body *first = body_create(&budget, 100000);
  assert_non_null(first);
  assert_int_equal((uintptr_t)first->data % 64, 0);
  assert_int_equal(first->bytes, 100000);
  memset(first->data, 7, first->bytes);
  assert_true(budget.live_bytes >= 100000);
  assert_ptr_equal(body_retain(first), first);
  body_release(first);
  assert_int_equal(budget.live_count, 1);
  body_release(first);
  assert_int_equal(budget.live_count, 0);
  assert_int_equal(budget.live_bytes, 0);
  assert_ptr_equal(body_create(&budget, 99999), first);
  body_release(first);
  body_release(NULL);
  body_budget_finish(&budget);
  body_budget_finish(&budget);
  body_budget_finish(NULL);
}

static void the_maximum_holds_whatever_the_sizes(void **state) {
  (void)state;
  enum { MAX = 300000 };
  struct body_budget budget;
  body_budget_init(&budget, MAX);
  struct body *live[64];
  unsigned live_count = 0;
  uint32_t bytes = 1;
  for (unsigned i = 0; i < 20000; i++) {
    bytes = (bytes * 1103515245u + 12345u) % 60000;
    const bool had_room = body_budget_has_room(&budget, bytes + 1);
    struct body *body = live_count < 64 ? body_create(&budget, bytes + 1) : NULL;
    if (body != NULL) {
      assert_true(had_room);
      memset(body->data, (int)i, body->bytes);
      live[live_count++] = body;
    } else {
      assert_true(live_count == 64 || !had_room);
      const unsigned victim = bytes % live_count;
      body_release(live[victim]);
      live[victim] = live[--live_count];
    }
    assert_int_equal(budget.live_count, live_count);
    assert_true(budget.live_bytes + budget.kept_bytes <= MAX);
  }
  while (live_count > 0) {
    body_release(live[--live_count]);
  }
  assert_int_equal(budget.live_bytes, 0);
  body_budget_finish(&budget);
}

static void extremes_fit(void **state) {
  (void)state;
  struct body_budget budget;
  body_budget_init(&budget, SIZE_MAX);
  struct body *none = body_create(&budget, 0);
  struct body *largest = body_create(&budget, FRAME_BODY_BYTES_MAX);
  assert_non_null(none);
  assert_non_null(largest);
  largest->data[FRAME_BODY_BYTES_MAX - 1] = 1;
  body_release(none);
  body_release(largest);
  assert_true(budget.kept_bytes < 128 * 1024 * 1024); /* a giant is not kept */
  body_budget_finish(&budget);

  body_budget_init(&budget, 10000);
  assert_true(body_budget_can_hold(&budget, 8000));
  assert_false(body_budget_can_hold(&budget, 10000)); /* its header counts */
  assert_null(body_create(&budget, 10000));
  body_budget_finish(&budget);
}

static void release_twice(void *body) {
  body_release(body);
  body_release(body);
}

static void finish(void *budget) {
  body_budget_finish(budget);
}

static void misuse_aborts(void **state) {
  (void)state;
  struct body_budget budget;
  body_budget_init(&budget, 10000);
  struct body *body = body_create(&budget, 10);
  assert_true(test_dies(release_twice, body));
  assert_true(test_dies(finish, &budget));
  body_release(body);
  body_budget_finish(&budget);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(bodies_are_counted_and_reused),
      cmocka_unit_test(the_maximum_holds_whatever_the_sizes),
      cmocka_unit_test(extremes_fit),
      cmocka_unit_test(misuse_aborts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
