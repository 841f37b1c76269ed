#include "simulator/summary.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "base/check.h"
#include "model/status.h"

enum { PPM = 1000000 };

static void add_error(struct summary_errors *errors, int64_t actual_ns, int64_t expected_ns) {
  const int64_t error_ns = actual_ns - expected_ns;
  if (error_ns == 0) {
    errors->exact_count++;
  } else if (error_ns > 0) {
    histogram_record(&errors->under, error_ns);
  } else {
    histogram_record(&errors->over, -error_ns);
  }
}

static void add_share(struct histogram *shares, int64_t actual_ns, int64_t expected_ns) {
  if (expected_ns > 0) {
    const double error_ns = fabs((double)(actual_ns - expected_ns));
    histogram_record(shares, (int64_t)rint(error_ns / (double)expected_ns * PPM));
  }
}

void summary_on_request(struct summary *summary, const struct telemetry_request *row) {
  if (row->t < summary->begin_ns) {
    return;
  }
  if (summary->requests == 0 || row->t < summary->first_ns) {
    summary->first_ns = row->t;
  }
  summary->last_ns = row->t > summary->last_ns ? row->t : summary->last_ns;
  const int64_t best_ns = summary->best_ns[summary->package_of_model[row->model_id]];
  summary->requests++;
  summary->results[row->result & 15]++;
  summary->cold_starts += row->is_coldstart;
  summary->best_offered_ns += best_ns;
  if (row->result == REQUEST_SUCCESS) {
    histogram_record(&summary->latency, row->latency);
    if (row->is_coldstart) {
      histogram_record(&summary->cold_latency, row->latency);
    }
  }
  if (row->deadline_met) {
    summary->met++;
    summary->best_met_ns += best_ns;
  }
}

void summary_on_action(struct summary *summary, const struct telemetry_action *row) {
  if (row->t < summary->begin_ns) {
    return;
  }
  if (row->status != ACTION_SUCCESS) {
    summary->actions_failed++;
    return;
  }
  summary->actions[row->action_type & 3]++;
  if (row->action_type == ACTION_EVICT) {
    return;
  }
  add_error(&summary->prediction[row->action_type & 3], row->worker_exec_duration,
            row->expected_exec_duration);
  add_share(&summary->prediction_shares[row->action_type & 3], row->worker_exec_duration,
            row->expected_exec_duration);
  add_error(&summary->completion[row->action_type & 3], row->worker_exec_complete,
            row->expected_exec_complete);
  if (row->action_type == ACTION_INFER) {
    summary->batched += row->batch_size;
    summary->batched_squared += (uint64_t)row->batch_size * row->batch_size;
    summary->busy_ns += row->worker_exec_duration;
  }
}

static double share(uint64_t part, uint64_t whole) {
  return whole == 0 ? (double)NAN : (double)part / (double)whole;
}

/* In percent, rounded down at the fourth decimal: 100 only where nothing is missing. */
static void print_percent(FILE *file, const char *key, double part_of_one) {
  const double percent = part_of_one < 1 ? floor(part_of_one * 1e6) / 1e4 : part_of_one * 1e2;
  fprintf(file, "%s: %.4f\n", key, percent);
}

static void print_quantiles(FILE *file, const char *prefix, const struct histogram *histogram,
                            double unit, const char *unit_name, int decimals) {
  static const struct {
    const char *name;
    double share;
  } QUANTILES[] = {{"p50", 0.5}, {"p99", 0.99}, {"p9999", 0.9999}};
  for (size_t i = 0; i < sizeof(QUANTILES) / sizeof(QUANTILES[0]); i++) {
    const int64_t value = histogram_quantile(histogram, QUANTILES[i].share);
    fprintf(file, "%s_%s_%s: %.*f\n", prefix, QUANTILES[i].name, unit_name, decimals,
            (double)value / unit);
  }
}

/* `zeros` values of 0 more: actions that erred the other way, or not at all. */
static void print_error_quantiles(FILE *file, const char *prefix, const struct histogram *from,
                                  const struct histogram *more, uint64_t zeros) {
  struct histogram *all = calloc(1, sizeof(*all));
  CHECK(all != NULL);
  histogram_merge(all, from);
  if (more != NULL) {
    histogram_merge(all, more);
  }
  all->counts[0] += zeros;
  all->count += zeros;
  print_quantiles(file, prefix, all, (double)NS_PER_US, "us", 3);
  free(all);
}

static void print_errors(FILE *file, const char *action, const char *kind,
                         const struct summary_errors *errors) {
  char prefix[64];
  snprintf(prefix, sizeof(prefix), "%s_%s_error", action, kind);
  print_error_quantiles(file, prefix, &errors->over, &errors->under, errors->exact_count);
  snprintf(prefix, sizeof(prefix), "%s_%s_error_over", action, kind);
  print_error_quantiles(file, prefix, &errors->over, NULL,
                        errors->exact_count + errors->under.count);
  snprintf(prefix, sizeof(prefix), "%s_%s_error_under", action, kind);
  print_error_quantiles(file, prefix, &errors->under, NULL,
                        errors->exact_count + errors->over.count);
}

static void print_requests(const struct summary *summary, double duration_s, FILE *file) {
  const uint64_t succeeded = summary->results[REQUEST_SUCCESS];
  fprintf(file, "requests: %" PRIu64 "\n", summary->requests);
  fprintf(file, "start_unix_s: %.3f\n",
          (double)(summary->begin_ns > 0 ? summary->begin_ns : summary->first_ns) / 1e9);
  fprintf(file, "duration_s: %.3f\n", duration_s);
  fprintf(file, "throughput_rps: %.3f\n", (double)summary->requests / duration_s);
  fprintf(file, "goodput_rps: %.3f\n", (double)summary->met / duration_s);
  print_percent(file, "slo_met_percent", share(summary->met, summary->requests));
  fprintf(file, "refused: %" PRIu64 "\n", summary->requests - succeeded);
  for (unsigned i = 0; i < 16; i++) {
    if (summary->results[i] > 0) {
      fprintf(file, "result_%u: %" PRIu64 "\n", i, summary->results[i]);
    }
  }
  fprintf(file, "late_answers: %" PRIu64 "\n", succeeded - summary->met);
  print_quantiles(file, "latency", &summary->latency, (double)NS_PER_MS, "ms", 3);
  fprintf(file, "latency_max_ms: %.3f\n", (double)summary->latency.max / (double)NS_PER_MS);
  fprintf(file, "cold_starts: %" PRIu64 "\n", summary->cold_starts);
}

double summary_duration_s(const struct summary *summary) {
  const int64_t begin_ns = summary->begin_ns > 0 ? summary->begin_ns : summary->first_ns;
  return (double)(summary->last_ns + 1 - begin_ns) / 1e9;
}

void summary_print(const struct summary *summary, FILE *file) {
  const double duration_ns = summary_duration_s(summary) * 1e9;
  const double capacity_ns = duration_ns * (double)summary->gpus;
  print_requests(summary, duration_ns / 1e9, file);
  fprintf(file, "mean_batch: %.3f\n", share(summary->batched_squared, summary->batched));
  fprintf(file, "infer_actions: %" PRIu64 "\n", summary->actions[ACTION_INFER]);
  fprintf(file, "load_actions: %" PRIu64 "\n", summary->actions[ACTION_LOAD]);
  print_errors(file, "infer", "prediction", &summary->prediction[ACTION_INFER]);
  print_errors(file, "infer", "completion", &summary->completion[ACTION_INFER]);
  print_errors(file, "load", "prediction", &summary->prediction[ACTION_LOAD]);
  print_errors(file, "load", "completion", &summary->completion[ACTION_LOAD]);
  print_quantiles(file, "infer_prediction_error", &summary->prediction_shares[ACTION_INFER],
                  PPM / 100.0, "percent", 4);
  print_quantiles(file, "load_prediction_error", &summary->prediction_shares[ACTION_LOAD],
                  PPM / 100.0, "percent", 4);
  fprintf(file, "evict_actions: %" PRIu64 "\n", summary->actions[ACTION_EVICT]);
  fprintf(file, "failed_actions: %" PRIu64 "\n", summary->actions_failed);
  print_quantiles(file, "cold_latency", &summary->cold_latency, (double)NS_PER_MS, "ms", 3);
  fprintf(file, "requests_per_infer: %.3f\n",
          share(summary->batched, summary->actions[ACTION_INFER]));
  print_percent(file, "gpu_busy_percent", (double)summary->busy_ns / capacity_ns);
  print_percent(file, "offered_of_best_batch_percent",
                (double)summary->best_offered_ns / capacity_ns);
  print_percent(file, "goodput_of_best_batch_percent", (double)summary->best_met_ns / capacity_ns);
}
