/* The answer to GET_STATE: GPUs with what is on them, and the packages in host memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/log.h"
#include "worker/worker.h"

/* A vanished controller's transfers end within some 10 ms, or, where a link stalls, within a second
 * or two: what ends after the answer is memory that the next controller knows nothing of. A window
 * set far into the future must not keep it waiting all the same: what ends later still is evicted
 * (actions.c). */
#define STATE_PATIENCE duration_s(3)

void state_on_request(struct peer *peer, struct instant now, uint64_t action_id) {
  peer->wants_state = true;
  peer->state_action_id = action_id;
  peer->state_deadline = instant_add(now, STATE_PATIENCE);
}

static void encode_gpu(struct worker *worker, uint32_t gpu_index, struct wire_writer *writer) {
  struct executor_gpu_state state;
  executor_gpu_state(worker->executor, gpu_index, &state);
  struct backend_gpu gpu;
  const struct backend *backend = &worker->backend.backend;
  backend->ops->gpu(backend->self, gpu_index, &gpu);
  struct wire_state_gpu message = {.pages = state.is_lost ? 0 : gpu.pages,
                                   .clock_mhz = gpu.clock_mhz,
                                   .resident_count = state.models_resident};
  snprintf(message.name, sizeof(message.name), "%.20s GPU %u: %.24s", worker->options->name,
           gpu_index, gpu.name);
  wire_encode_state_gpu(writer, &message);
  uint32_t left = state.models_resident;
  for (uint32_t i = 0; i < worker->packages.count && left > 0; i++) {
    const struct package *package = &worker->packages.items[i];
    for (uint32_t j = 0; j < package->copies && left > 0; j++) {
      if (executor_is_resident(worker->executor, gpu_index, package->first_model_id + j)) {
        wire_write_u32(writer, package->first_model_id + j);
        left--;
      }
    }
  }
}

/* No message is longer on the wire than as a struct, but for the lengths of its texts. */
static size_t state_bytes_max(const struct worker *worker) {
  size_t bytes = sizeof(struct wire_state) +
                 worker->packages.count * (sizeof(struct wire_state_model) + 16) +
                 worker->gpus_count * (sizeof(struct wire_state_gpu) + 16);
  for (uint32_t i = 0; i < worker->gpus_count; i++) {
    struct executor_gpu_state state;
    executor_gpu_state(worker->executor, i, &state);
    bytes += state.models_resident * sizeof(uint32_t);
  }
  return bytes;
}

static uint32_t count_loaded(const struct packages *packages) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < packages->count; i++) {
    count += packages->items[i].is_loaded;
  }
  return count;
}

static void answer_state(struct worker *worker, struct peer *peer) {
  const size_t capacity = state_bytes_max(worker);
  unsigned char *meta = malloc(capacity);
  if (meta == NULL) {
    log_warning("Controller %s: no memory for the state of %zu bytes; its connection is closed",
                connection_peer(peer->connection), capacity);
    connection_close(peer->connection);
    return;
  }
  const struct packages *packages = &worker->packages;
  struct wire_writer writer = wire_writer_over(meta, capacity);
  wire_encode_state(&writer, &(struct wire_state){.action_id = peer->state_action_id,
                                                  .gpus_count = worker->gpus_count,
                                                  .models_count = count_loaded(packages)});
  for (uint32_t i = 0; i < worker->gpus_count; i++) {
    encode_gpu(worker, i, &writer);
  }
  for (uint32_t i = 0; i < packages->count; i++) {
    const struct package *package = &packages->items[i];
    if (package->is_loaded) {
      struct wire_state_model message = {.first_model_id = package->first_model_id,
                                         .copies = package->copies,
                                         .spec = package->spec};
      memcpy(message.path, package->path, sizeof(message.path));
      wire_encode_state_model(&writer, &message);
    }
  }
  peer_send(peer, WIRE_STATE, &writer, NULL);
  free(meta);
}

struct instant state_turn(struct worker *worker, struct instant now) {
  struct instant next = INSTANT_NEVER;
  for (uint32_t i = 0; i < WORKER_PEERS_MAX && worker->states_wanted_count > 0; i++) {
    struct peer *peer = pool_at(&worker->peers, i);
    if (peer == NULL || !peer->wants_state) {
      continue;
    }
    if (worker->orphan_changes_count > 0 && instant_before(now, peer->state_deadline)) {
      next = instant_min(next, peer->state_deadline);
      continue;
    }
    peer->wants_state = false;
    worker->states_wanted_count--;
    peer->has_state = true;
    answer_state(worker, peer);
  }
  return next;
}
