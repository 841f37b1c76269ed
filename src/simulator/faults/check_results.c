#include "simulator/faults/check_results.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

static const char NAME[] = "results";

struct action {
  uint64_t action_id; /* 0: none is under way */
  struct instant taken;
  enum action_type type;
  uint32_t model_id;
};

struct check_results {
  struct findings *findings;
  struct action *actions; /* by worker and action */
  uint32_t actions_max;
};

struct check_results *check_results_create(struct findings *findings, uint32_t workers,
                                           uint32_t actions_max) {
  struct check_results *check = calloc(1, sizeof(*check));
  if (check == NULL) {
    return NULL;
  }
  check->findings = findings;
  check->actions_max = actions_max;
  check->actions = calloc((size_t)workers * actions_max, sizeof(*check->actions));
  if (check->actions == NULL) {
    free(check);
    return NULL;
  }
  return check;
}

void check_results_destroy(struct check_results *check) {
  if (check != NULL) {
    free(check->actions);
    free(check);
  }
}

static struct action *actions_of(const struct check_results *check, uint32_t worker_id) {
  return &check->actions[(size_t)worker_id * check->actions_max];
}

static struct action *action_of(const struct check_results *check, uint32_t worker_id,
                                uint64_t action_id) {
  CHECK_LT((uint32_t)action_id, check->actions_max);
  return &actions_of(check, worker_id)[(uint32_t)action_id];
}

void check_results_on_action_taken(struct check_results *check, struct instant now,
                                   uint32_t worker_id, const struct executor_action *action) {
  *action_of(check, worker_id, action->action_id) = (struct action){.action_id = action->action_id,
                                                                    .taken = now,
                                                                    .type = action->type,
                                                                    .model_id = action->model_id};
}

void check_results_on_action_done(struct check_results *check, struct instant now,
                                  uint32_t worker_id, const struct executor_result *result) {
  struct action *action = action_of(check, worker_id, result->action_id);
  if (action->action_id != result->action_id || action->model_id != result->model_id ||
      action->type != result->type) {
    findings_add(check->findings, NAME, now,
                 "worker %" PRIu32 " has a result for model %" PRIu32
                 " of an action that it was not given, or gave before",
                 worker_id, result->model_id);
  }
  action->action_id = 0;
}

void check_results_on_worker_started(struct check_results *check, uint32_t worker_id) {
  memset(actions_of(check, worker_id), 0, check->actions_max * sizeof(struct action));
}

static void find_older(struct check_results *check, struct instant now, uint32_t worker_id,
                       struct duration than) {
  const struct action *actions = actions_of(check, worker_id);
  for (uint32_t i = 0; i < check->actions_max; i++) {
    if (actions[i].action_id != 0 && instant_before(instant_add(actions[i].taken, than), now)) {
      findings_add(check->findings, NAME, now,
                   "worker %" PRIu32 " model %" PRIu32 ": action type %d has no result for %" PRId64
                   " ms",
                   worker_id, actions[i].model_id, (int)actions[i].type,
                   instant_since(now, actions[i].taken).ns / NS_PER_MS);
      return;
    }
  }
}

void check_results_on_tick(struct check_results *check, struct instant now, uint32_t worker_id) {
  find_older(check, now, worker_id, duration_s(RESULT_WITHIN_S));
}

void check_results_at_end(struct check_results *check, struct instant now, uint32_t worker_id) {
  find_older(check, now, worker_id, DURATION_ZERO);
}
