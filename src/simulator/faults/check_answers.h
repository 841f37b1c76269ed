/* Every request is answered exactly once and never with a wrong result.
 *
 *  - the client gets one answer to a request, or loses it with its connection;
 *  - the scheduler answers what it was given, once, and says how long that took;
 *  - a success was carried by an INFER of the request's model, in the place that the answer names,
 *    whose result has come and says success;
 *  - what comes after the deadline is marked late, all else is not (telemetry's deadline_met);
 *  - with a policy that keeps deadlines no answer takes longer than ANSWER_WITHIN_S, whatever
 * fails: an SLO of a second, 3 s until a stuck or silent worker is given up and half a second more
 * for each of four workers, and 5 s that a controller may hang.
 */
#ifndef CLOCKWORK_SIMULATOR_FAULTS_CHECK_ANSWERS_H
#define CLOCKWORK_SIMULATOR_FAULTS_CHECK_ANSWERS_H

#include <stdbool.h>

#include "simulator/faults/findings.h"
#include "simulator/observer.h"

enum { ANSWER_WITHIN_S = 12 };

struct check_answers;

/* NULL: out of memory. `calls_max`, `requests_max`, `actions_max`: indices of tickets, tags and
 * action ids are below. `sends_actions`: successes are carried by INFERs (ECHO's are not). */
struct check_answers *check_answers_create(struct findings *findings, uint32_t calls_max,
                                           uint32_t requests_max, uint32_t actions_max,
                                           bool keeps_deadlines, bool sends_actions);
/* Accepts NULL. */
void check_answers_destroy(struct check_answers *check);

void check_answers_on_request(struct check_answers *check, struct instant now, uint64_t ticket,
                              uint32_t model_id);
void check_answers_on_request_end(struct check_answers *check, struct instant now, uint64_t ticket,
                                  enum request_end end, enum request_result result);
void check_answers_on_request_taken(struct check_answers *check, struct instant now, uint32_t run,
                                    uint64_t tag, uint64_t ticket, uint32_t model_id);
void check_answers_on_answer(struct check_answers *check, struct instant now, uint32_t run,
                             const struct scheduler_answer *answer, bool is_known);
void check_answers_on_action(struct check_answers *check, struct instant now, uint32_t run,
                             const struct scheduler_action *action);
void check_answers_on_result(struct check_answers *check, struct instant now, uint32_t run,
                             uint32_t worker_id, const struct report_message *report);
void check_answers_on_telemetry(struct check_answers *check, struct instant now,
                                const struct telemetry_request *row);

/* Now and then: what is answered too late. `run` is the controller's present process. */
void check_answers_on_tick(struct check_answers *check, struct instant now, uint32_t run);

/* The client waits for nothing any more. */
bool check_answers_is_idle(const struct check_answers *check);

/* Everything must have been answered by now. */
void check_answers_at_end(struct check_answers *check, struct instant now, uint32_t run);

#endif
