/* DIRECT passes requests on one by one, in the order of their arrival, with no regard to deadlines:
 * batch 1, models placed round robin, a request whose model is nowhere waits for its LOAD and all
 * behind it wait too. It shows what workers and network do by themselves.
 */
#include "base/check.h"
#include "scheduler/policy.h"

struct direct {
  struct scheduler *scheduler;
  struct list waiting;  /* of `entries`, in the order of arrival */
  struct list *entries; /* by request pool index */
  uint32_t next_gpu;
};

static void *direct_init(struct arena *arena, struct scheduler *scheduler) {
  struct direct *direct = arena_take(arena, 1, sizeof(*direct));
  struct list *entries = arena_take(arena, scheduler->config.limits.requests, sizeof(struct list));
  if (!arena_is_counting(arena)) {
    *direct = (struct direct){.scheduler = scheduler, .entries = entries};
    list_init(&direct->waiting);
  }
  return direct;
}

static struct list *entry_of(struct direct *direct, const struct request *request) {
  return &direct->entries[pool_index(&direct->scheduler->requests, request)];
}

static void direct_on_queued(void *self, struct request *request) {
  struct direct *direct = self;
  list_append(&direct->waiting, entry_of(direct, request));
}

static void direct_on_dequeued(void *self, struct request *request) {
  list_remove(entry_of(self, request));
}

/* Start a LOAD on the next GPU in the round that can take it now. False: no GPU is large enough, so
 * waiting is of no use. */
static bool load_somewhere(struct direct *direct, struct model *model) {
  const struct scheduler *scheduler = direct->scheduler;
  const struct pool *gpus = &scheduler->gpus;
  bool is_possible = gpus->taken_count == 0; /* one may join */
  for (uint32_t i = 0; i < gpus->capacity; i++) {
    direct->next_gpu = (direct->next_gpu + 1) % gpus->capacity;
    struct gpu *gpu = pool_at(gpus, direct->next_gpu);
    if (gpu == NULL || gpu->pages < model->spec.weights_pages) {
      continue;
    }
    is_possible = true;
    if (gpu->loads_count < SCHEDULER_LOADS_PER_GPU &&
        residency_find(scheduler, model, gpu) == NULL &&
        policy_load(direct->scheduler, model, gpu, NULL, NULL) != NULL) {
      break;
    }
  }
  return is_possible;
}

/* Whether the request at the head is dealt with; if not, it waits. */
static bool send(struct direct *direct, struct request *request) {
  struct model *model = request->model;
  if (model->residencies_count > 0) {
    struct residency *residency =
        LIST_ENTRY(list_first(&model->residencies), struct residency, of_model);
    return residency->state == RESIDENCY_LOADED &&
           policy_infer(direct->scheduler, residency, 0, &request, 1);
  }
  if (load_somewhere(direct, model)) {
    return false;
  }
  policy_answer(direct->scheduler, request, REQUEST_CANNOT_START);
  return true;
}

static void direct_plan(void *self) {
  struct direct *direct = self;
  while (policy_has_room(direct->scheduler, 1) && !list_is_empty(&direct->waiting)) {
    const struct list *first = list_first(&direct->waiting);
    struct request *request =
        pool_at(&direct->scheduler->requests, (uint32_t)(first - direct->entries));
    if (!send(direct, request)) {
      return;
    }
  }
}

/* Whatever the head waits for comes with a result. */
static struct instant direct_wakeup(const void *self) {
  (void)self;
  return INSTANT_NEVER;
}

const struct policy policy_direct = {
    .name = "direct",
    .summary = "passes requests on one by one, without deadlines or batches",
    .keeps_deadlines = false,
    .init = direct_init,
    .on_queued = direct_on_queued,
    .on_dequeued = direct_on_dequeued,
    .plan = direct_plan,
    .wakeup = direct_wakeup,
};
