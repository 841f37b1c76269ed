/* The client's command line and environment: `client ADDRESS WORKLOAD [PARAMETERS]` and long
 * options beside them. */
#ifndef CLOCKWORK_CLIENT_OPTIONS_H
#define CLOCKWORK_CLIENT_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/time.h"
#include "os/address.h"
#include "workload/workload.h"

enum {
  CLIENT_CONTROLLER_PORT = 12346,
  CLIENT_CONNECT_TIMEOUT_S = 60,
  CLIENT_SLO_MS = 100, /* the controller's default_slo by default */
};

/* Exit codes. */
enum {
  CLIENT_EXIT_OK = 0,
  CLIENT_EXIT_FAILED = 1, /* no controller, models can't be loaded, wrong outputs */
  CLIENT_EXIT_USAGE = 2,
};

struct client_options {
  struct address controller;
  struct workload_config workload; /* without its trace */
  const char *trace_dir;           /* NULL: a synthetic day */
  const char *model_dir;           /* NULL: varieties are asked for by their bare names */
  struct duration duration;        /* of the replay; INT64_MAX ns: until told to stop */
  struct duration connect_timeout;
  struct duration slo; /* of requests without SLO factor, for goodput */
  uint32_t synthetic_functions;
  bool sends_inputs;
  bool wants_outputs;
  bool checks_outputs;
};

enum options_outcome { OPTIONS_RUN, OPTIONS_EXIT };

/* Reads the environment as well. Prints what is to be printed: the help to standard output, one
 * line for the first mistake to standard error. Strings of `argv` and the environment are borrowed.
 * *ret_exit_code is set with OPTIONS_EXIT, *ret_options with OPTIONS_RUN. */
enum options_outcome options_parse(int argc, char *const *argv, struct client_options *ret_options,
                                   int *ret_exit_code);

#endif
