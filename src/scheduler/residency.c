/* Weights on GPUs: who holds what, and what may leave. */
#include "base/check.h"
#include "scheduler/policy.h"
#include "scheduler/state.h"

/* Weights passed over, because they are in use, before a LOAD is given up this time: the least
 * recently used ones are idle except when nearly everything is in use, and then waiting is right.
 */
enum { VICTIMS_PASSED_OVER = 32 };

static uint64_t residency_key(const struct model *model, const struct gpu *gpu) {
  return (uint64_t)model->model_id << 32 | gpu->gpu_id;
}

struct residency *residency_find(const struct scheduler *scheduler, const struct model *model,
                                 const struct gpu *gpu) {
  const uint32_t index =
      table_get(&scheduler->residency_by_model_and_gpu, residency_key(model, gpu));
  return index == TABLE_NONE ? NULL : pool_at(&scheduler->residencies, index);
}

/* Known by its model and offered to the policy from now on. */
static void residency_enter(struct scheduler *scheduler, struct residency *residency) {
  struct model *model = residency->model;
  residency->state = RESIDENCY_LOADING;
  list_append(&model->residencies, &residency->of_model);
  model->residencies_count++;
  if (scheduler->policy->on_loading != NULL) {
    scheduler->policy->on_loading(scheduler->policy_state, residency);
  }
}

struct residency *residency_create(struct scheduler *scheduler, struct model *model,
                                   struct gpu *gpu, enum residency_state state) {
  struct residency *residency = pool_take(&scheduler->residencies);
  if (residency == NULL) {
    return NULL;
  }
  residency->model = model;
  residency->gpu = gpu;
  model->references_count++;
  table_put(&scheduler->residency_by_model_and_gpu, residency_key(model, gpu),
            pool_index(&scheduler->residencies, residency));
  gpu->pages_free -= model->spec.weights_pages;
  if (state == RESIDENCY_UNWANTED) {
    residency->state = RESIDENCY_UNWANTED;
    list_prepend(&gpu->residencies, &residency->of_gpu);
    return residency;
  }
  list_append(&gpu->residencies, &residency->of_gpu);
  residency_enter(scheduler, residency);
  if (state == RESIDENCY_LOADED) {
    residency_on_loaded(scheduler, residency);
  }
  return residency;
}

void residency_on_loaded(struct scheduler *scheduler, struct residency *residency) {
  CHECK_EQ(residency->state, RESIDENCY_LOADING);
  residency->state = RESIDENCY_LOADED;
  residency->model->loaded_count++;
  if (scheduler->policy->on_loaded != NULL) {
    scheduler->policy->on_loaded(scheduler->policy_state, residency);
  }
  if (!residency->model->is_known) {
    residency_on_unwanted(scheduler, residency);
  }
}

static bool is_entered(const struct residency *residency) {
  return residency->state == RESIDENCY_LOADING || residency->state == RESIDENCY_LOADED;
}

/* No new work for it: the model and the policy forget it. Its pages are still taken. */
static void residency_leave(struct scheduler *scheduler, struct residency *residency,
                            enum residency_state state) {
  CHECK(is_entered(residency));
  struct model *model = residency->model;
  if (residency->state == RESIDENCY_LOADED) {
    model->loaded_count--;
  }
  list_remove(&residency->of_model);
  model->residencies_count--;
  residency->state = state;
  if (scheduler->policy->on_unloaded != NULL) {
    scheduler->policy->on_unloaded(scheduler->policy_state, residency);
  }
}

/* Its pages count as free. It goes behind those that may become victims. */
static void residency_vacate(struct residency *residency, enum residency_state state) {
  struct gpu *gpu = residency->gpu;
  residency->state = state;
  gpu->pages_free += residency->model->spec.weights_pages;
  list_remove(&residency->of_gpu);
  list_append(&gpu->residencies, &residency->of_gpu);
}

void residency_on_unwanted(struct scheduler *scheduler, struct residency *residency) {
  residency_leave(scheduler, residency, RESIDENCY_UNWANTED);
  list_remove(&residency->of_gpu);
  list_prepend(&residency->gpu->residencies, &residency->of_gpu);
}

void residency_begin_evict(struct scheduler *scheduler, struct residency *residency) {
  CHECK_EQ(residency->infers_count, 0);
  if (residency->state != RESIDENCY_UNWANTED) {
    CHECK_EQ(residency->state, RESIDENCY_LOADED);
    residency_leave(scheduler, residency, RESIDENCY_EVICTING);
  }
  residency_vacate(residency, RESIDENCY_EVICTING);
}

void residency_undo_evict(struct scheduler *scheduler, struct residency *residency) {
  CHECK_EQ(residency->state, RESIDENCY_EVICTING);
  struct gpu *gpu = residency->gpu;
  gpu->pages_free -= residency->model->spec.weights_pages;
  if (residency->model->is_known) {
    residency_enter(scheduler, residency);
    residency_on_loaded(scheduler, residency);
  } else {
    residency->state = RESIDENCY_UNWANTED;
    list_remove(&residency->of_gpu);
    list_prepend(&gpu->residencies, &residency->of_gpu);
  }
}

void residency_on_missing(struct scheduler *scheduler, struct residency *residency) {
  if (residency->state == RESIDENCY_LOADED) {
    residency_leave(scheduler, residency, RESIDENCY_UNWANTED);
  }
  if (residency->state == RESIDENCY_UNWANTED) {
    residency_vacate(residency, RESIDENCY_MISSING);
  }
  if (residency->state == RESIDENCY_MISSING && residency->infers_count == 0) {
    residency_destroy(scheduler, residency);
  }
}

void residency_destroy(struct scheduler *scheduler, struct residency *residency) {
  CHECK_EQ(residency->infers_count, 0);
  if (is_entered(residency)) {
    residency_leave(scheduler, residency, RESIDENCY_UNWANTED);
  }
  if (residency->state == RESIDENCY_UNWANTED) {
    residency_vacate(residency, RESIDENCY_MISSING);
  }
  list_remove(&residency->of_gpu);
  residency->model->references_count--;
  const uint32_t index = table_remove(&scheduler->residency_by_model_and_gpu,
                                      residency_key(residency->model, residency->gpu));
  CHECK_EQ(index, pool_index(&scheduler->residencies, residency));
  pool_give(&scheduler->residencies, residency);
}

void residencies_evict_unwanted(struct scheduler *scheduler, struct gpu *gpu) {
  struct list *at = gpu->residencies.next;
  while (at != &gpu->residencies && action_is_possible(gpu, 1)) {
    struct residency *residency = LIST_ENTRY(at, struct residency, of_gpu);
    at = at->next;
    if (residency->state != RESIDENCY_UNWANTED) {
      break; /* they all stand at the front */
    }
    if (residency->infers_count == 0) {
      action_send_evict(scheduler, residency);
    }
  }
}

struct victims {
  struct residency *residencies[SCHEDULER_ACTIONS_PER_GPU];
  uint32_t count;
};

/* The least recently used weights that may leave, until `pages_lacking` are free or
 * SCHEDULER_ACTIONS_PER_GPU leave no more. Returns the pages that still lack. */
static int64_t choose_victims(const struct gpu *gpu, int64_t pages_lacking,
                              bool (*may_evict)(const void *, const struct residency *),
                              const void *self, struct victims *ret_victims) {
  ret_victims->count = 0;
  uint32_t passed_over = 0;
  const struct list *at = gpu->residencies.next;
  /* One more action is the LOAD itself. */
  while (at != &gpu->residencies && passed_over < VICTIMS_PASSED_OVER && pages_lacking > 0 &&
         action_is_possible(gpu, ret_victims->count + 2)) {
    struct residency *victim = LIST_ENTRY(at, struct residency, of_gpu);
    at = at->next;
    const bool is_idle = victim->infers_count == 0 &&
                         (victim->state == RESIDENCY_LOADED || victim->state == RESIDENCY_UNWANTED);
    if (is_idle && (may_evict == NULL || may_evict(self, victim))) {
      ret_victims->residencies[ret_victims->count++] = victim;
      pages_lacking -= victim->model->spec.weights_pages;
    } else {
      passed_over++;
    }
  }
  return pages_lacking;
}

/* Whether `pages` are free now, if need be after evictions. */
static bool make_room(struct scheduler *scheduler, struct gpu *gpu, int64_t pages,
                      bool (*may_evict)(const void *, const struct residency *), const void *self) {
  if (pages <= gpu->pages_free) {
    return true;
  }
  struct victims victims;
  const int64_t lacking = choose_victims(gpu, pages - gpu->pages_free, may_evict, self, &victims);
  /* A model that needs more victims than a GPU may have actions gets its room in several goes. */
  const bool is_one_of_several_goes = !action_is_possible(gpu, victims.count + 2);
  if (lacking > 0 && !is_one_of_several_goes) {
    return false;
  }
  for (uint32_t i = 0; i < victims.count; i++) {
    action_send_evict(scheduler, victims.residencies[i]);
  }
  return lacking <= 0;
}

struct residency *policy_load(struct scheduler *scheduler, struct model *model, struct gpu *gpu,
                              bool (*may_evict)(const void *self, const struct residency *victim),
                              const void *self) {
  CHECK_LT(gpu->loads_count, SCHEDULER_LOADS_PER_GPU);
  CHECK(residency_find(scheduler, model, gpu) == NULL);
  if (model->spec.weights_pages > gpu->pages || !action_is_possible(gpu, 1) ||
      scheduler->residencies.taken_count == scheduler->residencies.capacity ||
      !make_room(scheduler, gpu, model->spec.weights_pages, may_evict, self)) {
    return NULL;
  }
  struct residency *residency = residency_create(scheduler, model, gpu, RESIDENCY_LOADING);
  CHECK(residency != NULL);
  struct action *action = action_create(scheduler, ACTION_LOAD, residency);
  const struct instant start = gpu_predicted_load_start(gpu, scheduler->now);
  action->expected = model->load_window.count == 0 ? gpu_first_load(gpu, model->spec.load)
                                                   : estimate_at(&model->load, 1);
  action->latest = instant_add(start, scheduler->config.schedule_ahead);
  gpu_on_load_sent(gpu, scheduler->now, action);
  scheduler->counts.loads++;
  return residency;
}

bool policy_evict(struct scheduler *scheduler, struct residency *residency) {
  if (!action_is_possible(residency->gpu, 1)) {
    return false;
  }
  action_send_evict(scheduler, residency);
  return true;
}
