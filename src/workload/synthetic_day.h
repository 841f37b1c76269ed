/* A made-up day of calls of serverless functions, that looks like the public Azure trace.
 *
 * Distribution over functions (heavy tail), over minutes (day and night), periodic timers and
 * bursts are fitted to real minute counts; docs/synthetic-day.md tells how, and shows the fit. A
 * function's day is a function of (seed, day, its index, size of the fleet) alone, so it can be
 * made in any order and in any program with the same result to the bit.
 */
#ifndef CLOCKWORK_WORKLOAD_SYNTHETIC_DAY_H
#define CLOCKWORK_WORKLOAD_SYNTHETIC_DAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "workload/trace.h"

enum {
  /* As many as the public trace has on a day. */
  SYNTHETIC_DAY_FUNCTIONS = 46000,
  SYNTHETIC_DAY_SEED = 1,
};

#define SYNTHETIC_SCALE_MIN 0.001
#define SYNTHETIC_SCALE_MAX 1000.0

struct synthetic_day_config {
  uint32_t function_count; /* 1 to TRACE_FUNCTIONS_MAX */
  uint32_t day;            /* 1 to 14: the same functions, with other counts */
  uint64_t seed;
  double load_scale; /* multiplies every rate; SYNTHETIC_SCALE_MIN to _MAX, 1 for the fitted load */
};

/* Function count and seed above, load scale 1. */
struct synthetic_day_config synthetic_day_default(uint32_t day);

enum synthetic_trigger {
  SYNTHETIC_HTTP,
  SYNTHETIC_TIMER,
  SYNTHETIC_QUEUE,
  SYNTHETIC_EVENT,
  SYNTHETIC_STORAGE,
  SYNTHETIC_ORCHESTRATION,
  SYNTHETIC_OTHERS,
  SYNTHETIC_TRIGGERS,
};

/* The public trace's word for it ("http", "timer", ...). */
const char *synthetic_trigger_name(enum synthetic_trigger trigger);

struct synthetic_function {
  uint64_t owner_hash[4]; /* 256 bits each, as the public trace's */
  uint64_t app_hash[4];
  uint64_t function_hash[4];
  enum synthetic_trigger trigger;
  uint64_t calls_count; /* of the day, the sum of the counts; at least 1 */
  uint32_t counts[TRACE_MINUTES];
};

/* Make the day of function `index` (< function_count). Cost: tens of microseconds for a busy one.
 */
void synthetic_day_make_function(const struct synthetic_day_config *config, uint32_t index,
                                 struct synthetic_function *ret_function);

/* The whole day as a trace, the same that reading the file written by make_trace gives. Every
 * function has at least one call, as every row of the public trace has. synthetic_day_bytes() makes
 * the day once to learn the size; each takes about a second for 46,000 functions. `memory` is as
 * base/arena.h asks and of that size. */
size_t synthetic_day_bytes(const struct synthetic_day_config *config);
const struct trace *synthetic_day_init(void *memory, const struct synthetic_day_config *config);

#endif
