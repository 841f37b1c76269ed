/* PRICED: the requests that GPU time is worth most to.
 *
 * A batch's yield is the number of requests it serves for each nanosecond of GPU time that it
 * takes. When not everything can be served, those with the highest yield should be, and the yield
 * of the last one that still fits is the price of GPU time: the shadow price of the relaxation that
 * workload-wide bounds are computed from (docs/policies.md). The policy learns it as it goes:
 *   - a request that had to be given up although its yield was above the price raises it;
 *   - a batch that was run although its yield was below lowers it, as a GPU without work does, and
 *     a little so does one that could have waited.
 * Where GPUs have time to spare the price falls to nothing and all that follows is earliest
 * deadline first.
 *
 * A GPU that will be free soon is given the first of
 *   1. ripe batches whose yield is at least the price, the one that must start first;
 *   2. other ripe batches, the one with the highest yield;
 *   3. batches that are not ripe, the one with the highest yield.
 * A batch is ripe when it must start soon: in the last RIPE_SHARE of the time that its oldest
 * request was given, or before the GPU would be free again if it ran its longest batch first; or
 * when time is ample. So a GPU never idles while it could work, but what gains from waiting, or
 * loses nothing by it, comes last: loose deadlines, even in full batches, never hold up tight ones
 * that are worth the price. A batch may be padded: three requests in a batch of four yield more
 * than two in a batch of two.
 *
 * A GPU is given work as late as its worker can still get it in time, not schedule_ahead before:
 * what is decided early is decided with fewer requests in the queue. LOADs follow demand
 * (scheduler/demand.h), most requests for its time first; who is asked of a model's many holders is
 * scheduler/offers.h's business.
 *
 * A model whose every batch yields less than the price is not served while that lasts. That is what
 * maximises goodput; who wants a share for each model must limit the others' requests.
 */
#include "base/check.h"
#include "scheduler/demand.h"
#include "scheduler/offers.h"
#include "scheduler/policy.h"

/* Yields are integers, in requests for this many nanoseconds: 16 requests in 1 us fit, and those of
 * an hour differ. */
#define YIELD_NS INT64_C(1000000000000000)

enum {
  /* A batch is ripe in the last quarter of its time. In `simulate` with the seed's workload at load
   * factors 0.2 to 1 a fifth to a third make no difference that shows; a tenth costs 3 % of
   * goodput, because a GPU that runs something else then comes too late. */
  RIPE_SHARE = 4,
  LONGEST_FADES = 16,
  /* The price moves by this part of the difference. Between a 10th and a 200th goodput stays within
   * 0.3 %. */
  PRICE_SMOOTHING = 50,
  /* It falls by this part with each batch that is not ripe. Without that, GPUs that are never idle
   * but never short of time keep a price, and leave what is cheap until something else is ripe too:
   * 9 GPUs then serve 99.94 % of the seed's mix at a quarter of its load, so all but 1 of 58,173. A
   * 50th serves all of them, and 0.5 % less on 6 GPUs at a fifth of the load. */
  EARLY_SMOOTHING = 200,
  /* Time is ample while the price is below this part of the yield of a batch of one. */
  AMPLE_SHARE = 20,
};

/* Where an offer stands on its GPU. */
enum offer_place {
  OFFER_NOWHERE,
  OFFER_RIPE,  /* by the latest start */
  OFFER_POOR,  /* ripe, below the price; by yield */
  OFFER_EARLY, /* not ripe; by yield, and in `ripening` by when it will be */
};

/* Beside the holder of the same number. */
struct priced_holder {
  _Alignas(64) struct pairing_node ripening;
  enum offer_place place;
};

/* Of struct offers_holder, the last of struct priced_holder; the tie is the model's id. */
struct priced_gpu {
  struct pairing ripe;
  struct pairing poor;
  struct pairing early;
  struct pairing ripening;
  struct duration longest_batch; /* of those sent lately: fades by 1 / LONGEST_FADES with each */
};

struct priced {
  struct scheduler *scheduler;
  struct demand demand;
  struct offers holders;
  struct priced_gpu *gpus;    /* by gpu id */
  struct priced_holder *more; /* by number of the holder */
  /* By gpu id, those that have offers and could take one: when they want work. */
  struct tournament ready;
  int64_t price; /* a yield, >= 0 */
};

static void *priced_init(struct arena *arena, struct scheduler *scheduler) {
  const struct scheduler_limits *limits = &scheduler->config.limits;
  struct priced counted;
  struct priced *priced = arena_take(arena, 1, sizeof(*priced));
  struct priced *built = priced != NULL ? priced : &counted;
  built->scheduler = scheduler;
  built->gpus = arena_take(arena, limits->gpus, sizeof(struct priced_gpu));
  built->more = arena_take(arena, limits->residencies, sizeof(struct priced_holder));
  tournament_init(&built->ready, arena, limits->gpus);
  demand_init(&built->demand, arena, scheduler, DEMAND_MOST_REQUESTS);
  offers_init(&built->holders, arena, scheduler);
  built->price = 0;
  return priced;
}

static struct priced_gpu *of_gpu(const struct priced *priced, const struct gpu *gpu) {
  return &priced->gpus[gpu->gpu_id];
}

static struct priced_holder *more_of(const struct priced *priced,
                                     const struct offers_holder *holder) {
  return &priced->more[holder - priced->holders.holders];
}

static struct model *model_of(const struct priced *priced, const struct offers_holder *offered) {
  return &priced->scheduler->models[offered->offer.tie];
}

/* ---- the price ------------------------------------------------------------------------------- */

static int64_t yield_of(uint32_t count, struct duration time) {
  return count * YIELD_NS / time.ns;
}

static void price_move(struct priced *priced, int64_t towards) {
  priced->price += (towards - priced->price) / PRICE_SMOOTHING;
}

/* The best that the model's queue would yield if all of it could still be served. */
static int64_t queue_yield(const struct model *model) {
  int64_t best = 0;
  for (uint32_t kind = 0; kind < model->kinds_usable; kind++) {
    const uint32_t size = model->spec.batch_sizes[kind];
    const uint32_t count = model->queue.count < size ? model->queue.count : size;
    const int64_t yield =
        yield_of(count, estimate_at(&model->execute[kind], model->spec.clock_mhz));
    best = yield > best ? yield : best;
  }
  return best;
}

static void priced_on_given_up(void *self, struct request *request) {
  struct priced *priced = self;
  const int64_t lost = queue_yield(request->model);
  if (lost > priced->price) {
    price_move(priced, lost);
  }
}

/* ---- the batch that a GPU could run next -------------------------------------------------------
 */

struct choice {
  uint32_t kind;
  uint32_t count;
  struct request *first; /* it and those after it */
  int64_t yield;
  struct instant latest; /* start */
};

/* How many of the requests from `first` on a batch of `size` takes. */
static uint32_t count_from(const struct tree_node *first, uint32_t size) {
  uint32_t count = 0;
  for (const struct tree_node *at = first; at != NULL && count < size; at = tree_next(at)) {
    count++;
  }
  return count;
}

/* The batch with the highest yield of those that meet every target when started at `start`.
 * Requests too old for it are passed over. False: it is too late for all. Cost O(kinds x (log queue
 * + batch)). */
static bool choose_batch(const struct model *model, const struct gpu *gpu, struct instant start,
                         struct choice *ret_choice) {
  ret_choice->yield = 0;
  for (uint32_t kind = 0; kind < model->kinds_usable; kind++) {
    const uint32_t size = model->spec.batch_sizes[kind];
    if (kind > 0 && model->spec.batch_sizes[kind - 1] >= model->queue.count) {
      break; /* the smaller one holds them all */
    }
    const struct duration estimate = policy_estimate(model, kind, gpu);
    const struct instant end = instant_add(start, estimate);
    struct tree_node *first = model->queue.first;
    uint32_t count = model->queue.count < size ? model->queue.count : size;
    if (first->key < end.ns) {
      first = tree_at_least(&model->queue, end.ns);
      count = count_from(first, size);
    }
    const int64_t yield = yield_of(count, estimate);
    if (yield > ret_choice->yield) {
      *ret_choice = (struct choice){.kind = kind,
                                    .count = count,
                                    .first = TREE_ENTRY(first, struct request, of_queue),
                                    .yield = yield};
      ret_choice->latest = instant_sub(ret_choice->first->target, estimate);
    }
  }
  return ret_choice->yield > 0;
}

/* When a batch becomes ripe, ample time aside. */
static struct instant ripe_at(const struct priced *priced, const struct gpu *gpu,
                              const struct choice *choice) {
  const struct duration given = instant_since(choice->first->target, choice->first->arrived);
  const struct duration share = {given.ns / RIPE_SHARE};
  return instant_sub(choice->latest, duration_max(share, of_gpu(priced, gpu)->longest_batch));
}

static bool is_ripe(const struct priced *priced, const struct model *model, const struct gpu *gpu,
                    const struct choice *choice, struct instant start) {
  const bool is_ample = priced->price < yield_of(1, policy_estimate(model, 0, gpu)) / AMPLE_SHARE;
  return is_ample || !instant_before(start, ripe_at(priced, gpu, choice));
}

/* ---- offers ---------------------------------------------------------------------------------- */

static uint32_t offers_of_gpu(const struct priced_gpu *entry) {
  return entry->ripe.count + entry->poor.count + entry->early.count;
}

/* A GPU is asked this long before it is free: an action takes up to the allowance to reach an idle
 * worker, and its inputs as long as they usually do. */
static struct duration lead_of(const struct gpu *gpu) {
  return duration_add(SCHEDULER_NETWORK_ALLOWANCE, gpu->start_lag);
}

/* The GPU takes part again: it has offers, and its predicted free time is known. */
static void ready_update(struct priced *priced, const struct gpu *gpu) {
  const bool has_offers = offers_of_gpu(of_gpu(priced, gpu)) > 0;
  const struct instant wants_work = instant_sub(gpu->free_at, lead_of(gpu));
  tournament_set(&priced->ready, gpu->gpu_id, has_offers ? wants_work.ns : INT64_MAX);
}

static struct pairing *order_of(struct priced_gpu *entry, enum offer_place place) {
  return place == OFFER_RIPE ? &entry->ripe : place == OFFER_POOR ? &entry->poor : &entry->early;
}

static void unplace(struct priced *priced, struct offers_holder *offered) {
  struct priced_gpu *of = of_gpu(priced, offered->gpu);
  struct priced_holder *more = more_of(priced, offered);
  pairing_remove(order_of(of, more->place), &offered->offer);
  if (more->place == OFFER_EARLY) {
    pairing_remove(&of->ripening, &more->ripening);
  }
  more->place = OFFER_NOWHERE;
}

static void place(struct priced *priced, const struct model *model, struct offers_holder *holder,
                  enum offer_place where, const struct choice *choice) {
  struct priced_gpu *of = of_gpu(priced, holder->gpu);
  struct priced_holder *more = more_of(priced, holder);
  const int64_t key = where == OFFER_RIPE ? choice->latest.ns : -choice->yield;
  pairing_insert(order_of(of, where), &holder->offer, key, model->model_id);
  if (where == OFFER_EARLY) {
    pairing_insert(&of->ripening, &more->ripening, ripe_at(priced, holder->gpu, choice).ns,
                   model->model_id);
  }
  more->place = where;
}

/* Put an offer where it belongs now. What is too late for this GPU stands first among the ripe and
 * is withdrawn when it is looked at. */
static void place_anew(struct priced *priced, const struct model *model,
                       struct offers_holder *holder) {
  const struct gpu *gpu = holder->gpu;
  const struct instant start = gpu_guaranteed_start(gpu, priced->scheduler->now);
  if (holder->offer.is_linked) {
    unplace(priced, holder);
  }
  struct choice choice;
  if (!choose_batch(model, gpu, start, &choice)) {
    choice.latest = (struct instant){model->queue.first->key};
    place(priced, model, holder, OFFER_RIPE, &choice);
  } else if (!is_ripe(priced, model, gpu, &choice, start)) {
    place(priced, model, holder, OFFER_EARLY, &choice);
  } else {
    place(priced, model, holder, choice.yield < priced->price ? OFFER_POOR : OFFER_RIPE, &choice);
  }
}

static void offer_make(struct priced *priced, const struct model *model,
                       struct offers_holder *holder) {
  offers_make(&priced->holders, model, holder);
  place_anew(priced, model, holder);
  ready_update(priced, holder->gpu);
}

static void offer_withdraw(struct priced *priced, struct offers_holder *offered) {
  const struct model *model = model_of(priced, offered);
  unplace(priced, offered);
  offers_withdraw(&priced->holders, model, offered);
}

/* Whether the GPU will take the model's oldest request as soon as it is asked. */
static bool takes_at_once(const void *self, const struct model *model, const struct gpu *gpu) {
  const struct priced *priced = self;
  const struct instant now = priced->scheduler->now;
  if (gpu->infers_count > 0 || offers_of_gpu(of_gpu(priced, gpu)) > 0 || gpu_is_late(gpu, now)) {
    return false;
  }
  const struct instant end =
      instant_add(gpu_guaranteed_start(gpu, now), policy_estimate(model, 0, gpu));
  return end.ns <= model->queue.first->key;
}

/* Offer to the next holder in the model's round; false if it is offered to all. */
static bool offer_to_next(struct priced *priced, const struct model *model) {
  struct offers_holder *next = offers_next(&priced->holders, model);
  if (next != NULL) {
    offer_make(priced, model, next);
  }
  return next != NULL;
}

/* ---- hooks ----------------------------------------------------------------------------------- */

static void priced_on_model_added(void *self, struct model *model) {
  struct priced *priced = self;
  offers_on_model_added(&priced->holders, model);
  demand_on_model_added(&priced->demand, model);
}

static void priced_expect(const void *self, const struct model *model, uint32_t step) {
  const struct priced *priced = self;
  const uint32_t model_id = (uint32_t)(model - priced->scheduler->models);
  offers_expect(&priced->holders, model_id, step);
  if (step == 0) {
    demand_expect(&priced->demand, model_id);
  }
}

static void priced_on_queued(void *self, struct request *request) {
  struct priced *priced = self;
  struct model *model = request->model;
  struct offers *holders = &priced->holders;
  demand_on_queued(&priced->demand, request);
  const bool is_first = model->queue.first == &request->of_queue;
  /* In between, padded batches yield a little more with every request: not worth a change of place
   * at each of them. What counts is looked at again when a GPU is about to take it. */
  const bool fills_a_batch =
      model_batch_kind(&model->spec, model->queue.count) < model->kinds_usable;
  if (is_first || fills_a_batch) {
    for (struct offers_holder *at = offers_first(holders, model); at != NULL;
         at = offers_after(holders, model, at)) {
      place_anew(priced, model, at);
    }
  }
  struct offers_holder *ready = offers_next_ready(holders, model, takes_at_once, priced);
  if (ready != NULL) {
    offer_make(priced, model, ready);
    return;
  }
  while (holders->models[model->model_id].offered_count < OFFERS && offer_to_next(priced, model)) {
  }
}

static void priced_on_dequeued(void *self, struct request *request) {
  struct priced *priced = self;
  demand_on_dequeued(&priced->demand, request);
}

static void priced_on_loading(void *self, struct residency *residency) {
  struct priced *priced = self;
  demand_on_loading(&priced->demand, residency);
}

static void priced_on_loaded(void *self, struct residency *residency) {
  struct priced *priced = self;
  offers_on_loaded(&priced->holders, residency);
  if (residency->model->queue.count > 0) {
    offer_make(priced, residency->model, offers_holder_of(&priced->holders, residency));
  }
}

static void priced_on_unloaded(void *self, struct residency *residency) {
  struct priced *priced = self;
  struct offers_holder *holder = offers_holder_of(&priced->holders, residency);
  if (holder->offer.is_linked) {
    offer_withdraw(priced, holder);
  }
  offers_on_unloaded(&priced->holders, residency);
  demand_on_unloaded(&priced->demand, residency);
}

static void priced_on_gpu_up(void *self, struct gpu *gpu) {
  struct priced *priced = self;
  CHECK_EQ(offers_of_gpu(of_gpu(priced, gpu)), 0);
  of_gpu(priced, gpu)->longest_batch = DURATION_ZERO;
  demand_on_gpu_up(&priced->demand, gpu);
}

static void priced_on_gpu_lost(void *self, struct gpu *gpu) {
  struct priced *priced = self;
  CHECK_EQ(offers_of_gpu(of_gpu(priced, gpu)), 0);
  tournament_set(&priced->ready, gpu->gpu_id, INT64_MAX);
  demand_on_gpu_lost(&priced->demand, gpu);
}

static void priced_on_gpu_progress(void *self, struct gpu *gpu) {
  struct priced *priced = self;
  ready_update(priced, gpu);
  if (gpu->infers_count == 0 && offers_of_gpu(of_gpu(priced, gpu)) == 0) {
    price_move(priced, 0); /* it idles */
  }
  demand_on_load_slots(&priced->demand, gpu);
  demand_resume(&priced->demand);
}

/* ---- giving out work ---------------------------------------------------------------------------
 */

static void ripen(struct priced *priced, struct priced_gpu *entry, struct instant start) {
  while (entry->ripening.first != NULL && entry->ripening.first->key <= start.ns) {
    const struct priced_holder *more =
        PAIRING_ENTRY(entry->ripening.first, const struct priced_holder, ripening);
    struct offers_holder *offered = &priced->holders.holders[more - priced->more];
    const struct model *model = model_of(priced, offered);
    if (model->queue.count == 0) {
      offer_withdraw(priced, offered); /* others have taken it all */
    } else {
      place_anew(priced, model, offered);
    }
  }
}

/* The first of the three orders; NULL if nothing is on offer. */
static struct offers_holder *first_offer(const struct priced_gpu *entry) {
  struct pairing_node *first = entry->ripe.first;
  first = first != NULL ? first : entry->poor.first;
  first = first != NULL ? first : entry->early.first;
  return first == NULL ? NULL : PAIRING_ENTRY(first, struct offers_holder, offer);
}

/* Whether the offer still stands as it was placed. Requests may have left since (for another GPU,
 * or given up) and the price may have risen. */
static bool is_placed_right(const struct priced *priced, const struct offers_holder *offered,
                            const struct choice *choice) {
  if (more_of(priced, offered)->place == OFFER_RIPE) {
    return choice->latest.ns <= offered->offer.key && choice->yield >= priced->price;
  }
  return -choice->yield <= offered->offer.key;
}

static bool send_batch(struct priced *priced, struct residency *residency,
                       const struct choice *choice) {
  struct request *batch[MODEL_BATCH_MAX];
  struct tree_node *at = &choice->first->of_queue;
  for (uint32_t i = 0; i < choice->count; i++) {
    batch[i] = TREE_ENTRY(at, struct request, of_queue);
    at = tree_next(at);
  }
  return policy_infer(priced->scheduler, residency, choice->kind, batch, choice->count);
}

static void on_sent(struct priced *priced, struct priced_gpu *entry, const struct choice *choice,
                    enum offer_place was, struct duration time) {
  const struct duration faded = {entry->longest_batch.ns - entry->longest_batch.ns / LONGEST_FADES};
  entry->longest_batch = duration_max(time, faded);
  if (choice->yield < priced->price) {
    price_move(priced, choice->yield);
  }
  if (was == OFFER_EARLY) {
    priced->price -= priced->price / EARLY_SMOOTHING;
  }
}

/* After a batch was sent. */
static void offer_renew(struct priced *priced, const struct model *model,
                        struct offers_holder *offered) {
  if (model->queue.count == 0) {
    offer_withdraw(priced, offered);
    return;
  }
  place_anew(priced, model, offered);
  /* More waits than this GPU took: as many GPUs more as it would fill. */
  const uint32_t largest = model->spec.batch_sizes[model->kinds_usable - 1];
  if (priced->holders.models[model->model_id].offered_count <
      OFFERS + model->queue.count / largest) {
    offer_to_next(priced, model);
  }
}

/* Give this GPU a batch. False: there is none, or it can't take more. */
static bool give_work(struct priced *priced, struct gpu *gpu) {
  struct priced_gpu *entry = of_gpu(priced, gpu);
  const struct instant start = gpu_guaranteed_start(gpu, priced->scheduler->now);
  ripen(priced, entry, start);
  struct offers_holder *offered = NULL;
  while ((offered = first_offer(entry)) != NULL) {
    const struct model *model = model_of(priced, offered);
    const struct priced_holder *more = more_of(priced, offered);
    struct choice choice;
    if (model->queue.count == 0 || !choose_batch(model, gpu, start, &choice)) {
      offer_withdraw(priced, offered);
      continue;
    }
    if (!is_placed_right(priced, offered, &choice)) {
      place_anew(priced, model, offered);
      if (first_offer(entry) != offered || more->place != OFFER_RIPE) {
        continue;
      }
    }
    if (!send_batch(priced, offers_residency_of(&priced->holders, offered), &choice)) {
      return false;
    }
    on_sent(priced, entry, &choice, more->place, policy_estimate(model, choice.kind, gpu));
    offer_renew(priced, model, offered);
    return true;
  }
  return false;
}

static bool wants_work(const struct priced *priced, const struct gpu *gpu) {
  const struct instant now = priced->scheduler->now;
  return instant_since(gpu_free_at(gpu, now), now).ns <= lead_of(gpu).ns && !gpu_is_late(gpu, now);
}

static void priced_plan(void *self) {
  struct priced *priced = self;
  const struct instant now = priced->scheduler->now;
  demand_expire(&priced->demand);
  while (tournament_first_key(&priced->ready) <= now.ns && policy_has_room(priced->scheduler, 1)) {
    struct gpu *gpu = pool_at(&priced->scheduler->gpus, tournament_first(&priced->ready));
    if (wants_work(priced, gpu) && give_work(priced, gpu)) {
      ready_update(priced, gpu);
    } else {
      /* Its next result, or its next offer, brings it back. */
      tournament_set(&priced->ready, gpu->gpu_id, INT64_MAX);
    }
  }
  demand_load(&priced->demand);
}

static struct instant priced_wakeup(const void *self) {
  const struct priced *priced = self;
  return instant_min((struct instant){tournament_first_key(&priced->ready)},
                     demand_wakeup(&priced->demand));
}

static void priced_validate(const void *self) {
  const struct priced *priced = self;
  CHECK_GE(priced->price, 0);
  uint32_t offers = 0;
  uint32_t early = 0;
  for (uint32_t i = 0; i < priced->scheduler->residencies.capacity; i++) {
    const struct priced_holder *more = &priced->more[i];
    const bool is_placed = more->place != OFFER_NOWHERE;
    CHECK_EQ(is_placed, priced->holders.holders[i].offer.is_linked);
    CHECK_EQ(more->place == OFFER_EARLY, more->ripening.is_linked);
    offers += is_placed;
    early += more->place == OFFER_EARLY;
  }
  for (uint32_t i = 0; i < priced->scheduler->gpus.capacity; i++) {
    offers -= offers_of_gpu(&priced->gpus[i]);
    early -= priced->gpus[i].ripening.count;
  }
  CHECK_EQ(offers, 0);
  CHECK_EQ(early, 0);
  offers_validate(&priced->holders);
  demand_validate(&priced->demand);
}

const struct policy policy_priced = {
    .name = "priced",
    .summary = "what GPU time is worth most to: the most requests in time",
    .keeps_deadlines = true,
    .estimates = ESTIMATE_MEDIAN,
    .init = priced_init,
    .expect = priced_expect,
    .on_model_added = priced_on_model_added,
    .on_queued = priced_on_queued,
    .on_dequeued = priced_on_dequeued,
    .on_given_up = priced_on_given_up,
    .on_loading = priced_on_loading,
    .on_loaded = priced_on_loaded,
    .on_unloaded = priced_on_unloaded,
    .on_gpu_up = priced_on_gpu_up,
    .on_gpu_lost = priced_on_gpu_lost,
    .on_gpu_progress = priced_on_gpu_progress,
    .plan = priced_plan,
    .wakeup = priced_wakeup,
    .validate = priced_validate,
};
