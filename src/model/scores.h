/* The greatest numbers of an answer that looks like a classifier's scores: what programs print of
 * it.
 *
 * Pure. Thread: any. Cost: one pass, no memory. */
#ifndef CLOCKWORK_MODEL_SCORES_H
#define CLOCKWORK_MODEL_SCORES_H

#include <stdint.h>

enum {
  SCORES_TOP = 5,
  SCORES_CLASSES_MIN = 10, /* an answer with fewer is no classifier's */
};

struct scores {
  uint32_t count; /* of `top`, at most SCORES_TOP; 0: none looks like a score */
  struct {
    uint64_t class_index;
    float value;
  } top[SCORES_TOP];   /* the greatest first, of equals the first one */
  uint64_t classes;    /* 0: not single floats, or fewer than SCORES_CLASSES_MIN */
  uint64_t nans_count; /* no numbers: they have no place in `top` */
};

/* `bytes` bytes of native single floats, at any address. */
void scores_read(const void *answer, uint64_t bytes, struct scores *ret_scores);

#endif
