/* What a run came to, from the rows of telemetry as they pass.
 *
 * Keys that also stand in summary.txt of experiments/maf-exp-1-and-2 mean the same and are computed
 * from the same rows, so a simulated and a real run can be compared line by line.
 */
#ifndef CLOCKWORK_SIMULATOR_SUMMARY_H
#define CLOCKWORK_SIMULATOR_SUMMARY_H

#include <stdint.h>
#include <stdio.h>

#include "base/histogram.h"
#include "base/time.h"
#include "telemetry/telemetry.h"

/* The errors of one prediction: expected and actual, of one kind of action. */
struct summary_errors {
  struct histogram over;  /* took less than expected, by so much; only those */
  struct histogram under; /* took more */
  uint64_t exact_count;
};

/* A megabyte: on the heap. All zero but `begin_ns`, `gpus`, `best_ns` and `package_of_model`:
 * nothing seen. */
struct summary {
  int64_t begin_ns; /* rows whose t is before are left out */
  uint32_t gpus;    /* in the cluster */
  const int64_t
      *best_ns; /* by package: execution time a request at the most efficient batch size */
  const uint16_t *package_of_model; /* by model id */
  int64_t first_ns;                 /* of the requests counted: the least t */
  int64_t last_ns;
  uint64_t requests;
  uint64_t met;
  uint64_t results[16];
  uint64_t cold_starts;
  int64_t
      best_offered_ns; /* sum of best_ns over all requests, over those that met their deadline */
  int64_t best_met_ns;
  struct histogram latency;      /* of successes */
  struct histogram cold_latency; /* of those among them whose model was on no GPU */
  uint64_t actions[4];           /* that succeeded, by type */
  uint64_t actions_failed;
  uint64_t batched; /* sum of batch sizes, and of their squares */
  uint64_t batched_squared;
  int64_t busy_ns;                     /* of executions */
  struct summary_errors prediction[4]; /* by action type: LOAD and INFER are filled */
  struct summary_errors completion[4];
  /* |actual - expected| of durations, in parts per million of what was expected; nothing of an
   * expected 0. By action type. */
  struct histogram prediction_shares[4];
};

void summary_on_request(struct summary *summary, const struct telemetry_request *row);
void summary_on_action(struct summary *summary, const struct telemetry_action *row);

/* From `begin_ns`, or the first request, to the last. */
double summary_duration_s(const struct summary *summary);

/* `key: value` lines, up to the last one about the requests and actions themselves. */
void summary_print(const struct summary *summary, FILE *file);

#endif
