/* What happens next in virtual time: a queue of event sources, not of events.
 *
 * A source is something that has at most one next moment: a node's timer, a network channel whose
 * first message is to arrive. So the queue is as long as there are sources (a few a worker),
 * however many messages are under way, and setting a moment allocates nothing.
 *
 * Order is (time, number of the source): total, so a run repeats exactly. What a source holds back
 * (the messages of a channel) leaves in its own order.
 *
 * The queue is a tournament as in base/tournament.h, but of words that hold a moment and a number:
 * of half the instructions, and which source is first needs no search. So that any moment and any
 * number fit, moments count from a base that moves on.
 *
 * Thread: one owner. Cost: O(log8 sources) a moment.
 */
#ifndef CLOCKWORK_SIMULATOR_EVENTS_H
#define CLOCKWORK_SIMULATOR_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/time.h"

struct events;

struct event {
  struct events *events;
  uint32_t number;
};

/* What of an event is needed to run it, by number: side by side they stay in the caches. */
struct event_source {
  struct instant (*run)(void *self, struct instant now);
  void *self;
  void (*expect)(const void *self);
  struct instant at; /* INSTANT_NEVER: not set */
};

enum { EVENTS_LEVELS_ABOVE_MAX = 8 };

struct events {
  /* (moment after `base`, number), of the sources by number, then the least of each eight of them,
   * then of each eight of these, level by level. */
  uint64_t *keys;
  uint64_t first_key;
  uint32_t number_bits; /* of a key: the lowest */
  uint32_t levels_above;
  size_t starts[EVENTS_LEVELS_ABOVE_MAX]; /* of the levels, in keys */
  struct instant base;
  struct event_source *sources;
  uint32_t sources_max;
  bool is_expecting;  /* some source wants to be told */
  uint32_t expected;  /* the number of the source that was told last */
  struct instant now; /* of the event that runs, or ran last */
  uint64_t run_count;
  uint32_t next_number;
  uint32_t standing_count; /* events run since time last moved */
  bool is_over;            /* set by an event: events_run() returns after it */
};

/* This many events without a step of time are a loop that would never end (CHECK). */
enum { EVENTS_STANDING_MAX = 1 << 24 };

size_t events_bytes(uint32_t sources_max);

/* `memory`: 64-byte aligned, zeroed, events_bytes(); the caller's. */
void events_init(struct events *events, void *memory, uint32_t sources_max, struct instant start);

/* `run`: it is `now`: act, and return the next moment (INSTANT_NEVER: none until event_set()). What
 * event_set() said of this event meanwhile is overruled.
 * Numbers are given in the order of these calls. */
void event_init(struct event *event, struct events *events,
                struct instant (*run)(void *self, struct instant now), void *self);

/* A hint: `expect` is called before another event runs if this one is to be the next, to bring what
 * it will touch into the processor's caches (base/prefetch.h). It changes nothing. */
void event_set_expect(struct event *event, void (*expect)(const void *self));

/* Its next moment; the past counts as now, INSTANT_NEVER takes it out. */
void event_set(struct event *event, struct instant at);

/* Run at most `events_max` events in their order, none once is_over. Returns how many ran. */
uint64_t events_run(struct events *events, uint64_t events_max);

#endif
