/* The two clocks. Everything that decides reads the first; the second only stands in logs.
 *
 * Thread: any. Cost: about 25 ns, no system call (vDSO).
 */
#ifndef CLOCKWORK_OS_CLOCK_H
#define CLOCKWORK_OS_CLOCK_H

#include <stdint.h>

#include "base/time.h"

/* CLOCK_MONOTONIC: never jumps, counts from the machine's start, the same in all its processes. */
struct instant os_now(void);

/* Nanoseconds since 1970 (CLOCK_REALTIME): jumps when somebody sets the clock. */
int64_t os_wall_ns(void);

#endif
