/* Makes the durations of LOADs steady: how long one is to take at least.
 *
 * Copies to a device share its link. While a LOAD has it, inputs of requests come in between, a few
 * or many as chance has it, and no prediction made before can know how many. So a LOAD leaves room:
 * it counts as done no sooner than nine in ten of the last LOADs would have been, after its size.
 * What is left to predict is the tenth that found more inputs than there was room. Where nothing
 * comes between, nine in ten take the same and nobody waits.
 *
 * With n the time that its bytes take on a free link, what a LOAD takes beyond n is put down as a
 * multiple of sqrt(n), as numbers of requests that come in a time scatter. Of 160,508 LOADs on an
 * H100 beside 2,000 requests/s the excess that one in a hundred passed was 2.7 to 3.0 times
 * sqrt(n / us) us, with n from 0.9 to 6.8 ms. A mean that grows with n besides, subtracted first,
 * made it no steadier.
 *
 * Thread: the owner's. Memory: the caller's. Cost: an answer 3 us, measured on a core of an EPYC.
 */
#ifndef CLOCKWORK_BACKEND_PACE_H
#define CLOCKWORK_BACKEND_PACE_H

#include <stdint.h>

#include "base/time.h"

/* LOADs that are remembered: beside 350 a second, a fifth of one. */
#define PACE_WINDOW 64
/* Room is never more than this part of n: LOADs that took longer met a link that is slow for a
 * moment, for which no room is enough, and count for nothing here. */
#define PACE_ROOM_MAX 0.1

struct pace_load {
  uint64_t bytes;
  struct duration own;
};

struct pace {
  struct duration start; /* of a LOAD: before its first byte moves and after its last */
  struct pace_load loads[PACE_WINDOW];
  uint32_t noted; /* ever */
};

void pace_init(struct pace *pace, struct duration start);

/* A LOAD of `bytes` > 0 took `own` > 0 (CHECK), without what it waited for pace_least(). */
void pace_note(struct pace *pace, uint64_t bytes, struct duration own);

/* How long a LOAD of `bytes` is to take at least; zero until PACE_WINDOW were noted. */
struct duration pace_least(const struct pace *pace, uint64_t bytes);

#endif
