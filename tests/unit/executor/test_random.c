/* Random actions against a second, naive book of what each action is doing.
 *
 * After every step: the executor's own invariants; nothing waits for an engine that is idle; no
 * execution without weights. For every action: exactly one result, started inside its window, and,
 * if refused as late, told so in the nanosecond in which that was certain. At the end: the order.
 */
#include "base/prng.h"
#include "unit/executor/rig.h"

enum {
  ACTIONS = 1500, /* per round; orders are compared pairwise */
  ROUNDS = 40,
  IO_BYTES = (RIG_INPUT_BYTES + RIG_OUTPUT_BYTES) * 7,
};

enum shadow_state { SENT, INPUT_RUNS, INPUT_DONE, EXECUTES, EXECUTED, OUTPUT_RUNS, ANSWERED };

struct shadow {
  struct executor_action action;
  struct instant arrival;
  struct instant input_end;
  enum shadow_state state;
  struct executor_result result;
};

struct book {
  struct rig rig;
  struct prng prng;
  struct shadow shadows[ACTIONS + 1]; /* by action id */
  uint64_t in_slot[RIG_GPUS][BACKEND_IO_SLOTS];
  struct instant ends[RIG_GPUS][BACKEND_ENGINES]; /* of what runs */
  uint32_t statuses[100];
  bool loses; /* the last GPU, halfway */
  bool is_lost[RIG_GPUS];
};

static struct book book;

static bool is_open(const struct shadow *shadow, struct duration lead) {
  return instant_add(book.rig.now, lead).ns >= shadow->action.earliest.ns;
}

static struct instant random_end(enum backend_engine engine) {
  const int64_t mean_us[BACKEND_ENGINES] = {300, 20, 100, 10};
  return instant_add(book.rig.now,
                     duration_us(1 + (int64_t)prng_below(&book.prng, (uint64_t)mean_us[engine])));
}

/* Note what the pump started. The input pointer of an action is its shadow. */
static void note_started(void) {
  struct rig *rig = &book.rig;
  for (uint32_t gpu = 0; gpu < RIG_GPUS; gpu++) {
    for (int engine = 0; engine < BACKEND_ENGINES; engine++) {
      if (!rig->is_running[gpu][engine] || book.ends[gpu][engine].ns != INT64_MAX) {
        continue;
      }
      book.ends[gpu][engine] = random_end((enum backend_engine)engine);
      const struct backend_command *command = &rig->running[gpu][engine];
      if (engine == BACKEND_ENGINE_LOAD) {
        continue;
      }
      uint64_t *slot = &book.in_slot[gpu][command->io_slot];
      if (engine == BACKEND_ENGINE_INPUT) {
        const struct shadow *shadow = (const struct shadow *)(const void *)command->io->inputs;
        *slot = shadow->action.action_id;
      }
      struct shadow *shadow = &book.shadows[*slot];
      assert_int_equal(shadow->action.gpu_index, gpu);
      assert_int_equal(shadow->action.model_id, command->model_id);
      const enum shadow_state before[] = {[BACKEND_ENGINE_INPUT] = SENT,
                                          [BACKEND_ENGINE_EXECUTE] = INPUT_DONE,
                                          [BACKEND_ENGINE_OUTPUT] = EXECUTED};
      assert_int_equal(shadow->state, before[engine]);
      shadow->state++;
      if (engine == BACKEND_ENGINE_EXECUTE) {
        assert_true(executor_is_resident(rig->executor, gpu, command->model_id));
      }
    }
  }
}

static void check_late(const struct shadow *shadow, const struct executor_result *result) {
  int64_t certain_ns = shadow->action.latest.ns + 1;
  certain_ns = shadow->arrival.ns > certain_ns ? shadow->arrival.ns : certain_ns;
  if (result->input.end.ns > certain_ns) {
    certain_ns = result->input.end.ns;
  }
  assert_int_equal(book.rig.now.ns, certain_ns);
}

static void take_results(void) {
  struct executor_result result;
  while (executor_next_results(book.rig.executor, &result, 1) == 1) {
    struct shadow *shadow = &book.shadows[result.action_id];
    assert_int_not_equal(shadow->state, ANSWERED);
    shadow->state = ANSWERED;
    shadow->result = result;
    book.statuses[result.status]++;
    switch (result.status) {
    case ACTION_SUCCESS:
      assert_true(result.run.begin.ns >= shadow->action.earliest.ns);
      assert_true(result.run.begin.ns <= shadow->action.latest.ns);
      assert_true(result.run.begin.ns >= shadow->arrival.ns);
      break;
    case ACTION_GPU_LOST:
      assert_true(book.is_lost[shadow->action.gpu_index]);
      break;
    case ACTION_RUNTIME_ERROR: /* of any step */
    case ACTION_INVALID:
      break;
    case ACTION_LOAD_TOO_LATE:
    case ACTION_EVICT_TOO_LATE:
    case ACTION_INPUT_TOO_LATE:
    case ACTION_INPUT_IO_POOL:
    case ACTION_EXECUTE_TOO_LATE:
      check_late(shadow, &result);
      break;
    default:
      /* Refused on its turn: not before its window. */
      assert_true(book.rig.now.ns >= shadow->action.earliest.ns);
      break;
    }
  }
}

/* Nothing that could run waits for an idle engine. */
static void check_busy(void) {
  const struct rig *rig = &book.rig;
  uint32_t in_flight[RIG_GPUS] = {0};
  uint64_t io_bytes[RIG_GPUS] = {0};
  uint64_t smallest_waiting_bytes[RIG_GPUS] = {0};
  for (uint64_t id = 1; id <= rig->actions_count; id++) {
    const struct shadow *shadow = &book.shadows[id];
    const uint32_t gpu = shadow->action.gpu_index;
    const uint64_t bytes = shadow->action.batch_size * (RIG_INPUT_BYTES + RIG_OUTPUT_BYTES);
    if (shadow->state == ANSWERED) {
      continue;
    }
    if (book.is_lost[gpu]) { /* only what runs has no answer yet */
      assert_true(shadow->action.type == ACTION_LOAD
                      ? rig_runs_on(rig, gpu, BACKEND_ENGINE_LOAD) == shadow->action.model_id
                      : shadow->state == INPUT_RUNS || shadow->state == EXECUTES ||
                            shadow->state == OUTPUT_RUNS);
      continue;
    }
    /* A load under way counts as sent. */
    assert_true(shadow->action.latest.ns >= rig->now.ns || shadow->state != SENT ||
                rig_runs_on(rig, gpu, BACKEND_ENGINE_LOAD) == shadow->action.model_id);
    if (shadow->action.type == ACTION_EVICT) {
      assert_false(is_open(shadow, DURATION_ZERO));
    } else if (shadow->action.type == ACTION_LOAD) {
      assert_true(rig->is_running[gpu][BACKEND_ENGINE_LOAD] || !is_open(shadow, DURATION_ZERO));
    } else if (shadow->state == SENT) {
      if (is_open(shadow, EXECUTOR_INPUT_LEAD) && !rig->is_running[gpu][BACKEND_ENGINE_INPUT] &&
          bytes > smallest_waiting_bytes[gpu]) {
        smallest_waiting_bytes[gpu] = bytes;
      }
    } else {
      in_flight[gpu]++;
      io_bytes[gpu] += bytes;
      if (shadow->state == INPUT_DONE) {
        assert_true(rig->is_running[gpu][BACKEND_ENGINE_EXECUTE] ||
                    !is_open(shadow, DURATION_ZERO));
      } else if (shadow->state == EXECUTED) {
        assert_true(rig->is_running[gpu][BACKEND_ENGINE_OUTPUT]);
      }
    }
  }
  for (int gpu = 0; gpu < RIG_GPUS; gpu++) {
    if (book.is_lost[gpu]) {
      continue;
    }
    /* The largest of the waiting may be the first: if even that fits, somebody should run. */
    assert_true(smallest_waiting_bytes[gpu] == 0 || in_flight[gpu] == BACKEND_IO_SLOTS ||
                io_bytes[gpu] + smallest_waiting_bytes[gpu] > IO_BYTES);
  }
}

static void settle(void) {
  rig_pump_by(&book.rig, 1 + (uint32_t)prng_below(&book.prng, 5));
  note_started();
  take_results();
  check_busy();
  const struct instant wakeup = executor_wakeup(book.rig.executor);
  assert_true(instant_after(wakeup, book.rig.now));
}

static void send_random(void) {
  struct rig *rig = &book.rig;
  struct prng *prng = &book.prng;
  const uint64_t kind = prng_below(prng, 20);
  const enum action_type type = kind < 3 ? ACTION_LOAD : kind < 5 ? ACTION_EVICT : ACTION_INFER;
  const int64_t ahead_us = (int64_t)prng_below(prng, 2000) - 300;
  const int64_t width_us = (int64_t)prng_below(prng, 600) - 20;
  const struct instant earliest = instant_add(rig->now, duration_us(ahead_us));
  struct executor_action action = rig_action(rig, type, (uint32_t)prng_below(prng, 4), earliest,
                                             instant_add(earliest, duration_us(width_us)));
  struct shadow *shadow = &book.shadows[action.action_id];
  action.gpu_index = (uint32_t)prng_below(prng, RIG_GPUS);
  if (type == ACTION_INFER) {
    action.batch_size = 1U << prng_below(prng, 3);
    action.io.inputs = (const void *const *)(const void *)shadow;
  }
  *shadow = (struct shadow){.action = action, .arrival = rig->now, .state = SENT};
  assert_true(executor_on_action(rig->executor, rig->now, &action));
}

/* The next engine to end; false if none runs. */
static bool next_end(uint32_t *ret_gpu, enum backend_engine *ret_engine) {
  struct instant first = INSTANT_NEVER;
  for (uint32_t gpu = 0; gpu < RIG_GPUS; gpu++) {
    for (int engine = 0; engine < BACKEND_ENGINES; engine++) {
      if (instant_before(book.ends[gpu][engine], first)) {
        first = book.ends[gpu][engine];
        *ret_gpu = gpu;
        *ret_engine = (enum backend_engine)engine;
      }
    }
  }
  return first.ns != INT64_MAX;
}

static void end_one(uint32_t gpu, enum backend_engine engine) {
  book.ends[gpu][engine] = INSTANT_NEVER;
  if (engine != BACKEND_ENGINE_LOAD) {
    struct shadow *shadow = &book.shadows[book.in_slot[gpu][book.rig.running[gpu][engine].io_slot]];
    if (engine != BACKEND_ENGINE_OUTPUT) {
      shadow->state++;
    }
    if (engine == BACKEND_ENGINE_INPUT) {
      shadow->input_end = book.rig.now;
    }
  }
  enum action_status status =
      prng_below(&book.prng, 50) == 0 ? ACTION_RUNTIME_ERROR : ACTION_SUCCESS;
  if (book.loses && !book.is_lost[gpu] && book.rig.actions_count > ACTIONS / 2 &&
      gpu == RIG_GPUS - 1) {
    book.is_lost[gpu] = true;
    status = ACTION_GPU_LOST;
  } else if (book.is_lost[gpu] && prng_below(&book.prng, 4) != 0) { /* else it had just ended */
    status = ACTION_GPU_LOST;
  }
  rig_end_on(&book.rig, gpu, engine, status);
}

/* Move to the next thing that happens: an end, a wakeup, or `arrival`. */
static bool step(struct instant arrival) {
  uint32_t gpu = 0;
  enum backend_engine engine = BACKEND_ENGINE_LOAD;
  const bool has_end = next_end(&gpu, &engine);
  const struct instant wakeup = executor_wakeup(book.rig.executor);
  const struct instant end = has_end ? book.ends[gpu][engine] : INSTANT_NEVER;
  const struct instant next = instant_min(arrival, instant_min(wakeup, end));
  if (next.ns == INT64_MAX) {
    return false;
  }
  rig_move_to(&book.rig, next);
  if (next.ns == end.ns) {
    end_one(gpu, engine);
  }
  if (next.ns == arrival.ns) {
    send_random();
  }
  settle();
  return true;
}

static bool precedes(const struct shadow *a, const struct shadow *b) {
  return a->action.earliest.ns != b->action.earliest.ns
             ? a->action.earliest.ns < b->action.earliest.ns
             : a->action.action_id < b->action.action_id;
}

/* Of two that waited for the same engine at once, the one that comes first started first. */
static void check_order(void) {
  for (uint64_t i = 1; i <= ACTIONS; i++) {
    const struct shadow *first = &book.shadows[i];
    for (uint64_t j = 1; j <= ACTIONS; j++) {
      const struct shadow *second = &book.shadows[j];
      if (i == j || first->action.gpu_index != second->action.gpu_index ||
          first->action.type != second->action.type || !precedes(first, second) ||
          first->action.type == ACTION_EVICT) {
        continue;
      }
      const struct executor_step *a = &first->result.run;
      const struct executor_step *b = &second->result.run;
      const struct instant ready =
          first->action.type == ACTION_LOAD ? first->arrival : first->result.input.end;
      if (a->begin.ns != 0 && b->begin.ns != 0 && ready.ns <= b->begin.ns) {
        assert_true(a->begin.ns < b->begin.ns);
      }
      a = &first->result.input;
      b = &second->result.input;
      if (a->begin.ns != 0 && b->begin.ns != 0 && first->arrival.ns <= b->begin.ns) {
        assert_true(a->begin.ns < b->begin.ns);
      }
    }
  }
}

static void run_round(uint64_t round) {
  memset(&book, 0, sizeof(book));
  book.rig = rig_open(IO_BYTES);
  prng_init(&book.prng, 14, round);
  book.loses = round % 4 == 3;
  for (int gpu = 0; gpu < RIG_GPUS; gpu++) {
    for (int engine = 0; engine < BACKEND_ENGINES; engine++) {
      book.ends[gpu][engine] = INSTANT_NEVER;
    }
  }
  struct instant arrival = book.rig.now;
  while (book.rig.actions_count < ACTIONS) {
    const uint64_t before = book.rig.actions_count;
    assert_true(step(arrival));
    if (book.rig.actions_count != before) {
      arrival = instant_add(book.rig.now, duration_us(1 + (int64_t)prng_below(&book.prng, 60)));
    }
  }
  while (step(INSTANT_NEVER)) {
  }
  for (uint64_t id = 1; id <= ACTIONS; id++) {
    assert_int_equal(book.shadows[id].state, ANSWERED);
  }
  check_order();
}

static void random_actions_keep_every_promise(void **state) {
  (void)state;
  uint32_t statuses[100] = {0};
  for (uint64_t round = 0; round < ROUNDS; round++) {
    run_round(round);
    for (int i = 0; i < 100; i++) {
      statuses[i] += book.statuses[i];
    }
    rig_close(&book.rig);
  }
  /* The load is such that everything happens: a test that meets only successes tests little. */
  const enum action_status expected[] = {
      ACTION_SUCCESS,
      ACTION_RUNTIME_ERROR,
      ACTION_INVALID,
      ACTION_GPU_LOST,
      ACTION_WEIGHTS_ALREADY_LOADED,
      ACTION_WEIGHTS_IN_USE,
      ACTION_LOAD_TOO_LATE,
      ACTION_EVICT_TOO_LATE,
      ACTION_LOAD_INSUFFICIENT_CACHE,
      ACTION_EVICT_NOT_IN_CACHE,
      ACTION_LOAD_CONCURRENT_CHANGE,
      ACTION_INPUT_TOO_LATE,
      ACTION_EXECUTE_TOO_LATE,
      ACTION_INPUT_IO_POOL,
      ACTION_EXECUTE_WEIGHTS_MISSING,
  };
  for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
    print_message("%6u %s\n", statuses[expected[i]], action_status_text((int)expected[i]));
    assert_int_not_equal(statuses[expected[i]], 0);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(random_actions_keep_every_promise)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
