/* The busiest stretch of a workload, found from its requests alone, and the workload as it is just
 * before: from there a simulation can begin without the hours that come first.
 *
 * Busy means GPU time: each request counts with what it takes of a GPU in its model's most
 * efficient batch size. Stretches begin at multiples of their length after a lead-in, in which a
 * simulated cluster loads its weights.
 */
#ifndef CLOCKWORK_SIMULATOR_BUSY_WINDOW_H
#define CLOCKWORK_SIMULATOR_BUSY_WINDOW_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/time.h"
#include "workload/workload.h"

struct busy_window_config {
  const struct workload_config *workload; /* with its trace; an open loop (else ERR_UNSUPPORTED) */
  const int64_t *best_ns;                 /* by model index */
  struct duration horizon;                /* how far to look; at least leadin + length */
  struct duration length;
  struct duration leadin; /* at most `length` */
};

/* All zero: can be finished. */
struct busy_window {
  struct workload *workload; /* busy_window_rewind() takes it to `begin` */
  struct instant begin;      /* of the lead-in; the stretch begins `leadin` later */
  uint64_t requests;         /* in the stretch */
  double gpus;               /* how many it would keep busy if every batch were the best one */
  /* Private. */
  void *memory;
  void *begun; /* what `memory` held at `begin` */
  size_t memory_bytes;
};

/* ERR_NO_MEMORY; ERR_UNSUPPORTED: a closed loop asks as fast as it is served, it has no busy time;
 * ERR_NOT_FOUND: no request within the horizon. Cost: that of making all requests, about 150 ns
 * each. */
MUST_USE enum err busy_window_find(const struct busy_window_config *config,
                                   struct busy_window *ret_window);

/* Before each use of `workload`: back to `begin`. */
void busy_window_rewind(const struct busy_window *window);

/* Requests in the `length` that follow the lead-in, however long. Leaves `workload` anywhere. */
uint64_t busy_window_count(const struct busy_window *window, struct duration leadin,
                           struct duration length);

/* Accepts NULL and a zeroed one. */
void busy_window_finish(struct busy_window *window);

#endif
