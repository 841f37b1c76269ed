/* Predictions recover from a change of speed within ESTIMATE_WINDOW actions.
 *
 * An estimate is one of a model's last ESTIMATE_WINDOW measurements of a batch size, so a
 * measurement from before the change is forgotten when as many from after it have come in a row
 * (one that comes late counts anew): from then on, an INFER that is sent must take what was
 * predicted, but for noise. Where a GPU says that its clock changed, the prediction for it follows
 * with its next result; both are waited for. While some GPU is slow and does not say so, the same
 * model takes different times on different GPUs, and nothing is claimed.
 *
 * Fed with telemetry's rows: what a user sees of predictions.
 */
#ifndef CLOCKWORK_SIMULATOR_FAULTS_CHECK_PREDICTIONS_H
#define CLOCKWORK_SIMULATOR_FAULTS_CHECK_PREDICTIONS_H

#include <stdbool.h>

#include "simulator/faults/findings.h"
#include "telemetry/telemetry.h"

struct check_predictions;

/* NULL: out of memory. `jitter_ppm`: of executions (backend/emulated). `wall_offset_ns`: what
 * telemetry's t is ahead of the simulation's time. */
struct check_predictions *check_predictions_create(struct findings *findings, uint32_t workers,
                                                   uint32_t gpus, uint32_t models,
                                                   uint32_t jitter_ppm, int64_t wall_offset_ns);
/* Accepts NULL. */
void check_predictions_destroy(struct check_predictions *check);

void check_predictions_on_telemetry(struct check_predictions *check, struct instant now,
                                    const struct telemetry_action *row);

/* Executions that begin from now on are faster or slower. `slow_change` +1: one more GPU is slow
 * without saying so, -1: one fewer. */
void check_predictions_on_change(struct check_predictions *check, struct instant now,
                                 int slow_change);

#endif
