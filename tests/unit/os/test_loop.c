/* What hangs in an event loop: wakeup and signals. */
#include <signal.h>

#include "base/check.h"
#include "os/clock.h"
#include "os/signals.h"
#include "os/wakeup.h"
#include "support/cmocka.h"

struct fixture {
  uv_loop_t loop;
  uv_timer_t watchdog; /* keeps uv_run from sleeping for ever */
  struct wakeup wakeup;
  struct signals signals;
  unsigned fired_count;
  struct instant fired_at;
  struct instant again_at; /* set from within the callback */
  int signal_number;
};

static void on_watchdog(uv_timer_t *timer) {
  (void)timer;
}

static void on_due(void *user) {
  struct fixture *fixture = user;
  fixture->fired_count++;
  fixture->fired_at = os_now();
  wakeup_set(&fixture->wakeup, fixture->again_at);
}

static void on_signal(void *user, int signal_number) {
  struct fixture *fixture = user;
  fixture->signal_number = signal_number;
}

static void open_fixture(struct fixture *fixture) {
  *fixture = (struct fixture){.again_at = INSTANT_NEVER, .wakeup = {.fd = -1}};
  CHECK_EQ(uv_loop_init(&fixture->loop), 0);
  CHECK_EQ(uv_timer_init(&fixture->loop, &fixture->watchdog), 0);
  CHECK_EQ(uv_timer_start(&fixture->watchdog, on_watchdog, 20, 20), 0);
  assert_int_equal(wakeup_init(&fixture->wakeup, &fixture->loop, on_due, fixture), ERR_OK);
}

static void close_fixture(struct fixture *fixture) {
  wakeup_finish(&fixture->wakeup);
  wakeup_finish(&fixture->wakeup);
  wakeup_finish(NULL);
  uv_close((uv_handle_t *)&fixture->watchdog, NULL);
  CHECK_EQ(uv_run(&fixture->loop, UV_RUN_DEFAULT), 0);
  CHECK_EQ(uv_loop_close(&fixture->loop), 0);
}

static void run_until_fired(struct fixture *fixture, unsigned count) {
  const struct instant limit = instant_add(os_now(), duration_s(60));
  while (fixture->fired_count < count) {
    assert_true(instant_before(os_now(), limit));
    uv_run(&fixture->loop, UV_RUN_ONCE);
  }
}

static void it_fires_once_and_never_early(void **state) {
  (void)state;
  struct fixture fixture;
  open_fixture(&fixture);
  for (unsigned i = 1; i <= 20; i++) {
    const struct instant at = instant_add(os_now(), duration_us(300 * i));
    wakeup_set(&fixture.wakeup, at);
    wakeup_set(&fixture.wakeup, at);
    run_until_fired(&fixture, i);
    assert_false(instant_before(fixture.fired_at, at));
  }
  for (int i = 0; i < 3; i++) {
    uv_run(&fixture.loop, UV_RUN_ONCE);
  }
  assert_int_equal(fixture.fired_count, 20);
  close_fixture(&fixture);
}

static void the_past_fires_in_the_next_iteration(void **state) {
  (void)state;
  struct fixture fixture;
  open_fixture(&fixture);
  const struct instant past[] = {INSTANT_ZERO, {-5}, {1}, instant_sub(os_now(), duration_s(1))};
  for (unsigned i = 0; i < 4; i++) {
    wakeup_set(&fixture.wakeup, past[i]);
    uv_run(&fixture.loop, UV_RUN_NOWAIT);
    assert_int_equal(fixture.fired_count, i + 1);
  }
  close_fixture(&fixture);
}

static void it_can_be_moved_and_disarmed(void **state) {
  (void)state;
  struct fixture fixture;
  open_fixture(&fixture);
  wakeup_set(&fixture.wakeup, INSTANT_ZERO);
  wakeup_set(&fixture.wakeup, INSTANT_NEVER);
  for (int i = 0; i < 3; i++) {
    uv_run(&fixture.loop, UV_RUN_ONCE);
  }
  assert_int_equal(fixture.fired_count, 0);
  wakeup_set(&fixture.wakeup, instant_add(os_now(), duration_s(3600)));
  wakeup_set(&fixture.wakeup, instant_add(os_now(), duration_us(100)));
  run_until_fired(&fixture, 1);
  close_fixture(&fixture);
}

static void it_can_be_set_again_from_its_callback(void **state) {
  (void)state;
  struct fixture fixture;
  open_fixture(&fixture);
  fixture.again_at = INSTANT_ZERO; /* the same instant as the one that fired */
  wakeup_set(&fixture.wakeup, INSTANT_ZERO);
  run_until_fired(&fixture, 5);
  close_fixture(&fixture);
}

static void signals_become_events(void **state) {
  (void)state;
  struct fixture fixture;
  open_fixture(&fixture);
  assert_int_equal(signals_init(&fixture.signals, &fixture.loop, on_signal, &fixture), ERR_OK);
  static const int NUMBERS[] = {SIGINT, SIGTERM};
  for (int i = 0; i < 2; i++) {
    raise(NUMBERS[i]);
    while (fixture.signal_number != NUMBERS[i]) {
      uv_run(&fixture.loop, UV_RUN_ONCE);
    }
  }
  raise(SIGPIPE); /* would end the test */
  signals_finish(&fixture.signals);
  signals_finish(&fixture.signals);
  signals_finish(NULL);
  close_fixture(&fixture);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(it_fires_once_and_never_early),
      cmocka_unit_test(the_past_fires_in_the_next_iteration),
      cmocka_unit_test(it_can_be_moved_and_disarmed),
      cmocka_unit_test(it_can_be_set_again_from_its_callback),
      cmocka_unit_test(signals_become_events),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
