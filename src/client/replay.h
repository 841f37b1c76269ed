/* A workload in real time: sends what is due, measures what comes back.
 *
 * The workload says what is due when; this never sends early, never skips, and never waits for an
 * answer or for room: a request that can't be sent at its turn has failed ("not sent") and is
 * counted. How late requests leave is measured (tally.h, lag).
 *
 * Thread: the loop's.
 */
#ifndef CLOCKWORK_CLIENT_REPLAY_H
#define CLOCKWORK_CLIENT_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/pool.h"
#include "base/time.h"
#include "client/inputs.h"
#include "client/models.h"
#include "client/options.h"
#include "client/pacing.h"
#include "client/tally.h"
#include "client_library/clockwork_client.h"
#include "workload/workload.h"

enum {
  /* Twenty seconds of 13,000 requests a second without an answer. */
  REPLAY_UNDER_WAY_MAX = 262144,
  /* Sent in one turn at most, so that answers are read in between. */
  REPLAY_TURN_MAX = 4096,
  /* A controller that has just been started again learns its models from its workers; requests wait
   * that long for it. */
  REPLAY_INITIALIZING_S = 10,
};

struct replay {
  const struct client_options *options;
  struct workload *workload;
  const struct models *models;
  struct clockwork_client *client;
  struct inputs inputs;
  uint32_t *input_size_of; /* by kind of model: index into inputs.sizes, INPUTS_SIZES_MAX: none */
  struct pool under_way;
  struct pacing pacing;
  struct instant start;
  struct instant interval_start;
  struct tally *interval;         /* since interval_start */
  struct tally *total;            /* before interval_start */
  unsigned char *expected_output; /* room to check one */
  size_t expected_output_bytes;
  uint64_t inputs_count; /* sent */
  bool is_stopped;
  void *memory;
  size_t memory_bytes;
};

/* ERR_NO_MEMORY. The pointers are borrowed; `models` need not be ready yet. */
MUST_USE enum err replay_init(struct replay *replay, const struct client_options *options,
                              struct workload *workload, const struct models *models);

/* Accepts NULL and a zeroed one. No request may be under way. */
void replay_finish(struct replay *replay);

/* Make the inputs, for models that are ready. ERR_NO_MEMORY. */
MUST_USE enum err replay_prepare_inputs(struct replay *replay);

/* Workload time 0 is `now`. */
void replay_start(struct replay *replay, struct clockwork_client *client, struct instant now);

/* Send what is due. To be called once a turn of the loop. Returns how many were sent or failed. */
uint32_t replay_turn(struct replay *replay, struct instant now);

/* When replay_turn() wants to be called, if no answer comes before. */
struct instant replay_wakeup(const struct replay *replay);

/* Send no more. */
void replay_stop(struct replay *replay);

/* Nothing more will be sent: stopped, past the duration, or the workload is done. */
bool replay_is_over(const struct replay *replay, struct instant now);

uint32_t replay_under_way_count(const struct replay *replay);

/* Print the line of the interval that ends now, and begin the next one. */
void replay_print_interval(struct replay *replay, struct instant now);

/* Print the totals. True if no output was wrong. */
bool replay_print_total(struct replay *replay, struct instant now);

#endif
