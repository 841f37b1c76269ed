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
  /* It is `now`: act, and return the next moment (INSTANT_NEVER: none until event_set()). What
   * event_set() said of this event meanwhile is overruled. */
  struct instant (*run)(void *self, struct instant now);
  void *self;
};

struct events {
  struct tournament next; /* of the sources, by number */
  struct event **sources;
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

/* Numbers are given in the order of these calls. */
void event_init(struct event *event, struct events *events,
                struct instant (*run)(void *self, struct instant now), void *self);

/* Its next moment; the past counts as now, INSTANT_NEVER takes it out. */
void event_set(struct event *event, struct instant at);

/* Run at most `events_max` events in their order, none once is_over. Returns how many ran. */
uint64_t events_run(struct events *events, uint64_t events_max);

#endif
