#include "simulator/events.h"

#include "base/check.h"

enum { GROUP = 8 };

#define KEY_NONE UINT64_MAX

static uint32_t groups_of(uint32_t count) {
  return count / GROUP + (count % GROUP != 0);
}

static void carve(struct events *events, struct arena *arena, uint32_t sources_max) {
  uint32_t groups = groups_of(sources_max == 0 ? 1 : sources_max);
  size_t places = (size_t)groups * GROUP;
  events->levels_above = 0;
  while (groups > 1) {
    CHECK_LT(events->levels_above, EVENTS_LEVELS_ABOVE_MAX);
    events->starts[events->levels_above++] = places;
    groups = groups_of(groups);
    places += (size_t)groups * GROUP;
  }
  events->keys = arena_take(arena, places, sizeof(uint64_t));
  for (size_t i = 0; i < places && !arena_is_counting(arena); i++) {
    events->keys[i] = KEY_NONE;
  }
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
  *events = (struct events){
      .now = start, .base = start, .sources_max = sources_max, .first_key = KEY_NONE};
  while (sources_max >> events->number_bits != 0) {
    events->number_bits++;
  }
  arena_init(&arena, memory, events_bytes(sources_max));
  carve(events, &arena, sources_max);
}

void event_init(struct event *event, struct events *events,
                struct instant (*run)(void *self, struct instant now), void *self) {
  *event = (struct event){.events = events, .number = events->next_number++};
  CHECK_LT(event->number, events->sources_max);
  events->sources[event->number] =
      (struct event_source){.run = run, .self = self, .at = INSTANT_NEVER};
}

void event_set_expect(struct event *event, void (*expect)(const void *self)) {
  event->events->sources[event->number].expect = expect;
  event->events->is_expecting = true;
}

/* ---- the tournament -------------------------------------------------------------------------- */

static inline uint64_t lesser(uint64_t a, uint64_t b) {
  return b < a ? b : a;
}

static inline uint64_t group_least(const uint64_t *keys) {
  return lesser(lesser(lesser(keys[0], keys[1]), lesser(keys[2], keys[3])),
                lesser(lesser(keys[4], keys[5]), lesser(keys[6], keys[7])));
}

/* The key has become less. */
static inline void hasten(struct events *events, uint32_t number, uint64_t key) {
  uint64_t *level = events->keys;
  uint32_t place = number;
  level[place] = key;
  for (uint32_t i = 0; i < events->levels_above; i++) {
    place /= GROUP;
    level = &events->keys[events->starts[i]];
    if (level[place] <= key) {
      return;
    }
    level[place] = key;
  }
  events->first_key = lesser(events->first_key, key);
}

/* The first one takes no part any more. What each level holds besides is compared first, at all
 * levels at the same time as it were; only then one waits for what comes from below. */
static inline void remove_first(struct events *events, uint32_t number) {
  uint64_t *level = events->keys;
  uint32_t place = number;
  uint64_t key = KEY_NONE;
  for (uint32_t i = 0;; i++) {
    level[place] = KEY_NONE;
    const uint64_t least_besides = group_least(&level[place / GROUP * GROUP]);
    level[place] = key;
    key = lesser(key, least_besides);
    if (i == events->levels_above) {
      break;
    }
    place /= GROUP;
    level = &events->keys[events->starts[i]];
  }
  events->first_key = key;
}

/* Any change. */
static inline void set_key(struct events *events, uint32_t number, uint64_t key) {
  uint64_t *level = events->keys;
  uint32_t place = number;
  level[place] = key;
  for (uint32_t i = 0; i < events->levels_above; i++) {
    const uint32_t group = place / GROUP;
    const uint64_t least = group_least(&level[group * GROUP]);
    level = &events->keys[events->starts[i]];
    if (level[group] == least) {
      return;
    }
    level[group] = least;
    place = group;
  }
  events->first_key = group_least(level);
}

/* ---- keys: a moment and a number ------------------------------------------------------------- */

/* The latest moment that a key can tell from later ones, after `base`. */
static inline uint64_t horizon(const struct events *events) {
  return (KEY_NONE >> events->number_bits) - 1;
}

static inline uint64_t key_of(const struct events *events, uint32_t number, struct instant at) {
  if (at.ns == INT64_MAX) {
    return KEY_NONE;
  }
  const uint64_t after = (uint64_t)at.ns - (uint64_t)events->base.ns;
  return lesser(after, horizon(events)) << events->number_bits | number;
}

static inline void set(struct events *events, uint32_t number, struct instant at) {
  at = instant_max(at, events->now);
  const uint64_t key = key_of(events, number, at);
  events->sources[number].at = at;
  if (key < events->keys[number]) {
    hasten(events, number, key);
  } else if (key > events->keys[number]) {
    set_key(events, number, key);
  }
}

void event_set(struct event *event, struct instant at) {
  set(event->events, event->number, at);
}

/* Nothing is left before the horizon: it moves on, so that the first of what is beyond shows. */
static void move_horizon(struct events *events) {
  struct instant first = INSTANT_NEVER;
  for (uint32_t i = 0; i < events->next_number; i++) {
    first = instant_min(first, events->sources[i].at);
  }
  events->base = first;
  for (uint32_t i = 0; i < events->next_number; i++) {
    set_key(events, i, key_of(events, i, events->sources[i].at));
  }
}

/* ---- running --------------------------------------------------------------------------------- */

static inline uint32_t number_of(const struct events *events, uint64_t key) {
  return (uint32_t)(key & ((UINT64_C(1) << events->number_bits) - 1));
}

/* Before an event runs: the next one, as far as is known. */
static void expect_next(struct events *events) {
  if (!events->is_expecting || events->first_key == KEY_NONE) {
    return;
  }
  const uint32_t number = number_of(events, events->first_key);
  const struct event_source *source = &events->sources[number];
  if (number != events->expected && source->expect != NULL) {
    source->expect(source->self);
  }
  events->expected = number;
}

uint64_t events_run(struct events *events, uint64_t events_max) {
  uint64_t count = 0;
  while (count < events_max && !events->is_over && events->first_key != KEY_NONE) {
    if (events->first_key >> events->number_bits == horizon(events)) {
      move_horizon(events);
    }
    const uint32_t number = number_of(events, events->first_key);
    struct event_source *source = &events->sources[number];
    const struct instant at = source->at;
    events->standing_count = at.ns == events->now.ns ? events->standing_count + 1 : 0;
    CHECK_LT(events->standing_count, EVENTS_STANDING_MAX);
    events->now = at;
    source->at = INSTANT_NEVER;
    remove_first(events, number);
    expect_next(events);
    set(events, number, source->run(source->self, at));
    count++;
  }
  events->run_count += count;
  return count;
}
