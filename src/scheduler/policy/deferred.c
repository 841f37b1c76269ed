/* DEFERRED: a batch waits as long as one more request could still join it.
 *
 * After the deferred batch scheduling of Symphony (Chen et al., arXiv 2308.07470). A model's
 * candidate is what its queue would fill: n requests in the smallest batch size that holds them.
 * Its window is [first target - estimate(n + 1), first target - estimate(n)] less what it takes to
 * reach a GPU: before it, waiting costs nothing, for even a batch with one more request would be in
 * time; after it the candidate is too late. A candidate that is as large as batches get waits for
 * nothing. Within its window it goes to an idle GPU that holds the model, else to the first one
 * that becomes free; of several candidates a GPU takes the one whose window ends first. A GPU idles
 * while no window is open: the policy does not conserve work. That makes batches as large as
 * deadlines allow, so that GPUs which would be busy with small ones have time to spare.
 *
 * Where estimate(n + 1) = estimate(n), because both are padded to one batch size, the window is a
 * point; SLACK before it is added, so that a GPU that is about to become free can be waited for.
 * Requests at the head that a full batch comes too late for are passed over if those behind them
 * make a larger one; they stay for a smaller one or expire. Which GPUs hold a model is not
 * Symphony's subject: LOADs follow demand (scheduler/demand.h), as INFER4's do, and a model's
 * holders take turns (scheduler/offers.h).
 *
 * Cost of an event: O(log(models + GPUs)), O(OFFERS) changes of a tree.
 */
#include "base/check.h"
#include "scheduler/demand.h"
#include "scheduler/offers.h"
#include "scheduler/policy.h"

/* In `simulate` with the seed's workload at load factor 1, 1 and 5 ms serve 1 % less in time. At
 * 0.25 5 ms serve 4 % more, because less is deferred, which is what this policy is about. */
#define SLACK duration_ms(2)

struct deferred_model {
  struct heap_node opening_node; /* in deferred->openings while the window is to open */
  bool is_open;                  /* it is offered to GPUs */
};

struct deferred_gpu {
  struct pairing offers;       /* of struct offers_holder, by the end of the window */
  struct heap_node ready_node; /* in deferred->ready while it has offers and could take one */
};

struct deferred {
  struct scheduler *scheduler;
  struct demand demand;
  struct offers holders;
  struct deferred_model *models; /* by model id */
  struct deferred_gpu *gpus;     /* by gpu id */
  struct heap openings;          /* of models, by when their window opens */
  struct heap ready;             /* of GPUs, by when they want work */
};

static void *deferred_init(struct arena *arena, struct scheduler *scheduler) {
  const struct scheduler_limits *limits = &scheduler->config.limits;
  struct deferred counted;
  struct deferred *deferred = arena_take(arena, 1, sizeof(*deferred));
  struct deferred *built = deferred != NULL ? deferred : &counted;
  built->scheduler = scheduler;
  built->models = arena_take(arena, limits->models, sizeof(struct deferred_model));
  built->gpus = arena_take(arena, limits->gpus, sizeof(struct deferred_gpu));
  heap_init(&built->openings, arena, limits->models);
  heap_init(&built->ready, arena, limits->gpus);
  demand_init(&built->demand, arena, scheduler, DEMAND_MOST_TIME);
  offers_init(&built->holders, arena, scheduler);
  return deferred;
}

static struct deferred_gpu *of_gpu(const struct deferred *deferred, const struct gpu *gpu) {
  return &deferred->gpus[gpu->gpu_id];
}

static const struct request *oldest_request(const struct model *model) {
  return TREE_ENTRY(model->queue.first, const struct request, of_queue);
}

/* ---- windows --------------------------------------------------------------------------------- */

/* The smallest batch that holds `count` requests, or the largest there is. */
static uint32_t kind_for(const struct model *model, uint32_t count) {
  uint32_t kind = 0;
  while (kind + 1 < model->kinds_usable && model->spec.batch_sizes[kind] < count) {
    kind++;
  }
  return kind;
}

static uint32_t most_of(const struct model *model) {
  return model->spec.batch_sizes[model->kinds_usable - 1];
}

static struct duration estimate_of(const struct model *model, uint32_t count) {
  return estimate_at(&model->execute[kind_for(model, count)], model->spec.clock_mhz);
}

/* When a batch of `count` must have been sent for the oldest request's sake. */
static struct instant last_moment(const struct model *model, uint32_t count) {
  const struct duration needed =
      duration_add(estimate_of(model, count), SCHEDULER_NETWORK_ALLOWANCE);
  return instant_sub(oldest_request(model)->target, needed);
}

/* The queue is not empty. */
static struct instant window_opens(const struct model *model) {
  const uint32_t count = model->queue.count;
  if (count >= most_of(model)) {
    return INSTANT_ZERO;
  }
  const struct instant with_slack = instant_sub(last_moment(model, count), SLACK);
  return instant_min(last_moment(model, count + 1), with_slack);
}

static struct instant window_ends(const struct model *model) {
  return last_moment(model, model->queue.count);
}

static bool window_is_open(const struct deferred *deferred, const struct model *model) {
  return model->queue.count > 0 && !instant_after(window_opens(model), deferred->scheduler->now);
}

/* ---- offers ---------------------------------------------------------------------------------- */

/* A GPU is given work as late as it can still get it without a pause. */
static void ready_update(struct deferred *deferred, const struct gpu *gpu) {
  struct deferred_gpu *entry = of_gpu(deferred, gpu);
  if (entry->offers.count == 0) {
    heap_discard(&deferred->ready, &entry->ready_node);
    return;
  }
  const struct instant wants_work = instant_sub(gpu->free_at, SCHEDULER_NETWORK_ALLOWANCE);
  heap_set(&deferred->ready, &entry->ready_node, wants_work.ns, gpu->gpu_id);
}

static bool wants_work(const struct deferred *deferred, const struct gpu *gpu) {
  const struct instant now = deferred->scheduler->now;
  return instant_since(gpu_free_at(gpu, now), now).ns <= SCHEDULER_NETWORK_ALLOWANCE.ns &&
         !gpu_is_late(gpu, now);
}

static struct model *model_of(const struct deferred *deferred,
                              const struct offers_holder *offered) {
  return &deferred->scheduler->models[offered->offer.tie];
}

static void offer_withdraw(struct deferred *deferred, struct offers_holder *offered) {
  const struct model *model = model_of(deferred, offered);
  pairing_remove(&of_gpu(deferred, offered->gpu)->offers, &offered->offer);
  offers_withdraw(&deferred->holders, model, offered);
}

static void offer_move(struct deferred *deferred, struct offers_holder *offered,
                       struct instant end) {
  struct pairing *offers = &of_gpu(deferred, offered->gpu)->offers;
  const uint64_t model_id = offered->offer.tie;
  pairing_remove(offers, &offered->offer);
  pairing_insert(offers, &offered->offer, end.ns, model_id);
}

static void offer_make(struct deferred *deferred, const struct model *model,
                       struct offers_holder *holder) {
  offers_make(&deferred->holders, model, holder);
  pairing_insert(&of_gpu(deferred, holder->gpu)->offers, &holder->offer, window_ends(model).ns,
                 model->model_id);
  ready_update(deferred, holder->gpu);
}

static bool takes_at_once(const void *self, const struct model *model, const struct gpu *gpu) {
  const struct deferred *deferred = self;
  (void)model;
  return of_gpu(deferred, gpu)->offers.count == 0 && wants_work(deferred, gpu);
}

/* To one GPU that is free and has no other offer, else to OFFERS of the holders. */
static void offer(struct deferred *deferred, const struct model *model) {
  const struct offers_model *of_model = &deferred->holders.models[model->model_id];
  struct offers_holder *next =
      offers_next_ready(&deferred->holders, model, takes_at_once, deferred);
  if (next != NULL) {
    offer_make(deferred, model, next);
    return;
  }
  while (of_model->offered_count < OFFERS &&
         (next = offers_next(&deferred->holders, model)) != NULL) {
    offer_make(deferred, model, next);
  }
}

/* Its window may have moved: wait for it, offer it, or put its offers where they belong. */
static void model_update(struct deferred *deferred, struct model *model) {
  struct deferred_model *entry = &deferred->models[model->model_id];
  const bool was_open = entry->is_open;
  entry->is_open = window_is_open(deferred, model);
  if (model->queue.count == 0 || entry->is_open) {
    heap_discard(&deferred->openings, &entry->opening_node);
  } else {
    heap_set(&deferred->openings, &entry->opening_node, window_opens(model).ns, model->model_id);
  }
  if (!entry->is_open) {
    return; /* offers are withdrawn when their turn comes */
  }
  const struct instant end = window_ends(model);
  for (struct offers_holder *at = offers_first(&deferred->holders, model); at != NULL;
       at = offers_after(&deferred->holders, model, at)) {
    if (end.ns < at->offer.key) {
      offer_move(deferred, at, end);
    }
    ready_update(deferred, at->gpu);
  }
  if (!was_open || deferred->holders.models[model->model_id].offered_count == 0) {
    offer(deferred, model);
  }
}

/* ---- hooks ----------------------------------------------------------------------------------- */

static void deferred_on_model_added(void *self, struct model *model) {
  struct deferred *deferred = self;
  struct deferred_model *entry = &deferred->models[model->model_id];
  heap_discard(&deferred->openings, &entry->opening_node);
  entry->is_open = false;
  demand_on_model_added(&deferred->demand, model);
  offers_on_model_added(&deferred->holders, model);
}

static void deferred_on_queued(void *self, struct request *request) {
  struct deferred *deferred = self;
  demand_on_queued(&deferred->demand, request);
  model_update(deferred, request->model);
}

static void deferred_on_dequeued(void *self, struct request *request) {
  struct deferred *deferred = self;
  demand_on_dequeued(&deferred->demand, request);
  model_update(deferred, request->model);
}

static void deferred_on_loading(void *self, struct residency *residency) {
  struct deferred *deferred = self;
  demand_on_loading(&deferred->demand, residency);
}

static void deferred_on_loaded(void *self, struct residency *residency) {
  struct deferred *deferred = self;
  offers_on_loaded(&deferred->holders, residency);
  if (window_is_open(deferred, residency->model)) {
    offer_make(deferred, residency->model, offers_holder_of(&deferred->holders, residency));
  }
}

static void deferred_on_unloaded(void *self, struct residency *residency) {
  struct deferred *deferred = self;
  struct offers_holder *holder = offers_holder_of(&deferred->holders, residency);
  if (holder->offer.is_linked) {
    offer_withdraw(deferred, holder);
  }
  offers_on_unloaded(&deferred->holders, residency);
  demand_on_unloaded(&deferred->demand, residency);
}

static void deferred_on_gpu_up(void *self, struct gpu *gpu) {
  struct deferred *deferred = self;
  CHECK_EQ(of_gpu(deferred, gpu)->offers.count, 0);
  demand_on_gpu_up(&deferred->demand, gpu);
}

static void deferred_on_gpu_lost(void *self, struct gpu *gpu) {
  struct deferred *deferred = self;
  CHECK_EQ(of_gpu(deferred, gpu)->offers.count, 0);
  heap_discard(&deferred->ready, &of_gpu(deferred, gpu)->ready_node);
  demand_on_gpu_lost(&deferred->demand, gpu);
}

static void deferred_on_gpu_progress(void *self, struct gpu *gpu) {
  struct deferred *deferred = self;
  ready_update(deferred, gpu);
  demand_on_load_slots(&deferred->demand, gpu);
  demand_resume(&deferred->demand);
}

/* ---- batches --------------------------------------------------------------------------------- */

struct batch {
  struct request *requests[MODEL_BATCH_MAX];
  uint32_t count;
  uint32_t kind;
};

/* The batch of most requests that could start at `start` and meet every target, none padded to
 * twice its size. Not at the expense of requests that never had the time for it: a few with tight
 * SLOs would starve among many with loose ones. */
static bool choose_batch(const struct model *model, const struct gpu *gpu, struct instant start,
                         struct batch *ret_batch) {
  const struct request *oldest = oldest_request(model);
  const struct duration given = instant_since(oldest->target, oldest->arrived);
  for (uint32_t kind = kind_for(model, model->queue.count) + 1; kind-- > 0;) {
    const struct duration estimate = policy_estimate(model, kind, gpu);
    const struct instant end = instant_add(start, estimate);
    const uint32_t worth = kind == 0 ? 1 : model->spec.batch_sizes[kind - 1] + 1;
    const bool is_too_late = oldest->target.ns < end.ns;
    if (is_too_late && kind > 0 &&
        given.ns < duration_add(estimate, SCHEDULER_NETWORK_ALLOWANCE).ns) {
      continue;
    }
    ret_batch->kind = kind;
    ret_batch->count = 0;
    for (struct tree_node *at = tree_at_least(&model->queue, end.ns);
         at != NULL && ret_batch->count < model->spec.batch_sizes[kind]; at = tree_next(at)) {
      ret_batch->requests[ret_batch->count++] = TREE_ENTRY(at, struct request, of_queue);
    }
    if (ret_batch->count >= worth) {
      return true;
    }
  }
  return false;
}

/* Give this GPU the batch whose window ends first. False: there is none, or it can't take more. */
static bool give_work(struct deferred *deferred, struct gpu *gpu) {
  struct scheduler *scheduler = deferred->scheduler;
  const struct pairing *offers = &of_gpu(deferred, gpu)->offers;
  const struct instant start = gpu_guaranteed_start(gpu, scheduler->now);
  while (offers->first != NULL) {
    struct offers_holder *offered = PAIRING_ENTRY(offers->first, struct offers_holder, offer);
    const struct model *model = model_of(deferred, offered);
    struct batch batch;
    if (!window_is_open(deferred, model) || !choose_batch(model, gpu, start, &batch)) {
      offer_withdraw(deferred, offered);
      continue;
    }
    const struct instant end = window_ends(model);
    if (end.ns > offered->offer.key) {
      offer_move(deferred, offered, end);
      if (offers->first != &offered->offer) {
        continue;
      }
    }
    return policy_infer(scheduler, offers_residency_of(&deferred->holders, offered), batch.kind,
                        batch.requests, batch.count);
  }
  return false;
}

static void deferred_plan(void *self) {
  struct deferred *deferred = self;
  const struct scheduler *scheduler = deferred->scheduler;
  const struct instant now = scheduler->now;
  demand_expire(&deferred->demand);
  while (heap_first_key(&deferred->openings) <= now.ns) {
    const struct deferred_model *entry =
        HEAP_ENTRY(heap_first(&deferred->openings), const struct deferred_model, opening_node);
    model_update(deferred, &scheduler->models[entry - deferred->models]);
  }
  while (heap_first_key(&deferred->ready) <= now.ns && policy_has_room(scheduler, 1)) {
    struct deferred_gpu *entry =
        HEAP_ENTRY(heap_first(&deferred->ready), struct deferred_gpu, ready_node);
    struct gpu *gpu = pool_at(&scheduler->gpus, (uint32_t)(entry - deferred->gpus));
    if (wants_work(deferred, gpu) && give_work(deferred, gpu)) {
      ready_update(deferred, gpu);
    } else {
      /* Its next result, or its next offer, brings it back. */
      heap_discard(&deferred->ready, &entry->ready_node);
    }
  }
  demand_load(&deferred->demand);
}

static struct instant deferred_wakeup(const void *self) {
  const struct deferred *deferred = self;
  const struct instant opens = {heap_first_key(&deferred->openings)};
  const struct instant ready = {heap_first_key(&deferred->ready)};
  return instant_min(instant_min(opens, ready), demand_wakeup(&deferred->demand));
}

static void deferred_validate(const void *self) {
  const struct deferred *deferred = self;
  uint32_t offers = 0;
  for (uint32_t i = 0; i < deferred->scheduler->residencies.capacity; i++) {
    offers += deferred->holders.holders[i].offer.is_linked;
  }
  for (uint32_t i = 0; i < deferred->scheduler->gpus.capacity; i++) {
    offers -= deferred->gpus[i].offers.count;
  }
  CHECK_EQ(offers, 0);
  for (uint32_t i = 0; i < deferred->scheduler->config.limits.models; i++) {
    const struct model *model = &deferred->scheduler->models[i];
    const struct deferred_model *entry = &deferred->models[i];
    CHECK(!heap_contains(&entry->opening_node) || (model->queue.count > 0 && !entry->is_open));
    CHECK(model->queue.count == 0 || entry->is_open || heap_contains(&entry->opening_node));
  }
  offers_validate(&deferred->holders);
  demand_validate(&deferred->demand);
}

const struct policy policy_deferred = {
    .name = "deferred",
    .summary = "a batch waits as long as one more request could join it, as in Symphony",
    .keeps_deadlines = true,
    .init = deferred_init,
    .on_model_added = deferred_on_model_added,
    .on_queued = deferred_on_queued,
    .on_dequeued = deferred_on_dequeued,
    .on_loading = deferred_on_loading,
    .on_loaded = deferred_on_loaded,
    .on_unloaded = deferred_on_unloaded,
    .on_gpu_up = deferred_on_gpu_up,
    .on_gpu_lost = deferred_on_gpu_lost,
    .on_gpu_progress = deferred_on_gpu_progress,
    .plan = deferred_plan,
    .wakeup = deferred_wakeup,
    .validate = deferred_validate,
};
