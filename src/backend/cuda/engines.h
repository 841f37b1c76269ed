/* The four engines of one GPU: a thread and a stream each.
 *
 *   LOAD     copies weights into pages while the mapper (mapper.h) maps these into the instance's
 *            window
 *   INPUT    gathers a batch in pinned memory, then copies it into the io slot
 *   EXECUTE  launches the instance's graph, which tells its own begin and end
 *   OUTPUT   copies from the io slot, then to whoever wanted the outputs
 *
 * A thread watches its mailbox and its device without sleeping while there was work within the last
 * `spin`; then it sleeps until it is woken. So under load a command starts, and its end is seen,
 * within a few microseconds, and an idle worker uses no processor.
 *
 * Thread: submit, evict, take and state from the owner of the backend alone.
 */
#ifndef CLOCKWORK_BACKEND_CUDA_ENGINES_H
#define CLOCKWORK_BACKEND_CUDA_ENGINES_H

#include "backend/cuda/models.h"

struct engines_config {
  struct device *device;
  uint32_t gpu_index;
  const struct models *models;
  struct duration spin;
  void (*notify)(void *user); /* a completion can be taken; from the engines' threads */
  void *notify_user;
};

struct engines;

/* ERR_NO_MEMORY, ERR_IO. */
MUST_USE enum err engines_create(const struct engines_config *config, struct engines **ret_engines,
                                 struct error_text *ret_error);

/* Ends commands under way first. Accepts NULL. */
void engines_destroy(struct engines *engines);

/* The engine must be idle and the model loaded (CHECK). Never waits. */
void engines_submit(struct engines *engines, struct instant now,
                    const struct backend_command *command);

/* The instance's window is no longer used; its pages may be given to another LOAD at once. */
void engines_evict(struct engines *engines, uint32_t model_id);

/* Whether the engine has a completion that ended at or before `now`; it stays until
 * engines_take(). */
bool engines_peek(const struct engines *engines, enum backend_engine engine, struct instant now,
                  struct backend_completion *ret_completion);
void engines_take(struct engines *engines, enum backend_engine engine);

/* The SM clock that completions report from now on. Any thread. */
void engines_set_clock(struct engines *engines, uint32_t clock_mhz);
uint32_t engines_clock(const struct engines *engines);

#endif
