/* The worker: runs models on the GPUs of one machine, as controllers tell it. */
#include <stdlib.h>

#include "os/log.h"
#include "worker/options.h"
#include "worker/worker.h"

enum { EXIT_USAGE = 2 };

static int run(const struct options *options) {
  struct worker *worker = calloc(1, sizeof(*worker));
  if (worker == NULL) {
    log_usage_error("worker", "out of memory");
    return EXIT_FAILURE;
  }
  struct error_text error;
  const enum err outcome = worker_init(worker, options, &error);
  if (outcome == ERR_OK) {
    worker_run(worker);
    log_info("Exiting");
  } else {
    log_usage_error("worker", "%s", error.text);
  }
  const bool has_failed = worker->has_failed;
  worker_finish(worker);
  free(worker);
  if (outcome == ERR_OK) {
    return has_failed ? EXIT_FAILURE : EXIT_SUCCESS;
  }
  /* A profile that can't be read or a path that isn't there was given by the caller. */
  return outcome == ERR_MALFORMED || outcome == ERR_NOT_FOUND || outcome == ERR_FULL ? EXIT_USAGE
                                                                                     : EXIT_FAILURE;
}

int main(int argc, char **argv) {
  struct options *options = calloc(1, sizeof(*options));
  if (options == NULL) {
    log_usage_error("worker", "out of memory");
    return EXIT_FAILURE;
  }
  int status = EXIT_SUCCESS;
  switch (options_parse(argc, argv, options)) {
  case OPTIONS_RUN:
    status = run(options);
    break;
  case OPTIONS_EXIT_OK:
    break;
  case OPTIONS_EXIT_USAGE:
    status = EXIT_USAGE;
    break;
  }
  free(options);
  return status;
}
