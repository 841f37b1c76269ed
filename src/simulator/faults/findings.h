/* What the checkers found: data, kept until the run is over. The first of a run counts, because
 * what follows a broken promise may follow from it.
 */
#ifndef CLOCKWORK_SIMULATOR_FAULTS_FINDINGS_H
#define CLOCKWORK_SIMULATOR_FAULTS_FINDINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/time.h"

enum { FINDING_TEXT_BYTES = 320 };

/* All zero: nothing was found. */
struct findings {
  uint64_t count;
  bool *is_over; /* set with the first, if not NULL: the run is to end at once */
  /* Of the first. */
  const char *checker; /* its name; static storage */
  struct instant at;
  char text[FINDING_TEXT_BYTES]; /* what, with values */
};

__attribute__((format(printf, 4, 5))) void findings_add(struct findings *findings,
                                                        const char *checker, struct instant at,
                                                        const char *format, ...);

#endif
