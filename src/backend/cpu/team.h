/* The threads that compute one device's operations together.
 *
 * oneDNN as Debian builds it runs on OpenMP, whose runtime keeps one set of helper threads for each
 * thread that asks. Own kernels run on the same set: two sets would wait for each other's cores.
 */
#ifndef CLOCKWORK_BACKEND_CPU_TEAM_H
#define CLOCKWORK_BACKEND_CPU_TEAM_H

#include <stdbool.h>
#include <stdint.h>

/* From now on what this thread computes is shared by `threads` threads, itself included; they
 * outlive its operations. first_core < 0: they run where the system puts them; else thread i is
 * pinned to core first_core + i of those that the process may use. */
void team_form(uint32_t threads, int32_t first_core);

/* The calling thread, and those that it starts from now on, keep off the first `cores` of the cores
 * that it may use; if there are no others, nothing changes. */
void team_keep_off(uint32_t cores);

/* part(user, i, parts) for every i < parts, one a thread of the calling thread's team, all at once.
 * `parts` is at most its size. Returns when all are done. Cost: a few us. */
void team_run(void (*part)(void *user, uint32_t part, uint32_t parts), void *user, uint32_t parts);

/* The calling thread's helpers end; team_run() or oneDNN starts new ones. For a thread that
 * computes now and then: the runtime counts the helpers of all threads, and where they are more
 * than the cores it lets none of them wait awake for more than some 10 us. Each operation then
 * begins with a wake-up. */
void team_dismiss(void);

/* Cores that the calling thread may use. */
uint32_t team_cores(void);

#endif
