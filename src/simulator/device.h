/* A GPU that may be slow, stalled, failing or lost: a backend in front of another one, which it
 * passes commands to and whose completions it holds back or spoils.
 *
 * Like a real device that another tenant slows down, it says nothing of it: its clock reads as
 * ever. Commands under way when a fault is set keep their speed; a stall holds up the transfer that
 * is under way or comes next.
 *
 * Thread: one owner. Cost: O(GPUs) a call.
 */
#ifndef CLOCKWORK_SIMULATOR_DEVICE_H
#define CLOCKWORK_SIMULATOR_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/backend.h"
#include "simulator/observer.h"

struct device;

size_t device_bytes(uint32_t gpus_count);

/* `memory`: 64-byte aligned, zeroed, device_bytes(); the caller's. `inner` has gpus_count GPUs and
 * is destroyed with this one. `observer` may be NULL; it is given the moment that `*global_now`
 * shows, because a backend knows only its worker's clock. */
struct backend device_init(void *memory, struct backend inner, uint32_t gpus_count,
                           uint32_t worker_id, const struct instant *global_now,
                           const struct observer *observer);

/* Executions begun from now on take this many thousandths of their time, at least 1000: as ever. */
void device_set_speed(struct backend *device, uint32_t gpu_index, uint32_t permille);

/* The next transfer of weights to end, or the one under way, takes so much longer. */
void device_stall_load(struct backend *device, uint32_t gpu_index, struct duration by);

/* The GPU is lost for good, as the caller makes the inner backend's: what is held back ends now. */
void device_lose(struct backend *device, struct instant now, uint32_t gpu_index);

/* From now on, commands of that engine fail when they end, or do not. */
void device_set_failing(struct backend *device, uint32_t gpu_index, enum backend_engine engine,
                        bool is_failing);

#endif
