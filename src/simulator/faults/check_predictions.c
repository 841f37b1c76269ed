#include "simulator/faults/check_predictions.h"

#include <inttypes.h>
#include <stdlib.h>

#include "model/estimate.h"
#include "model/model.h"
#include "model/status.h"

static const char NAME[] = "predictions";

/* Noise is cut off at 6 sigma (backend/emulated); prediction and outcome may err either way. */
enum { NOISE_SIGMAS = 12, ROUNDING_NS = 1000 };

/* A model's batches of one size. */
struct series {
  uint32_t epoch;
  uint32_t results_count; /* in a row, of actions sent in this epoch */
  struct instant recovered_at;
};

struct check_predictions {
  struct findings *findings;
  struct series *series;  /* by model and batch size */
  struct instant *heard;  /* by GPU: the first result that came of an action of this epoch */
  uint32_t *heard_epochs; /* the epoch that is of */
  uint32_t gpus;
  uint32_t jitter_ppm;
  int64_t wall_offset_ns;
  uint32_t epoch;
  struct instant changed_at;
  int slow_count;
};

struct check_predictions *check_predictions_create(struct findings *findings, uint32_t workers,
                                                   uint32_t gpus, uint32_t models,
                                                   uint32_t jitter_ppm, int64_t wall_offset_ns) {
  struct check_predictions *check = calloc(1, sizeof(*check));
  if (check == NULL) {
    return NULL;
  }
  const size_t all = (size_t)workers * gpus;
  *check = (struct check_predictions){
      .findings = findings,
      .series = calloc((size_t)models * (MODEL_BATCH_MAX + 1), sizeof(struct series)),
      .heard = calloc(all, sizeof(struct instant)),
      .heard_epochs = calloc(all, sizeof(uint32_t)),
      .gpus = gpus,
      .jitter_ppm = jitter_ppm,
      .wall_offset_ns = wall_offset_ns,
      .epoch = 1};
  if (check->series == NULL || check->heard == NULL || check->heard_epochs == NULL) {
    check_predictions_destroy(check);
    return NULL;
  }
  return check;
}

void check_predictions_destroy(struct check_predictions *check) {
  if (check != NULL) {
    free(check->series);
    free(check->heard);
    free(check->heard_epochs);
    free(check);
  }
}

void check_predictions_on_change(struct check_predictions *check, struct instant now,
                                 int slow_change) {
  check->epoch++;
  check->changed_at = now;
  check->slow_count += slow_change;
}

static void check_error(struct check_predictions *check, struct instant now,
                        const struct telemetry_action *row) {
  const int64_t error_ns = row->worker_exec_duration - row->expected_exec_duration;
  const double noise_ns = (double)row->worker_exec_duration * check->jitter_ppm * 1e-6;
  const int64_t allowed_ns = (int64_t)(noise_ns * NOISE_SIGMAS) + ROUNDING_NS;
  if (error_ns > allowed_ns || -error_ns > allowed_ns) {
    findings_add(check->findings, NAME, now,
                 "model %" PRIu32 " batch %" PRIu32 " on worker %" PRIu32 " GPU %" PRIu32
                 " took %" PRId64 " ns, predicted %" PRId64
                 " ns, after %d and more results since the speed changed at %.3f s",
                 (uint32_t)row->model_id, (uint32_t)row->batch_size, (uint32_t)row->worker_id,
                 (uint32_t)row->gpu_id, (int64_t)row->worker_exec_duration,
                 (int64_t)row->expected_exec_duration, ESTIMATE_WINDOW,
                 (double)check->changed_at.ns / 1e9);
  }
}

void check_predictions_on_telemetry(struct check_predictions *check, struct instant now,
                                    const struct telemetry_action *row) {
  if (row->action_type != ACTION_INFER || row->status != ACTION_SUCCESS || check->slow_count > 0) {
    return;
  }
  const struct instant sent = {row->t - check->wall_offset_ns};

  struct series *series =
      &check->series[(size_t)row->model_id * (MODEL_BATCH_MAX + 1) + row->batch_size];
  const size_t gpu = (size_t)row->worker_id * check->gpus + row->gpu_id;
  if (series->epoch != check->epoch) {
    *series = (struct series){.epoch = check->epoch, .recovered_at = INSTANT_NEVER};
  }
  const bool is_heard = check->heard_epochs[gpu] == check->epoch;
  if (is_heard && !instant_before(sent, series->recovered_at) &&
      instant_after(sent, check->heard[gpu])) {
    check_error(check, now, row);
  }
  /* When it began is told by a clock that may have been wrong; when it was sent is certain. */
  if (instant_before(sent, check->changed_at)) {
    *series = (struct series){.epoch = check->epoch, .recovered_at = INSTANT_NEVER};
    return;
  }
  if (!is_heard) {
    check->heard_epochs[gpu] = check->epoch;
    check->heard[gpu] = now;
  }
  series->results_count++;
  if (series->results_count == ESTIMATE_WINDOW) {
    series->recovered_at = now;
  }
}
