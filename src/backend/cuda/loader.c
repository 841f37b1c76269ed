#include "backend/cuda/loader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/thread.h"

#define NAP duration_s(1)

struct loader {
  struct models *models;
  void (*notify)(void *user);
  void *notify_user;
  struct os_thread thread;
  struct os_event wake;
  pthread_mutex_t mutex; /* all below */
  bool is_stopping;
  /* Rings of LOADER_JOBS: a job is counted in exactly one of wanted, under way, done. */
  struct backend_load_model wanted[LOADER_JOBS];
  struct backend_loaded_model done[LOADER_JOBS];
  uint32_t wanted_read, wanted_written;
  uint32_t done_read, done_written;
  uint32_t held; /* put and not yet taken */
};

/* A package that is read while the one before it is prepared. */
struct reader {
  const struct models *models;
  struct os_thread thread;
  char path[MODEL_PATH_BYTES];
  struct package *package;
};

static void *reader_main(void *user) {
  struct reader *reader = user;
  reader->package = models_read_ahead(reader->models, reader->path);
  return NULL;
}

/* What was read; NULL: nothing. */
static struct package *reader_take(struct reader *reader) {
  os_thread_join(&reader->thread);
  struct package *package = reader->package;
  reader->package = NULL;
  return package;
}

/* The job behind the one that was taken, if another package is its. */
static void read_next(struct loader *loader, struct reader *reader,
                      const struct backend_load_model *taken) {
  bool is_wanted = false;
  pthread_mutex_lock(&loader->mutex);
  if (!loader->is_stopping && loader->wanted_read != loader->wanted_written) {
    const char *path = loader->wanted[loader->wanted_read % LOADER_JOBS].path;
    is_wanted = strcmp(path, taken->path) != 0 && !models_has_read(loader->models, path);
    snprintf(reader->path, sizeof(reader->path), "%s", path);
  }
  pthread_mutex_unlock(&loader->mutex);
  if (is_wanted &&
      os_thread_start(&reader->thread, "gpu-packages", reader_main, reader) != ERR_OK) {
    reader->package = NULL; /* it is read when its turn comes */
  }
}

/* The next job; 0: none, -1: the end. */
static int next_job(struct loader *loader, struct backend_load_model *ret_job) {
  int outcome = 0;
  pthread_mutex_lock(&loader->mutex);
  if (loader->is_stopping) {
    outcome = -1;
  } else if (loader->wanted_read != loader->wanted_written) {
    *ret_job = loader->wanted[loader->wanted_read++ % LOADER_JOBS];
    outcome = 1;
  }
  pthread_mutex_unlock(&loader->mutex);
  return outcome;
}

static void *loader_main(void *user) {
  struct loader *loader = user;
  struct backend_load_model job;
  struct reader reader = {.models = loader->models};
  int outcome = 0;
  while ((outcome = next_job(loader, &job)) >= 0) {
    if (outcome == 0) {
      os_event_wait(&loader->wake, NAP);
      continue;
    }
    struct backend_loaded_model loaded;
    struct package *ahead = reader_take(&reader);
    read_next(loader, &reader, &job);
    models_load(loader->models, &job, ahead, &loaded);
    pthread_mutex_lock(&loader->mutex);
    loader->done[loader->done_written++ % LOADER_JOBS] = loaded;
    pthread_mutex_unlock(&loader->mutex);
    loader->notify(loader->notify_user);
  }
  models_forget(loader->models, reader_take(&reader));
  return NULL;
}

enum err loader_create(struct models *models, void (*notify)(void *user), void *notify_user,
                       struct loader **ret_loader) {
  struct loader *loader = calloc(1, sizeof(*loader));
  if (loader == NULL) {
    return ERR_NO_MEMORY;
  }
  loader->models = models;
  loader->notify = notify;
  loader->notify_user = notify_user;
  if (pthread_mutex_init(&loader->mutex, NULL) != 0) {
    free(loader);
    return ERR_NO_MEMORY;
  }
  enum err error = os_event_init(&loader->wake);
  if (error != ERR_OK) {
    loader->wake.fd = -1;
  } else {
    error = os_thread_start(&loader->thread, "gpu-models", loader_main, loader);
  }
  if (error != ERR_OK) {
    loader_destroy(loader);
    return error;
  }
  *ret_loader = loader;
  return ERR_OK;
}

void loader_destroy(struct loader *loader) {
  if (loader == NULL) {
    return;
  }
  pthread_mutex_lock(&loader->mutex);
  loader->is_stopping = true;
  pthread_mutex_unlock(&loader->mutex);
  if (loader->wake.fd >= 0) {
    os_event_set(&loader->wake);
  }
  os_thread_join(&loader->thread);
  os_event_finish(&loader->wake);
  pthread_mutex_destroy(&loader->mutex);
  free(loader);
}

enum err loader_put(struct loader *loader, const struct backend_load_model *job) {
  pthread_mutex_lock(&loader->mutex);
  const bool has_room = loader->held < LOADER_JOBS;
  if (has_room) {
    loader->wanted[loader->wanted_written++ % LOADER_JOBS] = *job;
    loader->held++;
  }
  pthread_mutex_unlock(&loader->mutex);
  if (has_room) {
    os_event_set(&loader->wake);
  }
  return has_room ? ERR_OK : ERR_FULL;
}

bool loader_take(struct loader *loader, struct backend_loaded_model *ret_loaded) {
  pthread_mutex_lock(&loader->mutex);
  const bool has_one = loader->done_read != loader->done_written;
  if (has_one) {
    *ret_loaded = loader->done[loader->done_read++ % LOADER_JOBS];
    loader->held--;
  }
  pthread_mutex_unlock(&loader->mutex);
  return has_one;
}
