#include "package/memory_plan.h"

#include "base/check.h"

size_t memory_plan_scratch_bytes(uint32_t buffers_count) {
  return ((size_t)buffers_count * 2 + 1) * sizeof(uint32_t);
}

/* Larger first; of equals the one that lives earlier, then the one that stands first: the plan is
 * the same for the same buffers. */
static int goes_before(const struct memory_plan_buffer *buffers, uint32_t a, uint32_t b) {
  if (buffers[a].bytes != buffers[b].bytes) {
    return buffers[a].bytes > buffers[b].bytes;
  }
  if (buffers[a].first_op != buffers[b].first_op) {
    return buffers[a].first_op < buffers[b].first_op;
  }
  return a < b;
}

/* Of a heap whose first goes last. */
static void sift(const struct memory_plan_buffer *buffers, uint32_t *order, uint32_t at,
                 uint32_t count) {
  const uint32_t moved = order[at];
  for (uint64_t child = 2 * (uint64_t)at + 1; child < count; child = 2 * (uint64_t)at + 1) {
    if (child + 1 < count && goes_before(buffers, order[child], order[child + 1])) {
      child++;
    }
    if (!goes_before(buffers, moved, order[child])) {
      break;
    }
    order[at] = order[child];
    at = (uint32_t)child;
  }
  order[at] = moved;
}

static void sort(const struct memory_plan_buffer *buffers, uint32_t *order, uint32_t count) {
  for (uint32_t i = count / 2; i-- > 0;) {
    sift(buffers, order, i, count);
  }
  for (uint32_t end = count; end-- > 1;) {
    const uint32_t last = order[0];
    order[0] = order[end];
    order[end] = last;
    sift(buffers, order, 0, end);
  }
}

/* The lowest place for `buffer` among the `count` that have theirs, which are in order of offset.
 */
static uint64_t find_gap(const struct memory_plan_buffer *buffers, const uint32_t *placed,
                         uint32_t count, const struct memory_plan_buffer *buffer,
                         uint32_t align_bytes) {
  uint64_t offset = 0;
  for (uint32_t i = 0; i < count; i++) {
    const struct memory_plan_buffer *other = &buffers[placed[i]];
    if (other->first_op > buffer->last_op || other->last_op < buffer->first_op) {
      continue;
    }
    if (other->offset_bytes >= offset + buffer->bytes) {
      break;
    }
    const uint64_t end = other->offset_bytes + other->bytes;
    const uint64_t aligned = (end + align_bytes - 1) / align_bytes * align_bytes;
    offset = aligned > offset ? aligned : offset;
  }
  return offset;
}

static void insert_by_offset(const struct memory_plan_buffer *buffers, uint32_t *placed,
                             uint32_t count, uint32_t buffer) {
  uint32_t at = count;
  while (at > 0 && buffers[placed[at - 1]].offset_bytes > buffers[buffer].offset_bytes) {
    placed[at] = placed[at - 1];
    at--;
  }
  placed[at] = buffer;
}

uint64_t memory_plan_assign(struct memory_plan_buffer *buffers, uint32_t buffers_count,
                            uint32_t align_bytes, void *scratch) {
  uint32_t *order = scratch;
  uint32_t *placed = order + buffers_count;
  uint64_t sum = 0;
  CHECK_GT(align_bytes, 0);
  for (uint32_t i = 0; i < buffers_count; i++) {
    CHECK_LE(buffers[i].first_op, buffers[i].last_op);
    CHECK(buffers[i].bytes <= (uint64_t)INT64_MAX - align_bytes &&
          sum <= (uint64_t)INT64_MAX - align_bytes - buffers[i].bytes);
    sum += buffers[i].bytes + align_bytes;
    order[i] = i;
  }
  sort(buffers, order, buffers_count);
  uint64_t total = 0;
  for (uint32_t i = 0; i < buffers_count; i++) {
    struct memory_plan_buffer *buffer = &buffers[order[i]];
    buffer->offset_bytes = find_gap(buffers, placed, i, buffer, align_bytes);
    insert_by_offset(buffers, placed, i, order[i]);
    const uint64_t end = buffer->offset_bytes + buffer->bytes;
    total = end > total ? end : total;
  }
  return total;
}
