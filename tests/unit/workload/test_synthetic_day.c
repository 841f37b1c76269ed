#include "workload/synthetic_day.h"

#include "base/prng.h"
#include "support/cmocka.h"
#include "support/memory.h"
#include "workload/trace_text.h"

static struct synthetic_day_config sample_of(uint32_t functions) {
  struct synthetic_day_config config = synthetic_day_default(1);
  config.function_count = functions;
  return config;
}

static uint64_t mix(uint64_t hash, uint64_t word) {
  return prng_mix(hash * 31 + word);
}

static uint64_t counts_hash(const struct synthetic_day_config *config) {
  struct synthetic_function function;
  uint64_t hash = 0;
  for (uint32_t i = 0; i < config->function_count; i++) {
    synthetic_day_make_function(config, i, &function);
    for (uint32_t minute = 0; minute < TRACE_MINUTES; minute++) {
      hash = mix(hash, function.counts[minute]);
    }
    hash = mix(hash, function.function_hash[0]);
  }
  return hash;
}

static void a_day_is_a_function_of_its_config(void **state) {
  (void)state;
  const struct synthetic_day_config config = sample_of(500);
  /* The golden value: who changes the generator sees it here, and so does another compiler. */
  const uint64_t golden = UINT64_C(0x899f98fbfac2209f);
  assert_int_equal(counts_hash(&config), golden);
  struct synthetic_day_config other = config;
  other.seed = 2;
  assert_int_not_equal(counts_hash(&other), golden);
  other = config;
  other.day = 2;
  assert_int_not_equal(counts_hash(&other), golden);
}

static void days_have_the_same_functions(void **state) {
  (void)state;
  const struct synthetic_day_config first = sample_of(300);
  struct synthetic_day_config second = first;
  second.day = 2;
  struct synthetic_function a;
  struct synthetic_function b;
  for (uint32_t i = 0; i < first.function_count; i++) {
    synthetic_day_make_function(&first, i, &a);
    synthetic_day_make_function(&second, i, &b);
    assert_memory_equal(a.owner_hash, b.owner_hash, sizeof(a.owner_hash));
    assert_memory_equal(a.app_hash, b.app_hash, sizeof(a.app_hash));
    assert_memory_equal(a.function_hash, b.function_hash, sizeof(a.function_hash));
    assert_int_equal(a.trigger, b.trigger);
    /* As many calls as chance allows: within 8 standard deviations. */
    const double difference = (double)a.calls_count - (double)b.calls_count;
    const double sum = (double)(a.calls_count + b.calls_count);
    assert_true(difference * difference <= 64 * sum + 64);
  }
}

static void every_size_has_calls_in_every_function(void **state) {
  (void)state;
  const uint32_t sizes[] = {1, 2, 3, 7, 64, 65, 1000};
  const double scales[] = {SYNTHETIC_SCALE_MIN, 1, SYNTHETIC_SCALE_MAX};
  struct synthetic_function function;
  for (size_t size = 0; size < sizeof(sizes) / sizeof(sizes[0]); size++) {
    for (size_t scale = 0; scale < 3; scale++) {
      struct synthetic_day_config config = sample_of(sizes[size]);
      config.load_scale = scales[scale];
      for (uint32_t i = 0; i < sizes[size]; i++) {
        synthetic_day_make_function(&config, i, &function);
        uint64_t sum = 0;
        for (uint32_t minute = 0; minute < TRACE_MINUTES; minute++) {
          assert_true(function.counts[minute] <= TRACE_COUNT_MAX);
          sum += function.counts[minute];
        }
        assert_true(sum >= 1);
        assert_int_equal(sum, function.calls_count);
      }
    }
  }
}

static uint64_t total_of(const struct synthetic_day_config *config) {
  const struct trace *trace =
      synthetic_day_init(test_memory_take(synthetic_day_bytes(config)), config);
  const uint64_t total = trace->calls_count;
  assert_int_equal(trace->function_count, config->function_count);
  free((void *)(uintptr_t)trace);
  return total;
}

/* The real days have 4,216,232 and 4,216,979 calls of 2,022 and 2,031 functions; the full trace
 * 12.5e9 in 14 days. */
static void totals_are_those_of_the_real_traces(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 5; seed++) {
    struct synthetic_day_config config = sample_of(2022);
    config.seed = seed;
    assert_in_range(total_of(&config), 4216232 * 92 / 100, 4216232 * 108 / 100);
  }
  const struct synthetic_day_config full = synthetic_day_default(1);
  assert_int_equal(full.function_count, 46000);
  const uint64_t fortnight = UINT64_C(12500000000);
  assert_in_range(total_of(&full), fortnight / 14 * 98 / 100, fortnight / 14 * 102 / 100);
}

static void load_scale_multiplies(void **state) {
  (void)state;
  struct synthetic_day_config config = sample_of(2022);
  const uint64_t once = total_of(&config);
  config.load_scale = 3;
  assert_in_range(total_of(&config), once * 3 * 97 / 100, once * 3 * 103 / 100);
}

/* 0 if the function is no exact timer. */
static uint32_t exact_period(const struct synthetic_function *function) {
  static const uint32_t PERIODS[] = {1440, 720, 360, 240, 180, 120, 60, 30, 20, 15, 10, 5, 1};
  for (size_t i = 0; i < sizeof(PERIODS) / sizeof(PERIODS[0]); i++) {
    uint32_t phase = 0;
    while (phase < PERIODS[i] && function->counts[phase] == 0) {
      phase++;
    }
    bool is_exact = phase < PERIODS[i];
    for (uint32_t minute = 0; minute < TRACE_MINUTES && is_exact; minute++) {
      const bool fires = minute % PERIODS[i] == phase;
      is_exact = function->counts[minute] == (fires ? function->counts[phase] : 0);
    }
    if (is_exact) {
      return PERIODS[i];
    }
  }
  return 0;
}

static void timers_are_exact_and_as_many_as_measured(void **state) {
  (void)state;
  const struct synthetic_day_config config = sample_of(4000);
  struct synthetic_function function;
  uint32_t timers = 0;
  uint32_t exact = 0;
  uint32_t five_minutes = 0;
  for (uint32_t i = 0; i < config.function_count; i++) {
    synthetic_day_make_function(&config, i, &function);
    if (function.trigger != SYNTHETIC_TIMER) {
      continue;
    }
    timers++;
    const uint32_t period = exact_period(&function);
    exact += period > 0;
    five_minutes += period == 5;
  }
  assert_in_range(timers, 4000 * 150 / 1000, 4000 * 162 / 1000);
  /* The others fire late now and then. */
  assert_in_range(exact, timers * 60 / 100, timers * 90 / 100);
  assert_in_range(five_minutes, 4000 * 20 / 1000, 4000 * 41 / 1000);
}

static void applications_share_functions(void **state) {
  (void)state;
  const struct synthetic_day_config config = sample_of(4000);
  struct synthetic_function function;
  uint64_t last_app = 0;
  uint64_t last_owner = 0;
  uint32_t apps = 0;
  uint32_t owners = 0;
  for (uint32_t i = 0; i < config.function_count; i++) {
    synthetic_day_make_function(&config, i, &function);
    apps += function.app_hash[0] != last_app;
    owners += function.owner_hash[0] != last_owner;
    last_app = function.app_hash[0];
    last_owner = function.owner_hash[0];
  }
  assert_in_range(apps, 1000, 3000);
  assert_true(owners < apps);
}

/* What make_trace writes is what the client replays without a file. */
static void written_and_read_again_it_is_the_same_day(void **state) {
  (void)state;
  const struct synthetic_day_config config = sample_of(1500);
  const size_t capacity =
      TRACE_TEXT_HEADER_BYTES_MAX + (size_t)config.function_count * TRACE_TEXT_ROW_BYTES_MAX;
  char *text = malloc(capacity);
  assert_non_null(text);
  size_t used = trace_text_write_header(text);
  struct synthetic_function function;
  for (uint32_t i = 0; i < config.function_count; i++) {
    synthetic_day_make_function(&config, i, &function);
    used += trace_text_write_row(&function, text + used);
  }
  size_t bytes = 0;
  struct workload_fault fault = {.text = ""};
  assert_int_equal(trace_measure(text, used, &bytes, &fault), ERR_OK);
  const size_t made_bytes = synthetic_day_bytes(&config);
  assert_int_equal(bytes, made_bytes);
  const struct trace *read = trace_init(test_memory_take(bytes), text, used);
  const struct trace *made = synthetic_day_init(test_memory_take(made_bytes), &config);
  free(text);
  assert_int_equal(read->function_count, made->function_count);
  assert_int_equal(read->calls_count, made->calls_count);
  assert_int_equal(read->pairs_bytes, made->pairs_bytes);
  assert_memory_equal(read->pairs, made->pairs, made->pairs_bytes);
  for (uint32_t i = 0; i < made->function_count; i++) {
    assert_int_equal(read->functions[i].calls_count, made->functions[i].calls_count);
    assert_int_equal(read->functions[i].end, made->functions[i].end);
  }
  free((void *)(uintptr_t)read);
  free((void *)(uintptr_t)made);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_day_is_a_function_of_its_config),
      cmocka_unit_test(days_have_the_same_functions),
      cmocka_unit_test(every_size_has_calls_in_every_function),
      cmocka_unit_test(totals_are_those_of_the_real_traces),
      cmocka_unit_test(load_scale_multiplies),
      cmocka_unit_test(timers_are_exact_and_as_many_as_measured),
      cmocka_unit_test(applications_share_functions),
      cmocka_unit_test(written_and_read_again_it_is_the_same_day),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
