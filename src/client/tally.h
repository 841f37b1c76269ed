/* What became of the requests: counts, latencies, and how late they were sent; and the lines that
 * the client prints of it.
 *
 * Latency runs from the instant at which a request was due, not from when it was sent, to its
 * answer: what a slow generator or a full queue adds stands in it (no coordinated omission). Lag is
 * the first part of it, from due to sent. Latencies are those of successes; everything else is a
 * count.
 *
 * Pure.
 */
#ifndef CLOCKWORK_CLIENT_TALLY_H
#define CLOCKWORK_CLIENT_TALLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/histogram.h"
#include "base/time.h"

enum {
  /* Results 0 to 8 have names (model/status.h); the last one counts all numbers above. */
  TALLY_RESULTS = 10,
  TALLY_TEXT_BYTES = 1024,
};

/* All zero: empty. 116 kB. */
struct tally {
  uint64_t due_count;      /* = sent + not sent */
  uint64_t sent_count;     /* = answered + lost + those still under way */
  uint64_t not_sent_count; /* no connection, or no room in its queue */
  uint64_t lost_count;     /* the connection ended before the answer */
  uint64_t results[TALLY_RESULTS];
  uint64_t good_count;  /* successes within their SLO */
  uint64_t wrong_count; /* successes with another output than expected (--check-outputs) */
  struct histogram latency;
  struct histogram lag;
};

void tally_on_sent(struct tally *tally, struct duration lag);
void tally_on_not_sent(struct tally *tally);
void tally_on_lost(struct tally *tally);
void tally_on_answered(struct tally *tally, uint32_t result, struct duration latency,
                       struct duration slo);

uint64_t tally_answered_count(const struct tally *tally);

/* Add `from` to `into`. */
void tally_merge(struct tally *into, const struct tally *from);

/* The line of every ten seconds. `seconds` > 0 is the time that the tally covers, `under_way_count`
 * what waits for an answer. The text is cut to `capacity_bytes`; no newline. */
void tally_write_line(const struct tally *tally, double seconds, uint32_t under_way_count,
                      char *ret_text, size_t capacity_bytes);

/* The lines at the end: call with `line` 0, 1, ... until it returns false. */
bool tally_write_total(const struct tally *tally, double seconds, uint32_t line, char *ret_text,
                       size_t capacity_bytes);

#endif
