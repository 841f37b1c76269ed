/* The controller in virtual time: the production scheduler, and what controller/ does around it:
 * pings and clock offsets, workers that join when their clock is known, windows in the worker's
 * time.
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
#include "simulator/trace_hash.h"

struct controller_node;

/* A worker as the controller sees it. */
struct controller_peer {
  struct controller_node *controller;
  struct channel to_worker;
  struct clock_offset clock;
  uint32_t worker_id;
  uint32_t pings_answered;
  bool is_up;
};

struct controller_node_config {
  const struct scheduler_config *scheduler;
  struct telemetry_sink telemetry;
  const struct scheduler_gpu *gpus; /* of every worker; must outlive the node */
  uint32_t gpus_count;              /* of one worker */
  uint32_t workers_count;
  bool generates_inputs;
};

/* All zero: can be finished. */
struct controller_node {
  struct controller_node_config config;
  struct event timer;
  struct event tick;
  struct port port;
  struct channel to_client;
  struct scheduler *scheduler;
  struct controller_peer *peers; /* by worker id */
  struct pool requests;          /* of struct controller_node_request, private */
  uint64_t requests_count;
  struct trace_hash hash;
  void *memory;
  size_t memory_bytes;
};

/* Begins to ping at once; a worker's GPUs take part once four of its answers have come, so that
 * windows fit its clock. ERR_NO_MEMORY; the channels are the caller's to initialise before the
 * first event. The struct must not move afterwards. */
MUST_USE enum err controller_node_init(struct controller_node *controller, struct events *events,
                                       const struct controller_node_config *config);

/* Accepts NULL and a zeroed one. */
void controller_node_finish(struct controller_node *controller);

/* Every worker holds this model. */
void controller_node_add_model(struct controller_node *controller, struct instant now,
                               uint32_t model_id, const struct model_spec *spec);

/* It will be the next one: the `expect` of the same channel. */
void controller_node_expect_request(const void *self, const void *message);

/* A request_message has arrived; `self` is the node. */
void controller_node_on_request(void *self, struct instant now, const void *message);

/* A report_message has arrived; `self` is the worker's struct controller_peer. */
void controller_node_on_report(void *self, struct instant now, const void *message);

#endif
