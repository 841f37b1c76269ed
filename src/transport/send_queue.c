#include "transport/send_queue.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

void batch_pool_finish(struct batch_pool *pool) {
  while (pool->first != NULL) {
    struct batch *batch = pool->first;
    pool->first = batch->next;
    free(batch);
  }
  pool->count = 0;
}

static struct batch *batch_take(struct batch_pool *pool) {
  struct batch *batch = pool->first;
  if (batch != NULL) {
    pool->first = batch->next;
    pool->count--;
  } else {
    batch = malloc(sizeof(*batch));
    if (batch == NULL) {
      return NULL;
    }
  }
  batch->next = NULL;
  batch->bytes = 0;
  batch->buffers_count = 0;
  batch->bodies_count = 0;
  batch->inline_bytes = 0;
  batch->ends_inline = false;
  return batch;
}

void batch_give(struct batch_pool *pool, struct batch *batch) {
  for (unsigned i = 0; i < batch->bodies_count; i++) {
    body_release(batch->bodies[i]);
  }
  if (pool->count == BATCH_POOL_COUNT_MAX) {
    free(batch);
    return;
  }
  batch->next = pool->first;
  pool->first = batch;
  pool->count++;
}

unsigned batch_skip(struct batch *batch, size_t count) {
  CHECK_LT(count, batch->bytes);
  batch->bytes -= count;
  unsigned i = 0;
  while (count >= batch->buffers[i].len) {
    count -= batch->buffers[i].len;
    i++;
  }
  batch->buffers[i].base += count;
  batch->buffers[i].len -= count;
  return i;
}

/* A batch with a free buffer, or, with `needs_inline`, one that bytes can be copied into. */
static struct batch *send_queue_room(struct send_queue *queue, struct batch_pool *pool,
                                     bool needs_inline) {
  struct batch *last = queue->last;
  if (last != NULL) {
    const bool has_buffer = last->buffers_count < BATCH_BUFFERS;
    const bool has_inline = last->inline_bytes < BATCH_INLINE_BYTES;
    if (needs_inline ? has_inline && (last->ends_inline || has_buffer) : has_buffer) {
      return last;
    }
  }
  struct batch *batch = batch_take(pool);
  if (batch == NULL) {
    return NULL;
  }
  if (last == NULL) {
    queue->first = batch;
  } else {
    last->next = batch;
  }
  queue->last = batch;
  return batch;
}

static void batch_add_buffer(struct batch *batch, const void *bytes, size_t count) {
  batch->buffers[batch->buffers_count++] =
      (uv_buf_t){.base = (char *)(uintptr_t)bytes, .len = count};
}

bool send_queue_copy(struct send_queue *queue, struct batch_pool *pool, const void *bytes,
                     size_t count) {
  const unsigned char *from = bytes;
  while (count > 0) {
    struct batch *batch = send_queue_room(queue, pool, true);
    if (batch == NULL) {
      return false;
    }
    const size_t room = BATCH_INLINE_BYTES - batch->inline_bytes;
    const size_t taken = count < room ? count : room;
    unsigned char *to = batch->inline_memory + batch->inline_bytes;
    memcpy(to, from, taken);
    if (batch->ends_inline) {
      batch->buffers[batch->buffers_count - 1].len += taken;
    } else {
      batch_add_buffer(batch, to, taken);
      batch->ends_inline = true;
    }
    batch->inline_bytes += (unsigned)taken;
    batch->bytes += taken;
    queue->bytes += taken;
    from += taken;
    count -= taken;
  }
  return true;
}

bool send_queue_refer(struct send_queue *queue, struct batch_pool *pool, struct body *body,
                      const void *bytes, size_t count) {
  if (count <= SLICE_COPIED_BYTES) {
    return send_queue_copy(queue, pool, bytes, count);
  }
  struct batch *batch = send_queue_room(queue, pool, false);
  if (batch == NULL) {
    return false;
  }
  batch_add_buffer(batch, bytes, count);
  batch->ends_inline = false;
  if (body != NULL) {
    batch->bodies[batch->bodies_count++] = body_retain(body);
  }
  batch->bytes += count;
  queue->bytes += count;
  return true;
}

struct batch *send_queue_pop(struct send_queue *queue) {
  struct batch *batch = queue->first;
  if (batch != NULL) {
    queue->first = batch->next;
    if (queue->first == NULL) {
      queue->last = NULL;
    }
    queue->bytes -= batch->bytes;
  }
  return batch;
}

void send_queue_clear(struct send_queue *queue, struct batch_pool *pool) {
  struct batch *batch;
  while ((batch = send_queue_pop(queue)) != NULL) {
    batch_give(pool, batch);
  }
}
