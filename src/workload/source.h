/* One seeded item of a workload: when it asks next, and for which model.
 *
 * Open sources (Poisson or evenly spaced, or following a function of a trace) have a rate that is
 * constant over pieces of time. The next time is where the integral of the rate reaches a drawn
 * mass (exponential with mean 1 for Poisson, 1 for even spacing). That is exact over any change of
 * the rate, needs one draw a request whatever the rate does in between, and no work at the changes.
 */
#ifndef CLOCKWORK_WORKLOAD_SOURCE_H
#define CLOCKWORK_WORKLOAD_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/prng.h"
#include "base/time.h"
#include "workload/ladder.h"
#include "workload/trace.h"

enum source_type {
  SOURCE_CLOSED, /* one outstanding request; asks when that was answered */
  SOURCE_OPEN,
  SOURCE_TRACE, /* an open source that follows a function of a trace */
};

/* What all sources of a workload share. */
struct source_environment {
  const struct trace *trace;
  struct duration interval;  /* of one minute of the trace, > 0 */
  double trace_scale;        /* multiplies the trace's calls a minute */
  const struct ladder *rate; /* multiplies every open source's rate, NULL: 1 for ever */
};

/* Models of one source: WORKLOAD_MODELS_MAX is below it. */
enum { SOURCE_MODELS_MASK = (1 << 24) - 1 };

struct source {
  /* What a request of an open source needs: one cache line. */
  _Alignas(64) struct prng prng;
  double rate;     /* open: requests a second at ladder value 1 */
  double carry_ns; /* the part of the last time below a nanosecond: no drift by rounding */
  uint32_t model_first;
  uint32_t model_count : 24; /* closed: taken in turn; open: drawn */
  enum source_type type : 2;
  bool is_fixed : 1;   /* open: evenly spaced */
  bool is_waiting : 1; /* closed: a request is outstanding */
  bool has_slo_ladder : 1;
  bool is_growing : 1; /* open: models join one after another, as growth_* say */
  uint32_t user_id;    /* for a source of several models: + the model's number among them */
  float slo_factor;    /* without a ladder */
  /* What others need. */
  uint32_t client; /* closed: whose budget it shares */
  struct {
    uint32_t function;
    struct trace_cursor cursor;
    int64_t base; /* number of the interval in which the day of the cursor began; may be < 0 */
  } trace;
  struct instant growth_start; /* open: when model_first joins; one more joins each period */
  struct duration growth_period;
};

/* Set up the walk of a trace source whose position at time 0 is minute `offset`. */
void source_begin_trace(struct source *source, const struct source_environment *environment,
                        uint32_t function, uint32_t offset);

/* The time of the first request of an open source. An evenly spaced one begins at a random phase:
 * else all of them would ask at the same moments for ever. */
struct instant source_first(struct source *source, const struct source_environment *environment);

/* The time of the next request of an open source after one at `from`; INSTANT_NEVER if there is
 * none. Cost: one draw, and a step for each change of its rate since `from`. */
struct instant source_next(struct source *source, const struct source_environment *environment,
                           struct instant from);

/* Which of its models an open source asks at `at`: 0 to model_count - 1. */
uint32_t source_pick_model(struct source *source, struct instant at);

#endif
