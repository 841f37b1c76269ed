#include "base/tournament.h"

#include "base/check.h"

enum { GROUP = TOURNAMENT_GROUP };

static uint32_t groups_of(uint32_t count) {
  return count / GROUP + (count % GROUP != 0);
}

void tournament_init(struct tournament *tournament, struct arena *arena, uint32_t capacity) {
  CHECK_LE(capacity, TOURNAMENT_CAPACITY_MAX);
  *tournament = (struct tournament){.capacity = capacity, .first_key = INT64_MAX};
  uint32_t groups = groups_of(capacity == 0 ? 1 : capacity);
  uint32_t places = groups * GROUP;
  while (groups > 1) {
    tournament->starts[tournament->levels_above++] = places;
    groups = groups_of(groups);
    places += groups * GROUP;
  }
  tournament->keys = arena_take(arena, places, sizeof(int64_t));
  tournament->leaders = arena_take(arena, places / GROUP, sizeof(uint8_t));
  for (uint32_t i = 0; i < places && !arena_is_counting(arena); i++) {
    tournament->keys[i] = INT64_MAX;
  }
}

struct contender {
  int64_t key;
  uint32_t place; /* in its group */
};

/* Of equals the first. By conditional moves: a branch could not be foretold. */
static inline struct contender lesser(struct contender a, struct contender b) {
  const bool is_b = __builtin_expect_with_probability(b.key < a.key, 1, 0.5);
  return (struct contender){.key = is_b ? b.key : a.key, .place = is_b ? b.place : a.place};
}

/* The first of the smallest of four keys. */
static inline struct contender first_of_four(const int64_t *keys, uint32_t place) {
  struct contender first = {.key = keys[place], .place = place};
  for (uint32_t i = place + 1; i < place + 4; i++) {
    first = lesser(first, (struct contender){.key = keys[i], .place = i});
  }
  return first;
}

void tournament_set(struct tournament *tournament, uint32_t entrant, int64_t key) {
  CHECK_LT(entrant, tournament->capacity);
  int64_t *level = tournament->keys;
  uint8_t *leaders = tournament->leaders;
  uint32_t at = entrant; /* in its level */
  level[at] = key;
  for (uint32_t i = 0;; i++) {
    const bool is_top = i == tournament->levels_above;
    const uint32_t start = is_top ? 0 : tournament->starts[i]; /* of the next level */
    const uint32_t group = at / GROUP;
    const uint32_t place = at % GROUP;
    int64_t *above = is_top ? &tournament->first_key : &tournament->keys[start + group];
    const int64_t key_above = *above;
    struct contender first = {.key = key, .place = place};
    if (key >= key_above) {
      if (leaders[group] != place) {
        /* It leads neither before nor after, unless it takes the lead of its equal. */
        if (key == key_above && place < leaders[group]) {
          leaders[group] = (uint8_t)place;
        }
        return;
      }
      /* The leader fell back: the only case in which all of them are compared. */
      const int64_t *keys = &level[at - place];
      first = lesser(first_of_four(keys, 0), first_of_four(keys, 4));
    }
    leaders[group] = (uint8_t)first.place;
    if (first.key == key_above) {
      return;
    }
    *above = first.key;
    if (is_top) {
      return;
    }
    key = first.key;
    at = group;
    level = &tournament->keys[start];
    leaders = &tournament->leaders[start / GROUP];
  }
}

uint32_t tournament_first(const struct tournament *tournament) {
  uint32_t at = 0;
  for (uint32_t i = tournament->levels_above; i > 0; i--) {
    at = at * GROUP + tournament->leaders[tournament->starts[i - 1] / GROUP + at];
  }
  return at * GROUP + tournament->leaders[at];
}

void tournament_expect(const struct tournament *tournament, uint32_t entrant) {
  __builtin_prefetch(&tournament->keys[entrant]);
  for (uint32_t i = 0; i < tournament->levels_above; i++) {
    entrant /= GROUP;
    __builtin_prefetch(&tournament->keys[tournament->starts[i] + entrant]);
  }
}
