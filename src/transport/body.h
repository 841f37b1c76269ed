/* Bulk data of frames: reference-counted blocks, so that an input that came in from a client goes
 * out to a worker without being copied; and the budget that bounds how much of it is alive.
 *
 * Guarantee: live bodies of one budget plus the free blocks that it keeps for reuse never exceed
 * its maximum, rounding of block sizes included. Connections that receive into a budget stop
 * reading when it is spent, wait for room first come first served, and go on when bodies are
 * released; TCP then holds the peers back. So a program must be able to release bodies without
 * receiving another one into the same budget: a controller has one budget for what clients send and
 * another one for what workers answer.
 *
 * Thread: everything of one budget belongs to one thread (its event loop's).
 */
#ifndef CLOCKWORK_TRANSPORT_BODY_H
#define CLOCKWORK_TRANSPORT_BODY_H

#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

/* Block sizes: 1 KiB, then four per doubling up to 512 MiB, so that at most a fifth is wasted. */
enum { BODY_CLASSES = 4 * 19 + 1 };

struct body_budget {
  size_t max_bytes;
  size_t live_bytes;   /* of blocks that are live bodies */
  size_t kept_bytes;   /* free blocks kept for reuse; live + kept <= max */
  uint32_t live_count; /* bodies */
  struct body *kept[BODY_CLASSES];
  struct list waiting; /* connections that want room; the transport's */
};

struct body {
  struct body_budget *budget;
  struct body *next_kept;
  uint32_t refs;
  uint32_t bytes;       /* of data */
  uint32_t class_index; /* of its block */
  alignas(64) unsigned char data[];
};

/* A frame whose body needs more than `max_bytes` can never be received: its connection is closed.
 */
void body_budget_init(struct body_budget *budget, size_t max_bytes);

/* Free the kept blocks. No body may be alive, no connection may use the budget (CHECK). Accepts
 * NULL and a second call. */
void body_budget_finish(struct body_budget *budget);

/* A body with one reference and `bytes` uninitialised bytes of data; 64-byte aligned. NULL: the
 * budget is spent or the machine's memory is. Cost: usually a list operation; system calls when no
 * kept block fits. Programs use it too, for data that they make or gather themselves. */
struct body *body_create(struct body_budget *budget, uint32_t bytes);

/* True if a body of `bytes` would be within the budget now, or could ever be. */
bool body_budget_has_room(const struct body_budget *budget, uint32_t bytes);
bool body_budget_can_hold(const struct body_budget *budget, uint32_t bytes);

/* One more reference. Returns its argument. */
struct body *body_retain(struct body *body);

/* One reference less; the last one frees. Accepts NULL. Safe anywhere in the loop's thread:
 * connections that waited for room are resumed later, from the loop. */
void body_release(struct body *body);

#endif
