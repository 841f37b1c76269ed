#include "simulator/faults/check_books.h"

#include <inttypes.h>

#include "scheduler/state.h"

static const char NAME[] = "books";

static void check_gpu(struct findings *findings, struct instant now,
                      const struct scheduler *scheduler, const struct gpu *gpu,
                      const struct executor *executor, uint32_t models_count) {
  struct executor_gpu_state state;
  executor_gpu_state(executor, gpu->gpu_index, &state);
  for (uint32_t i = 0; i < models_count; i++) {
    const struct residency *residency = residency_find(scheduler, &scheduler->models[i], gpu);
    const bool is_believed = residency != NULL && residency->state == RESIDENCY_LOADED;
    if (is_believed != executor_is_resident(executor, gpu->gpu_index, i)) {
      findings_add(findings, NAME, now,
                   "worker %" PRIu32 " GPU %" PRIu32 ": the controller takes model %" PRIu32
                   " for %s, and it is %s",
                   gpu->worker_id, gpu->gpu_index, i, is_believed ? "loaded" : "not there",
                   is_believed ? "not" : "there");
      return;
    }
  }
  if (gpu->pages_free != (int64_t)state.pages_free) {
    findings_add(findings, NAME, now,
                 "worker %" PRIu32 " GPU %" PRIu32 ": the controller takes %" PRId64
                 " pages for free, the worker has %" PRIu32,
                 gpu->worker_id, gpu->gpu_index, gpu->pages_free, state.pages_free);
  }
}

void check_books_at_end(struct findings *findings, struct instant now,
                        const struct scheduler *scheduler, const struct worker_node *worker,
                        uint32_t models_count) {
  const struct worker *known = &scheduler->workers[worker->config.worker_id];
  if (!known->is_up || !worker->is_running) {
    return;
  }
  for (const struct list *at = known->gpus.next; at != &known->gpus; at = at->next) {
    check_gpu(findings, now, scheduler, LIST_ENTRY(at, const struct gpu, of_worker),
              worker->executor, models_count);
  }
}
