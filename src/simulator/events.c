#include "simulator/events.h"

#include "base/check.h"

size_t events_bytes(uint32_t sources_max) {
  struct arena arena;
  struct heap counted;
  arena_init_counting(&arena);
  heap_init(&counted, &arena, sources_max);
  return arena.used_bytes;
}

void events_init(struct events *events, void *memory, uint32_t sources_max, struct instant start) {
  struct arena arena;
  *events = (struct events){.now = start};
  arena_init(&arena, memory, events_bytes(sources_max));
  heap_init(&events->heap, &arena, sources_max);
}

void event_init(struct event *event, struct events *events,
                struct instant (*run)(void *self, struct instant now), void *self) {
  *event =
      (struct event){.events = events, .number = events->next_number++, .run = run, .self = self};
}

void event_set(struct event *event, struct instant at) {
  struct events *events = event->events;
  if (at.ns == INT64_MAX) {
    heap_discard(&events->heap, &event->node);
    return;
  }
  at = instant_max(at, events->now);
  if (!heap_contains(&event->node) || heap_key(&events->heap, &event->node) != at.ns) {
    heap_set(&events->heap, &event->node, at.ns, event->number);
  }
}

uint64_t events_run(struct events *events, uint64_t events_max) {
  uint64_t count = 0;
  while (count < events_max && events->heap.count > 0 && !events->is_over) {
    const struct instant at = {heap_first_key(&events->heap)};
    struct event *event = HEAP_ENTRY(heap_first(&events->heap), struct event, node);
    events->standing_count = at.ns == events->now.ns ? events->standing_count + 1 : 0;
    CHECK_LT(events->standing_count, EVENTS_STANDING_MAX);
    events->now = at;
    /* It keeps its place while it runs: one sift instead of a removal and an insertion. */
    event_set(event, event->run(event->self, at));
    count++;
  }
  events->run_count += count;
  return count;
}
