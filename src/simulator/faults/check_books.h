/* At rest, controller and worker agree on what is on a GPU: what the scheduler takes for loaded is
 * there, what is there it knows of, and both count the same pages as free. Else memory would be
 * lost until the worker restarts, or LOADs be refused for ever.
 */
#ifndef CLOCKWORK_SIMULATOR_FAULTS_CHECK_BOOKS_H
#define CLOCKWORK_SIMULATOR_FAULTS_CHECK_BOOKS_H

#include "scheduler/scheduler.h"
#include "simulator/faults/findings.h"
#include "simulator/worker_node.h"

/* When nothing is under way. Looks at the workers that are up only. O(GPUs x models). */
void check_books_at_end(struct findings *findings, struct instant now,
                        const struct scheduler *scheduler, const struct worker_node *worker,
                        uint32_t models_count);

#endif
