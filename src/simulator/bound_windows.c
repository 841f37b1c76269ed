#include "simulator/bound_windows.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "model/status.h"

#define WINDOW_NS (60 * NS_PER_S)

enum err bound_windows_init(struct bound_windows *windows,
                            const struct bound_windows_config *config) {
  *windows = (struct bound_windows){
      .config = *config,
      .last_ns = config->begin_ns,
      .batches = calloc(config->models_count, sizeof(struct bound_batches)),
      .execute_one_ns = calloc(config->models_count, sizeof(int64_t)),
      .models = calloc(config->models_count, sizeof(struct bound_model)),
      .begins = calloc((size_t)config->models_count + 1, sizeof(size_t)),
  };
  if (windows->batches == NULL || windows->execute_one_ns == NULL || windows->models == NULL ||
      windows->begins == NULL) {
    bound_windows_finish(windows);
    return ERR_NO_MEMORY;
  }
  return ERR_OK;
}

void bound_windows_finish(struct bound_windows *windows) {
  free(windows->batches);
  free(windows->execute_one_ns);
  free(windows->models);
  free(windows->begins);
  free(windows->windows[0].rows);
  free(windows->windows[1].rows);
  *windows = (struct bound_windows){.has_failed = true};
}

void bound_windows_set_model(struct bound_windows *windows, uint32_t model_id,
                             const struct model_spec *spec) {
  const struct bound_windows_config *config = &windows->config;
  CHECK_LT(model_id, config->models_count);
  bound_batches_init(&windows->batches[model_id], spec, config->max_exec, config->max_batch,
                     config->shorter_ppm);
  windows->execute_one_ns[model_id] = spec->execute[0].ns;
}

/* ---- one minute's bound -----------------------------------------------------------------------
 */

/* Rows by model: sets windows->models, each a part of `requests`. */
static void group_by_model(struct bound_windows *windows, const struct bound_window *window,
                           struct bound_request *requests) {
  const uint32_t models_count = windows->config.models_count;
  size_t *begins = windows->begins;
  memset(begins, 0, ((size_t)models_count + 1) * sizeof(*begins));
  for (size_t i = 0; i < window->count; i++) {
    begins[window->rows[i].model_id + 1]++;
  }
  for (uint32_t i = 0; i < models_count; i++) {
    begins[i + 1] += begins[i];
    windows->models[i] =
        (struct bound_model){.batches = &windows->batches[i], .requests = &requests[begins[i]]};
  }
  for (size_t i = 0; i < window->count; i++) {
    const struct bound_window_row *row = &window->rows[i];
    struct bound_model *model = &windows->models[row->model_id];
    struct bound_request *first = &requests[begins[row->model_id]];
    /* Answers come nearly in the order of arrival. */
    size_t at = model->requests_count++;
    for (; at > 0 && first[at - 1].arrived_ns > row->request.arrived_ns; at--) {
      first[at] = first[at - 1];
    }
    first[at] = row->request;
  }
}

static void close_oldest(struct bound_windows *windows) {
  struct bound_window *window = &windows->windows[0];
  if (window->count > 0 && !windows->has_failed) {
    struct bound_request *requests = malloc(window->count * sizeof(*requests));
    double *scratch = malloc(bound_scratch_count(window->count) * sizeof(*scratch));
    if (requests == NULL || scratch == NULL) {
      windows->has_failed = true;
    } else {
      group_by_model(windows, window, requests);
      const int64_t begin_ns = windows->config.begin_ns + windows->minute * WINDOW_NS;
      const int64_t left_ns = windows->last_ns - begin_ns;
      const int64_t span_ns = left_ns < WINDOW_NS ? left_ns : WINDOW_NS;
      const struct duration gpu_time = {(span_ns + window->slo_ns_max) * windows->config.gpus};
      windows->served +=
          bound_served(windows->models, windows->config.models_count, gpu_time, scratch);
    }
    free(requests);
    free(scratch);
  }
  const struct bound_window emptied = {.rows = window->rows, .capacity = window->capacity};
  windows->windows[0] = windows->windows[1];
  windows->windows[1] = emptied;
  windows->minute++;
}

/* ---- rows -------------------------------------------------------------------------------------
 */

static bool window_add(struct bound_window *window, const struct bound_window_row *row) {
  if (window->count == window->capacity) {
    const size_t capacity = window->capacity == 0 ? 1024 : window->capacity * 2;
    struct bound_window_row *rows = realloc(window->rows, capacity * sizeof(*rows));
    if (rows == NULL) {
      return false;
    }
    window->rows = rows;
    window->capacity = capacity;
  }
  window->rows[window->count++] = *row;
  const int64_t slo_ns = row->request.deadline_ns - row->request.arrived_ns;
  window->slo_ns_max = slo_ns > window->slo_ns_max ? slo_ns : window->slo_ns_max;
  return true;
}

/* What was refused for lack of a slot has a row without its SLO. */
static int64_t slo_of(const struct bound_windows *windows, const struct telemetry_request *row) {
  if (row->deadline > 0) {
    return row->deadline;
  }
  return row->slo_factor > 0
             ? (int64_t)(row->slo_factor * (double)windows->execute_one_ns[row->model_id])
             : windows->config.default_slo.ns;
}

void bound_windows_on_request(struct bound_windows *windows, const struct telemetry_request *row) {
  if (row->t < windows->config.begin_ns || row->model_id >= windows->config.models_count ||
      row->result == REQUEST_INVALID) {
    return;
  }
  const int64_t minute = (row->t - windows->config.begin_ns) / WINDOW_NS;
  windows->last_ns = row->t > windows->last_ns ? row->t : windows->last_ns;
  while (minute > windows->minute + 1) {
    close_oldest(windows);
  }
  if (minute < windows->minute) {
    windows->served++;
    return;
  }
  const int64_t slo_ns = slo_of(windows, row);
  windows->slo_ns_max = slo_ns > windows->slo_ns_max ? slo_ns : windows->slo_ns_max;
  const struct bound_window_row kept = {
      .request = {.arrived_ns = row->t, .deadline_ns = row->t + slo_ns}, .model_id = row->model_id};
  if (!window_add(&windows->windows[minute - windows->minute], &kept)) {
    windows->has_failed = true;
  }
}

enum err bound_windows_close(struct bound_windows *windows) {
  close_oldest(windows);
  close_oldest(windows);
  return windows->has_failed ? ERR_NO_MEMORY : ERR_OK;
}

void bound_windows_print(const struct bound_windows *windows, double duration_s, uint64_t met,
                         FILE *file) {
  double closed_loop_rps = 0;
  for (uint32_t i = 0; i < windows->config.models_count; i++) {
    const double rate = bound_rate_per_gpu(&windows->batches[i], duration_ns(windows->slo_ns_max));
    closed_loop_rps = rate > closed_loop_rps ? rate : closed_loop_rps;
  }
  fprintf(file, "bound_goodput_rps: %.3f\n", windows->served / duration_s);
  fprintf(file, "goodput_of_bound_percent: %.4f\n",
          windows->served > 0 ? 100 * (double)met / windows->served : 0);
  fprintf(file, "bound_closed_loop_rps: %.3f\n", closed_loop_rps * windows->config.gpus);
}
