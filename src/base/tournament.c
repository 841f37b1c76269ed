#include "base/tournament.h"

#include "base/check.h"

enum { GROUP = 8 };

static uint32_t groups_of(uint32_t count) {
  return count / GROUP + (count % GROUP != 0);
}

/* Levels are as long as whole groups, so that all groups are alike. */
static void level_init(struct tournament *tournament, struct arena *arena, uint32_t count) {
  const uint32_t level = tournament->levels_count++;
  const size_t places = (size_t)groups_of(count) * GROUP;
  tournament->keys[level] = arena_take(arena, places, sizeof(int64_t));
  tournament->winners[level] = level == 0 ? NULL : arena_take(arena, places, sizeof(uint32_t));
  for (size_t i = 0; i < places && !arena_is_counting(arena); i++) {
    tournament->keys[level][i] = INT64_MAX;
  }
}

void tournament_init(struct tournament *tournament, struct arena *arena, uint32_t capacity) {
  *tournament = (struct tournament){.capacity = capacity, .first_key = INT64_MAX};
  uint32_t count = capacity == 0 ? 1 : capacity;
  level_init(tournament, arena, count);
  while (count > GROUP) {
    count = groups_of(count);
    level_init(tournament, arena, count);
  }
}

static uint32_t lesser(const int64_t *keys, uint32_t a, uint32_t b) {
  return keys[b] < keys[a] ? b : a;
}

/* The first of the smallest keys of a group. Without branches, for none could be foretold, and in
 * three steps, not in seven. */
static uint32_t group_first(const int64_t *keys) {
  const uint32_t left = lesser(keys, lesser(keys, 0, 1), lesser(keys, 2, 3));
  const uint32_t right = lesser(keys, lesser(keys, 4, 5), lesser(keys, 6, 7));
  return lesser(keys, left, right);
}

void tournament_set(struct tournament *tournament, uint32_t entrant, int64_t key) {
  CHECK_LT(entrant, tournament->capacity);
  const uint32_t top = tournament->levels_count - 1;
  uint32_t winner = entrant;
  uint32_t place = entrant;
  tournament->keys[0][entrant] = key;
  for (uint32_t level = 0; level < top; level++) {
    const uint32_t group = place / GROUP;
    const uint32_t first =
        place - place % GROUP + group_first(&tournament->keys[level][group * GROUP]);
    if (first != place) {
      winner = level == 0 ? first : tournament->winners[level][first];
      key = tournament->keys[level][first];
    }
    int64_t *above = &tournament->keys[level + 1][group];
    uint32_t *winner_above = &tournament->winners[level + 1][group];
    if (*above == key && *winner_above == winner) {
      return; /* nothing changes further up */
    }
    *above = key;
    *winner_above = winner;
    place = group;
  }
  const uint32_t first = group_first(tournament->keys[top]);
  tournament->first_key = tournament->keys[top][first];
  tournament->first = top == 0 ? first : tournament->winners[top][first];
}

void tournament_expect(const struct tournament *tournament, uint32_t entrant) {
  for (uint32_t level = 0; level < tournament->levels_count; level++) {
    __builtin_prefetch(&tournament->keys[level][entrant]);
    if (level > 0) {
      __builtin_prefetch(&tournament->winners[level][entrant]);
    }
    entrant /= GROUP;
  }
}
