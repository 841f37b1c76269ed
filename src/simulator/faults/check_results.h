/* Every action that a worker takes gives exactly one result, unless its process ends first; and,
 * while the process runs, no later than RESULT_WITHIN_S: an eviction's window is a second, all
 * others open within some 10 ms, no execution and no stalled transfer takes 3 s, and a worker hangs
 * for 5 s at most.
 */
#ifndef CLOCKWORK_SIMULATOR_FAULTS_CHECK_RESULTS_H
#define CLOCKWORK_SIMULATOR_FAULTS_CHECK_RESULTS_H

#include "simulator/faults/findings.h"
#include "simulator/observer.h"

enum { RESULT_WITHIN_S = 12 };

struct check_results;

/* NULL: out of memory. Indices of the executors' action ids are below actions_max. */
struct check_results *check_results_create(struct findings *findings, uint32_t workers,
                                           uint32_t actions_max);
/* Accepts NULL. */
void check_results_destroy(struct check_results *check);

void check_results_on_action_taken(struct check_results *check, struct instant now,
                                   uint32_t worker_id, const struct executor_action *action);
void check_results_on_action_done(struct check_results *check, struct instant now,
                                  uint32_t worker_id, const struct executor_result *result);
void check_results_on_worker_started(struct check_results *check, uint32_t worker_id);

/* Now and then, for a worker whose process runs. */
void check_results_on_tick(struct check_results *check, struct instant now, uint32_t worker_id);

/* Everything must have its result by now. */
void check_results_at_end(struct check_results *check, struct instant now, uint32_t worker_id);

#endif
