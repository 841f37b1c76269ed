/* What runs: which action each engine starts next, and what follows when it ends. */
#include "base/check.h"
#include "base/prefetch.h"
#include "executor/executor_private.h"

/* Where commands go. A GPU that meets a full one stays dirty and is looked at in the next call. */
struct outlet {
  struct executor_command *commands;
  uint32_t capacity;
  uint32_t count;
};

static bool outlet_is_full(const struct outlet *outlet) {
  return outlet->count == outlet->capacity;
}

static bool is_open(const struct pending *pending, struct instant now) {
  return !instant_after(executor_opening_of(pending), now);
}

void executor_release_io(struct executor *executor, struct pending *pending) {
  if (pending->io_slot == IO_SLOT_NONE) {
    return;
  }
  struct executor_gpu *gpu = executor_gpu_of(executor, pending);
  CHECK_EQ(gpu->io_free_slots >> pending->io_slot & 1, 0);
  gpu->io_free_slots |= UINT32_C(1) << pending->io_slot;
  gpu->io_free_bytes += pending->io_bytes;
  CHECK_LE(gpu->io_free_bytes, gpu->io_total_bytes);
  pending->io_slot = IO_SLOT_NONE;
}

/* Put the action on its engine and write the command. */
static struct backend_command *start(struct executor *executor, struct pending *pending,
                                     enum backend_engine engine, struct outlet *outlet) {
  struct executor_gpu *gpu = executor_gpu_of(executor, pending);
  CHECK(gpu->running[engine] == NULL);
  gpu->running[engine] = pending;
  pending->stage = (uint8_t)(STAGE_RUN + engine);
  struct executor_command *command = &outlet->commands[outlet->count++];
  *command =
      (struct executor_command){.command = {.command_id = pool_id(&executor->actions, pending),
                                            .engine = engine,
                                            .gpu_index = pending->result.gpu_index,
                                            .model_id = pending->result.model_id,
                                            .batch_size = pending->result.batch_size}};
  if (engine != BACKEND_ENGINE_LOAD) {
    command->command.io_slot = pending->io_slot;
  }
  if (engine == BACKEND_ENGINE_INPUT || engine == BACKEND_ENGINE_OUTPUT) {
    command->command.io = &pending->io;
  }
  return &command->command;
}

static bool is_executing(const struct executor_gpu *gpu, uint32_t model_id) {
  const struct pending *running = gpu->running[BACKEND_ENGINE_EXECUTE];
  return running != NULL && running->result.model_id == model_id;
}

static void evict(struct executor *executor, struct executor_gpu *gpu, struct pending *pending,
                  struct instant now) {
  const uint32_t model_id = pending->result.model_id;
  const uint32_t head = page_cache_find(&gpu->cache, model_id);
  if (head == PAGE_NONE) {
    executor_refuse(executor, pending, ACTION_EVICT_NOT_IN_CACHE);
  } else if (gpu->cache.pages[head].state == PAGE_LOADING || is_executing(gpu, model_id)) {
    executor_refuse(executor, pending, ACTION_WEIGHTS_IN_USE);
  } else {
    page_cache_begin_evict(&gpu->cache, head);
    executor_unwait(executor, pending);
    pending->result.run = (struct executor_step){.begin = now, .end = now};
    executor_finish(executor, pending, ACTION_SUCCESS);
  }
}

/* Evictions come before loads, so that the load that they make room for finds it. False: the outlet
 * is full. */
static bool run_evictions(struct executor *executor, uint32_t gpu_index, struct instant now,
                          struct outlet *outlet) {
  struct executor_gpu *gpu = &executor->gpus[gpu_index];
  struct pending *pending = NULL;
  while ((pending = executor_first_waiting(gpu, STAGE_WAIT_EVICT)) != NULL &&
         is_open(pending, now)) {
    evict(executor, gpu, pending, now);
  }
  struct page_cache_evicted evicted;
  while (gpu->cache.leaving_first != PAGE_NONE) {
    if (outlet_is_full(outlet)) {
      return false;
    }
    CHECK(page_cache_next_evicted(&gpu->cache, &evicted));
    outlet->commands[outlet->count++] = (struct executor_command){
        .is_evict = true,
        .command = {.gpu_index = gpu_index, .model_id = evicted.model_id, .pages = evicted.pages},
        .pages_count = evicted.pages_count};
  }
  return true;
}

/* The first LOAD whose window is open and that is not to be refused; NULL if none. */
static struct pending *next_load(struct executor *executor, struct executor_gpu *gpu,
                                 struct instant now) {
  struct pending *pending = NULL;
  while ((pending = executor_first_waiting(gpu, STAGE_WAIT_LOAD)) != NULL &&
         is_open(pending, now)) {
    const uint32_t model_id = pending->result.model_id;
    const struct pending *loading = gpu->running[BACKEND_ENGINE_LOAD];
    if (loading != NULL && loading->result.model_id == model_id) {
      executor_refuse(executor, pending, ACTION_LOAD_CONCURRENT_CHANGE);
    } else if (loading != NULL) {
      return NULL;
    } else if (page_cache_find(&gpu->cache, model_id) != PAGE_NONE) {
      executor_refuse(executor, pending, ACTION_WEIGHTS_ALREADY_LOADED);
    } else if (executor_spec(executor, model_id)->weights_pages > gpu->cache.free_count) {
      executor_refuse(executor, pending, ACTION_LOAD_INSUFFICIENT_CACHE);
    } else {
      return pending;
    }
  }
  return NULL;
}

static bool run_load(struct executor *executor, struct executor_gpu *gpu, struct instant now,
                     struct outlet *outlet) {
  struct pending *pending = NULL;
  /* A second look, with the engine busy, refuses those that want the same model. */
  while ((pending = next_load(executor, gpu, now)) != NULL) {
    if (outlet_is_full(outlet)) {
      return false;
    }
    const uint32_t model_id = pending->result.model_id;
    executor_unwait(executor, pending);
    struct backend_command *command = start(executor, pending, BACKEND_ENGINE_LOAD, outlet);
    command->pages = page_cache_begin_load(&gpu->cache, model_id,
                                           executor_spec(executor, model_id)->weights_pages);
    CHECK(command->pages != NULL);
  }
  return true;
}

static bool run_execute(struct executor *executor, struct executor_gpu *gpu, struct instant now,
                        struct outlet *outlet) {
  struct pending *pending = NULL;
  while (gpu->running[BACKEND_ENGINE_EXECUTE] == NULL &&
         (pending = executor_first_waiting(gpu, STAGE_WAIT_EXECUTE)) != NULL &&
         is_open(pending, now)) {
    if (!page_cache_is_resident(&gpu->cache, pending->result.model_id)) {
      executor_refuse(executor, pending, ACTION_EXECUTE_WEIGHTS_MISSING);
      continue;
    }
    if (outlet_is_full(outlet)) {
      return false;
    }
    executor_unwait(executor, pending);
    start(executor, pending, BACKEND_ENGINE_EXECUTE, outlet);
  }
  return true;
}

static bool run_output(struct executor *executor, struct executor_gpu *gpu, struct outlet *outlet) {
  if (gpu->running[BACKEND_ENGINE_OUTPUT] != NULL || list_is_empty(&gpu->outputs)) {
    return true;
  }
  if (outlet_is_full(outlet)) {
    return false;
  }
  struct pending *pending = LIST_ENTRY(list_first(&gpu->outputs), struct pending, link);
  list_remove(&pending->link);
  start(executor, pending, BACKEND_ENGINE_OUTPUT, outlet);
  return true;
}

static bool run_input(struct executor *executor, struct executor_gpu *gpu, struct instant now,
                      struct outlet *outlet) {
  struct pending *pending = executor_first_waiting(gpu, STAGE_WAIT_INPUT);
  if (gpu->running[BACKEND_ENGINE_INPUT] != NULL || pending == NULL || !is_open(pending, now) ||
      gpu->io_free_slots == 0) {
    return true;
  }
  pending->is_short_of_io = pending->io_bytes > gpu->io_free_bytes;
  if (pending->is_short_of_io) {
    return true;
  }
  if (outlet_is_full(outlet)) {
    return false;
  }
  executor_unwait(executor, pending);
  pending->io_slot = (uint8_t)__builtin_ctz(gpu->io_free_slots);
  gpu->io_free_slots &= gpu->io_free_slots - 1;
  gpu->io_free_bytes -= pending->io_bytes;
  start(executor, pending, BACKEND_ENGINE_INPUT, outlet);
  return true;
}

/* False: there is more to do, but the outlet is full. */
static bool run_gpu(struct executor *executor, struct executor_gpu *gpu, struct instant now,
                    struct outlet *outlet) {
  if (gpu->is_lost) {
    return true;
  }
  const uint32_t gpu_index = (uint32_t)(gpu - executor->gpus);
  /* The input comes last: a refused execution may just have given its slot back. */
  return run_evictions(executor, gpu_index, now, outlet) && run_load(executor, gpu, now, outlet) &&
         run_execute(executor, gpu, now, outlet) && run_output(executor, gpu, outlet) &&
         run_input(executor, gpu, now, outlet);
}

uint32_t executor_next_commands(struct executor *executor, struct instant now,
                                struct executor_command *ret_commands, uint32_t capacity) {
  struct outlet outlet = {.commands = ret_commands, .capacity = capacity};
  executor_on_time(executor, now);
  while (!list_is_empty(&executor->dirty)) {
    struct executor_gpu *gpu = LIST_ENTRY(list_first(&executor->dirty), struct executor_gpu, dirty);
    if (!run_gpu(executor, gpu, now, &outlet)) {
      break;
    }
    list_remove(&gpu->dirty);
    executor_update_opening(executor, gpu);
  }
  return outlet.count;
}

static void on_input_end(struct executor *executor, struct pending *pending, struct instant now,
                         const struct backend_completion *completion) {
  pending->result.input = (struct executor_step){completion->begin, completion->end};
  if (completion->status != ACTION_SUCCESS) {
    executor_finish(executor, pending, completion->status);
  } else if (executor_gpu_of(executor, pending)->is_lost) {
    executor_finish(executor, pending, ACTION_GPU_LOST);
  } else if (executor->is_shutting_down) {
    executor_finish(executor, pending, ACTION_SHUTTING_DOWN);
  } else if (instant_after(now, pending->latest)) {
    executor_finish(executor, pending, ACTION_EXECUTE_TOO_LATE);
  } else {
    executor_wait(executor, pending, STAGE_WAIT_EXECUTE);
  }
}

static void on_run_end(struct pending *pending, const struct backend_completion *completion) {
  pending->result.run = (struct executor_step){completion->begin, completion->end};
  pending->result.clock_before_mhz = completion->clock_before_mhz;
  pending->result.clock_after_mhz = completion->clock_after_mhz;
}

void executor_expect_completion(const struct executor *executor, uint32_t gpu_index,
                                enum backend_engine engine) {
  CHECK_LT(gpu_index, executor->gpus_count);
  const struct executor_gpu *gpu = &executor->gpus[gpu_index];
  prefetch(gpu, sizeof(*gpu));
  prefetch(executor, sizeof(*executor));
  prefetch(gpu->running[engine], sizeof(struct pending));
  if (engine == BACKEND_ENGINE_EXECUTE) {
    prefetch(executor_first_waiting(gpu, STAGE_WAIT_EXECUTE), sizeof(struct pending));
  }
}

void executor_on_completion(struct executor *executor, struct instant now,
                            const struct backend_completion *completion) {
  struct pending *pending = pool_find(&executor->actions, completion->command_id);
  CHECK(pending != NULL);
  CHECK_GE(pending->stage, STAGE_RUN);
  CHECK_LT(pending->stage, STAGE_RUN + BACKEND_ENGINES);
  struct executor_gpu *gpu = executor_gpu_of(executor, pending);
  const enum backend_engine engine = (enum backend_engine)(pending->stage - STAGE_RUN);
  CHECK(gpu->running[engine] == pending);
  gpu->running[engine] = NULL;
  executor_mark_dirty(executor, gpu);
  if (completion->status == ACTION_GPU_LOST) {
    executor_on_gpu_lost(executor, pending->result.gpu_index);
  }
  switch (engine) {
  case BACKEND_ENGINE_LOAD:
    on_run_end(pending, completion);
    page_cache_end_load(&gpu->cache, completion->status == ACTION_SUCCESS);
    executor_finish(executor, pending, gpu->is_lost ? ACTION_GPU_LOST : completion->status);
    break;
  case BACKEND_ENGINE_INPUT:
    on_input_end(executor, pending, now, completion);
    break;
  case BACKEND_ENGINE_EXECUTE:
    on_run_end(pending, completion);
    if (completion->status != ACTION_SUCCESS || gpu->is_lost) {
      executor_finish(executor, pending, gpu->is_lost ? ACTION_GPU_LOST : completion->status);
      break;
    }
    pending->stage = STAGE_WAIT_OUTPUT;
    list_append(&gpu->outputs, &pending->link);
    break;
  case BACKEND_ENGINE_OUTPUT:
    pending->result.output = (struct executor_step){completion->begin, completion->end};
    executor_finish(executor, pending, completion->status);
    break;
  case BACKEND_ENGINES:
    break;
  }
}
