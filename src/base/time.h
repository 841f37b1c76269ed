/* Points in time and spans of time, as two types that the compiler keeps apart.
 *
 * Both are integer nanoseconds. An instant counts from an origin that the caller chose (a monotonic
 * clock's start, a simulation's start); instants of different origins must not be mixed. Integers,
 * because a simulated run must be repeatable to the bit and 2^63 ns are 292 years.
 */
#ifndef CLOCKWORK_BASE_TIME_H
#define CLOCKWORK_BASE_TIME_H

#include <stdbool.h>
#include <stdint.h>

struct instant {
  int64_t ns;
};

struct duration {
  int64_t ns;
};

/* Later than every event: the answer of a wakeup() that waits for nothing. */
#define INSTANT_NEVER ((struct instant){INT64_MAX})
#define INSTANT_ZERO ((struct instant){0})
#define DURATION_ZERO ((struct duration){0})

#define NS_PER_US INT64_C(1000)
#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S INT64_C(1000000000)

static inline struct duration duration_ns(int64_t ns) {
  return (struct duration){ns};
}

static inline struct duration duration_us(int64_t us) {
  return (struct duration){us * NS_PER_US};
}

static inline struct duration duration_ms(int64_t ms) {
  return (struct duration){ms * NS_PER_MS};
}

static inline struct duration duration_s(int64_t s) {
  return (struct duration){s * NS_PER_S};
}

static inline struct duration duration_add(struct duration a, struct duration b) {
  return (struct duration){a.ns + b.ns};
}

static inline struct duration duration_sub(struct duration a, struct duration b) {
  return (struct duration){a.ns - b.ns};
}

static inline struct duration duration_min(struct duration a, struct duration b) {
  return a.ns < b.ns ? a : b;
}

static inline struct duration duration_max(struct duration a, struct duration b) {
  return a.ns > b.ns ? a : b;
}

/* Saturates at INSTANT_NEVER, so "never" plus anything stays "never". */
static inline struct instant instant_add(struct instant t, struct duration d) {
  if (d.ns > 0 && t.ns > INT64_MAX - d.ns) {
    return INSTANT_NEVER;
  }
  return (struct instant){t.ns + d.ns};
}

static inline struct instant instant_sub(struct instant t, struct duration d) {
  return (struct instant){t.ns - d.ns};
}

/* later - earlier; negative if the arguments are the other way round. */
static inline struct duration instant_since(struct instant later, struct instant earlier) {
  return (struct duration){later.ns - earlier.ns};
}

static inline bool instant_before(struct instant a, struct instant b) {
  return a.ns < b.ns;
}

static inline bool instant_after(struct instant a, struct instant b) {
  return a.ns > b.ns;
}

static inline struct instant instant_min(struct instant a, struct instant b) {
  return a.ns < b.ns ? a : b;
}

static inline struct instant instant_max(struct instant a, struct instant b) {
  return a.ns > b.ns ? a : b;
}

#endif
