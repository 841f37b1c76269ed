/* Faults by hand: what the nodes and the plan make of them. That the checkers find what they should
 * is shown with planted bugs (tests/planted). */
#include <string.h>

#include "base/check.h"
#include "simulator/device.h"
#include "simulator/faults/inject.h"
#include "simulator/faults/seed_run.h"
#include "support/cmocka.h"

static struct profile profile;
static struct day day;

static int open_inputs(void **state) {
  struct error_text error;
  (void)state;
  CHECK_EQ(profile_open(&profile, NULL, &error), ERR_OK);
  CHECK_EQ(day_open(&day, NULL, 1, 500, &error), ERR_OK);
  return 0;
}

static int close_inputs(void **state) {
  (void)state;
  day_close(&day);
  profile_close(&profile);
  return 0;
}

/* Two workers of one GPU, an open loop of 200 requests a second, no fault. */
static struct fault_plan quiet_plan(void) {
  struct fault_plan plan = {.seed = 1,
                            .workload =
                                "slo-exp-1 resnet50_v2 20 poisson 200 40 10000 1.5 mul 1000",
                            .policy = "infer4",
                            .workers = 2,
                            .gpus = 1,
                            .pages = 200,
                            .requests_max = 4096,
                            .latency = duration_us(50),
                            .jitter = duration_us(20),
                            .is_steady = true,
                            .is_open_loop = true};
  return plan;
}

static struct seed_outcome run(const struct fault_plan *plan) {
  const struct seed_inputs inputs = {.profile = &profile, .day = &day};
  struct seed_outcome outcome;
  struct error_text error;
  assert_int_equal(seed_run(plan, &inputs, NULL, &outcome, &error), ERR_OK);
  return outcome;
}

/* With this fault alone; nothing may be found. */
static struct seed_outcome run_with(const char *text) {
  struct fault_plan plan = quiet_plan();
  struct error_text error;
  assert_true(plan_parse_fault(&plan, text, &plan.faults[plan.faults_count++], &error));
  const struct seed_outcome outcome = run(&plan);
  if (outcome.findings.count > 0) {
    fail_msg("%s: %s: %s", text, outcome.findings.checker, outcome.findings.text);
  }
  return outcome;
}

static void a_run_repeats_with_its_faults(void **state) {
  (void)state;
  const struct fault_plan plan = quiet_plan();
  const struct seed_outcome quiet = run(&plan);
  assert_int_equal(quiet.findings.count, 0);
  assert_in_range(quiet.requests, 7000, 7800);
  const struct seed_outcome first = run_with("crash worker=0 at=8 for=1");
  assert_true(first.trace_hash != quiet.trace_hash);
  assert_true(run_with("crash worker=0 at=8 for=1").trace_hash == first.trace_hash);
}

/* Every kind by itself, with a load that the rest can carry: the cluster gets over it. */
static void every_kind_is_got_over(void **state) {
  (void)state;
  static const char *const FAULTS[] = {
      "crash worker=1 for=2",     "machine worker=0 for=2",    "hang worker=0 for=4",
      "pause worker=1 for=4",     "leap worker=0 amount=2000", "break worker=1",
      "partition worker=0 for=4", "slow amount=5000 for=3",    "clock amount=50 for=3",
      "stall amount=2000",        "bad-loads for=3",           "bad-runs for=3",
      "controller for=2",         "controller-hang for=4",     "vanish for=1",
      "flood amount=20 for=0.3",  "client-partition for=4",    "gpu-lost worker=1 for=3"};
  assert_int_equal(sizeof(FAULTS) / sizeof(FAULTS[0]), FAULT_KINDS_COUNT);
  for (size_t i = 0; i < FAULT_KINDS_COUNT; i++) {
    run_with(FAULTS[i]);
  }
}

/* ---- what the controller does about workers ---------------------------------------------------
 */

struct seen {
  uint32_t ups;
  uint32_t losses;
  uint32_t gpus_forgotten;
};

static void on_request(void *self, struct instant now, uint64_t ticket, uint32_t model_id) {
  (void)self, (void)now, (void)ticket, (void)model_id;
}
static void on_request_end(void *self, struct instant now, uint64_t ticket, enum request_end end,
                           enum request_result result) {
  (void)self, (void)now, (void)ticket, (void)end, (void)result;
}
static void on_request_taken(void *self, struct instant now, uint32_t process, uint64_t tag,
                             uint64_t ticket, uint32_t model_id) {
  (void)self, (void)now, (void)process, (void)tag, (void)ticket, (void)model_id;
}
static void on_answer(void *self, struct instant now, uint32_t process,
                      const struct scheduler_answer *answer, bool is_known) {
  (void)self, (void)now, (void)process, (void)answer, (void)is_known;
}
static void on_action(void *self, struct instant now, uint32_t process,
                      const struct scheduler_action *action) {
  (void)self, (void)now, (void)process, (void)action;
}
static void on_result(void *self, struct instant now, uint32_t process, uint32_t worker_id,
                      const struct report_message *report, const struct scheduler_result *result) {
  (void)self, (void)now, (void)process, (void)worker_id, (void)report, (void)result;
}
static void on_worker_up(void *self, struct instant now, uint32_t worker_id) {
  (void)now, (void)worker_id;
  ((struct seen *)self)->ups++;
}
static void on_worker_lost(void *self, struct instant now, uint32_t worker_id, const char *why) {
  (void)now, (void)worker_id, (void)why;
  ((struct seen *)self)->losses++;
}
static void on_worker_started(void *self, struct instant now, uint32_t worker_id) {
  (void)self, (void)now, (void)worker_id;
}
static void on_gpu_forgotten(void *self, struct instant now, uint32_t worker_id,
                             uint32_t gpu_index) {
  (void)now, (void)worker_id, (void)gpu_index;
  ((struct seen *)self)->gpus_forgotten++;
}
static void on_gpu_withdrawn(void *self, struct instant now, uint32_t worker_id,
                             uint32_t gpu_index) {
  (void)self, (void)now, (void)worker_id, (void)gpu_index;
}
static void on_action_taken(void *self, struct instant now, uint32_t worker_id,
                            const struct executor_action *action, struct instant local) {
  (void)self, (void)now, (void)worker_id, (void)action, (void)local;
}
static void on_action_done(void *self, struct instant now, uint32_t worker_id,
                           const struct executor_result *result) {
  (void)self, (void)now, (void)worker_id, (void)result;
}
static void on_submit(void *self, struct instant now, uint32_t worker_id,
                      const struct backend_command *command) {
  (void)self, (void)now, (void)worker_id, (void)command;
}
static void on_completion(void *self, struct instant now, uint32_t worker_id,
                          const struct backend_command *command,
                          const struct backend_completion *completion) {
  (void)self, (void)now, (void)worker_id, (void)command, (void)completion;
}
static void on_evict(void *self, struct instant now, uint32_t worker_id, uint32_t gpu_index,
                     uint32_t model_id, const uint32_t *pages, uint32_t pages_count) {
  (void)self, (void)now, (void)worker_id, (void)gpu_index, (void)model_id, (void)pages;
  (void)pages_count;
}

static void on_injected(void *self, struct instant now, const struct fault *fault, bool begins) {
  (void)self, (void)now, (void)fault, (void)begins;
}

static struct instant end_run(void *self, struct instant now) {
  (void)now;
  ((struct events *)self)->is_over = true;
  return INSTANT_NEVER;
}

/* How often workers came and went in 20 s. */
static struct seen watch(uint32_t gpus, const char *text) {
  struct fault_plan plan = quiet_plan();
  plan.gpus = gpus;
  struct error_text error;
  assert_true(plan_parse_fault(&plan, text, &plan.faults[plan.faults_count++], &error));
  struct seen seen = {.ups = 0};
  const struct observer observer = {.self = &seen,
                                    .on_request = on_request,
                                    .on_request_end = on_request_end,
                                    .on_request_taken = on_request_taken,
                                    .on_answer = on_answer,
                                    .on_action = on_action,
                                    .on_result = on_result,
                                    .on_worker_up = on_worker_up,
                                    .on_worker_lost = on_worker_lost,
                                    .on_gpu_forgotten = on_gpu_forgotten,
                                    .on_gpu_withdrawn = on_gpu_withdrawn,
                                    .on_worker_started = on_worker_started,
                                    .on_action_taken = on_action_taken,
                                    .on_action_done = on_action_done,
                                    .on_submit = on_submit,
                                    .on_completion = on_completion,
                                    .on_evict = on_evict};
  static const char *const PARAMETERS[] = {"20", "200"};
  struct workload_fault fault;
  struct simulation_config config = {.duration = duration_s(20),
                                     .workers_count = 2,
                                     .gpus_per_worker = gpus,
                                     .pages = 200,
                                     .profile = profile.specs,
                                     .profile_count = profile.count,
                                     .seed = 1,
                                     .latency = duration_us(50),
                                     .can_fail = true,
                                     .observer = &observer};
  scheduler_config_defaults(&config.scheduler);
  assert_int_equal(workload_parse(workload_find("poisson-open-loop", &fault), PARAMETERS, 2,
                                  &config.workload, &fault),
                   ERR_OK);
  const struct telemetry_sink sink = {.self = NULL};
  struct simulation *simulation = NULL;
  assert_int_equal(simulation_create(&config, &sink, &simulation, &error), ERR_OK);
  struct inject inject;
  inject_init(&inject, simulation, &plan, profile.specs[0].clock_mhz, on_injected, NULL);
  struct event end;
  event_init(&end, simulation_events(simulation), end_run, simulation_events(simulation));
  event_set(&end, instant_add(simulation_start(simulation), duration_s(20)));
  while (simulation_run(simulation, 100000)) {
  }
  simulation_destroy(simulation);
  return seen;
}

static void a_silent_worker_is_lost_and_comes_back(void **state) {
  (void)state;
  const struct seen seen = watch(1, "hang worker=0 at=8 for=4");
  assert_int_equal(seen.losses, 1);
  assert_int_equal(seen.ups, 3);
  const struct seen shortly = watch(1, "hang worker=0 at=8 for=2");
  assert_int_equal(shortly.losses, 0);
  assert_int_equal(shortly.ups, 2);
}

/* What workers said while it stood still lies in its sockets: that is no silence of theirs. */
static void a_controller_that_stood_still_keeps_its_workers(void **state) {
  (void)state;
  const struct seen seen = watch(1, "controller-hang at=8 for=4");
  assert_int_equal(seen.losses, 0);
  assert_int_equal(seen.ups, 2);
}

/* One of two: the worker goes on with the other until it is started anew. The last: it ends at
 * once and says so, so nobody waits for its silence. */
static void a_lost_gpu_costs_itself_alone(void **state) {
  (void)state;
  const struct seen one = watch(2, "gpu-lost worker=0 gpu=1 at=8 for=4");
  assert_int_equal(one.gpus_forgotten, 1);
  assert_int_equal(one.losses, 1); /* when it is started anew */
  assert_int_equal(one.ups, 3);
  const struct seen last = watch(1, "gpu-lost worker=0 at=8 for=4");
  assert_int_equal(last.losses, 1);
  assert_int_equal(last.ups, 3);
}

/* ---- plans ------------------------------------------------------------------------------------
 */

static void a_plan_is_its_seeds(void **state) {
  (void)state;
  bool has_kind[FAULT_KINDS_COUNT] = {false};
  for (uint64_t seed = 1; seed <= 200; seed++) {
    struct fault_plan plan;
    struct fault_plan again;
    plan_draw(&plan, seed, profile.specs, profile.count, 1, NULL);
    plan_draw(&again, seed, profile.specs, profile.count, 1, NULL);
    assert_memory_equal(&plan, &again, sizeof(plan));
    for (uint32_t i = 0; i < plan.faults_count; i++) {
      struct error_text error;
      struct fault parsed;
      char text[160];
      plan_describe_fault(&plan.faults[i], text, sizeof(text));
      assert_true(plan_parse_fault(&plan, text, &parsed, &error));
      assert_int_equal(parsed.kind, plan.faults[i].kind);
      assert_int_equal(parsed.worker, plan.faults[i].worker);
      assert_in_range(parsed.at.ns - plan.faults[i].at.ns + 500, 0, 1000); /* as written */
      has_kind[parsed.kind] = true;
    }
  }
  for (int i = 0; i < FAULT_KINDS_COUNT; i++) {
    assert_true(has_kind[i]);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_run_repeats_with_its_faults),
      cmocka_unit_test(every_kind_is_got_over),
      cmocka_unit_test(a_silent_worker_is_lost_and_comes_back),
      cmocka_unit_test(a_controller_that_stood_still_keeps_its_workers),
      cmocka_unit_test(a_lost_gpu_costs_itself_alone),
      cmocka_unit_test(a_plan_is_its_seeds),
  };
  return cmocka_run_group_tests(tests, open_inputs, close_inputs);
}
