/* No policy serves more in time than the bound says: small random clusters and loads in virtual
 * time, every policy of the registry. A failure prints policy and seed. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "scheduler/policy.h"
#include "simulator/bound_windows.h"
#include "simulator/inputs.h"
#include "simulator/simulation.h"
#include "support/cmocka.h"

enum { SEEDS = 12, PARAMETER_BYTES = 24 };

struct seen {
  struct bound_windows bound;
  uint64_t met;
};

static void on_request(void *self, const struct telemetry_request *row) {
  struct seen *seen = self;
  seen->met += row->deadline_met;
  bound_windows_on_request(&seen->bound, row);
}

static struct simulation_config draw(uint64_t seed, const struct profile *profile,
                                     char (*text)[PARAMETER_BYTES], const char **parameters) {
  struct prng prng;
  prng_init(&prng, seed, 1);
  struct simulation_config config = {.duration = duration_ms(2000),
                                     .workers_count = 1 + (uint32_t)prng_below(&prng, 3),
                                     .gpus_per_worker = 1,
                                     .pages = 100 + (uint32_t)prng_below(&prng, 500),
                                     .profile = profile->specs,
                                     .profile_count = profile->count,
                                     .seed = seed,
                                     .execute_jitter_ppm = 80,
                                     .transfer_jitter_ppm = 2000,
                                     .latency = duration_us(50),
                                     .jitter = duration_us(20),
                                     .ps_per_byte = 800};
  scheduler_config_defaults(&config.scheduler);
  /* 0.2 to 4 times what full batches carry, an SLO of 1.5 to 100 times batch 1. */
  const double load = 0.2 * exp2(prng_unit(&prng) * 4.3);
  config.slo_factor = 1.5 * exp2(prng_unit(&prng) * 6);
  snprintf(text[0], PARAMETER_BYTES, "%u", 1 + (unsigned)prng_below(&prng, 60));
  snprintf(text[1], PARAMETER_BYTES, "%.0f", load * 923 * config.workers_count);
  parameters[0] = text[0];
  parameters[1] = text[1];
  struct workload_fault fault;
  assert_int_equal(workload_parse(workload_find("poisson-open-loop", &fault), parameters, 2,
                                  &config.workload, &fault),
                   ERR_OK);
  config.workload.seed = seed;
  return config;
}

/* Share of the bound. */
static double run(const struct policy *policy, uint64_t seed, const struct profile *profile) {
  char text[2][PARAMETER_BYTES];
  const char *parameters[2];
  struct simulation_config config = draw(seed, profile, text, parameters);
  config.scheduler.policy = policy->name;
  struct seen seen = {.met = 0};
  const struct telemetry_sink sink = {.self = &seen, .on_request = on_request};
  struct simulation *simulation = NULL;
  struct error_text error;
  assert_int_equal(simulation_create(&config, &sink, &simulation, &error), ERR_OK);
  const struct bound_windows_config bound = {.begin_ns = SIMULATION_EPOCH_S * NS_PER_S,
                                             .gpus = config.workers_count,
                                             .models_count = simulation_models_count(simulation),
                                             .max_exec = config.scheduler.max_exec,
                                             .max_batch = config.scheduler.max_batch,
                                             .default_slo = config.scheduler.default_slo,
                                             .shorter_ppm =
                                                 config.execute_jitter_ppm * BOUND_WINDOWS_SIGMAS};
  assert_int_equal(bound_windows_init(&seen.bound, &bound), ERR_OK);
  for (uint32_t i = 0; i < bound.models_count; i++) {
    bound_windows_set_model(&seen.bound, i, simulation_model(simulation, i));
  }
  while (simulation_run(simulation, 1000)) {
  }
  simulation_destroy(simulation);
  assert_int_equal(bound_windows_close(&seen.bound), ERR_OK);
  const double share = (double)seen.met / seen.bound.served;
  if ((double)seen.met > seen.bound.served + 1e-6) {
    fail_msg("%s, seed %llu: served %llu, the bound is %f", policy->name, (unsigned long long)seed,
             (unsigned long long)seen.met, seen.bound.served);
  }
  bound_windows_finish(&seen.bound);
  return share;
}

static void no_policy_beats_the_bound(void **state) {
  (void)state;
  struct profile profile;
  struct error_text error;
  assert_int_equal(profile_open(&profile, NULL, &error), ERR_OK);
  for (size_t i = 0; policy_registry[i] != NULL; i++) {
    const struct policy *policy = policy_registry[i];
    if (strcmp(policy->name, "echo") == 0) {
      continue; /* runs nothing, so nothing binds it */
    }
    double best = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
      const double share = run(policy, seed, &profile);
      best = share > best ? share : best;
    }
    print_message("%s: at best %.1f %% of the bound\n", policy->name, 100 * best);
  }
  profile_close(&profile);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(no_policy_beats_the_bound)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
