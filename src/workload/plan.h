/* How a kind of workload says what it consists of: models, sources, ladders.
 *
 * A kind's plan function runs twice on the same config: on a counting plan to learn the sizes, then
 * to fill. It does not see the difference.
 */
#ifndef CLOCKWORK_WORKLOAD_PLAN_H
#define CLOCKWORK_WORKLOAD_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "workload/ladder.h"
#include "workload/source.h"
#include "workload/workload.h"

/* Sources of one closed-loop client: together they send at most `limit` requests. */
struct plan_client {
  uint32_t sent_count;
  uint32_t limit; /* 0: no limit */
};

struct plan {
  const struct workload_config *config;
  /* Arrays NULL while counting. */
  struct workload_model *models;
  struct source *sources;
  struct plan_client *clients;
  uint32_t *instances; /* scratch: model indices in random order */
  uint64_t *ranks;     /* scratch: functions in order of calls */
  uint32_t model_count;
  uint32_t instance_count;
  uint32_t source_count;
  uint32_t client_count;
  uint32_t function_count;
  bool has_rate;
  bool has_slo;
  struct ladder_config rate;
  struct ladder_config slo;
  struct duration interval;
  double trace_scale;
  struct source spare; /* what a counting plan hands out */
};

static inline bool plan_is_counting(const struct plan *plan) {
  return plan->sources == NULL;
}

/* Returns the index of the first copy. */
uint32_t plan_add_model(struct plan *plan, const char *name, uint32_t copies);

/* A new source with its own random stream; the caller fills in the rest. Valid until the next call.
 */
struct source *plan_add_source(struct plan *plan, enum source_type type);

/* Returns the new client's index. */
uint32_t plan_add_client(struct plan *plan, uint32_t limit);

/* An open loop at `rate` requests a second on one model. */
struct source *plan_add_open(struct plan *plan, double rate, uint32_t user, uint32_t model);

/* `concurrency` sources of one new client without a limit, all on one model. */
void plan_add_closed(struct plan *plan, uint32_t concurrency, uint32_t user, uint32_t model,
                     float slo_factor);

/* Every function of the config's trace that has calls, spread over `instance_count` models that are
 * the only ones of the plan: functions in falling order of calls, instances in a seeded random
 * order. `randomise`: each starts at a random minute of the day. */
void plan_add_functions(struct plan *plan, double scale, struct duration interval, bool randomise);

#endif
