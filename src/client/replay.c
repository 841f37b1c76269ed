#include "client/replay.h"

#include <stdlib.h>
#include <string.h>

#include "backend/emulated/emulated.h"
#include "base/arena.h"
#include "base/check.h"
#include "model/status.h"
#include "os/clock.h"
#include "os/log.h"
#include "os/memory.h"
#include "wire/frame.h"

/* Requests taken from the workload at once. */
enum { REPLAY_BATCH = 256 };

/* A request on its way. */
struct under_way {
  struct replay *replay;
  struct instant due;
  struct duration slo;
  const struct input *input; /* that was sent; NULL: none */
  uint32_t model_index;
  uint32_t tag;
};

static void carve(struct replay *replay, struct arena *arena) {
  replay->interval = arena_take(arena, 1, sizeof(*replay->interval));
  replay->total = arena_take(arena, 1, sizeof(*replay->total));
  replay->input_size_of =
      arena_take(arena, replay->models->kinds_count, sizeof(*replay->input_size_of));
  pool_init(&replay->under_way, arena, REPLAY_UNDER_WAY_MAX, sizeof(struct under_way));
}

enum err replay_init(struct replay *replay, const struct client_options *options,
                     struct workload *workload, const struct models *models) {
  *replay = (struct replay){.options = options, .workload = workload, .models = models};
  struct arena arena;
  arena_init_counting(&arena);
  carve(replay, &arena);
  replay->memory_bytes = arena.used_bytes;
  replay->memory = os_memory_take(replay->memory_bytes);
  if (replay->memory == NULL) {
    return ERR_NO_MEMORY;
  }
  arena_init(&arena, replay->memory, replay->memory_bytes);
  carve(replay, &arena);
  return ERR_OK;
}

void replay_finish(struct replay *replay) {
  if (replay == NULL) {
    return;
  }
  inputs_finish(&replay->inputs);
  free(replay->expected_output);
  replay->expected_output = NULL;
  os_memory_give(replay->memory, replay->memory_bytes);
  replay->memory = NULL;
}

/* ---- inputs ---------------------------------------------------------------------------------- */

static void print_inputs(const struct replay *replay) {
  for (uint32_t i = 0; i < replay->inputs.sizes_count; i++) {
    const struct inputs_of_size *size = &replay->inputs.sizes[i];
    log_info("Inputs: sent by this client, %u variants of %u bytes, on the wire about %u",
             INPUTS_VARIANTS, size->input_bytes, size->variants[0].stored_bytes);
  }
}

/* The inputs of one kind of model, and room to check its output. */
static enum err prepare_kind(struct replay *replay, uint32_t kind_index) {
  const struct model_kind *kind = &replay->models->kinds[kind_index];
  uint32_t size_index = INPUTS_SIZES_MAX;
  const enum err err = inputs_prepare(&replay->inputs, kind->input_bytes,
                                      replay->options->workload.seed, &size_index);
  if (err == ERR_NO_MEMORY) {
    return err;
  }
  if (err != ERR_OK) {
    log_warning("%s takes inputs of %llu bytes: none are sent to it", kind->name,
                (unsigned long long)kind->input_bytes);
  }
  replay->input_size_of[kind_index] = size_index;
  if (kind->output_bytes > replay->expected_output_bytes &&
      kind->output_bytes <= FRAME_BODY_BYTES_MAX) {
    replay->expected_output_bytes = (size_t)kind->output_bytes;
  }
  return ERR_OK;
}

enum err replay_prepare_inputs(struct replay *replay) {
  if (!replay->options->sends_inputs) {
    log_info("Inputs: none from this client (CLOCKWORK_DISABLE_INPUTS=1); the controller makes "
             "them with generate_inputs = 1, else the workers do");
    return ERR_OK;
  }
  for (uint32_t i = 0; i < replay->models->kinds_count; i++) {
    const enum err err = prepare_kind(replay, i);
    if (err != ERR_OK) {
      return err;
    }
  }
  print_inputs(replay);
  if (replay->options->checks_outputs) {
    replay->expected_output = malloc(replay->expected_output_bytes + 1);
    if (replay->expected_output == NULL) {
      return ERR_NO_MEMORY;
    }
  }
  return ERR_OK;
}

static const struct input *pick_input(struct replay *replay, uint32_t kind_index) {
  if (!replay->options->sends_inputs || replay->input_size_of[kind_index] == INPUTS_SIZES_MAX) {
    return NULL;
  }
  return inputs_pick(&replay->inputs, replay->input_size_of[kind_index], replay->inputs_count++);
}

/* What an emulated worker would have answered. */
static bool is_right(struct replay *replay, const struct under_way *request,
                     const struct clockwork_inferred *answer) {
  const uint32_t kind_index = replay->models->kind_of[request->model_index];
  const struct model_kind *kind = &replay->models->kinds[kind_index];
  if (request->input == NULL || kind->output_bytes > replay->expected_output_bytes) {
    return true; /* not to be known */
  }
  if (answer->output == NULL || answer->output->bytes != kind->output_bytes) {
    return false;
  }
  const uint32_t size_index = replay->input_size_of[kind_index];
  emulated_output(kind->name, request->input->raw, replay->inputs.sizes[size_index].input_bytes,
                  replay->expected_output, (size_t)kind->output_bytes);
  return memcmp(replay->expected_output, answer->output->data, (size_t)kind->output_bytes) == 0;
}

/* ---- time ------------------------------------------------------------------------------------ */

/* Workload time, which ends with the duration: what is due up to there is sent, nothing else. */
static struct instant workload_time(const struct replay *replay, struct instant now) {
  const struct duration since = instant_since(now, replay->start);
  return (struct instant){duration_min(since, replay->options->duration).ns};
}

static struct instant real_time(const struct replay *replay, struct instant workload_instant) {
  return instant_add(workload_instant, instant_since(replay->start, INSTANT_ZERO));
}

/* ---- requests -------------------------------------------------------------------------------- */

static void on_inferred(void *user, const struct clockwork_inferred *answer) {
  struct under_way *request = user;
  struct replay *replay = request->replay;
  const struct instant now = os_now();
  if (answer->error != ERR_OK) {
    tally_on_lost(replay->interval);
  } else {
    tally_on_answered(replay->interval, answer->result, instant_since(now, request->due),
                      request->slo);
    if (replay->options->checks_outputs && answer->result == REQUEST_SUCCESS &&
        !is_right(replay, request, answer)) {
      replay->interval->wrong_count++;
    }
  }
  const uint32_t tag = request->tag;
  pool_give(&replay->under_way, request);
  workload_on_answered(replay->workload, workload_time(replay, now), tag,
                       answer->error == ERR_OK && answer->result == REQUEST_SUCCESS);
}

static struct duration slo_of(const struct replay *replay, const struct model_kind *kind,
                              double slo_factor) {
  return slo_factor > 0 ? duration_ns((int64_t)(slo_factor * (double)kind->execute_one.ns))
                        : replay->options->slo;
}

static bool send_request(struct replay *replay, const struct workload_request *due) {
  struct under_way *request = pool_take(&replay->under_way);
  if (request == NULL) {
    return false;
  }
  const uint32_t kind_index = replay->models->kind_of[due->model_index];
  const struct model_kind *kind = &replay->models->kinds[kind_index];
  *request = (struct under_way){.replay = replay,
                                .due = real_time(replay, due->at),
                                .slo = slo_of(replay, kind, (double)due->slo_factor),
                                .input = pick_input(replay, kind_index),
                                .model_index = due->model_index,
                                .tag = due->tag};
  struct clockwork_infer infer = {.model_id = replay->models->ids[due->model_index],
                                  .user_id = due->user_id,
                                  .slo_factor = (double)due->slo_factor,
                                  .wants_output = replay->options->wants_outputs,
                                  .retry_within = duration_s(REPLAY_INITIALIZING_S),
                                  .on_inferred = on_inferred,
                                  .user = request};
  if (request->input != NULL) {
    infer.input_bytes = (uint32_t)kind->input_bytes;
    infer.encoding = request->input->encoding;
    infer.input = (struct body_slice){.data = request->input->stored,
                                      .count_bytes = request->input->stored_bytes};
  }
  if (clockwork_client_infer(replay->client, &infer) != ERR_OK) {
    pool_give(&replay->under_way, request);
    return false;
  }
  return true;
}

static void send_due(struct replay *replay, const struct workload_request *due,
                     struct instant now) {
  if (send_request(replay, due)) {
    tally_on_sent(replay->interval, instant_since(now, real_time(replay, due->at)));
    return;
  }
  tally_on_not_sent(replay->interval);
  workload_on_answered(replay->workload, workload_time(replay, now), due->tag, false);
}

void replay_start(struct replay *replay, struct clockwork_client *client, struct instant now) {
  replay->client = client;
  replay->start = now;
  replay->interval_start = now;
  replay->pacing = (struct pacing){.window_begin = now, .last_turn = now};
}

uint32_t replay_turn(struct replay *replay, struct instant now) {
  if (instant_before(now, replay_wakeup(replay))) {
    return 0;
  }
  uint32_t count = 0;
  uint32_t batch_count = REPLAY_BATCH;
  while (batch_count == REPLAY_BATCH && count < REPLAY_TURN_MAX) {
    struct workload_request batch[REPLAY_BATCH];
    batch_count =
        workload_next_requests(replay->workload, workload_time(replay, now), batch, REPLAY_BATCH);
    for (uint32_t i = 0; i < batch_count; i++) {
      send_due(replay, &batch[i], now);
    }
    count += batch_count;
  }
  pacing_on_turn(&replay->pacing, now, count);
  return count;
}

/* When the next request is due, INSTANT_NEVER if it is after the duration. */
static struct instant next_due(const struct replay *replay) {
  const struct instant due = workload_wakeup(replay->workload);
  if (replay->is_stopped || due.ns == INSTANT_NEVER.ns || due.ns > replay->options->duration.ns) {
    return INSTANT_NEVER;
  }
  return real_time(replay, due);
}

struct instant replay_wakeup(const struct replay *replay) {
  const struct instant due = next_due(replay);
  return due.ns == INSTANT_NEVER.ns ? due : instant_max(due, pacing_next_turn(&replay->pacing));
}

void replay_stop(struct replay *replay) {
  replay->is_stopped = true;
}

bool replay_is_over(const struct replay *replay, struct instant now) {
  if (replay->is_stopped || workload_is_done(replay->workload)) {
    return true;
  }
  const bool is_past = instant_since(now, replay->start).ns >= replay->options->duration.ns;
  return is_past && next_due(replay).ns == INSTANT_NEVER.ns;
}

uint32_t replay_under_way_count(const struct replay *replay) {
  return replay->under_way.taken_count;
}

/* ---- what it says ---------------------------------------------------------------------------- */

static double seconds_since(struct instant now, struct instant begin) {
  const int64_t ns = instant_since(now, begin).ns;
  return (double)(ns > 0 ? ns : 1) / 1e9;
}

static void close_interval(struct replay *replay, struct instant now) {
  tally_merge(replay->total, replay->interval);
  memset(replay->interval, 0, sizeof(*replay->interval));
  replay->interval_start = now;
}

void replay_print_interval(struct replay *replay, struct instant now) {
  char text[TALLY_TEXT_BYTES];
  tally_write_line(replay->interval, seconds_since(now, replay->interval_start),
                   replay_under_way_count(replay), text, sizeof(text));
  log_info("%s", text);
  close_interval(replay, now);
}

bool replay_print_total(struct replay *replay, struct instant now) {
  close_interval(replay, now);
  char text[TALLY_TEXT_BYTES];
  for (uint32_t line = 0; tally_write_total(replay->total, seconds_since(now, replay->start), line,
                                            text, sizeof(text));
       line++) {
    log_info("%s", text);
  }
  return replay->total->wrong_count == 0;
}
