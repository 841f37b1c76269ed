/* A timer in an event loop that keeps microseconds, for the wakeup() of a pure module.
 *
 * libuv's own timers tick in milliseconds; this one is a timerfd on CLOCK_MONOTONIC (the clock of
 * os_now). It fires at or after its instant, never before, once per wakeup_set().
 *
 * Thread: that of the loop.
 */
#ifndef CLOCKWORK_OS_WAKEUP_H
#define CLOCKWORK_OS_WAKEUP_H

#include <uv.h>

#include "base/error.h"
#include "base/time.h"

typedef void wakeup_callback(void *user);

struct wakeup {
  uv_poll_t poll;
  int fd;               /* -1: not initialised or finished */
  struct instant at;    /* wanted */
  struct instant armed; /* what the timer is set to; never later than `at` */
  wakeup_callback *on_due;
  void *user;
};

/* Disarmed at first. ERR_IO: the machine has no descriptors left; `wakeup` may then be finished but
 * not used. A wakeup keeps uv_run going until it is finished. */
MUST_USE enum err wakeup_init(struct wakeup *wakeup, uv_loop_t *loop, wakeup_callback *on_due,
                              void *user);

/* Replace the instant. INSTANT_NEVER disarms; an instant that has passed fires in the loop's next
 * iteration. Only an instant earlier than all since the timer last fired costs a system
 * call, so a shell may call this after every turn. Safe inside on_due, where the wakeup already
 * counts as disarmed. */
void wakeup_set(struct wakeup *wakeup, struct instant at);

/* Disarm and leave the loop. The memory may be reused after the loop's next iteration (libuv's rule
 * for handles). Accepts NULL, a zeroed one whose fd is -1, and a second call. */
void wakeup_finish(struct wakeup *wakeup);

#endif
