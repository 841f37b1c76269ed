#include "base/clock_offset.h"

/* Whether both can be of clocks that run on as they did: each is off by half its round trip at
 * most. */
static bool is_compatible(const struct clock_offset_sample *a,
                          const struct clock_offset_sample *b) {
  int64_t apart_ns = 0;
  if (__builtin_sub_overflow(a->offset_ns, b->offset_ns, &apart_ns) || apart_ns == INT64_MIN) {
    return false;
  }
  apart_ns = apart_ns < 0 ? -apart_ns : apart_ns;
  return apart_ns <= a->round_trip_ns / 2 + b->round_trip_ns / 2 + CLOCK_OFFSET_DRIFT_NS;
}

bool clock_offset_on_exchanged(struct clock_offset *offset, struct instant sent_ours,
                               struct instant received_peers, struct instant answered_peers,
                               struct instant received_ours) {
  /* A peer chooses its numbers: differences are taken unsigned and checked, not trusted. */
  const int64_t elapsed_ns = (int64_t)((uint64_t)received_ours.ns - (uint64_t)sent_ours.ns);
  const int64_t held_ns = (int64_t)((uint64_t)answered_peers.ns - (uint64_t)received_peers.ns);
  if (elapsed_ns < 0 || held_ns < 0 || held_ns > elapsed_ns) {
    return false;
  }
  const int64_t there_ns = (int64_t)((uint64_t)received_peers.ns - (uint64_t)sent_ours.ns);
  const int64_t back_ns = (int64_t)((uint64_t)answered_peers.ns - (uint64_t)received_ours.ns);
  const struct clock_offset_sample sample = {.offset_ns = there_ns / 2 + back_ns / 2 +
                                                          (there_ns % 2 + back_ns % 2) / 2,
                                             .round_trip_ns = elapsed_ns - held_ns};
  if (offset->count > 0 && !is_compatible(&offset->best, &sample)) {
    *offset = (struct clock_offset){.count = 0}; /* a clock was set, or stood still */
  }
  offset->samples[offset->next] = sample;
  offset->next = (offset->next + 1) % CLOCK_OFFSET_WINDOW;
  if (offset->count < CLOCK_OFFSET_WINDOW) {
    offset->count++;
  }
  offset->best = offset->samples[0];
  for (uint32_t i = 1; i < offset->count; i++) {
    if (offset->samples[i].round_trip_ns < offset->best.round_trip_ns) {
      offset->best = offset->samples[i];
    }
  }
  return true;
}

struct duration clock_offset_estimate(const struct clock_offset *offset) {
  return (struct duration){offset->best.offset_ns};
}

struct duration clock_offset_error(const struct clock_offset *offset) {
  return offset->count == 0 ? duration_s(3600)
                            : (struct duration){offset->best.round_trip_ns / 2 + 1};
}

/* Saturating, since one side of the difference came from a peer. */
static struct instant shifted(struct instant t, int64_t by_ns) {
  int64_t result = 0;
  if (__builtin_add_overflow(t.ns, by_ns, &result)) {
    result = by_ns > 0 ? INT64_MAX : INT64_MIN;
  }
  return (struct instant){result};
}

struct instant clock_offset_to_ours(const struct clock_offset *offset, struct instant peers) {
  const int64_t estimate_ns = clock_offset_estimate(offset).ns;
  return shifted(peers, estimate_ns == INT64_MIN ? INT64_MAX : -estimate_ns);
}

struct instant clock_offset_to_peers(const struct clock_offset *offset, struct instant ours) {
  return shifted(ours, clock_offset_estimate(offset).ns);
}
