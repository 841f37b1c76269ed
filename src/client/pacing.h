/* When an open loop wakes to send what has become due.
 *
 * At a low rate every request has a wake-up of its own, at its very instant. At a high rate that
 * would be a wake-up, a timer and a system call to send every 25 us; instead at least a pause
 * passes between two turns, and the requests that became due meanwhile leave together. Nothing is
 * ever sent early, the pause is the most that it adds to a request's lag, and latency counts from
 * the intended instant all the same.
 *
 * The pause grows in a straight line from 0 at PACING_ALONE_PER_S to PACING_PAUSE_MAX_US at
 * PACING_FULL_PER_S requests a second; the rate is that of the last PACING_WINDOW_MS.
 *
 * Pure: time is an argument.
 */
#ifndef CLOCKWORK_CLIENT_PACING_H
#define CLOCKWORK_CLIENT_PACING_H

#include <stdint.h>

#include "base/time.h"

enum {
  PACING_ALONE_PER_S = 2000,
  PACING_FULL_PER_S = 20000,
  /* A five-hundredth of the usual SLO of 100 ms. */
  PACING_PAUSE_MAX_US = 200,
  PACING_WINDOW_MS = 10,
};

/* All zero: nothing was sent yet. */
struct pacing {
  struct instant window_begin;
  uint32_t window_count;
  int64_t rate_per_s;
  struct instant last_turn;
};

/* A turn at `now` sent `count` requests; `now` doesn't go back. */
void pacing_on_turn(struct pacing *pacing, struct instant now, uint32_t count);

/* No turn before this instant. */
struct instant pacing_next_turn(const struct pacing *pacing);

#endif
