/* What the scheduler knows: models, GPUs, weights on GPUs, requests, actions under way.
 *
 * Shared by the files of this folder and by the policies; beside them only checkers of tests and of
 * the simulator read it. Policies read all of it and
 * change it only through the functions of policy.h.
 */
#ifndef CLOCKWORK_SCHEDULER_STATE_H
#define CLOCKWORK_SCHEDULER_STATE_H

#include "base/heap.h"
#include "base/list.h"
#include "base/pool.h"
#include "base/ring.h"
#include "base/table.h"
#include "base/tournament.h"
#include "base/tree.h"
#include "model/estimate.h"
#include "scheduler/scheduler.h"

enum {
  /* LOADs of one GPU under way at once: one on the link, one waiting behind it. */
  SCHEDULER_LOADS_PER_GPU = 2,
  /* Actions of one GPU under way at once. Within schedule_ahead (10 ms) the shortest model of the
   * V100 profiles (0.95 ms) runs ten times; evictions come on top. A full GPU just waits. */
  SCHEDULER_ACTIONS_PER_GPU = 48,
  /* Actions returned by one next_actions(), so that their tags have a fixed place. */
  SCHEDULER_ACTIONS_PER_CALL = 64,
};

/* The published system's constants (clockwork-behaviour: the INFER4 scheduler). */
#define SCHEDULER_SAFETY_BUFFER duration_ms(5)     /* aim this much before the SLO */
#define SCHEDULER_LATE_LIMIT duration_ms(10)       /* a GPU that is later gets nothing new */
#define SCHEDULER_NETWORK_ALLOWANCE duration_ms(1) /* for an action to reach its worker */

/* An estimate above the model's profile is believed this long after the last measurement of its
 * batch size.
 * Else one accident (a host that stood still for a second) would make every deadline seem out of
 * reach, so nothing would run and nothing would be measured, for ever. */
#define SCHEDULER_ESTIMATE_LIFETIME duration_s(10)

/* A request that this many actions failed to serve is answered with an error. */
enum { SCHEDULER_ATTEMPTS_MAX = 8 };

struct residency;
struct action;

/* What is known of how long a batch takes. */
struct measurements {
  struct estimate_window window;
  struct instant last; /* when the estimate last changed */
};

/* By cache lines: with thousands of models each is far from the processor when its turn comes. The
 * first three are what a request touches; what only measurements touch comes last. */
struct model {
  _Alignas(64) struct tree queue; /* of requests, by target */
  struct list residencies;        /* of struct residency that are LOADING or LOADED, in turns */
  uint32_t model_id;
  bool is_known;        /* added and not removed */
  uint8_t kinds_usable; /* batch kinds within max_exec and max_batch, at least 1 */
  uint32_t residencies_count;
  uint32_t loaded_count;
  struct estimate execute[MODEL_BATCH_KINDS];
  struct estimate load;
  struct instant estimates_expire; /* when to look for those of `execute` that are too old */
  struct model_spec spec;
  uint32_t references_count;                       /* residencies in any state */
  struct measurements measured[MODEL_BATCH_KINDS]; /* of `execute` */
  struct estimate_window load_window;
};

/* Those of a model that a request touches. */
enum { MODEL_REQUEST_BYTES = 192 };

/* By cache lines: the first is what choosing a GPU looks at. */
struct gpu {
  uint32_t gpu_id; /* index in the pool of GPUs */
  uint32_t clock_mhz;
  uint32_t infers_count;
  uint32_t actions_count;
  /* Predictions. */
  struct instant free_at;    /* when one more could begin after `infers` */
  struct instant infer_due;  /* when the first of `infers` is done; INSTANT_NEVER: there is none */
  struct instant load_due;   /* the same of `loads` */
  struct duration start_lag; /* smoothed: action sent until begin, on an idle GPU */
  struct duration gap;       /* smoothed: end of one execution until begin of the next in line */
  struct instant last_end;   /* of the last execution that was reported */
  struct instant last_sent;  /* of an INFER */
  struct duration infers_expected; /* sum over `infers` */
  struct list infers;              /* of struct action under way, in the order they were sent */
  /* All of them: first the UNWANTED, then the least recently used, last those that are EVICTING or
   * MISSING. */
  struct list residencies;
  int64_t pages_free; /* below 0 only while a failed eviction is being undone */
  uint32_t pages;
  uint32_t worker_id;
  uint32_t gpu_index; /* of that worker */
  uint32_t loads_count;
  struct list loads;               /* of struct action under way, in the order they were sent */
  struct instant load_free_at;     /* predicted: when one more could begin after `loads` */
  int64_t load_millionths;         /* smoothed: what a LOAD took of what its model's profile says */
  struct instant load_pause_until; /* no LOAD before: the last ones were refused */
  uint32_t loads_refused_count;    /* in a row */
  struct list evicts;              /* of struct action under way */
  struct list of_worker;           /* in worker->gpus */
};

enum residency_state {
  RESIDENCY_LOADING,
  RESIDENCY_LOADED,
  RESIDENCY_UNWANTED, /* of a model that is not known (any more): leaves once it is idle */
  RESIDENCY_EVICTING, /* the pages count as free; kept until the worker confirms */
  RESIDENCY_MISSING,  /* the worker says it is not there; kept while work refers to it */
};

/* A model's weights on a GPU. */
struct residency {
  enum residency_state state;
  uint32_t infers_count; /* under way */
  struct model *model;
  struct gpu *gpu;
  struct list of_model; /* in model->residencies while LOADING or LOADED */
  struct list of_gpu;   /* in gpu->residencies */
};

/* A slot of its pool is two cache lines. The first is what queues are searched by. */
struct request {
  union {
    struct tree_node of_queue;     /* QUEUED: linked */
    struct request *next_of_batch; /* RUNNING: of its action, NULL for the last */
  };
  struct model *model;
  struct instant target;   /* what is aimed at: the deadline less the safety buffer */
  struct instant deadline; /* arrival + SLO */
  struct instant arrived;
  uint64_t sequence; /* of arrival: ties are broken by it; at most TREE_TIE_MAX */
  uint64_t tag;
  uint64_t request_id;
  double slo_factor;
  uint32_t user_id;
  uint32_t arrival_count : 24;
  uint32_t attempts_count : 8; /* actions that carried it and failed */
};

static inline bool request_is_queued(const struct request *request) {
  return request->of_queue.is_linked;
}

/* A slot of its pool is two cache lines. The first is what predictions and results look at. */
struct action {
  struct list of_gpu;       /* in gpu->infers, gpu->loads or gpu->evicts */
  struct duration expected; /* duration */
  struct instant sent;
  struct residency *residency;
  struct request *first_request; /* the others follow by next_of_batch */
  uint8_t type;                  /* enum action_type */
  uint8_t batch_size;
  uint8_t requests_count;
  bool was_idle : 1; /* the GPU had nothing under way when it was sent */
  bool is_out : 1;   /* next_actions() has returned it */
  uint32_t clock_mhz;
  uint64_t action_id;
  struct list of_scheduler;    /* in scheduler->under_way */
  struct instant expected_end; /* as predicted when it was sent */
  struct instant earliest;
  struct instant latest;
  uint32_t requests_queued; /* telemetry: of the model, when it was made */
  uint32_t copies_loaded;
};

struct worker {
  bool is_up;
  struct list gpus;
};

struct policy;

struct scheduler {
  struct scheduler_config config;
  struct scheduler_sink sink;
  const struct policy *policy;
  void *policy_state;
  bool is_in_sink;
  struct instant now; /* the latest seen */
  uint64_t next_sequence;
  struct model *models;    /* by model id */
  struct worker *workers;  /* by worker id */
  struct pool gpus;        /* of struct gpu */
  struct pool residencies; /* of struct residency */
  struct pool requests;    /* of struct request */
  struct pool actions;     /* of struct action */
  struct table residency_by_model_and_gpu;
  struct tournament expiry; /* by model id: when its first request becomes hopeless */
  struct list under_way;    /* of struct action, in the order they were made */
  struct ring outbox;       /* of action ids, to be returned by next_actions() */
  uint32_t plan_room;       /* actions that this next_actions() can still take */
  uint64_t tags[SCHEDULER_ACTIONS_PER_CALL][MODEL_BATCH_MAX]; /* of the actions returned last */
  struct scheduler_counts counts;
};

/* ---- gpu.c: when will a GPU be free? ----------------------------------------------------------
 */

void gpu_init(struct gpu *gpu, struct instant now);

/* When an INFER sent now is predicted to begin: after what is under way, and not before it has
 * reached the worker. */
struct instant gpu_predicted_start(const struct gpu *gpu, struct instant now);

/* The start that a guarantee may build on: the same with at least the network allowance. */
struct instant gpu_guaranteed_start(const struct gpu *gpu, struct instant now);

/* When it is predicted to have run all it was given; in the past when idle. Later by as much as the
 * execution under way is overdue. */
struct instant gpu_free_at(const struct gpu *gpu, struct instant now);

/* Whether the execution or the transfer under way is later than SCHEDULER_LATE_LIMIT. */
bool gpu_is_late(const struct gpu *gpu, struct instant now);

void gpu_on_infer_sent(struct gpu *gpu, struct instant now, struct action *action);
/* A result, or the loss of the action: then `result` is NULL. Predictions of what is left are made
 * anew: O(1), or O(actions under way) where one of them may not have reached the worker yet. */
void gpu_on_infer_done(struct gpu *gpu, struct instant now, struct action *action,
                       const struct scheduler_result *result);
struct instant gpu_predicted_load_start(const struct gpu *gpu, struct instant now);
void gpu_on_load_sent(struct gpu *gpu, struct instant now, struct action *action);
/* What a LOAD will take that was never measured: its profile says `prior`, which the last LOADs of
 * other models on this GPU passed or fell short of alike, as a link shared with inputs makes them.
 */
struct duration gpu_first_load(const struct gpu *gpu, struct duration prior);
/* One that its profile expected to take `prior` took `measured`. */
void gpu_on_load_measured(struct gpu *gpu, struct duration prior, struct duration measured);
void gpu_on_load_done(struct gpu *gpu, struct instant now, struct action *action,
                      const struct scheduler_result *result);

/* ---- requests.c: queues, expiry, answers ------------------------------------------------------
 */

/* Answer and forget; the request must not stand in a queue. */
void request_answer(struct scheduler *scheduler, struct request *request,
                    enum request_result result, uint64_t action_id, uint32_t batch_index);
/* Out of its model's queue; tells the policy. */
void request_dequeue(struct scheduler *scheduler, struct request *request);
/* A request whose action failed: queue it again if it can still make it, else answer. */
void request_retry(struct scheduler *scheduler, struct request *request);
/* When the model's first queued request becomes hopeless: after the queue's head or the estimate of
 * batch 1 changed. */
void requests_update_expiry(struct scheduler *scheduler, struct model *model);
/* Answer all queued requests that can no longer make it. */
void requests_expire(struct scheduler *scheduler);

/* ---- residency.c: weights on GPUs -------------------------------------------------------------
 */

struct residency *residency_find(const struct scheduler *scheduler, const struct model *model,
                                 const struct gpu *gpu);
/* LOADING, LOADED or UNWANTED. NULL when limits.residencies are in use. */
struct residency *residency_create(struct scheduler *scheduler, struct model *model,
                                   struct gpu *gpu, enum residency_state state);
void residency_on_loaded(struct scheduler *scheduler, struct residency *residency);
/* LOADED weights whose model is not known any more: no new work, and out when idle. */
void residency_on_unwanted(struct scheduler *scheduler, struct residency *residency);
/* Pages count as free, no new work. */
void residency_begin_evict(struct scheduler *scheduler, struct residency *residency);
/* The worker refused: it is there after all. */
void residency_undo_evict(struct scheduler *scheduler, struct residency *residency);
/* The worker has no such weights, against our belief. */
void residency_on_missing(struct scheduler *scheduler, struct residency *residency);
/* Gone, from whatever state; no action refers to it. */
void residency_destroy(struct scheduler *scheduler, struct residency *residency);
/* Send the evictions of what is UNWANTED and idle, as far as the GPU may have more actions. */
void residencies_evict_unwanted(struct scheduler *scheduler, struct gpu *gpu);

/* ---- actions.c --------------------------------------------------------------------------------
 */

/* Whether this GPU may have `count` more actions under way. */
bool action_is_possible(const struct gpu *gpu, uint32_t count);
/* A new one, into the outbox; action_is_possible() must hold. `expected` and the window are still
 * to be set by the caller. */
struct action *action_create(struct scheduler *scheduler, enum action_type type,
                             struct residency *residency);
/* The eviction of an idle LOADED or UNWANTED residency, as an action; one must be possible. */
void action_send_evict(struct scheduler *scheduler, struct residency *residency);
/* The row for telemetry. `result` is NULL when the worker was lost. */
void action_report(struct scheduler *scheduler, const struct action *action,
                   const struct scheduler_result *result, uint32_t requests_in_time);

#endif
