#include "simulator/simulation.h"

#include <string.h>

#include "base/check.h"
#include "simulator/inputs.h"
#include "support/cmocka.h"

/* What telemetry said of a run. */
struct seen {
  uint64_t requests;
  uint64_t met;
  uint64_t actions;
  uint64_t failed_actions;
  int64_t completion_error_ns; /* the largest, of INFERs */
};

struct outcome {
  struct seen seen;
  struct simulation_counts counts;
};

static void on_request(void *self, const struct telemetry_request *row) {
  struct seen *seen = self;
  seen->requests++;
  seen->met += row->deadline_met;
}

static void on_action(void *self, const struct telemetry_action *row) {
  struct seen *seen = self;
  seen->actions++;
  seen->failed_actions += row->status != ACTION_SUCCESS;
  if (row->action_type == ACTION_INFER && row->status == ACTION_SUCCESS) {
    const int64_t error_ns = row->worker_exec_complete - row->expected_exec_complete;
    const int64_t size_ns = error_ns < 0 ? -error_ns : error_ns;
    seen->completion_error_ns =
        size_ns > seen->completion_error_ns ? size_ns : seen->completion_error_ns;
  }
}

static struct simulation_config config_of(const struct profile *profile, const char *name,
                                          const char *const *parameters, uint32_t count) {
  struct workload_fault fault;
  struct simulation_config config = {.duration = duration_s(10),
                                     .workers_count = 2,
                                     .gpus_per_worker = 2,
                                     .pages = 1376,
                                     .profile = profile->specs,
                                     .profile_count = profile->count,
                                     .seed = 1,
                                     .execute_jitter_ppm = 80,
                                     .transfer_jitter_ppm = 2000,
                                     .latency = duration_us(50),
                                     .jitter = duration_us(20),
                                     .ps_per_byte = 800};
  scheduler_config_defaults(&config.scheduler);
  assert_int_equal(
      workload_parse(workload_find(name, &fault), parameters, count, &config.workload, &fault),
      ERR_OK);
  return config;
}

static struct outcome run(const struct simulation_config *config) {
  struct outcome outcome = {.seen = {0}};
  const struct telemetry_sink sink = {
      .self = &outcome.seen, .on_request = on_request, .on_action = on_action};
  struct simulation *simulation = NULL;
  struct error_text error;
  assert_int_equal(simulation_create(config, &sink, &simulation, &error), ERR_OK);
  while (simulation_run(simulation, 1000)) {
  }
  simulation_counts(simulation, &outcome.counts);
  simulation_destroy(simulation);
  return outcome;
}

static int open_profile(void **state) {
  static struct profile profile;
  struct error_text error;
  CHECK_EQ(profile_open(&profile, NULL, &error), ERR_OK);
  *state = &profile;
  return 0;
}

static int close_profile(void **state) {
  profile_close(*state);
  return 0;
}

static const char *const LIGHT[] = {"40", "400"};
static const char *const HEAVY[] = {"40", "8000"};

static void every_request_is_answered_once(void **state) {
  const struct simulation_config config = config_of(*state, "poisson-open-loop", HEAVY, 2);
  const struct outcome outcome = run(&config);
  assert_in_range(outcome.counts.requests_sent, 78000, 82000);
  assert_int_equal(outcome.seen.requests, outcome.counts.requests_sent);
  assert_int_equal(outcome.counts.scheduler.requests_queued, 0);
  assert_int_equal(outcome.counts.scheduler.requests_running, 0);
}

static void the_seed_alone_decides(void **state) {
  struct simulation_config config = config_of(*state, "poisson-open-loop", HEAVY, 2);
  const uint64_t hash = run(&config).counts.trace_hash;
  assert_true(run(&config).counts.trace_hash == hash);
  config.seed = 2;
  assert_true(run(&config).counts.trace_hash != hash);
}

static void a_light_load_meets_its_deadlines(void **state) {
  const struct simulation_config config = config_of(*state, "poisson-open-loop", LIGHT, 2);
  const struct outcome outcome = run(&config);
  assert_int_equal(outcome.seen.met, outcome.seen.requests);
  assert_int_equal(outcome.seen.failed_actions, 0);
}

/* Four GPUs of 923 resnet50 a second at batch 16. */
static void an_overload_is_refused_and_never_late(void **state) {
  const struct simulation_config config = config_of(*state, "poisson-open-loop", HEAVY, 2);
  const struct outcome outcome = run(&config);
  assert_int_equal(outcome.counts.scheduler.answers_late, 0);
  assert_in_range(outcome.seen.met, 25000, 37500);
}

static void clocks_that_are_off_change_little(void **state) {
  struct simulation_config config = config_of(*state, "poisson-open-loop", LIGHT, 2);
  config.jitter = DURATION_ZERO;
  config.skew = duration_s(100);
  config.drift_ppb = 50000;
  const struct outcome outcome = run(&config);
  assert_int_equal(outcome.seen.met, outcome.seen.requests);
  /* Half a second of drift between two pings is 25 us; a cold GPU's first lag is a guess. */
  assert_in_range(outcome.seen.completion_error_ns, 0, NS_PER_MS);
}

static void a_slower_gpu_is_noticed(void **state) {
  struct simulation_config config = config_of(*state, "poisson-open-loop", LIGHT, 2);
  config.clock_change = duration_s(1);
  const struct outcome outcome = run(&config);
  assert_true(outcome.seen.completion_error_ns > NS_PER_MS / 10);
  assert_true(outcome.seen.met * 1000 >= outcome.seen.requests * 999);
}

static void a_closed_loop_ends_when_its_clients_do(void **state) {
  static const char *const PARAMETERS[] = {"3", "2", "2", "50"};
  struct simulation_config config = config_of(*state, "simple-parametric", PARAMETERS, 4);
  config.duration = duration_s(3600);
  const struct outcome outcome = run(&config);
  assert_true(outcome.counts.requests_sent > 0);
  assert_int_equal(outcome.seen.requests, outcome.counts.requests_sent);
}

static void a_narrow_network_holds_inputs_up(void **state) {
  struct simulation_config config = config_of(*state, "poisson-open-loop", HEAVY, 2);
  const uint64_t met = run(&config).seen.met;
  config.generates_inputs = true;
  config.ps_per_byte = 800000; /* 10 Mbit/s: 125 inputs of 10 kB a second */
  const struct outcome narrow = run(&config);
  assert_true(narrow.seen.met < met / 4);
  assert_int_equal(narrow.seen.requests, narrow.counts.requests_sent);
}

static void a_profile_without_the_model_is_refused(void **state) {
  const struct profile *profile = *state;
  struct profile one = {.specs = profile->specs, .count = 1};
  const struct simulation_config config = config_of(&one, "poisson-open-loop", LIGHT, 2);
  const struct telemetry_sink sink = {.self = NULL};
  struct simulation *simulation = NULL;
  struct error_text error;
  assert_string_not_equal(one.specs[0].name, "resnet50_v2");
  assert_int_equal(simulation_create(&config, &sink, &simulation, &error), ERR_NOT_FOUND);
  assert_non_null(strstr(error.text, "resnet50_v2"));
  assert_null(simulation);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_request_is_answered_once),
      cmocka_unit_test(the_seed_alone_decides),
      cmocka_unit_test(a_light_load_meets_its_deadlines),
      cmocka_unit_test(an_overload_is_refused_and_never_late),
      cmocka_unit_test(clocks_that_are_off_change_little),
      cmocka_unit_test(a_slower_gpu_is_noticed),
      cmocka_unit_test(a_closed_loop_ends_when_its_clients_do),
      cmocka_unit_test(a_narrow_network_holds_inputs_up),
      cmocka_unit_test(a_profile_without_the_model_is_refused),
  };
  return cmocka_run_group_tests(tests, open_profile, close_profile);
}
