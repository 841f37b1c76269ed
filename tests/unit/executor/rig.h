/* An executor with the engines played by hand: time moves and commands end only when a test says
 * so.
 *
 * The rig itself watches what any executor must keep to: an engine gets a command only when idle, a
 * page is filled only when nobody has it, evictions name exactly what was loaded.
 */
#ifndef CLOCKWORK_TESTS_UNIT_EXECUTOR_RIG_H
#define CLOCKWORK_TESTS_UNIT_EXECUTOR_RIG_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "executor/executor.h"
#include "support/cmocka.h"
#include "support/memory.h"

enum {
  RIG_GPUS = 2,
  RIG_PAGES = 8,
  RIG_MODELS = 6,
  RIG_MODEL_PAGES = 3, /* of each model: two fit on a GPU */
  RIG_ACTIONS = 64,
  RIG_INPUT_BYTES = 100,
  RIG_OUTPUT_BYTES = 20,
  RIG_OWNER_NONE = -1,
};

struct rig {
  struct executor *executor;
  void *memory;
  struct instant now;
  uint64_t actions_count;
  uint32_t evicted_count; /* evictions handed out */
  struct backend_command running[RIG_GPUS][BACKEND_ENGINES];
  struct instant begins[RIG_GPUS][BACKEND_ENGINES];
  bool is_running[RIG_GPUS][BACKEND_ENGINES];
  int owners[RIG_GPUS][RIG_PAGES]; /* model id by page */
};

static inline struct model_spec rig_spec(void) {
  struct model_spec spec = {
      .name = "rig",
      .input_bytes = RIG_INPUT_BYTES,
      .output_bytes = RIG_OUTPUT_BYTES,
      .weights_bytes = (uint64_t)MODEL_PAGE_BYTES * (RIG_MODEL_PAGES - 1) + 1,
      .weights_pages = RIG_MODEL_PAGES,
      .batch_kinds = 3,
      .batch_sizes = {1, 2, 4},
      .load = {8000000},
      .execute = {{2000000}, {3000000}, {5000000}},
      .clock_mhz = 1380,
  };
  return spec;
}

/* `io_bytes` is each GPU's IO pool. All models are known. Time starts at 1 s. */
static inline struct rig rig_open(uint64_t io_bytes) {
  struct rig rig = {.now = {NS_PER_S}};
  const struct executor_limits limits = {.models = RIG_MODELS + 1,
                                         .actions = RIG_ACTIONS,
                                         .gpus = RIG_GPUS,
                                         .pages_per_gpu = RIG_PAGES};
  struct backend_gpu gpus[RIG_GPUS];
  for (int gpu = 0; gpu < RIG_GPUS; gpu++) {
    gpus[gpu] = (struct backend_gpu){
        .name = "rig", .pages = RIG_PAGES, .io_bytes = io_bytes, .clock_mhz = 1380};
    for (int page = 0; page < RIG_PAGES; page++) {
      rig.owners[gpu][page] = RIG_OWNER_NONE;
    }
  }
  rig.memory = test_memory_take(executor_bytes(&limits));
  rig.executor = executor_init(rig.memory, &limits, gpus, RIG_GPUS);
  const struct model_spec spec = rig_spec();
  for (uint32_t model_id = 0; model_id < RIG_MODELS; model_id++) {
    assert_true(executor_on_model_loaded(rig.executor, model_id, 1, &spec));
  }
  return rig;
}

static inline void rig_close(struct rig *rig) {
  executor_validate(rig->executor);
  free(rig->memory);
}

/* An instant `us` microseconds after the rig's start. */
static inline struct instant rig_at(int64_t us) {
  return instant_add((struct instant){NS_PER_S}, duration_us(us));
}

static inline struct executor_action rig_action(struct rig *rig, enum action_type type,
                                                uint32_t model_id, struct instant earliest,
                                                struct instant latest) {
  return (struct executor_action){.action_id = ++rig->actions_count,
                                  .type = type,
                                  .model_id = model_id,
                                  .batch_size = type == ACTION_INFER ? 1 : 0,
                                  .earliest = earliest,
                                  .latest = latest};
}

static inline uint64_t rig_send(struct rig *rig, const struct executor_action *action) {
  assert_true(executor_on_action(rig->executor, rig->now, action));
  return action->action_id;
}

/* For GPU 0, batch size 1. Returns the action's id. */
static inline uint64_t rig_send_window(struct rig *rig, enum action_type type, uint32_t model_id,
                                       struct instant earliest, struct instant latest) {
  const struct executor_action action = rig_action(rig, type, model_id, earliest, latest);
  return rig_send(rig, &action);
}

/* For GPU 0, from now on, for one second. */
static inline uint64_t rig_send_now(struct rig *rig, enum action_type type, uint32_t model_id) {
  return rig_send_window(rig, type, model_id, rig->now, instant_add(rig->now, duration_s(1)));
}

static inline void rig_apply(struct rig *rig, const struct executor_command *command) {
  const struct backend_command *c = &command->command;
  assert_in_range(c->gpu_index, 0, RIG_GPUS - 1);
  int *owners = rig->owners[c->gpu_index];
  if (command->is_evict) {
    assert_int_equal(command->pages_count, RIG_MODEL_PAGES);
    for (uint32_t i = 0; i < command->pages_count; i++) {
      assert_int_equal(owners[c->pages[i]], c->model_id);
      owners[c->pages[i]] = RIG_OWNER_NONE;
    }
    rig->evicted_count++;
    return;
  }
  assert_false(rig->is_running[c->gpu_index][c->engine]);
  rig->is_running[c->gpu_index][c->engine] = true;
  rig->running[c->gpu_index][c->engine] = *c;
  rig->begins[c->gpu_index][c->engine] = rig->now;
  if (c->engine == BACKEND_ENGINE_LOAD) {
    for (uint32_t i = 0; i < RIG_MODEL_PAGES; i++) {
      assert_in_range(c->pages[i], 0, RIG_PAGES - 1);
      assert_int_equal(owners[c->pages[i]], RIG_OWNER_NONE);
      owners[c->pages[i]] = (int)c->model_id;
    }
  } else {
    assert_in_range(c->io_slot, 0, BACKEND_IO_SLOTS - 1);
  }
}

/* Hand commands out, `capacity` at a time; returns how many there were. */
static inline uint32_t rig_pump_by(struct rig *rig, uint32_t capacity) {
  struct executor_command commands[16];
  uint32_t total = 0;
  uint32_t count = 0;
  do {
    count = executor_next_commands(rig->executor, rig->now, commands, capacity);
    assert_in_range(count, 0, capacity);
    for (uint32_t i = 0; i < count; i++) {
      rig_apply(rig, &commands[i]);
    }
    total += count;
  } while (count == capacity);
  executor_validate(rig->executor);
  return total;
}

static inline uint32_t rig_pump(struct rig *rig) {
  return rig_pump_by(rig, 16);
}

static inline void rig_move_to(struct rig *rig, struct instant now) {
  assert_false(instant_before(now, rig->now));
  rig->now = now;
}

static inline uint32_t rig_pump_at(struct rig *rig, struct instant now) {
  rig_move_to(rig, now);
  return rig_pump(rig);
}

/* What `engine` of the GPU runs; MODEL_ID_NONE if nothing. */
static inline uint32_t rig_runs_on(const struct rig *rig, uint32_t gpu_index,
                                   enum backend_engine engine) {
  return rig->is_running[gpu_index][engine] ? rig->running[gpu_index][engine].model_id
                                            : MODEL_ID_NONE;
}

static inline uint32_t rig_runs(const struct rig *rig, enum backend_engine engine) {
  return rig_runs_on(rig, 0, engine);
}

static inline void rig_end_on(struct rig *rig, uint32_t gpu_index, enum backend_engine engine,
                              enum action_status status) {
  assert_true(rig->is_running[gpu_index][engine]);
  const struct backend_command *command = &rig->running[gpu_index][engine];
  if (engine == BACKEND_ENGINE_LOAD && status != ACTION_SUCCESS) {
    for (int page = 0; page < RIG_PAGES; page++) {
      int *owner = &rig->owners[gpu_index][page];
      *owner = *owner == (int)command->model_id ? RIG_OWNER_NONE : *owner;
    }
  }
  rig->is_running[gpu_index][engine] = false;
  const struct backend_completion completion = {.command_id = command->command_id,
                                                .status = status,
                                                .begin = rig->begins[gpu_index][engine],
                                                .end = rig->now,
                                                .clock_before_mhz = 1380,
                                                .clock_after_mhz = 1370};
  executor_on_completion(rig->executor, rig->now, &completion);
}

/* The command on `engine` of GPU 0 ends now, and what follows starts. */
static inline void rig_end(struct rig *rig, enum backend_engine engine) {
  rig_end_on(rig, 0, engine, ACTION_SUCCESS);
  rig_pump(rig);
}

/* Load a model on GPU 0 in no time. */
static inline void rig_load(struct rig *rig, uint32_t model_id) {
  struct executor_result result;
  const uint64_t id = rig_send_now(rig, ACTION_LOAD, model_id);
  rig_pump(rig);
  assert_int_equal(rig_runs(rig, BACKEND_ENGINE_LOAD), model_id);
  rig_end(rig, BACKEND_ENGINE_LOAD);
  assert_int_equal(executor_next_results(rig->executor, &result, 1), 1);
  assert_int_equal(result.action_id, id);
  assert_int_equal(result.status, ACTION_SUCCESS);
}

/* The next result. */
static inline struct executor_result rig_result(struct rig *rig) {
  struct executor_result result = {.action_id = 0};
  assert_int_equal(executor_next_results(rig->executor, &result, 1), 1);
  return result;
}

static inline void rig_assert_no_result(struct rig *rig) {
  struct executor_result result;
  assert_int_equal(executor_next_results(rig->executor, &result, 1), 0);
}

/* The next result is this one. */
static inline void rig_assert_result(struct rig *rig, uint64_t action_id,
                                     enum action_status status) {
  const struct executor_result result = rig_result(rig);
  assert_int_equal(result.action_id, action_id);
  assert_int_equal(result.status, status);
}

#endif
