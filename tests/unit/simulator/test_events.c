#include "simulator/events.h"

#include "base/check.h"
#include "base/prng.h"
#include "support/cmocka.h"
#include "support/memory.h"

enum { SOURCES = 8, RUNS_MAX = 64 };

struct log {
  struct events events;
  struct event sources[SOURCES];
  struct source {
    struct log *log;
    uint32_t index;
    struct instant period; /* 0: runs once */
  } of_sources[SOURCES];
  void *memory;
  uint32_t runs_count;
  uint32_t expected_at[SOURCES]; /* how many had run then */
  struct {
    int64_t at_ns;
    uint32_t index;
  } runs[RUNS_MAX];
};

static struct instant on_run(void *self, struct instant now) {
  const struct source *source = self;
  struct log *log = source->log;
  assert_true(log->runs_count < RUNS_MAX);
  log->runs[log->runs_count].at_ns = now.ns;
  log->runs[log->runs_count].index = source->index;
  log->runs_count++;
  return source->period.ns == 0 ? INSTANT_NEVER : instant_add(now, duration_ns(source->period.ns));
}

static int set_up(void **state) {
  struct log *log = test_memory_take(sizeof(*log));
  log->memory = test_memory_take(events_bytes(SOURCES));
  events_init(&log->events, log->memory, SOURCES, (struct instant){100});
  for (uint32_t i = 0; i < SOURCES; i++) {
    log->of_sources[i] = (struct source){.log = log, .index = i};
    event_init(&log->sources[i], &log->events, on_run, &log->of_sources[i]);
  }
  *state = log;
  return 0;
}

static int tear_down(void **state) {
  struct log *log = *state;
  free(log->memory);
  free(log);
  return 0;
}

static void runs_in_order_of_time(void **state) {
  struct log *log = *state;
  event_set(&log->sources[0], (struct instant){300});
  event_set(&log->sources[1], (struct instant){200});
  event_set(&log->sources[2], (struct instant){400});
  assert_int_equal(events_run(&log->events, 100), 3);
  assert_int_equal(log->runs[0].index, 1);
  assert_int_equal(log->runs[1].index, 0);
  assert_int_equal(log->runs[2].index, 2);
  assert_int_equal(log->runs[2].at_ns, 400);
  assert_int_equal(log->events.now.ns, 400);
}

static void ties_go_to_the_lower_number_whatever_was_set_first(void **state) {
  struct log *log = *state;
  event_set(&log->sources[5], (struct instant){200});
  event_set(&log->sources[2], (struct instant){200});
  event_set(&log->sources[7], (struct instant){200});
  events_run(&log->events, 100);
  assert_int_equal(log->runs[0].index, 2);
  assert_int_equal(log->runs[1].index, 5);
  assert_int_equal(log->runs[2].index, 7);
}

static void the_past_counts_as_now(void **state) {
  struct log *log = *state;
  event_set(&log->sources[0], (struct instant){5});
  events_run(&log->events, 100);
  assert_int_equal(log->runs[0].at_ns, 100);
}

static void a_later_setting_replaces_the_earlier(void **state) {
  struct log *log = *state;
  event_set(&log->sources[0], (struct instant){200});
  event_set(&log->sources[0], (struct instant){500});
  event_set(&log->sources[1], (struct instant){300});
  event_set(&log->sources[2], (struct instant){400});
  event_set(&log->sources[2], INSTANT_NEVER);
  assert_int_equal(events_run(&log->events, 100), 2);
  assert_int_equal(log->runs[0].index, 1);
  assert_int_equal(log->runs[1].at_ns, 500);
}

static void a_run_says_when_the_next_is(void **state) {
  struct log *log = *state;
  log->of_sources[0].period = (struct instant){10};
  event_set(&log->sources[0], (struct instant){110});
  assert_int_equal(events_run(&log->events, 5), 5);
  for (int i = 0; i < 5; i++) {
    assert_int_equal(log->runs[i].at_ns, 110 + 10 * i);
  }
}

static void on_expected(const void *self) {
  const struct source *source = self;
  assert_true(source->log->runs_count < RUNS_MAX);
  source->log->expected_at[source->index] = source->log->runs_count;
}

static void the_next_is_expected_before_one_runs(void **state) {
  struct log *log = *state;
  for (uint32_t i = 0; i < 4; i++) {
    event_set_expect(&log->sources[i], on_expected);
    event_set(&log->sources[i], (struct instant){200 + 10 * i});
  }
  assert_int_equal(events_run(&log->events, 100), 4);
  assert_int_equal(log->expected_at[1], 0);
  assert_int_equal(log->expected_at[2], 1);
  assert_int_equal(log->expected_at[3], 2);
  assert_int_equal(log->runs[2].index, 2);
}

static struct instant end_it(void *self, struct instant now) {
  struct log *log = self;
  log->events.is_over = true;
  return instant_add(now, duration_ns(1));
}

static void nothing_runs_once_it_is_over(void **state) {
  struct log *log = *state;
  const struct event_source ending = {.run = end_it, .self = log};
  log->events.sources[log->sources[3].number] = ending;
  event_set(&log->sources[3], (struct instant){200});
  event_set(&log->sources[0], (struct instant){300});
  assert_int_equal(events_run(&log->events, 100), 1);
  assert_int_equal(events_run(&log->events, 100), 0);
  assert_int_equal(log->runs_count, 0);
}

/* Further apart than a key can tell. */
static void moments_of_any_distance_keep_their_order(void **state) {
  struct log *log = *state;
  static const int64_t at_ns[] = {3000000000000000003, 2000000000000000002,
                                  2000000000000000001, 300,
                                  9000000000000000000, 2000000000000000002};
  static const uint32_t order[] = {3, 2, 1, 5, 0, 4};
  for (uint32_t i = 0; i < 6; i++) {
    event_set(&log->sources[i], (struct instant){at_ns[i]});
  }
  for (uint32_t i = 0; i < 6; i++) {
    assert_int_equal(events_run(&log->events, 1), 1);
    assert_int_equal(log->runs[i].index, order[i]);
    assert_int_equal(log->runs[i].at_ns, at_ns[order[i]]);
    assert_int_equal(log->events.now.ns, at_ns[order[i]]);
  }
  assert_int_equal(events_run(&log->events, 1), 0);
}

enum { MANY = 600 };

struct many {
  struct events events;
  struct event sources[MANY];
  int64_t at_ns[MANY]; /* INT64_MAX: not set */
  struct prng prng;
  struct source_of_many {
    struct many *many;
    uint32_t number;
  } of_sources[MANY];
};

static uint32_t first_of_many(const struct many *many) {
  uint32_t first = 0;
  for (uint32_t i = 1; i < MANY; i++) {
    first = many->at_ns[i] < many->at_ns[first] ? i : first;
  }
  return first;
}

static int64_t draw_moment(struct many *many) {
  const int64_t now_ns = many->events.now.ns;
  switch (prng_below(&many->prng, 8)) {
  case 0:
    return INT64_MAX;
  case 1: /* beyond what a key can tell, now and then */
    return now_ns + (INT64_C(1) << prng_below(&many->prng, 60));
  default:
    return now_ns + (int64_t)prng_below(&many->prng, 20);
  }
}

static struct instant on_one_of_many(void *self, struct instant now) {
  const struct source_of_many *source = self;
  struct many *many = source->many;
  assert_int_equal(source->number, first_of_many(many));
  assert_int_equal(now.ns, many->at_ns[source->number]);
  for (uint32_t changes = (uint32_t)prng_below(&many->prng, 4); changes > 0; changes--) {
    const uint32_t number = (uint32_t)prng_below(&many->prng, MANY);
    many->at_ns[number] = draw_moment(many);
    event_set(&many->sources[number], (struct instant){many->at_ns[number]});
  }
  many->at_ns[source->number] = draw_moment(many);
  return (struct instant){many->at_ns[source->number]};
}

static void random_moments_match_a_scan(void **state) {
  (void)state;
  for (uint64_t seed = 0; seed < 20; seed++) {
    struct many *many = test_memory_take(sizeof(*many));
    void *memory = test_memory_take(events_bytes(MANY));
    prng_init(&many->prng, seed, 0);
    events_init(&many->events, memory, MANY, INSTANT_ZERO);
    for (uint32_t i = 0; i < MANY; i++) {
      many->of_sources[i] = (struct source_of_many){.many = many, .number = i};
      event_init(&many->sources[i], &many->events, on_one_of_many, &many->of_sources[i]);
      many->at_ns[i] = draw_moment(many);
      event_set(&many->sources[i], (struct instant){many->at_ns[i]});
    }
    while (many->events.run_count < 3000 && many->events.now.ns < INT64_MAX / 4 &&
           events_run(&many->events, 1) == 1) {
    }
    assert_true(many->events.run_count > 100);
    free(memory);
    free(many);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(runs_in_order_of_time, set_up, tear_down),
      cmocka_unit_test_setup_teardown(ties_go_to_the_lower_number_whatever_was_set_first, set_up,
                                      tear_down),
      cmocka_unit_test_setup_teardown(the_past_counts_as_now, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_later_setting_replaces_the_earlier, set_up, tear_down),
      cmocka_unit_test_setup_teardown(a_run_says_when_the_next_is, set_up, tear_down),
      cmocka_unit_test_setup_teardown(the_next_is_expected_before_one_runs, set_up, tear_down),
      cmocka_unit_test_setup_teardown(nothing_runs_once_it_is_over, set_up, tear_down),
      cmocka_unit_test_setup_teardown(moments_of_any_distance_keep_their_order, set_up, tear_down),
      cmocka_unit_test(random_moments_match_a_scan),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
