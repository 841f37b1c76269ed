#include "os/thread.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/check.h"

enum err os_thread_start(struct os_thread *thread, const char *name, void *(*run)(void *user),
                         void *user) {
  *thread = (struct os_thread){.is_running = false};
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  CHECK_EQ(pthread_sigmask(SIG_SETMASK, &all, &before), 0);
  const int error = pthread_create(&thread->thread, NULL, run, user);
  CHECK_EQ(pthread_sigmask(SIG_SETMASK, &before, NULL), 0);
  if (error != 0) {
    return ERR_NO_MEMORY;
  }
  thread->is_running = true;
  char short_name[16];
  snprintf(short_name, sizeof(short_name), "%s", name);
  (void)pthread_setname_np(thread->thread, short_name); /* only for people to see */
  return ERR_OK;
}

void os_thread_join(struct os_thread *thread) {
  if (thread == NULL || !thread->is_running) {
    return;
  }
  CHECK_EQ(pthread_join(thread->thread, NULL), 0);
  thread->is_running = false;
}

enum err os_event_init(struct os_event *event) {
  event->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  return event->fd < 0 ? ERR_IO : ERR_OK;
}

void os_event_set(struct os_event *event) {
  const uint64_t one = 1;
  ssize_t written;
  do {
    written = write(event->fd, &one, sizeof(one));
  } while (written < 0 && errno == EINTR);
  /* EAGAIN: set 2^64 - 2 times already, which is set. */
}

bool os_event_wait(struct os_event *event, struct duration timeout) {
  struct pollfd wanted = {.fd = event->fd, .events = POLLIN};
  const int64_t ms = timeout.ns <= 0 ? 0 : (timeout.ns - 1) / NS_PER_MS + 1;
  /* An interrupted sleep counts as one that ended: callers look at their work and wait again. */
  if (poll(&wanted, 1, ms > INT32_MAX ? INT32_MAX : (int)ms) <= 0) {
    return false;
  }
  uint64_t count;
  return read(event->fd, &count, sizeof(count)) == (ssize_t)sizeof(count);
}

void os_event_finish(struct os_event *event) {
  if (event == NULL || event->fd < 0) {
    return;
  }
  close(event->fd);
  event->fd = -1;
}
