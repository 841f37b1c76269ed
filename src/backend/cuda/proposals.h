/* Ways to run an operation that are worth measuring: what cuDNN's and cuBLASLt's heuristics name,
 * and this backend's kernels where those may win.
 *
 * Heuristics think for 5 ms about one convolution of cuDNN 9 (19 s for the 3,610 different problems
 * of the zoo's 61 varieties, on one core of an H100's machine), so several threads ask at once,
 * each through a handle of its own, as cuDNN wants it.
 *
 * Thread: the loader's, with the device entered; proposals_ask() starts others and ends them.
 */
#ifndef CLOCKWORK_BACKEND_CUDA_PROPOSALS_H
#define CLOCKWORK_BACKEND_CUDA_PROPOSALS_H

#include "backend/cuda/choices.h"

enum {
  PROPOSAL_TEXT_BYTES = CONVOLUTION_TEXT_BYTES,
  PROPOSALS_MAX = 48,
  /* At most; half of the cores that the loader may use are left to the engines' threads. */
  PROPOSERS_MAX = 8,
};

struct proposal {
  enum choice_form form;
  char text[PROPOSAL_TEXT_BYTES];
};

struct proposals {
  uint32_t op_index; /* the caller's */
  uint32_t count;    /* at least 1 once asked */
  struct proposal items[PROPOSALS_MAX];
};

/* cuDNN's handles but for the device's own, made when first used; zeroed is valid and empty. */
struct proposers {
  cudnnHandle_t handles[PROPOSERS_MAX - 1];
};

/* With the device entered; a lost device keeps what it held. */
void proposers_finish(struct proposers *proposers, const struct device *device);

/* For `count` operations of the emitter's batch, each convolution, product or recurrent: fills in
 * all but op_index. `compiled`: also engines that are compiled when first used. Threads that don't
 * start and handles that aren't given only make it slower. */
void proposals_ask(struct proposers *proposers, const struct emit *emit, bool compiled,
                   struct proposals *asked, uint32_t count);

/* How much of a convolution cuDNN does in `form`. */
static inline enum convolution_extent proposal_extent(enum choice_form form) {
  return form == CHOICE_CONVOLUTION_BARE    ? CONVOLUTION_BARE
         : form == CHOICE_CONVOLUTION_ASIDE ? CONVOLUTION_ASIDE
                                            : CONVOLUTION_WHOLE;
}

#endif
