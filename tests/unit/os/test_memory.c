#include "os/memory.h"

#include <stdint.h>

#include "support/cmocka.h"

static void huge_memory_is_zeroed_aligned_and_whole(void **state) {
  (void)state;
  static const size_t sizes[] = {1, 4096, (2U << 20) - 1, 2U << 20, (5U << 20) + 3};
  for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
    unsigned char *memory = os_memory_take_huge(sizes[i]);
    assert_non_null(memory);
    assert_int_equal((uintptr_t)memory % (2U << 20), 0);
    for (size_t at = 0; at < sizes[i]; at++) {
      assert_int_equal(memory[at], 0);
      memory[at] = 7;
    }
    os_memory_give_huge(memory, sizes[i]);
  }
  os_memory_give_huge(NULL, 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(huge_memory_is_zeroed_aligned_and_whole),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
