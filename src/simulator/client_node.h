/* The client in virtual time: the production workload, sent at the moments it says. When nothing
 * will be sent any more and all that was sent is answered, the run is over (events.is_over).
 *
 * As the client library, it connects again by itself, and a request is lost with the connection it
 * was sent over, or at once where there is none.
 */
#ifndef CLOCKWORK_SIMULATOR_CLIENT_NODE_H
#define CLOCKWORK_SIMULATOR_CLIENT_NODE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/histogram.h"
#include "base/pool.h"
#include "base/prng.h"
#include "simulator/events.h"
#include "simulator/messages.h"
#include "simulator/network.h"
#include "simulator/observer.h"
#include "workload/workload.h"

struct client_node_config {
  const struct workload_config *workload;
  float slo_factor;                /* above 0: replaces the workload's */
  struct workload *begun;          /* taken up where it is, borrowed; NULL: a new one is made */
  struct instant start;            /* of the workload; at or after now unless it has begun */
  struct instant stop;             /* nothing is sent at or after it */
  const struct observer *observer; /* NULL: nobody looks on */
  /* Requests under way that are kept in mind: one more is lost. 0: none is, nothing can fail. */
  uint32_t calls_max;
};

/* All zero: can be finished. */
struct client_node {
  struct event timer;
  struct event dial;
  struct event flood;
  struct client_node_config config;
  struct port port;
  struct channel to_controller;
  struct workload *workload;
  struct pool calls; /* of struct client_node_call, private */
  void *memory;
  size_t memory_bytes;
  uint32_t connection; /* the latest; numbers rise */
  bool is_connected;
  uint32_t failures_count;   /* to connect, in a row */
  struct instant away_until; /* the process is gone until then */
  struct instant flood_until;
  uint32_t flood_per_ms;
  uint32_t models_count;
  struct prng prng; /* of the flood's models */
  uint64_t sent_count;
  uint64_t answered_count;
  struct histogram latency; /* of successes, from the moment the request was due */
};

/* Begins to connect at once. ERR_NO_MEMORY; the channel is the caller's to initialise before the
 * first event. The struct must not move afterwards. */
MUST_USE enum err client_node_init(struct client_node *client, struct events *events,
                                   const struct client_node_config *config);

/* Accepts NULL and a zeroed one. */
void client_node_finish(struct client_node *client);

/* An answer_message has arrived: the `deliver` of the channel from the controller. */
void client_node_on_answer(void *self, struct instant now, const void *message);

/* ---- what can happen to it; with calls_max > 0 -------------------------------------------------
 */

/* The process ends with all it has asked for, and a new one goes on with the workload then. */
void client_node_vanish(struct client_node *client, struct instant now, struct instant until);

/* Besides its workload it sends so many requests a millisecond until then, for any model. */
void client_node_flood(struct client_node *client, struct instant now, struct instant until,
                       uint32_t per_ms);

/* Its side of the connection ends, and it notices. */
void client_node_on_broken(struct client_node *client, struct instant now);

#endif
