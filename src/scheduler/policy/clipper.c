/* CLIPPER: batches whose size each model finds by itself, without a look at deadlines.
 *
 * What is reproduced of Clipper (Crankshaw et al., NSDI 2017, section 4.3): a queue for each model;
 * whenever the model's container is idle it gets a batch of what waits, up to a limit; the limit
 * grows by one while a full batch comes back within the SLO and shrinks by a tenth when one does
 * not. There is one container of a model, and all containers of a GPU share it: a batch's time
 * counts from when it was sent, with the batches of others before it. What is left out: ensembles,
 * caching, delayed batching, replicas, and answers that stand in for late ones.
 *
 * Clipper's containers are deployed by hand and stay. Here models are too many for that: a model
 * lives on one GPU at a time (scheduler/homes.h), its LOAD is asked for when requests wait for it,
 * in turn, and the least recently used weights that are idle make room. Nothing is refused or given
 * up.
 */
#include "base/check.h"
#include "scheduler/homes.h"
#include "scheduler/policy.h"

enum {
  /* The limit is kept in thousandths of a request. */
  UNIT = 1000,
  SHRINK_PERCENT = 90,
  /* Models that are looked at for one that can be loaded. */
  LOADS_LOOKED_AT = 4,
};

/* As in FIFO. */
#define RETRY duration_ms(10)

struct clipper_model {
  /* In its home's `turns` or `wanting` while requests wait, or in `under_way`. */
  struct list of_gpu;
  uint32_t limit;
  bool is_under_way;
  bool was_full;
  struct residency *residency; /* of the batch under way */
  struct instant sent;
  struct duration slo;
};

struct clipper_gpu {
  struct list turns;     /* of models that are loaded and could send a batch */
  struct list wanting;   /* of models that wait to be loaded */
  struct list under_way; /* of models, in the order they were sent */
  struct heap_node ready_node;
};

struct clipper {
  struct scheduler *scheduler;
  struct homes homes;
  struct clipper_model *models; /* by model id */
  struct clipper_gpu *gpus;     /* by gpu id */
  struct heap ready;            /* of GPUs, by when to look at them */
};

static void *clipper_init(struct arena *arena, struct scheduler *scheduler) {
  const struct scheduler_limits *limits = &scheduler->config.limits;
  struct clipper counted;
  struct clipper *clipper = arena_take(arena, 1, sizeof(*clipper));
  struct clipper *built = clipper != NULL ? clipper : &counted;
  built->scheduler = scheduler;
  built->models = arena_take(arena, limits->models, sizeof(struct clipper_model));
  built->gpus = arena_take(arena, limits->gpus, sizeof(struct clipper_gpu));
  heap_init(&built->ready, arena, limits->gpus);
  homes_init(&built->homes, arena, scheduler);
  return clipper;
}

static struct clipper_model *of_model(const struct clipper *clipper, const struct model *model) {
  return &clipper->models[model->model_id];
}

static struct model *model_of(const struct clipper *clipper, const struct list *of_gpu) {
  const struct clipper_model *entry = LIST_ENTRY(of_gpu, const struct clipper_model, of_gpu);
  return &clipper->scheduler->models[entry - clipper->models];
}

static void look_at(struct clipper *clipper, const struct gpu *gpu) {
  heap_set(&clipper->ready, &clipper->gpus[gpu->gpu_id].ready_node, clipper->scheduler->now.ns,
           gpu->gpu_id);
}

/* Put the model where it belongs after something about it changed. One that wants to be loaded
 * keeps its place in the line. */
static void place(struct clipper *clipper, struct model *model) {
  struct clipper_model *entry = of_model(clipper, model);
  if (entry->is_under_way) {
    return;
  }
  if (list_is_linked(&entry->of_gpu)) {
    list_remove(&entry->of_gpu);
  }
  const struct gpu *gpu = homes_of(&clipper->homes, model);
  if (model->queue.count == 0 || gpu == NULL) {
    return;
  }
  const struct residency *residency = residency_find(clipper->scheduler, model, gpu);
  if (residency != NULL && residency->state == RESIDENCY_LOADING) {
    return;
  }
  struct clipper_gpu *home = &clipper->gpus[gpu->gpu_id];
  const bool is_loaded = residency != NULL && residency->state == RESIDENCY_LOADED;
  list_append(is_loaded ? &home->turns : &home->wanting, &entry->of_gpu);
  look_at(clipper, gpu);
}

static void clipper_on_model_added(void *self, struct model *model) {
  struct clipper *clipper = self;
  struct clipper_model *entry = of_model(clipper, model);
  if (!entry->is_under_way) {
    *entry = (struct clipper_model){.limit = UNIT};
  }
  homes_on_model_added(&clipper->homes, model);
}

static void clipper_on_queued(void *self, struct request *request) {
  struct clipper *clipper = self;
  struct model *model = request->model;
  homes_on_queued(&clipper->homes, model);
  if (model->queue.count == 1) {
    place(clipper, model);
  }
}

static void clipper_on_dequeued(void *self, struct request *request) {
  struct clipper *clipper = self;
  if (request->model->queue.count == 0) {
    place(clipper, request->model);
  }
  homes_on_dequeued(&clipper->homes, request->model);
}

static void clipper_on_loaded(void *self, struct residency *residency) {
  struct clipper *clipper = self;
  place(clipper, residency->model);
}

/* What was under way there tells nothing any more. */
static void forget(struct clipper_model *entry) {
  list_remove(&entry->of_gpu);
  entry->is_under_way = false;
  entry->residency = NULL;
}

static void clipper_on_unloaded(void *self, struct residency *residency) {
  struct clipper *clipper = self;
  struct clipper_model *entry = of_model(clipper, residency->model);
  if (entry->is_under_way && entry->residency == residency) {
    forget(entry);
  }
  homes_on_unloaded(&clipper->homes, residency);
  place(clipper, residency->model);
}

static void clipper_on_gpu_up(void *self, struct gpu *gpu) {
  struct clipper *clipper = self;
  struct clipper_gpu *entry = &clipper->gpus[gpu->gpu_id];
  list_init(&entry->turns);
  list_init(&entry->wanting);
  list_init(&entry->under_way);
  homes_on_gpu_up(&clipper->homes, gpu);
}

static void clipper_on_gpu_lost(void *self, struct gpu *gpu) {
  struct clipper *clipper = self;
  struct clipper_gpu *entry = &clipper->gpus[gpu->gpu_id];
  CHECK(list_is_empty(&entry->under_way)); /* unloaded before */
  CHECK(list_is_empty(&entry->turns));
  while (!list_is_empty(&entry->wanting)) {
    list_remove(list_first(&entry->wanting));
  }
  heap_discard(&clipper->ready, &entry->ready_node);
  homes_on_gpu_lost(&clipper->homes, gpu);
}

/* Additive increase, multiplicative decrease. */
static void adapt(struct clipper_model *entry, const struct model *model, struct instant now) {
  const uint32_t most = model->spec.batch_sizes[model->kinds_usable - 1] * UNIT;
  if (instant_since(now, entry->sent).ns > entry->slo.ns) {
    entry->limit = entry->limit * SHRINK_PERCENT / 100;
    entry->limit = entry->limit < UNIT ? UNIT : entry->limit;
  } else if (entry->was_full) {
    entry->limit = entry->limit + UNIT < most ? entry->limit + UNIT : most;
  }
}

static void clipper_on_gpu_progress(void *self, struct gpu *gpu) {
  struct clipper *clipper = self;
  struct clipper_gpu *home = &clipper->gpus[gpu->gpu_id];
  const struct list *first = NULL;
  while ((first = list_first(&home->under_way)) != NULL) {
    struct model *model = model_of(clipper, first);
    struct clipper_model *entry = of_model(clipper, model);
    if (entry->residency->infers_count > 0) {
      break; /* a GPU runs them in the order they were sent */
    }
    adapt(entry, model, clipper->scheduler->now);
    forget(entry);
    place(clipper, model);
  }
  look_at(clipper, gpu);
}

/* A batch of the model at the front. False: the GPU has too many actions under way. */
static bool send_batch(struct clipper *clipper, struct clipper_gpu *home, struct gpu *gpu) {
  struct model *model = model_of(clipper, list_first(&home->turns));
  struct clipper_model *entry = of_model(clipper, model);
  struct residency *residency = residency_find(clipper->scheduler, model, gpu);
  struct request *batch[MODEL_BATCH_MAX];
  const uint32_t limit = entry->limit / UNIT;
  uint32_t count = 0;
  for (struct tree_node *at = model->queue.first; at != NULL && count < limit; at = tree_next(at)) {
    batch[count++] = TREE_ENTRY(at, struct request, of_queue);
  }
  uint32_t kind = 0;
  while (model->spec.batch_sizes[kind] < count) {
    kind++;
  }
  const struct duration slo = instant_since(batch[0]->deadline, batch[0]->arrived);
  /* Before it leaves the queue, for that asks where the model belongs. */
  list_remove(&entry->of_gpu);
  list_append(&home->under_way, &entry->of_gpu);
  entry->is_under_way = true;
  entry->residency = residency;
  if (!policy_infer(clipper->scheduler, residency, kind, batch, count)) {
    forget(entry);
    list_prepend(&home->turns, &entry->of_gpu);
    return false;
  }
  entry->sent = clipper->scheduler->now;
  entry->slo = slo;
  entry->was_full = count == limit;
  return true;
}

static void load(struct clipper *clipper, struct clipper_gpu *home, struct gpu *gpu) {
  struct list *at = home->wanting.next;
  for (int i = 0; i < LOADS_LOOKED_AT && at != &home->wanting; i++) {
    struct list *next = at->next;
    struct model *model = model_of(clipper, at);
    if (gpu->loads_count == SCHEDULER_LOADS_PER_GPU || !policy_has_room(clipper->scheduler, 1)) {
      return;
    }
    if (residency_find(clipper->scheduler, model, gpu) == NULL &&
        policy_load(clipper->scheduler, model, gpu, NULL, NULL) != NULL) {
      place(clipper, model);
    }
    at = next;
  }
}

/* Find homes for the models of lost GPUs. */
static void settle(struct clipper *clipper) {
  struct model *model = NULL;
  while ((model = homes_settle(&clipper->homes)) != NULL) {
    place(clipper, model);
  }
}

static void serve(struct clipper *clipper, struct gpu *gpu) {
  struct clipper_gpu *home = &clipper->gpus[gpu->gpu_id];
  const struct instant now = clipper->scheduler->now;
  const bool may_load = !instant_after(gpu->load_pause_until, now);
  while (!list_is_empty(&home->turns) && policy_has_room(clipper->scheduler, 1) &&
         send_batch(clipper, home, gpu)) {
  }
  if (may_load) {
    load(clipper, home, gpu);
  }
  if (!policy_has_room(clipper->scheduler, 1)) {
    return; /* plan() is called again */
  }
  /* Its next result, or a model that is put into one of its lists, brings it back. */
  heap_discard(&clipper->ready, &home->ready_node);
  if (!list_is_empty(&home->wanting) && gpu->actions_count == 0) {
    const struct instant again = may_load ? instant_add(now, RETRY) : gpu->load_pause_until;
    heap_set(&clipper->ready, &home->ready_node, again.ns, gpu->gpu_id);
  }
}

static void clipper_plan(void *self) {
  struct clipper *clipper = self;
  const struct scheduler *scheduler = clipper->scheduler;
  settle(clipper);
  while (heap_first_key(&clipper->ready) <= scheduler->now.ns && policy_has_room(scheduler, 1)) {
    const struct clipper_gpu *entry =
        HEAP_ENTRY(heap_first(&clipper->ready), const struct clipper_gpu, ready_node);
    serve(clipper, pool_at(&scheduler->gpus, (uint32_t)(entry - clipper->gpus)));
  }
}

static struct instant clipper_wakeup(const void *self) {
  const struct clipper *clipper = self;
  return (struct instant){heap_first_key(&clipper->ready)};
}

static void clipper_validate(const void *self) {
  const struct clipper *clipper = self;
  homes_validate(&clipper->homes);
  for (uint32_t i = 0; i < clipper->scheduler->config.limits.models; i++) {
    const struct clipper_model *entry = &clipper->models[i];
    CHECK(!entry->is_under_way || list_is_linked(&entry->of_gpu));
    CHECK_EQ(entry->is_under_way, entry->residency != NULL);
    CHECK(clipper->scheduler->models[i].queue.count > 0 || entry->is_under_way ||
          !list_is_linked(&entry->of_gpu));
  }
}

const struct policy policy_clipper = {
    .name = "clipper",
    .summary = "adaptive batch sizes by additive increase, multiplicative decrease, no deadlines",
    .keeps_deadlines = false,
    .init = clipper_init,
    .on_model_added = clipper_on_model_added,
    .on_queued = clipper_on_queued,
    .on_dequeued = clipper_on_dequeued,
    .on_loaded = clipper_on_loaded,
    .on_unloaded = clipper_on_unloaded,
    .on_gpu_up = clipper_on_gpu_up,
    .on_gpu_lost = clipper_on_gpu_lost,
    .on_gpu_progress = clipper_on_gpu_progress,
    .plan = clipper_plan,
    .wakeup = clipper_wakeup,
    .validate = clipper_validate,
};
