/* What waits for its window: queues in order, closing windows, opening windows.
 *
 * Closing is exact for every action, wherever it stands in a queue: one heap over all actions, by
 * `latest`. Opening matters only for the first in each queue: one heap over the GPUs.
 */
#include "base/check.h"
#include "executor/executor_private.h"

static struct pending *pending_of_order(struct tree_node *node) {
  return TREE_ENTRY(node, struct pending, order);
}

void executor_wait(struct executor *executor, struct pending *pending, enum pending_stage stage) {
  CHECK_LT(stage, STAGE_WAIT_KINDS);
  pending->stage = (uint8_t)stage;
  tree_insert(&executor_gpu_of(executor, pending)->waiting[stage], &pending->order,
              pending->earliest.ns, pending->arrival);
  /* An INFER stays in `expiry` from its acceptance until its execution starts. */
  if (!heap_contains(&pending->expiry)) {
    heap_insert(&executor->expiry, &pending->expiry, pending->latest.ns, pending->arrival);
  }
}

void executor_unwait(struct executor *executor, struct pending *pending) {
  CHECK_LT(pending->stage, STAGE_WAIT_KINDS);
  tree_remove(&executor_gpu_of(executor, pending)->waiting[pending->stage], &pending->order);
  if (pending->stage != STAGE_WAIT_INPUT) {
    heap_discard(&executor->expiry, &pending->expiry);
  }
}

struct pending *executor_first_waiting(const struct executor_gpu *gpu, enum pending_stage stage) {
  struct tree_node *first = gpu->waiting[stage].first;
  return first == NULL ? NULL : pending_of_order(first);
}

struct instant executor_opening_of(const struct pending *pending) {
  if (pending->stage != STAGE_WAIT_INPUT) {
    return pending->earliest;
  }
  /* `earliest` came from a network: it may be anything. */
  const int64_t lead_ns = EXECUTOR_INPUT_LEAD.ns;
  return pending->earliest.ns < INT64_MIN + lead_ns
             ? pending->earliest
             : instant_sub(pending->earliest, EXECUTOR_INPUT_LEAD);
}

void executor_finish(struct executor *executor, struct pending *pending,
                     enum action_status status) {
  executor_release_io(executor, pending);
  heap_discard(&executor->expiry, &pending->expiry);
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
  while (heap_first_key(&executor->expiry) < now.ns) {
    struct pending *pending = HEAP_ENTRY(heap_first(&executor->expiry), struct pending, expiry);
    if (pending->stage == STAGE_RUN + BACKEND_ENGINE_INPUT) {
      /* Its buffers are in use until the copy ends; it is refused then. */
      heap_remove(&executor->expiry, &pending->expiry);
    } else {
      executor_refuse(executor, pending, executor_too_late_status(pending));
    }
  }
  while (executor->openings.count > 0 && heap_first_key(&executor->openings) <= now.ns) {
    struct heap_node *first = heap_first(&executor->openings);
    heap_remove(&executor->openings, first);
    executor_mark_dirty(executor, HEAP_ENTRY(first, struct executor_gpu, opening));
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
  if (opening.ns == INT64_MAX) {
    heap_discard(&executor->openings, &gpu->opening);
  } else if (!heap_contains(&gpu->opening) ||
             heap_key(&executor->openings, &gpu->opening) != opening.ns) {
    heap_set(&executor->openings, &gpu->opening, opening.ns, (uint64_t)(gpu - executor->gpus));
  }
}
