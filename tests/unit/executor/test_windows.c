/* Windows to the nanosecond: open at `earliest`, closed 1 ns after `latest`, and wakeup() at both.
 */
#include "unit/executor/rig.h"

static const struct duration ONE_NS = {1};

enum { IO_PLENTY = 1 << 20 };

static void load_starts_at_earliest_and_not_before(void **state) {
  (void)state;
  struct rig rig = rig_open(IO_PLENTY);
  rig_send_window(&rig, ACTION_LOAD, 0, rig_at(10), rig_at(20));
  assert_int_equal(executor_wakeup(rig.executor).ns, INSTANT_ZERO.ns);
  assert_int_equal(rig_pump_at(&rig, instant_sub(rig_at(10), ONE_NS)), 0);
  assert_int_equal(executor_wakeup(rig.executor).ns, rig_at(10).ns);
  assert_int_equal(rig_pump_at(&rig, rig_at(10)), 1);
  assert_int_equal(rig_runs(&rig, BACKEND_ENGINE_LOAD), 0);
  assert_int_equal(executor_wakeup(rig.executor).ns, INSTANT_NEVER.ns);
  rig_close(&rig);
}

static void load_may_start_at_latest(void **state) {
  (void)state;
  struct rig rig = rig_open(IO_PLENTY);
  rig_send_window(&rig, ACTION_LOAD, 0, rig_at(10), rig_at(20));
  assert_int_equal(rig_pump_at(&rig, rig_at(20)), 1);
  rig_assert_no_result(&rig);
  rig_close(&rig);
}

static void load_is_refused_just_after_latest(void **state) {
  (void)state;
  struct rig rig = rig_open(IO_PLENTY);
  const uint64_t id = rig_send_window(&rig, ACTION_LOAD, 0, rig_at(10), rig_at(20));
  assert_int_equal(rig_pump_at(&rig, instant_add(rig_at(20), ONE_NS)), 0);
  rig_assert_result(&rig, id, ACTION_LOAD_TOO_LATE);
  assert_int_equal(executor_wakeup(rig.executor).ns, INSTANT_NEVER.ns);
  rig_close(&rig);
}

static void a_window_of_one_instant(void **state) {
  (void)state;
  struct rig rig = rig_open(IO_PLENTY);
  rig_send_window(&rig, ACTION_LOAD, 0, rig_at(10), rig_at(10));
  assert_int_equal(rig_pump_at(&rig, rig_at(10)), 1);
  const uint64_t empty =
      rig_send_window(&rig, ACTION_LOAD, 1, rig_at(30), instant_sub(rig_at(30), ONE_NS));
  rig_assert_result(&rig, empty, ACTION_INVALID);
  rig_close(&rig);
}

static void an_action_that_arrives_late_is_refused_at_once(void **state) {
  (void)state;
  struct rig rig = rig_open(IO_PLENTY);
  rig_move_to(&rig, instant_add(rig_at(20), ONE_NS));
  rig_assert_result(&rig, rig_send_window(&rig, ACTION_LOAD, 0, rig_at(10), rig_at(20)),
                    ACTION_LOAD_TOO_LATE);
  rig_assert_result(&rig, rig_send_window(&rig, ACTION_EVICT, 0, rig_at(10), rig_at(20)),
                    ACTION_EVICT_TOO_LATE);
  rig_assert_result(&rig, rig_send_window(&rig, ACTION_INFER, 0, rig_at(10), rig_at(20)),
                    ACTION_INPUT_TOO_LATE);
  rig_close(&rig);
  rig = rig_open(IO_PLENTY);
  rig_move_to(&rig, rig_at(20));
  rig_send_window(&rig, ACTION_LOAD, 0, rig_at(10), rig_at(20));
  assert_int_equal(rig_pump(&rig), 1);
  rig_close(&rig);
}

/* The engine is busy until after the window of the second. */
static void wakeup_covers_latest_of_what_waits_for_an_engine(void **state) {
  (void)state;
  struct rig rig = rig_open(IO_PLENTY);
  rig_send_window(&rig, ACTION_LOAD, 0, rig_at(0), rig_at(20));
  const uint64_t second = rig_send_window(&rig, ACTION_LOAD, 1, rig_at(0), rig_at(30));
  const uint64_t third = rig_send_window(&rig, ACTION_LOAD, 2, rig_at(5), rig_at(10));
  assert_int_equal(rig_pump(&rig), 1);
  /* The third closes first, although the second stands before it in the queue. */
  assert_int_equal(executor_wakeup(rig.executor).ns, rig_at(10).ns + 1);
  assert_int_equal(rig_pump_at(&rig, rig_at(10)), 0);
  rig_assert_no_result(&rig);
  rig_pump_at(&rig, executor_wakeup(rig.executor));
  rig_assert_result(&rig, third, ACTION_LOAD_TOO_LATE);
  assert_int_equal(executor_wakeup(rig.executor).ns, rig_at(30).ns + 1);
  rig_pump_at(&rig, executor_wakeup(rig.executor));
  rig_assert_result(&rig, second, ACTION_LOAD_TOO_LATE);
  rig_close(&rig);
}

static void an_engine_freed_at_latest_is_in_time(void **state) {
  (void)state;
  struct rig rig = rig_open(IO_PLENTY);
  rig_send_window(&rig, ACTION_LOAD, 0, rig_at(0), rig_at(20));
  rig_send_window(&rig, ACTION_LOAD, 1, rig_at(0), rig_at(30));
  rig_pump(&rig);
  rig_move_to(&rig, rig_at(30));
  rig_end(&rig, BACKEND_ENGINE_LOAD);
  assert_int_equal(rig_runs(&rig, BACKEND_ENGINE_LOAD), 1);
  rig_close(&rig);
}

static void evict_opens_and_closes(void **state) {
  (void)state;
  struct rig rig = rig_open(IO_PLENTY);
  rig_load(&rig, 0);
  const uint64_t late = rig_send_window(&rig, ACTION_EVICT, 0, rig_at(10), rig_at(20));
  assert_int_equal(rig_pump_at(&rig, instant_sub(rig_at(10), ONE_NS)), 0);
  assert_true(executor_is_resident(rig.executor, 0, 0));
  assert_int_equal(executor_wakeup(rig.executor).ns, rig_at(10).ns);
  assert_int_equal(rig_pump_at(&rig, instant_add(rig_at(20), ONE_NS)), 0);
  rig_assert_result(&rig, late, ACTION_EVICT_TOO_LATE);
  const uint64_t timely = rig_send_window(&rig, ACTION_EVICT, 0, rig_at(30), rig_at(40));
  assert_int_equal(rig_pump_at(&rig, rig_at(40)), 1);
  const struct executor_result result = rig_result(&rig);
  assert_int_equal(result.action_id, timely);
  assert_int_equal(result.status, ACTION_SUCCESS);
  assert_int_equal(result.run.begin.ns, rig_at(40).ns);
  assert_int_equal(result.run.end.ns, rig_at(40).ns);
  assert_false(executor_is_resident(rig.executor, 0, 0));
  rig_close(&rig);
}

static void input_is_copied_ahead_but_execution_waits(void **state) {
  (void)state;
  struct rig rig = rig_open(IO_PLENTY);
  rig_load(&rig, 0);
  const struct instant earliest = rig_at(20000);
  const struct instant copy_from = instant_sub(earliest, EXECUTOR_INPUT_LEAD);
  rig_send_window(&rig, ACTION_INFER, 0, earliest, earliest);
  assert_int_equal(rig_pump_at(&rig, instant_sub(copy_from, ONE_NS)), 0);
  assert_int_equal(executor_wakeup(rig.executor).ns, copy_from.ns);
  assert_int_equal(rig_pump_at(&rig, copy_from), 1);
  assert_int_equal(rig_runs(&rig, BACKEND_ENGINE_INPUT), 0);
  rig_end(&rig, BACKEND_ENGINE_INPUT);
  assert_int_equal(executor_wakeup(rig.executor).ns, earliest.ns);
  assert_int_equal(rig_pump_at(&rig, instant_sub(earliest, ONE_NS)), 0);
  assert_int_equal(rig_pump_at(&rig, earliest), 1);
  assert_int_equal(rig_runs(&rig, BACKEND_ENGINE_EXECUTE), 0);
  rig_close(&rig);
}

static void execution_refused_just_after_latest(void **state) {
  (void)state;
  struct rig rig = rig_open(IO_PLENTY);
  rig_load(&rig, 0);
  rig_send_window(&rig, ACTION_INFER, 0, rig_at(0), rig_at(50));
  const uint64_t second = rig_send_window(&rig, ACTION_INFER, 0, rig_at(0), rig_at(50));
  rig_pump(&rig);
  rig_end(&rig, BACKEND_ENGINE_INPUT);
  rig_end(&rig, BACKEND_ENGINE_INPUT);
  assert_int_equal(rig_runs(&rig, BACKEND_ENGINE_EXECUTE), 0);
  assert_int_equal(executor_wakeup(rig.executor).ns, rig_at(50).ns + 1);
  rig_pump_at(&rig, rig_at(50));
  rig_assert_no_result(&rig);
  rig_pump_at(&rig, instant_add(rig_at(50), ONE_NS));
  const struct executor_result result = rig_result(&rig);
  assert_int_equal(result.action_id, second);
  assert_int_equal(result.status, ACTION_EXECUTE_TOO_LATE);
  assert_int_equal(result.input.begin.ns, rig_at(0).ns);
  assert_int_equal(result.run.begin.ns, 0);
  assert_int_equal(result.output.end.ns, 0);
  rig_close(&rig);
}

static void execution_starts_at_latest(void **state) {
  (void)state;
  struct rig rig = rig_open(IO_PLENTY);
  rig_load(&rig, 0);
  rig_send_window(&rig, ACTION_INFER, 0, rig_at(0), rig_at(50));
  rig_pump(&rig);
  rig_move_to(&rig, rig_at(50));
  rig_end(&rig, BACKEND_ENGINE_INPUT);
  assert_int_equal(rig_runs(&rig, BACKEND_ENGINE_EXECUTE), 0);
  rig_close(&rig);
}

/* The buffers of a copy under way are in use: the refusal waits for its end. */
static void latest_passing_while_the_input_is_copied(void **state) {
  (void)state;
  struct rig rig = rig_open(IO_PLENTY);
  rig_load(&rig, 0);
  const uint64_t id = rig_send_window(&rig, ACTION_INFER, 0, rig_at(0), rig_at(50));
  rig_pump(&rig);
  rig_pump_at(&rig, rig_at(60));
  rig_assert_no_result(&rig);
  rig_end(&rig, BACKEND_ENGINE_INPUT);
  rig_assert_result(&rig, id, ACTION_EXECUTE_TOO_LATE);
  /* The same when nobody looked in between. */
  const uint64_t other = rig_send_window(&rig, ACTION_INFER, 0, rig_at(60), rig_at(70));
  rig_pump(&rig);
  rig_move_to(&rig, instant_add(rig_at(70), ONE_NS));
  rig_end(&rig, BACKEND_ENGINE_INPUT);
  rig_assert_result(&rig, other, ACTION_EXECUTE_TOO_LATE);
  rig_close(&rig);
}

static void input_that_cannot_start_by_latest(void **state) {
  (void)state;
  struct rig rig = rig_open(IO_PLENTY);
  rig_send_window(&rig, ACTION_INFER, 0, rig_at(0), rig_at(500));
  const uint64_t second = rig_send_window(&rig, ACTION_INFER, 1, rig_at(0), rig_at(50));
  rig_pump(&rig);
  rig_pump_at(&rig, executor_wakeup(rig.executor));
  assert_int_equal(rig.now.ns, rig_at(50).ns + 1);
  rig_assert_result(&rig, second, ACTION_INPUT_TOO_LATE);
  rig_close(&rig);
}

/* Windows come from a network: the ends of the range must not overflow. */
static void extreme_windows(void **state) {
  (void)state;
  struct rig rig = rig_open(IO_PLENTY);
  rig_load(&rig, 0);
  rig_send_window(&rig, ACTION_INFER, 0, (struct instant){INT64_MIN}, INSTANT_NEVER);
  assert_int_equal(rig_pump(&rig), 1);
  rig_send_window(&rig, ACTION_LOAD, 1, INSTANT_NEVER, INSTANT_NEVER);
  assert_int_equal(rig_pump(&rig), 0);
  assert_int_equal(executor_wakeup(rig.executor).ns, INSTANT_NEVER.ns);
  rig_assert_result(&rig,
                    rig_send_window(&rig, ACTION_EVICT, 1, (struct instant){INT64_MIN},
                                    (struct instant){INT64_MIN}),
                    ACTION_EVICT_TOO_LATE);
  rig_close(&rig);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(load_starts_at_earliest_and_not_before),
      cmocka_unit_test(load_may_start_at_latest),
      cmocka_unit_test(load_is_refused_just_after_latest),
      cmocka_unit_test(a_window_of_one_instant),
      cmocka_unit_test(an_action_that_arrives_late_is_refused_at_once),
      cmocka_unit_test(wakeup_covers_latest_of_what_waits_for_an_engine),
      cmocka_unit_test(an_engine_freed_at_latest_is_in_time),
      cmocka_unit_test(evict_opens_and_closes),
      cmocka_unit_test(input_is_copied_ahead_but_execution_waits),
      cmocka_unit_test(execution_refused_just_after_latest),
      cmocka_unit_test(execution_starts_at_latest),
      cmocka_unit_test(latest_passing_while_the_input_is_copied),
      cmocka_unit_test(input_that_cannot_start_by_latest),
      cmocka_unit_test(extreme_windows),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
