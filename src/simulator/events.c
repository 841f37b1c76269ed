#include "simulator/events.h"

#include "base/check.h"

static void carve(struct events *events, struct arena *arena, uint32_t sources_max) {
  tournament_init(&events->next, arena, sources_max);
  events->sources = arena_take(arena, sources_max, sizeof(struct event_source));
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
  *event = (struct event){.events = events, .number = events->next_number++};
  CHECK_LT(event->number, events->next.capacity);
  events->sources[event->number] = (struct event_source){.run = run, .self = self};
}

void event_set_expect(struct event *event, void (*expect)(const void *self)) {
  event->events->sources[event->number].expect = expect;
  event->events->is_expecting = true;
}

static void set(struct events *events, uint32_t number, struct instant at) {
  at = instant_max(at, events->now);
  if (tournament_key(&events->next, number) != at.ns) {
    tournament_set(&events->next, number, at.ns);
  }
}

void event_set(struct event *event, struct instant at) {
  set(event->events, event->number, at);
}

static void expect_runner_up(struct events *events) {
  if (!events->is_expecting) {
    return;
  }
  const uint32_t number = tournament_runner_up(&events->next);
  const struct event_source *source = &events->sources[number];
  if (number != events->expected && source->expect != NULL) {
    source->expect(source->self);
  }
  events->expected = number;
}

uint64_t events_run(struct events *events, uint64_t events_max) {
  uint64_t count = 0;
  while (count < events_max && !events->is_over) {
    const struct instant at = {tournament_first_key(&events->next)};
    if (at.ns == INT64_MAX) {
      break;
    }
    const uint32_t number = tournament_first(&events->next);
    const struct event_source *source = &events->sources[number];
    events->standing_count = at.ns == events->now.ns ? events->standing_count + 1 : 0;
    CHECK_LT(events->standing_count, EVENTS_STANDING_MAX);
    events->now = at;
    /* It keeps its key while it runs: one change instead of two. */
    set(events, number, source->run(source->self, at));
    expect_runner_up(events);
    count++;
  }
  events->run_count += count;
  return count;
}
