#include "client/models.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/status.h"
#include "os/clock.h"

/* False: too long. */
static bool write_path(const struct models *models, const char *name,
                       char ret_path[MODEL_PATH_BYTES]) {
  const char *folder = models->folder == NULL ? "" : models->folder;
  const size_t folder_bytes = strlen(folder);
  const bool needs_slash = folder_bytes > 0 && folder[folder_bytes - 1] != '/';
  const int length =
      snprintf(ret_path, MODEL_PATH_BYTES, "%s%s%s", folder, needs_slash ? "/" : "", name);
  return length > 0 && length < MODEL_PATH_BYTES;
}

enum err models_init(struct models *models, const struct workload_model *wanted,
                     uint32_t wanted_count, const char *folder) {
  *models = (struct models){.folder = folder, .kinds_count = wanted_count};
  for (uint32_t i = 0; i < wanted_count; i++) {
    char path[MODEL_PATH_BYTES];
    if (!write_path(models, wanted[i].name, path)) {
      return ERR_TOO_LARGE;
    }
    models->models_count += wanted[i].copies;
  }
  models->kinds = calloc(wanted_count + 1, sizeof(*models->kinds));
  models->ids = calloc((size_t)models->models_count + 1, sizeof(*models->ids));
  models->kind_of = calloc((size_t)models->models_count + 1, sizeof(*models->kind_of));
  if (models->kinds == NULL || models->ids == NULL || models->kind_of == NULL) {
    models_finish(models);
    return ERR_NO_MEMORY;
  }
  for (uint32_t i = 0; i < wanted_count; i++) {
    models->kinds[i] = (struct model_kind){.models = models,
                                           .name = wanted[i].name,
                                           .copies = wanted[i].copies,
                                           .first_index = wanted[i].first_index};
    for (uint32_t j = 0; j < wanted[i].copies; j++) {
      models->kind_of[wanted[i].first_index + j] = i;
    }
  }
  return ERR_OK;
}

void models_finish(struct models *models) {
  if (models == NULL) {
    return;
  }
  free(models->kinds);
  free(models->ids);
  free(models->kind_of);
  models->kinds = NULL;
  models->ids = NULL;
  models->kind_of = NULL;
}

static void wait_and_begin_again(struct models *models) {
  models->state = MODELS_WAITING;
  models->again_at = instant_add(os_now(), duration_ms(MODELS_INITIALIZING_PAUSE_MS));
}

/* ---- what is there already ------------------------------------------------------------------- */

static struct model_kind *kind_that_lacks(struct models *models, const char *name) {
  for (uint32_t i = 0; i < models->kinds_count; i++) {
    struct model_kind *kind = &models->kinds[i];
    if (kind->found_count < kind->copies && strcmp(kind->name, name) == 0) {
      return kind;
    }
  }
  return NULL;
}

static void add_copies(struct model_kind *kind, uint32_t first_model_id, uint32_t copies) {
  for (uint32_t i = 0; i < copies; i++) {
    kind->models->ids[kind->first_index + kind->found_count + i] = first_model_id + i;
  }
  kind->found_count += copies;
  kind->models->found_count += copies;
}

static void on_model(void *user, const struct wire_list_entry *model) {
  struct models *models = user;
  struct model_kind *kind = kind_that_lacks(models, model->name);
  if (kind != NULL) {
    kind->input_bytes = model->input_bytes;
    kind->output_bytes = model->output_bytes;
    kind->execute_one = duration_ns(model->execute_one_ns);
    add_copies(kind, model->model_id, 1);
  }
}

static void on_listed(void *user, enum err error) {
  struct models *models = user;
  if (error == ERR_OK) {
    models->reused_count = models->found_count;
    models->state = MODELS_LOADING;
  } /* else the connection has ended, and models_on_disconnected() follows */
}

static void begin_listing(struct models *models) {
  models->found_count = 0;
  models->is_initializing = false;
  for (uint32_t i = 0; i < models->kinds_count; i++) {
    models->kinds[i].found_count = 0;
    models->kinds[i].is_asked = false;
  }
  models->state = MODELS_LISTING;
  if (clockwork_client_list(models->client, on_model, on_listed, models) != ERR_OK) {
    wait_and_begin_again(models);
  }
}

/* ---- what is not ----------------------------------------------------------------------------- */

static void fail(struct models *models, const struct model_kind *kind, const char *why) {
  if (models->state != MODELS_FAILED) {
    models->state = MODELS_FAILED;
    snprintf(models->failure, sizeof(models->failure), "%u copies of %.63s could not be loaded: %s",
             kind->copies - kind->found_count, kind->name, why);
  }
}

static void on_loaded(void *user, const struct clockwork_loaded *answer) {
  struct model_kind *kind = user;
  struct models *models = kind->models;
  models->loads_count--;
  if (answer->error != ERR_OK) {
    return; /* models_on_disconnected() follows */
  }
  if (answer->result == REQUEST_INITIALIZING) {
    models->is_initializing = true;
    return;
  }
  if (answer->result != REQUEST_SUCCESS) {
    fail(models, kind,
         answer->message[0] != '\0' ? answer->message : request_result_text((int)answer->result));
    return;
  }
  if (answer->copies != kind->copies - kind->found_count) {
    fail(models, kind, "the controller loaded another number of copies");
    return;
  }
  kind->input_bytes = answer->input_bytes;
  kind->output_bytes = answer->output_bytes;
  kind->execute_one = answer->execute_one;
  add_copies(kind, answer->first_model_id, answer->copies);
}

static void ask_for_more(struct models *models) {
  for (uint32_t i = 0; i < models->kinds_count && models->loads_count < MODELS_LOADS_MAX; i++) {
    struct model_kind *kind = &models->kinds[i];
    char path[MODEL_PATH_BYTES];
    if (kind->found_count == kind->copies || kind->is_asked ||
        !write_path(models, kind->name, path)) {
      continue;
    }
    if (clockwork_client_load(models->client, path, kind->copies - kind->found_count, on_loaded,
                              kind) != ERR_OK) {
      return; /* the next turn tries again, or the connection has ended */
    }
    kind->is_asked = true;
    models->loads_count++;
  }
}

/* ---- life ------------------------------------------------------------------------------------ */

void models_on_connected(struct models *models, struct clockwork_client *client) {
  models->client = client;
  if (models->state == MODELS_WAITING) {
    begin_listing(models);
  }
}

void models_on_disconnected(struct models *models) {
  if (models->state != MODELS_READY && models->state != MODELS_FAILED) {
    models->state = MODELS_WAITING;
    models->again_at = INSTANT_NEVER;
  }
}

void models_turn(struct models *models, struct instant now) {
  if (models->state == MODELS_WAITING && models->client != NULL &&
      !instant_after(models->again_at, now) && clockwork_client_is_connected(models->client)) {
    begin_listing(models);
  }
  if (models->state != MODELS_LOADING) {
    return;
  }
  if (models->found_count == models->models_count) {
    models->state = MODELS_READY;
  } else if (!models->is_initializing) {
    ask_for_more(models);
  } else if (models->loads_count == 0) {
    wait_and_begin_again(models);
  }
}

struct instant models_wakeup(const struct models *models) {
  return models->state == MODELS_WAITING && models->client != NULL ? models->again_at
                                                                   : INSTANT_NEVER;
}
