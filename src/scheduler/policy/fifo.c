/* FIFO: on each GPU first come, first served, one by one, without a look at deadlines.
 *
 * A model lives on one GPU at a time (scheduler/homes.h). That GPU's requests run in the order they
 * came. The one at the head waits for the LOAD of its weights, and all behind it wait too; the
 * least recently used weights make room. Nothing is refused or given up: under overload every
 * answer is late. It is what a serving system does that leaves order and memory to chance, and the
 * baseline that every other policy should beat.
 */
#include "base/check.h"
#include "scheduler/homes.h"
#include "scheduler/policy.h"

/* A GPU that could not load although nothing is under way there is looked at again after this. */
#define RETRY duration_ms(10)

struct fifo_gpu {
  struct list waiting;         /* of `requests` entries, in the order they came */
  struct heap_node ready_node; /* in fifo->ready while something waits and might be sent */
};

struct fifo {
  struct scheduler *scheduler;
  struct homes homes;
  struct fifo_gpu *gpus; /* by gpu id */
  struct list *requests; /* by pool index */
  struct heap ready;     /* of GPUs, by when they want work */
};

static void *fifo_init(struct arena *arena, struct scheduler *scheduler) {
  const struct scheduler_limits *limits = &scheduler->config.limits;
  struct fifo counted;
  struct fifo *fifo = arena_take(arena, 1, sizeof(*fifo));
  struct fifo *built = fifo != NULL ? fifo : &counted;
  built->scheduler = scheduler;
  built->gpus = arena_take(arena, limits->gpus, sizeof(struct fifo_gpu));
  built->requests = arena_take(arena, limits->requests, sizeof(struct list));
  heap_init(&built->ready, arena, limits->gpus);
  homes_init(&built->homes, arena, scheduler);
  return fifo;
}

static struct list *entry_of(const struct fifo *fifo, const struct request *request) {
  return &fifo->requests[pool_index(&fifo->scheduler->requests, request)];
}

static void ready_update(struct fifo *fifo, const struct gpu *gpu) {
  struct fifo_gpu *entry = &fifo->gpus[gpu->gpu_id];
  if (list_is_empty(&entry->waiting)) {
    heap_discard(&fifo->ready, &entry->ready_node);
    return;
  }
  const struct instant wants_work =
      instant_sub(gpu->free_at, fifo->scheduler->config.schedule_ahead);
  heap_set(&fifo->ready, &entry->ready_node, wants_work.ns, gpu->gpu_id);
}

static void join(struct fifo *fifo, const struct gpu *gpu, const struct request *request) {
  struct fifo_gpu *entry = &fifo->gpus[gpu->gpu_id];
  const bool is_first = list_is_empty(&entry->waiting);
  list_append(&entry->waiting, entry_of(fifo, request));
  if (is_first) {
    ready_update(fifo, gpu);
  }
}

static void fifo_on_model_added(void *self, struct model *model) {
  struct fifo *fifo = self;
  homes_on_model_added(&fifo->homes, model);
}

static void fifo_on_queued(void *self, struct request *request) {
  struct fifo *fifo = self;
  const struct gpu *gpu = homes_on_queued(&fifo->homes, request->model);
  if (gpu != NULL) {
    join(fifo, gpu, request);
  }
}

static void fifo_on_dequeued(void *self, struct request *request) {
  struct fifo *fifo = self;
  struct list *entry = entry_of(fifo, request);
  const struct gpu *gpu = homes_of(&fifo->homes, request->model);
  if (list_is_linked(entry)) {
    const bool was_first = list_first(&fifo->gpus[gpu->gpu_id].waiting) == entry;
    list_remove(entry);
    if (was_first) {
      ready_update(fifo, gpu);
    }
  }
  homes_on_dequeued(&fifo->homes, request->model);
}

static void fifo_on_unloaded(void *self, struct residency *residency) {
  struct fifo *fifo = self;
  homes_on_unloaded(&fifo->homes, residency);
}

static void fifo_on_gpu_up(void *self, struct gpu *gpu) {
  struct fifo *fifo = self;
  list_init(&fifo->gpus[gpu->gpu_id].waiting);
  homes_on_gpu_up(&fifo->homes, gpu);
}

static void fifo_on_gpu_lost(void *self, struct gpu *gpu) {
  struct fifo *fifo = self;
  struct fifo_gpu *entry = &fifo->gpus[gpu->gpu_id];
  while (!list_is_empty(&entry->waiting)) {
    list_remove(list_first(&entry->waiting));
  }
  heap_discard(&fifo->ready, &entry->ready_node);
  homes_on_gpu_lost(&fifo->homes, gpu);
}

static void fifo_on_gpu_progress(void *self, struct gpu *gpu) {
  ready_update(self, gpu);
}

/* Find homes for the models of lost GPUs; their requests go behind those that wait there. */
static void settle(struct fifo *fifo) {
  struct model *model = NULL;
  while ((model = homes_settle(&fifo->homes)) != NULL) {
    for (struct tree_node *at = model->queue.first; at != NULL; at = tree_next(at)) {
      join(fifo, homes_of(&fifo->homes, model), TREE_ENTRY(at, struct request, of_queue));
    }
  }
}

/* When to look again; the next result of this GPU comes on its own. */
static struct instant load(struct fifo *fifo, struct model *model, struct gpu *gpu) {
  const struct instant now = fifo->scheduler->now;
  if (residency_find(fifo->scheduler, model, gpu) != NULL) {
    return INSTANT_NEVER; /* on its way in, or still on its way out */
  }
  if (instant_after(gpu->load_pause_until, now)) {
    return gpu->load_pause_until;
  }
  if (gpu->loads_count < SCHEDULER_LOADS_PER_GPU) {
    policy_load(fifo->scheduler, model, gpu, NULL, NULL);
  }
  return gpu->actions_count > 0 ? INSTANT_NEVER : instant_add(now, RETRY);
}

/* Send the request at the head. When to look again is set if that can't be. */
static bool give_work(struct fifo *fifo, struct gpu *gpu, struct instant *ret_again) {
  const struct list *first = list_first(&fifo->gpus[gpu->gpu_id].waiting);
  struct request *request = pool_at(&fifo->scheduler->requests, (uint32_t)(first - fifo->requests));
  struct residency *residency = residency_find(fifo->scheduler, request->model, gpu);
  *ret_again = INSTANT_NEVER;
  if (residency != NULL && residency->state == RESIDENCY_LOADED) {
    return policy_infer(fifo->scheduler, residency, 0, &request, 1);
  }
  *ret_again = load(fifo, request->model, gpu);
  return false;
}

static void fifo_plan(void *self) {
  struct fifo *fifo = self;
  const struct scheduler *scheduler = fifo->scheduler;
  const struct instant now = scheduler->now;
  settle(fifo);
  while (heap_first_key(&fifo->ready) <= now.ns && policy_has_room(scheduler, 1)) {
    struct fifo_gpu *entry = HEAP_ENTRY(heap_first(&fifo->ready), struct fifo_gpu, ready_node);
    struct gpu *gpu = pool_at(&scheduler->gpus, (uint32_t)(entry - fifo->gpus));
    const struct duration ahead = instant_since(gpu_free_at(gpu, now), now);
    const bool wants_work =
        ahead.ns <= scheduler->config.schedule_ahead.ns && !gpu_is_late(gpu, now);
    struct instant again = INSTANT_NEVER;
    if (wants_work && give_work(fifo, gpu, &again)) {
      ready_update(fifo, gpu);
    } else if (again.ns != INT64_MAX) {
      heap_set(&fifo->ready, &entry->ready_node, again.ns, gpu->gpu_id);
    } else {
      heap_discard(&fifo->ready, &entry->ready_node);
    }
  }
}

static struct instant fifo_wakeup(const void *self) {
  const struct fifo *fifo = self;
  return (struct instant){heap_first_key(&fifo->ready)};
}

static void fifo_validate(const void *self) {
  const struct fifo *fifo = self;
  homes_validate(&fifo->homes);
  for (uint32_t i = 0; i < fifo->scheduler->requests.capacity; i++) {
    const struct request *request = pool_at(&fifo->scheduler->requests, i);
    const bool waits = request != NULL && request_is_queued(request) &&
                       homes_of(&fifo->homes, request->model) != NULL;
    CHECK_EQ(list_is_linked(&fifo->requests[i]), waits);
  }
}

const struct policy policy_fifo = {
    .name = "fifo",
    .summary = "on each GPU first come, first served, one by one, without deadlines",
    .keeps_deadlines = false,
    .init = fifo_init,
    .on_model_added = fifo_on_model_added,
    .on_queued = fifo_on_queued,
    .on_dequeued = fifo_on_dequeued,
    .on_unloaded = fifo_on_unloaded,
    .on_gpu_up = fifo_on_gpu_up,
    .on_gpu_lost = fifo_on_gpu_lost,
    .on_gpu_progress = fifo_on_gpu_progress,
    .plan = fifo_plan,
    .wakeup = fifo_wakeup,
    .validate = fifo_validate,
};
