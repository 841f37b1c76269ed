/* What waits for its window: queues in order, closing windows, opening windows.
 *
 * Closing is exact for every action, wherever it stands in a queue: one tournament over all
 * actions, by `latest`. Opening matters only for the first in each queue: one tournament over the
 * GPUs.
 */
#include "base/check.h"
#include "executor/executor_private.h"

static struct pending *pending_of_order(struct tree_node *node) {
  return TREE_ENTRY(node, struct pending, order);
}

static void expiry_set(struct executor *executor, const struct pending *pending,
                       struct instant latest) {
  const uint32_t index = pool_index(&executor->actions, pending);
  if (tournament_key(&executor->expiry, index) != latest.ns) {
    tournament_set(&executor->expiry, index, latest.ns);
  }
}

void executor_wait(struct executor *executor, struct pending *pending, enum pending_stage stage) {
  CHECK_LT(stage, STAGE_WAIT_KINDS);
  struct executor_gpu *gpu = executor_gpu_of(executor, pending);
  pending->stage = (uint8_t)stage;
  gpu->waiting_stages |= (uint8_t)(1U << stage);
  tree_insert(&gpu->waiting[stage], &pending->order, pending->order.key, pending->order.tie);
  /* An INFER stays in `expiry` from its acceptance until its execution starts. */
  expiry_set(executor, pending, pending->latest);
}

void executor_unwait(struct executor *executor, struct pending *pending) {
  CHECK_LT(pending->stage, STAGE_WAIT_KINDS);
  struct executor_gpu *gpu = executor_gpu_of(executor, pending);
  struct tree *queue = &gpu->waiting[pending->stage];
  tree_remove(queue, &pending->order);
  if (queue->count == 0) {
    gpu->waiting_stages &= (uint8_t) ~(1U << pending->stage);
  }
  if (pending->stage != STAGE_WAIT_INPUT) {
    expiry_set(executor, pending, INSTANT_NEVER);
  }
}

struct pending *executor_first_waiting(const struct executor_gpu *gpu, enum pending_stage stage) {
  return (gpu->waiting_stages >> stage & 1) == 0 ? NULL
                                                 : pending_of_order(gpu->waiting[stage].first);
}

struct instant executor_opening_of(const struct pending *pending) {
  const struct instant earliest = {pending->order.key};
  if (pending->stage != STAGE_WAIT_INPUT) {
    return earliest;
  }
  /* `earliest` came from a network: it may be anything. */
  const int64_t lead_ns = EXECUTOR_INPUT_LEAD.ns;
  return earliest.ns < INT64_MIN + lead_ns ? earliest : instant_sub(earliest, EXECUTOR_INPUT_LEAD);
}

void executor_finish(struct executor *executor, struct pending *pending,
                     enum action_status status) {
  executor_release_io(executor, pending);
  expiry_set(executor, pending, INSTANT_NEVER);
  pending->result.status = status;
  pending->stage = STAGE_DONE;
  list_append(&executor->done, &pending->link);
}

void executor_refuse(struct executor *executor, struct pending *pending,
                     enum action_status status) {
  executor_unwait(executor, pending);
  executor_mark_dirty(executor, executor_gpu_of(executor, pending));
  executor_finish(executor, pending, status);
}

void executor_mark_dirty(struct executor *executor, struct executor_gpu *gpu) {
  if (!list_is_linked(&gpu->dirty)) {
    list_append(&executor->dirty, &gpu->dirty);
  }
}

enum action_status executor_too_late_status(const struct pending *pending) {
  switch (pending->result.type) {
  case ACTION_LOAD:
    return ACTION_LOAD_TOO_LATE;
  case ACTION_EVICT:
    return ACTION_EVICT_TOO_LATE;
  case ACTION_INFER:
    break;
  }
  if (pending->stage == STAGE_WAIT_INPUT) {
    return pending->is_short_of_io ? ACTION_INPUT_IO_POOL : ACTION_INPUT_TOO_LATE;
  }
  return ACTION_EXECUTE_TOO_LATE;
}

void executor_on_time(struct executor *executor, struct instant now) {
  while (tournament_first_key(&executor->expiry) < now.ns) {
    struct pending *pending = pool_at(&executor->actions, tournament_first(&executor->expiry));
    if (pending->stage == STAGE_RUN + BACKEND_ENGINE_INPUT) {
      /* Its buffers are in use until the copy ends; it is refused then. */
      expiry_set(executor, pending, INSTANT_NEVER);
    } else {
      executor_refuse(executor, pending, executor_too_late_status(pending));
    }
  }
  while (tournament_first_key(&executor->openings) <= now.ns) {
    const uint32_t first = tournament_first(&executor->openings);
    tournament_set(&executor->openings, first, INT64_MAX);
    executor_mark_dirty(executor, &executor->gpus[first]);
  }
}

static struct instant earlier_opening(struct instant than, const struct pending *pending) {
  return pending == NULL ? than : instant_min(than, executor_opening_of(pending));
}

void executor_update_opening(struct executor *executor, struct executor_gpu *gpu) {
  struct instant opening =
      earlier_opening(INSTANT_NEVER, executor_first_waiting(gpu, STAGE_WAIT_EVICT));
  const struct pending *load = executor_first_waiting(gpu, STAGE_WAIT_LOAD);
  const struct pending *loading = gpu->running[BACKEND_ENGINE_LOAD];
  /* A LOAD of what is being loaded is refused when its window opens, engine idle or not. */
  if (load != NULL && (loading == NULL || loading->result.model_id == load->result.model_id)) {
    opening = earlier_opening(opening, load);
  }
  const struct pending *input = executor_first_waiting(gpu, STAGE_WAIT_INPUT);
  if (gpu->running[BACKEND_ENGINE_INPUT] == NULL && input != NULL && gpu->io_free_slots != 0 &&
      input->io_bytes <= gpu->io_free_bytes) {
    opening = earlier_opening(opening, input);
  }
  if (gpu->running[BACKEND_ENGINE_EXECUTE] == NULL) {
    opening = earlier_opening(opening, executor_first_waiting(gpu, STAGE_WAIT_EXECUTE));
  }
  const uint32_t gpu_index = (uint32_t)(gpu - executor->gpus);
  if (tournament_key(&executor->openings, gpu_index) != opening.ns) {
    tournament_set(&executor->openings, gpu_index, opening.ns);
  }
}
