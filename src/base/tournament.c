#include "base/tournament.h"

#include <string.h>

#include "base/check.h"

enum { GROUP_BITS = 3, GROUP = 1 << GROUP_BITS };

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

static int64_t lesser(int64_t a, int64_t b) {
  return a < b ? a : b;
}

/* The first of the smallest keys of a group. Without branches, for none could be foretold: the
 * smallest in three steps, not in seven, then who has it. */
static uint32_t group_first(const int64_t *keys) {
  const int64_t left = lesser(lesser(keys[0], keys[1]), lesser(keys[2], keys[3]));
  const int64_t right = lesser(lesser(keys[4], keys[5]), lesser(keys[6], keys[7]));
  const int64_t least = lesser(left, right);
  uint32_t having = 0;
  for (uint32_t i = 0; i < GROUP; i++) {
    having |= (uint32_t)(keys[i] == least) << i;
  }
  return (uint32_t)__builtin_ctz(having);
}

void tournament_set(struct tournament *tournament, uint32_t entrant, int64_t key) {
  CHECK_LT(entrant, tournament->capacity);
  const uint32_t top = tournament->levels_count - 1;
  uint32_t winner = entrant;
  uint32_t place = entrant;
  tournament->keys[0][entrant] = key;
  for (uint32_t level = 0; level <= top; level++) {
    const uint32_t group = place / GROUP;
    const int64_t *keys = tournament->keys[level];
    int64_t *above = level == top ? &tournament->first_key : &tournament->keys[level + 1][group];
    uint32_t *winner_above =
        level == top ? &tournament->first : &tournament->winners[level + 1][group];
    const uint32_t led = *winner_above >> (level * GROUP_BITS);
    if (led != place) {
      /* Nothing changes further up while the group's leader stays ahead of it. */
      if (key > *above || (key == *above && place > led)) {
        return;
      }
    } else if (key > *above) {
      /* The leader fell back: the only case in which all of them are compared. */
      const uint32_t first = place - place % GROUP + group_first(&keys[group * GROUP]);
      if (first != place) {
        winner = level == 0 ? first : tournament->winners[level][first];
        key = keys[first];
      }
    }
    if (*above == key && *winner_above == winner) {
      return;
    }
    *above = key;
    *winner_above = winner;
    place = group;
  }
}

uint32_t tournament_runner_up(const struct tournament *tournament) {
  const uint32_t top = tournament->levels_count - 1;
  int64_t keys[GROUP];
  memcpy(keys, tournament->keys[top], sizeof(keys));
  keys[tournament->first >> (top * GROUP_BITS)] = INT64_MAX;
  const uint32_t place = group_first(keys);
  return top == 0 ? place : tournament->winners[top][place];
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
