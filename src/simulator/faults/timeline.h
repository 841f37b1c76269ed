/* A run as a trace in Chrome's JSON format, for chrome://tracing or ui.perfetto.dev.
 *
 * A process for each machine. A worker has a track for each engine of each GPU, where what ran is a
 * slice with model and batch size (evictions are instants on the LOAD track), and asynchronous
 * slices for the windows of its actions. The controller has workers that come and go, and
 * asynchronous slices for requests; counters show requests under way and, each 10 ms, answers by
 * kind. Faults are slices and global instants. Times are the simulation's, in microseconds since
 * the workload began.
 */
#ifndef CLOCKWORK_SIMULATOR_FAULTS_TIMELINE_H
#define CLOCKWORK_SIMULATOR_FAULTS_TIMELINE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "simulator/faults/plan.h"
#include "simulator/observer.h"

struct timeline;

/* Open `path` for writing. NULL: *ret_error names it and says why. `start`: of the workload.
 * `model_name` of an id: static for the timeline's life. */
struct timeline *timeline_create(const char *path, const struct fault_plan *plan,
                                 struct instant start,
                                 const char *(*model_name)(const void *self, uint32_t model_id),
                                 const void *self, struct error_text *ret_error);

/* Write what is left. False: the file is not whole. Accepts NULL, then true. */
bool timeline_destroy(struct timeline *timeline);

void timeline_on_fault(struct timeline *timeline, struct instant now, const struct fault *fault,
                       bool begins);
void timeline_on_request(struct timeline *timeline, struct instant now, uint64_t ticket,
                         uint32_t model_id);
void timeline_on_request_end(struct timeline *timeline, struct instant now, uint64_t ticket,
                             enum request_end end, enum request_result result);
void timeline_on_action(struct timeline *timeline, uint32_t run,
                        const struct scheduler_action *action);
void timeline_on_worker(struct timeline *timeline, struct instant now, uint32_t worker_id,
                        const char *what);
void timeline_on_submit(struct timeline *timeline, struct instant now, uint32_t worker_id,
                        const struct backend_command *command);
void timeline_on_completion(struct timeline *timeline, struct instant now, uint32_t worker_id,
                            const struct backend_command *command,
                            const struct backend_completion *completion);
void timeline_on_evict(struct timeline *timeline, struct instant now, uint32_t worker_id,
                       uint32_t gpu_index, uint32_t model_id);
void timeline_on_finding(struct timeline *timeline, struct instant now, const char *checker,
                         const char *text);

#endif
