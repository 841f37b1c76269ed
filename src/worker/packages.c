/* Which models are in host memory, and how they get there.
 *
 * A controller that lost its connection asks again for what it asked before: the same path, first
 * id and copies are answered with what is there, at once or together with the first asker. Ids that
 * belong to another package are refused.
 */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "os/log.h"
#include "worker/worker.h"

enum { LOADED_AT_ONCE = 16 };

static void answer(struct worker *worker, uint64_t peer_id, uint64_t action_id,
                   enum action_status status, const struct model_spec *spec) {
  struct peer *peer = pool_find(&worker->peers, peer_id);
  if (peer == NULL) {
    return;
  }
  struct wire_model_loaded loaded = {.action_id = action_id, .status = status};
  if (status == ACTION_SUCCESS) {
    loaded.spec = *spec;
  }
  unsigned char meta[WIRE_META_BYTES_SMALL];
  struct wire_writer writer = wire_writer_over(meta, sizeof(meta));
  wire_encode_model_loaded(&writer, &loaded);
  peer_send(peer, WIRE_MODEL_LOADED, &writer, NULL);
}

/* ---- the table ------------------------------------------------------------------------------- */

/* NULL: the id is free, or out of range. */
static struct package *package_of(struct packages *packages, const struct options *options,
                                  uint32_t model_id) {
  if (model_id >= options->models || packages->of_model[model_id] == 0) {
    return NULL;
  }
  return &packages->items[packages->of_model[model_id] - 1];
}

static bool ids_are_free(const struct worker *worker, const struct wire_load_model *message) {
  const uint64_t models_max = worker->options->models;
  if (message->copies == 0 || message->first_model_id >= models_max ||
      message->copies > models_max - message->first_model_id) {
    return false;
  }
  for (uint32_t i = 0; i < message->copies; i++) {
    if (worker->packages.of_model[message->first_model_id + i] != 0) {
      return false;
    }
  }
  return true;
}

static void point_ids(struct packages *packages, const struct package *package, uint32_t value) {
  for (uint32_t i = 0; i < package->copies; i++) {
    packages->of_model[package->first_model_id + i] = value;
  }
}

static void package_add(struct packages *packages, const struct wire_load_model *message) {
  CHECK_LT(packages->count, packages->capacity); /* as many as ids, and each has one */
  struct package *package = &packages->items[packages->count++];
  *package = (struct package){.first_model_id = message->first_model_id, .copies = message->copies};
  memcpy(package->path, message->path, sizeof(package->path));
  point_ids(packages, package, packages->count);
}

/* The last one takes its place. */
static void package_remove(struct packages *packages, struct package *package) {
  point_ids(packages, package, 0);
  packages->count--;
  const struct package *last = &packages->items[packages->count];
  if (package != last) {
    *package = *last;
    point_ids(packages, package, (uint32_t)(package - packages->items) + 1);
  }
}

/* ---- towards the backend --------------------------------------------------------------------- */

/* A relative path is one in the model folder. False: too long. */
static bool resolve_path(const struct options *options, const char *path,
                         char ret_path[MODEL_PATH_BYTES]) {
  const bool is_relative = path[0] != '/' && options->model_dir[0] != '\0';
  const int length = snprintf(ret_path, MODEL_PATH_BYTES, "%s%s%s",
                              is_relative ? options->model_dir : "", is_relative ? "/" : "", path);
  return length >= 0 && length < MODEL_PATH_BYTES;
}

static void settle(struct worker *worker, const struct backend_loaded_model *loaded);

/* False: the backend has no room now. */
static bool begin(struct worker *worker, struct instant now, struct load_request *request) {
  const struct wire_load_model *message = &request->message;
  struct backend_load_model job = {.job_id = message->first_model_id,
                                   .first_model_id = message->first_model_id,
                                   .copies = message->copies,
                                   .max_batch = message->max_batch,
                                   .max_execute = duration_ns(message->max_execute_ns)};
  struct backend *backend = &worker->backend.backend;
  const bool fits = resolve_path(worker->options, message->path, job.path);
  if (fits && backend->ops->load_model(backend->self, now, &job) != ERR_OK) {
    return false;
  }
  list_remove(&request->link);
  list_append(&worker->packages.begun, &request->link);
  if (!fits) {
    settle(worker, &(struct backend_loaded_model){.job_id = message->first_model_id,
                                                  .status = ACTION_INVALID_MODEL_PATH});
  }
  return true;
}

/* The instances exist for the executor from now on. */
static enum action_status adopt(struct worker *worker, struct package *package,
                                const struct model_spec *spec) {
  if (!model_spec_is_valid(spec)) {
    log_warning("Model %s: the backend's description of it is not usable; compile it anew",
                package->path);
    return ACTION_RUNTIME_ERROR;
  }
  CHECK(executor_on_model_loaded(worker->executor, package->first_model_id, package->copies, spec));
  package->spec = *spec;
  package->is_loaded = true;
  worker->packages.models_count += package->copies;
  return ACTION_SUCCESS;
}

/* A job has ended: answer everybody who asked for it. */
static void settle(struct worker *worker, const struct backend_loaded_model *loaded) {
  struct packages *packages = &worker->packages;
  struct package *package = package_of(packages, worker->options, (uint32_t)loaded->job_id);
  CHECK(package != NULL);
  const uint32_t first_model_id = package->first_model_id;
  const enum action_status status =
      loaded->status == ACTION_SUCCESS ? adopt(worker, package, &loaded->spec) : loaded->status;
  struct list *node = packages->begun.next;
  while (node != &packages->begun) {
    struct load_request *request = LIST_ENTRY(node, struct load_request, link);
    node = node->next;
    if (request->message.first_model_id == first_model_id) {
      answer(worker, request->peer_id, request->message.action_id, status, &loaded->spec);
      list_remove(&request->link);
      pool_give(&packages->requests, request);
    }
  }
  if (status != ACTION_SUCCESS) {
    log_warning("Model %s was not loaded: %s%s%s", package->path, action_status_text((int)status),
                loaded->reason[0] == '\0' ? "" : ": ", loaded->reason);
    package_remove(packages, package);
  }
}

void packages_turn(struct worker *worker, struct instant now) {
  struct packages *packages = &worker->packages;
  struct backend *backend = &worker->backend.backend;
  while (!list_is_empty(&packages->begun) || !list_is_empty(&packages->queued)) {
    struct list *first = list_first(&packages->queued);
    while (first != NULL && begin(worker, now, LIST_ENTRY(first, struct load_request, link))) {
      first = list_first(&packages->queued);
    }
    struct backend_loaded_model loaded[LOADED_AT_ONCE];
    const uint32_t count = backend->ops->poll_loaded(backend->self, now, loaded, LOADED_AT_ONCE);
    for (uint32_t i = 0; i < count; i++) {
      settle(worker, &loaded[i]);
    }
    if (count == 0) {
      break;
    }
  }
}

/* ---- requests -------------------------------------------------------------------------------- */

static bool is_the_same(const struct package *package, const struct wire_load_model *message) {
  return package->first_model_id == message->first_model_id && package->copies == message->copies &&
         strcmp(package->path, message->path) == 0;
}

void packages_on_request(struct worker *worker, uint64_t peer_id,
                         const struct wire_load_model *message) {
  struct packages *packages = &worker->packages;
  const struct package *there = package_of(packages, worker->options, message->first_model_id);
  if (worker->is_stopping) {
    answer(worker, peer_id, message->action_id, ACTION_SHUTTING_DOWN, NULL);
    return;
  }
  const bool is_known = there != NULL && is_the_same(there, message);
  if (is_known && there->is_loaded) {
    answer(worker, peer_id, message->action_id, ACTION_SUCCESS, &there->spec);
    return;
  }
  if (!is_known && !ids_are_free(worker, message)) {
    answer(worker, peer_id, message->action_id, ACTION_INVALID_MODEL_ID, NULL);
    return;
  }
  struct load_request *request = pool_take(&packages->requests);
  if (request == NULL) {
    answer(worker, peer_id, message->action_id, ACTION_RUNTIME_ERROR, NULL);
    return;
  }
  request->peer_id = peer_id;
  request->message = *message;
  if (is_known) {
    list_append(&packages->begun, &request->link);
    return;
  }
  package_add(packages, message);
  list_append(&packages->queued, &request->link);
}

void packages_on_shutdown(struct worker *worker) {
  struct packages *packages = &worker->packages;
  struct list *const lists[] = {&packages->queued, &packages->begun};
  for (int i = 0; i < 2; i++) {
    struct list *first = NULL;
    while ((first = list_first(lists[i])) != NULL) {
      struct load_request *request = LIST_ENTRY(first, struct load_request, link);
      answer(worker, request->peer_id, request->message.action_id, ACTION_SHUTTING_DOWN, NULL);
      list_remove(&request->link);
      pool_give(&packages->requests, request);
    }
  }
}
