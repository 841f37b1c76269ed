/* What the conformance suite needs to know of a backend beyond its contract.
 *
 * A new backend joins with a file subject_NAME.c that opens it, and a line in CONFORMANCE_SUBJECTS.
 */
#ifndef CLOCKWORK_TESTS_CONFORMANCE_SUBJECT_H
#define CLOCKWORK_TESTS_CONFORMANCE_SUBJECT_H

#include <stdbool.h>

#include "backend/backend.h"

struct conformance_subject {
  struct backend backend;
  /* Two packages that differ, with inputs and outputs of 32-bit floats and more than one batch
   * size; a GPU's pages hold at least four of each, and at most a few hundred. */
  const char *paths[2];
  uint32_t models_max; /* model ids that may be used are below this; at least 1,024 */
  /* How far two outputs for the same input may lie apart, relative to the largest of them; 0: equal
   * to the bit. */
  float output_tolerance;
  struct instant (*now)(struct conformance_subject *subject);
  /* Let time pass until the backend may have something to poll, at the latest until `until`
   * (INSTANT_NEVER: no limit). In virtual time that is a jump. */
  void (*wait)(struct conformance_subject *subject, struct instant until);
  /* Make the GPU fail for good, soon; NULL where GPUs are never lost. */
  void (*lose)(struct conformance_subject *subject, uint32_t gpu_index);
  bool loses_together;                                /* the others may be lost with it */
  void (*close)(struct conformance_subject *subject); /* destroys the backend, too */
  void *state;                                        /* the subject's own */
};

/* X(name): conformance_open_NAME() is tested. */
#define CONFORMANCE_SUBJECTS(X) X(emulated) X(cpu) X(cuda)

/* False if this machine can't run it (no such device): its tests are skipped, and say so. */
#define CONFORMANCE_DECLARE_(name)                                                                 \
  bool conformance_open_##name(struct conformance_subject *ret_subject);
CONFORMANCE_SUBJECTS(CONFORMANCE_DECLARE_)
#undef CONFORMANCE_DECLARE_

#endif
