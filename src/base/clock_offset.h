/* The difference between a peer's clock and ours, from timestamped exchanges.
 *
 * One exchange: we send at t0, the peer receives at t1 and answers at t2 (its clock), we receive at
 * t3. Then offset = ((t1 - t0) + (t2 - t3)) / 2 with an error of at most half the round trip
 * (t3 - t0) - (t2 - t1) (RFC 5905, section 8). A queue on the way makes the round trip long and
 * the estimate wrong, so of the last CLOCK_OFFSET_WINDOW exchanges the one with the shortest round
 * trip counts; the window is short enough to follow drift (50 ppm over 64 s are 3.2 ms otherwise).
 * An exchange that can't be of the same clocks as the one that counts, given the errors of both,
 * means that a clock was set or a virtual machine stood still: those before it are forgotten.
 */
#ifndef CLOCKWORK_BASE_CLOCK_OFFSET_H
#define CLOCKWORK_BASE_CLOCK_OFFSET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/time.h"

enum {
  CLOCK_OFFSET_WINDOW = 8,
  /* What clocks may drift apart between two exchanges of a window: 250 ppm in 4 s. */
  CLOCK_OFFSET_DRIFT_NS = 1000000,
};

struct clock_offset_sample {
  int64_t offset_ns; /* peer's clock - ours */
  int64_t round_trip_ns;
};

/* All zero: knows nothing, offset 0. */
struct clock_offset {
  struct clock_offset_sample best; /* of `samples`, the one with the shortest round trip */
  uint32_t count;
  uint32_t next;
  struct clock_offset_sample samples[CLOCK_OFFSET_WINDOW];
};

/* An exchange whose times are out of order (t3 before t0, t2 before t1) is ignored: returns false.
 */
bool clock_offset_on_exchanged(struct clock_offset *offset, struct instant sent_ours,
                               struct instant received_peers, struct instant answered_peers,
                               struct instant received_ours);

/* Peer's clock - ours. */
struct duration clock_offset_estimate(const struct clock_offset *offset);

/* A bound of the estimate's error; a very long time while nothing is known. */
struct duration clock_offset_error(const struct clock_offset *offset);

/* A time on the peer's clock, in ours. */
struct instant clock_offset_to_ours(const struct clock_offset *offset, struct instant peers);

/* A time on our clock, in the peer's. */
struct instant clock_offset_to_peers(const struct clock_offset *offset, struct instant ours);

#endif
