/* The controller's brain: decides what every GPU does and when, and answers every request once.
 *
 * Guarantees:
 *  - every accepted request gets exactly one answer, whatever happens to workers;
 *  - an INFER that next_actions() returns fits, under the estimates known at the call, the deadline
 *    of every request in it: its expected start + estimate(model, batch) <= that deadline, for
 *    every policy that keeps deadlines (policy.h);
 *  - a GPU is never given more weights than it has pages, a model is never told to execute on a GPU
 *    whose LOAD has not been confirmed, and weights with work outstanding are never evicted;
 *  - memory is fixed at init: a request beyond the limits is refused at once, nothing grows.
 *
 * Pure: time is an argument, actions and answers go out as data. The same code runs behind sockets
 * (controller/) and in virtual time. `now` must never decrease from call to call (an earlier one is
 * taken as the latest seen).
 *
 * Use: report events as they happen, then call next_actions() until it returns less than asked,
 * then sleep until the next event or wakeup().
 *
 * Thread: one owner. Cost of an event: O(log(models + GPUs + requests)), independent of how many
 * GPUs there are or how many of them hold the model. Exceptions, once a change of the cluster: a
 * worker that comes or goes costs O(what it holds).
 */
#ifndef CLOCKWORK_SCHEDULER_SCHEDULER_H
#define CLOCKWORK_SCHEDULER_SCHEDULER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/time.h"
#include "model/model.h"
#include "model/status.h"
#include "telemetry/telemetry.h"

struct scheduler_limits {
  uint32_t models;      /* model ids are below this */
  uint32_t workers;     /* worker ids are below this */
  uint32_t gpus;        /* at once, all workers together */
  uint32_t requests;    /* accepted and not answered yet */
  uint32_t residencies; /* weights on GPUs, at once: the sum of all GPUs' pages always suffices */
};

/* Defaults: scheduler_config_defaults(). */
struct scheduler_config {
  struct scheduler_limits limits;
  const char *policy; /* a name in the registry (policy.h) */
  /* A GPU is given work while it is predicted to be free within this time. */
  struct duration schedule_ahead;
  struct duration default_slo; /* for requests with slo_factor 0 */
  /* Batch sizes above 1 that run longer than this are not used. */
  struct duration max_exec;
  uint32_t max_batch;
  uint32_t max_gpus; /* GPUs beyond are left unused */
  /* Added to `now` for telemetry's wall-clock column. */
  int64_t wall_offset_ns;
};

void scheduler_config_defaults(struct scheduler_config *config);

/* The longest SLO of a request: a million hours, which leave room for a time of day in 64 bits of
 * nanoseconds. */
#define SCHEDULER_SLO_MAX duration_s(INT64_C(3600) * 1000000)

struct scheduler_request {
  uint64_t tag;        /* the shell's name for it: returned in the answer and in the actions */
  uint64_t request_id; /* for telemetry */
  uint32_t user_id;    /* for telemetry */
  uint32_t model_id;
  uint32_t batch_size; /* must be 1 */
  /* SLO as a multiple of the model's batch-1 execution time, at most SCHEDULER_SLO_MAX; 0: the
   * default SLO. */
  double slo_factor;
};

struct scheduler_answer {
  uint64_t tag;
  uint64_t request_id;
  enum request_result result;
  uint32_t model_id;
  /* On success: which action carried it and where in its batch, to find the output. Else 0. */
  uint64_t action_id;
  uint32_t batch_index;
  struct duration latency; /* since on_request() */
};

/* Where answers and telemetry go. Called from within scheduler_on_*() and next_actions(); must not
 * call back into the scheduler (CHECK). */
struct scheduler_sink {
  void *self;
  void (*on_answer)(void *self, const struct scheduler_answer *answer);
  struct telemetry_sink telemetry; /* its functions may be NULL: no telemetry */
};

/* A GPU of a worker that joins, as the worker's state says. */
struct scheduler_gpu {
  uint32_t pages; /* 0: none to be used, the worker has lost it */
  uint32_t clock_mhz;
  const uint32_t *resident_models; /* ids whose weights are wholly there */
  uint32_t resident_count;
};

struct scheduler_action {
  uint64_t action_id; /* never 0, never used twice */
  enum action_type type;
  uint32_t worker_id;
  uint32_t gpu_index; /* of that worker */
  uint32_t model_id;
  uint32_t batch_size;
  /* On our clock: the worker may start it within [earliest, latest]. */
  struct instant earliest;
  struct instant latest;
  /* INFER: tags of the requests, requests_count of them (<= batch_size, the rest of the batch is
   * padding). Valid until the next call. */
  const uint64_t *request_tags;
  uint32_t requests_count;
};

/* A worker's result, with all times already on our clock. */
struct scheduler_result {
  uint64_t action_id;
  enum action_status status;
  struct instant begin; /* of the execution (INFER) or the transfer (LOAD) */
  struct instant end;
  struct instant output_end; /* INFER */
  struct instant received;   /* by the worker */
  struct instant sent;       /* by the worker */
  uint32_t clock_before_mhz;
  uint32_t clock_after_mhz;
  /* INFER that failed: bit i, the input of request i can't be used. That request is answered
   * REQUEST_INVALID; the others of the batch go back to their queue and are not blamed. */
  uint64_t bad_inputs;
};

struct scheduler;

/* Whether that policy exists and the limits are within reason; else a text that says what is wrong
 * (static storage), NULL if all is well. */
const char *scheduler_config_fault(const struct scheduler_config *config);

/* Bytes that scheduler_init() needs. The config must be without fault. */
size_t scheduler_bytes(const struct scheduler_config *config);

/* `memory`: 64-byte aligned, zeroed, scheduler_bytes() long, the caller's. */
struct scheduler *scheduler_init(void *memory, const struct scheduler_config *config,
                                 const struct scheduler_sink *sink);

/* A client's request. Answered exactly once through the sink, possibly before this returns:
 * REQUEST_INVALID (no such model, batch size, slo_factor), REQUEST_CANNOT_START (its SLO can't be
 * met even by an idle GPU), REQUEST_SKIPPED (limits.requests are under way). Later:
 * REQUEST_SUCCESS, REQUEST_TIMEOUT as soon as it can't be started in time any more, REQUEST_INVALID
 * when the model is removed, REQUEST_ERROR when worker after worker failed to serve it. A request
 * whose action failed is tried again while time allows. What runs on a worker that says nothing is
 * answered when the shell reports the worker lost: it must, after a silence. */
void scheduler_on_request(struct scheduler *scheduler, struct instant now,
                          const struct scheduler_request *request);

/* Hints, for a shell that knows what it will report soon: memory that it will touch begins to come
 * (base/prefetch.h). In steps from 0 to SCHEDULER_EXPECT_STEPS - 1, each going on from what the one
 * before has brought, so with other work in between; steps may be left out at the end. No effect on
 * anything but time; any id is allowed. */
enum { SCHEDULER_EXPECT_STEPS = 4 };
void scheduler_expect_request(const struct scheduler *scheduler, uint32_t model_id, uint32_t step);
/* Returns the tag of a request that the result will answer, once a step has brought it in, so that
 * the shell can do the same with what it keeps of it; before, and if there is none, 0. */
uint64_t scheduler_expect_result(const struct scheduler *scheduler, uint64_t action_id,
                                 uint32_t step);

/* Every worker that is up holds this model in host memory now. False: the id is taken or out of
 * range, or the spec is not valid. */
bool scheduler_on_model_added(struct scheduler *scheduler, struct instant now, uint32_t model_id,
                              const struct model_spec *spec);

/* Its queued requests are answered with REQUEST_INVALID, its weights evicted: idle ones now, others
 * when their work is done. The id is taken until the last of them has left. No effect on an unknown
 * id. */
void scheduler_on_model_removed(struct scheduler *scheduler, struct instant now, uint32_t model_id);

/* A worker that holds every model joins with its GPUs. Resident models that are not known here, or
 * do not fit, are evicted first; ids beyond limits.models are passed over. ERR_EXISTS: that worker
 * is up already; ERR_RANGE: worker_id; ERR_FULL: more GPUs than limits.gpus, none was taken. */
MUST_USE enum err scheduler_on_worker_up(struct scheduler *scheduler, struct instant now,
                                         uint32_t worker_id, const struct scheduler_gpu *gpus,
                                         uint32_t gpus_count);

/* Its outstanding requests are scheduled anew where their deadlines allow, the others answered with
 * REQUEST_TIMEOUT. No effect on a worker that is not up. */
void scheduler_on_worker_lost(struct scheduler *scheduler, struct instant now, uint32_t worker_id);

/* The same for one GPU of a worker that is up; the others go on. No effect on a GPU that did not
 * join, or is lost already. */
void scheduler_on_gpu_lost(struct scheduler *scheduler, struct instant now, uint32_t worker_id,
                           uint32_t gpu_index);

/* Unknown or finished action ids are ignored: a result may cross with on_worker_lost() or
 * on_gpu_lost(). */
void scheduler_on_result(struct scheduler *scheduler, struct instant now,
                         const struct scheduler_result *result);

#define SCHEDULER_NO_WORKER UINT32_MAX

/* A worker that has kept the oldest action for `patience` longer than it could take, or
 * SCHEDULER_NO_WORKER. It may still answer pings; the shell should cut it off and report it lost,
 * or its requests wait for ever. O(1). */
uint32_t scheduler_stuck_worker(const struct scheduler *scheduler, struct instant now,
                                struct duration patience);

/* Evict this model's weights from every GPU where no work of it is outstanding; returns from how
 * many. The EVICT actions come out of next_actions(). */
uint32_t scheduler_on_evict(struct scheduler *scheduler, struct instant now, uint32_t model_id);

/* Actions to send now, at most `capacity`. */
uint32_t scheduler_next_actions(struct scheduler *scheduler, struct instant now,
                                struct scheduler_action *ret_actions, uint32_t capacity);

/* When next_actions() must be called again if nothing happens before: a GPU wants work, a request
 * becomes hopeless. After a call that returned less than asked this lies in the future; until then
 * no call would return an action or answer a request. INSTANT_NEVER if nothing waits for time. */
struct instant scheduler_wakeup(const struct scheduler *scheduler);

/* NULL if there is no such model. */
const struct model_spec *scheduler_model(const struct scheduler *scheduler, uint32_t model_id);

struct scheduler_counts {
  uint64_t requests;
  uint64_t answers_by_result[16]; /* by enum request_result */
  uint64_t answers_late;          /* success after the deadline */
  uint64_t infers;                /* actions sent */
  uint64_t infer_requests;        /* requests in them */
  uint64_t loads;
  uint64_t evicts;
  uint64_t actions_failed;
  uint64_t cold_starts;
  uint64_t gpus_lost;       /* by on_gpu_lost() */
  uint32_t requests_queued; /* now */
  uint32_t requests_running;
  uint32_t gpus;
  uint32_t models;
};

void scheduler_counts(const struct scheduler *scheduler, struct scheduler_counts *ret_counts);

/* Walk everything and CHECK the guarantees above. For tests: O(everything). */
void scheduler_validate(const struct scheduler *scheduler);

#endif
