/* One plan, run from its beginning to its end or to the first finding. */
#ifndef CLOCKWORK_SIMULATOR_FAULTS_SEED_RUN_H
#define CLOCKWORK_SIMULATOR_FAULTS_SEED_RUN_H

#include "os/error_text.h"
#include "simulator/faults/findings.h"
#include "simulator/faults/plan.h"
#include "simulator/inputs.h"

struct seed_inputs {
  const struct profile *profile;
  const struct day *day;
};

struct seed_outcome {
  struct findings findings;
  uint64_t trace_hash;
  uint64_t requests; /* sent by the client */
  uint64_t succeeded;
  uint64_t infers;
};

/* `timeline_path` NULL: none is written. On failure (a file, memory) *ret_error says what. */
MUST_USE enum err seed_run(const struct fault_plan *plan, const struct seed_inputs *inputs,
                           const char *timeline_path, struct seed_outcome *ret_outcome,
                           struct error_text *ret_error);

#endif
