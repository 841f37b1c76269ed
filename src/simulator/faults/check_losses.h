/* A GPU that is lost is no longer used, and no other is given up with it: once the controller is
 * told it sends no more actions there, its scheduler keeps just the GPUs of the worker that are
 * left, and a worker's process does not outlive its last GPU.
 */
#ifndef CLOCKWORK_SIMULATOR_FAULTS_CHECK_LOSSES_H
#define CLOCKWORK_SIMULATOR_FAULTS_CHECK_LOSSES_H

#include "scheduler/scheduler.h"
#include "simulator/faults/findings.h"
#include "simulator/worker_node.h"

struct check_losses;

/* NULL: no memory. `gpus`: of each worker. */
struct check_losses *check_losses_create(struct findings *findings, uint32_t workers,
                                         uint32_t gpus);

/* Accepts NULL. */
void check_losses_destroy(struct check_losses *check);

/* As observer.h has them. */
void check_losses_on_worker_up(struct check_losses *check, uint32_t worker_id);
void check_losses_on_gpu_forgotten(struct check_losses *check, uint32_t worker_id,
                                   uint32_t gpu_index);
void check_losses_on_action(struct check_losses *check, struct instant now,
                            const struct scheduler_action *action);
void check_losses_on_worker_started(struct check_losses *check, uint32_t worker_id);
void check_losses_on_gpu_withdrawn(struct check_losses *check, struct instant now,
                                   uint32_t worker_id, uint32_t gpu_index);

/* From time to time: a worker whose process runs, and a worker as the scheduler knows it. */
void check_losses_on_worker_tick(struct check_losses *check, struct instant now,
                                 const struct worker_node *worker);
void check_losses_on_scheduler_tick(struct check_losses *check, struct instant now,
                                    const struct scheduler *scheduler, uint32_t worker_id);

#endif
