/* Goodput returns to its level within PLAN_RECOVERY_S of the last fault (plan.h says why so long).
 *
 * Compared are the shares of the requests that met their deadline, by the time of their arrival,
 * before the first fault and after the recovery; and, where the load does not depend on answers,
 * how many requests came. (Clients that wait for an answer before they ask again ask less when all
 * weights ended up on fewer GPUs: every deadline is met all the same.) What chance scatters is
 * allowed for, and SLACK_PERCENT more for weights that lie elsewhere than before.
 */
#ifndef CLOCKWORK_SIMULATOR_FAULTS_CHECK_GOODPUT_H
#define CLOCKWORK_SIMULATOR_FAULTS_CHECK_GOODPUT_H

#include <stdbool.h>

#include "simulator/faults/findings.h"
#include "telemetry/telemetry.h"

enum { CHECK_GOODPUT_SLACK_PERCENT = 10 };

struct check_goodput {
  struct findings *findings;
  int64_t level_begin_ns; /* of telemetry's t */
  int64_t level_end_ns;
  int64_t again_begin_ns;
  int64_t again_end_ns;
  uint64_t level_met;
  uint64_t level_requests;
  uint64_t again_met;
  uint64_t again_requests;
};

/* `start_ns`: telemetry's t of the workload's first moment. The second stretch begins recovery_s
 * after `last_end`. */
void check_goodput_init(struct check_goodput *check, struct findings *findings, int64_t start_ns,
                        struct duration last_end);

void check_goodput_on_telemetry(struct check_goodput *check, const struct telemetry_request *row);

void check_goodput_at_end(struct check_goodput *check, struct instant now, bool is_open_loop);

#endif
