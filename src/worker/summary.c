/* What the worker did in the last ten seconds, in one line. */
#include <inttypes.h>
#include <stdio.h>

#include "os/log.h"
#include "worker/worker.h"

void summary_on_result(struct worker *worker, const struct executor_result *result) {
  struct counts *counts = &worker->summary.counts;
  if (result->status != ACTION_SUCCESS) {
    const uint32_t status = (uint32_t)result->status;
    counts->refused_by_status[status < ACTION_STATUS_MAX ? status : ACTION_RUNTIME_ERROR]++;
    return;
  }
  counts->done_by_type[result->type]++;
  if (result->type == ACTION_INFER) {
    counts->execute_ns += instant_since(result->run.end, result->run.begin).ns;
  }
}

/* "; refused 12: 7 execute: too late, 5 copy input: too late", or nothing. */
static void describe_refusals(const struct counts *counts, size_t capacity, char *ret_text) {
  uint64_t total = 0;
  for (int i = 0; i < ACTION_STATUS_MAX; i++) {
    total += counts->refused_by_status[i];
  }
  ret_text[0] = '\0';
  if (total == 0) {
    return;
  }
  size_t used = (size_t)snprintf(ret_text, capacity, "; refused %" PRIu64, total);
  const char *separator = " (";
  for (int i = 0; i < ACTION_STATUS_MAX && used < capacity; i++) {
    if (counts->refused_by_status[i] > 0) {
      used += (size_t)snprintf(ret_text + used, capacity - used, "%s%" PRIu64 " %s", separator,
                               counts->refused_by_status[i], action_status_text(i));
      separator = ", ";
    }
  }
  if (used < capacity) {
    snprintf(ret_text + used, capacity - used, ")");
  }
}

void summary_print(struct worker *worker, struct instant now) {
  struct summary *summary = &worker->summary;
  const struct counts *counts = &summary->counts;
  const int64_t elapsed_ns = instant_since(now, summary->since).ns;
  if (elapsed_ns <= 0) {
    return;
  }
  uint64_t pages_total = 0;
  uint64_t pages_used = 0;
  uint64_t residents = 0;
  for (uint32_t i = 0; i < worker->gpus_count; i++) {
    struct executor_gpu_state state;
    executor_gpu_state(worker->executor, i, &state);
    pages_total += state.pages_total;
    pages_used += state.pages_total - state.pages_free;
    residents += state.models_resident;
  }
  char refusals[512];
  describe_refusals(counts, sizeof(refusals), refusals);
  struct usage usage;
  os_usage(&usage);
  const double elapsed_s = (double)elapsed_ns / (double)NS_PER_S;
  const uint64_t infers = counts->done_by_type[ACTION_INFER];
  const uint64_t loads = counts->done_by_type[ACTION_LOAD];
  const uint64_t evicts = counts->done_by_type[ACTION_EVICT];
  const uint32_t gpus = worker->gpus_count - worker->gpus_lost_count;
  char lost[32] = "";
  if (worker->gpus_lost_count > 0) {
    snprintf(lost, sizeof(lost), "; GPUs lost %u", worker->gpus_lost_count);
  }
  log_info("%.1f actions/s in %.1f s: %" PRIu64 " INFER, %" PRIu64 " LOAD, %" PRIu64
           " EVICT%s%s; GPUs executing %.1f %%; pages %" PRIu64 " of %" PRIu64 ", %" PRIu64
           " of %u models on GPUs; CPU %.1f %%, RSS %.1f MB",
           (double)(infers + loads + evicts) / elapsed_s, elapsed_s, infers, loads, evicts,
           refusals, lost,
           100.0 * (double)counts->execute_ns /
               ((double)elapsed_ns * (double)(gpus == 0 ? 1 : gpus)),
           pages_used, pages_total, residents, worker->packages.models_count,
           100.0 * (double)(usage.cpu_ns - summary->usage.cpu_ns) / (double)elapsed_ns,
           (double)usage.rss_bytes / 1e6);
  *summary = (struct summary){.since = now, .usage = usage};
}
