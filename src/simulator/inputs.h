/* What a simulation reads: the profile of the GPUs and the day of calls. */
#ifndef CLOCKWORK_SIMULATOR_INPUTS_H
#define CLOCKWORK_SIMULATOR_INPUTS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "model/model.h"
#include "os/error_text.h"
#include "workload/trace.h"

/* All zero: none. */
struct profile {
  struct model_spec *specs;
  uint32_t count;
};

/* `path` NULL: the profile built in. Errors name file, line and mend. */
MUST_USE enum err profile_open(struct profile *profile, const char *path,
                               struct error_text *ret_error);
/* Accepts NULL and a zeroed one. */
void profile_close(struct profile *profile);

/* All zero: none. */
struct day {
  void *memory;
  size_t memory_bytes;
  const struct trace *trace;
  char description[320]; /* for the user: which day it is */
};

/* Day `trace_id` of the public trace's files in `folder`, or, without folder (NULL), a synthetic
 * day of `functions` functions. Cost: about a second. */
MUST_USE enum err day_open(struct day *day, const char *folder, uint32_t trace_id,
                           uint32_t functions, struct error_text *ret_error);
/* Accepts NULL and a zeroed one. */
void day_close(struct day *day);

#endif
