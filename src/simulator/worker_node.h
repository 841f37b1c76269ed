/* A worker in virtual time: the production executor over the emulated backend, as worker/ runs
 * them, on a clock of its own.
 */
#ifndef CLOCKWORK_SIMULATOR_WORKER_NODE_H
#define CLOCKWORK_SIMULATOR_WORKER_NODE_H

#include <stddef.h>
#include <stdint.h>

#include "backend/emulated/emulated.h"
#include "base/pool.h"
#include "executor/executor.h"
#include "simulator/events.h"
#include "simulator/local_clock.h"
#include "simulator/messages.h"
#include "simulator/network.h"

struct worker_node_config {
  const struct emulated_config *backend;
  struct local_clock clock;
  uint32_t actions_max; /* under way at once */
};

/* All zero: can be finished. */
struct worker_node {
  struct event timer;
  struct local_clock clock;
  struct port port;
  struct channel to_controller;
  struct backend backend;
  struct executor *executor;
  struct pool actions; /* of struct worker_node_action, private */
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

/* Load `copies` instances of the profile's row `name` into host memory, as ids first_model_id and
 * following, at no cost in time. Passes the backend's answer on. */
enum action_status worker_node_load_model(struct worker_node *worker, struct instant now,
                                          const char *name, uint32_t first_model_id,
                                          uint32_t copies, struct model_spec *ret_spec);

/* An order_message has arrived: the `deliver` of the channel from the controller. */
void worker_node_on_order(void *self, struct instant now, const void *message);

void worker_node_set_clock(struct worker_node *worker, uint32_t gpu_index, uint32_t clock_mhz);

#endif
