/* The registry of workloads: one line each in kinds.c makes a workload available to every program.
 */
#ifndef CLOCKWORK_WORKLOAD_KINDS_H
#define CLOCKWORK_WORKLOAD_KINDS_H

#include "workload/plan.h"
#include "workload/workload.h"

struct workload_kind {
  const char *name;
  const char *description;
  const struct workload_parameter *parameters;
  uint32_t parameter_count;
  bool needs_trace;
  /* Index of the parameter that names the trace; UINT32_MAX: the first trace. */
  uint32_t trace_parameter;
  /* Refuse parameters that make no sense together. Each by itself is within its range. May be NULL.
   * On ERR_RANGE the text after "workload: " was appended. */
  enum err (*check)(const struct workload_config *config, struct text_builder *text);
  /* Say what the workload consists of. */
  void (*plan)(const struct workload_config *config, struct plan *plan);
};

#endif
