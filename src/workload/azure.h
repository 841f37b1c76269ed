/* The models of the azure workloads: which varieties, and how many copies of each. */
#ifndef CLOCKWORK_WORKLOAD_AZURE_H
#define CLOCKWORK_WORKLOAD_AZURE_H

#include <stdbool.h>
#include <stdint.h>

#include "workload/plan.h"

enum { AZURE_VARIETIES = 61 };

/* Load per worker at load factor 1: an eighth of the trace's calls. */
#define AZURE_WORKER_SHARE 0.125

/* index < AZURE_VARIETIES. Static storage. */
const char *azure_variety(uint32_t index);

/* `memory_load_factor` is 1 to 4. */
void azure_add_models(struct plan *plan, bool use_all_models, uint32_t memory_load_factor);

#endif
