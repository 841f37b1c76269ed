/* INFER4, the published scheduler: the most urgent batch first, the largest that fits.
 *
 * Published form: every queued request stands once per batch size in the strategy queue of each GPU
 * that holds its model, ordered by the latest time at which that batch could start. Here the same
 * decisions come from one entry per model and GPU, an offer, for the batch that would be chosen:
 *   urgency = target of the batch's oldest request - estimate(batch on that GPU)
 * An offer's key is never later than its urgency. It may be earlier (requests left since), which is
 * put right when the offer comes to the top of its GPU; when an urgency becomes earlier (a new
 * oldest request, enough requests for a larger batch) the model's offers are renewed at once.
 *
 * A request is offered where it will be taken at once, to one idle GPU that has nothing else on
 * offer; if none of the next few GPUs in the model's round is, to OFFERS of them. So what waits
 * stands at OFFERS GPUs at least: up to that many holders this is the published rule to the letter;
 * beyond, a model on 4,096 GPUs costs no more per request than one on eight, because its offers
 * are not more than OFFERS or the requests that wait, whichever is more.
 *
 * A GPU is given work while it is predicted to be free within schedule_ahead. LOADs follow demand
 * (scheduler/demand.h).
 */
#include "base/check.h"
#include "base/prefetch.h"
#include "base/tournament.h"
#include "scheduler/demand.h"
#include "scheduler/offer_queue.h"
#include "scheduler/offers.h"
#include "scheduler/policy.h"

struct infer4 {
  struct scheduler *scheduler;
  struct demand demand;
  struct offers holders;
  /* By gpu id: of struct offers_holder, the most urgent first; the tie is the model's id. */
  struct offer_queue *offers;
  /* By gpu id, those that have offers and could take one: when they want work. */
  struct tournament ready;
  /* The first of them: how far foresee() has come with it. */
  uint32_t foreseen_gpu_id;
  uint32_t foreseen_steps;
};

static void *infer4_init(struct arena *arena, struct scheduler *scheduler) {
  const struct scheduler_limits *limits = &scheduler->config.limits;
  struct infer4 counted;
  struct infer4 *infer4 = arena_take(arena, 1, sizeof(*infer4));
  struct infer4 *built = infer4 != NULL ? infer4 : &counted;
  built->scheduler = scheduler;
  built->offers = arena_take(arena, limits->gpus, sizeof(struct offer_queue));
  for (uint32_t i = 0; i < limits->gpus && !arena_is_counting(arena); i++) {
    offer_queue_init(&built->offers[i]);
  }
  tournament_init(&built->ready, arena, limits->gpus);
  demand_init(&built->demand, arena, scheduler, DEMAND_MOST_TIME);
  offers_init(&built->holders, arena, scheduler);
  return infer4;
}

static struct offer_queue *offers_of(const struct infer4 *infer4, const struct gpu *gpu) {
  return &infer4->offers[gpu->gpu_id];
}

/* The GPU takes part again: it has offers, and its predicted free time is known. */
static void ready_update(struct infer4 *infer4, const struct gpu *gpu) {
  const bool has_offers = offers_of(infer4, gpu)->count > 0;
  const struct instant wants_work =
      instant_sub(gpu->free_at, infer4->scheduler->config.schedule_ahead);
  tournament_set(&infer4->ready, gpu->gpu_id, has_offers ? wants_work.ns : INT64_MAX);
}

/* The largest batch kind that the waiting requests would fill. */
static uint32_t fillable_kind(const struct model *model) {
  uint32_t kind = model->kinds_usable - 1;
  while (kind > 0 && model->spec.batch_sizes[kind] > model->queue.count) {
    kind--;
  }
  return kind;
}

static const struct request *oldest_request(const struct model *model) {
  return TREE_ENTRY(model->queue.first, const struct request, of_queue);
}

static struct model *model_of(const struct infer4 *infer4, const struct offers_holder *offered) {
  return &infer4->scheduler->models[offered->offer.tie];
}

static void offer_withdraw(struct infer4 *infer4, struct offers_holder *offered) {
  const struct model *model = model_of(infer4, offered);
  offer_queue_remove(offers_of(infer4, offered->gpu), &infer4->holders, offered);
  offers_withdraw(&infer4->holders, model, offered);
}

static void offer_move(struct infer4 *infer4, struct offers_holder *offered, int64_t key) {
  offer_queue_move(offers_of(infer4, offered->gpu), &infer4->holders, offered, key);
}

static int64_t urgency_of(const struct model *model, const struct gpu *gpu) {
  const struct duration estimate = policy_estimate(model, fillable_kind(model), gpu);
  return instant_sub(oldest_request(model)->target, estimate).ns;
}

/* The urgency may be earlier than when the offer was made. */
static void offer_hasten(struct infer4 *infer4, const struct model *model,
                         struct offers_holder *offered) {
  const int64_t urgency = urgency_of(model, offered->gpu);
  if (urgency < offered->offer.key) {
    offer_move(infer4, offered, urgency);
  }
}

static void offer_make(struct infer4 *infer4, const struct model *model,
                       struct offers_holder *holder) {
  offers_make(&infer4->holders, model, holder);
  offer_queue_insert(offers_of(infer4, holder->gpu), &infer4->holders, holder,
                     urgency_of(model, holder->gpu), model->model_id);
  ready_update(infer4, holder->gpu);
}

/* Whether the GPU will take the model's oldest request as soon as it is asked. */
static bool takes_at_once(const void *self, const struct model *model, const struct gpu *gpu) {
  const struct infer4 *infer4 = self;
  const struct instant now = infer4->scheduler->now;
  if (gpu->infers_count > 0 || offers_of(infer4, gpu)->count > 0 || gpu_is_late(gpu, now)) {
    return false;
  }
  const struct instant end =
      instant_add(gpu_guaranteed_start(gpu, now), policy_estimate(model, 0, gpu));
  return !instant_after(end, oldest_request(model)->target);
}

/* Offer to the next holder in the model's round; false if it is offered to all. */
static bool offer_to_next(struct infer4 *infer4, const struct model *model) {
  struct offers_holder *next = offers_next(&infer4->holders, model);
  if (next != NULL) {
    offer_make(infer4, model, next);
  }
  return next != NULL;
}

static void infer4_on_model_added(void *self, struct model *model) {
  struct infer4 *infer4 = self;
  offers_on_model_added(&infer4->holders, model);
  demand_on_model_added(&infer4->demand, model);
}

static void infer4_expect(const void *self, const struct model *model, uint32_t step) {
  const struct infer4 *infer4 = self;
  const uint32_t model_id = (uint32_t)(model - infer4->scheduler->models);
  offers_expect(&infer4->holders, model_id, step);
  if (step == 0) {
    demand_expect(&infer4->demand, model_id);
  } else if (step == 2) {
    const struct offers_holder *next = offers_next(&infer4->holders, model);
    if (next != NULL) {
      prefetch(&infer4->offers[next->gpu->gpu_id], PREFETCH_LINE_BYTES);
    }
  }
}

static void infer4_on_queued(void *self, struct request *request) {
  struct infer4 *infer4 = self;
  struct model *model = request->model;
  struct offers *holders = &infer4->holders;
  demand_on_queued(&infer4->demand, request);
  const bool is_first = model->queue.first == &request->of_queue;
  const bool fills_a_batch =
      model_batch_kind(&model->spec, model->queue.count) < model->kinds_usable;
  if (is_first || fills_a_batch) {
    for (struct offers_holder *at = offers_first(holders, model); at != NULL;
         at = offers_after(holders, model, at)) {
      offer_hasten(infer4, model, at);
    }
  }
  struct offers_holder *ready = offers_next_ready(holders, model, takes_at_once, infer4);
  if (ready != NULL) {
    offer_make(infer4, model, ready);
    return;
  }
  while (holders->models[model->model_id].offered_count < OFFERS && offer_to_next(infer4, model)) {
  }
}

static void infer4_on_dequeued(void *self, struct request *request) {
  struct infer4 *infer4 = self;
  demand_on_dequeued(&infer4->demand, request);
}

static void infer4_on_loading(void *self, struct residency *residency) {
  struct infer4 *infer4 = self;
  demand_on_loading(&infer4->demand, residency);
}

static void infer4_on_loaded(void *self, struct residency *residency) {
  struct infer4 *infer4 = self;
  offers_on_loaded(&infer4->holders, residency);
  if (residency->model->queue.count > 0) {
    offer_make(infer4, residency->model, offers_holder_of(&infer4->holders, residency));
  }
}

static void infer4_on_unloaded(void *self, struct residency *residency) {
  struct infer4 *infer4 = self;
  struct offers_holder *holder = offers_holder_of(&infer4->holders, residency);
  if (holder->offer.is_linked) {
    offer_withdraw(infer4, holder);
  }
  offers_on_unloaded(&infer4->holders, residency);
  demand_on_unloaded(&infer4->demand, residency);
}

static void infer4_on_gpu_up(void *self, struct gpu *gpu) {
  struct infer4 *infer4 = self;
  CHECK_EQ(offers_of(infer4, gpu)->count, 0);
  demand_on_gpu_up(&infer4->demand, gpu);
}

static void infer4_on_gpu_lost(void *self, struct gpu *gpu) {
  struct infer4 *infer4 = self;
  CHECK_EQ(offers_of(infer4, gpu)->count, 0);
  tournament_set(&infer4->ready, gpu->gpu_id, INT64_MAX);
  demand_on_gpu_lost(&infer4->demand, gpu);
}

static void infer4_on_gpu_progress(void *self, struct gpu *gpu) {
  struct infer4 *infer4 = self;
  ready_update(infer4, gpu);
  demand_on_load_slots(&infer4->demand, gpu);
  demand_resume(&infer4->demand);
}

/* A batch that could start at `start`. */
struct choice {
  uint32_t kind;
  struct request *first; /* it and those after it */
};

/* Whether requests at the head that come too late for this batch may be passed over. Not by a batch
 * that they never had the time for: else a few with tight SLOs would starve among many with loose
 * ones. */
static bool may_pass_over(const struct request *first, struct duration estimate) {
  const struct duration needed = duration_add(SCHEDULER_NETWORK_ALLOWANCE, estimate);
  return instant_since(first->target, first->arrived).ns >= needed.ns;
}

/* The largest batch that waiting requests fill and whose every target it meets. Requests too old
 * for it are passed over: they wait for a smaller one elsewhere or expire. False if even batch 1 is
 * too late for all. Cost O(kinds x (log queue + batch)). */
static bool choose_batch(const struct model *model, const struct gpu *gpu, struct instant start,
                         struct choice *ret_choice) {
  const struct request *oldest = oldest_request(model);
  for (uint32_t kind = fillable_kind(model) + 1; kind-- > 0;) {
    const struct duration estimate = policy_estimate(model, kind, gpu);
    const struct instant end = instant_add(start, estimate);
    struct tree_node *first = model->queue.first;
    if (first->key < end.ns) {
      if (kind > 0 && !may_pass_over(oldest, estimate)) {
        continue;
      }
      first = tree_at_least(&model->queue, end.ns);
      uint32_t found = 0;
      for (struct tree_node *at = first; at != NULL && found < model->spec.batch_sizes[kind];
           at = tree_next(at)) {
        found++;
      }
      if (found < model->spec.batch_sizes[kind]) {
        continue;
      }
    }
    *ret_choice =
        (struct choice){.kind = kind, .first = TREE_ENTRY(first, struct request, of_queue)};
    return true;
  }
  return false;
}

static bool send_batch(struct infer4 *infer4, struct residency *residency,
                       const struct choice *choice) {
  const struct model *model = residency->model;
  struct request *batch[MODEL_BATCH_MAX];
  const uint32_t count = model->spec.batch_sizes[choice->kind];
  struct tree_node *at = &choice->first->of_queue;
  for (uint32_t i = 0; i < count; i++) {
    batch[i] = TREE_ENTRY(at, struct request, of_queue);
    at = tree_next(at);
  }
  return policy_infer(infer4->scheduler, residency, choice->kind, batch, count);
}

/* Give this GPU its most urgent batch. False: there is none, or it can't take more. */
static bool give_work(struct infer4 *infer4, struct gpu *gpu) {
  const struct offer_queue *offers = offers_of(infer4, gpu);
  const struct instant start = gpu_guaranteed_start(gpu, infer4->scheduler->now);
  struct offers_holder *offered = NULL;
  while ((offered = offer_queue_first(offers, &infer4->holders)) != NULL) {
    struct model *model = model_of(infer4, offered);
    struct choice choice;
    if (model->queue.count == 0 || !choose_batch(model, gpu, start, &choice)) {
      offer_withdraw(infer4, offered);
      continue;
    }
    const int64_t urgency =
        instant_sub(choice.first->target, policy_estimate(model, choice.kind, gpu)).ns;
    if (urgency > offered->offer.key) {
      offer_move(infer4, offered, urgency);
      if (offer_queue_first(offers, &infer4->holders) != offered) {
        continue; /* something else is more urgent after all */
      }
    }
    if (!send_batch(infer4, offers_residency_of(&infer4->holders, offered), &choice)) {
      return false;
    }
    if (model->queue.count == 0) {
      offer_withdraw(infer4, offered);
    } else {
      offer_move(infer4, offered, urgency_of(model, gpu));
      if (infer4->holders.models[model->model_id].offered_count < model->queue.count) {
        offer_to_next(infer4, model); /* more waits than this GPU took */
      }
    }
    return true;
  }
  return false;
}

static bool wants_work(const struct infer4 *infer4, const struct gpu *gpu) {
  const struct instant now = infer4->scheduler->now;
  const struct duration ahead = instant_since(gpu_free_at(gpu, now), now);
  return ahead.ns <= infer4->scheduler->config.schedule_ahead.ns && !gpu_is_late(gpu, now);
}

/* The next GPU to want work is known beforehand: with every call a step further, bring what
 * give_work() will touch into the processor's caches, each step from what the one before brought.
 * Else it waits for one place in memory after another. */
static void foresee(struct infer4 *infer4) {
  const struct scheduler *scheduler = infer4->scheduler;
  const uint32_t gpu_id = tournament_first(&infer4->ready);
  const struct gpu *gpu = pool_at(&scheduler->gpus, gpu_id);
  const struct offer_queue *offers = &infer4->offers[gpu_id];
  if (infer4->foreseen_gpu_id != gpu_id) {
    infer4->foreseen_gpu_id = gpu_id;
    infer4->foreseen_steps = 0;
  }
  if (offers->count == 0 || gpu == NULL) {
    return;
  }
  const struct model *model = &scheduler->models[offers->first.model_id];
  const struct residency *residency =
      (const void *)(pool_slot_at(&scheduler->residencies, offers->first.holder) + 1);
  switch (infer4->foreseen_steps++) {
  case 0:
    prefetch(gpu, sizeof(*gpu));
    prefetch(&infer4->holders.holders[offers->first.holder], sizeof(struct offers_holder));
    prefetch(model, MODEL_REQUEST_BYTES);
    prefetch(&infer4->holders.models[offers->first.model_id], sizeof(struct offers_model));
    prefetch(residency, sizeof(*residency));
    offer_queue_expect(offers);
    tournament_expect(&scheduler->expiry, offers->first.model_id);
    demand_expect(&infer4->demand, offers->first.model_id);
    break;
  case 1:
    prefetch(model->queue.first, sizeof(struct request));
    prefetch(gpu->infers.previous, PREFETCH_LINE_BYTES);
    prefetch(gpu->residencies.previous, PREFETCH_LINE_BYTES);
    prefetch(residency->of_gpu.next, PREFETCH_LINE_BYTES);
    prefetch(residency->of_gpu.previous, PREFETCH_LINE_BYTES);
    break;
  case 2:
    demand_expect_first(&infer4->demand, model);
    break;
  default:
    break;
  }
}

static void infer4_plan(void *self) {
  struct infer4 *infer4 = self;
  const struct instant now = infer4->scheduler->now;
  demand_expire(&infer4->demand);
  while (tournament_first_key(&infer4->ready) <= now.ns && policy_has_room(infer4->scheduler, 1)) {
    struct gpu *gpu = pool_at(&infer4->scheduler->gpus, tournament_first(&infer4->ready));
    if (wants_work(infer4, gpu) && give_work(infer4, gpu)) {
      ready_update(infer4, gpu);
    } else {
      /* Its next result, or its next offer, brings it back. */
      tournament_set(&infer4->ready, gpu->gpu_id, INT64_MAX);
    }
  }
  demand_load(&infer4->demand);
  foresee(infer4);
}

static void infer4_validate(const void *self) {
  const struct infer4 *infer4 = self;
  uint32_t offers = 0;
  for (uint32_t i = 0; i < infer4->scheduler->residencies.capacity; i++) {
    offers += infer4->holders.holders[i].offer.is_linked;
  }
  for (uint32_t i = 0; i < infer4->scheduler->gpus.capacity; i++) {
    offer_queue_validate(&infer4->offers[i], &infer4->holders);
    offers -= infer4->offers[i].count;
  }
  CHECK_EQ(offers, 0);
  offers_validate(&infer4->holders);
  demand_validate(&infer4->demand);
}

static struct instant infer4_wakeup(const void *self) {
  const struct infer4 *infer4 = self;
  return instant_min((struct instant){tournament_first_key(&infer4->ready)},
                     demand_wakeup(&infer4->demand));
}

const struct policy policy_infer4 = {
    .name = "infer4",
    .summary = "the published Clockwork scheduler: the most urgent batch first",
    .keeps_deadlines = true,
    .init = infer4_init,
    .expect = infer4_expect,
    .on_model_added = infer4_on_model_added,
    .on_queued = infer4_on_queued,
    .on_dequeued = infer4_on_dequeued,
    .on_loading = infer4_on_loading,
    .on_loaded = infer4_on_loaded,
    .on_unloaded = infer4_on_unloaded,
    .on_gpu_up = infer4_on_gpu_up,
    .on_gpu_lost = infer4_on_gpu_lost,
    .on_gpu_progress = infer4_on_gpu_progress,
    .plan = infer4_plan,
    .wakeup = infer4_wakeup,
    .validate = infer4_validate,
};
