#include "bound/bound.h"

#include <math.h>

#include "base/check.h"

/* The price is found to within 2^-PRICE_STEPS of the highest that could matter. The bound is flat
 * around its least value: 14 steps leave a relative 1e-6. */
enum { PRICE_STEPS = 14 };

/* What a set of batches comes to. */
struct outcome {
  double value;   /* served - price x GPU time */
  double used_ns; /* GPU time */
};

void bound_batches_init(struct bound_batches *batches, const struct model_spec *spec,
                        struct duration max_exec, uint32_t max_batch, uint32_t shorter_ppm) {
  CHECK_GT(spec->batch_kinds, 0);
  *batches = (struct bound_batches){.kinds = 0};
  for (uint32_t i = 0; i < spec->batch_kinds; i++) {
    if (i > 0 && (spec->execute[i].ns > max_exec.ns || spec->batch_sizes[i] > max_batch)) {
      break;
    }
    const double shortest = (double)spec->execute[i].ns * (1.0 - (double)shorter_ppm * 1e-6);
    batches->sizes[i] = spec->batch_sizes[i];
    batches->execute_ns[i] = (int64_t)shortest;
    batches->kinds = i + 1;
  }
  /* A batch may be padded up to a larger size that takes less. */
  for (uint32_t i = batches->kinds - 1; i-- > 0;) {
    if (batches->execute_ns[i] > batches->execute_ns[i + 1]) {
      batches->execute_ns[i] = batches->execute_ns[i + 1];
    }
  }
}

size_t bound_scratch_count(size_t requests_max) {
  return (requests_max + 1) * 2;
}

double bound_rate_per_gpu(const struct bound_batches *batches, struct duration slo) {
  double best = 0;
  for (uint32_t i = 0; i < batches->kinds && batches->execute_ns[i] <= slo.ns; i++) {
    best = fmax(best, batches->sizes[i] * (double)NS_PER_S / (double)batches->execute_ns[i]);
  }
  return best;
}

/* The state of one pass over a model's requests. */
struct pass {
  const struct bound_batches *batches;
  double price;
  double *value;   /* of the best batches among the first i requests */
  double *used_ns; /* GPU time of those */
  /* How many requests, the last one among them, a batch of each kind could hold in time if its size
   * did not matter. */
  size_t reach[MODEL_BATCH_KINDS];
};

/* If the last `count` of the first `end` requests are served together for `cost_ns`. */
static void consider(struct pass *pass, size_t end, size_t count, double cost_ns) {
  const double value = pass->value[end - count] + (double)count - pass->price * cost_ns;
  if (value > pass->value[end]) {
    pass->value[end] = value;
    pass->used_ns[end] = pass->used_ns[end - count] + cost_ns;
  }
}

/* Runs that the batch of kind `outer` can reach, with larger batches in its gaps. Runs that a batch
 * of the kind `largest` reaches need no such: each of their batches reaches them by itself. */
static void consider_families(struct pass *pass, size_t end, uint32_t outer, uint32_t largest) {
  const struct bound_batches *batches = pass->batches;
  const double outer_ns = (double)batches->execute_ns[outer];
  const double inner_least_ns = (double)batches->execute_ns[outer + 1];
  double inner_ns_per_request = INFINITY;
  for (uint32_t i = outer + 1; i <= largest; i++) {
    inner_ns_per_request =
        fmin(inner_ns_per_request, (double)batches->execute_ns[i] / batches->sizes[i]);
  }
  const size_t size = batches->sizes[outer];
  const size_t first = pass->reach[largest] > size ? pass->reach[largest] : size;
  for (size_t count = first + 1; count <= pass->reach[outer]; count++) {
    const double inner_ns = fmax(inner_least_ns, inner_ns_per_request * (double)(count - size));
    consider(pass, end, count, outer_ns + inner_ns);
  }
}

static struct outcome best_outcome(const struct bound_model *model, double price, double *scratch) {
  const struct bound_batches *batches = model->batches;
  struct pass pass = {.batches = batches,
                      .price = price,
                      .value = scratch,
                      .used_ns = scratch + model->requests_count + 1};
  size_t first[MODEL_BATCH_KINDS] = {0};
  int64_t deadline_ns = INT64_MIN; /* the latest so far */
  /* Deadlines as they are taken: the running maximum, followed again for each kind. */
  int64_t first_deadline_ns[MODEL_BATCH_KINDS];
  for (uint32_t i = 0; i < batches->kinds; i++) {
    first_deadline_ns[i] = model->requests_count > 0 ? model->requests[0].deadline_ns : 0;
  }
  pass.value[0] = 0;
  pass.used_ns[0] = 0;
  for (size_t end = 1; end <= model->requests_count; end++) {
    const struct bound_request *last = &model->requests[end - 1];
    CHECK(end == 1 || last->arrived_ns >= last[-1].arrived_ns);
    deadline_ns = last->deadline_ns > deadline_ns ? last->deadline_ns : deadline_ns;
    pass.value[end] = pass.value[end - 1];
    pass.used_ns[end] = pass.used_ns[end - 1];
    uint32_t usable = 0;
    while (usable < batches->kinds &&
           last->arrived_ns + batches->execute_ns[usable] <= deadline_ns) {
      const int64_t needed_ns = last->arrived_ns + batches->execute_ns[usable];
      while (first_deadline_ns[usable] < needed_ns) {
        const int64_t next_ns = model->requests[++first[usable]].deadline_ns;
        first_deadline_ns[usable] =
            next_ns > first_deadline_ns[usable] ? next_ns : first_deadline_ns[usable];
      }
      pass.reach[usable] = end - first[usable];
      const size_t size = batches->sizes[usable];
      const size_t count = size < pass.reach[usable] ? size : pass.reach[usable];
      consider(&pass, end, count, (double)batches->execute_ns[usable]);
      usable++;
    }
    for (uint32_t outer = 1; outer + 1 < usable; outer++) {
      consider_families(&pass, end, outer, usable - 1);
    }
  }
  return (struct outcome){.value = pass.value[model->requests_count],
                          .used_ns = pass.used_ns[model->requests_count]};
}

static struct outcome best_of_all(const struct bound_model *models, size_t models_count,
                                  double price, double *scratch) {
  struct outcome sum = {0, 0};
  for (size_t i = 0; i < models_count; i++) {
    const struct outcome outcome = best_outcome(&models[i], price, scratch);
    sum.value += outcome.value;
    sum.used_ns += outcome.used_ns;
  }
  return sum;
}

double bound_served(const struct bound_model *models, size_t models_count, struct duration gpu_time,
                    double *scratch) {
  const double there_is_ns = (double)gpu_time.ns;
  const struct outcome for_nothing = best_of_all(models, models_count, 0, scratch);
  double least = for_nothing.value;
  if (for_nothing.used_ns <= there_is_ns) {
    return least;
  }
  /* At this price no batch is worth its time. */
  double high = 0;
  for (size_t i = 0; i < models_count; i++) {
    const double rate = bound_rate_per_gpu(models[i].batches, duration_ns(INT64_MAX));
    high = fmax(high, rate / (double)NS_PER_S);
  }
  double low = 0;
  for (int step = 0; step < PRICE_STEPS; step++) {
    const double price = (low + high) / 2;
    const struct outcome outcome = best_of_all(models, models_count, price, scratch);
    least = fmin(least, outcome.value + price * there_is_ns);
    if (outcome.used_ns > there_is_ns) {
      low = price;
    } else {
      high = price;
    }
  }
  return least;
}
