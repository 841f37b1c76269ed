#include "worker/worker.h"

#include <string.h>

#include "base/arena.h"
#include "base/check.h"
#include "os/log.h"
#include "os/memory.h"

enum {
  SUMMARY_PERIOD_MS = 10000,
  /* Emulated and real executions end within some 10 ms; a peer that does not read is not waited for
   * longer than this. */
  STOP_PATIENCE_MS = 5000,
  AT_ONCE = 64,
  /* Rounds of a turn. A step that ends while the turn goes on (an output's copy takes a few hundred
   * ns) is carried on at once instead of after a system call and a sleep; bounded, so that sockets
   * get their turn. */
  ROUNDS_MAX = 8,
};

/* A controller is taken for lost after this; its own check is of the same order. */
#define PEER_LOST_AFTER duration_s(10)
/* From connecting to the first frame, and within one. */
#define PEER_SILENCE_MAX duration_s(10)

/* ---- a turn of the loop ---------------------------------------------------------------------- */

static void take_completions(struct worker *worker, struct instant now) {
  struct backend *backend = &worker->backend.backend;
  struct backend_completion completions[AT_ONCE];
  uint32_t count = 0;
  do {
    count = backend->ops->poll(backend->self, now, completions, AT_ONCE);
    for (uint32_t i = 0; i < count; i++) {
      executor_on_completion(worker->executor, now, &completions[i]);
    }
  } while (count == AT_ONCE);
}

/* Returns how many went to engines. */
static uint32_t give_commands(struct worker *worker, struct instant now) {
  struct backend *backend = &worker->backend.backend;
  struct executor_command commands[AT_ONCE];
  uint32_t submitted = 0;
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
        submitted++;
      }
    }
  } while (count == AT_ONCE);
  return submitted;
}

static void begin_closing(struct worker *worker);

static void worker_turn(struct worker *worker) {
  struct backend *backend = &worker->backend.backend;
  struct instant now = os_now();
  if (!worker->is_stopping) {
    packages_turn(worker, now);
  }
  uint32_t submitted = 0;
  int rounds = 0;
  do {
    take_completions(worker, now);
    submitted = give_commands(worker, now);
    now = os_now();
    rounds++;
  } while (submitted > 0 && rounds < ROUNDS_MAX &&
           !instant_after(backend->ops->wakeup(backend->self), now));
  lost_turn(worker);
  actions_send_results(worker, now);
  struct instant next = state_turn(worker, now);
  next = instant_min(next, executor_wakeup(worker->executor));
  next = instant_min(next, backend->ops->wakeup(backend->self));
  if (worker->is_stopping && worker->actions.taken_count == 0) {
    begin_closing(worker);
    return;
  }
  wakeup_set(&worker->wakeup, next);
}

static void on_prepare(uv_prepare_t *prepare) {
  struct worker *worker = prepare->data;
  if (!worker->is_closing) {
    worker_turn(worker);
  } else if (worker->peers.taken_count == 0) {
    transport_close(worker->transport);
    uv_close((uv_handle_t *)&worker->prepare, NULL);
    uv_close((uv_handle_t *)&worker->stop_timer, NULL);
  }
}

/* The loop woke; the turn follows before it sleeps again. */
static void on_due(void *user) {
  (void)user;
}

static void on_notify(uv_async_t *notify) {
  (void)notify;
}

static void notify_from_any_thread(void *user) {
  struct worker *worker = user;
  uv_async_send(&worker->notify);
}

static void on_summary(uv_timer_t *timer) {
  summary_print(timer->data, os_now());
}

/* ---- the end --------------------------------------------------------------------------------- */

/* All actions are answered: let the answers leave. */
static void begin_closing(struct worker *worker) {
  worker->is_closing = true;
  packages_on_shutdown(worker);
  for (uint32_t i = 0; i < WORKER_PEERS_MAX; i++) {
    struct peer *peer = pool_at(&worker->peers, i);
    if (peer != NULL) {
      connection_drain(peer->connection);
    }
  }
  wakeup_finish(&worker->wakeup);
  signals_finish(&worker->signals);
  uv_close((uv_handle_t *)&worker->summary_timer, NULL);
  /* A backend's threads may still call it: it ends after them, in worker_finish(). */
  uv_unref((uv_handle_t *)&worker->notify);
}

static void on_stop_timer(uv_timer_t *timer) {
  struct worker *worker = timer->data;
  log_warning("Still busy after %d s; ending without the rest", STOP_PATIENCE_MS / 1000);
  if (!worker->is_closing) {
    begin_closing(worker);
  }
  transport_close(worker->transport);
}

static void on_signal(void *user, int signal_number) {
  struct worker *worker = user;
  if (worker->is_stopping) {
    transport_close(worker->transport);
    return;
  }
  log_info("Signal %d: answering what is under way, then ending", signal_number);
  worker_stop(worker);
}

void worker_stop(struct worker *worker) {
  worker->is_stopping = true;
  listener_close(worker->listener);
  worker->listener = NULL;
  executor_on_shutdown(worker->executor);
  uv_timer_start(&worker->stop_timer, on_stop_timer, STOP_PATIENCE_MS, 0);
}

/* ---- the beginning --------------------------------------------------------------------------- */

static void carve(struct arena *arena, struct worker *worker,
                  const struct executor_limits *limits) {
  const uint32_t actions = (uint32_t)worker->options->actions;
  const uint32_t models = (uint32_t)worker->options->models;
  struct packages *packages = &worker->packages;
  pool_init(&worker->peers, arena, WORKER_PEERS_MAX, sizeof(struct peer));
  pool_init(&worker->actions, arena, actions, sizeof(struct action));
  pool_init(&worker->inputs, arena, actions, sizeof(struct action_inputs));
  pool_init(&packages->requests, arena, WORKER_LOADS_MAX, sizeof(struct load_request));
  packages->capacity = models;
  packages->items = arena_take(arena, models, sizeof(struct package));
  packages->of_model = arena_take(arena, models, sizeof(uint32_t));
  worker->executor = arena_take(arena, 1, executor_bytes(limits));
}

static enum err init_memory(struct worker *worker, struct error_text *ret_error) {
  const struct backend *backend = &worker->backend.backend;
  struct backend_gpu gpus[WORKER_GPUS_MAX];
  const uint32_t gpus_count = backend->ops->gpus_count(backend->self);
  CHECK_LE(gpus_count, WORKER_GPUS_MAX);
  struct executor_limits limits = {.models = (uint32_t)worker->options->models,
                                   .actions = (uint32_t)worker->options->actions,
                                   .gpus = gpus_count};
  for (uint32_t i = 0; i < gpus_count; i++) {
    backend->ops->gpu(backend->self, i, &gpus[i]);
    limits.pages_per_gpu =
        gpus[i].pages > limits.pages_per_gpu ? gpus[i].pages : limits.pages_per_gpu;
  }
  struct arena arena;
  arena_init_counting(&arena);
  carve(&arena, worker, &limits);
  worker->memory_bytes = arena.used_bytes;
  worker->memory = os_memory_take(worker->memory_bytes);
  if (worker->memory == NULL) {
    error_text_set(ret_error, "out of memory: %zu bytes; lower --models or --actions",
                   worker->memory_bytes);
    return ERR_NO_MEMORY;
  }
  arena_init(&arena, worker->memory, worker->memory_bytes);
  carve(&arena, worker, &limits);
  list_init(&worker->packages.queued);
  list_init(&worker->packages.begun);
  worker->executor = executor_init(worker->executor, &limits, gpus, gpus_count);
  worker->gpus_count = gpus_count;
  return ERR_OK;
}

static enum err init_backend(struct worker *worker, struct error_text *ret_error) {
  const struct backend_kind *kind = backend_kind_choose(worker->options->backend);
  CHECK(kind != NULL); /* the options were checked */
  const struct backend_request request = {
      .options = worker->options, .notify = notify_from_any_thread, .notify_user = worker};
  const enum err error = kind->create(&request, &worker->backend, ret_error);
  if (error == ERR_OK) {
    log_info("Backend %s%s: %s", kind->name,
             strcmp(worker->options->backend, kind->name) == 0
                 ? ""
                 : " (the best that this worker can run here)",
             worker->backend.description);
  }
  return error;
}

/* Handles that keep uv_run going until worker_run() is through; `prepare` after the transport, so
 * that what a turn sends leaves before the loop sleeps. */
static enum err init_loop(struct worker *worker) {
  uv_timer_init(&worker->loop, &worker->summary_timer);
  uv_timer_init(&worker->loop, &worker->stop_timer);
  uv_prepare_init(&worker->loop, &worker->prepare);
  if (uv_async_init(&worker->loop, &worker->notify, on_notify) != 0) {
    return ERR_IO;
  }
  worker->summary_timer.data = worker;
  worker->stop_timer.data = worker;
  worker->prepare.data = worker;
  const enum err error = wakeup_init(&worker->wakeup, &worker->loop, on_due, worker);
  if (error != ERR_OK) {
    return error;
  }
  worker->transport = transport_create(&worker->loop);
  if (worker->transport == NULL) {
    return ERR_NO_MEMORY;
  }
  uv_prepare_start(&worker->prepare, on_prepare);
  uv_timer_start(&worker->summary_timer, on_summary, SUMMARY_PERIOD_MS, SUMMARY_PERIOD_MS);
  return signals_init(&worker->signals, &worker->loop, on_signal, worker);
}

static enum err init_listener(struct worker *worker, struct error_text *ret_error) {
  const struct listener_options options = {
      .connection = {.handlers = worker_handlers,
                     .owner = worker,
                     .budget = &worker->received_bytes,
                     .meta_bytes_max = 64 * 1024,
                     .silence_max = PEER_SILENCE_MAX,
                     .lost_after = PEER_LOST_AFTER},
      .connections_max = WORKER_PEERS_MAX,
  };
  return transport_listen(worker->transport, &worker->options->listen, &options, &worker->listener,
                          ret_error);
}

/* One line for neighbours that are alike. */
static void log_gpus(const struct worker *worker) {
  const struct backend *backend = &worker->backend.backend;
  uint32_t first = 0;
  while (first < worker->gpus_count) {
    struct backend_gpu gpu;
    struct backend_gpu next;
    backend->ops->gpu(backend->self, first, &gpu);
    uint32_t end = first + 1;
    for (; end < worker->gpus_count; end++) {
      backend->ops->gpu(backend->self, end, &next);
      if (next.pages != gpu.pages || next.clock_mhz != gpu.clock_mhz) {
        break;
      }
    }
    log_info("%u GPU%s from number %u: %s, %u pages of %d MiB for weights, %u MHz", end - first,
             end - first == 1 ? "" : "s", first, gpu.name, gpu.pages, MODEL_PAGE_BYTES >> 20,
             gpu.clock_mhz);
    first = end;
  }
}

enum err worker_init(struct worker *worker, const struct options *options,
                     struct error_text *ret_error) {
  *worker = (struct worker){.options = options, .wakeup = {.fd = -1}};
  body_budget_init(&worker->received_bytes, options->host_io_bytes);
  body_budget_init(&worker->decoded_bytes, options->host_io_bytes);
  body_budget_init(&worker->output_bytes, options->host_io_bytes);
  if (uv_loop_init(&worker->loop) != 0) {
    error_text_set(ret_error,
                   "no event loop: the machine's descriptors are used up; raise ulimit -n");
    return ERR_IO;
  }
  worker->has_loop = true;
  enum err error = init_backend(worker, ret_error);
  if (error == ERR_OK) {
    error = init_memory(worker, ret_error);
  }
  if (error != ERR_OK) {
    return error;
  }
  error = init_loop(worker);
  if (error != ERR_OK) {
    error_text_set(ret_error, "the event loop: %s; raise ulimit -n", err_text(error));
    return error;
  }
  error = init_listener(worker, ret_error);
  if (error != ERR_OK) {
    return error;
  }
  log_gpus(worker);
  log_info("Worker %s listens on %s", options->name, listener_address(worker->listener)->text);
  return ERR_OK;
}

void worker_run(struct worker *worker) {
  worker->summary.since = os_now();
  os_usage(&worker->summary.usage);
  CHECK_EQ(uv_run(&worker->loop, UV_RUN_DEFAULT), 0);
  summary_print(worker, os_now());
}

static void close_handle(uv_handle_t *handle, void *user) {
  (void)user;
  if (!uv_is_closing(handle)) {
    uv_close(handle, NULL);
  }
}

/* What is left of actions when the worker could not wait for them. */
static void release_actions(struct worker *worker) {
  for (uint32_t i = 0; worker->actions.taken_count > 0 && i < worker->actions.capacity; i++) {
    struct action *action = pool_at(&worker->actions, i);
    if (action != NULL) {
      action_release(worker, action);
    }
  }
}

void worker_finish(struct worker *worker) {
  /* First its threads: they notify the loop, and read and write what actions hold. */
  worker_backend_destroy(&worker->backend);
  if (worker->has_loop) {
    /* After worker_run() nothing is open any more; after a failed worker_init() something may be.
     */
    worker->is_closing = true;
    transport_close(worker->transport);
    wakeup_finish(&worker->wakeup);
    signals_finish(&worker->signals);
    uv_walk(&worker->loop, close_handle, NULL);
    uv_run(&worker->loop, UV_RUN_DEFAULT);
    transport_destroy(worker->transport);
    CHECK_EQ(uv_loop_close(&worker->loop), 0);
    worker->has_loop = false;
  }
  if (worker->memory != NULL) {
    release_actions(worker);
    os_memory_give(worker->memory, worker->memory_bytes);
    worker->memory = NULL;
  }
  body_budget_finish(&worker->received_bytes);
  body_budget_finish(&worker->decoded_bytes);
  body_budget_finish(&worker->output_bytes);
}
