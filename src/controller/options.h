/* The controller's command line: TYPE, WORKERS, and that type's options by position. */
#ifndef CLOCKWORK_CONTROLLER_OPTIONS_H
#define CLOCKWORK_CONTROLLER_OPTIONS_H

#include <stdbool.h>
#include <stdio.h>

#include "model/model.h"
#include "os/address.h"
#include "scheduler/scheduler.h"

enum {
  CONTROLLER_PORT = 12346,
  CONTROLLER_WORKER_PORT = 12345,
  CONTROLLER_WORKERS_MAX = 1024,
};

struct options {
  const char *type; /* "INFER4" */
  struct scheduler_config scheduler;
  struct address listen;
  struct address workers[CONTROLLER_WORKERS_MAX];
  size_t workers_count;
  bool generates_inputs;
  bool runs_without_workers; /* ECHO with no workers: models are made up */
  /* STRESS makes its own requests. */
  bool is_stress;
  char stress_model[MODEL_PATH_BYTES];
  uint32_t stress_copies;
  uint32_t stress_concurrency;
};

enum options_outcome { OPTIONS_RUN, OPTIONS_EXIT_OK, OPTIONS_EXIT_USAGE };

/* Prints what is to be printed: the help to standard output, one line per mistake to standard
 * error. */
enum options_outcome options_parse(int argc, char *const *argv, struct options *ret_options);

#endif
