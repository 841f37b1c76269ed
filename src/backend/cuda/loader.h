/* The thread that loads models, and the queues to it and back.
 *
 * Thread: put and take from the owner of the backend alone.
 */
#ifndef CLOCKWORK_BACKEND_CUDA_LOADER_H
#define CLOCKWORK_BACKEND_CUDA_LOADER_H

#include "backend/cuda/models.h"

/* Jobs that may wait, be under way or be unanswered; one more is ERR_FULL. */
enum { LOADER_JOBS = 256 };

struct loader;

/* `models` is the loader's until loader_destroy(). ERR_NO_MEMORY, ERR_IO. */
MUST_USE enum err loader_create(struct models *models, void (*notify)(void *user),
                                void *notify_user, struct loader **ret_loader);

/* After the job under way, without those behind it. Accepts NULL. */
void loader_destroy(struct loader *loader);

/* The job is copied. ERR_FULL. Never waits for a job. */
MUST_USE enum err loader_put(struct loader *loader, const struct backend_load_model *job);

/* A finished job; false: there is none. */
bool loader_take(struct loader *loader, struct backend_loaded_model *ret_loaded);

#endif
