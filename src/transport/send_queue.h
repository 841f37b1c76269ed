/* What a connection still has to send: batches of small bytes and references to bodies, laid out as
 * writev wants them. Inner part of transport/.
 *
 * Small things are copied behind each other into the batch, so that a thousand small frames are one
 * buffer of one system call; bodies are sent from where they lie.
 */
#ifndef CLOCKWORK_TRANSPORT_SEND_QUEUE_H
#define CLOCKWORK_TRANSPORT_SEND_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "transport/body.h"

enum {
  BATCH_BUFFERS = 64,         /* of one writev; far more bytes than a socket takes */
  BATCH_INLINE_BYTES = 65536, /* copied bytes of one batch */
  SLICE_COPIED_BYTES = 1024,  /* a slice up to this is copied: cheaper than a buffer of its own */
  BATCH_POOL_COUNT_MAX = 32,  /* batches kept for reuse: 2 MiB */
};

struct batch {
  uv_write_t request;
  struct batch *next;
  size_t bytes; /* that the kernel has not taken yet */
  unsigned buffers_count;
  unsigned bodies_count;
  unsigned inline_bytes;
  bool ends_inline; /* the last buffer is copied bytes and may grow */
  uv_buf_t buffers[BATCH_BUFFERS];
  struct body *bodies[BATCH_BUFFERS];
  unsigned char inline_memory[BATCH_INLINE_BYTES];
};

/* Batches at rest, shared by the connections of a loop. */
struct batch_pool {
  struct batch *first;
  unsigned count;
};

struct send_queue {
  struct batch *first;
  struct batch *last;
  size_t bytes; /* of all its batches */
};

void batch_pool_finish(struct batch_pool *pool);

/* Release its bodies and put it back. */
void batch_give(struct batch_pool *pool, struct batch *batch);

/* Leave out the first `count` bytes, which the kernel has taken; count < batch->bytes. Returns the
 * index of the first buffer that still has bytes. */
unsigned batch_skip(struct batch *batch, size_t count);

/* False: out of memory; the queue then holds a part and its connection must end. */
bool send_queue_copy(struct send_queue *queue, struct batch_pool *pool, const void *bytes,
                     size_t count);

/* `body` NULL: `bytes` stay valid. Else they lie in it and a reference is taken. */
bool send_queue_refer(struct send_queue *queue, struct batch_pool *pool, struct body *body,
                      const void *bytes, size_t count);

/* Take the first batch out of the queue, NULL when empty. */
struct batch *send_queue_pop(struct send_queue *queue);

/* Drop everything. */
void send_queue_clear(struct send_queue *queue, struct batch_pool *pool);

#endif
