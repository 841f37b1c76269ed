/* GPUs that are lost: withdrawn from the executor, told to controllers, and, when none is left, the
 * end. */
#include <stdio.h>

#include "os/log.h"
#include "worker/worker.h"

/* To all that believe to know this worker; who is still to be told its state learns it there. */
static void tell_controllers(struct worker *worker, uint32_t gpu_index, const char *reason) {
  struct wire_gpu_lost message = {.gpu_index = gpu_index};
  snprintf(message.reason, sizeof(message.reason), "%s", reason);
  for (uint32_t i = 0; i < WORKER_PEERS_MAX; i++) {
    struct peer *peer = pool_at(&worker->peers, i);
    if (peer != NULL && peer->has_state) {
      unsigned char meta[WIRE_META_BYTES_SMALL];
      struct wire_writer writer = wire_writer_over(meta, sizeof(meta));
      wire_encode_gpu_lost(&writer, &message);
      peer_send(peer, WIRE_GPU_LOST, &writer, NULL);
    }
  }
}

static void withdraw(struct worker *worker, uint32_t gpu_index, const struct backend_gpu *gpu) {
  worker->is_gpu_lost[gpu_index] = true;
  worker->gpus_lost_count++;
  executor_on_gpu_lost(worker->executor, gpu_index);
  tell_controllers(worker, gpu_index, gpu->lost_reason);
  log_warning("GPU %u (%s) is lost: %s; %u of %u go on", gpu_index, gpu->name, gpu->lost_reason,
              worker->gpus_count - worker->gpus_lost_count, worker->gpus_count);
}

void lost_turn(struct worker *worker) {
  const struct backend *backend = &worker->backend.backend;
  if (backend->ops->lost_count(backend->self) == worker->gpus_lost_count) {
    return;
  }
  for (uint32_t i = 0; i < worker->gpus_count; i++) {
    struct backend_gpu gpu;
    backend->ops->gpu(backend->self, i, &gpu);
    if (gpu.is_lost && !worker->is_gpu_lost[i]) {
      withdraw(worker, i, &gpu);
    }
  }
  if (worker->gpus_lost_count == worker->gpus_count && !worker->is_stopping) {
    log_warning("No GPU is left: answering what is under way, then ending with status 1; mend the "
                "GPU or restart the machine, then start this worker anew");
    worker->has_failed = true;
    worker_stop(worker);
  }
}
