/* Clocks, memory, usage, threads. */
#include <stdatomic.h>
#include <string.h>

#include "os/clock.h"
#include "os/memory.h"
#include "os/thread.h"
#include "os/usage.h"
#include "support/cmocka.h"

static void time_goes_forward(void **state) {
  (void)state;
  struct instant last = os_now();
  for (int i = 0; i < 10000; i++) {
    const struct instant now = os_now();
    assert_false(instant_before(now, last));
    last = now;
  }
  assert_true(os_wall_ns() > INT64_C(1700000000) * NS_PER_S);
}

static void memory_is_aligned_and_zeroed(void **state) {
  (void)state;
  static const size_t SIZES[] = {0, 1, 63, 64, 65, 65535, 65536, 65537, 1000000};
  for (int round = 0; round < 3; round++) {
    for (size_t i = 0; i < sizeof(SIZES) / sizeof(SIZES[0]); i++) {
      unsigned char *memory = os_memory_take(SIZES[i]);
      assert_non_null(memory);
      assert_int_equal((uintptr_t)memory % 64, 0);
      for (size_t at = 0; at < SIZES[i]; at++) {
        assert_int_equal(memory[at], 0);
      }
      memset(memory, 0xee, SIZES[i]);
      os_memory_give(memory, SIZES[i]);
    }
  }
  os_memory_give(NULL, 100);
  assert_null(os_memory_take(SIZE_MAX / 2));
}

static void untouched_memory_is_not_resident(void **state) {
  (void)state;
  const size_t bytes = (size_t)1 << 30;
  struct usage before;
  struct usage after;
  os_usage(&before);
  unsigned char *memory = os_memory_take(bytes);
  assert_non_null(memory);
  for (size_t at = 0; at < bytes; at += bytes / 16) {
    memory[at] = 1;
  }
  os_usage(&after);
  assert_true(before.rss_bytes > 0);
  assert_true(after.rss_bytes - before.rss_bytes < (int64_t)bytes / 64);
  os_memory_give(memory, bytes);
}

static void cpu_time_is_counted(void **state) {
  (void)state;
  struct usage before;
  struct usage after;
  os_usage(&before);
  do { /* until it has been seen to grow */
    os_usage(&after);
  } while (after.cpu_ns == before.cpu_ns);
  assert_true(after.cpu_ns > before.cpu_ns);
}

struct shared {
  struct os_event to_thread;
  struct os_event to_test;
  atomic_int value;
};

static void *thread_run(void *user) {
  struct shared *shared = user;
  for (int i = 0; i < 100; i++) {
    while (!os_event_wait(&shared->to_thread, duration_s(60))) {
    }
    atomic_fetch_add(&shared->value, 1);
    os_event_set(&shared->to_test);
  }
  return NULL;
}

static void threads_wake_each_other(void **state) {
  (void)state;
  struct shared shared = {.value = 0};
  struct os_thread thread;
  assert_int_equal(os_event_init(&shared.to_thread), ERR_OK);
  assert_int_equal(os_event_init(&shared.to_test), ERR_OK);
  assert_int_equal(os_thread_start(&thread, "a name that is too long", thread_run, &shared),
                   ERR_OK);
  for (int i = 0; i < 100; i++) {
    os_event_set(&shared.to_thread);
    while (!os_event_wait(&shared.to_test, duration_s(60))) {
    }
    assert_int_equal(atomic_load(&shared.value), i + 1);
  }
  os_thread_join(&thread);
  os_thread_join(&thread);
  os_thread_join(NULL);
  os_event_finish(&shared.to_thread);
  os_event_finish(&shared.to_test);
  os_event_finish(&shared.to_test);
  os_event_finish(NULL);
}

static void an_event_is_remembered_once(void **state) {
  (void)state;
  struct os_event event;
  assert_int_equal(os_event_init(&event), ERR_OK);
  assert_false(os_event_wait(&event, DURATION_ZERO));
  os_event_set(&event);
  os_event_set(&event);
  assert_true(os_event_wait(&event, duration_s(60)));
  assert_false(os_event_wait(&event, duration_us(1)));
  os_event_finish(&event);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(time_goes_forward),
      cmocka_unit_test(memory_is_aligned_and_zeroed),
      cmocka_unit_test(untouched_memory_is_not_resident),
      cmocka_unit_test(cpu_time_is_counted),
      cmocka_unit_test(threads_wake_each_other),
      cmocka_unit_test(an_event_is_remembered_once),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
