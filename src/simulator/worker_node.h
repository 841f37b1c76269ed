/* A worker in virtual time: the production executor over the emulated backend, as worker/ runs
 * them, on a clock of its own.
 *
 * What worker/ does about controllers that come and go is done here, too: several connections at
 * once, a state that waits for transfers of controllers that are gone, results that nobody awaits
 * any more, models that a controller asks for. A process that has crashed begins anew with nothing
 * in memory; one that hangs has its messages kept by its kernel, which also accepts connections.
 */
#ifndef CLOCKWORK_SIMULATOR_WORKER_NODE_H
#define CLOCKWORK_SIMULATOR_WORKER_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/emulated/emulated.h"
#include "base/pool.h"
#include "executor/executor.h"
#include "simulator/events.h"
#include "simulator/local_clock.h"
#include "simulator/messages.h"
#include "simulator/network.h"
#include "simulator/observer.h"
#include "workload/workload.h"

/* As WORKER_PEERS_MAX of worker/. */
enum { WORKER_NODE_PEERS_MAX = 64 };

struct worker_node_config {
  const struct emulated_config *backend; /* its arrays must outlive the node */
  struct local_clock clock;
  uint32_t worker_id;
  uint32_t actions_max; /* under way at once */
  /* What a controller may ask to load, by index; must outlive the node. */
  const struct workload_model *packages;
  uint32_t packages_count;
  const struct observer *observer; /* NULL: nobody looks on */
  bool can_fail;                   /* its GPUs are devices (device.h) */
  bool is_one_of_many;             /* too many for all to stay in the processor's caches */
};

/* A connection of a controller. */
struct worker_node_peer {
  uint32_t connection;    /* CONNECTION_NONE: free */
  uint32_t changes_count; /* its LOADs and EVICTs under way */
  bool wants_state;
  bool has_state;                /* it was told what is on the GPUs */
  struct instant state_deadline; /* local */
  struct instant ends_at;        /* local: its end is noticed then */
};

/* What GET_STATE was answered last; a newer answer is of a newer connection only. */
struct worker_node_state {
  uint32_t **resident_models; /* by GPU */
  uint32_t *resident_counts;
  uint32_t *clocks_mhz;
  bool *is_lost; /* by GPU */
  bool *has_package;
};

/* All zero: can be finished. */
struct worker_node {
  /* What every turn needs: two cache lines. */
  _Alignas(64) struct event timer;
  struct local_clock clock;
  struct backend backend;
  struct executor *executor;
  uint32_t inbox_count;
  bool is_running;
  bool is_reachable; /* its machine is up: the kernel refuses connections for a missing process */
  struct instant frozen_until;
  struct instant next_end; /* the earliest ends_at, local */
  uint32_t states_wanted_count;
  uint32_t peers_count; /* slots in use are below */
  struct pool actions;  /* of struct worker_node_action, private */
  struct channel to_controller;
  struct port port;
  uint32_t orphan_changes_count;
  uint32_t starts_count;
  struct order_message *inbox; /* what came while frozen */
  uint32_t inbox_capacity;
  struct worker_node_peer peers[WORKER_NODE_PEERS_MAX];
  struct backend emulated; /* the same as `backend`, or the one behind the device */
  void *memory;            /* of the process: it is gone when that crashes */
  bool *has_package;
  bool *is_gpu_lost; /* by GPU: withdrawn */
  uint32_t gpus_lost_count;
  struct worker_node_config config;
  struct emulated_config backend_config;
  struct worker_node_state state;
};

/* How many bytes worker_node_init() needs. */
size_t worker_node_bytes(const struct worker_node_config *config);

/* `memory`: 64-byte aligned, all zero, worker_node_bytes(); the caller's. The channel to the
 * controller is the caller's to initialise before the first event. The struct must not move
 * afterwards. */
void worker_node_init(struct worker_node *worker, void *memory, struct events *events,
                      const struct worker_node_config *config);

/* Accepts NULL and a zeroed one. */
void worker_node_finish(struct worker_node *worker);

/* Load a package into host memory, at no cost in time. Passes the backend's answer on. */
enum action_status worker_node_load_package(struct worker_node *worker, struct instant now,
                                            uint32_t package_index, struct model_spec *ret_spec);

/* An order_message has arrived: the `deliver` of the channel from the controller. */
void worker_node_on_order(void *self, struct instant now, const void *message);

void worker_node_set_clock(struct worker_node *worker, uint32_t gpu_index, uint32_t clock_mhz);

/* ---- what can happen to it; with can_fail ------------------------------------------------------
 */

/* The process ends. Its kernel tells the controller, unless the whole machine goes with it. No
 * effect while it is not running. */
void worker_node_crash(struct worker_node *worker, bool with_machine);

/* It begins anew, and its machine if need be, with nothing in memory. No effect while running. */
void worker_node_start(struct worker_node *worker, struct instant now);

/* It does nothing until then; what comes meanwhile waits. */
void worker_node_freeze(struct worker_node *worker, struct instant until);

/* Its clock stands still from now until then, and so does all of it: a virtual machine is paused.
 */
void worker_node_pause(struct worker_node *worker, struct instant now, struct instant until);

/* That GPU is lost. The process withdraws it, and ends when none is left. No effect while it is not
 * running. */
void worker_node_lose_gpu(struct worker_node *worker, struct instant now, uint32_t gpu_index);

/* Whether a GPU of this process is lost. */
bool worker_node_has_lost(const struct worker_node *worker);

/* Its clock leaps ahead. */
void worker_node_leap(struct worker_node *worker, struct duration by);

/* Its side of the connection to this controller ends, and it notices. */
void worker_node_on_broken(struct worker_node *worker);

#endif
