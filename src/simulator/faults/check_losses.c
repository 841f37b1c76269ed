#include "simulator/faults/check_losses.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/state.h"

static const char NAME[] = "losses";

struct check_losses {
  struct findings *findings;
  uint32_t gpus;
  bool *is_forgotten; /* by worker and GPU: by the controller, since the worker is up */
  bool *is_withdrawn; /* likewise: by the worker, since its process began */
};

struct check_losses *check_losses_create(struct findings *findings, uint32_t workers,
                                         uint32_t gpus) {
  struct check_losses *check = calloc(1, sizeof(*check));
  if (check == NULL) {
    return NULL;
  }
  const size_t all = (size_t)workers * gpus;
  *check = (struct check_losses){.findings = findings,
                                 .gpus = gpus,
                                 .is_forgotten = calloc(all, sizeof(bool)),
                                 .is_withdrawn = calloc(all, sizeof(bool))};
  if (check->is_forgotten == NULL || check->is_withdrawn == NULL) {
    check_losses_destroy(check);
    return NULL;
  }
  return check;
}

void check_losses_destroy(struct check_losses *check) {
  if (check != NULL) {
    free(check->is_forgotten);
    free(check->is_withdrawn);
    free(check);
  }
}

static bool *of_worker(const struct check_losses *check, bool *flags, uint32_t worker_id) {
  return &flags[(size_t)worker_id * check->gpus];
}

static uint32_t count(const struct check_losses *check, const bool *flags) {
  uint32_t set = 0;
  for (uint32_t i = 0; i < check->gpus; i++) {
    set += flags[i];
  }
  return set;
}

void check_losses_on_worker_up(struct check_losses *check, uint32_t worker_id) {
  memset(of_worker(check, check->is_forgotten, worker_id), 0, check->gpus);
}

void check_losses_on_gpu_forgotten(struct check_losses *check, uint32_t worker_id,
                                   uint32_t gpu_index) {
  of_worker(check, check->is_forgotten, worker_id)[gpu_index] = true;
}

void check_losses_on_action(struct check_losses *check, struct instant now,
                            const struct scheduler_action *action) {
  if (of_worker(check, check->is_forgotten, action->worker_id)[action->gpu_index]) {
    findings_add(check->findings, NAME, now,
                 "an action of type %d, model %" PRIu32 ", for worker %" PRIu32 " GPU %" PRIu32
                 ", which is lost",
                 (int)action->type, action->model_id, action->worker_id, action->gpu_index);
  }
}

void check_losses_on_worker_started(struct check_losses *check, uint32_t worker_id) {
  memset(of_worker(check, check->is_withdrawn, worker_id), 0, check->gpus);
}

void check_losses_on_gpu_withdrawn(struct check_losses *check, struct instant now,
                                   uint32_t worker_id, uint32_t gpu_index) {
  bool *is_withdrawn = of_worker(check, check->is_withdrawn, worker_id);
  if (is_withdrawn[gpu_index]) {
    findings_add(check->findings, NAME, now,
                 "worker %" PRIu32 " withdraws GPU %" PRIu32 " a second time", worker_id,
                 gpu_index);
  }
  is_withdrawn[gpu_index] = true;
}

void check_losses_on_worker_tick(struct check_losses *check, struct instant now,
                                 const struct worker_node *worker) {
  const uint32_t worker_id = worker->config.worker_id;
  /* It ends in the turn in which it notices, with all that was under way. */
  if (count(check, of_worker(check, check->is_withdrawn, worker_id)) == check->gpus) {
    findings_add(check->findings, NAME, now, "worker %" PRIu32 " goes on without a GPU", worker_id);
  }
}

void check_losses_on_scheduler_tick(struct check_losses *check, struct instant now,
                                    const struct scheduler *scheduler, uint32_t worker_id) {
  const struct worker *worker = &scheduler->workers[worker_id];
  if (!worker->is_up) {
    return;
  }
  const bool *is_forgotten = of_worker(check, check->is_forgotten, worker_id);
  uint32_t known = 0;
  uint32_t listed = 0;
  for (const struct list *at = worker->gpus.next; at != &worker->gpus; at = at->next) {
    known += !is_forgotten[LIST_ENTRY(at, const struct gpu, of_worker)->gpu_index];
    listed++;
  }
  const uint32_t left = check->gpus - count(check, is_forgotten);
  if (known != left || listed != left) {
    findings_add(check->findings, NAME, now,
                 "of worker %" PRIu32 ", %" PRIu32 " GPUs are left; the scheduler has %" PRIu32
                 ", %" PRIu32 " of them lost",
                 worker_id, left, listed, listed - known);
  }
}
