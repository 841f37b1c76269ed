#include "client/run.h"

#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "base/check.h"
#include "client/day.h"
#include "client/models.h"
#include "client/options.h"
#include "client/replay.h"
#include "client_library/clockwork_client.h"
#include "os/clock.h"
#include "os/log.h"
#include "os/memory.h"
#include "os/signals.h"
#include "os/wakeup.h"
#include "transport/connection.h"

enum {
  SUMMARY_EVERY_S = 10,
  PROGRESS_EVERY_S = 1,
  /* After the last request was sent: for the answers that are still to come. */
  DRAIN_S = 2,
  /* Connections that end while models are being loaded: more, and it isn't a controller. */
  LOADING_LOSSES_MAX = 10,
};

/* Outputs on their way into the client. */
#define OUTPUTS_BUDGET_BYTES ((size_t)256 << 20)

enum run_state { RUN_CONNECTING, RUN_LOADING, RUN_REPLAYING, RUN_DRAINING, RUN_OVER };

struct run {
  struct client_options options;
  struct day day;
  void *workload_memory;
  size_t workload_memory_bytes;
  struct workload *workload;
  struct models models;
  struct replay replay;

  uv_loop_t loop;
  uv_prepare_t prepare;
  struct signals signals;
  struct wakeup wakeup;
  struct transport *transport;
  struct body_budget outputs;
  struct clockwork_client *client;

  enum run_state state;
  struct instant give_up_at; /* while connecting */
  struct instant report_at;  /* next progress line or summary */
  struct instant drained_at; /* answers are waited for no longer */
  struct instant replay_end;
  bool has_said_unreachable; /* in this attempt */
  bool has_said_initializing;
  uint32_t loading_losses_count;
  struct error_text loss; /* the last reported one before the replay: the same is said once */
  int exit_code;
};

/* ---- the end --------------------------------------------------------------------------------- */

static void end(struct run *run, int exit_code) {
  if (run->state == RUN_OVER) {
    return;
  }
  run->state = RUN_OVER;
  run->exit_code = exit_code;
  clockwork_client_close(run->client);
  transport_close(run->transport);
  signals_finish(&run->signals);
  wakeup_finish(&run->wakeup);
  uv_close((uv_handle_t *)&run->prepare, NULL);
}

static void begin_drain(struct run *run, struct instant now) {
  replay_stop(&run->replay);
  run->state = RUN_DRAINING;
  run->replay_end = now;
  run->drained_at = instant_add(now, duration_s(DRAIN_S));
}

static void end_replay(struct run *run) {
  const uint32_t unanswered_count = replay_under_way_count(&run->replay);
  const uint64_t unexpected_count = clockwork_client_unexpected_count(run->client);
  if (unanswered_count > 0) {
    log_warning("%u requests had no answer %d s after the last one was sent", unanswered_count,
                DRAIN_S);
  }
  if (unexpected_count > 0) {
    log_warning("The controller answered %llu times without being asked",
                (unsigned long long)unexpected_count);
  }
  const bool is_right = replay_print_total(&run->replay, run->replay_end);
  if (!is_right) {
    log_warning("Outputs were not what emulated workers answer to our inputs");
  }
  end(run, is_right ? CLIENT_EXIT_OK : CLIENT_EXIT_FAILED);
}

static void on_signal(void *user, int signal_number) {
  struct run *run = user;
  if (run->state == RUN_REPLAYING) {
    log_info("Signal %d: stopping", signal_number);
    begin_drain(run, os_now());
  } else if (run->state == RUN_DRAINING) {
    run->drained_at = os_now(); /* asked twice: wait no longer */
  } else {
    log_warning("Signal %d before the replay had begun", signal_number);
    end(run, CLIENT_EXIT_FAILED);
  }
}

/* ---- the connection -------------------------------------------------------------------------- */

static void begin_connecting(struct run *run, struct instant now) {
  run->state = RUN_CONNECTING;
  run->give_up_at = instant_add(now, run->options.connect_timeout);
  run->has_said_unreachable = false;
}

static void on_connected(void *owner) {
  struct run *run = owner;
  run->has_said_unreachable = false;
  if (run->state == RUN_CONNECTING) {
    if (run->loading_losses_count == 0) {
      log_info("Connected to the controller at %s", run->options.controller.text);
    }
    run->state = RUN_LOADING;
    run->report_at = instant_add(os_now(), duration_s(PROGRESS_EVERY_S));
    models_on_connected(&run->models, run->client);
  } else if (run->state == RUN_REPLAYING) {
    log_info("The controller is back");
  }
}

static void on_disconnected(void *owner, const char *reason, uint32_t lost_count) {
  struct run *run = owner;
  if (run->state == RUN_OVER) {
    return; /* we closed it */
  }
  if (run->state == RUN_REPLAYING || strcmp(run->loss.text, reason) != 0) {
    log_warning("Lost the controller at %s: %s; requests lost: %u", run->options.controller.text,
                reason, lost_count);
    error_text_set(&run->loss, "%s", reason);
  }
  if (run->state == RUN_LOADING) {
    models_on_disconnected(&run->models);
    begin_connecting(run, os_now());
    run->loading_losses_count++;
    if (run->loading_losses_count > LOADING_LOSSES_MAX) {
      log_warning("Giving up: is that address a controller of this version?");
      end(run, CLIENT_EXIT_FAILED);
    }
  }
}

static void on_unreachable(void *owner, const char *reason) {
  struct run *run = owner;
  if (run->has_said_unreachable || run->state == RUN_OVER) {
    return;
  }
  run->has_said_unreachable = true;
  if (run->state == RUN_CONNECTING) {
    log_info("No controller at %s yet (%s); trying for up to %g s", run->options.controller.text,
             reason, (double)run->options.connect_timeout.ns / 1e9);
  } else {
    log_info("No controller at %s (%s); trying again and again", run->options.controller.text,
             reason);
  }
}

/* ---- turns of the loop ----------------------------------------------------------------------- */

static void turn_connecting(struct run *run, struct instant now) {
  if (!instant_before(now, run->give_up_at)) {
    log_warning("No controller at %s within %g s: start one, or give another address or a longer "
                "--connect-timeout",
                run->options.controller.text, (double)run->options.connect_timeout.ns / 1e9);
    end(run, CLIENT_EXIT_FAILED);
  }
}

static void print_progress(struct run *run) {
  const struct models *models = &run->models;
  log_info("Loading models: %u of %u are there", models->found_count, models->models_count);
  if (models->is_initializing && !run->has_said_initializing) {
    run->has_said_initializing = true;
    log_info("The controller is still waiting for its workers; loads are tried again");
  }
}

static void begin_replay(struct run *run) {
  const struct models *models = &run->models;
  log_info("Models: %u instances in %u groups; %u were there already, %u were loaded",
           models->models_count, models->kinds_count, models->reused_count,
           models->models_count - models->reused_count);
  if (replay_prepare_inputs(&run->replay) != ERR_OK) {
    log_warning("Out of memory for inputs: set CLOCKWORK_DISABLE_INPUTS=1 to send none");
    end(run, CLIENT_EXIT_FAILED);
    return;
  }
  const struct instant now = os_now();
  run->state = RUN_REPLAYING;
  run->report_at = instant_add(now, duration_s(SUMMARY_EVERY_S));
  replay_start(&run->replay, run->client, now);
  const double offered_per_s = workload_offered_rate(run->workload, INSTANT_ZERO);
  char offered[64] = "";
  if (offered_per_s > 0) {
    snprintf(offered, sizeof(offered), "; open loops begin with %.1f requests/s", offered_per_s);
  }
  log_info("Now replaying %s, seed %llu%s", workload_kind_name(run->options.workload.kind),
           (unsigned long long)run->options.workload.seed, offered);
}

static void turn_loading(struct run *run, struct instant now) {
  models_turn(&run->models, now);
  if (run->models.state == MODELS_FAILED) {
    log_warning("%s", run->models.failure);
    end(run, CLIENT_EXIT_FAILED);
  } else if (run->models.state == MODELS_READY) {
    begin_replay(run);
  } else if (!instant_before(now, run->report_at)) {
    print_progress(run);
    /* Slower and slower: workers may take minutes to turn up. */
    const int64_t pause_ns = models_wakeup(&run->models).ns == INSTANT_NEVER.ns
                                 ? PROGRESS_EVERY_S * NS_PER_S
                                 : SUMMARY_EVERY_S * NS_PER_S;
    run->report_at = instant_add(now, duration_ns(pause_ns));
  }
}

static void turn_replaying(struct run *run, struct instant now) {
  replay_turn(&run->replay, now);
  if (!instant_before(now, run->report_at)) {
    replay_print_interval(&run->replay, now);
    /* From when it was due: lines keep their distance over hours. */
    while (!instant_before(now, run->report_at)) {
      run->report_at = instant_add(run->report_at, duration_s(SUMMARY_EVERY_S));
    }
  }
  if (replay_is_over(&run->replay, now)) {
    begin_drain(run, now);
  }
}

static void turn_draining(struct run *run, struct instant now) {
  if (replay_under_way_count(&run->replay) == 0 || !instant_before(now, run->drained_at)) {
    end_replay(run);
  }
}

static struct instant next_wakeup(const struct run *run) {
  switch (run->state) {
  case RUN_CONNECTING:
    return run->give_up_at;
  case RUN_LOADING:
    return instant_min(run->report_at, models_wakeup(&run->models));
  case RUN_REPLAYING: {
    const struct instant end_at = instant_add(run->replay.start, run->options.duration);
    const struct instant next = instant_min(run->report_at, replay_wakeup(&run->replay));
    return instant_min(next, end_at);
  }
  case RUN_DRAINING:
    return run->drained_at;
  case RUN_OVER:
    break;
  }
  return INSTANT_NEVER;
}

/* Before the loop sleeps; what is sent here leaves before it does (transport/connection.h). */
static void on_prepare(uv_prepare_t *prepare) {
  struct run *run = prepare->data;
  const struct instant now = os_now();
  if (run->state == RUN_CONNECTING) {
    turn_connecting(run, now);
  }
  if (run->state == RUN_LOADING) {
    turn_loading(run, now);
  }
  if (run->state == RUN_REPLAYING) {
    turn_replaying(run, now);
  }
  if (run->state == RUN_DRAINING) {
    turn_draining(run, now);
  }
  wakeup_set(&run->wakeup, next_wakeup(run));
}

static void on_wakeup(void *user) {
  (void)user; /* on_prepare follows */
}

/* ---- start and teardown ---------------------------------------------------------------------- */

/* Everything that needs no network. Returns an exit code. */
static int prepare_workload(struct run *run) {
  uint32_t trace_id = 0;
  if (workload_needs_trace(&run->options.workload, &trace_id)) {
    const int code = day_open(&run->day, &run->options, trace_id);
    if (code != CLIENT_EXIT_OK) {
      return code;
    }
    run->options.workload.trace = run->day.trace;
  }
  run->workload_memory_bytes = workload_bytes(&run->options.workload);
  run->workload_memory = os_memory_take(run->workload_memory_bytes);
  if (run->workload_memory == NULL) {
    log_warning("Out of memory: the workload needs %zu bytes", run->workload_memory_bytes);
    return CLIENT_EXIT_FAILED;
  }
  run->workload = workload_init(run->workload_memory, &run->options.workload);
  uint32_t wanted_count = 0;
  const struct workload_model *wanted = workload_models(run->workload, &wanted_count);
  enum err err = models_init(&run->models, wanted, wanted_count, run->options.model_dir);
  if (err == ERR_TOO_LARGE) {
    log_usage_error("client", "model folder '%.60s...': paths of models must be shorter than %d",
                    run->options.model_dir, MODEL_PATH_BYTES);
    return CLIENT_EXIT_USAGE;
  }
  if (err == ERR_OK) {
    err = replay_init(&run->replay, &run->options, run->workload, &run->models);
  }
  if (err != ERR_OK) {
    log_warning("Out of memory");
    return CLIENT_EXIT_FAILED;
  }
  return CLIENT_EXIT_OK;
}

static enum err open_client(struct run *run) {
  run->transport = transport_create(&run->loop);
  if (run->transport == NULL) {
    return ERR_NO_MEMORY;
  }
  const struct clockwork_client_options client_options = {
      .on_connected = on_connected,
      .on_disconnected = on_disconnected,
      .on_unreachable = on_unreachable,
      .owner = run,
      .calls_max = REPLAY_UNDER_WAY_MAX + MODELS_LOADS_MAX + 1,
      .outputs = run->options.wants_outputs ? &run->outputs : NULL};
  run->client = clockwork_client_create(&run->loop, run->transport, &run->options.controller,
                                        &client_options);
  return run->client == NULL ? ERR_NO_MEMORY : ERR_OK;
}

/* The loop and everything in it. The prepare handle comes after the transport's, see there. */
static int open_loop(struct run *run) {
  CHECK_EQ(uv_loop_init(&run->loop), 0);
  const enum err opened = open_client(run);
  CHECK_EQ(uv_prepare_init(&run->loop, &run->prepare), 0);
  run->prepare.data = run;
  run->wakeup.fd = -1;
  if (opened != ERR_OK || wakeup_init(&run->wakeup, &run->loop, on_wakeup, run) != ERR_OK ||
      signals_init(&run->signals, &run->loop, on_signal, run) != ERR_OK) {
    log_warning("The machine gives no memory or no file descriptors for a client");
    end(run, CLIENT_EXIT_FAILED);
    return CLIENT_EXIT_FAILED;
  }
  CHECK_EQ(uv_prepare_start(&run->prepare, on_prepare), 0);
  return CLIENT_EXIT_OK;
}

static void close_all(struct run *run) {
  replay_finish(&run->replay);
  models_finish(&run->models);
  os_memory_give(run->workload_memory, run->workload_memory_bytes);
  day_close(&run->day);
}

static void run_loop(struct run *run) {
  body_budget_init(&run->outputs, OUTPUTS_BUDGET_BYTES);
  if (open_loop(run) == CLIENT_EXIT_OK) {
    begin_connecting(run, os_now());
  }
  uv_run(&run->loop, UV_RUN_DEFAULT);
  clockwork_client_destroy(run->client);
  transport_destroy(run->transport);
  body_budget_finish(&run->outputs);
  CHECK_EQ(uv_loop_close(&run->loop), 0);
}

int client_run(int argc, char *const *argv) {
  struct run run;
  memset(&run, 0, sizeof(run));
  const enum options_outcome outcome = options_parse(argc, argv, &run.options, &run.exit_code);
  if (outcome == OPTIONS_EXIT) {
    return run.exit_code;
  }
  run.exit_code = prepare_workload(&run);
  if (run.exit_code == CLIENT_EXIT_OK) {
    run_loop(&run);
  }
  close_all(&run);
  return run.exit_code;
}
