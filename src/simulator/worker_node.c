#include "simulator/worker_node.h"

#include <stdio.h>

#include "base/arena.h"
#include "base/check.h"

enum { AT_ONCE = 64 };

/* What the executor does not keep of an action. */
struct worker_node_action {
  uint64_t action_id;
  struct instant received;
};

struct parts {
  void *backend;
  void *executor;
  struct backend_gpu *gpus;
};

static struct executor_limits limits_of(const struct worker_node_config *config) {
  const struct emulated_config *emulated = config->backend;
  struct executor_limits limits = {
      .models = emulated->models_max, .actions = config->actions_max, .gpus = emulated->gpus_count};
  for (uint32_t i = 0; i < emulated->gpus_count; i++) {
    const uint32_t pages = emulated->gpus[i].pages;
    limits.pages_per_gpu = pages > limits.pages_per_gpu ? pages : limits.pages_per_gpu;
  }
  return limits;
}

static struct parts carve(struct pool *actions, struct arena *arena,
                          const struct worker_node_config *config) {
  const struct executor_limits limits = limits_of(config);
  struct parts parts = {.backend = arena_take(arena, 1, emulated_bytes(config->backend)),
                        .executor = arena_take(arena, 1, executor_bytes(&limits)),
                        .gpus = arena_take(arena, limits.gpus, sizeof(struct backend_gpu))};
  pool_init(actions, arena, config->actions_max, sizeof(struct worker_node_action));
  return parts;
}

size_t worker_node_bytes(const struct worker_node_config *config) {
  struct arena arena;
  struct pool counted;
  arena_init_counting(&arena);
  carve(&counted, &arena, config);
  return arena.used_bytes;
}

static void take_completions(struct worker_node *worker, struct instant now) {
  const struct backend *backend = &worker->backend;
  struct backend_completion completions[AT_ONCE];
  uint32_t count = 0;
  do {
    count = backend->ops->poll(backend->self, now, completions, AT_ONCE);
    for (uint32_t i = 0; i < count; i++) {
      executor_on_completion(worker->executor, now, &completions[i]);
    }
  } while (count == AT_ONCE);
}

static void give_commands(struct worker_node *worker, struct instant now) {
  const struct backend *backend = &worker->backend;
  struct executor_command commands[AT_ONCE];
  uint32_t count = 0;
  do {
    count = executor_next_commands(worker->executor, now, commands, AT_ONCE);
    for (uint32_t i = 0; i < count; i++) {
      const struct executor_command *command = &commands[i];
      if (command->is_evict) {
        backend->ops->evict(backend->self, now, command->command.gpu_index,
                            command->command.model_id, command->command.pages,
                            command->pages_count);
      } else {
        backend->ops->submit(backend->self, now, &command->command);
      }
    }
  } while (count == AT_ONCE);
}

static void send_results(struct worker_node *worker, struct instant now) {
  struct executor_result results[AT_ONCE];
  uint32_t count = 0;
  do {
    count = executor_next_results(worker->executor, results, AT_ONCE);
    for (uint32_t i = 0; i < count; i++) {
      const struct executor_result *result = &results[i];
      struct worker_node_action *action = pool_at(&worker->actions, (uint32_t)result->action_id);
      CHECK(action != NULL);
      struct report_message *message = channel_send(&worker->to_controller, RESULT_WIRE_BYTES);
      *message = (struct report_message){.kind = REPORT_RESULT,
                                         .action_id = action->action_id,
                                         .status = result->status,
                                         .run = result->run,
                                         .output_end = result->output.end,
                                         .clock_before_mhz = result->clock_before_mhz,
                                         .clock_after_mhz = result->clock_after_mhz,
                                         .received = action->received,
                                         .sent = now};
      pool_give(&worker->actions, action);
    }
  } while (count == AT_ONCE);
}

/* One turn, as of the worker's loop; `now` is local. Returns when the next is due, local too. */
static struct instant turn(struct worker_node *worker, struct instant now) {
  take_completions(worker, now);
  give_commands(worker, now);
  send_results(worker, now);
  return instant_min(executor_wakeup(worker->executor),
                     worker->backend.ops->wakeup(worker->backend.self));
}

static struct instant on_timer(void *self, struct instant now) {
  struct worker_node *worker = self;
  return local_clock_when(&worker->clock, turn(worker, local_clock_read(&worker->clock, now)));
}

static void on_action(struct worker_node *worker, struct instant now,
                      const struct order_message *order) {
  struct worker_node_action *action = pool_take(&worker->actions);
  /* The scheduler bounds what a GPU has under way, and actions_max is above that. */
  CHECK(action != NULL);
  *action = (struct worker_node_action){.action_id = order->action_id, .received = now};
  const struct executor_action taken = {.action_id = pool_index(&worker->actions, action),
                                        .type = order->type,
                                        .gpu_index = order->gpu_index,
                                        .model_id = order->model_id,
                                        .batch_size = order->batch_size,
                                        .earliest = order->earliest,
                                        .latest = order->latest};
  CHECK(executor_on_action(worker->executor, now, &taken));
}

void worker_node_on_order(void *self, struct instant now, const void *message) {
  struct worker_node *worker = self;
  const struct order_message *order = message;
  const struct instant local = local_clock_read(&worker->clock, now);
  if (order->kind == ORDER_PING) {
    struct report_message *pong = channel_send(&worker->to_controller, PING_WIRE_BYTES);
    *pong = (struct report_message){
        .kind = REPORT_PONG, .ping_sent = order->sent, .received = local, .sent = local};
    return;
  }
  on_action(worker, local, order);
  event_set(&worker->timer, local_clock_when(&worker->clock, turn(worker, local)));
}

void worker_node_init(struct worker_node *worker, void *memory, struct events *events,
                      const struct worker_node_config *config) {
  const struct executor_limits limits = limits_of(config);
  struct arena arena;
  *worker = (struct worker_node){.clock = config->clock};
  arena_init(&arena, memory, worker_node_bytes(config));
  const struct parts parts = carve(&worker->actions, &arena, config);
  worker->backend = emulated_init(parts.backend, config->backend);
  for (uint32_t i = 0; i < limits.gpus; i++) {
    worker->backend.ops->gpu(worker->backend.self, i, &parts.gpus[i]);
  }
  worker->executor = executor_init(parts.executor, &limits, parts.gpus, limits.gpus);
  event_init(&worker->timer, events, on_timer, worker);
}

void worker_node_finish(struct worker_node *worker) {
  if (worker == NULL) {
    return;
  }
  if (worker->backend.ops != NULL) {
    worker->backend.ops->destroy(worker->backend.self);
  }
  channel_finish(&worker->to_controller);
}

enum action_status worker_node_load_model(struct worker_node *worker, struct instant now,
                                          const char *name, uint32_t first_model_id,
                                          uint32_t copies, struct model_spec *ret_spec) {
  const struct backend *backend = &worker->backend;
  const struct instant local = local_clock_read(&worker->clock, now);
  struct backend_load_model job = {.job_id = 1, .first_model_id = first_model_id, .copies = copies};
  snprintf(job.path, sizeof(job.path), "%s", name);
  /* One job at a time, answered at once: the queue is never full. */
  CHECK_EQ(backend->ops->load_model(backend->self, local, &job), ERR_OK);
  struct backend_loaded_model loaded;
  CHECK_EQ(backend->ops->poll_loaded(backend->self, local, &loaded, 1), 1);
  if (loaded.status != ACTION_SUCCESS) {
    return loaded.status;
  }
  for (uint32_t i = 0; i < copies; i++) {
    CHECK(executor_on_model_loaded(worker->executor, first_model_id + i, &loaded.spec));
  }
  *ret_spec = loaded.spec;
  return ACTION_SUCCESS;
}

void worker_node_set_clock(struct worker_node *worker, uint32_t gpu_index, uint32_t clock_mhz) {
  emulated_set_clock(&worker->backend, gpu_index, clock_mhz);
}
