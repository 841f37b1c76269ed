#include "bound/bound.h"

#include "base/prng.h"
#include "support/cmocka.h"

enum { REQUESTS_MAX = 9, SCRATCH = 256, INSTANCES = 3000 };

static struct model_spec spec_of(const int64_t *execute_ms, uint32_t kinds) {
  struct model_spec spec = {.batch_kinds = kinds};
  for (uint32_t i = 0; i < kinds; i++) {
    spec.batch_sizes[i] = 1U << i;
    spec.execute[i] = duration_ms(execute_ms[i]);
  }
  return spec;
}

static struct bound_batches batches_of(const int64_t *execute_ms, uint32_t kinds) {
  const struct model_spec spec = spec_of(execute_ms, kinds);
  struct bound_batches batches;
  bound_batches_init(&batches, &spec, duration_s(1), MODEL_BATCH_MAX, 0);
  return batches;
}

static double served(const struct bound_batches *batches, const struct bound_request *requests,
                     size_t count, int64_t gpu_ms) {
  double scratch[SCRATCH];
  const struct bound_model model = {batches, requests, count};
  assert_true(bound_scratch_count(count) <= SCRATCH);
  return bound_served(&model, 1, duration_ms(gpu_ms), scratch);
}

static struct bound_request at(int64_t arrived_ms, int64_t slo_ms) {
  return (struct bound_request){arrived_ms * NS_PER_MS, (arrived_ms + slo_ms) * NS_PER_MS};
}

/* 1, 2 and 4 requests in 4, 5 and 8 ms. */
static const int64_t EXECUTE_MS[] = {4, 5, 8};

#define ASSERT_NEAR(value, expected)                                                               \
  assert_true((value) > (expected)-1e-3 && (value) < (expected) + 1e-3)

static void all_are_served_where_there_is_time(void **state) {
  (void)state;
  const struct bound_batches batches = batches_of(EXECUTE_MS, 3);
  const struct bound_request requests[] = {at(0, 10), at(20, 10), at(40, 10)};
  ASSERT_NEAR(served(&batches, requests, 3, 12), 3);
  /* Two of the three 4 ms; the dual is linear between whole batches. */
  ASSERT_NEAR(served(&batches, requests, 3, 8), 2);
  ASSERT_NEAR(served(&batches, requests, 3, 6), 1.5);
}

static void a_batch_needs_its_requests_within_reach(void **state) {
  (void)state;
  const struct bound_batches batches = batches_of(EXECUTE_MS, 3);
  /* Four at once: one batch of 8 ms. */
  const struct bound_request together[] = {at(0, 10), at(0, 10), at(0, 10), at(0, 10)};
  ASSERT_NEAR(served(&batches, together, 4, 8), 4);
  /* 5 ms apart: two can share 5 ms (5 + 5 <= 10), three can't. */
  const struct bound_request apart[] = {at(0, 10), at(5, 10), at(10, 10), at(15, 10)};
  ASSERT_NEAR(served(&batches, apart, 4, 10), 4);
  ASSERT_NEAR(served(&batches, apart, 4, 5), 2);
  /* 6 ms apart: each alone. */
  const struct bound_request further[] = {at(0, 10), at(6, 10), at(12, 10), at(18, 10)};
  ASSERT_NEAR(served(&batches, further, 4, 16), 4);
  ASSERT_NEAR(served(&batches, further, 4, 8), 2);
}

static void what_cannot_end_in_time_is_not_served(void **state) {
  (void)state;
  const struct bound_batches batches = batches_of(EXECUTE_MS, 3);
  const struct bound_request requests[] = {at(0, 3), at(1, 4), at(2, 3)};
  ASSERT_NEAR(served(&batches, requests, 3, 100), 1);
}

static void a_larger_batch_within_the_gap_of_a_smaller_one_counts(void **state) {
  (void)state;
  /* The outer two share 5 ms: 5 + 5 <= 10. The four between them take 8 ms and end at 11, within
   * their own deadline of 13, but too late for a run of four that begins with the first. */
  const struct bound_batches batches = batches_of(EXECUTE_MS, 3);
  const struct bound_request requests[] = {at(0, 10), at(3, 10), at(3, 10),
                                           at(3, 10), at(3, 10), at(5, 10)};
  assert_true(served(&batches, requests, 6, 13) > 6 - 1e-3);
}

static void models_compete_for_the_time(void **state) {
  (void)state;
  static const int64_t SLOW_MS[] = {20};
  const struct bound_batches fast = batches_of(EXECUTE_MS, 3);
  const struct bound_batches slow = batches_of(SLOW_MS, 1);
  const struct bound_request requests[] = {at(0, 30), at(0, 30)};
  const struct bound_model models[] = {{&fast, requests, 2}, {&slow, requests, 2}};
  double scratch[SCRATCH];
  ASSERT_NEAR(bound_served(models, 2, duration_ms(5), scratch), 2);
  ASSERT_NEAR(bound_served(models, 2, duration_ms(25), scratch), 3);
  ASSERT_NEAR(bound_served(models, 2, duration_ms(15), scratch), 2.5);
}

static void only_batches_that_are_used_count(void **state) {
  (void)state;
  const struct model_spec spec = spec_of(EXECUTE_MS, 3);
  struct bound_batches batches;
  bound_batches_init(&batches, &spec, duration_ms(5), 16, 0);
  assert_int_equal(batches.kinds, 2);
  bound_batches_init(&batches, &spec, duration_ms(25), 2, 0);
  assert_int_equal(batches.kinds, 2);
  bound_batches_init(&batches, &spec, duration_ms(1), 16, 0);
  assert_int_equal(batches.kinds, 1);
  bound_batches_init(&batches, &spec, duration_ms(25), 16, 1000);
  assert_int_equal(batches.execute_ns[0], 3996000);
}

static void a_closed_loop_is_bound_by_the_best_batch_in_time(void **state) {
  (void)state;
  const struct bound_batches batches = batches_of(EXECUTE_MS, 3);
  ASSERT_NEAR(bound_rate_per_gpu(&batches, duration_ms(100)), 500);
  ASSERT_NEAR(bound_rate_per_gpu(&batches, duration_ms(7)), 400);
  ASSERT_NEAR(bound_rate_per_gpu(&batches, duration_ms(3)), 0);
}

/* ---- against all schedules of one GPU -------------------------------------------------------- */

struct instance {
  struct bound_batches batches[2];
  struct bound_request requests[REQUESTS_MAX];
  uint32_t model[REQUESTS_MAX];
  uint32_t count;
};

static void draw(struct instance *instance, struct prng *prng) {
  int64_t slo_ms[2];
  for (uint32_t i = 0; i < 2; i++) {
    int64_t execute_ms[4];
    int64_t sum = 1 + (int64_t)prng_below(prng, 5);
    for (uint32_t j = 0; j < 4; j++) {
      execute_ms[j] = sum;
      sum += (int64_t)prng_below(prng, 5);
    }
    instance->batches[i] = batches_of(execute_ms, 1 + (uint32_t)prng_below(prng, 4));
    slo_ms[i] = 3 + (int64_t)prng_below(prng, 25);
  }
  instance->count = 1 + (uint32_t)prng_below(prng, REQUESTS_MAX);
  const uint32_t step = 1 + (uint32_t)prng_below(prng, 6);
  const bool has_many_slos = prng_below(prng, 3) == 0;
  const uint64_t models = 1 + prng_below(prng, 2);
  int64_t now_ms = 0;
  for (uint32_t i = 0; i < instance->count; i++) {
    now_ms += (int64_t)prng_below(prng, step);
    instance->model[i] = (uint32_t)prng_below(prng, models);
    const int64_t more = has_many_slos ? (int64_t)prng_below(prng, 10) : 0;
    instance->requests[i] = at(now_ms, slo_ms[instance->model[i]] + more);
  }
}

/* When a batch of these requests ends at the earliest, on a GPU that is free at `free_ns`; -1: they
 * can't be one, or not in time. */
static int64_t batch_end(const struct instance *instance, uint32_t set, int64_t free_ns) {
  int64_t start_ns = free_ns;
  int64_t deadline_ns = INT64_MAX;
  uint32_t size = 0;
  uint32_t model = 0;
  for (uint32_t i = 0; i < instance->count; i++) {
    if ((set >> i & 1) == 0) {
      continue;
    }
    if (size > 0 && instance->model[i] != model) {
      return -1;
    }
    model = instance->model[i];
    size++;
    const struct bound_request *request = &instance->requests[i];
    start_ns = request->arrived_ns > start_ns ? request->arrived_ns : start_ns;
    deadline_ns = request->deadline_ns < deadline_ns ? request->deadline_ns : deadline_ns;
  }
  const struct bound_batches *batches = &instance->batches[model];
  uint32_t kind = 0;
  while (kind < batches->kinds && batches->sizes[kind] < size) {
    kind++;
  }
  if (kind == batches->kinds || start_ns + batches->execute_ns[kind] > deadline_ns) {
    return -1;
  }
  return start_ns + batches->execute_ns[kind];
}

/* The most requests that one GPU can serve: the earliest end for every set of requests. */
static uint32_t most_served(const struct instance *instance) {
  static int64_t end_ns[1U << REQUESTS_MAX];
  const uint32_t sets = 1U << instance->count;
  uint32_t most = 0;
  for (uint32_t set = 0; set < sets; set++) {
    end_ns[set] = set == 0 ? 0 : INT64_MAX;
    for (uint32_t last = set; last != 0; last = (last - 1) & set) {
      const int64_t before_ns = end_ns[set & ~last];
      const int64_t end = before_ns == INT64_MAX ? -1 : batch_end(instance, last, before_ns);
      if (end >= 0 && end < end_ns[set]) {
        end_ns[set] = end;
      }
    }
    const uint32_t size = (uint32_t)__builtin_popcount(set);
    if (end_ns[set] != INT64_MAX && size > most) {
      most = size;
    }
  }
  return most;
}

static double bound_of(const struct instance *instance) {
  struct bound_request requests[2][REQUESTS_MAX];
  struct bound_model models[2];
  int64_t last_ns = 0;
  for (uint32_t i = 0; i < 2; i++) {
    models[i] = (struct bound_model){&instance->batches[i], requests[i], 0};
  }
  for (uint32_t i = 0; i < instance->count; i++) {
    const uint32_t model = instance->model[i];
    requests[model][models[model].requests_count++] = instance->requests[i];
    const int64_t deadline_ns = instance->requests[i].deadline_ns;
    last_ns = deadline_ns > last_ns ? deadline_ns : last_ns;
  }
  double scratch[SCRATCH];
  return bound_served(models, 2, duration_ns(last_ns), scratch);
}

static void no_schedule_serves_more(void **state) {
  (void)state;
  struct prng prng;
  prng_init(&prng, 1, 0);
  double bounds = 0;
  double mosts = 0;
  for (int i = 0; i < INSTANCES; i++) {
    struct instance instance = {.count = 0};
    draw(&instance, &prng);
    const double bound = bound_of(&instance);
    const uint32_t most = most_served(&instance);
    if (bound < most - 1e-6) {
      fail_msg("instance %d: a schedule serves %u, the bound is %f", i, most, bound);
    }
    bounds += bound;
    mosts += most;
  }
  print_message("%d instances: %.0f served at most, %.1f by the bound\n", INSTANCES, mosts, bounds);
  assert_true(bounds < mosts * 1.25); /* a bound that says nothing would pass as well */
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(all_are_served_where_there_is_time),
      cmocka_unit_test(a_batch_needs_its_requests_within_reach),
      cmocka_unit_test(what_cannot_end_in_time_is_not_served),
      cmocka_unit_test(a_larger_batch_within_the_gap_of_a_smaller_one_counts),
      cmocka_unit_test(models_compete_for_the_time),
      cmocka_unit_test(only_batches_that_are_used_count),
      cmocka_unit_test(a_closed_loop_is_bound_by_the_best_batch_in_time),
      cmocka_unit_test(no_schedule_serves_more),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
