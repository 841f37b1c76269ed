/* Taking actions in, giving results out, and the state that a shell may ask for. */
#include "executor/executor.h"

#include <string.h>

#include "base/check.h"
#include "executor/executor_private.h"

static uint32_t loads_max(const struct executor_limits *limits) {
  return limits->loads == 0 ? limits->models : limits->loads;
}

/* Everything in one order, for counting and for real. `gpus` is NULL when counting; then `counted`
 * stands in for the struct that is not there. */
static struct executor *carve(struct arena *arena, const struct executor_limits *limits,
                              const struct backend_gpu *gpus, uint32_t gpus_count,
                              struct executor *counted) {
  struct executor *executor = arena_take(arena, 1, sizeof(*executor));
  if (executor == NULL) {
    executor = counted;
  }
  *executor = (struct executor){.limits = *limits, .gpus_count = gpus_count};
  pool_init(&executor->actions, arena, limits->actions, sizeof(struct pending));
  tournament_init(&executor->expiry, arena, limits->actions);
  tournament_init(&executor->openings, arena, limits->gpus);
  executor->specs = arena_take(arena, loads_max(limits), sizeof(struct model_spec));
  model_ranges_init(&executor->spec_of_model, arena, loads_max(limits));
  executor->gpus = arena_take(arena, limits->gpus, sizeof(struct executor_gpu));
  list_init(&executor->dirty);
  list_init(&executor->done);
  for (uint32_t i = 0; i < limits->gpus; i++) {
    struct page_cache counted_cache;
    struct page_cache *cache = gpus == NULL ? &counted_cache : &executor->gpus[i].cache;
    page_cache_init(cache, arena, limits->pages_per_gpu, i < gpus_count ? gpus[i].pages : 0);
  }
  return executor;
}

size_t executor_bytes(const struct executor_limits *limits) {
  struct arena arena;
  struct executor counted;
  arena_init_counting(&arena);
  carve(&arena, limits, NULL, 0, &counted);
  return arena.used_bytes;
}

struct executor *executor_init(void *memory, const struct executor_limits *limits,
                               const struct backend_gpu *gpus, uint32_t gpus_count) {
  CHECK_LE(gpus_count, limits->gpus);
  struct arena arena;
  arena_init(&arena, memory, executor_bytes(limits));
  struct executor *executor = carve(&arena, limits, gpus, gpus_count, NULL);
  for (uint32_t i = 0; i < gpus_count; i++) {
    struct executor_gpu *gpu = &executor->gpus[i];
    list_init(&gpu->outputs);
    gpu->io_total_bytes = gpus[i].io_bytes;
    gpu->io_free_bytes = gpus[i].io_bytes;
    gpu->io_free_slots = (UINT32_C(1) << BACKEND_IO_SLOTS) - 1;
  }
  return executor;
}

bool executor_on_model_loaded(struct executor *executor, uint32_t first_model_id, uint32_t copies,
                              const struct model_spec *spec) {
  const uint32_t models = executor->limits.models;
  if (copies == 0 || first_model_id >= models || copies > models - first_model_id ||
      executor->specs_count == loads_max(&executor->limits) ||
      model_ranges_have(&executor->spec_of_model, first_model_id, copies) ||
      !model_spec_is_valid(spec)) {
    return false;
  }
  executor->specs[executor->specs_count] = *spec;
  model_ranges_add(&executor->spec_of_model, first_model_id, copies, executor->specs_count++);
  return true;
}

const struct model_spec *executor_model(const struct executor *executor, uint32_t model_id) {
  const uint32_t index = model_ranges_get(&executor->spec_of_model, model_id);
  return index == MODEL_RANGES_NONE ? NULL : &executor->specs[index];
}

/* The refusal that is certain whatever the time; ACTION_SUCCESS if there is none. */
static enum action_status refusal_of(const struct executor *executor,
                                     const struct executor_action *action) {
  if (action->type != ACTION_LOAD && action->type != ACTION_INFER && action->type != ACTION_EVICT) {
    return ACTION_INVALID;
  }
  if (executor->is_shutting_down) {
    return ACTION_SHUTTING_DOWN;
  }
  if (action->gpu_index >= executor->gpus_count) {
    return ACTION_INVALID_GPU;
  }
  if (executor->gpus[action->gpu_index].is_lost) {
    return ACTION_GPU_LOST;
  }
  const struct model_spec *spec = executor_model(executor, action->model_id);
  if (spec == NULL) {
    return action->type == ACTION_LOAD    ? ACTION_LOAD_UNKNOWN_MODEL
           : action->type == ACTION_EVICT ? ACTION_EVICT_UNKNOWN_MODEL
                                          : ACTION_INPUT_UNKNOWN_MODEL;
  }
  if (instant_after(action->earliest, action->latest)) {
    return ACTION_INVALID;
  }
  if (action->type == ACTION_INFER) {
    if (model_batch_kind(spec, action->batch_size) == MODEL_BATCH_KINDS) {
      return ACTION_INVALID_BATCH_SIZE;
    }
    if (action->batch_size * (spec->input_bytes + spec->output_bytes) >
        executor->gpus[action->gpu_index].io_total_bytes) {
      return ACTION_INPUT_IO_POOL;
    }
  }
  return ACTION_SUCCESS;
}

static enum pending_stage first_stage_of(enum action_type type) {
  switch (type) {
  case ACTION_LOAD:
    return STAGE_WAIT_LOAD;
  case ACTION_EVICT:
    return STAGE_WAIT_EVICT;
  case ACTION_INFER:
    break;
  }
  return STAGE_WAIT_INPUT;
}

bool executor_on_action(struct executor *executor, struct instant now,
                        const struct executor_action *action) {
  struct pending *pending = pool_take(&executor->actions);
  if (pending == NULL) {
    return false;
  }
  pending->order.key = action->earliest.ns;
  pending->order.tie = executor->arrivals_count++ & TREE_TIE_MAX;
  pending->latest = action->latest;
  pending->io = action->io;
  pending->io_slot = IO_SLOT_NONE;
  pending->result.action_id = action->action_id;
  pending->result.type = action->type;
  pending->result.gpu_index = action->gpu_index;
  pending->result.model_id = action->model_id;
  pending->result.batch_size = action->batch_size;
  const enum action_status refusal = refusal_of(executor, action);
  if (refusal != ACTION_SUCCESS) {
    executor_finish(executor, pending, refusal);
    return true;
  }
  pending->stage = (uint8_t)first_stage_of(action->type);
  if (instant_after(now, action->latest)) {
    executor_finish(executor, pending, executor_too_late_status(pending));
    return true;
  }
  if (action->type == ACTION_INFER) {
    const struct model_spec *spec = executor_spec(executor, action->model_id);
    pending->io_bytes = action->batch_size * (spec->input_bytes + spec->output_bytes);
  }
  executor_wait(executor, pending, (enum pending_stage)pending->stage);
  executor_mark_dirty(executor, executor_gpu_of(executor, pending));
  return true;
}

uint32_t executor_next_results(struct executor *executor, struct executor_result *ret_results,
                               uint32_t capacity) {
  uint32_t count = 0;
  while (count < capacity && !list_is_empty(&executor->done)) {
    struct pending *pending = LIST_ENTRY(list_first(&executor->done), struct pending, link);
    list_remove(&pending->link);
    ret_results[count++] = pending->result;
    pool_give(&executor->actions, pending);
  }
  return count;
}

struct instant executor_wakeup(const struct executor *executor) {
  if (!list_is_empty(&executor->dirty)) {
    return INSTANT_ZERO;
  }
  const struct instant opening = {tournament_first_key(&executor->openings)};
  const struct instant expiry = {tournament_first_key(&executor->expiry)};
  /* `latest` itself is still in time. */
  return instant_min(opening, instant_add(expiry, duration_ns(1)));
}

static void refuse_waiting(struct executor *executor, const struct executor_gpu *gpu,
                           enum action_status status) {
  for (int stage = 0; stage < STAGE_WAIT_KINDS; stage++) {
    struct pending *pending = NULL;
    while ((pending = executor_first_waiting(gpu, (enum pending_stage)stage)) != NULL) {
      executor_refuse(executor, pending, status);
    }
  }
}

void executor_on_shutdown(struct executor *executor) {
  executor->is_shutting_down = true;
  for (uint32_t i = 0; i < executor->gpus_count; i++) {
    refuse_waiting(executor, &executor->gpus[i], ACTION_SHUTTING_DOWN);
  }
}

void executor_on_gpu_lost(struct executor *executor, uint32_t gpu_index) {
  CHECK_LT(gpu_index, executor->gpus_count);
  struct executor_gpu *gpu = &executor->gpus[gpu_index];
  if (gpu->is_lost) {
    return;
  }
  gpu->is_lost = true;
  refuse_waiting(executor, gpu, ACTION_GPU_LOST);
  while (!list_is_empty(&gpu->outputs)) {
    struct pending *pending = LIST_ENTRY(list_first(&gpu->outputs), struct pending, link);
    list_remove(&pending->link);
    executor_finish(executor, pending, ACTION_GPU_LOST);
  }
  executor_mark_dirty(executor, gpu);
}

uint32_t executor_on_clear_cache(struct executor *executor, struct instant now) {
  (void)now;
  uint32_t freed_pages = 0;
  for (uint32_t i = 0; i < executor->gpus_count; i++) {
    struct executor_gpu *gpu = &executor->gpus[i];
    const struct pending *executing = gpu->running[BACKEND_ENGINE_EXECUTE];
    for (uint32_t head = 0; !gpu->is_lost && head < gpu->cache.pages_total; head++) {
      const struct page *page = &gpu->cache.pages[head];
      if (page->state == PAGE_RESIDENT &&
          (executing == NULL || executing->result.model_id != page->model_id)) {
        freed_pages += page->count;
        page_cache_begin_evict(&gpu->cache, head);
        executor_mark_dirty(executor, gpu);
      }
    }
  }
  return freed_pages;
}

void executor_gpu_state(const struct executor *executor, uint32_t gpu_index,
                        struct executor_gpu_state *ret_state) {
  CHECK_LT(gpu_index, executor->gpus_count);
  const struct page_cache *cache = &executor->gpus[gpu_index].cache;
  if (executor->gpus[gpu_index].is_lost) {
    *ret_state = (struct executor_gpu_state){.is_lost = true};
    return;
  }
  *ret_state = (struct executor_gpu_state){.pages_total = cache->pages_total,
                                           .pages_free = page_cache_free_count(cache),
                                           .models_resident = cache->resident_count};
}

bool executor_is_resident(const struct executor *executor, uint32_t gpu_index, uint32_t model_id) {
  CHECK_LT(gpu_index, executor->gpus_count);
  const struct executor_gpu *gpu = &executor->gpus[gpu_index];
  return !gpu->is_lost && page_cache_is_resident(&gpu->cache, model_id);
}
