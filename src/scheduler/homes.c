#include "scheduler/homes.h"

#include "base/check.h"
#include "scheduler/policy.h"

void homes_init(struct homes *homes, struct arena *arena, struct scheduler *scheduler) {
  const struct scheduler_limits *limits = &scheduler->config.limits;
  homes->scheduler = scheduler;
  homes->models = arena_take(arena, limits->models, sizeof(struct homes_model));
  homes->gpus = arena_take(arena, limits->gpus, sizeof(struct homes_gpu));
  heap_init(&homes->gpus_by_load, arena, limits->gpus);
  list_init(&homes->homeless);
}

static int64_t load_of(const struct homes_gpu *entry) {
  return (int64_t)entry->models_count << 32 | entry->queued;
}

static void load_changed(struct homes *homes, const struct gpu *gpu) {
  struct homes_gpu *entry = &homes->gpus[gpu->gpu_id];
  heap_set(&homes->gpus_by_load, &entry->lightness_node, load_of(entry), gpu->gpu_id);
}

static void leave(struct homes *homes, struct homes_model *entry) {
  if (entry->gpu != NULL) {
    struct homes_gpu *home = &homes->gpus[entry->gpu->gpu_id];
    home->queued -= entry->queued;
    home->models_count--;
    load_changed(homes, entry->gpu);
    entry->gpu = NULL;
  }
  if (list_is_linked(&entry->of_home)) {
    list_remove(&entry->of_home);
  }
}

static void enter(struct homes *homes, struct homes_model *entry, struct gpu *gpu) {
  struct homes_gpu *home = &homes->gpus[gpu->gpu_id];
  leave(homes, entry);
  entry->gpu = gpu;
  list_append(&home->models, &entry->of_home);
  home->models_count++;
  home->queued += entry->queued;
  load_changed(homes, gpu);
}

/* Of all that are large enough. */
static struct gpu *lightest_with_pages(const struct homes *homes, uint32_t pages) {
  const struct pool *gpus = &homes->scheduler->gpus;
  const struct heap_node *first = heap_first(&homes->gpus_by_load);
  if (first == NULL) {
    return NULL;
  }
  const struct homes_gpu *lightest = HEAP_ENTRY(first, const struct homes_gpu, lightness_node);
  struct gpu *best = pool_at(gpus, (uint32_t)(lightest - homes->gpus));
  if (best->pages >= pages) {
    return best;
  }
  best = NULL;
  for (uint32_t i = 0; i < gpus->capacity; i++) {
    struct gpu *gpu = pool_at(gpus, i);
    /* One that is being lost has left the heap, but not the pool. */
    if (gpu != NULL && heap_contains(&homes->gpus[i].lightness_node) && gpu->pages >= pages &&
        (best == NULL || load_of(&homes->gpus[i]) < load_of(&homes->gpus[best->gpu_id]))) {
      best = gpu;
    }
  }
  return best;
}

static struct gpu *choose_home(const struct homes *homes, const struct model *model) {
  const struct list *first = list_first(&model->residencies);
  return first != NULL ? LIST_ENTRY(first, const struct residency, of_model)->gpu
                       : lightest_with_pages(homes, model->spec.weights_pages);
}

void homes_on_model_added(struct homes *homes, const struct model *model) {
  struct homes_model *entry = &homes->models[model->model_id];
  CHECK_EQ(entry->queued, 0);
  leave(homes, entry);
}

struct gpu *homes_on_queued(struct homes *homes, struct model *model) {
  struct homes_model *entry = &homes->models[model->model_id];
  entry->queued++;
  if (entry->gpu != NULL) {
    homes->gpus[entry->gpu->gpu_id].queued++;
    load_changed(homes, entry->gpu);
    return entry->gpu;
  }
  if (list_is_linked(&entry->of_home)) {
    return NULL; /* those that came before are to be settled together with it */
  }
  struct gpu *gpu = choose_home(homes, model);
  if (gpu != NULL) {
    enter(homes, entry, gpu);
  } else {
    list_append(&homes->homeless, &entry->of_home);
  }
  return gpu;
}

void homes_on_dequeued(struct homes *homes, const struct model *model) {
  struct homes_model *entry = &homes->models[model->model_id];
  CHECK_GT(entry->queued, 0);
  entry->queued--;
  if (entry->gpu != NULL) {
    homes->gpus[entry->gpu->gpu_id].queued--;
    load_changed(homes, entry->gpu);
  }
  const bool is_held =
      entry->gpu != NULL && residency_find(homes->scheduler, model, entry->gpu) != NULL;
  if (entry->queued == 0 && !is_held) {
    leave(homes, entry);
  }
}

void homes_on_unloaded(struct homes *homes, const struct residency *residency) {
  struct homes_model *entry = &homes->models[residency->model->model_id];
  if (entry->gpu == residency->gpu && entry->queued == 0) {
    leave(homes, entry);
  }
}

void homes_on_gpu_up(struct homes *homes, struct gpu *gpu) {
  struct homes_gpu *entry = &homes->gpus[gpu->gpu_id];
  list_init(&entry->models);
  entry->models_count = 0;
  entry->queued = 0;
  load_changed(homes, gpu);
}

void homes_on_gpu_lost(struct homes *homes, const struct gpu *gpu) {
  struct homes_gpu *home = &homes->gpus[gpu->gpu_id];
  struct list *first = NULL;
  while ((first = list_first(&home->models)) != NULL) {
    struct homes_model *entry = LIST_ENTRY(first, struct homes_model, of_home);
    leave(homes, entry);
    if (entry->queued > 0) {
      list_append(&homes->homeless, &entry->of_home);
    }
  }
  CHECK_EQ(home->queued, 0);
  CHECK_EQ(home->models_count, 0);
  heap_remove(&homes->gpus_by_load, &home->lightness_node);
}

struct model *homes_settle(struct homes *homes) {
  const struct list *first = NULL;
  while ((first = list_first(&homes->homeless)) != NULL && homes->gpus_by_load.count > 0) {
    struct homes_model *entry = LIST_ENTRY(first, struct homes_model, of_home);
    struct model *model = &homes->scheduler->models[entry - homes->models];
    struct gpu *gpu = choose_home(homes, model);
    if (gpu != NULL) {
      enter(homes, entry, gpu);
      return model;
    }
    while (model->queue.count > 0) {
      policy_answer(homes->scheduler, TREE_ENTRY(model->queue.first, struct request, of_queue),
                    REQUEST_CANNOT_START);
    }
  }
  return NULL;
}

void homes_validate(const struct homes *homes) {
  uint64_t at_home = 0;
  for (uint32_t i = 0; i < homes->scheduler->config.limits.models; i++) {
    const struct homes_model *entry = &homes->models[i];
    CHECK_EQ(entry->queued, homes->scheduler->models[i].queue.count);
    CHECK_EQ(list_is_linked(&entry->of_home), entry->gpu != NULL || entry->queued > 0);
    at_home += entry->gpu != NULL ? entry->queued : 0;
  }
  for (uint32_t i = 0; i < homes->scheduler->gpus.capacity; i++) {
    if (pool_at(&homes->scheduler->gpus, i) != NULL) {
      at_home -= homes->gpus[i].queued;
    }
  }
  CHECK_EQ(at_home, 0);
}
