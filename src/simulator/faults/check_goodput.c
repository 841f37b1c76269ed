#include "simulator/faults/check_goodput.h"

#include <inttypes.h>
#include <math.h>

#include "simulator/faults/plan.h"

static const char NAME[] = "goodput";

/* Of a difference of two Poisson counts: once in 300 million. */
static const double SIGMAS = 6;

void check_goodput_init(struct check_goodput *check, struct findings *findings, int64_t start_ns,
                        struct duration last_end) {
  const int64_t level_ns = start_ns + PLAN_WARM_S * NS_PER_S;
  const int64_t again_ns = start_ns + last_end.ns + PLAN_RECOVERY_S * NS_PER_S;
  *check = (struct check_goodput){.findings = findings,
                                  .level_begin_ns = level_ns,
                                  .level_end_ns = level_ns + PLAN_LEVEL_S * NS_PER_S,
                                  .again_begin_ns = again_ns,
                                  .again_end_ns = again_ns + PLAN_AGAIN_S * NS_PER_S};
}

void check_goodput_on_telemetry(struct check_goodput *check, const struct telemetry_request *row) {
  if (row->t >= check->level_begin_ns && row->t < check->level_end_ns) {
    check->level_requests++;
    check->level_met += row->deadline_met != 0;
  } else if (row->t >= check->again_begin_ns && row->t < check->again_end_ns) {
    check->again_requests++;
    check->again_met += row->deadline_met != 0;
  }
}

void check_goodput_at_end(struct check_goodput *check, struct instant now) {
  const double level_rps = (double)check->level_met / PLAN_LEVEL_S;
  const double again_rps = (double)check->again_met / PLAN_AGAIN_S;
  const double scatter_rps =
      SIGMAS * sqrt((double)check->level_met + (double)check->again_met + 1) / PLAN_LEVEL_S;
  if (again_rps + scatter_rps >= level_rps * (100 - CHECK_GOODPUT_SLACK_PERCENT) / 100) {
    return;
  }
  findings_add(
      check->findings, NAME, now,
      "%.0f requests/s in time of %.0f before the first fault, %.0f of %.0f from %d s after "
      "the last",
      level_rps, (double)check->level_requests / PLAN_LEVEL_S, again_rps,
      (double)check->again_requests / PLAN_AGAIN_S, PLAN_RECOVERY_S);
}
