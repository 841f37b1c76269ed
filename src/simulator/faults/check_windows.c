#include "simulator/faults/check_windows.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/check.h"

static const char NAME[] = "windows";

struct window {
  struct instant earliest;
  struct instant latest;
};

struct check_windows {
  struct findings *findings;
  struct window *windows; /* by worker and action */
  uint32_t actions_max;
};

struct check_windows *check_windows_create(struct findings *findings, uint32_t workers,
                                           uint32_t actions_max) {
  struct check_windows *check = calloc(1, sizeof(*check));
  if (check == NULL) {
    return NULL;
  }
  check->findings = findings;
  check->actions_max = actions_max;
  check->windows = calloc((size_t)workers * actions_max, sizeof(*check->windows));
  if (check->windows == NULL) {
    free(check);
    return NULL;
  }
  return check;
}

void check_windows_destroy(struct check_windows *check) {
  if (check != NULL) {
    free(check->windows);
    free(check);
  }
}

static struct window *window_of(const struct check_windows *check, uint32_t worker_id,
                                uint64_t action_id) {
  CHECK_LT((uint32_t)action_id, check->actions_max);
  return &check->windows[(size_t)worker_id * check->actions_max + (uint32_t)action_id];
}

void check_windows_on_action_taken(struct check_windows *check, uint32_t worker_id,
                                   const struct executor_action *action) {
  *window_of(check, worker_id, action->action_id) =
      (struct window){.earliest = action->earliest, .latest = action->latest};
}

void check_windows_on_action_done(struct check_windows *check, struct instant now,
                                  uint32_t worker_id, const struct executor_result *result) {
  const struct window *window = window_of(check, worker_id, result->action_id);
  const struct instant begin = result->run.begin;
  if (result->status != ACTION_SUCCESS ||
      (!instant_before(begin, window->earliest) && !instant_after(begin, window->latest))) {
    return;
  }
  findings_add(check->findings, NAME, now,
               "worker %" PRIu32 " GPU %" PRIu32 " model %" PRIu32 ": action type %d began %" PRId64
               " ns %s its window of %" PRId64 " ns",
               worker_id, result->gpu_index, result->model_id, (int)result->type,
               instant_before(begin, window->earliest) ? window->earliest.ns - begin.ns
                                                       : begin.ns - window->latest.ns,
               instant_before(begin, window->earliest) ? "before" : "after",
               window->latest.ns - window->earliest.ns);
}
