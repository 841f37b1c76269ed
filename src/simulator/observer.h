/* Who looks on: told what the nodes see and do, at the moment it happens, and changes nothing.
 *
 * `simulate` has none. The checkers and the timeline of faults/ are fed by one. All functions are
 * set. `now` is the simulation's time, which is the controller's; a worker's own times are on its
 * clock. `run` counts the controller's processes: ids of actions are of one process.
 */
#ifndef CLOCKWORK_SIMULATOR_OBSERVER_H
#define CLOCKWORK_SIMULATOR_OBSERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "backend/backend.h"
#include "base/time.h"
#include "executor/executor.h"
#include "scheduler/scheduler.h"
#include "simulator/messages.h"

/* How a request ended for its client. */
enum request_end {
  REQUEST_END_ANSWERED,
  REQUEST_END_LOST,     /* with its connection; it may have been served or not */
  REQUEST_END_UNCALLED, /* an answer to a request that is not under way */
};

struct observer {
  void *self;

  /* The client has sent a request over a connection. */
  void (*on_request)(void *self, struct instant now, uint64_t ticket, uint32_t model_id);
  void (*on_request_end)(void *self, struct instant now, uint64_t ticket, enum request_end end,
                         enum request_result result);

  /* The controller has handed a request to its scheduler, by this tag. */
  void (*on_request_taken)(void *self, struct instant now, uint32_t run, uint64_t tag,
                           uint64_t ticket, uint32_t model_id);
  /* The scheduler answers. `is_known` is false if the tag is of no request under way. */
  void (*on_answer)(void *self, struct instant now, uint32_t run,
                    const struct scheduler_answer *answer, bool is_known);
  void (*on_action)(void *self, struct instant now, uint32_t run,
                    const struct scheduler_action *action);
  /* A result has come, with its times converted; the scheduler gets it next. */
  void (*on_result)(void *self, struct instant now, uint32_t run, uint32_t worker_id,
                    const struct report_message *report, const struct scheduler_result *result);
  void (*on_worker_up)(void *self, struct instant now, uint32_t worker_id);
  void (*on_worker_lost)(void *self, struct instant now, uint32_t worker_id, const char *why);

  /* The controller's scheduler no longer has that GPU of a worker that is up. */
  void (*on_gpu_forgotten)(void *self, struct instant now, uint32_t worker_id, uint32_t gpu_index);

  /* The worker's process has begun anew, with empty GPUs. */
  void (*on_worker_started)(void *self, struct instant now, uint32_t worker_id);
  void (*on_gpu_withdrawn)(void *self, struct instant now, uint32_t worker_id, uint32_t gpu_index);
  /* An action goes to the executor, under the executor's name for it. */
  void (*on_action_taken)(void *self, struct instant now, uint32_t worker_id,
                          const struct executor_action *action, struct instant local);
  void (*on_action_done)(void *self, struct instant now, uint32_t worker_id,
                         const struct executor_result *result);

  /* At the device (device.h). `status` and the times of what completes are those that the executor
   * is told. */
  void (*on_submit)(void *self, struct instant now, uint32_t worker_id,
                    const struct backend_command *command);
  void (*on_completion)(void *self, struct instant now, uint32_t worker_id,
                        const struct backend_command *command,
                        const struct backend_completion *completion);
  void (*on_evict)(void *self, struct instant now, uint32_t worker_id, uint32_t gpu_index,
                   uint32_t model_id, const uint32_t *pages, uint32_t pages_count);
};

#endif
