#include "simulator/faults/check_goodput.h"

#include <inttypes.h>
#include <math.h>

#include "simulator/faults/plan.h"

static const char NAME[] = "goodput";

/* Of a difference of two Poisson counts. Refusals come in bursts, so more than chance has it. */
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

static double share_of(uint64_t part, uint64_t whole) {
  return whole == 0 ? 1 : (double)part / (double)whole;
}

void check_goodput_at_end(struct check_goodput *check, struct instant now, bool is_open_loop) {
  const double least = (100 - CHECK_GOODPUT_SLACK_PERCENT) / 100.0;
  const double level_requests = (double)check->level_requests * PLAN_AGAIN_S / PLAN_LEVEL_S;
  const double again_requests = (double)check->again_requests;
  const double level = share_of(check->level_met, check->level_requests);
  const double again = share_of(check->again_met, check->again_requests);
  const double scatter = SIGMAS * sqrt(level_requests + again_requests + 1);
  const bool is_asked_again = !is_open_loop || again_requests + scatter >= level_requests * least;
  if (is_asked_again && again * again_requests + scatter >= level * again_requests * least) {
    return;
  }
  findings_add(
      check->findings, NAME, now,
      "%.1f requests/s in time of %.1f before the first fault, %.1f of %.1f from %d s after "
      "the last",
      (double)check->level_met / PLAN_LEVEL_S, level_requests / PLAN_AGAIN_S,
      (double)check->again_met / PLAN_AGAIN_S, again_requests / PLAN_AGAIN_S, PLAN_RECOVERY_S);
}
