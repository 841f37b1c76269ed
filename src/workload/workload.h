/* Workloads: who asks for which model when. Time is an argument, so the same code drives real
 * clients and a simulation.
 *
 * Guarantee: the requests (time, user, model, SLO factor, tag) of an open loop are a function of
 * (workload, parameters, seed, trace) alone, whatever the caller's timing: `at` is when the request
 * is due, not when it was asked for. Latency is measured from `at`; a caller that comes late gets
 * everything that was due meanwhile (no drift, no coordinated omission). A closed loop asks again
 * when its answer came, so it also depends on the answers.
 *
 * Life of a workload:
 *   kind = workload_find("azure"); workload_parse(kind, argv + 3, argc - 3, &config, &fault);
 *   if (workload_needs_trace(&config, &id)) config.trace = trace_init() or synthetic_day_init();
 *   workload = workload_init(os_memory_take(workload_bytes(&config)), &config);
 *   load every workload_models(...); let t = 0 be now;
 *   loop: workload_next_requests(t), send; sleep until workload_wakeup() or an answer;
 *         for each answer: workload_on_answered(t, tag, success);
 *   until workload_is_done().
 *
 * One thread owns one workload. Nothing is allocated after init.
 */
#ifndef CLOCKWORK_WORKLOAD_WORKLOAD_H
#define CLOCKWORK_WORKLOAD_WORKLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/time.h"
#include "workload/fault.h"
#include "workload/trace.h"

enum {
  WORKLOAD_PARAMETERS_MAX = 12,
  /* Model instances that one workload may ask for. */
  WORKLOAD_MODELS_MAX = 100 * 1000,
  /* How long a client of a closed loop waits after an answer that was no success: a controller that
   * refuses at once would else be flooded by its own refusals. */
  WORKLOAD_RETRY_PAUSE_MS = 10,
};

enum workload_value_type {
  WORKLOAD_INT,
  WORKLOAD_FLOAT,
  WORKLOAD_BOOL,   /* 0 1 false true */
  WORKLOAD_CHOICE, /* one of several words */
  WORKLOAD_TEXT,   /* a model's name */
};

struct workload_parameter {
  const char *name;
  enum workload_value_type type;
  const char *hint; /* what stands in parentheses in the usage text: type and default */
  const char *default_text;
  double min; /* of numbers, inclusive */
  double max;
  const char *const *choices; /* of WORKLOAD_CHOICE, ends with NULL; a value is an index into it */
  const char *text;           /* what it does; may have further lines */
};

struct workload_kind; /* how it works: only its line in kinds.c knows */

/* The registry. */
uint32_t workload_kind_count(void);
const struct workload_kind *workload_kind_at(uint32_t index);
const char *workload_kind_name(const struct workload_kind *kind);
const char *workload_kind_description(const struct workload_kind *kind);
const struct workload_parameter *workload_kind_parameters(const struct workload_kind *kind,
                                                          uint32_t *ret_count);

/* NULL if there is no such workload; then *ret_fault names it and the ones there are. */
const struct workload_kind *workload_find(const char *name, struct workload_fault *ret_fault);

/* Write the list of workloads with their parameters as `client -h` shows it (each line begins with
 * a tab and ends with a newline). Returns the bytes that the whole text needs, without its NUL;
 * writes at most `capacity_bytes` with the NUL. Call with (NULL, 0) to learn the size. */
size_t workload_usage(char *buffer, size_t capacity_bytes);

/* The same for one workload. */
size_t workload_kind_usage(const struct workload_kind *kind, char *buffer, size_t capacity_bytes);

struct workload_config {
  const struct workload_kind *kind;
  double numbers[WORKLOAD_PARAMETERS_MAX];    /* int, float, bool (0 or 1), index of a choice */
  const char *texts[WORKLOAD_PARAMETERS_MAX]; /* of WORKLOAD_TEXT: the caller's string, borrowed */
  uint64_t seed;
  const struct trace *trace; /* borrowed; must outlive the workload. NULL if none is needed */
};

enum { WORKLOAD_SEED = 1 };

/* Read positional parameters; those not given take their defaults. Fills the whole config, with
 * seed WORKLOAD_SEED and no trace. On ERR_MALFORMED (not a number, no such choice, too many
 * parameters) or ERR_RANGE, *ret_fault has one line naming workload, parameter, what was given and
 * what is allowed, and *ret_config is untouched. The strings of `texts` are borrowed. */
MUST_USE enum err workload_parse(const struct workload_kind *kind, const char *const *arguments,
                                 uint32_t argument_count, struct workload_config *ret_config,
                                 struct workload_fault *ret_fault);

/* Whether config.trace must be set before workload_bytes(); *ret_trace_id is then 1 to
 * TRACE_ID_MAX. */
bool workload_needs_trace(const struct workload_config *config, uint32_t *ret_trace_id);

/* Models to load: `copies` instances of one variety, known to this workload as first_index,
 * first_index + 1, ... Indices of a workload are dense from 0. */
struct workload_model {
  const char *name; /* of the variety, "resnet50_v2"; lives as long as the workload */
  uint32_t copies;
  uint32_t first_index;
};

/* One inference of batch size 1. */
struct workload_request {
  struct instant at; /* when it is due, from the workload's start; never after `now` */
  uint32_t user_id;
  uint32_t model_index;
  float slo_factor; /* times the model's batch-1 execution time; 0: the controller's default SLO */
  uint32_t tag;     /* give it back with the answer */
};

struct workload;

/* `config` came from workload_parse(), with its trace set if it needs one (CHECK). */
size_t workload_bytes(const struct workload_config *config);

/* `memory` is the caller's, as base/arena.h asks (64-byte aligned, all zero) and of
 * workload_bytes(config). The config is copied. Time begins at 0. */
struct workload *workload_init(void *memory, const struct workload_config *config);

/* What is to be loaded before the start. */
const struct workload_model *workload_models(const struct workload *self, uint32_t *ret_count);

/* The requests due at or before `now`, in order of time, at most `capacity` of them; if that many
 * come, ask again at once. `now` must not go back (CHECK). O(log users) a request. */
uint32_t workload_next_requests(struct workload *self, struct instant now,
                                struct workload_request *ret_requests, uint32_t capacity);

/* When the next request is due: INSTANT_NEVER if only an answer can bring one, or none will come.
 * It may lie in the past when workload_next_requests() was cut off by its capacity. O(1). */
struct instant workload_wakeup(const struct workload *self);

/* The answer to the request with that tag, or its loss (then not a success). To be called for every
 * request, once; an open loop takes no notice. A tag that awaits no answer is ignored. O(log
 * users). */
void workload_on_answered(struct workload *self, struct instant now, uint32_t tag, bool is_success);

/* No request will come any more, whatever is answered. Answers may still be outstanding. O(1). */
bool workload_is_done(const struct workload *self);

/* How many requests of closed loops are waited for; always 0 in an open loop. */
uint32_t workload_waiting_count(const struct workload *self);

/* Requests a second that open loops offer at time `at`, of a trace the day's mean; closed loops
 * count as 0. For messages to the user. O(users). */
double workload_offered_rate(const struct workload *self, struct instant at);

#endif
