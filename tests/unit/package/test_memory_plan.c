#include "package/memory_plan.h"

#include "base/prng.h"
#include "support/cmocka.h"
#include "support/memory.h"

static bool live_together(const struct memory_plan_buffer *a, const struct memory_plan_buffer *b) {
  return a->first_op <= b->last_op && b->first_op <= a->last_op;
}

static bool share_bytes(const struct memory_plan_buffer *a, const struct memory_plan_buffer *b) {
  return a->offset_bytes < b->offset_bytes + b->bytes &&
         b->offset_bytes < a->offset_bytes + a->bytes;
}

static void a_chain_needs_its_two_largest_neighbours(void **state) {
  (void)state;
  struct memory_plan_buffer buffers[4] = {{.bytes = 1024, .first_op = 0, .last_op = 1},
                                          {.bytes = 512, .first_op = 1, .last_op = 2},
                                          {.bytes = 1024, .first_op = 2, .last_op = 3},
                                          {.bytes = 256, .first_op = 3, .last_op = 4}};
  void *scratch = test_memory_take(memory_plan_scratch_bytes(4));
  assert_int_equal(memory_plan_assign(buffers, 4, 256, scratch), 1536);
  assert_int_equal(buffers[0].offset_bytes, 0);
  assert_int_equal(buffers[2].offset_bytes, 0);
  assert_int_equal(memory_plan_assign(buffers, 0, 256, scratch), 0);
  free(scratch);
}

static void buffers_that_live_together_share_nothing(void **state) {
  (void)state;
  enum { COUNT = 120 };
  struct memory_plan_buffer buffers[COUNT];
  void *scratch = test_memory_take(memory_plan_scratch_bytes(COUNT));
  for (uint64_t seed = 0; seed < 50; seed++) {
    struct prng prng;
    prng_init(&prng, 4, seed);
    uint64_t live_most = 0;
    for (int i = 0; i < COUNT; i++) {
      const uint32_t first = (uint32_t)prng_below(&prng, 60);
      buffers[i] = (struct memory_plan_buffer){.bytes = 1 + prng_below(&prng, 5000),
                                               .first_op = first,
                                               .last_op = first + (uint32_t)prng_below(&prng, 6)};
    }
    const uint64_t total = memory_plan_assign(buffers, COUNT, 64, scratch);
    for (int i = 0; i < COUNT; i++) {
      assert_int_equal(buffers[i].offset_bytes % 64, 0);
      assert_true(buffers[i].offset_bytes + buffers[i].bytes <= total);
      for (int j = 0; j < i; j++) {
        assert_false(live_together(&buffers[i], &buffers[j]) &&
                     share_bytes(&buffers[i], &buffers[j]));
      }
    }
    for (uint32_t op = 0; op < 70; op++) {
      uint64_t live = 0;
      for (int i = 0; i < COUNT; i++) {
        live += buffers[i].first_op <= op && op <= buffers[i].last_op ? buffers[i].bytes : 0;
      }
      live_most = live > live_most ? live : live_most;
    }
    /* No plan needs less than what lives at once; the greedy one stays near it. */
    assert_true(total >= live_most && total <= live_most + live_most / 3);
  }
  free(scratch);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_chain_needs_its_two_largest_neighbours),
      cmocka_unit_test(buffers_that_live_together_share_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
