/* What a seed stands for: a cluster, a workload, and what goes wrong when.
 *
 * A plan is a function of its seed, of the profile and of the policies there are; every purpose has
 * a stream of random numbers of its own.
 *
 * A run has five parts. WARM: caches fill. LEVEL: goodput is measured, nothing fails. FAULTS: each
 * begins and ends in here. RECOVERY: a stated time in which goodput must come back. AGAIN: goodput
 * is measured again.
 */
#ifndef CLOCKWORK_SIMULATOR_FAULTS_PLAN_H
#define CLOCKWORK_SIMULATOR_FAULTS_PLAN_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "model/model.h"
#include "os/error_text.h"

/* Seconds of each part. RECOVERY is what a controller needs at worst after the last fault: 3 s
 * until a silent worker is given up, 3.5 s until it is connected again and read (2 s to find an
 * attempt hopeless, 1 s of pause, half a second of tick), 10 s until an estimate that is too long
 * is forgotten (SCHEDULER_ESTIMATE_LIFETIME), which run beside each other, and what its GPUs lost
 * loaded anew. */
enum {
  PLAN_WARM_S = 3,
  PLAN_LEVEL_S = 5,
  PLAN_FAULTS_S = 9,
  PLAN_RECOVERY_S = 15,
  PLAN_AGAIN_S = 5,
  PLAN_LENGTH_S = PLAN_WARM_S + PLAN_LEVEL_S + PLAN_FAULTS_S + PLAN_RECOVERY_S + PLAN_AGAIN_S,
};

/* kind, its word, and what it takes: w(orker), g(pu), a(mount), d(uration). */
#define FAULT_KINDS(X)                                                                             \
  X(FAULT_CRASH, "crash", "wd")           /* the process; returns with nothing in memory */        \
  X(FAULT_CRASH_MACHINE, "machine", "wd") /* and its machine: nobody is told */                    \
  X(FAULT_HANG, "hang", "wd")             /* the process does not run */                           \
  X(FAULT_PAUSE, "pause", "wd")           /* nor its clock: a virtual machine is moved */          \
  X(FAULT_LEAP, "leap", "wa")             /* its clock leaps ahead by ms */                        \
  X(FAULT_BREAK, "break", "w")            /* the connection ends; both live */                     \
  X(FAULT_PARTITION, "partition", "wd")   /* nothing gets through, then all of it */               \
  X(FAULT_SLOW, "slow", "wgad")           /* executions take `amount` thousandths, unreported */   \
  X(FAULT_CLOCK, "clock", "wgad")         /* the GPU's clock: percent of its own */                \
  X(FAULT_STALL, "stall", "wga")          /* the next transfer of weights takes ms longer */       \
  X(FAULT_BAD_LOADS, "bad-loads", "wgd")  /* LOADs fail */                                         \
  X(FAULT_BAD_RUNS, "bad-runs", "wgd")    /* executions fail */                                    \
  X(FAULT_CONTROLLER, "controller", "d")  /* restarts; knows nothing */                            \
  X(FAULT_CONTROLLER_HANG, "controller-hang", "d")                                                 \
  X(FAULT_VANISH, "vanish", "d") /* the client, and what it waits for */                           \
  X(FAULT_FLOOD, "flood", "ad")  /* `amount` more requests a millisecond */                        \
  X(FAULT_CLIENT_PARTITION, "client-partition", "d")                                               \
  X(FAULT_GPU_LOST, "gpu-lost", "wgd") /* until the process is started anew */

enum fault_kind {
#define FAULT_ENUM_(name, word, takes) name,
  FAULT_KINDS(FAULT_ENUM_)
#undef FAULT_ENUM_
      FAULT_KINDS_COUNT,
};

struct fault {
  enum fault_kind kind;
  struct duration at; /* since the workload began */
  struct duration lasts;
  uint32_t worker;
  uint32_t gpu;
  uint32_t amount;
};

enum { PLAN_FAULTS_MAX = 12, PLAN_WORKLOAD_BYTES = 160 };

struct fault_plan {
  uint64_t seed;
  char workload[PLAN_WORKLOAD_BYTES]; /* as for simulate --workload */
  const char *policy;                 /* a name in the registry */
  uint32_t workers;
  uint32_t gpus; /* of each */
  uint32_t pages;
  uint32_t requests_max; /* that the scheduler takes at once */
  struct duration latency;
  struct duration jitter;
  struct duration skew;
  uint32_t drift_ppb;
  uint32_t execute_jitter_ppm;
  bool is_steady;    /* the load is the same all the time: goodput can be compared */
  bool is_open_loop; /* and does not depend on answers */
  struct fault faults[PLAN_FAULTS_MAX];
  uint32_t faults_count;
};

/* `load_rps`: of "azure 1 1 1 1" on the day at hand. `policy` NULL: drawn, too. */
void plan_draw(struct fault_plan *plan, uint64_t seed, const struct model_spec *profile,
               uint32_t profile_count, double load_rps, const char *policy);

/* "KIND [worker=N] [gpu=N] [amount=N] [at=S] [for=S]", S in seconds, as plan_print() writes them.
 * False: *ret_error says what is wrong with it. Worker and GPU must be the plan's. */
bool plan_parse_fault(const struct fault_plan *plan, const char *text, struct fault *ret_fault,
                      struct error_text *ret_error);

void plan_describe_fault(const struct fault *fault, char *ret_text, size_t capacity_bytes);

void plan_print(const struct fault_plan *plan, FILE *file);

const char *fault_kind_text(enum fault_kind kind);

/* When the last one ends, since the workload began. 0: there is none. */
struct duration plan_last_end(const struct fault_plan *plan);

#endif
