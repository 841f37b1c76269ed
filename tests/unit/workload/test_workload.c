#include "workload/workload.h"

#include <math.h>

#include "base/prng.h"
#include "support/cmocka.h"
#include "support/death.h"
#include "support/memory.h"
#include "workload/synthetic_day.h"

enum { BATCH = 512, ARGUMENTS_MAX = 16 };

/* A trace of one row given minute by minute. */
static const struct trace *trace_of(const uint32_t *counts, uint32_t functions) {
  struct trace_builder measured;
  struct trace_builder builder;
  trace_builder_init_measuring(&measured);
  struct trace_builder *pass = &measured;
  for (int i = 0; i < 2; i++) {
    for (uint32_t function = 0; function < functions; function++) {
      trace_builder_begin_function(pass);
      for (uint32_t minute = 0; minute < TRACE_MINUTES; minute++) {
        trace_builder_add(pass, minute, counts[function * TRACE_MINUTES + minute]);
      }
      trace_builder_end_function(pass);
    }
    if (i == 0) {
      trace_builder_init(&builder, test_memory_take(trace_builder_bytes(&measured)),
                         measured.function_count, measured.pairs_bytes);
      pass = &builder;
    }
  }
  return trace_builder_finish(&builder);
}

static const struct trace *sample_day(uint32_t functions) {
  struct synthetic_day_config config = synthetic_day_default(1);
  config.function_count = functions;
  return synthetic_day_init(test_memory_take(synthetic_day_bytes(&config)), &config);
}

static void trace_free(const struct trace *trace) {
  free((void *)(uintptr_t)trace);
}

static struct workload *open_seeded(const char *name, const char *const *arguments,
                                    const struct trace *trace, uint64_t seed) {
  struct workload_fault fault = {.text = ""};
  const struct workload_kind *kind = workload_find(name, &fault);
  assert_non_null(kind);
  uint32_t count = 0;
  while (arguments != NULL && arguments[count] != NULL) {
    count++;
  }
  struct workload_config config;
  if (workload_parse(kind, arguments, count, &config, &fault) != ERR_OK) {
    fail_msg("%s", fault.text);
  }
  config.trace = trace;
  config.seed = seed;
  return workload_init(test_memory_take(workload_bytes(&config)), &config);
}

static struct workload *open_workload(const char *name, const char *const *arguments,
                                      const struct trace *trace) {
  return open_seeded(name, arguments, trace, WORKLOAD_SEED);
}

/* What came out of a run: counts by model, a hash of everything. */
struct tally {
  uint64_t count;
  uint64_t hash;
  uint64_t by_model[8192];
  struct instant last;
  float last_slo;
};

static void tally_add(struct tally *tally, const struct workload_request *request) {
  assert_true(request->at.ns >= tally->last.ns);
  assert_true(request->model_index < 8192);
  tally->count++;
  tally->by_model[request->model_index]++;
  tally->hash = prng_mix(tally->hash * 31 + (uint64_t)request->at.ns);
  tally->hash = prng_mix(tally->hash * 31 + request->model_index);
  tally->hash = prng_mix(tally->hash * 31 + request->user_id);
  tally->hash = prng_mix(tally->hash * 31 + (uint64_t)(request->slo_factor * 1000));
  tally->last = request->at;
  tally->last_slo = request->slo_factor;
}

/* Ask every `step` until `end`. With `answers`, what was asked is answered at the next step, and
 * all of it at the end. */
static void run(struct workload *workload, struct instant *now, struct instant end,
                struct duration step, bool answers, struct tally *tally) {
  static uint32_t tags[1 << 16];
  struct workload_request requests[BATCH];
  uint32_t waiting = 0;
  while (now->ns < end.ns) {
    *now = instant_min(instant_add(*now, step), end);
    for (uint32_t i = 0; i < waiting; i++) {
      workload_on_answered(workload, *now, tags[i], true);
    }
    waiting = 0;
    uint32_t count = 0;
    do {
      count = workload_next_requests(workload, *now, requests, BATCH);
      for (uint32_t i = 0; i < count; i++) {
        assert_true(requests[i].at.ns <= now->ns);
        tally_add(tally, &requests[i]);
        if (answers) {
          assert_true(waiting < sizeof(tags) / sizeof(tags[0]));
          tags[waiting++] = requests[i].tag;
        }
      }
    } while (count == BATCH);
    assert_true(workload_wakeup(workload).ns > now->ns);
  }
  for (uint32_t i = 0; i < waiting; i++) {
    workload_on_answered(workload, *now, tags[i], true);
  }
}

static struct tally *run_open(const char *name, const char *const *arguments,
                              const struct trace *trace, uint64_t seed, int64_t seconds,
                              struct duration step) {
  static struct tally tally;
  memset(&tally, 0, sizeof(tally));
  struct workload *workload = open_seeded(name, arguments, trace, seed);
  struct instant now = INSTANT_ZERO;
  run(workload, &now, (struct instant){seconds * NS_PER_S}, step, false, &tally);
  free(workload);
  return &tally;
}

static uint32_t instances_of(const struct workload *workload) {
  uint32_t count = 0;
  const struct workload_model *models = workload_models(workload, &count);
  uint32_t instances = 0;
  for (uint32_t i = 0; i < count; i++) {
    assert_int_equal(models[i].first_index, instances);
    assert_true(models[i].copies > 0);
    assert_non_null(models[i].name);
    instances += models[i].copies;
  }
  return instances;
}

/* ---- all of them ---- */

static void every_workload_runs_and_repeats(void **state) {
  (void)state;
  const struct trace *trace = sample_day(500);
  for (uint32_t i = 0; i < workload_kind_count(); i++) {
    const char *name = workload_kind_name(workload_kind_at(i));
    static struct tally tallies[2];
    memset(tallies, 0, sizeof(tallies));
    for (int pass = 0; pass < 2; pass++) {
      struct workload *workload = open_workload(name, NULL, trace);
      const uint32_t instances = instances_of(workload);
      assert_false(workload_is_done(workload));
      struct instant now = INSTANT_ZERO;
      run(workload, &now, (struct instant){5 * NS_PER_S}, duration_ms(5), true, &tallies[pass]);
      for (uint32_t model = instances; model < 8192; model++) {
        assert_int_equal(tallies[pass].by_model[model], 0);
      }
      free(workload);
    }
    if (tallies[0].count == 0) {
      fail_msg("%s sent nothing in 5 s", name);
    }
    assert_int_equal(tallies[0].count, tallies[1].count);
    assert_int_equal(tallies[0].hash, tallies[1].hash);
  }
  trace_free(trace);
}

/* The guarantee at the top of workload.h. */
static void open_loops_do_not_depend_on_when_they_are_asked(void **state) {
  (void)state;
  const struct trace *trace = sample_day(500);
  static const char *const AZURE[] = {"8", "1", "20", "1", NULL};
  static const char *const RANDOMISED[] = {"8", "1", "20", "1", "60", "1", "1", NULL};
  static const char *const SCALING[] = {"100", "1", "4", "1.5", "2", NULL};
  static const char *const RATES[] = {"7", "100", "1000", "2", "mul", "1.5", NULL};
  static const char *const FIXED[] = {"m", "3", "fixed", "777", "1", "9", "2", "add", "1", NULL};
  static const struct {
    const char *name;
    const char *const *arguments;
  } CASES[] = {
      {"azure", AZURE},
      {"azure", RANDOMISED},
      {"azure_scalability_exp", SCALING},
      {"poisson-open-loop", NULL},
      {"fill_memory", NULL},
      {"comparison_experiment", NULL},
      {"scalability-exp-1", RATES},
      {"slo-exp-1", NULL},
      {"slo-exp-1", FIXED},
      {"bursty_experiment", NULL},
  };
  for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
    const struct tally often =
        *run_open(CASES[i].name, CASES[i].arguments, trace, 1, 20, duration_us(700));
    const struct tally once =
        *run_open(CASES[i].name, CASES[i].arguments, trace, 1, 20, duration_s(20));
    const struct tally other =
        *run_open(CASES[i].name, CASES[i].arguments, trace, 2, 20, duration_s(20));
    assert_true(often.count > 50);
    assert_int_equal(often.count, once.count);
    assert_int_equal(often.hash, once.hash);
    assert_int_not_equal(other.hash, once.hash);
  }
  trace_free(trace);
}

/* Golden values: who changes a workload sees it here, and so does another compiler. */
static void sequences_are_the_golden_ones(void **state) {
  (void)state;
  const struct trace *trace = sample_day(500);
  static const char *const AZURE[] = {"8", "1", "20", "1", NULL};
  const struct tally *azure = run_open("azure", AZURE, trace, 1, 100, duration_s(1));
  assert_int_equal(azure->hash, UINT64_C(0x7d991ebfa66ceb30));
  const struct tally *slo = run_open("slo-exp-1", NULL, NULL, 1, 100, duration_s(1));
  assert_int_equal(slo->hash, UINT64_C(0x34fcc0f0c81caf26));
  trace_free(trace);
}

/* ---- open loops ---- */

static void a_poisson_process_has_its_rate_and_variance(void **state) {
  (void)state;
  static const char *const ARGUMENTS[] = {"4", "1000", NULL};
  enum { SECONDS = 2000 };
  struct workload *workload = open_workload("poisson-open-loop", ARGUMENTS, NULL);
  static struct tally tally;
  memset(&tally, 0, sizeof(tally));
  struct instant now = INSTANT_ZERO;
  double sum = 0;
  double squares = 0;
  for (int i = 0; i < SECONDS; i++) {
    const uint64_t before = tally.count;
    run(workload, &now, instant_add(now, duration_s(1)), duration_s(1), false, &tally);
    const double count = (double)(tally.count - before);
    sum += count;
    squares += count * count;
  }
  const double mean = sum / SECONDS;
  const double variance = squares / SECONDS - mean * mean;
  /* Five standard deviations of either estimate. */
  assert_true(fabs(mean - 1000) < 5 * sqrt(1000.0 / SECONDS));
  assert_true(fabs(variance - 1000) < 5 * 1000 * sqrt(2.0 / SECONDS));
  for (int model = 0; model < 4; model++) {
    const double count = (double)tally.by_model[model];
    assert_true(fabs(count - SECONDS * 250) < 5 * sqrt(SECONDS * 250));
  }
  assert_true(fabs(workload_offered_rate(workload, now) - 1000) < 1e-6);
  free(workload);
}

static void even_spacing_does_not_drift(void **state) {
  (void)state;
  /* A third of a nanosecond is lost or won at every arrival if times are rounded. */
  static const char *const ARGUMENTS[] = {"m", "1", "fixed", "3000",  "1",
                                          "1", "1", "add",   "10000", NULL};
  struct workload *workload = open_workload("slo-exp-1", ARGUMENTS, NULL);
  struct workload_request request;
  assert_int_equal(workload_next_requests(workload, workload_wakeup(workload), &request, 1), 1);
  const struct instant first = request.at;
  assert_true(first.ns < NS_PER_S / 3000 + 1);
  for (int64_t i = 1; i < 3000000; i++) {
    const struct instant at = workload_wakeup(workload);
    assert_int_equal(workload_next_requests(workload, at, &request, 1), 1);
    const int64_t expected = first.ns + i * NS_PER_S / 3000;
    assert_in_range(at.ns - expected + 2, 0, 4);
  }
  free(workload);
}

static void a_late_caller_gets_all_that_was_due(void **state) {
  (void)state;
  static const char *const ARGUMENTS[] = {"1", "10000", NULL};
  struct workload *workload = open_workload("poisson-open-loop", ARGUMENTS, NULL);
  static struct workload_request requests[20000];
  const struct instant late = {NS_PER_S};
  const uint32_t some = workload_next_requests(workload, late, requests, 100);
  assert_int_equal(some, 100);
  assert_true(workload_wakeup(workload).ns < late.ns);
  const uint32_t rest = workload_next_requests(workload, late, requests, 20000);
  assert_in_range(rest, 9400, 10400);
  assert_true(requests[0].at.ns < NS_PER_S / 10);
  assert_true(workload_wakeup(workload).ns > late.ns);
  free(workload);
}

static void ladders_step_and_end(void **state) {
  (void)state;
  static const char *const SLO[] = {"m", "2", "fixed", "100", "1", "8", "2", "mul", "10", NULL};
  struct workload *workload = open_workload("slo-exp-1", SLO, NULL);
  static struct tally tally;
  memset(&tally, 0, sizeof(tally));
  struct instant now = INSTANT_ZERO;
  const float factors[] = {1, 2, 4, 8};
  for (int i = 0; i < 4; i++) {
    assert_false(workload_is_done(workload));
    run(workload, &now, (struct instant){(i + 1) * 10 * NS_PER_S - 1}, duration_s(1), false,
        &tally);
    assert_true(tally.last_slo == factors[i]);
  }
  assert_true(workload_is_done(workload));
  assert_int_equal(workload_wakeup(workload).ns, INSTANT_NEVER.ns);
  assert_int_equal(tally.count, 4000);
  free(workload);

  static const char *const RATES[] = {"5", "100", "400", "2", "mul", "100", NULL};
  workload = open_workload("scalability-exp-1", RATES, NULL);
  memset(&tally, 0, sizeof(tally));
  now = INSTANT_ZERO;
  for (int i = 0; i < 3; i++) {
    const uint64_t before = tally.count;
    const double expected = 100 * 100 * (1 << i);
    assert_true(fabs(workload_offered_rate(workload, now) - expected / 100) < 1e-6);
    run(workload, &now, (struct instant){(i + 1) * 100 * NS_PER_S}, duration_s(1), false, &tally);
    assert_true(fabs((double)(tally.count - before) - expected) < 5 * sqrt(expected));
  }
  assert_true(workload_is_done(workload));
  assert_true(workload_offered_rate(workload, now) == 0);
  free(workload);
}

static void bursty_models_join_one_a_second(void **state) {
  (void)state;
  static const char *const ARGUMENTS[] = {"50", NULL};
  struct workload *workload = open_workload("bursty_experiment", ARGUMENTS, NULL);
  assert_int_equal(instances_of(workload), 51);
  static struct tally tally;
  memset(&tally, 0, sizeof(tally));
  struct instant now = INSTANT_ZERO;
  run(workload, &now, (struct instant){900 * NS_PER_S}, duration_s(1), false, &tally);
  assert_int_equal(tally.by_model[0], tally.count);
  assert_true(fabs((double)tally.count - 200 * 900) < 5 * sqrt(200.0 * 900));
  for (uint32_t joined = 1; joined <= 60; joined++) {
    const uint64_t before = tally.count;
    run(workload, &now, instant_add(now, duration_s(1)), duration_s(1), false, &tally);
    assert_in_range(tally.count - before, 1000, 1400);
    for (uint32_t model = 1; model <= 50; model++) {
      assert_true(tally.by_model[model] > 0 || model > joined || joined > 40);
      assert_true(tally.by_model[model] == 0 || model <= joined);
    }
  }
  free(workload);
}

static void bursty_models_join_as_told(void **state) {
  (void)state;
  static const char *const ARGUMENTS[] = {"50", "0.5", "10", "0.1", NULL};
  struct workload *workload = open_workload("bursty_experiment", ARGUMENTS, NULL);
  static struct tally tally;
  memset(&tally, 0, sizeof(tally));
  struct instant now = INSTANT_ZERO;
  run(workload, &now, (struct instant){10 * NS_PER_S}, duration_s(1), false, &tally);
  assert_int_equal(tally.by_model[0], tally.count);
  assert_true(fabs((double)tally.count - 1000) < 5 * sqrt(1000.0));
  run(workload, &now, instant_add(now, duration_s(5)), duration_s(1), false, &tally);
  assert_true(tally.by_model[50] > 0);
  const uint64_t before = tally.count;
  run(workload, &now, instant_add(now, duration_s(10)), duration_s(1), false, &tally);
  assert_in_range(tally.count - before, 5500, 6500);
  free(workload);
}

/* ---- closed loops ---- */

static void a_closed_loop_waits_for_its_answer(void **state) {
  (void)state;
  struct workload *workload = open_workload("simple", NULL, NULL);
  assert_int_equal(instances_of(workload), 2);
  struct workload_request requests[BATCH];
  assert_int_equal(workload_next_requests(workload, INSTANT_ZERO, requests, BATCH), 2);
  assert_int_equal(requests[0].model_index + requests[1].model_index, 1);
  struct instant now = {5 * NS_PER_S};
  assert_int_equal(workload_next_requests(workload, now, requests + 2, BATCH - 2), 0);
  assert_int_equal(workload_wakeup(workload).ns, INSTANT_NEVER.ns);
  assert_false(workload_is_done(workload));

  workload_on_answered(workload, now, requests[1].tag, true);
  assert_int_equal(workload_wakeup(workload).ns, now.ns);
  struct workload_request next;
  assert_int_equal(workload_next_requests(workload, now, &next, 1), 1);
  assert_int_equal(next.tag, requests[1].tag);
  assert_int_equal(next.at.ns, now.ns);

  /* A refusal is not asked again at once. */
  workload_on_answered(workload, now, next.tag, false);
  assert_int_equal(workload_wakeup(workload).ns, now.ns + WORKLOAD_RETRY_PAUSE_MS * NS_PER_MS);
  /* Answers that nobody waits for change nothing. */
  workload_on_answered(workload, now, next.tag, true);
  workload_on_answered(workload, now, 2, true);
  workload_on_answered(workload, now, UINT32_MAX, true);
  assert_int_equal(workload_next_requests(workload, now, &next, 1), 0);
  free(workload);
}

static void a_parametric_workload_spends_its_budget(void **state) {
  (void)state;
  static const char *const ARGUMENTS[] = {"5", "3", "4", "101", NULL};
  struct workload *workload = open_workload("simple-parametric", ARGUMENTS, NULL);
  static struct tally tally;
  memset(&tally, 0, sizeof(tally));
  struct instant now = INSTANT_ZERO;
  struct workload_request requests[BATCH];
  assert_int_equal(workload_next_requests(workload, now, requests, BATCH), 12);
  for (int i = 0; i < 12; i++) {
    tally_add(&tally, &requests[i]);
  }
  for (int i = 0; i < 12; i++) {
    workload_on_answered(workload, now, requests[i].tag, i % 2 == 0);
  }
  run(workload, &now, (struct instant){NS_PER_S}, duration_ms(1), true, &tally);
  assert_int_equal(tally.count, 303);
  assert_true(workload_is_done(workload));
  for (int model = 0; model < 5; model++) {
    assert_in_range(tally.by_model[model], 60, 62);
  }
  free(workload);
}

static void slo_factors_of_closed_loops_change_and_return(void **state) {
  (void)state;
  struct workload *workload = open_workload("simple-slo-factor", NULL, NULL);
  assert_int_equal(instances_of(workload), 3);
  static struct tally tally;
  memset(&tally, 0, sizeof(tally));
  struct instant now = INSTANT_ZERO;
  const float factors[] = {4, 8, 16, 32, 64, 128, 4, 8};
  for (int i = 0; i < 8; i++) {
    run(workload, &now, (struct instant){(i + 1) * 10 * NS_PER_S - 1}, duration_ms(3), true,
        &tally);
    assert_true(tally.last_slo == factors[i]);
  }
  free(workload);
}

static void the_background_has_its_own_models_and_slo(void **state) {
  (void)state;
  static const char *const ARGUMENTS[] = {"m",   "6", "poisson", "1200", "1",   "4", "2",
                                          "mul", "1", "48",      "4",    "500", NULL};
  struct workload *workload = open_workload("slo-exp-2", ARGUMENTS, NULL);
  assert_int_equal(instances_of(workload), 54);
  struct workload_request requests[BATCH];
  assert_int_equal(workload_next_requests(workload, INSTANT_ZERO, requests, BATCH), 48 * 4);
  for (int i = 0; i < 48 * 4; i++) {
    assert_true(requests[i].model_index >= 6);
    assert_true(requests[i].slo_factor == 500);
    workload_on_answered(workload, INSTANT_ZERO, requests[i].tag, true);
  }
  static struct tally tally;
  memset(&tally, 0, sizeof(tally));
  struct instant now = INSTANT_ZERO;
  run(workload, &now, (struct instant){4 * NS_PER_S}, duration_ms(10), true, &tally);
  /* Background answers come after the end as well: nothing follows them. */
  assert_true(workload_is_done(workload));
  uint64_t foreground = 0;
  for (int model = 0; model < 6; model++) {
    foreground += tally.by_model[model];
  }
  assert_true(fabs((double)foreground - 3600) < 5 * sqrt(3600));
  free(workload);
}

static void spams_keep_their_requests_outstanding(void **state) {
  (void)state;
  static const char *const ARGUMENTS[] = {"googlenet", NULL};
  struct workload *workload = open_workload("spam", ARGUMENTS, NULL);
  uint32_t count = 0;
  const struct workload_model *models = workload_models(workload, &count);
  assert_int_equal(count, 1);
  assert_string_equal(models[0].name, "googlenet");
  assert_int_equal(models[0].copies, 100);
  static struct workload_request requests[20000];
  assert_int_equal(workload_next_requests(workload, INSTANT_ZERO, requests, 20000), 10000);
  free(workload);
  workload = open_workload("single-spam", NULL, NULL);
  assert_int_equal(workload_next_requests(workload, INSTANT_ZERO, requests, 20000), 100);
  free(workload);
  workload = open_workload("comparison_experiment2", NULL, NULL);
  assert_int_equal(workload_next_requests(workload, INSTANT_ZERO, requests, 20000), 15 * 16);
  free(workload);
}

/* ---- traces ---- */

static void azure_loads_the_published_numbers_of_models(void **state) {
  (void)state;
  const struct trace *trace = sample_day(10);
  static const uint32_t INSTANCES[2][4] = {{200, 800, 1800, 3600}, {183, 793, 1769, 4026}};
  static const char *const DIGITS[] = {"0", "1", "2", "3", "4"};
  for (int all = 0; all < 2; all++) {
    for (int memory = 1; memory <= 4; memory++) {
      const char *const arguments[] = {"8", DIGITS[all], "1.0", DIGITS[memory], NULL};
      struct workload *workload = open_workload("azure", arguments, trace);
      assert_int_equal(instances_of(workload), INSTANCES[all][memory - 1]);
      uint32_t varieties = 0;
      const struct workload_model *models = workload_models(workload, &varieties);
      assert_int_equal(varieties, all ? 61 : 1);
      uint32_t winograd = 0;
      for (uint32_t i = 0; i < varieties; i++) {
        winograd += strncmp(models[i].name, "winograd", 8) == 0;
        for (uint32_t j = 0; j < i; j++) {
          assert_string_not_equal(models[i].name, models[j].name);
        }
      }
      assert_int_equal(winograd, all ? 1 : 0);
      free(workload);
    }
  }
  trace_free(trace);
}

static void heavy_functions_are_spread_over_the_instances(void **state) {
  (void)state;
  const struct trace *trace = sample_day(2022);
  static const char *const ARGUMENTS[] = {"8", "1", "1", "1", NULL};
  const struct tally *tally = run_open("azure", ARGUMENTS, trace, 1, 3600, duration_s(60));
  /* 183 instances of 11 functions each: nearly all are asked within the hour, none gets more than
   * the heaviest function (a sixth of all calls) explains. */
  uint32_t used = 0;
  for (int model = 0; model < 183; model++) {
    used += tally->by_model[model] > 0;
    assert_true((double)tally->by_model[model] < 0.3 * (double)tally->count);
  }
  assert_true(used > 170);
  /* Unscaled: the day's calls, of which an hour is a twenty-fourth. */
  const double expected = (double)trace->calls_count / 24;
  assert_true((double)tally->count > 0.7 * expected);
  assert_true((double)tally->count < 1.5 * expected);
  trace_free(trace);
}

static void each_minute_has_its_rate(void **state) {
  (void)state;
  static uint32_t counts[TRACE_MINUTES];
  memset(counts, 0, sizeof(counts));
  counts[0] = 3000;
  counts[1] = 60000;
  counts[5] = 600;
  counts[1439] = 12000;
  const struct trace *trace = trace_of(counts, 1);
  /* Scale 0.5 x 0.125 x 16 = 1, and intervals of 10 s instead of 60: the rate is that of the
   * minute, for a sixth of its length. */
  static const char *const ARGUMENTS[] = {"16", "0", "0.5", "1", "10", NULL};
  struct workload *workload = open_workload("azure", ARGUMENTS, trace);
  static struct tally tally;
  memset(&tally, 0, sizeof(tally));
  struct instant now = INSTANT_ZERO;
  for (int64_t interval = 0; interval < 3 * TRACE_MINUTES; interval++) {
    const uint64_t before = tally.count;
    run(workload, &now, (struct instant){(interval + 1) * 10 * NS_PER_S - 1}, duration_s(10), false,
        &tally);
    const double expected = counts[interval % TRACE_MINUTES] / 6.0;
    const double got = (double)(tally.count - before);
    assert_true(fabs(got - expected) <= 5 * sqrt(expected));
  }
  free(workload);
  trace_free(trace);
}

static void rare_calls_come_as_often_as_they_should(void **state) {
  (void)state;
  static uint32_t counts[TRACE_MINUTES];
  memset(counts, 0, sizeof(counts));
  counts[700] = 1;
  counts[900] = 1;
  const struct trace *trace = trace_of(counts, 1);
  /* 2 calls a day at a scale of 1/100: one request in 50 days. */
  static const char *const ARGUMENTS[] = {"8", "0", "0.01", "1", "60", NULL};
  struct workload *workload = open_workload("azure", ARGUMENTS, trace);
  struct workload_request request;
  struct instant last = INSTANT_ZERO;
  enum { REQUESTS = 500 };
  for (int i = 0; i < REQUESTS; i++) {
    const struct instant at = workload_wakeup(workload);
    assert_true(at.ns > last.ns);
    const int64_t minute = at.ns / (60 * NS_PER_S) % TRACE_MINUTES;
    assert_true(minute == 700 || minute == 900);
    assert_int_equal(workload_next_requests(workload, at, &request, 1), 1);
    last = at;
  }
  const double days = (double)last.ns / (86400.0 * (double)NS_PER_S);
  assert_true(fabs(days / (50.0 * REQUESTS) - 1) < 5 / sqrt(REQUESTS));
  free(workload);
  trace_free(trace);
}

static void randomise_starts_everybody_elsewhere(void **state) {
  (void)state;
  enum { FUNCTIONS = 400 };
  static uint32_t counts[FUNCTIONS * TRACE_MINUTES];
  memset(counts, 0, sizeof(counts));
  for (int i = 0; i < FUNCTIONS; i++) {
    counts[i * TRACE_MINUTES + 10] = 1000;
  }
  const struct trace *trace = trace_of(counts, FUNCTIONS);
  static const char *const TOGETHER[] = {"8", "0", "1", "1", "1", NULL};
  static const char *const APART[] = {"8", "0", "1", "1", "1", "1", "1", NULL};
  for (int apart = 0; apart < 2; apart++) {
    struct workload *workload = open_workload("azure", apart ? APART : TOGETHER, trace);
    static struct tally tally;
    memset(&tally, 0, sizeof(tally));
    struct instant now = INSTANT_ZERO;
    uint64_t most = 0;
    for (int i = 0; i < TRACE_MINUTES; i++) {
      const uint64_t before = tally.count;
      run(workload, &now, instant_add(now, duration_s(1)), duration_s(1), false, &tally);
      most = tally.count - before > most ? tally.count - before : most;
    }
    const double expected = FUNCTIONS * 1000 / 60.0;
    assert_true(fabs((double)tally.count - expected) < 5 * sqrt(expected));
    assert_true(apart ? most < tally.count / 20 : most == tally.count);
    free(workload);
  }
  trace_free(trace);
}

static void the_load_factor_climbs(void **state) {
  (void)state;
  static uint32_t counts[TRACE_MINUTES];
  for (int i = 0; i < TRACE_MINUTES; i++) {
    counts[i] = 6000;
  }
  const struct trace *trace = trace_of(counts, 1);
  static const char *const ARGUMENTS[] = {"8", "1", "4", "2", "90", "1", NULL};
  struct workload *workload = open_workload("azure_scalability_exp", ARGUMENTS, trace);
  assert_int_equal(instances_of(workload), 183);
  static struct tally tally;
  memset(&tally, 0, sizeof(tally));
  struct instant now = INSTANT_ZERO;
  for (int i = 0; i < 3; i++) {
    const uint64_t before = tally.count;
    assert_true(fabs(workload_offered_rate(workload, now) - 100 * (1 << i)) < 1e-6);
    run(workload, &now, (struct instant){(i + 1) * 90 * NS_PER_S}, duration_s(1), false, &tally);
    const double expected = 100.0 * 90 * (1 << i);
    assert_true(fabs((double)(tally.count - before) - expected) < 5 * sqrt(expected));
  }
  assert_true(workload_is_done(workload));
  free(workload);
  trace_free(trace);
}

static void silent_functions_take_no_part(void **state) {
  (void)state;
  static uint32_t counts[3 * TRACE_MINUTES];
  memset(counts, 0, sizeof(counts));
  counts[1 * TRACE_MINUTES + 3] = 100;
  const struct trace *trace = trace_of(counts, 3);
  static const char *const ARGUMENTS[] = {"8", "0", "1", "1", NULL};
  const struct tally *tally = run_open("azure", ARGUMENTS, trace, 1, 3600, duration_s(60));
  assert_in_range(tally->count, 50, 150);
  trace_free(trace);
}

/* ---- misuse ---- */

static void go_back(void *argument) {
  struct workload *workload = argument;
  struct workload_request request;
  workload_next_requests(workload, (struct instant){10}, &request, 1);
  workload_next_requests(workload, (struct instant){9}, &request, 1);
}

static void forget_the_trace(void *argument) {
  workload_bytes(argument);
}

static void misuse_is_a_bug(void **state) {
  (void)state;
  struct workload *workload = open_workload("simple", NULL, NULL);
  assert_true(test_dies(go_back, workload));
  free(workload);
  struct workload_fault fault;
  struct workload_config config;
  assert_int_equal(workload_parse(workload_find("azure", &fault), NULL, 0, &config, &fault),
                   ERR_OK);
  assert_true(test_dies(forget_the_trace, &config));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_workload_runs_and_repeats),
      cmocka_unit_test(open_loops_do_not_depend_on_when_they_are_asked),
      cmocka_unit_test(sequences_are_the_golden_ones),
      cmocka_unit_test(a_poisson_process_has_its_rate_and_variance),
      cmocka_unit_test(even_spacing_does_not_drift),
      cmocka_unit_test(a_late_caller_gets_all_that_was_due),
      cmocka_unit_test(ladders_step_and_end),
      cmocka_unit_test(bursty_models_join_one_a_second),
      cmocka_unit_test(bursty_models_join_as_told),
      cmocka_unit_test(a_closed_loop_waits_for_its_answer),
      cmocka_unit_test(a_parametric_workload_spends_its_budget),
      cmocka_unit_test(slo_factors_of_closed_loops_change_and_return),
      cmocka_unit_test(the_background_has_its_own_models_and_slo),
      cmocka_unit_test(spams_keep_their_requests_outstanding),
      cmocka_unit_test(azure_loads_the_published_numbers_of_models),
      cmocka_unit_test(heavy_functions_are_spread_over_the_instances),
      cmocka_unit_test(each_minute_has_its_rate),
      cmocka_unit_test(rare_calls_come_as_often_as_they_should),
      cmocka_unit_test(randomise_starts_everybody_elsewhere),
      cmocka_unit_test(the_load_factor_climbs),
      cmocka_unit_test(silent_functions_take_no_part),
      cmocka_unit_test(misuse_is_a_bug),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
