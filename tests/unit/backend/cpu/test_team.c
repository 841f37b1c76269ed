/* Who runs the parts, and that a dismissed team leaves nothing behind. */
#include <dirent.h>
#include <stdatomic.h>
#include <stddef.h>

#include "backend/cpu/team.h"
#include "os/clock.h"
#include "support/cmocka.h"

enum { TEAM = 3 };

#define PATIENCE duration_s(60)

struct counts {
  atomic_uint ran[TEAM];
};

static void count(void *user, uint32_t part, uint32_t parts) {
  struct counts *counts = user;
  (void)parts;
  atomic_fetch_add(&counts->ran[part], 1);
}

static void assert_all_ran(struct counts *counts, uint32_t times) {
  for (uint32_t i = 0; i < TEAM; i++) {
    assert_int_equal(atomic_load(&counts->ran[i]), times);
  }
}

static uint32_t threads_of_process(void) {
  DIR *folder = opendir("/proc/self/task");
  assert_non_null(folder);
  uint32_t threads = 0;
  for (const struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
    threads += entry->d_name[0] != '.';
  }
  closedir(folder);
  return threads;
}

static void test_every_part_runs_once(void **state) {
  (void)state;
  struct counts counts = {{0}};
  team_form(TEAM, -1);
  team_run(count, &counts, TEAM);
  assert_all_ran(&counts, 1);
}

static void test_helpers_end_when_dismissed_and_come_back(void **state) {
  (void)state;
  struct counts counts = {{0}};
  team_form(TEAM, -1);
  team_run(count, &counts, TEAM);
  const uint32_t with_helpers = threads_of_process();
  team_dismiss();
  /* The system may list a thread that was joined for a moment more. */
  const struct instant begin = os_now();
  while (threads_of_process() != with_helpers - (TEAM - 1)) {
    assert_true(instant_since(os_now(), begin).ns < PATIENCE.ns);
  }
  team_run(count, &counts, TEAM);
  assert_all_ran(&counts, 2);
  assert_int_equal(threads_of_process(), with_helpers);
}

static void test_a_thread_without_helpers_is_dismissed(void **state) {
  (void)state;
  team_form(1, -1);
  team_dismiss();
  team_dismiss();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_part_runs_once),
      cmocka_unit_test(test_helpers_end_when_dismissed_and_come_back),
      cmocka_unit_test(test_a_thread_without_helpers_is_dismissed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
