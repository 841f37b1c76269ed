/* The models that a workload needs, found at the controller or loaded there.
 *
 * First the controller's list is read: instances of the wanted variety (same name) that are there
 * already are used, lowest ids first, so that a second client shares the first one's. What lacks is
 * loaded, all lacking copies of a variety in one request, several requests under way. When the
 * controller says that it is still initializing (its workers are not there yet, or what they hold
 * is not known yet), the list is read anew after a pause: what it lacked may have turned up.
 *
 * Thread: the loop's.
 */
#ifndef CLOCKWORK_CLIENT_MODELS_H
#define CLOCKWORK_CLIENT_MODELS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/time.h"
#include "client_library/clockwork_client.h"
#include "workload/workload.h"

enum {
  /* Loads under way: enough to keep the workers' disks busy, few enough that progress shows. */
  MODELS_LOADS_MAX = 32,
  MODELS_INITIALIZING_PAUSE_MS = 250,
};

enum models_state {
  MODELS_WAITING, /* for a connection, or a pause */
  MODELS_LISTING,
  MODELS_LOADING,
  MODELS_READY,
  MODELS_FAILED, /* `failure` says why */
};

struct models;

struct model_kind {
  struct models *models;
  const char *name;
  uint32_t copies;
  uint32_t first_index; /* its copies are model indices first_index, + 1, ... */
  uint32_t found_count; /* of its copies have an id */
  bool is_asked;        /* a load is or was under way */
  /* Known once a copy was found. */
  uint64_t input_bytes;
  uint64_t output_bytes;
  struct duration execute_one;
};

struct models {
  struct clockwork_client *client;
  const char *folder; /* on the workers; NULL: bare names */
  struct model_kind *kinds;
  uint32_t *ids;     /* by model index */
  uint32_t *kind_of; /* by model index */
  uint32_t kinds_count;
  uint32_t models_count;
  enum models_state state;
  uint32_t loads_count; /* under way */
  uint32_t reused_count;
  uint32_t found_count;
  bool is_initializing; /* the controller said so in this round */
  struct instant again_at;
  char failure[512];
};

/* `wanted` must outlive `models`. ERR_TOO_LARGE: `folder` makes a path longer than the protocol
 * allows; ERR_NO_MEMORY. */
MUST_USE enum err models_init(struct models *models, const struct workload_model *wanted,
                              uint32_t wanted_count, const char *folder);

/* Accepts NULL and a zeroed one. */
void models_finish(struct models *models);

/* Begin, or begin again after the connection had ended. */
void models_on_connected(struct models *models, struct clockwork_client *client);
void models_on_disconnected(struct models *models);

/* Do what is due. To be called once a turn of the loop, until READY or FAILED. */
void models_turn(struct models *models, struct instant now);

/* When models_turn() wants to be called, if nothing happens before. */
struct instant models_wakeup(const struct models *models);

#endif
