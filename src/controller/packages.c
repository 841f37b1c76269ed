/* Which models there are, and their way onto every worker.
 *
 * Invariant: a model that the scheduler knows is in the host memory of every worker that is up. A
 * package is READY when all workers that were asked have it; a worker is up when it has all
 * packages that are READY or LOADING (workers.c).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "controller/controller.h"
#include "os/log.h"

/* While some configured worker has not answered, clients that load models are asked to come again,
 * so that a cluster that starts all at once starts whole; after this long it starts without them.
 */
static const int64_t START_PATIENCE_NS = 10 * NS_PER_S;

static struct package *package_create(struct controller *controller, const char *path,
                                      uint32_t first_model_id, uint32_t copies) {
  struct packages *packages = &controller->packages;
  if (packages->items == NULL) {
    packages->items = calloc(CONTROLLER_PACKAGES_MAX, sizeof(struct package));
  }
  if (packages->items == NULL || packages->count == CONTROLLER_PACKAGES_MAX) {
    return NULL;
  }
  struct package *package = &packages->items[packages->count++];
  *package = (struct package){
      .state = PACKAGE_LOADING, .first_model_id = first_model_id, .copies = copies};
  snprintf(package->path, sizeof(package->path), "%s", path);
  return package;
}

static void answer_refused(struct controller *controller, uint64_t session_id, uint64_t request_id,
                           enum request_result result, const char *message) {
  struct wire_load_answer answer = {.request_id = request_id, .result = result};
  snprintf(answer.message, sizeof(answer.message), "%s", message);
  clients_send_load_answer(controller, session_id, &answer);
}

static void package_answer(struct controller *controller, const struct package *package) {
  if (package->request_id == 0 && package->session_id == 0 && !controller->options.is_stress) {
    return;
  }
  if (package->state == PACKAGE_FAILED) {
    answer_refused(controller, package->session_id, package->request_id, REQUEST_ERROR,
                   package->failure);
    return;
  }
  const struct wire_load_answer answer = {
      .request_id = package->request_id,
      .result = REQUEST_SUCCESS,
      .first_model_id = package->first_model_id,
      .copies = package->copies,
      .input_bytes = package->spec.input_bytes,
      .output_bytes = package->spec.output_bytes,
      .execute_one_ns = package->spec.execute[0].ns,
  };
  clients_send_load_answer(controller, package->session_id, &answer);
}

/* Failed loads must not use up ids and records for good: what no worker can have is forgotten, from
 * the end on, for ids are given out in order. */
static void forget_failed(struct controller *controller) {
  struct packages *packages = &controller->packages;
  while (packages->count > 0) {
    const struct package *last = &packages->items[packages->count - 1];
    if (last->state != PACKAGE_FAILED || last->may_be_on_a_worker ||
        last->first_model_id + last->copies != packages->next_model_id) {
      return;
    }
    packages->next_model_id = last->first_model_id;
    packages->count--;
    workers_forget_package(controller, packages->count);
  }
}

/* Every worker that was asked has answered. */
static void package_settle(struct controller *controller, struct package *package) {
  const struct instant now = os_now();
  if (!package->has_spec && package->failure[0] == '\0') {
    snprintf(package->failure, sizeof(package->failure),
             "%.60s: every worker left before it had loaded it; try again", package->path);
  }
  if (package->failure[0] == '\0') {
    package->state = PACKAGE_READY;
    for (uint32_t i = 0; i < package->copies; i++) {
      if (!scheduler_on_model_added(controller->scheduler, now, package->first_model_id + i,
                                    &package->spec)) {
        snprintf(package->failure, sizeof(package->failure),
                 "%.60s: the worker's description of it is not usable", package->path);
        break;
      }
    }
  }
  if (package->failure[0] != '\0') {
    package->state = PACKAGE_FAILED;
    log_warning("Could not load %s", package->failure);
  } else if (controller->options.generates_inputs &&
             !inputs_prepare(&controller->inputs, (uint32_t)package->spec.input_bytes)) {
    log_warning("No inputs can be made for %s: its workers make them", package->path);
  }
  package_answer(controller, package);
  workers_on_package_settled(controller, (uint32_t)(package - controller->packages.items));
  forget_failed(controller);
}

/* ECHO without workers: as if one had loaded a ResNet50. */
static void make_up(struct controller *controller, struct package *package) {
  const char *slash = strrchr(package->path, '/');
  package->spec = (struct model_spec){.input_bytes = 602112,
                                      .output_bytes = 4000,
                                      .weights_bytes = 102160300,
                                      .weights_pages = model_pages_of(102160300),
                                      .batch_kinds = 1,
                                      .batch_sizes = {1},
                                      .load = duration_us(8320),
                                      .execute = {duration_us(2730)},
                                      .clock_mhz = 1380};
  snprintf(package->spec.name, sizeof(package->spec.name), "%.60s",
           slash == NULL ? package->path : slash + 1);
  package->has_spec = true;
  package_settle(controller, package);
}

bool packages_are_initializing(const struct controller *controller) {
  if (controller->options.runs_without_workers) {
    return false;
  }
  const uint32_t up = workers_up_count(controller);
  const bool is_early = instant_since(os_now(), controller->started).ns < START_PATIENCE_NS;
  return up == 0 || (is_early && up < controller->options.workers_count);
}

void packages_on_request(struct controller *controller, uint64_t session_id,
                         const struct wire_load_request *request) {
  struct packages *packages = &controller->packages;
  const uint32_t models_max = controller->options.scheduler.limits.models;
  if (request->path[0] == '\0' || request->copies == 0) {
    answer_refused(controller, session_id, request->request_id, REQUEST_INVALID,
                   "a path and at least one copy are needed");
    return;
  }
  if (packages_are_initializing(controller)) {
    answer_refused(controller, session_id, request->request_id, REQUEST_INITIALIZING,
                   "workers are still connecting");
    return;
  }
  if (request->copies > models_max - packages->next_model_id) {
    answer_refused(controller, session_id, request->request_id, REQUEST_ERROR,
                   "too many models: start the controller with a larger --models");
    return;
  }
  struct package *package =
      package_create(controller, request->path, packages->next_model_id, request->copies);
  if (package == NULL) {
    answer_refused(controller, session_id, request->request_id, REQUEST_ERROR, "too many packages");
    return;
  }
  packages->next_model_id += request->copies;
  package->session_id = session_id;
  package->request_id = request->request_id;
  if (controller->options.runs_without_workers) {
    make_up(controller, package);
    return;
  }
  package->workers_waiting =
      workers_load_package(controller, (uint32_t)(package - packages->items));
  if (package->workers_waiting == 0) {
    package_settle(controller, package);
  }
}

bool packages_adopt(struct controller *controller, const struct wire_state_model *model,
                    uint32_t *ret_package_index) {
  struct packages *packages = &controller->packages;
  const uint64_t end = (uint64_t)model->first_model_id + model->copies;
  for (uint32_t i = 0; i < packages->count; i++) {
    const struct package *package = &packages->items[i];
    if (package->first_model_id == model->first_model_id && package->copies == model->copies &&
        strcmp(package->path, model->path) == 0) {
      *ret_package_index = i;
      return true;
    }
    const uint64_t package_end = (uint64_t)package->first_model_id + package->copies;
    if (model->first_model_id < package_end && package->first_model_id < end) {
      return false;
    }
  }
  if (end > controller->options.scheduler.limits.models || !model_spec_is_valid(&model->spec)) {
    return false;
  }
  struct package *package =
      package_create(controller, model->path, model->first_model_id, model->copies);
  if (package == NULL) {
    return false;
  }
  if (packages->next_model_id < end) {
    packages->next_model_id = (uint32_t)end;
  }
  package->spec = model->spec;
  package->has_spec = true;
  package->may_be_on_a_worker = true;
  *ret_package_index = (uint32_t)(package - packages->items);
  package->workers_waiting = workers_load_package(controller, *ret_package_index);
  if (package->workers_waiting == 0) {
    package_settle(controller, package);
  }
  return true;
}

void packages_on_answer(struct controller *controller, uint32_t package_index,
                        const struct wire_model_loaded *loaded, const char *worker_name) {
  struct package *package = &controller->packages.items[package_index];
  if (package->state != PACKAGE_LOADING) {
    return;
  }
  CHECK_GT(package->workers_waiting, 0);
  package->workers_waiting--;
  /* Without an answer it may be there all the same, and come back with its worker. */
  package->may_be_on_a_worker =
      package->may_be_on_a_worker || loaded == NULL || loaded->status == ACTION_SUCCESS;
  if (loaded != NULL && loaded->status == ACTION_SUCCESS && !package->has_spec) {
    package->spec = loaded->spec;
    package->has_spec = true;
  }
  if (loaded != NULL && loaded->status != ACTION_SUCCESS) {
    snprintf(package->failure, sizeof(package->failure), "%.80s on worker %.30s: %s", package->path,
             worker_name, action_status_text((int)loaded->status));
  }
  if (package->workers_waiting == 0) {
    package_settle(controller, package);
  }
}

void packages_finish(struct packages *packages) {
  free(packages->items);
  *packages = (struct packages){.items = NULL};
}
