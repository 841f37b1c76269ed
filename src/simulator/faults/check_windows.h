/* Nothing starts outside its window: an action that a worker says it has run began, on that
 * worker's clock, within [earliest, latest].
 */
#ifndef CLOCKWORK_SIMULATOR_FAULTS_CHECK_WINDOWS_H
#define CLOCKWORK_SIMULATOR_FAULTS_CHECK_WINDOWS_H

#include "simulator/faults/findings.h"
#include "simulator/observer.h"

struct check_windows;

/* NULL: out of memory. Indices of the executors' action ids are below actions_max. */
struct check_windows *check_windows_create(struct findings *findings, uint32_t workers,
                                           uint32_t actions_max);
/* Accepts NULL. */
void check_windows_destroy(struct check_windows *check);

void check_windows_on_action_taken(struct check_windows *check, uint32_t worker_id,
                                   const struct executor_action *action);
void check_windows_on_action_done(struct check_windows *check, struct instant now,
                                  uint32_t worker_id, const struct executor_result *result);

#endif
