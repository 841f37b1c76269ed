#include "simulator/events.h"

#include "base/check.h"

static void carve(struct events *events, struct arena *arena, uint32_t sources_max) {
  tournament_init(&events->next, arena, sources_max);
  events->sources = arena_take(arena, sources_max, sizeof(struct event *));
}

size_t events_bytes(uint32_t sources_max) {
  struct arena arena;
  struct events counted;
  arena_init_counting(&arena);
  carve(&counted, &arena, sources_max);
  return arena.used_bytes;
}

void events_init(struct events *events, void *memory, uint32_t sources_max, struct instant start) {
  struct arena arena;
  *events = (struct events){.now = start};
  arena_init(&arena, memory, events_bytes(sources_max));
  carve(events, &arena, sources_max);
}

void event_init(struct event *event, struct events *events,
                struct instant (*run)(void *self, struct instant now), void *self) {
  *event =
      (struct event){.events = events, .number = events->next_number++, .run = run, .self = self};
  CHECK_LT(event->number, events->next.capacity);
  events->sources[event->number] = event;
}

void event_set(struct event *event, struct instant at) {
  struct events *events = event->events;
  at = instant_max(at, events->now);
  if (tournament_key(&events->next, event->number) != at.ns) {
    tournament_set(&events->next, event->number, at.ns);
  }
}

uint64_t events_run(struct events *events, uint64_t events_max) {
  uint64_t count = 0;
  while (count < events_max && !events->is_over) {
    const struct instant at = {tournament_first_key(&events->next)};
    if (at.ns == INT64_MAX) {
      break;
    }
    struct event *event = events->sources[tournament_first(&events->next)];
    events->standing_count = at.ns == events->now.ns ? events->standing_count + 1 : 0;
    CHECK_LT(events->standing_count, EVENTS_STANDING_MAX);
    events->now = at;
    /* It keeps its key while it runs: one change instead of two. */
    event_set(event, event->run(event->self, at));
    count++;
  }
  events->run_count += count;
  return count;
}
