/* Demand: which models want more GPU time than the GPUs that hold them can give.
 *
 * A queued request counts while it is young enough for a LOAD to help it:
 *   window = min(DEMAND_WINDOW, SLO - transfer - execution - safety buffer), at least
 *            schedule_ahead
 * after its arrival (the floor keeps models with tight SLOs loadable: their first requests can't
 * profit, the ones after them can). Its demand is
 *   estimate(batch 1) / window
 * so the demands of one GPU's young requests reach 1 when they would keep it busy for the whole
 * window: more comes in than it can run, the queue grows. (The published system divides by the SLO
 * instead; with 100 ms and a window of 25 ms a GPU would then count as full only at four times what
 * it can run, and a model would stay on one overloaded GPU beside idle ones.)
 *
 * After its window a request whose model is nowhere still counts, as one that waits but for no
 * share of time, until a LOAD would be too late for it: what has long to live must not be forgotten
 * because its first LOAD failed, or because GPUs had no slot for it in time.
 *
 * Each request is charged to one GPU of those that hold its model or are loading it: the first with
 * time to spare, else the lightest, of DEMAND_HOLDERS that take turns, as long as that GPU's total
 * stays within its capacity of 1. What fits nowhere is the model's unserved demand, and that is its
 * LOAD priority (or what it amounts to in requests: enum demand_order). A GPU that is late serves
 * nobody, for all we know. Charging whole requests to the lightest of a few GPUs spreads demand in
 * proportion to how lightly each is loaded, as the published system does by recomputing shares over
 * all GPUs, at a cost that does not depend on their number.
 *
 * Pure; state beside the scheduler's. Cost of every call: O(log(requests + models + GPUs)), except
 * demand_on_loading/unloaded: O(queued requests of that model).
 */
#ifndef CLOCKWORK_SCHEDULER_DEMAND_H
#define CLOCKWORK_SCHEDULER_DEMAND_H

#include "scheduler/state.h"

enum {
  DEMAND_HOLDERS = 4, /* looked at to charge a request */
  DEMAND_CHOICES = 8, /* looked at to place a LOAD */
  /* A whole GPU, in the unit that demand is counted in. */
  DEMAND_CAPACITY = 1000000000,
  /* A GPU below this has time to spare for a model that another holds already. Well below the
   * capacity: under overload every GPU's charge wavers just below it, and a LOAD then only trades
   * one GPU's backlog for another's and splits the batches. In the model cluster of
   * tests/unit/scheduler/test_quality.c at twice its capacity: goodput +6 % and a quarter of the
   * LOADs, against no margin at all; a quarter is worse than a half again. */
  DEMAND_SPARE = DEMAND_CAPACITY / 2,
};

/* The published system's window for counting a request towards a LOAD. */
#define DEMAND_WINDOW duration_ms(25)

/* Which of the models with unserved demand is loaded first. */
enum demand_order {
  /* The one that lacks most GPU time: the published rule. Then those that only older requests wait
   * for. */
  DEMAND_MOST_TIME,
  /* The one with most unserved requests for each nanosecond that its transfer and a first execution
   * take: where not all can be served, the link is best spent on those that cost it least. Requests
   * that a LOAD can't help any more don't count although their window is not over, unless their SLO
   * is too tight for any LOAD; and a GPU is given its next LOAD when the last is nearly done, not
   * SCHEDULER_LOADS_PER_GPU at once. Of equals the one whose oldest request has most time left is
   * first: the oldest first serves 5 % fewer there. One GPU with 18 times as many models as fit
   * serves 1.7 and twice as many requests so at SLOs of 10 and 5 times batch 1, because their LOADs
   * are in time. */
  DEMAND_MOST_REQUESTS,
};

/* One cache line each, as is struct demand_model. */
struct demand_request {
  /* While it counts it has a place in demand->due or stands in demand->expiry. */
  _Alignas(64) uint64_t due_place; /* 0: none */
  struct heap_node expiry_node;
  struct list of_unserved; /* linked while charged to no GPU */
  int64_t share;           /* 0: its window is over, it only waits */
  struct model *model;
  struct gpu *gpu; /* charged to; NULL: unserved */
};

struct demand_model {
  _Alignas(64) struct list unserved_requests;
  int64_t unserved;
  uint32_t unserved_count;
  struct heap_node priority_node; /* in demand->priorities while unserved_count > 0 */
  struct list of_postponed;       /* linked while unserved_count > 0 and left out there */
};

struct demand_gpu {
  int64_t charged;
  uint64_t turn; /* of equally light GPUs the one that waited longest loads next */
  struct heap_node lightness_node; /* in demand->loadable while a LOAD slot is free */
  struct heap_node pause_node;     /* in demand->paused until it may be given LOADs again */
};

/* A place in the order in which requests cease to count. */
struct demand_due {
  struct instant until;
  struct demand_request *request; /* NULL: it ceased to before */
};

struct demand {
  struct scheduler *scheduler;
  enum demand_order order;
  struct demand_request *requests; /* by pool index */
  struct demand_model *models;     /* by model id */
  struct demand_gpu *gpus;         /* by gpu id */
  /* When requests no longer count. Nearly all have the same window, so they come in the order in
   * which they go: those stand in a ring, by their place in it. What is not the last of all, or
   * finds no room there, stands in a heap. */
  struct demand_due *due; /* a power of two of them, at least half the limit of requests */
  uint64_t due_mask;
  uint64_t due_first; /* places, from 1 on */
  uint64_t due_end;
  struct heap expiry;
  struct heap priorities; /* of models, by `order` */
  struct list postponed;  /* of models, the one that waited longest first */
  uint64_t next_turn;
  struct heap loadable; /* of GPUs, the lightest first */
  struct heap paused;   /* of GPUs, by when they may load again */
};

void demand_init(struct demand *demand, struct arena *arena, struct scheduler *scheduler,
                 enum demand_order order);
/* prefetch() what a request for this model will touch. */
void demand_expect(const struct demand *demand, uint32_t model_id);
/* The same for the end of its oldest request. */
void demand_expect_first(const struct demand *demand, const struct model *model);
void demand_on_model_added(struct demand *demand, struct model *model);
void demand_on_queued(struct demand *demand, struct request *request);
void demand_on_dequeued(struct demand *demand, struct request *request);
/* The model's unserved requests move to this GPU. */
void demand_on_loading(struct demand *demand, struct residency *residency);
/* What was charged to this GPU for that model is unserved again, or moves to others. */
void demand_on_unloaded(struct demand *demand, struct residency *residency);
void demand_on_gpu_up(struct demand *demand, struct gpu *gpu);
void demand_on_gpu_lost(struct demand *demand, struct gpu *gpu);
/* Its LOAD slots changed. */
void demand_on_load_slots(struct demand *demand, struct gpu *gpu);

/* Forget what no longer counts at scheduler->now (nothing has to wake up for that: less demand
 * never asks for an action), and end the pauses of GPUs. */
void demand_expire(struct demand *demand);

/* When the next pause ends; INSTANT_NEVER if none is on. O(1). */
struct instant demand_wakeup(const struct demand *demand);

/* Start the LOADs that demand asks for and GPUs have slots and room for. Of the DEMAND_CHOICES
 * lightest GPUs the first that needs no eviction is taken, else the first that can make room by
 * evicting what no queued request waits for. A model that is held somewhere already needs one with
 * capacity to spare. A model that finds no GPU is postponed until its demand grows or
 * demand_resume() gives it another try. */
void demand_load(struct demand *demand);

/* Something changed on the GPUs: one postponed model gets another try. O(log models). */
void demand_resume(struct demand *demand);

/* CHECK that all sums are right. O(everything). */
void demand_validate(const struct demand *demand);

#endif
