#include "os/wakeup.h"

#include <sys/timerfd.h>
#include <unistd.h>

#include "base/check.h"
#include "os/clock.h"

static void wakeup_arm(struct wakeup *wakeup, struct instant at) {
  const int64_t ns =
      at.ns > 0 ? at.ns : 1; /* all zero would disarm; any past instant fires at once */
  const struct itimerspec timer = {
      .it_value = {.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)}};
  wakeup->armed = at;
  CHECK_EQ(timerfd_settime(wakeup->fd, TFD_TIMER_ABSTIME, &timer, NULL), 0);
}

static void wakeup_on_readable(uv_poll_t *poll, int status, int events) {
  (void)events;
  struct wakeup *wakeup = poll->data;
  uint64_t expirations;
  /* Nothing to read: the timer was set anew after the kernel had reported it. */
  if (status < 0 ||
      read(wakeup->fd, &expirations, sizeof(expirations)) != (ssize_t)sizeof(expirations)) {
    return;
  }
  wakeup->armed = INSTANT_NEVER;
  if (instant_after(wakeup->at, os_now())) {
    wakeup_set(wakeup, wakeup->at); /* it has become later since the timer was set */
    return;
  }
  wakeup->at = INSTANT_NEVER;
  wakeup->on_due(wakeup->user);
}

enum err wakeup_init(struct wakeup *wakeup, uv_loop_t *loop, wakeup_callback *on_due, void *user) {
  *wakeup = (struct wakeup){
      .fd = -1, .at = INSTANT_NEVER, .armed = INSTANT_NEVER, .on_due = on_due, .user = user};
  const int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  if (fd < 0) {
    return ERR_IO;
  }
  if (uv_poll_init(loop, &wakeup->poll, fd) != 0) {
    close(fd);
    return ERR_IO;
  }
  wakeup->poll.data = wakeup;
  wakeup->fd = fd;
  CHECK_EQ(uv_poll_start(&wakeup->poll, UV_READABLE, wakeup_on_readable), 0);
  return ERR_OK;
}

/* Only an earlier instant costs a system call. A later one leaves the timer as it is: when it fires
 * too early it is set again, which happens once for many changes. */
void wakeup_set(struct wakeup *wakeup, struct instant at) {
  if (wakeup->fd < 0) {
    return;
  }
  wakeup->at = at;
  if (instant_before(at, wakeup->armed)) {
    wakeup_arm(wakeup, at);
  }
}

void wakeup_finish(struct wakeup *wakeup) {
  if (wakeup == NULL || wakeup->fd < 0) {
    return;
  }
  uv_close((uv_handle_t *)&wakeup->poll, NULL);
  close(wakeup->fd);
  wakeup->fd = -1;
  wakeup->at = INSTANT_NEVER;
  wakeup->armed = INSTANT_NEVER;
}
