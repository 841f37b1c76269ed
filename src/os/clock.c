#include "os/clock.h"

#include <time.h>

static int64_t clock_read_ns(clockid_t id) {
  struct timespec time;
  clock_gettime(id, &time); /* cannot fail for these two clocks */
  return (int64_t)time.tv_sec * NS_PER_S + time.tv_nsec;
}

struct instant os_now(void) {
  return (struct instant){clock_read_ns(CLOCK_MONOTONIC)};
}

int64_t os_wall_ns(void) {
  return clock_read_ns(CLOCK_REALTIME);
}
