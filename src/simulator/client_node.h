/* The client in virtual time: the production workload, sent at the moments it says. When nothing
 * will be sent any more and all that was sent is answered, the run is over (events.is_over). */
#ifndef CLOCKWORK_SIMULATOR_CLIENT_NODE_H
#define CLOCKWORK_SIMULATOR_CLIENT_NODE_H

#include <stdint.h>

#include "base/histogram.h"
#include "simulator/events.h"
#include "simulator/messages.h"
#include "simulator/network.h"
#include "workload/workload.h"

/* All zero: can be finished. */
struct client_node {
  struct event timer;
  struct port port;
  struct channel to_controller;
  struct workload *workload;
  void *memory;
  size_t memory_bytes;
  struct instant start;
  struct instant stop; /* nothing is sent at or after it */
  double slo_factor;   /* 0: the workload's */
  uint64_t sent_count;
  uint64_t answered_count;
  struct histogram latency; /* of successes, from the moment the request was due */
};

/* The replay begins at `start` and stops at `stop`; a `slo_factor` above 0 replaces the workload's.
 * ERR_NO_MEMORY; the channel is the caller's to
 * initialise. The struct must not move afterwards. */
MUST_USE enum err client_node_init(struct client_node *client, struct events *events,
                                   const struct workload_config *config, double slo_factor,
                                   struct instant start, struct instant stop);

/* Accepts NULL and a zeroed one. */
void client_node_finish(struct client_node *client);

/* An answer_message has arrived: the `deliver` of the channel from the controller. */
void client_node_on_answer(void *self, struct instant now, const void *message);

#endif
