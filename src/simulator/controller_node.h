/* The controller in virtual time: the production scheduler, and what controller/ does around it:
 * connections that are made again and again, pings and clock offsets, states that are read back,
 * models that workers lack, silent and stuck workers, windows in the worker's time.
 *
 * Its clock is the simulation's. It needs no time for its own work.
 */
#ifndef CLOCKWORK_SIMULATOR_CONTROLLER_NODE_H
#define CLOCKWORK_SIMULATOR_CONTROLLER_NODE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock_offset.h"
#include "base/pool.h"
#include "scheduler/scheduler.h"
#include "simulator/events.h"
#include "simulator/messages.h"
#include "simulator/network.h"
#include "simulator/observer.h"
#include "simulator/trace_hash.h"
#include "simulator/worker_node.h"

struct controller_node;

/* As enum worker_phase of controller/, and the state of its dialler. */
enum controller_phase {
  CONTROLLER_PAUSING,    /* not connected; the next attempt comes by itself */
  CONTROLLER_CONNECTING, /* an attempt is under way */
  CONTROLLER_GREETED,    /* clocks are being compared, the state is asked for */
  CONTROLLER_SYNCING,    /* state known, models that it lacks are being loaded */
  CONTROLLER_UP,         /* its GPUs take part */
};

enum controller_asked { ASKED_NOT, ASKED, ASKED_LOADED };

/* A worker as the controller sees it. */
struct controller_peer {
  _Alignas(64) struct channel to_worker;
  struct controller_node *controller;
  uint32_t connection;
  enum controller_phase phase;
  struct instant heard; /* when the last message came */
  struct clock_offset clock;
  struct event dial;
  const struct worker_node_state *state; /* where its answers to GET_STATE lie */
  uint32_t worker_id;
  uint32_t failures_count; /* to connect, in a row */
  uint32_t pings_answered;
  bool *is_gpu_lost;          /* by GPU, once the state is known */
  uint8_t *asked;             /* by package: enum controller_asked */
  uint32_t asked_count;       /* asked and not answered */
  struct duration unseen_end; /* how late the worker notices that we have closed */
};

enum controller_package_state { PACKAGE_UNKNOWN, PACKAGE_LOADING, PACKAGE_READY };

struct controller_package {
  enum controller_package_state state;
  uint32_t workers_waiting; /* asked and not answered */
};

struct controller_node_config {
  const struct scheduler_config *scheduler;
  struct telemetry_sink telemetry;
  const struct scheduler_gpu *gpus; /* of every worker; must outlive the node */
  uint32_t gpus_count;              /* of one worker */
  uint32_t workers_count;
  /* What clients' models are, by index: names from the workload, descriptions from workers; both
   * must outlive the node. */
  const struct workload_model *packages;
  const struct model_spec *specs;
  uint32_t packages_count;
  bool generates_inputs;
  const struct observer *observer; /* NULL: nobody looks on */
};

/* All zero: can be finished. */
struct controller_node {
  struct controller_node_config config;
  struct event timer;
  struct event tick;
  struct port port;
  struct channel to_client;
  struct scheduler *scheduler;
  void *scheduler_memory;
  size_t scheduler_bytes;
  struct controller_peer *peers;       /* by worker id */
  struct controller_package *packages; /* by index */
  struct scheduler_gpu *joining_gpus;  /* room for those of one worker */
  struct pool requests;                /* of struct controller_node_request, private */
  uint64_t requests_count;
  struct trace_hash hash;
  void *memory;
  size_t memory_bytes;
  bool is_running;
  uint32_t runs_count;        /* processes begun */
  uint32_t connections_count; /* to workers, of all processes: their numbers */
  uint32_t session;           /* the client's connection */
  struct instant started;
  struct instant ticked;
  struct instant frozen_until;
};

/* Begins to connect at once; a worker's GPUs take part once four of its pings are answered, so that
 * windows fit its clock, and its state is read. ERR_NO_MEMORY; the channels and peers[].state are
 * the caller's to set before the first event. The struct must not move afterwards. */
MUST_USE enum err controller_node_init(struct controller_node *controller, struct events *events,
                                       const struct controller_node_config *config);

/* Accepts NULL and a zeroed one. */
void controller_node_finish(struct controller_node *controller);

/* Every worker holds this package. */
void controller_node_add_package(struct controller_node *controller, struct instant now,
                                 uint32_t package_index);

/* It will be the next one: the `expect` of the same channel. */
void controller_node_expect_request(const void *self, const void *message, uint32_t step);
void controller_node_expect_report(const void *self, const void *message, uint32_t step);

/* A request_message has arrived; `self` is the node. */
void controller_node_on_request(void *self, struct instant now, const void *message);

/* A report_message has arrived; `self` is the worker's struct controller_peer. */
void controller_node_on_report(void *self, struct instant now, const void *message);

/* ---- what can happen to it ---------------------------------------------------------------------
 */

/* The process ends; its kernel tells workers and client. No effect while it is not running. */
void controller_node_crash(struct controller_node *controller);

/* A new process, that knows nothing but the workers' addresses. No effect while running. */
void controller_node_start(struct controller_node *controller, struct instant now);

/* It does nothing until then. The channels to it are the caller's to hold. */
void controller_node_freeze(struct controller_node *controller, struct instant until);

/* Its side of the connection to this worker ends, and it notices. */
void controller_node_on_broken(struct controller_node *controller, struct instant now,
                               uint32_t worker_id);

/* ---- controller_peers.c, for controller_node.c
 * ------------------------------------------------------------
 */

void controller_peer_init(struct controller_peer *peer, struct events *events);
void controller_peer_on_report(struct controller_peer *peer, struct instant now,
                               const struct report_message *report);
/* Pings, and what is silent or stuck is given up. */
void controller_peers_tick(struct controller_node *controller, struct instant now);
/* As a new process has them: not connected, the first attempt comes now. */
void controller_peers_reset(struct controller_node *controller, struct instant now);
void controller_peer_close(struct controller_peer *peer, struct instant now, const char *why);
/* Whether clients should come again later: workers, and what they hold, are still coming. */
bool controller_is_initializing(const struct controller_node *controller, struct instant now);

#endif
