/* The day of calls that a trace workload replays: a file of the public trace, or a synthetic day.
 */
#ifndef CLOCKWORK_CLIENT_DAY_H
#define CLOCKWORK_CLIENT_DAY_H

#include <stddef.h>
#include <stdint.h>

#include "client/options.h"
#include "workload/trace.h"

/* All zero: none. */
struct day {
  void *memory;
  size_t memory_bytes;
  const struct trace *trace;
};

/* Says what day it is, or what is wrong with the file. Returns an exit code; `day` is to be closed
 * only after CLIENT_EXIT_OK. Cost: about a second. */
int day_open(struct day *day, const struct client_options *options, uint32_t trace_id);

/* Accepts NULL and a zeroed one. */
void day_close(struct day *day);

#endif
