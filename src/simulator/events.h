/* What happens next in virtual time: a queue of event sources, not of events.
 *
 * A source is something that has at most one next moment: a node's timer, a network channel whose
 * first message is to arrive. So the queue is as long as there are sources (a few a worker),
 * however many messages are under way, and setting a moment allocates nothing.
 *
 * Order is (time, number of the source): total, so a run repeats exactly. What a source holds back
 * (the messages of a channel) leaves in its own order.
 *
 * Thread: one owner. Cost: O(log sources) a moment (base/tournament.h).
 */
#ifndef CLOCKWORK_SIMULATOR_EVENTS_H
#define CLOCKWORK_SIMULATOR_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/time.h"
#include "base/tournament.h"

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
};

struct events {
  struct tournament next; /* of the sources, by number */
  struct event_source *sources;
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

/* A hint: `expect` is called when the event is probably the next but one, to bring what it will
 * touch into the processor's caches (base/prefetch.h). It changes nothing. */
void event_set_expect(struct event *event, void (*expect)(const void *self));

/* Its next moment; the past counts as now, INSTANT_NEVER takes it out. */
void event_set(struct event *event, struct instant at);

/* Run at most `events_max` events in their order, none once is_over. Returns how many ran. */
uint64_t events_run(struct events *events, uint64_t events_max);

#endif
