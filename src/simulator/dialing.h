/* When to try to connect again: the constants of transport/dialer.c. */
#ifndef CLOCKWORK_SIMULATOR_DIALING_H
#define CLOCKWORK_SIMULATOR_DIALING_H

#include <stdint.h>

#include "base/time.h"

/* An attempt without an outcome is given up after this. */
#define DIALING_WITHIN duration_s(2)

/* The pause after an attempt that failed, `failures_count` in a row, or after a connection ended
 * (0).
 */
static inline struct duration dialing_pause(uint32_t failures_count) {
  struct duration pause = duration_ms(50);
  const struct duration longest = duration_s(1);
  for (uint32_t i = 1; i < failures_count && pause.ns < longest.ns; i++) {
    pause = duration_add(pause, pause);
  }
  return duration_min(pause, longest);
}

#endif
