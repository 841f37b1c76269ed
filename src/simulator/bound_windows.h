/* A run beside what no scheduler could beat (bound/bound.h), minute by minute, from the rows of
 * telemetry as they pass.
 *
 * A minute's requests are kept until another minute has gone by, for rows come when requests are
 * answered. One that is answered later than that counts as one that could have been served.
 * Requests that are no requests (no such model) are left out.
 *
 * Thread: one owner. Memory: 24 bytes for each request of two minutes.
 */
#ifndef CLOCKWORK_SIMULATOR_BOUND_WINDOWS_H
#define CLOCKWORK_SIMULATOR_BOUND_WINDOWS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "bound/bound.h"
#include "telemetry/telemetry.h"

/* No execution of the emulated backend is shorter than its profile by more standard deviations. */
enum { BOUND_WINDOWS_SIGMAS = 6 };

struct bound_windows_config {
  int64_t begin_ns; /* rows whose t is before are left out */
  uint32_t gpus;
  uint32_t models_count;
  struct duration max_exec; /* as the scheduler's */
  uint32_t max_batch;
  struct duration default_slo;
  uint32_t shorter_ppm; /* bound_batches_init() */
};

struct bound_window_row {
  struct bound_request request;
  uint32_t model_id;
};

struct bound_window {
  struct bound_window_row *rows;
  size_t count;
  size_t capacity;
  int64_t slo_ns_max;
};

/* All zero: can be finished. */
struct bound_windows {
  struct bound_windows_config config;
  struct bound_batches *batches; /* by model id, like those below */
  int64_t *execute_one_ns;
  struct bound_model *models; /* of one window */
  size_t *begins;
  struct bound_window windows[2]; /* minute `minute` and the one after it */
  int64_t minute;
  int64_t last_ns;    /* of the requests seen: the largest t */
  int64_t slo_ns_max; /* and the longest SLO */
  double served;      /* at most, in all minutes before `minute` */
  bool has_failed;    /* memory ran out */
};

MUST_USE enum err bound_windows_init(struct bound_windows *windows,
                                     const struct bound_windows_config *config);
void bound_windows_finish(struct bound_windows *windows);

/* To be called for every model before the first row. */
void bound_windows_set_model(struct bound_windows *windows, uint32_t model_id,
                             const struct model_spec *spec);

void bound_windows_on_request(struct bound_windows *windows, const struct telemetry_request *row);

/* No more rows come. ERR_NO_MEMORY: the bound is not known. */
MUST_USE enum err bound_windows_close(struct bound_windows *windows);

/* `key: value` lines, after bound_windows_close(): the bound on goodput, and which share of it the
 * `met` requests are that met their deadline within `duration_s`. */
void bound_windows_print(const struct bound_windows *windows, double duration_s, uint64_t met,
                         FILE *file);

#endif
