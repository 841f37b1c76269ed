/* A thread, and an event to wake it with.
 *
 * os_event_set never blocks, so a thread that must not wait may wake one that sleeps.
 */
#ifndef CLOCKWORK_OS_THREAD_H
#define CLOCKWORK_OS_THREAD_H

#include <pthread.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/time.h"

struct os_thread {
  pthread_t thread;
  bool is_running;
};

/* `name` (at most 15 characters count) is what top and debuggers show. Signals are blocked in the
 * new thread: they belong to the event loop. ERR_NO_MEMORY: the machine gives no more threads. */
MUST_USE enum err os_thread_start(struct os_thread *thread, const char *name,
                                  void *(*run)(void *user), void *user);

/* Wait for the end of `run`. Accepts NULL, zeroed, a second call. */
void os_thread_join(struct os_thread *thread);

struct os_event {
  int fd; /* -1: not initialised or finished */
};

/* ERR_IO: the machine has no descriptors left. */
MUST_USE enum err os_event_init(struct os_event *event);

/* Wake the waiter, or make its next wait return at once. Thread: any. Cost: one system call. */
void os_event_set(struct os_event *event);

/* Sleep until set or `timeout` has passed, to the millisecond, upwards; unsets. True if it was set.
 * One waiter at a time. */
bool os_event_wait(struct os_event *event, struct duration timeout);

/* Accepts NULL and a finished one. */
void os_event_finish(struct os_event *event);

#endif
