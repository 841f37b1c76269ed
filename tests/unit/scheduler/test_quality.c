/* How well INFER4, and PRICED beside it, use a cluster of six V100s, in virtual time: the published
 * mix of 61 varieties x 13 instances, and one model alone.
 *
 * Capacity means what the GPUs could do for the mix that arrives if every batch were full (the
 * largest that max_exec allows). With hundreds of instances of unequal popularity most requests
 * have no others to share a batch with, whatever a scheduler does: a bound on what can be served in
 * time, computed from the arrival rates, lies at about 0.6 of the capacity for this mix. */
#include <stdio.h>
#include <stdlib.h>

#include "model/profile.h"
#include "support/cluster.h"
#include "support/cmocka.h"

enum {
  VARIETIES = 61,
  MODELS_MAX = VARIETIES * 13,
  GPUS = 6,
  PAGES = 1376,
  SPECS_MAX = 128,
};

struct mix {
  const char *policy;  /* NULL: infer4 */
  const char *variety; /* NULL: the first VARIETIES of the profile, in turns */
  uint32_t models;
  bool is_zipf; /* else all are equally popular */
  uint32_t pages;
  double jitter;
};

/* Six GPUs that hold nothing, and the models. */
struct setting {
  struct cluster *cluster;
  struct prng arrivals;
  uint32_t models;
  double share[MODELS_MAX]; /* of all requests, summed up to and with this model */
  double capacity_per_s;    /* of the cluster for this mix */
};

static uint32_t read_profile(struct model_spec *specs, uint32_t capacity) {
  static const char path[] = "zoo/profiles/v100.tsv";
  FILE *file = fopen(path, "rb");
  assert_non_null(file);
  char *text = malloc(65536);
  const size_t bytes = fread(text, 1, 65536, file);
  fclose(file);
  uint32_t count = 0;
  struct profile_fault fault;
  assert_int_equal(profile_parse(text, bytes, specs, capacity, &count, &fault), ERR_OK);
  free(text);
  return count;
}

/* GPU time of a request in the largest batch. */
static double best_ns(const struct model_spec *spec, const struct scheduler_config *config) {
  uint32_t kind = spec->batch_kinds - 1;
  while (kind > 0 && spec->execute[kind].ns > config->max_exec.ns) {
    kind--;
  }
  return (double)spec->execute[kind].ns / spec->batch_sizes[kind];
}

static struct setting *setting_open(const struct mix *mix) {
  struct setting *setting = calloc(1, sizeof(*setting));
  assert_non_null(setting);
  struct cluster_options options;
  cluster_options_defaults(&options);
  options.jitter = mix->jitter;
  options.config.policy = mix->policy == NULL ? "infer4" : mix->policy;
  options.requests_logged = 0;
  options.actions_logged = 0;
  options.rows_logged = 0;
  setting->cluster = cluster_create(&options);
  setting->models = mix->models;
  prng_init(&setting->arrivals, 5, 7);
  struct model_spec specs[SPECS_MAX];
  const uint32_t specs_count = read_profile(specs, SPECS_MAX);
  assert_true(specs_count >= VARIETIES);
  /* A random order, so that heavy ones are of all varieties. */
  uint32_t rank[MODELS_MAX] = {0};
  for (uint32_t i = 0; i < mix->models; i++) {
    const uint32_t j = (uint32_t)prng_below(&setting->arrivals, i + 1);
    rank[i] = rank[j];
    rank[j] = i;
  }
  double sum = 0;
  double gpu_ns = 0;
  for (uint32_t i = 0; i < mix->models; i++) {
    const struct model_spec *spec = mix->variety == NULL
                                        ? &specs[i % VARIETIES]
                                        : profile_find(specs, specs_count, mix->variety);
    assert_non_null(spec);
    cluster_add_model(setting->cluster, i, spec);
    const double weight = mix->is_zipf ? 1.0 / (rank[i] + 1) : 1;
    sum += weight;
    gpu_ns += weight * best_ns(spec, &options.config);
    setting->share[i] = sum;
  }
  for (uint32_t i = 0; i < mix->models; i++) {
    setting->share[i] /= sum;
  }
  setting->capacity_per_s = GPUS * 1e9 / (gpu_ns / sum);
  for (uint32_t i = 0; i < GPUS; i++) {
    const struct cluster_gpu_options gpu = {.pages = mix->pages, .clock_mhz = PROFILE_CLOCK_MHZ};
    cluster_worker_up(setting->cluster, i, &gpu, 1);
  }
  print_message("%u models, %u pages a GPU, jitter %g: capacity with full batches %.0f/s\n",
                mix->models, mix->pages, mix->jitter, setting->capacity_per_s);
  return setting;
}

static void setting_close(struct setting *setting) {
  scheduler_validate(setting->cluster->scheduler);
  cluster_destroy(setting->cluster);
  free(setting);
}

static uint32_t draw_model(struct setting *setting) {
  const double at = prng_unit(&setting->arrivals);
  uint32_t low = 0;
  uint32_t high = setting->models - 1;
  while (low < high) {
    const uint32_t middle = (low + high) / 2;
    if (setting->share[middle] > at) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

/* Poisson arrivals at `rate_per_s`. */
static void load(struct setting *setting, double rate_per_s, struct duration time) {
  struct cluster *cluster = setting->cluster;
  const struct instant end = instant_add(cluster->now, time);
  struct instant next = cluster->now;
  for (;;) {
    const double wait_ns = prng_exponential(&setting->arrivals) / rate_per_s * 1e9;
    next = instant_add(next, duration_ns((int64_t)wait_ns));
    if (!instant_before(next, end)) {
      break;
    }
    cluster_run_until(cluster, next);
    cluster_request(cluster, draw_model(setting), 0);
  }
  cluster_run_until(cluster, end);
}

struct measured {
  double offered_per_s;
  double goodput_per_s;
  double in_time; /* share of the requests */
  double batch;   /* mean */
  double busy;    /* share of the GPUs' time */
  double loads_per_s;
};

static struct measured measure(struct setting *setting, double rate_per_s, struct duration time) {
  struct cluster *cluster = setting->cluster;
  const struct cluster_counts before = cluster->counts;
  load(setting, rate_per_s, time);
  const struct cluster_counts *after = &cluster->counts;
  const double seconds = (double)time.ns / 1e9;
  const double requests = (double)(after->answers - before.answers);
  const double in_time = (double)(after->in_time - before.in_time);
  const struct measured measured = {
      .offered_per_s = requests / seconds,
      .goodput_per_s = in_time / seconds,
      .in_time = in_time / requests,
      .batch = (double)(after->infer_requests - before.infer_requests) /
               (double)(after->infers - before.infers),
      .busy = (double)(after->execute_ns - before.execute_ns) / (seconds * 1e9 * GPUS),
      .loads_per_s = (double)(after->loads - before.loads) / seconds,
  };
  print_message("load %5.2f of capacity: offered %6.0f/s goodput %6.0f/s (%5.3f of capacity) "
                "in time %8.4f %% mean batch %5.2f busy %5.3f LOADs %4.0f/s late %llu\n",
                rate_per_s / setting->capacity_per_s, measured.offered_per_s,
                measured.goodput_per_s, measured.goodput_per_s / setting->capacity_per_s,
                100 * measured.in_time, measured.batch, measured.busy, measured.loads_per_s,
                (unsigned long long)after->late);
  return measured;
}

static const struct mix published = {.models = MODELS_MAX, .is_zipf = true, .pages = PAGES};

/* At half the capacity all is in time; beyond the knee goodput stays, by larger batches, and what
 * can't be served in time is refused, not late. */
static void test_rising_load(void **state) {
  (void)state;
  struct setting *setting = setting_open(&published);
  const double capacity = setting->capacity_per_s;
  measure(setting, 0.3 * capacity, duration_s(5)); /* until all is loaded */
  static const double below[] = {0.1, 0.3, 0.5, 0.55};
  double knee = 0;
  double batch = 0;
  for (size_t i = 0; i < sizeof(below) / sizeof(below[0]); i++) {
    const struct measured measured = measure(setting, below[i] * capacity, duration_s(10));
    assert_true(measured.in_time >= 0.999);
    knee = measured.goodput_per_s;
    batch = measured.batch;
  }
  static const double beyond[] = {0.6, 0.8, 1.0, 1.5, 2.0, 3.0};
  for (size_t i = 0; i < sizeof(beyond) / sizeof(beyond[0]); i++) {
    const struct measured measured = measure(setting, beyond[i] * capacity, duration_s(5));
    assert_true(measured.goodput_per_s >= 0.9 * knee);
    assert_true(measured.batch > batch);
    assert_true(measured.loads_per_s < 40 * GPUS); /* a third of what the links could do */
    assert_true(beyond[i] < 2 || measured.goodput_per_s >= 0.75 * capacity);
    batch = measured.batch;
  }
  /* And back again. */
  measure(setting, 0.3 * capacity, duration_s(1));
  const struct measured after = measure(setting, 0.5 * capacity, duration_s(5));
  assert_true(after.in_time >= 0.999);
  assert_int_equal(setting->cluster->counts.late, 0);
  for (int i = 0; i < CLUSTER_STATUSES; i++) {
    assert_int_equal(setting->cluster->refusals[i], 0);
  }
  setting_close(setting);
}

/* As measured on V100s: p99.99 within 0.03 % of the median. */
static void test_jitter(void **state) {
  (void)state;
  struct mix mix = published;
  mix.jitter = 0.00008;
  struct setting *setting = setting_open(&mix);
  measure(setting, 0.3 * setting->capacity_per_s, duration_s(5));
  const struct measured half = measure(setting, 0.5 * setting->capacity_per_s, duration_s(10));
  assert_true(half.in_time >= 0.999);
  measure(setting, 2 * setting->capacity_per_s, duration_s(5));
  assert_int_equal(setting->cluster->counts.late, 0);
  assert_int_equal(setting->cluster->refusals[ACTION_EXECUTE_TOO_LATE], 0);
  setting_close(setting);
}

/* Memory for less than half of the models: LOADs keep up. */
static void test_little_memory(void **state) {
  (void)state;
  struct mix mix = published;
  mix.pages = 400;
  struct setting *setting = setting_open(&mix);
  measure(setting, 0.3 * setting->capacity_per_s, duration_s(5));
  const struct measured half = measure(setting, 0.5 * setting->capacity_per_s, duration_s(10));
  assert_true(half.in_time >= 0.999);
  const struct measured twice = measure(setting, 2 * setting->capacity_per_s, duration_s(5));
  assert_true(twice.goodput_per_s >= 0.75 * setting->capacity_per_s);
  assert_int_equal(setting->cluster->refusals[ACTION_LOAD_INSUFFICIENT_CACHE], 0);
  setting_close(setting);
}

/* Twelve of one model: batches fill, and nearly all of the capacity can be used. */
static void test_one_variety(void **state) {
  (void)state;
  const struct mix mix = {.variety = "resnet50_v2", .models = 12, .pages = PAGES};
  struct setting *setting = setting_open(&mix);
  measure(setting, 0.3 * setting->capacity_per_s, duration_s(5));
  static const double loads[] = {0.5, 0.7, 0.8, 0.9};
  for (size_t i = 0; i < sizeof(loads) / sizeof(loads[0]); i++) {
    const struct measured measured =
        measure(setting, loads[i] * setting->capacity_per_s, duration_s(5));
    assert_true(loads[i] > 0.8 || measured.in_time >= 0.999);
  }
  const struct measured twice = measure(setting, 2 * setting->capacity_per_s, duration_s(5));
  assert_true(twice.goodput_per_s >= 0.95 * setting->capacity_per_s);
  assert_true(twice.batch > 15);
  assert_int_equal(setting->cluster->counts.late, 0);
  setting_close(setting);
}

/* PRICED beside INFER4 at the same arrivals: all in time where INFER4 has all in time, nowhere
 * less, and more where not all can be served. */
static void test_priced(void **state) {
  (void)state;
  struct mix mix = published;
  struct setting *infer4 = setting_open(&mix);
  mix.policy = "priced";
  struct setting *priced = setting_open(&mix);
  const double capacity = infer4->capacity_per_s;
  measure(infer4, 0.3 * capacity, duration_s(5));
  measure(priced, 0.3 * capacity, duration_s(5));
  static const double loads[] = {0.3, 0.55, 0.8, 1.0, 2.0, 3.0};
  for (size_t i = 0; i < sizeof(loads) / sizeof(loads[0]); i++) {
    const struct measured theirs = measure(infer4, loads[i] * capacity, duration_s(5));
    const struct measured ours = measure(priced, loads[i] * capacity, duration_s(5));
    assert_true(ours.in_time >= theirs.in_time);
    assert_true(loads[i] < 1 || ours.goodput_per_s >= 1.15 * theirs.goodput_per_s);
  }
  assert_int_equal(priced->cluster->counts.late, 0);
  setting_close(infer4);
  setting_close(priced);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_rising_load),   cmocka_unit_test(test_jitter),
      cmocka_unit_test(test_little_memory), cmocka_unit_test(test_one_variety),
      cmocka_unit_test(test_priced),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
