/* A model of a cluster in virtual time: workers that do what scheduler/ tells them, as real ones
 * would, and the clients' side of every request.
 *
 * A GPU has two engines, one for executions and one for transfers, each taking its actions in the
 * order they came. An action is refused when its window has passed (51, 61, 81), when pages lack
 * (53), when weights are not there (82, 63), there already (21) or in use (22). Between scheduler
 * and worker lies a network with a fixed delay each way.
 *
 * What must never happen whatever the scheduler is told is CHECKed here: an action for nobody, an
 * empty window, a request that is answered twice. What happens only if the scheduler errs is
 * counted: see `refusals` and `counts`.
 *
 * Time stands still except in cluster_run_until() and cluster_step().
 */
#ifndef CLOCKWORK_TESTS_SUPPORT_CLUSTER_H
#define CLOCKWORK_TESTS_SUPPORT_CLUSTER_H

#include "base/heap.h"
#include "base/list.h"
#include "base/pool.h"
#include "base/prng.h"
#include "scheduler/scheduler.h"

enum {
  CLUSTER_STATUSES = 100,
  CLUSTER_GPUS_PER_WORKER = 8,
};

struct cluster_options {
  struct scheduler_config config;
  uint64_t seed;
  struct duration network;  /* each way */
  double jitter;            /* standard deviation of a duration, as a share of it */
  uint32_t actions;         /* room for actions under way */
  uint64_t requests_logged; /* room for answers to look at; tags beyond are only counted */
  uint32_t actions_logged;
  uint32_t rows_logged; /* telemetry, of each kind */
};

struct cluster_gpu_options {
  uint32_t pages;
  uint32_t clock_mhz;
};

struct cluster_answer {
  bool is_answered;
  struct scheduler_answer answer;
  struct instant at;
};

enum cluster_stage {
  CLUSTER_STAGE_TRAVELLING,
  CLUSTER_STAGE_WAITING,
  CLUSTER_STAGE_RUNNING,
  CLUSTER_STAGE_RETURNING,
};

struct cluster_action {
  struct heap_node node; /* in cluster->events unless WAITING */
  struct list of_queue;  /* in a GPU's queue while WAITING */
  enum cluster_stage stage;
  uint64_t session; /* of the worker's connection: what belongs to an older one is dropped */
  struct scheduler_action action;
  struct scheduler_result result;
};

struct cluster_gpu {
  uint32_t pages;
  uint32_t pages_used;
  uint32_t clock_mhz;
  bool *is_resident; /* by model id */
  uint32_t *in_use;  /* by model id: INFERs and LOADs waiting or running */
  struct list executions;
  struct list transfers;
  bool is_executing;
  bool is_transferring;
};

struct cluster_worker {
  bool is_up;
  bool is_hung; /* takes actions, runs them, and says nothing */
  uint64_t session;
  uint32_t gpus_count;
  struct cluster_gpu gpus[CLUSTER_GPUS_PER_WORKER];
};

struct cluster_counts {
  uint64_t requests;
  uint64_t answers;
  uint64_t in_time; /* success within the request's SLO */
  uint64_t late;
  uint64_t infers;
  uint64_t infer_requests;
  uint64_t loads;
  uint64_t evicts;
  uint64_t execute_ns;
};

struct cluster {
  struct cluster_options options;
  struct scheduler *scheduler;
  void *memory;
  struct instant now;
  struct prng prng;
  struct model_spec *specs; /* by model id */
  struct cluster_worker *workers;
  void *arena_memory;
  struct pool actions;
  struct heap events;
  uint64_t next_sequence;
  uint64_t next_tag;
  struct cluster_answer *answers; /* by tag */
  struct scheduler_action *log;   /* request_tags is NULL in it */
  uint32_t log_count;
  struct telemetry_request *request_rows;
  uint32_t request_rows_count;
  struct telemetry_action *action_rows;
  uint32_t action_rows_count;
  uint64_t refusals[CLUSTER_STATUSES];
  struct cluster_counts counts;
  /* The next action of a type ends with this status instead of running; 0: it runs. */
  enum action_status fail_next[4];
};

void cluster_options_defaults(struct cluster_options *options);

struct cluster *cluster_create(const struct cluster_options *options);
void cluster_destroy(struct cluster *cluster);

/* The worker joins, empty, with GPUs as told; or with what it holds if it was there before. */
void cluster_worker_up(struct cluster *cluster, uint32_t worker_id,
                       const struct cluster_gpu_options *gpus, uint32_t gpus_count);
void cluster_worker_back(struct cluster *cluster, uint32_t worker_id);
/* The connection breaks; what is under way is lost, weights stay. */
void cluster_worker_lost(struct cluster *cluster, uint32_t worker_id);

void cluster_add_model(struct cluster *cluster, uint32_t model_id, const struct model_spec *spec);

/* Returns the request's tag. next_actions() is not called: use cluster_step() to go on. */
uint64_t cluster_request(struct cluster *cluster, uint32_t model_id, double slo_factor);

/* Hand out what the scheduler wants done now. */
void cluster_act(struct cluster *cluster);

/* Let everything up to and including `until` happen; the time is `until` then. */
void cluster_run_until(struct cluster *cluster, struct instant until);
void cluster_run_for(struct cluster *cluster, struct duration time);

/* The answer to a logged request; not yet answered ones have is_answered = false. */
const struct cluster_answer *cluster_answer(const struct cluster *cluster, uint64_t tag);

/* The `index`th action of that type since the log began; NULL if there were fewer. */
const struct scheduler_action *cluster_logged(const struct cluster *cluster, enum action_type type,
                                              uint32_t index);
uint32_t cluster_logged_count(const struct cluster *cluster, enum action_type type);
void cluster_clear_log(struct cluster *cluster);

bool cluster_is_resident(const struct cluster *cluster, uint32_t worker_id, uint32_t gpu_index,
                         uint32_t model_id);

/* A model that takes these times; 0 for batch sizes it lacks. Clock 1,000 MHz. */
struct model_spec cluster_spec(uint32_t pages, int64_t load_us, const int64_t execute_us[5]);

/* resnet50_v2 of the V100 profiles: 7 pages, LOAD 8.32 ms, 2.73 4.05 5.87 9.93 17.3 ms. */
struct model_spec cluster_resnet50(void);

#endif
