#include "simulator/faults/check_pages.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char NAME[] = "pages";
static const char IN_USE_NAME[] = "evictions";

#define OWNER_NONE 0 /* owners are kept as model id + 1 */

enum presence { ABSENT, ARRIVING, PRESENT };

struct check_pages {
  struct findings *findings;
  uint32_t gpus;
  uint32_t pages;
  uint32_t models;
  const uint32_t *weights_pages;
  uint32_t *owners;    /* by GPU and page */
  uint8_t *presence;   /* by GPU and model: enum presence */
  uint32_t *executing; /* by GPU: model id + 1 */
};

struct check_pages *check_pages_create(struct findings *findings, uint32_t workers, uint32_t gpus,
                                       uint32_t pages, uint32_t models,
                                       const uint32_t *weights_pages) {
  struct check_pages *check = calloc(1, sizeof(*check));
  if (check == NULL) {
    return NULL;
  }
  const size_t all = (size_t)workers * gpus;
  *check = (struct check_pages){.findings = findings,
                                .gpus = gpus,
                                .pages = pages,
                                .models = models,
                                .weights_pages = weights_pages,
                                .owners = calloc(all * pages, sizeof(uint32_t)),
                                .presence = calloc(all * models, 1),
                                .executing = calloc(all, sizeof(uint32_t))};
  if (check->owners == NULL || check->presence == NULL || check->executing == NULL) {
    check_pages_destroy(check);
    return NULL;
  }
  return check;
}

void check_pages_destroy(struct check_pages *check) {
  if (check != NULL) {
    free(check->owners);
    free(check->presence);
    free(check->executing);
    free(check);
  }
}

static size_t gpu_of(const struct check_pages *check, uint32_t worker_id, uint32_t gpu_index) {
  return (size_t)worker_id * check->gpus + gpu_index;
}

static void on_load(struct check_pages *check, struct instant now, size_t gpu,
                    const struct backend_command *command) {
  uint32_t *owners = &check->owners[gpu * check->pages];
  uint8_t *presence = &check->presence[gpu * check->models + command->model_id];
  if (*presence != ABSENT) {
    findings_add(check->findings, NAME, now, "GPU %zu: model %" PRIu32 " is loaded a second time",
                 gpu, command->model_id);
  }
  *presence = ARRIVING;
  for (uint32_t i = 0; i < check->weights_pages[command->model_id]; i++) {
    const uint32_t page = command->pages[i];
    if (page >= check->pages) {
      findings_add(check->findings, NAME, now,
                   "GPU %zu: page %" PRIu32 " of %" PRIu32 " for model %" PRIu32, gpu, page,
                   check->pages, command->model_id);
      return;
    }
    if (owners[page] != OWNER_NONE) {
      findings_add(check->findings, NAME, now,
                   "GPU %zu: page %" PRIu32 " for model %" PRIu32 " belongs to model %" PRIu32, gpu,
                   page, command->model_id, owners[page] - 1);
    }
    owners[page] = command->model_id + 1;
  }
}

void check_pages_on_submit(struct check_pages *check, struct instant now, uint32_t worker_id,
                           const struct backend_command *command) {
  const size_t gpu = gpu_of(check, worker_id, command->gpu_index);
  if (command->engine == BACKEND_ENGINE_LOAD) {
    on_load(check, now, gpu, command);
  } else if (command->engine == BACKEND_ENGINE_EXECUTE) {
    if (check->presence[gpu * check->models + command->model_id] != PRESENT) {
      findings_add(check->findings, NAME, now,
                   "GPU %zu: model %" PRIu32 " executes without its weights", gpu,
                   command->model_id);
    }
    check->executing[gpu] = command->model_id + 1;
  }
}

static void release(struct check_pages *check, size_t gpu, uint32_t model_id) {
  uint32_t *owners = &check->owners[gpu * check->pages];
  for (uint32_t i = 0; i < check->pages; i++) {
    owners[i] = owners[i] == model_id + 1 ? OWNER_NONE : owners[i];
  }
  check->presence[gpu * check->models + model_id] = ABSENT;
}

void check_pages_on_completion(struct check_pages *check, uint32_t worker_id,
                               const struct backend_command *command,
                               const struct backend_completion *completion) {
  const size_t gpu = gpu_of(check, worker_id, command->gpu_index);
  if (command->engine == BACKEND_ENGINE_EXECUTE) {
    check->executing[gpu] = 0;
  } else if (command->engine == BACKEND_ENGINE_LOAD) {
    if (completion->status == ACTION_SUCCESS) {
      check->presence[gpu * check->models + command->model_id] = PRESENT;
    } else {
      release(check, gpu, command->model_id);
    }
  }
}

void check_pages_on_evict(struct check_pages *check, struct instant now, uint32_t worker_id,
                          uint32_t gpu_index, uint32_t model_id, const uint32_t *pages,
                          uint32_t pages_count) {
  const size_t gpu = gpu_of(check, worker_id, gpu_index);
  const enum presence presence = (enum presence)check->presence[gpu * check->models + model_id];
  if (check->executing[gpu] == model_id + 1 || presence == ARRIVING) {
    findings_add(check->findings, IN_USE_NAME, now,
                 "GPU %zu: model %" PRIu32 " is evicted while it is %s", gpu, model_id,
                 presence == ARRIVING ? "being loaded" : "executing");
  } else if (presence == ABSENT || pages_count != check->weights_pages[model_id]) {
    findings_add(check->findings, NAME, now,
                 "GPU %zu: model %" PRIu32 " of %" PRIu32 " pages, %s, is evicted from %" PRIu32,
                 gpu, model_id, check->weights_pages[model_id],
                 presence == ABSENT ? "not there" : "there", pages_count);
  }
  const uint32_t *owners = &check->owners[gpu * check->pages];
  for (uint32_t i = 0; i < pages_count; i++) {
    if (pages[i] >= check->pages || owners[pages[i]] != model_id + 1) {
      findings_add(check->findings, NAME, now,
                   "GPU %zu: page %" PRIu32 " is released by model %" PRIu32 ", not its owner", gpu,
                   pages[i], model_id);
    }
  }
  release(check, gpu, model_id);
}

void check_pages_on_worker_started(struct check_pages *check, uint32_t worker_id) {
  const size_t first = gpu_of(check, worker_id, 0);
  memset(&check->owners[first * check->pages], 0,
         (size_t)check->gpus * check->pages * sizeof(uint32_t));
  memset(&check->presence[first * check->models], 0, (size_t)check->gpus * check->models);
  memset(&check->executing[first], 0, check->gpus * sizeof(uint32_t));
}
