/* Makes a plan's faults happen, through the nodes' own functions. */
#ifndef CLOCKWORK_SIMULATOR_FAULTS_INJECT_H
#define CLOCKWORK_SIMULATOR_FAULTS_INJECT_H

#include <stdbool.h>

#include "base/prng.h"
#include "simulator/events.h"
#include "simulator/faults/plan.h"
#include "simulator/simulation.h"

/* Told when a fault begins (or happens) and when it ends. */
typedef void injected_fn(void *self, struct instant now, const struct fault *fault, bool begins);

struct inject_step {
  struct instant at;
  uint32_t fault_index;
  bool begins;
};

struct inject {
  struct event event;
  struct simulation *simulation;
  const struct fault_plan *plan;
  injected_fn *injected;
  void *self;
  struct prng prng;
  uint32_t clock_mhz;
  struct inject_step steps[2 * PLAN_FAULTS_MAX]; /* by time */
  uint32_t steps_count;
  uint32_t next_step;
};

/* `plan` and the simulation must outlive it; it must not move. `clock_mhz`: of all GPUs. */
void inject_init(struct inject *inject, struct simulation *simulation,
                 const struct fault_plan *plan, uint32_t clock_mhz, injected_fn *injected,
                 void *self);

#endif
