#include "scheduler/demand.h"

#include "base/check.h"
#include "base/prefetch.h"
#include "scheduler/policy.h"

void demand_init(struct demand *demand, struct arena *arena, struct scheduler *scheduler,
                 enum demand_order order) {
  const struct scheduler_limits *limits = &scheduler->config.limits;
  demand->scheduler = scheduler;
  demand->order = order;
  demand->requests = arena_take(arena, limits->requests, sizeof(struct demand_request));
  demand->models = arena_take(arena, limits->models, sizeof(struct demand_model));
  demand->gpus = arena_take(arena, limits->gpus, sizeof(struct demand_gpu));
  uint32_t places = 1;
  while (places <= limits->requests / 2) {
    places *= 2;
  }
  demand->due = arena_take(arena, places, sizeof(struct demand_due));
  demand->due_mask = places - 1;
  demand->due_first = 1;
  demand->due_end = 1;
  heap_init(&demand->expiry, arena, limits->requests);
  heap_init(&demand->priorities, arena, limits->models);
  heap_init(&demand->loadable, arena, limits->gpus);
  heap_init(&demand->paused, arena, limits->gpus);
  list_init(&demand->postponed);
}

static struct demand_request *of_request(const struct demand *demand,
                                         const struct request *request) {
  return &demand->requests[pool_index(&demand->scheduler->requests, request)];
}

/* ---- when they cease to count ---------------------------------------------------------------- */

static struct demand_due *due_at(const struct demand *demand, uint64_t place) {
  return &demand->due[place & demand->due_mask];
}

static bool counts(const struct demand_request *entry) {
  return entry->due_place != 0 || heap_contains(&entry->expiry_node);
}

static void count_until(struct demand *demand, struct demand_request *entry, struct instant until,
                        uint64_t sequence) {
  const uint64_t places = demand->due_end - demand->due_first;
  if (places <= demand->due_mask &&
      (places == 0 || !instant_before(until, due_at(demand, demand->due_end - 1)->until))) {
    entry->due_place = demand->due_end++;
    *due_at(demand, entry->due_place) = (struct demand_due){.until = until, .request = entry};
  } else {
    heap_insert(&demand->expiry, &entry->expiry_node, until.ns, sequence);
  }
}

static void count_no_longer(struct demand *demand, struct demand_request *entry) {
  if (entry->due_place != 0) {
    due_at(demand, entry->due_place)->request = NULL;
    entry->due_place = 0;
  } else {
    heap_remove(&demand->expiry, &entry->expiry_node);
  }
}

/* One that no longer counts at `now`; NULL: there is none. Which of them comes first makes no
 * difference to what is left. */
static struct demand_request *first_due(struct demand *demand, struct instant now) {
  while (demand->due_first < demand->due_end) {
    const struct demand_due *first = due_at(demand, demand->due_first);
    if (first->request != NULL) {
      if (!instant_after(first->until, now)) {
        return first->request;
      }
      break;
    }
    demand->due_first++;
  }
  return heap_first_key(&demand->expiry) <= now.ns
             ? HEAP_ENTRY(heap_first(&demand->expiry), struct demand_request, expiry_node)
             : NULL;
}

/* Those that follow in the ring are the next to be looked at: their turn is known beforehand. */
static void expect_due(const struct demand *demand, uint64_t place) {
  enum { AHEAD = 4 };
  const uint64_t ahead = place + AHEAD;
  if (ahead < demand->due_end) {
    prefetch(due_at(demand, ahead)->request, sizeof(struct demand_request));
  }
  if (place + AHEAD / 2 < demand->due_end) {
    const struct demand_request *entry = due_at(demand, place + AHEAD / 2)->request;
    if (entry != NULL && entry->gpu == NULL) {
      prefetch(&demand->models[entry->model - demand->scheduler->models],
               sizeof(struct demand_model));
    }
  }
}

/* ---- charges --------------------------------------------------------------------------------- */

static void loadable_update(struct demand *demand, const struct gpu *gpu) {
  struct demand_gpu *entry = &demand->gpus[gpu->gpu_id];
  if (gpu->loads_count < SCHEDULER_LOADS_PER_GPU && !heap_contains(&entry->pause_node)) {
    heap_set(&demand->loadable, &entry->lightness_node, entry->charged, entry->turn);
  } else {
    heap_discard(&demand->loadable, &entry->lightness_node);
  }
}

/* How long before its transfers are done a GPU is asked for the next one: a LOAD reaches it in
 * time, and what is decided later is decided better. */
static struct duration load_lead(const struct gpu *gpu) {
  return (struct duration){2 * gpu->start_lag.ns};
}

/* When the GPU may be given a LOAD; in the past: now. */
static struct instant loads_from(const struct demand *demand, const struct gpu *gpu) {
  const bool keeps_link_free = demand->order == DEMAND_MOST_REQUESTS && gpu->loads_count > 0;
  return keeps_link_free
             ? instant_max(gpu->load_pause_until, instant_sub(gpu->load_free_at, load_lead(gpu)))
             : gpu->load_pause_until;
}

static void pause_update(struct demand *demand, const struct gpu *gpu) {
  struct demand_gpu *entry = &demand->gpus[gpu->gpu_id];
  const struct instant from = loads_from(demand, gpu);
  if (instant_after(from, demand->scheduler->now)) {
    heap_set(&demand->paused, &entry->pause_node, from.ns, gpu->gpu_id);
  } else {
    heap_discard(&demand->paused, &entry->pause_node);
  }
  loadable_update(demand, gpu);
}

static void postponed_discard(struct demand_model *entry) {
  if (list_is_linked(&entry->of_postponed)) {
    list_remove(&entry->of_postponed);
  }
}

/* The least is loaded first. */
static int64_t priority_key(const struct demand *demand, const struct model *model) {
  const struct demand_model *entry = &demand->models[model->model_id];
  if (demand->order == DEMAND_MOST_TIME) {
    return entry->unserved > 0 ? -entry->unserved : 1;
  }
  const int64_t execute_ns = estimate_at(&model->execute[0], model->spec.clock_mhz).ns;
  const int64_t transfer_ns = estimate_at(&model->load, 1).ns;
  /* Requests in 1,000 seconds of it: fine enough, and 2^32 of them fit. */
  return -(int64_t)(1e12 * entry->unserved_count / (double)(transfer_ns + execute_ns));
}

/* After its demand grew, or when it is to be tried again. */
static void priority_update(struct demand *demand, const struct model *model) {
  struct demand_model *entry = &demand->models[model->model_id];
  postponed_discard(entry);
  if (entry->unserved_count > 0) {
    /* Of equals: the one whose LOAD leaves its oldest request most time, for a GPU is rarely idle
     * when weights arrive. */
    const uint64_t tie = demand->order == DEMAND_MOST_TIME
                             ? model->model_id
                             : UINT64_MAX - (uint64_t)model->queue.first->key;
    heap_set(&demand->priorities, &entry->priority_node, priority_key(demand, model), tie);
  } else {
    heap_discard(&demand->priorities, &entry->priority_node);
  }
}

/* After its demand shrank: no reason to try again if it is postponed. */
static void priority_lower(struct demand *demand, const struct model *model) {
  const struct demand_model *entry = &demand->models[model->model_id];
  if (entry->unserved_count == 0 || heap_contains(&entry->priority_node)) {
    priority_update(demand, model);
  }
}

static void charge_gpu(struct demand *demand, struct demand_request *entry, struct gpu *gpu) {
  entry->gpu = gpu;
  demand->gpus[gpu->gpu_id].charged += entry->share;
  if (heap_contains(&demand->gpus[gpu->gpu_id].lightness_node)) {
    loadable_update(demand, gpu);
  }
}

static void charge_unserved(struct demand *demand, struct demand_request *entry,
                            const struct model *model) {
  struct demand_model *of_model = &demand->models[model->model_id];
  entry->gpu = NULL;
  list_append(&of_model->unserved_requests, &entry->of_unserved);
  of_model->unserved += entry->share;
  of_model->unserved_count++;
  priority_update(demand, model);
}

static void discharge(struct demand *demand, struct demand_request *entry,
                      const struct model *model) {
  if (entry->gpu != NULL) {
    struct demand_gpu *of_gpu = &demand->gpus[entry->gpu->gpu_id];
    of_gpu->charged -= entry->share;
    if (heap_contains(&of_gpu->lightness_node)) {
      loadable_update(demand, entry->gpu);
    }
    entry->gpu = NULL;
  } else {
    struct demand_model *of_model = &demand->models[model->model_id];
    list_remove(&entry->of_unserved);
    of_model->unserved -= entry->share;
    of_model->unserved_count--;
    priority_lower(demand, model);
  }
}

/* A GPU that serves `share` more of the model: the first with time to spare among the next few in
 * the model's round, which moves on past it, else the lightest of them; NULL if all are late. */
static struct gpu *choose_holder(const struct demand *demand, struct model *model, int64_t share) {
  struct gpu *best = NULL;
  int64_t best_charged = 0;
  uint32_t choices = DEMAND_HOLDERS;
  if (model->residencies_count < choices) {
    choices = model->residencies_count;
  }
  struct list *first = NULL;
  for (; choices > 0 && (first = list_first(&model->residencies)) != NULL; choices--) {
    list_remove(first);
    list_append(&model->residencies, first);
    struct gpu *gpu = LIST_ENTRY(first, struct residency, of_model)->gpu;
    const int64_t charged = demand->gpus[gpu->gpu_id].charged;
    if ((best == NULL || charged < best_charged) && !gpu_is_late(gpu, demand->scheduler->now)) {
      best = gpu;
      best_charged = charged;
      if (charged + share <= DEMAND_SPARE) {
        break;
      }
    }
  }
  return best;
}

static void charge(struct demand *demand, struct demand_request *entry, struct model *model) {
  struct gpu *gpu = choose_holder(demand, model, entry->share);
  if (gpu != NULL && demand->gpus[gpu->gpu_id].charged + entry->share <= DEMAND_CAPACITY) {
    charge_gpu(demand, entry, gpu);
  } else {
    charge_unserved(demand, entry, model);
  }
}

void demand_expect(const struct demand *demand, uint32_t model_id) {
  prefetch(&demand->models[model_id], sizeof(struct demand_model));
}

void demand_expect_first(const struct demand *demand, const struct model *model) {
  if (model->queue.first != NULL) {
    prefetch(of_request(demand, TREE_ENTRY(model->queue.first, struct request, of_queue)),
             sizeof(struct demand_request));
  }
}

void demand_on_model_added(struct demand *demand, struct model *model) {
  struct demand_model *entry = &demand->models[model->model_id];
  CHECK_EQ(entry->unserved, 0);
  list_init(&entry->unserved_requests);
}

/* The last moment at which a LOAD onto an idle GPU could still help the request. */
static struct instant helpful_until(const struct request *request) {
  const struct model *model = request->model;
  const struct duration transfer = estimate_at(&model->load, 1);
  const struct duration execute = estimate_at(&model->execute[0], model->spec.clock_mhz);
  const struct duration needed =
      duration_add(duration_add(transfer, execute), SCHEDULER_NETWORK_ALLOWANCE);
  return instant_sub(request->target, needed);
}

static int64_t window_of(const struct demand *demand, const struct request *request) {
  const struct model *model = request->model;
  const int64_t slo_ns = instant_since(request->deadline, request->arrived).ns;
  const int64_t execute_ns = estimate_at(&model->execute[0], model->spec.clock_mhz).ns;
  const int64_t transfer_ns = estimate_at(&model->load, 1).ns;
  int64_t window_ns = slo_ns - transfer_ns - execute_ns - SCHEDULER_SAFETY_BUFFER.ns;
  if (window_ns > DEMAND_WINDOW.ns) {
    window_ns = DEMAND_WINDOW.ns;
  }
  if (window_ns < demand->scheduler->config.schedule_ahead.ns) {
    window_ns = demand->scheduler->config.schedule_ahead.ns;
  }
  return window_ns;
}

/* Whether the request counts although its window is over. */
static bool waits_for_load(const struct demand *demand, const struct request *request) {
  return request->model->residencies_count == 0 &&
         instant_after(helpful_until(request), demand->scheduler->now);
}

static void count_as_old(struct demand *demand, struct request *request) {
  if (waits_for_load(demand, request)) {
    struct demand_request *entry = of_request(demand, request);
    entry->model = request->model;
    entry->share = 0;
    heap_insert(&demand->expiry, &entry->expiry_node, helpful_until(request).ns, request->sequence);
    charge_unserved(demand, entry, request->model);
  }
}

/* Its window ends while it is unserved. If its model is postponed it stays so: time alone never
 * asks for an action. */
static void become_old(struct demand *demand, struct demand_request *entry,
                       const struct request *request) {
  demand->models[request->model->model_id].unserved -= entry->share;
  entry->share = 0;
  heap_insert(&demand->expiry, &entry->expiry_node, helpful_until(request).ns, request->sequence);
  priority_lower(demand, request->model);
}

void demand_on_queued(struct demand *demand, struct request *request) {
  struct model *model = request->model;
  const int64_t window_ns = window_of(demand, request);
  struct instant until = instant_add(request->arrived, duration_ns(window_ns));
  if (demand->order == DEMAND_MOST_REQUESTS && model->residencies_count == 0) {
    const struct instant helpful = helpful_until(request);
    until = instant_after(helpful, request->arrived) ? instant_min(until, helpful) : until;
  }
  if (!instant_after(until, demand->scheduler->now)) {
    count_as_old(demand, request); /* queued again after a failed action */
    return;
  }
  struct demand_request *entry = of_request(demand, request);
  entry->model = model;
  const int64_t execute_ns = estimate_at(&model->execute[0], model->spec.clock_mhz).ns;
  double share = (double)execute_ns / (double)window_ns * DEMAND_CAPACITY;
  /* One request can't need more than a GPU. */
  entry->share = share < 1 ? 1 : share > DEMAND_CAPACITY ? DEMAND_CAPACITY : (int64_t)share;
  count_until(demand, entry, until, request->sequence);
  charge(demand, entry, model);
}

void demand_on_dequeued(struct demand *demand, struct request *request) {
  struct demand_request *entry = of_request(demand, request);
  if (counts(entry)) {
    count_no_longer(demand, entry);
    discharge(demand, entry, request->model);
  }
}

void demand_on_loading(struct demand *demand, struct residency *residency) {
  struct demand_model *of_model = &demand->models[residency->model->model_id];
  while (!list_is_empty(&of_model->unserved_requests)) {
    struct demand_request *entry =
        LIST_ENTRY(list_first(&of_model->unserved_requests), struct demand_request, of_unserved);
    discharge(demand, entry, residency->model);
    if (entry->share > 0) {
      charge_gpu(demand, entry, residency->gpu);
    } else {
      count_no_longer(demand, entry);
    }
  }
}

void demand_on_unloaded(struct demand *demand, struct residency *residency) {
  struct model *model = residency->model;
  for (struct tree_node *at = model->queue.first; at != NULL; at = tree_next(at)) {
    struct request *request = TREE_ENTRY(at, struct request, of_queue);
    struct demand_request *entry = of_request(demand, request);
    if (!counts(entry)) {
      count_as_old(demand, request);
    } else if (entry->gpu == residency->gpu) {
      discharge(demand, entry, model);
      charge(demand, entry, model);
    }
  }
}

void demand_on_gpu_up(struct demand *demand, struct gpu *gpu) {
  demand->gpus[gpu->gpu_id] = (struct demand_gpu){.turn = demand->next_turn++};
  loadable_update(demand, gpu);
}

void demand_on_gpu_lost(struct demand *demand, struct gpu *gpu) {
  struct demand_gpu *entry = &demand->gpus[gpu->gpu_id];
  CHECK_EQ(entry->charged, 0);
  heap_discard(&demand->loadable, &entry->lightness_node);
  heap_discard(&demand->paused, &entry->pause_node);
}

void demand_on_load_slots(struct demand *demand, struct gpu *gpu) {
  pause_update(demand, gpu);
}

static void end_pauses(struct demand *demand) {
  while (heap_first_key(&demand->paused) <= demand->scheduler->now.ns) {
    struct demand_gpu *entry =
        HEAP_ENTRY(heap_first(&demand->paused), struct demand_gpu, pause_node);
    heap_remove(&demand->paused, &entry->pause_node);
    loadable_update(demand, pool_at(&demand->scheduler->gpus, (uint32_t)(entry - demand->gpus)));
    demand_resume(demand);
  }
}

void demand_expire(struct demand *demand) {
  struct demand_request *entry = NULL;
  while ((entry = first_due(demand, demand->scheduler->now)) != NULL) {
    if (entry->due_place != 0) {
      expect_due(demand, entry->due_place);
    }
    count_no_longer(demand, entry);
    /* Neither model nor request are at hand: most are charged to a GPU, which holds the model. */
    const struct request *waiting = NULL;
    if (entry->gpu == NULL && entry->share > 0 && entry->model->residencies_count == 0) {
      waiting = pool_at(&demand->scheduler->requests, (uint32_t)(entry - demand->requests));
    }
    if (waiting != NULL && waits_for_load(demand, waiting)) {
      become_old(demand, entry, waiting);
    } else {
      discharge(demand, entry, entry->model);
    }
  }
  end_pauses(demand);
}

struct instant demand_wakeup(const struct demand *demand) {
  return (struct instant){heap_first_key(&demand->paused)};
}

void demand_resume(struct demand *demand) {
  const struct list *first = list_first(&demand->postponed);
  if (first != NULL) {
    const struct demand_model *entry = LIST_ENTRY(first, const struct demand_model, of_postponed);
    priority_update(demand, &demand->scheduler->models[entry - demand->models]);
  }
}

/* Weights that queued requests are about to need stay. */
static bool may_evict(const void *self, const struct residency *victim) {
  (void)self;
  return victim->model->queue.count == 0;
}

struct candidates {
  struct gpu *gpus[DEMAND_CHOICES];
  uint32_t count;
};

/* The lightest GPUs with a free LOAD slot, taken out of `loadable`. */
static void take_candidates(struct demand *demand, const struct model *model,
                            struct candidates *ret_candidates) {
  ret_candidates->count = 0;
  while (ret_candidates->count < DEMAND_CHOICES && demand->loadable.count > 0) {
    struct demand_gpu *entry =
        HEAP_ENTRY(heap_first(&demand->loadable), struct demand_gpu, lightness_node);
    if (model->residencies_count > 0 && entry->charged >= DEMAND_SPARE) {
      break; /* all others are fuller still */
    }
    heap_remove(&demand->loadable, &entry->lightness_node);
    ret_candidates->gpus[ret_candidates->count++] =
        pool_at(&demand->scheduler->gpus, (uint32_t)(entry - demand->gpus));
  }
}

static bool may_load(const struct demand *demand, const struct model *model,
                     const struct gpu *gpu) {
  return residency_find(demand->scheduler, model, gpu) == NULL &&
         !gpu_is_late(gpu, demand->scheduler->now);
}

static struct gpu *load_on_one(struct demand *demand, struct model *model,
                               const struct candidates *candidates) {
  for (int needs_room = 0; needs_room <= 1; needs_room++) {
    for (uint32_t i = 0; i < candidates->count; i++) {
      struct gpu *gpu = candidates->gpus[i];
      const bool lacks_room = gpu->pages_free < model->spec.weights_pages;
      if (lacks_room == needs_room && may_load(demand, model, gpu) &&
          policy_load(demand->scheduler, model, gpu, may_evict, NULL) != NULL) {
        return gpu;
      }
    }
  }
  return NULL;
}

void demand_load(struct demand *demand) {
  while (policy_has_room(demand->scheduler, 1) && demand->loadable.count > 0 &&
         demand->priorities.count > 0) {
    struct demand_model *entry =
        HEAP_ENTRY(heap_first(&demand->priorities), struct demand_model, priority_node);
    struct model *model = &demand->scheduler->models[entry - demand->models];
    struct candidates candidates;
    take_candidates(demand, model, &candidates);
    const struct gpu *gpu = load_on_one(demand, model, &candidates);
    if (gpu != NULL) {
      demand->gpus[gpu->gpu_id].turn = demand->next_turn++;
    } else {
      heap_remove(&demand->priorities, &entry->priority_node);
      list_append(&demand->postponed, &entry->of_postponed);
    }
    for (uint32_t i = 0; i < candidates.count; i++) {
      pause_update(demand, candidates.gpus[i]);
    }
  }
}

static void validate_requests(const struct demand *demand, const struct model *model,
                              int64_t *charged_total) {
  int64_t unserved = 0;
  uint32_t unserved_count = 0;
  for (struct tree_node *at = model->queue.first; at != NULL; at = tree_next(at)) {
    const struct demand_request *entry =
        of_request(demand, TREE_ENTRY(at, struct request, of_queue));
    if (counts(entry)) {
      CHECK_EQ(entry->gpu == NULL, list_is_linked(&entry->of_unserved));
      CHECK(entry->gpu == NULL || residency_find(demand->scheduler, model, entry->gpu) != NULL);
      unserved_count += entry->gpu == NULL;
      *(entry->gpu == NULL ? &unserved : charged_total) += entry->share;
    }
  }
  CHECK_EQ(unserved, demand->models[model->model_id].unserved);
  CHECK_EQ(unserved_count, demand->models[model->model_id].unserved_count);
}

void demand_validate(const struct demand *demand) {
  const struct scheduler *scheduler = demand->scheduler;
  int64_t charged_total = 0;
  for (uint32_t i = 0; i < scheduler->config.limits.models; i++) {
    const struct demand_model *entry = &demand->models[i];
    const bool is_postponed = list_is_linked(&entry->of_postponed);
    CHECK_EQ(entry->unserved_count > 0, is_postponed || heap_contains(&entry->priority_node));
    CHECK(!is_postponed || !heap_contains(&entry->priority_node));
    if (scheduler->models[i].is_known) {
      validate_requests(demand, &scheduler->models[i], &charged_total);
    }
  }
  for (uint32_t i = 0; i < scheduler->config.limits.gpus; i++) {
    const struct gpu *gpu = pool_at(&scheduler->gpus, i);
    const struct demand_gpu *entry = &demand->gpus[i];
    charged_total -= gpu == NULL ? 0 : entry->charged;
    CHECK_EQ(heap_contains(&entry->lightness_node),
             gpu != NULL && gpu->loads_count < SCHEDULER_LOADS_PER_GPU &&
                 !heap_contains(&entry->pause_node));
  }
  CHECK_EQ(charged_total, 0);
}
