/* The one observer of a run: hands what happens to every checker and to the timeline. */
#ifndef CLOCKWORK_SIMULATOR_FAULTS_WATCH_H
#define CLOCKWORK_SIMULATOR_FAULTS_WATCH_H

#include "simulator/faults/check_answers.h"
#include "simulator/faults/check_goodput.h"
#include "simulator/faults/check_losses.h"
#include "simulator/faults/check_pages.h"
#include "simulator/faults/check_predictions.h"
#include "simulator/faults/check_results.h"
#include "simulator/faults/check_windows.h"
#include "simulator/faults/timeline.h"

struct watch {
  struct findings findings;
  struct check_answers *answers;
  struct check_windows *windows;
  struct check_results *results;
  struct check_losses *losses;
  struct check_pages *pages;
  struct check_predictions *predictions;
  struct check_goodput goodput;
  struct timeline *timeline; /* NULL: none is written */
  const struct instant *now; /* the simulation's */
};

/* Functions that take a struct watch as self. */
extern const struct observer watch_observer;

void watch_on_request_telemetry(void *self, const struct telemetry_request *row);
void watch_on_action_telemetry(void *self, const struct telemetry_action *row);
void watch_on_fault(void *self, struct instant now, const struct fault *fault, bool begins);

#endif
