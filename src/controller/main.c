/* controller TYPE WORKERS [options]: start, turn, stop. */
#include <stdlib.h>

#include "base/check.h"
#include "controller/controller.h"
#include "os/log.h"
#include "os/memory.h"

/* Twice a second: pings go out and silent workers are noticed. */
enum { TICK_MS = 500, TICKS_PER_SUMMARY = 20, STRESS_TICK_MS = 1 };

static void on_answer(void *self, const struct scheduler_answer *answer) {
  clients_on_answer(self, answer);
}

/* One turn: all actions that are due go out, then the timer is set. */
static void turn(struct controller *controller) {
  struct scheduler_action actions[CONTROLLER_ACTIONS_AT_ONCE];
  const struct instant now = os_now();
  uint32_t count = 0;
  if (controller->stress.wants_refill) {
    controller->stress.wants_refill = false;
    stress_tick(controller);
  }
  do {
    count = scheduler_next_actions(controller->scheduler, now, actions, CONTROLLER_ACTIONS_AT_ONCE);
    for (uint32_t i = 0; i < count; i++) {
      workers_send_action(controller, &actions[i]);
    }
  } while (count == CONTROLLER_ACTIONS_AT_ONCE);
  wakeup_set(&controller->wakeup, scheduler_wakeup(controller->scheduler));
}

/* Runs before the loop sleeps, and before the transport's own handle sends what was queued. */
static void on_prepare(uv_prepare_t *handle) {
  struct controller *controller = handle->data;
  if (!controller->is_stopping) {
    turn(controller);
  }
}

static void on_wakeup(void *user) {
  (void)user; /* the turn at the end of this iteration does it all */
}

static void on_tick(uv_timer_t *handle) {
  struct controller *controller = handle->data;
  const uint64_t ticks_per_half_second =
      controller->options.is_stress ? TICK_MS / STRESS_TICK_MS : 1;
  controller->ticks_count++;
  if (controller->options.is_stress) {
    stress_tick(controller);
  }
  if (controller->ticks_count % ticks_per_half_second != 0) {
    return;
  }
  workers_tick(controller, os_now());
  if (controller->ticks_count / ticks_per_half_second % TICKS_PER_SUMMARY == 0) {
    summary_print(controller);
  }
}

static void on_signal(void *user, int signal_number) {
  struct controller *controller = user;
  if (controller->is_stopping) {
    return;
  }
  log_info("Signal %d: stopping", signal_number);
  summary_print(controller);
  controller->is_stopping = true;
  transport_close(controller->transport);
  uv_prepare_stop(&controller->prepare);
  uv_close((uv_handle_t *)&controller->prepare, NULL);
  uv_close((uv_handle_t *)&controller->tick, NULL);
  wakeup_finish(&controller->wakeup);
  signals_finish(&controller->signals);
}

static void start_recorder(struct controller *controller) {
  struct error_text error;
  const struct recorder_options options = {.folder = getenv("CLOCKWORK_LOG_DIR")};
  if (recorder_create(&options, &controller->recorder, &error) != ERR_OK) {
    log_warning("No telemetry is written: %s", error.text);
    return;
  }
  log_info("Telemetry goes to %s", recorder_folder(controller->recorder));
}

static void start_scheduler(struct controller *controller) {
  struct scheduler_config *config = &controller->options.scheduler;
  config->wall_offset_ns = os_wall_ns() - os_now().ns;
  controller->scheduler_memory_bytes = scheduler_bytes(config);
  controller->scheduler_memory = os_memory_take(controller->scheduler_memory_bytes);
  CHECK(controller->scheduler_memory != NULL);
  const struct scheduler_sink sink = {
      .self = controller, .on_answer = on_answer, .telemetry = recorder_sink(controller->recorder)};
  controller->scheduler = scheduler_init(controller->scheduler_memory, config, &sink);
}

static void carve_pools(struct controller *controller, struct arena *arena) {
  pool_init(&controller->sessions, arena, CONTROLLER_CLIENTS_MAX, sizeof(struct session));
  /* Answers leave within the turn, so there are never more than the scheduler takes, and one. */
  pool_init(&controller->pendings, arena, controller->options.scheduler.limits.requests + 1,
            sizeof(struct pending));
}

static void start_pools(struct controller *controller) {
  struct arena arena;
  arena_init_counting(&arena);
  carve_pools(controller, &arena);
  controller->pools_memory_bytes = arena.used_bytes;
  controller->pools_memory = os_memory_take(controller->pools_memory_bytes);
  CHECK(controller->pools_memory != NULL);
  arena_init(&arena, controller->pools_memory, controller->pools_memory_bytes);
  carve_pools(controller, &arena);
}

static bool start_transport(struct controller *controller) {
  struct error_text error;
  body_budget_init(&controller->inputs_budget, CONTROLLER_INPUT_BUDGET_BYTES);
  body_budget_init(&controller->outputs_budget, CONTROLLER_OUTPUT_BUDGET_BYTES);
  controller->transport = transport_create(&controller->loop);
  CHECK(controller->transport != NULL);
  const struct listener_options options = {.connection = {.handlers = clients_handlers,
                                                          .owner = controller,
                                                          .budget = &controller->inputs_budget,
                                                          .meta_bytes_max = WIRE_META_BYTES_SMALL,
                                                          .silence_max = duration_s(10),
                                                          .lost_after = duration_s(30)},
                                           .connections_max = CONTROLLER_CLIENTS_MAX};
  if (transport_listen(controller->transport, &controller->options.listen, &options,
                       &controller->listener, &error) != ERR_OK) {
    log_usage_error("controller", "--listen: %s", error.text);
    return false;
  }
  return true;
}

static void start_loop_handles(struct controller *controller) {
  /* Started after the transport's: libuv runs the youngest prepare handle first. */
  uv_prepare_init(&controller->loop, &controller->prepare);
  controller->prepare.data = controller;
  uv_prepare_start(&controller->prepare, on_prepare);
  const uint64_t tick_ms = controller->options.is_stress ? STRESS_TICK_MS : TICK_MS;
  uv_timer_init(&controller->loop, &controller->tick);
  controller->tick.data = controller;
  uv_timer_start(&controller->tick, on_tick, tick_ms, tick_ms);
  const enum err wakeup_error =
      wakeup_init(&controller->wakeup, &controller->loop, on_wakeup, controller);
  const enum err signals_error =
      signals_init(&controller->signals, &controller->loop, on_signal, controller);
  if (wakeup_error != ERR_OK || signals_error != ERR_OK) {
    log_warning("Could not set up timers and signals: %s",
                err_text(wakeup_error != ERR_OK ? wakeup_error : signals_error));
    exit(EXIT_FAILURE);
  }
}

static void stop(struct controller *controller) {
  struct recorder_counters rows;
  const bool was_recording = controller->recorder != NULL;
  recorder_destroy(controller->recorder, &rows);
  if (was_recording) {
    log_info("Telemetry: %llu rows written, %llu dropped, %llu lost",
             (unsigned long long)rows.rows_written, (unsigned long long)rows.rows_dropped,
             (unsigned long long)rows.rows_lost);
  }
  for (uint32_t i = 0; i < controller->pendings.capacity; i++) {
    struct pending *pending = pool_at(&controller->pendings, i);
    if (pending != NULL) {
      body_release(pending->input);
    }
  }
  transport_destroy(controller->transport);
  uv_loop_close(&controller->loop);
  workers_finish(controller);
  packages_finish(&controller->packages);
  inputs_finish(&controller->inputs);
  body_budget_finish(&controller->inputs_budget);
  body_budget_finish(&controller->outputs_budget);
  os_memory_give(controller->scheduler_memory, controller->scheduler_memory_bytes);
  os_memory_give(controller->pools_memory, controller->pools_memory_bytes);
}

static const char *inputs_come_from(const struct options *options) {
  return options->generates_inputs
             ? "the controller, compressed, for requests that come without one"
             : "the client, or from the worker for requests that come without one";
}

int main(int argc, char **argv) {
  static struct controller controller;
  const enum options_outcome outcome = options_parse(argc, argv, &controller.options);
  if (outcome != OPTIONS_RUN) {
    return outcome == OPTIONS_EXIT_OK ? EXIT_SUCCESS : 2;
  }
  CHECK_EQ(uv_loop_init(&controller.loop), 0);
  controller.started = os_now();
  if (!start_transport(&controller)) {
    return EXIT_FAILURE;
  }
  start_recorder(&controller);
  start_scheduler(&controller);
  start_pools(&controller);
  start_loop_handles(&controller);
  workers_start(&controller);
  controller.summary.since = os_now();
  os_usage(&controller.summary.usage);
  log_info("Controller %s listens on %s; %zu workers; inputs come from %s", controller.options.type,
           listener_address(controller.listener)->text, controller.options.workers_count,
           inputs_come_from(&controller.options));
  uv_run(&controller.loop, UV_RUN_DEFAULT);
  stop(&controller);
  return EXIT_SUCCESS;
}
