#include "simulator/faults/plan.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "scheduler/policy.h"

enum { STREAM_CLUSTER, STREAM_WORKLOAD, STREAM_FAULTS, STREAM_GPU_LOST };

static const char *const WORDS[] = {
#define FAULT_WORD_(name, word, takes) word,
    FAULT_KINDS(FAULT_WORD_)
#undef FAULT_WORD_
};

static const char *const TAKES[] = {
#define FAULT_TAKES_(name, word, takes) takes,
    FAULT_KINDS(FAULT_TAKES_)
#undef FAULT_TAKES_
};

const char *fault_kind_text(enum fault_kind kind) {
  return WORDS[kind];
}

static bool takes(enum fault_kind kind, char what) {
  return strchr(TAKES[kind], what) != NULL;
}

static uint32_t draw(struct prng *prng, uint32_t low, uint32_t high) {
  return low + (uint32_t)prng_below(prng, (uint64_t)(high - low) + 1);
}

/* ---- cluster and workload -------------------------------------------------------------------- */

/* Nearly always one that keeps deadlines: the others promise less, so less can be found out. */
static const char *draw_policy(struct prng *prng) {
  const bool wants_deadlines = draw(prng, 1, 10) > 1;
  uint32_t count = 0;
  for (size_t i = 0; policy_registry[i] != NULL; i++) {
    count += policy_registry[i]->keeps_deadlines == wants_deadlines;
  }
  uint32_t chosen = draw(prng, 0, count - 1);
  for (size_t i = 0;; i++) {
    if (policy_registry[i]->keeps_deadlines == wants_deadlines && chosen-- == 0) {
      return policy_registry[i]->name;
    }
  }
}

static void draw_cluster(struct fault_plan *plan, struct prng *prng, const char *policy) {
  const char *drawn = draw_policy(prng);
  plan->policy = policy == NULL ? drawn : policy;
  plan->workers = draw(prng, 1, 4);
  plan->gpus = plan->workers > 2 ? 1 : draw(prng, 1, 2);
  plan->latency = duration_us(draw(prng, 20, 300));
  plan->jitter = duration_us(draw(prng, 0, 200));
  plan->skew = duration_us(draw(prng, 0, 2000000));
  plan->drift_ppb = draw(prng, 0, 100000);
  plan->execute_jitter_ppm = draw(prng, 0, 1000);
  plan->requests_max = 1U << draw(prng, 9, 14);
}

/* One model in some copies, as much load as makes the GPUs busy for a tenth to one and a half of
 * the time in batches of one. */
static void draw_workload(struct fault_plan *plan, struct prng *prng,
                          const struct model_spec *profile, uint32_t profile_count,
                          double load_rps) {
  const uint32_t gpus = plan->workers * plan->gpus;
  const struct model_spec *model = &profile[draw(prng, 0, profile_count - 1)];
  const uint32_t copies = draw(prng, 2, 60);
  /* Who has no deadlines must not fall behind for good. */
  const bool keeps_deadlines = policy_find(plan->policy)->keeps_deadlines;
  const double share = draw(prng, 10, keeps_deadlines ? 150 : 40) / 100.0;
  const double most_rps = 2500;
  double rps = share * gpus * 1e9 / (double)model->execute[0].ns;
  rps = rps < most_rps ? rps : most_rps;
  uint32_t pages = model->weights_pages * copies;
  plan->is_steady = true;
  plan->is_open_loop = true;
  const uint32_t kind = draw(prng, 0, keeps_deadlines ? 9 : 5);
  /* Each by itself: compilers choose the order of a call's arguments. */
  const bool is_fixed = draw(prng, 0, 3) == 0;
  const uint32_t slo_factor = draw(prng, 8, 60);
  const uint32_t day_percent = draw(prng, 20, 60);
  const uint32_t clients = draw(prng, 1, 4 * gpus);
  const uint32_t concurrency = draw(prng, 1, 8);
  if (kind < 6) {
    snprintf(plan->workload, sizeof(plan->workload),
             "slo-exp-1 %s %" PRIu32 " %s %.3f %" PRIu32 " %d 1.5 mul 1000", model->name, copies,
             is_fixed ? "fixed" : "poisson", rps, slo_factor, 10000);
  } else if (kind < 8) {
    snprintf(plan->workload, sizeof(plan->workload), "azure 1 1 %.3f 1",
             rps / load_rps * day_percent / 100.0);
    pages = 1200;
    plan->is_steady = false;
  } else {
    plan->is_open_loop = false;
    snprintf(plan->workload, sizeof(plan->workload),
             "simple-parametric %" PRIu32 " %" PRIu32 " %" PRIu32 " 0", copies, clients,
             concurrency);
    pages = 7 * copies;
  }
  /* All of it, or so little that weights come and go. */
  const uint32_t least = 60;
  const uint32_t fits =
      pages * draw(prng, keeps_deadlines ? 20 : 110, keeps_deadlines ? 110 : 130) / 100 / gpus;
  plan->pages = fits > least ? fits : least;
  /* Periodic requests for more weights than fit come and go in step with the LOADs: which of them
   * fall together decides for good what share is served, and any fault shifts them. */
  if (is_fixed && plan->pages * gpus < pages) {
    plan->is_steady = false;
  }
}

/* ---- faults ---------------------------------------------------------------------------------- */

/* Slow GPUs more often than the rest, and then a connection that breaks: a controller that comes
 * back while work goes on that it knows nothing of is where it has most to get wrong. */
static enum fault_kind draw_kind(struct prng *prng, const struct fault *last) {
  enum { SLOW_MORE = 5 };
  /* All but the last, which draw_gpu_lost() adds. */
  const uint32_t kind = draw(prng, 0, FAULT_GPU_LOST - 1 + SLOW_MORE);
  const bool breaks = draw(prng, 0, 1) == 0;
  if (last != NULL && last->kind == FAULT_SLOW && breaks) {
    return FAULT_BREAK;
  }
  return kind < FAULT_GPU_LOST ? (enum fault_kind)kind : FAULT_SLOW;
}

static uint32_t draw_amount(struct prng *prng, enum fault_kind kind) {
  switch ((int)kind) {
  case FAULT_LEAP:
    return draw(prng, 1, 3000);
  case FAULT_SLOW: /* up to a GPU that is all but stopped */
    return draw(prng, 0, 2) == 0 ? draw(prng, 1200, 4000) : draw(prng, 4000, 30000);
  case FAULT_CLOCK:
    return draw(prng, 50, 100);
  case FAULT_STALL:
    return draw(prng, 20, 2000);

  case FAULT_FLOOD:
    return draw(prng, 1, 30);
  default:
    return 0;
  }
}

/* As often below 3 ms, within which an execution goes on, as up to 30 ms, 300 ms, and just above
 * what a silence may last. */
static struct duration draw_length(struct prng *prng, enum fault_kind kind) {
  static const uint32_t MOST_US[] = {3000, 30000, 300000, 4500000};
  const uint32_t least = kind == FAULT_SLOW ? 2 : 0; /* shorter ones are over before they show */
  const uint32_t length_us = draw(prng, 1000, MOST_US[draw(prng, least, 3)]);
  return duration_us(kind == FAULT_FLOOD && length_us > 300000 ? 300000 : length_us);
}

/* Most is found where one fault meets another: the same worker while the last one lasts. */
static void strike_again(struct prng *prng, const struct fault *last, struct fault *fault) {
  const int64_t most_ns = (PLAN_WARM_S + PLAN_LEVEL_S + PLAN_FAULTS_S - 5) * NS_PER_S;
  const uint64_t within_ns = (uint64_t)last->lasts.ns + 20 * NS_PER_MS;
  fault->worker = takes(fault->kind, 'w') ? last->worker : 0;
  fault->at.ns = last->at.ns + (int64_t)prng_below(prng, within_ns);
  fault->at.ns = fault->at.ns < most_ns ? fault->at.ns : most_ns;
}

static void draw_faults(struct fault_plan *plan, struct prng *prng) {
  /* A controller that restarts learns the models from workers: one must keep them. */
  bool has_controller = false;
  plan->faults_count = draw(prng, 1, PLAN_FAULTS_MAX);
  for (uint32_t i = 0; i < plan->faults_count; i++) {
    struct fault *fault = &plan->faults[i];
    fault->kind = draw_kind(prng, i == 0 ? NULL : &plan->faults[i - 1]);
    fault->worker = takes(fault->kind, 'w') ? draw(prng, 0, plan->workers - 1) : 0;
    fault->gpu = takes(fault->kind, 'g') ? draw(prng, 0, plan->gpus - 1) : 0;
    fault->amount = draw_amount(prng, fault->kind);
    fault->lasts = takes(fault->kind, 'd') ? draw_length(prng, fault->kind) : DURATION_ZERO;
    fault->at = duration_add(duration_s(PLAN_WARM_S + PLAN_LEVEL_S),
                             duration_us(draw(prng, 0, (PLAN_FAULTS_S - 5) * 1000000)));
    const bool is_alone = draw(prng, 0, 1) == 0;
    const bool is_break =
        i > 0 && plan->faults[i - 1].kind == FAULT_SLOW && fault->kind == FAULT_BREAK;
    if (i > 0 && (!is_alone || is_break)) {
      strike_again(prng, &plan->faults[i - 1], fault);
    }
    has_controller = has_controller || fault->kind == FAULT_CONTROLLER;
  }
  for (uint32_t i = 0; has_controller && i < plan->faults_count; i++) {
    struct fault *fault = &plan->faults[i];
    if ((fault->kind == FAULT_CRASH || fault->kind == FAULT_CRASH_MACHINE) && fault->worker == 0) {
      fault->kind = FAULT_HANG;
    }
  }
}

/* To one seed of four, so that the others stay what they were: a GPU is lost, half the time while
 * another fault of its worker lasts, in place of the last of twelve. */
static void draw_gpu_lost(struct fault_plan *plan, struct prng *prng) {
  const uint32_t most = PLAN_FAULTS_MAX - 1;
  if (draw(prng, 1, 4) > 1) {
    return;
  }
  bool has_controller = false;
  plan->faults_count = plan->faults_count < most ? plan->faults_count : most;
  for (uint32_t i = 0; i < plan->faults_count; i++) {
    has_controller = has_controller || plan->faults[i].kind == FAULT_CONTROLLER;
  }
  struct fault fault = {.kind = FAULT_GPU_LOST};
  fault.worker = draw(prng, 0, plan->workers - 1);
  fault.gpu = draw(prng, 0, plan->gpus - 1);
  fault.lasts = draw_length(prng, fault.kind);
  fault.at = duration_add(duration_s(PLAN_WARM_S + PLAN_LEVEL_S),
                          duration_us(draw(prng, 0, (PLAN_FAULTS_S - 5) * 1000000)));
  if (plan->faults_count > 0 && draw(prng, 0, 1) == 0) {
    strike_again(prng, &plan->faults[draw(prng, 0, plan->faults_count - 1)], &fault);
  }
  /* As with crashes: one worker must keep the models for a controller that restarts. */
  if (has_controller && fault.worker == 0) {
    fault.worker = plan->workers - 1;
  }
  if (!has_controller || fault.worker > 0) {
    plan->faults[plan->faults_count++] = fault;
  }
}

void plan_draw(struct fault_plan *plan, uint64_t seed, const struct model_spec *profile,
               uint32_t profile_count, double load_rps, const char *policy) {
  struct prng prng;
  *plan = (struct fault_plan){.seed = seed};
  prng_init(&prng, seed, STREAM_CLUSTER);
  draw_cluster(plan, &prng, policy);
  prng_init(&prng, seed, STREAM_WORKLOAD);
  draw_workload(plan, &prng, profile, profile_count, load_rps);
  prng_init(&prng, seed, STREAM_FAULTS);
  draw_faults(plan, &prng);
  prng_init(&prng, seed, STREAM_GPU_LOST);
  draw_gpu_lost(plan, &prng);
}

struct duration plan_last_end(const struct fault_plan *plan) {
  struct duration last = DURATION_ZERO;
  for (uint32_t i = 0; i < plan->faults_count; i++) {
    const struct fault *fault = &plan->faults[i];
    last = duration_max(last, duration_add(fault->at, fault->lasts));
  }
  return last;
}

/* ---- text ------------------------------------------------------------------------------------ */

void plan_describe_fault(const struct fault *fault, char *ret_text, size_t capacity_bytes) {
  const enum fault_kind kind = fault->kind;
  size_t used = (size_t)snprintf(ret_text, capacity_bytes, "%s", WORDS[kind]);
  const struct {
    const char *name;
    char what;
    uint32_t value;
  } numbers[] = {
      {"worker", 'w', fault->worker}, {"gpu", 'g', fault->gpu}, {"amount", 'a', fault->amount}};
  for (size_t i = 0; i < 3; i++) {
    if (takes(kind, numbers[i].what) && used < capacity_bytes) {
      used += (size_t)snprintf(ret_text + used, capacity_bytes - used, " %s=%" PRIu32,
                               numbers[i].name, numbers[i].value);
    }
  }
  if (used < capacity_bytes) {
    used += (size_t)snprintf(ret_text + used, capacity_bytes - used, " at=%.6f",
                             (double)fault->at.ns / 1e9);
  }
  if (takes(kind, 'd') && used < capacity_bytes) {
    snprintf(ret_text + used, capacity_bytes - used, " for=%.6f", (double)fault->lasts.ns / 1e9);
  }
}

void plan_print(const struct fault_plan *plan, FILE *file) {
  fprintf(file, "seed: %" PRIu64 "\nworkload: %s\npolicy: %s\n", plan->seed, plan->workload,
          plan->policy);
  fprintf(file, "workers: %" PRIu32 "\ngpus_per_worker: %" PRIu32 "\npages: %" PRIu32 "\n",
          plan->workers, plan->gpus, plan->pages);
  for (uint32_t i = 0; i < plan->faults_count; i++) {
    char text[160];
    plan_describe_fault(&plan->faults[i], text, sizeof(text));
    fprintf(file, "fault: %s\n", text);
  }
}

static bool parse_word(const char *word, struct fault *fault, struct error_text *ret_error) {
  const char *equals = strchr(word, '=');
  char *end = NULL;
  const double value = equals == NULL ? 0 : strtod(equals + 1, &end);
  const size_t length = equals == NULL ? 0 : (size_t)(equals - word);
  if (equals == NULL || end == equals + 1 || *end != '\0' || !isfinite(value) || value < 0 ||
      value > 1e6) {
    error_text_set(ret_error, "'%.40s': NAME=NUMBER is expected", word);
    return false;
  }
  const struct {
    const char *name;
    uint32_t *whole;
    struct duration *seconds;
  } fields[] = {{"worker", &fault->worker, NULL},
                {"gpu", &fault->gpu, NULL},
                {"amount", &fault->amount, NULL},
                {"at", NULL, &fault->at},
                {"for", NULL, &fault->lasts}};
  for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
    if (strlen(fields[i].name) != length || strncmp(fields[i].name, word, length) != 0) {
      continue;
    }
    if (fields[i].whole != NULL) {
      *fields[i].whole = (uint32_t)value;
    } else {
      *fields[i].seconds = duration_ns((int64_t)llround(value * 1e9));
    }
    return true;
  }
  error_text_set(ret_error, "'%.40s': only worker, gpu, amount, at and for can be set", word);
  return false;
}

static bool parse_kind(const char *word, enum fault_kind *ret_kind, struct error_text *ret_error) {
  for (int i = 0; i < FAULT_KINDS_COUNT; i++) {
    if (strcmp(word, WORDS[i]) == 0) {
      *ret_kind = (enum fault_kind)i;
      return true;
    }
  }
  error_text_set(ret_error, "'%.40s' is no kind of fault; see -h", word);
  return false;
}

bool plan_parse_fault(const struct fault_plan *plan, const char *text, struct fault *ret_fault,
                      struct error_text *ret_error) {
  char words[256];
  struct fault fault = {.at = duration_s(PLAN_WARM_S + PLAN_LEVEL_S), .amount = 1500};
  char *rest = words;
  if (strlen(text) >= sizeof(words)) {
    error_text_set(ret_error, "longer than %zu characters", sizeof(words) - 1);
    return false;
  }
  snprintf(words, sizeof(words), "%s", text);
  const char *word = strtok_r(rest, " ", &rest);
  if (word == NULL || !parse_kind(word, &fault.kind, ret_error)) {
    if (word == NULL) {
      error_text_set(ret_error, "a kind of fault is expected");
    }
    return false;
  }
  while ((word = strtok_r(rest, " ", &rest)) != NULL) {
    if (!parse_word(word, &fault, ret_error)) {
      return false;
    }
  }
  const int64_t end_ns = (PLAN_WARM_S + PLAN_LEVEL_S + PLAN_FAULTS_S) * NS_PER_S;
  if (fault.worker >= plan->workers || fault.gpu >= plan->gpus) {
    error_text_set(ret_error, "worker and gpu must be below %" PRIu32 " and %" PRIu32,
                   plan->workers, plan->gpus);
    return false;
  }
  if (duration_add(fault.at, fault.lasts).ns > end_ns) {
    error_text_set(ret_error, "it must end within %d s", (int)(end_ns / NS_PER_S));
    return false;
  }
  if ((fault.kind == FAULT_SLOW && fault.amount < 1000) ||
      (fault.kind == FAULT_CLOCK && (fault.amount < 1 || fault.amount > 100))) {
    error_text_set(ret_error, "amount: slow takes 1000 and more, clock 1 to 100");
    return false;
  }
  *ret_fault = fault;
  return true;
}
