/* Maps physical pages into the windows of instances, on a thread of its own.
 *
 * A LOAD copies through the pool's own addresses (device.h), so it does not wait for its window:
 * the mapper fills that meanwhile, page by page, and a LOAD is done when both are. Windows of
 * evicted instances are unmapped while nothing is to be mapped. A physical page may still be mapped
 * in the window of an evicted instance while it is filled for another: nobody reads the old window.
 *
 * Measured on an H100: a page takes 22 us to map and 15 us to unmap, about half as much again
 * beside copies, and its copy takes 310 us. The thread sleeps while there is nothing to do: that it
 * wakes takes less than the first copy.
 *
 * Thread: evict from the owner of the backend, map and wait from the LOAD engine.
 */
#ifndef CLOCKWORK_BACKEND_CUDA_MAPPER_H
#define CLOCKWORK_BACKEND_CUDA_MAPPER_H

#include "backend/cuda/models.h"

struct mapper;

/* ERR_NO_MEMORY, ERR_IO. `device` and `models` must outlive the mapper. */
MUST_USE enum err mapper_create(struct device *device, uint32_t gpu_index,
                                const struct models *models, struct mapper **ret_mapper);

/* Unmaps everything. Accepts NULL. No map may be under way. */
void mapper_destroy(struct mapper *mapper);

/* Begin to map `pages` into the window of `model_id`, after what that window was used for before
 * has been undone. The pages must stay valid until mapper_wait(), which must follow. */
void mapper_map(struct mapper *mapper, uint32_t model_id, const uint32_t *pages);

/* Until all of them are mapped or `patience` is over; spins. On failure none stays mapped, but for
 * CUDA_ERROR_LAUNCH_TIMEOUT: then the device is to be given up. */
CUresult mapper_wait(struct mapper *mapper, struct duration patience);

/* After a mapper_wait() that succeeded: unmap it again, at once. From the LOAD engine. */
void mapper_undo(struct mapper *mapper, uint32_t model_id);

/* The window of `model_id` is no longer used: its pages may be given to another LOAD at once. No
 * effect where the window has nothing mapped by then. Never waits. */
void mapper_evict(struct mapper *mapper, uint32_t model_id);

#endif
