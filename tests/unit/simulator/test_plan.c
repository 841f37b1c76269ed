#include "simulator/plan.h"

#include <string.h>

#include "base/check.h"
#include "simulator/inputs.h"
#include "support/cmocka.h"

enum { MODELS = 4 };

static const int64_t BEST_NS[MODELS] = {1000000, 1000000, 1000000, 1000000};

/* 100, 200, ... 500 r/s for 5 s each, then over. */
static struct workload_config rising(void) {
  static const char *const parameters[] = {"4", "100", "500", "100", "add", "5"};
  struct workload_config config;
  struct workload_fault fault;
  assert_int_equal(
      workload_parse(workload_find("scalability-exp-1", &fault), parameters, 6, &config, &fault),
      ERR_OK);
  return config;
}

static struct busy_window_config config_of(const struct workload_config *workload) {
  return (struct busy_window_config){.workload = workload,
                                     .best_ns = BEST_NS,
                                     .horizon = duration_s(30),
                                     .length = duration_s(2),
                                     .leadin = duration_s(1)};
}

static void finds_the_busiest_stretch_and_comes_back_to_it(void **state) {
  (void)state;
  const struct workload_config workload = rising();
  const struct busy_window_config config = config_of(&workload);
  struct busy_window window;
  assert_int_equal(busy_window_find(&config, &window), ERR_OK);
  /* The step of 500 r/s lasts from 20 s to 25 s; the lead-in is not counted. */
  assert_true(window.begin.ns >= 19 * NS_PER_S && window.begin.ns <= 22 * NS_PER_S);
  assert_in_range(window.requests, 900, 1100);
  assert_int_equal(window.gpus * 2000 + 0.5, window.requests);
  struct workload_request first[64];
  struct workload_request again[64];
  const struct instant soon = instant_add(window.begin, duration_ms(50));
  const uint32_t count = workload_next_requests(window.workload, soon, first, 64);
  assert_in_range(count, 5, 64);
  assert_int_equal(busy_window_count(&window, config.leadin, config.length), window.requests);
  busy_window_rewind(&window);
  assert_int_equal(workload_next_requests(window.workload, soon, again, 64), count);
  for (uint32_t i = 0; i < count; i++) {
    assert_int_equal(again[i].at.ns, first[i].at.ns);
    assert_int_equal(again[i].model_index, first[i].model_index);
    assert_true(first[i].at.ns >= window.begin.ns);
  }
  busy_window_finish(&window);
  busy_window_finish(&window);
  busy_window_finish(NULL);
}

static void what_has_no_busy_time_is_refused(void **state) {
  (void)state;
  struct workload_fault fault;
  struct workload_config workload;
  struct busy_window window;
  assert_int_equal(workload_parse(workload_find("simple", &fault), NULL, 0, &workload, &fault),
                   ERR_OK);
  struct busy_window_config config = config_of(&workload);
  assert_int_equal(busy_window_find(&config, &window), ERR_UNSUPPORTED);
  assert_null(window.memory);
  static const char *const rare[] = {"1", "0.000001"};
  assert_int_equal(
      workload_parse(workload_find("poisson-open-loop", &fault), rare, 2, &workload, &fault),
      ERR_OK);
  assert_int_equal(busy_window_find(&config, &window), ERR_NOT_FOUND);
}

static void what_may_miss_is_rounded_down(void **state) {
  (void)state;
  assert_int_equal(plan_allowed(0.9999, 10000), 1);
  assert_int_equal(plan_allowed(0.9999, 19999), 1);
  assert_int_equal(plan_allowed(0.9999, 20000), 2);
  assert_int_equal(plan_allowed(1, 1000000), 0);
  assert_int_equal(plan_allowed(0.5, 5), 2);
}

struct heard {
  uint32_t count;
  struct plan_trial trials[64];
};

static void on_trial(void *self, const struct plan_trial *trial) {
  struct heard *heard = self;
  assert_in_range(heard->count, 0, 63);
  heard->trials[heard->count++] = *trial;
}

/* 500 r/s of ResNet-50 need two V100s where the SLO leaves no time for batches. */
static void finds_the_smallest_number_that_is_enough(void **state) {
  (void)state;
  struct profile profile;
  struct error_text error;
  assert_int_equal(profile_open(&profile, NULL, &error), ERR_OK);
  const struct workload_config workload = rising();
  struct simulation_config simulation = {.workload = workload,
                                         .gpus_per_worker = 2,
                                         .pages = 1376,
                                         .profile = profile.specs,
                                         .profile_count = profile.count,
                                         .seed = 1,
                                         .latency = duration_us(50),
                                         .ps_per_byte = 800};
  scheduler_config_defaults(&simulation.scheduler);
  simulation.scheduler.default_slo = duration_ms(20);
  const struct busy_window_config config = config_of(&workload);
  struct busy_window window;
  assert_int_equal(busy_window_find(&config, &window), ERR_OK);
  struct heard heard = {.count = 0};
  struct plan plan = {.config = {.simulation = &simulation,
                                 .target = 0.99,
                                 .gpus_max = 16,
                                 .leadin = config.leadin,
                                 .length = config.length,
                                 .verify = duration_s(3)},
                      .window = &window,
                      .on_trial = on_trial,
                      .self = &heard};
  struct plan_trial found;
  struct plan_trial verified;
  bool is_unreachable = true;
  assert_int_equal(plan_find(&plan, &found, &verified, &is_unreachable, &error), ERR_OK);
  assert_false(is_unreachable);
  assert_true(found.is_enough && verified.is_enough && found.is_whole);
  assert_int_equal(found.answered, window.requests);
  assert_in_range(found.gpus, 2, 3);
  bool is_one_less_too_few = false;
  for (uint32_t i = 0; i < heard.count; i++) {
    const struct plan_trial *trial = &heard.trials[i];
    assert_true(trial->is_enough == (trial->gpus >= found.gpus));
    is_one_less_too_few |= trial->gpus == found.gpus - 1 && !trial->is_whole;
  }
  assert_true(is_one_less_too_few);
  heard.count = 0;
  assert_int_equal(plan_curve(&plan, found.gpus, 4, &error), ERR_OK);
  assert_in_range(heard.count, 2, 5);
  plan.config.gpus_max = 1;
  assert_int_equal(plan_find(&plan, &found, &verified, &is_unreachable, &error), ERR_NOT_FOUND);
  assert_true(is_unreachable && found.gpus == 1);
  busy_window_finish(&window);
  profile_close(&profile);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(finds_the_busiest_stretch_and_comes_back_to_it),
      cmocka_unit_test(what_has_no_busy_time_is_refused),
      cmocka_unit_test(what_may_miss_is_rounded_down),
      cmocka_unit_test(finds_the_smallest_number_that_is_enough),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
