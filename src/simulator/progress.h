/* How far a run is: a bar where a person looks on, a line now and then where not. */
#ifndef CLOCKWORK_SIMULATOR_PROGRESS_H
#define CLOCKWORK_SIMULATOR_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/time.h"

struct progress {
  struct instant started; /* real time */
  struct instant last;
  bool is_terminal;
  bool is_quiet;
};

/* Writes to standard error. */
void progress_init(struct progress *progress, bool is_quiet);

/* Cheap: writes only if a fifth of a second (terminal) or ten seconds have passed. */
void progress_update(struct progress *progress, struct duration simulated, struct duration total,
                     uint64_t requests);

/* Clear the bar. Returns the real time since progress_init(). */
struct duration progress_finish(struct progress *progress);

#endif
