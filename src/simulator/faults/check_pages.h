/* What a device sees of weights, by its own books:
 *
 *  - no page is in two places: a LOAD fills pages that are free, all within the GPU, as many as the
 *    model has, each once;
 *  - an eviction releases the pages that the LOAD filled, of weights that are wholly there;
 *  - weights in use, being loaded or executing, are never evicted;
 *  - what executes is wholly there.
 */
#ifndef CLOCKWORK_SIMULATOR_FAULTS_CHECK_PAGES_H
#define CLOCKWORK_SIMULATOR_FAULTS_CHECK_PAGES_H

#include "simulator/faults/findings.h"
#include "simulator/observer.h"

struct check_pages;

/* NULL: out of memory. `weights_pages`: by model id; must outlive it. */
struct check_pages *check_pages_create(struct findings *findings, uint32_t workers, uint32_t gpus,
                                       uint32_t pages, uint32_t models,
                                       const uint32_t *weights_pages);
/* Accepts NULL. */
void check_pages_destroy(struct check_pages *check);

void check_pages_on_submit(struct check_pages *check, struct instant now, uint32_t worker_id,
                           const struct backend_command *command);
void check_pages_on_completion(struct check_pages *check, uint32_t worker_id,
                               const struct backend_command *command,
                               const struct backend_completion *completion);
void check_pages_on_evict(struct check_pages *check, struct instant now, uint32_t worker_id,
                          uint32_t gpu_index, uint32_t model_id, const uint32_t *pages,
                          uint32_t pages_count);
void check_pages_on_worker_started(struct check_pages *check, uint32_t worker_id);

#endif
