#include "base/tournament.h"

#include <string.h>

#include "base/check.h"

enum { GROUP_BITS = TOURNAMENT_GROUP_BITS, GROUP = TOURNAMENT_GROUP };

static uint32_t groups_of(uint32_t count) {
  return count / GROUP + (count % GROUP != 0);
}

/* A level of the tree, and how to get to the next. */
struct level {
  int64_t *keys;
  uint32_t *winners; /* NULL on the first */
  uint32_t groups;
};

static struct level first_level(const struct tournament *tournament) {
  const uint32_t capacity = tournament->capacity == 0 ? 1 : tournament->capacity;
  return (struct level){.keys = tournament->keys, .groups = groups_of(capacity)};
}

static struct level next_level(const struct tournament *tournament, const struct level *level) {
  const size_t places = (size_t)level->groups * GROUP;
  return (struct level){.keys = level->keys + places,
                        .winners =
                            level->winners == NULL ? tournament->winners : level->winners + places,
                        .groups = groups_of(level->groups)};
}

void tournament_init(struct tournament *tournament, struct arena *arena, uint32_t capacity) {
  *tournament = (struct tournament){.capacity = capacity, .first_key = INT64_MAX};
  uint32_t groups = groups_of(capacity == 0 ? 1 : capacity);
  const size_t entrants = (size_t)groups * GROUP;
  size_t places = entrants;
  tournament->levels_count = 1;
  while (groups > 1) {
    groups = groups_of(groups);
    places += (size_t)groups * GROUP;
    tournament->levels_count++;
  }
  tournament->keys = arena_take(arena, places, sizeof(int64_t));
  tournament->winners = arena_take(arena, places - entrants, sizeof(uint32_t));
  for (size_t i = 0; i < places && !arena_is_counting(arena); i++) {
    tournament->keys[i] = INT64_MAX;
  }
}

/* Of two entrants of a group the one with the lesser key, of equals `a`. By arithmetic: a branch
 * could not be foretold. */
static uint32_t lesser(const int64_t *keys, uint32_t a, uint32_t b) {
  const uint32_t is_b = (uint32_t)(keys[b] < keys[a]);
  return a ^ ((a ^ b) & (0U - is_b));
}

/* The first of the smallest keys of a group: in three steps, not in seven. */
static uint32_t group_first(const int64_t *keys) {
  const uint32_t left = lesser(keys, lesser(keys, 0, 1), lesser(keys, 2, 3));
  const uint32_t right = lesser(keys, lesser(keys, 4, 5), lesser(keys, 6, 7));
  return lesser(keys, left, right);
}

void tournament_set(struct tournament *tournament, uint32_t entrant, int64_t key) {
  CHECK_LT(entrant, tournament->capacity);
  uint32_t winner = entrant;
  uint32_t place = entrant;
  tournament->keys[entrant] = key;
  struct level level = first_level(tournament);
  for (uint32_t shift = 0;; shift += GROUP_BITS) {
    const uint32_t group = place / GROUP;
    const bool is_top = level.groups == 1;
    const struct level next = next_level(tournament, &level);
    int64_t *above = is_top ? &tournament->first_key : &next.keys[group];
    uint32_t *winner_above = is_top ? &tournament->first : &next.winners[group];
    const uint32_t led = *winner_above >> shift;
    if (led != place) {
      /* Nothing changes further up while the group's leader stays ahead of it. */
      if (key > *above || (key == *above && place > led)) {
        return;
      }
    } else if (key > *above) {
      /* The leader fell back: the only case in which all of them are compared. */
      const int64_t *keys = &level.keys[group * GROUP];
      const uint32_t first = group * GROUP + group_first(keys);
      if (first != place) {
        winner = level.winners == NULL ? first : level.winners[first];
        key = level.keys[first];
      }
    }
    if (*above == key && *winner_above == winner) {
      return;
    }
    *above = key;
    *winner_above = winner;
    if (is_top) {
      return;
    }
    place = group;
    level = next;
  }
}

uint32_t tournament_runner_up(const struct tournament *tournament) {
  struct level level = first_level(tournament);
  while (level.groups > 1) {
    level = next_level(tournament, &level);
  }
  const uint32_t top = tournament->levels_count - 1;
  int64_t keys[GROUP];
  memcpy(keys, level.keys, sizeof(keys));
  keys[tournament->first >> (top * GROUP_BITS)] = INT64_MAX;
  const uint32_t place = group_first(keys);
  return level.winners == NULL ? place : level.winners[place];
}

void tournament_expect(const struct tournament *tournament, uint32_t entrant) {
  struct level level = first_level(tournament);
  for (;;) {
    __builtin_prefetch(&level.keys[entrant]);
    if (level.winners != NULL) {
      __builtin_prefetch(&level.winners[entrant]);
    }
    if (level.groups == 1) {
      return;
    }
    level = next_level(tournament, &level);
    entrant /= GROUP;
  }
}
