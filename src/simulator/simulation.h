/* A whole cluster in virtual time: one client, one controller, workers, and the network between.
 *
 * Everything that decides is production code: workload/, scheduler/, executor/ and
 * backend/emulated/, driven by the nodes of this folder as the programs client, controller and
 * worker drive them. A run is a function of its configuration: same configuration, same trace hash.
 *
 * Thread: one owner.
 */
#ifndef CLOCKWORK_SIMULATOR_SIMULATION_H
#define CLOCKWORK_SIMULATOR_SIMULATION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "os/error_text.h"
#include "scheduler/scheduler.h"
#include "simulator/client_node.h"
#include "simulator/controller_node.h"
#include "simulator/observer.h"
#include "simulator/worker_node.h"
#include "workload/workload.h"

/* Virtual time begins here, so that clocks that are behind still show no negative time, ... */
#define SIMULATION_BEGIN_S 3600
/* ... workers have joined a second later, when the workload begins, ... */
#define SIMULATION_JOIN_S 1
/* ... and this is what telemetry calls the workload's first moment, whatever day it is: 2020-09-01
 * 00:00 UTC. */
#define SIMULATION_EPOCH_S INT64_C(1598918400)

enum {
  SIMULATION_WORKERS_MAX = 16384,
  SIMULATION_GPUS_MAX = 65536, /* all workers together */
  /* Events beside those of the nodes: for who makes things fail. */
  SIMULATION_EVENTS_MORE = 64,
};

struct simulation_config {
  struct workload_config workload;   /* with its trace */
  struct workload *begun;            /* taken up where it is, borrowed; NULL: `workload` from 0 */
  struct instant begun_at;           /* how far it is */
  struct duration duration;          /* of the workload, from there */
  double slo_factor;                 /* of every request; 0: the workload's */
  struct scheduler_config scheduler; /* limits.requests is kept, the others are derived */
  uint32_t workers_count;
  uint32_t gpus_per_worker;
  uint32_t pages;                   /* of a GPU */
  const struct model_spec *profile; /* borrowed, profile_count rows */
  uint32_t profile_count;
  uint64_t seed; /* of noise, network, clocks; the workload has its own */
  uint32_t execute_jitter_ppm;
  uint32_t transfer_jitter_ppm;
  struct duration latency;
  struct duration jitter;
  uint64_t ps_per_byte;
  bool generates_inputs;
  /* A worker's clock is off by a draw, uniform in +- these. */
  struct duration skew;
  uint32_t drift_ppb;
  /* Mean time between two changes of one GPU's clock, to a draw between CLOCK_LOWEST_PERCENT and
   * 100 percent of the profile's; 0: it stays. */
  struct duration clock_change;
  /* Machines and connections can fail (see the nodes), and this one looks on (NULL: nobody). Then
   * the run does not end with the workload: events go on until events.is_over is set. */
  bool can_fail;
  const struct observer *observer;
};

struct simulation;

/* ERR_NOT_FOUND: the profile lacks a model of the workload; ERR_RANGE: a limit; ERR_NO_MEMORY.
 * `ret_error` says which, and the mend. */
MUST_USE enum err simulation_create(const struct simulation_config *config,
                                    const struct telemetry_sink *telemetry,
                                    struct simulation **ret_simulation,
                                    struct error_text *ret_error);

/* Accepts NULL. */
void simulation_destroy(struct simulation *simulation);

/* Run at most `events_max` events. False: the workload is over and all is answered. After its end a
 * workload is given a minute for its answers, or more under a policy that keeps no deadlines; a
 * request that has none by then is a bug (CHECK). */
bool simulation_run(struct simulation *simulation, uint64_t events_max);

/* Time since the workload began; negative before. */
struct duration simulation_elapsed(const struct simulation *simulation);

/* Its parts, for who makes them fail. */
struct events *simulation_events(struct simulation *simulation);
struct client_node *simulation_client(struct simulation *simulation);
struct controller_node *simulation_controller(struct simulation *simulation);
struct worker_node *simulation_worker(struct simulation *simulation, uint32_t worker_id);
/* When the workload begins. */
struct instant simulation_start(const struct simulation *simulation);

const struct model_spec *simulation_model(const struct simulation *simulation, uint32_t model_id);
uint32_t simulation_models_count(const struct simulation *simulation);

/* Execution time of a request in the batch size that takes the least of it, of those in use. */
int64_t simulation_best_ns(const struct model_spec *spec, const struct scheduler_config *scheduler);

struct simulation_counts {
  struct scheduler_counts scheduler;
  uint64_t events;
  uint64_t requests_sent; /* by the client */
  uint64_t trace_hash;
  const struct histogram *client_latency; /* as long as the simulation */
};

void simulation_counts(const struct simulation *simulation, struct simulation_counts *ret_counts);

#endif
