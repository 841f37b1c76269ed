/* The simulator's command line; every default is that of the cluster's programs. */
#ifndef CLOCKWORK_SIMULATOR_OPTIONS_H
#define CLOCKWORK_SIMULATOR_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "scheduler/scheduler.h"
#include "simulator/simulation.h"

enum { SIMULATE_EXIT_OK = 0, SIMULATE_EXIT_FAILED = 1, SIMULATE_EXIT_USAGE = 2 };

enum { OPTIONS_WORKLOAD_BYTES = 1024 };

struct options {
  const char *program;                        /* for messages */
  struct simulation_config simulation;        /* without trace and profile */
  char workload_text[OPTIONS_WORKLOAD_BYTES]; /* as it was given */
  char
      workload_words[OPTIONS_WORKLOAD_BYTES]; /* the same, cut into words; the config points here */
  const char *profile;                        /* NULL: the built-in one */
  const char *out;       /* folder for telemetry and summary; NULL: none is written */
  const char *trace_dir; /* NULL: a synthetic day */
  const char *policy;    /* in the registry's spelling; static */
  struct duration leadin;
  uint32_t functions;
  bool writes_telemetry;
  bool writes_columns; /* instead of TSV */
  bool wants_bound;
  bool is_quiet;
};

enum options_outcome { OPTIONS_RUN, OPTIONS_EXIT };

/* `program` is whom messages come from, borrowed; `duration` how long the workload goes on if
 * nothing is said. Reads the environment as well. Prints the help to standard output, or one line
 * for the first mistake to standard error; *ret_exit_code is set with OPTIONS_EXIT. `ret_options`
 * must not move afterwards; strings of `argv` and of the environment are borrowed. */
enum options_outcome options_parse(const char *program, struct duration duration, int argc,
                                   char *const *argv, struct options *ret_options,
                                   int *ret_exit_code);

#endif
