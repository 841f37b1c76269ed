/* The command line of `plan`: its own options, and those of `simulate`. */
#ifndef CLOCKWORK_SIMULATOR_PLAN_OPTIONS_H
#define CLOCKWORK_SIMULATOR_PLAN_OPTIONS_H

#include "simulator/options.h"

struct plan_options {
  struct options simulate; /* --workers has no meaning; --hours is how far to look */
  double target;           /* 0 to 1 */
  uint32_t gpus_max;
  struct duration window;
  struct duration verify;
  struct duration leadin;
  const char *csv; /* NULL: no curve */
};

/* As options_parse(). */
enum options_outcome plan_options_parse(int argc, char *const *argv,
                                        struct plan_options *ret_options, int *ret_exit_code);

#endif
