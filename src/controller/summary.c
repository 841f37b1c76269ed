/* A line every ten seconds: what came, what became of it, at what cost. */
#include <inttypes.h>

#include "controller/controller.h"
#include "os/log.h"

void summary_print(struct controller *controller) {
  struct summary *summary = &controller->summary;
  const struct instant now = os_now();
  struct scheduler_counts counts;
  struct usage usage;
  scheduler_counts(controller->scheduler, &counts);
  os_usage(&usage);
  const struct scheduler_counts *before = &summary->counts;
  const double seconds = (double)instant_since(now, summary->since).ns / 1e9;
  const uint64_t success =
      counts.answers_by_result[REQUEST_SUCCESS] - before->answers_by_result[REQUEST_SUCCESS];
  const uint64_t late = counts.answers_late - before->answers_late;
  uint64_t answers = 0;
  for (size_t i = 0; i < sizeof(counts.answers_by_result) / sizeof(uint64_t); i++) {
    answers += counts.answers_by_result[i] - before->answers_by_result[i];
  }
  const uint64_t infers = counts.infers - before->infers;
  const double requests_per_infer =
      infers == 0 ? 0 : (double)(counts.infer_requests - before->infer_requests) / (double)infers;
  log_info("requests %.0f/s, goodput %.0f/s, refused %.0f/s, late %.0f/s; latency p50 %.2f p99 "
           "%.2f max %.2f ms; batch %.1f, loads %.0f/s, cold %.0f/s; queued %u, running %u; %u "
           "GPUs (%" PRIu64 " lost), %u models; CPU %.1f %%, %.0f MB",
           (double)(counts.requests - before->requests) / seconds,
           (double)(success - late) / seconds, (double)(answers - success) / seconds,
           (double)late / seconds, (double)histogram_quantile(&summary->latency, 0.5) / 1e6,
           (double)histogram_quantile(&summary->latency, 0.99) / 1e6,
           (double)summary->latency.max / 1e6, requests_per_infer,
           (double)(counts.loads - before->loads) / seconds,
           (double)(counts.cold_starts - before->cold_starts) / seconds, counts.requests_queued,
           counts.requests_running, counts.gpus, counts.gpus_lost, counts.models,
           (double)(usage.cpu_ns - summary->usage.cpu_ns) / 1e7 / seconds,
           (double)usage.rss_bytes / 1e6);
  struct error_text error;
  if (recorder_take_error(controller->recorder, &error)) {
    log_warning("Telemetry: %s", error.text);
  }
  *summary = (struct summary){.since = now, .counts = counts, .usage = usage};
}
