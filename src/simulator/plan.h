/* How many GPUs a workload needs so that a given share of its requests meets the SLO.
 *
 * Each answer is a simulation of the busiest stretch (simulator/busy_window.h) with so many GPUs,
 * ended early once more requests have missed than the target allows. Doubling finds a number that
 * is enough, bisection the smallest; that one is then tried on a longer stretch that begins at the
 * same moment, and raised until it holds there too. This takes for granted that more GPUs never
 * serve fewer requests; the curve of plan_curve() shows how far that is so.
 *
 * Thread: one owner.
 */
#ifndef CLOCKWORK_SIMULATOR_PLAN_H
#define CLOCKWORK_SIMULATOR_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "os/error_text.h"
#include "simulator/busy_window.h"
#include "simulator/simulation.h"

struct plan_config {
  /* Workload, policy, network and so on; workers_count, begun and duration are set here. */
  const struct simulation_config *simulation;
  double target;          /* share of requests that must meet their SLO, 0 to 1 */
  uint32_t gpus_max;      /* no more are tried */
  struct duration leadin; /* before each stretch, not counted: weights are loaded */
  struct duration length; /* of the busiest stretch */
  struct duration verify; /* of the longer one; at least `length` */
};

enum plan_stage { PLAN_SEARCH, PLAN_VERIFY, PLAN_CURVE };

struct plan_trial {
  enum plan_stage stage;
  uint32_t gpus;
  uint64_t requests; /* in the stretch, all of them */
  uint64_t answered; /* of those, until the trial ended */
  uint64_t missed;   /* of those: late or refused */
  bool is_whole;     /* not ended early */
  bool is_enough;
};

struct plan {
  struct plan_config config;
  const struct busy_window *window;
  void (*on_trial)(void *self, const struct plan_trial *trial); /* each, as it ends; may be NULL */
  void *self;
};

/* Requests of a stretch that may miss. */
uint64_t plan_allowed(double target, uint64_t requests);

/* Try `gpus` on the stretch of that stage. `ends_early`: stop when it is known not to be enough.
 * ERR_NO_MEMORY, ERR_RANGE, ERR_NOT_FOUND as simulation_create(). */
MUST_USE enum err plan_try(const struct plan *plan, enum plan_stage stage, uint32_t gpus,
                           bool ends_early, struct plan_trial *ret_trial,
                           struct error_text *ret_error);

/* The smallest number that is enough, and its two trials. ERR_NOT_FOUND with *ret_is_unreachable:
 * gpus_max is not enough; *ret_search is that trial. Other errors: plan_try(). */
MUST_USE enum err plan_find(const struct plan *plan, struct plan_trial *ret_search,
                            struct plan_trial *ret_verify, bool *ret_is_unreachable,
                            struct error_text *ret_error);

/* Whole trials of about `points` numbers of GPUs around `gpus`, for a plot; through on_trial. */
MUST_USE enum err plan_curve(const struct plan *plan, uint32_t gpus, uint32_t points,
                             struct error_text *ret_error);

#endif
