/* The workloads: parameters with their texts, what makes no sense, what each consists of. */
#include "workload/kinds.h"

#include <string.h>

#include "base/check.h"
#include "workload/azure.h"

#define MODEL_DEFAULT "resnet50_v2"

static const char *const ARRIVALS[] = {"poisson", "fixed", NULL};
static const char *const LADDER_OPERATIONS[] = {"mul", "add", NULL};

#define INT_(name_, default_, min_, max_, text_)                                                   \
  {                                                                                                \
    .name = name_, .type = WORKLOAD_INT, .hint = "int, default " default_,                         \
    .default_text = default_, .min = min_, .max = max_, .text = text_                              \
  }
#define FLOAT_(name_, default_, min_, max_, text_)                                                 \
  {                                                                                                \
    .name = name_, .type = WORKLOAD_FLOAT, .hint = "float, default " default_,                     \
    .default_text = default_, .min = min_, .max = max_, .text = text_                              \
  }
#define MODEL_(name_, text_)                                                                       \
  {                                                                                                \
    .name = name_, .type = WORKLOAD_TEXT, .hint = "string, default " MODEL_DEFAULT,                \
    .default_text = MODEL_DEFAULT, .max = 255, .text = text_                                       \
  }
#define ARRIVALS_(name_, text_)                                                                    \
  {                                                                                                \
    .name = name_, .type = WORKLOAD_CHOICE, .hint = "poisson or fixed, default poisson",           \
    .default_text = "poisson", .choices = ARRIVALS, .text = text_                                  \
  }
#define OPERATION_(name_, text_)                                                                   \
  {                                                                                                \
    .name = name_, .type = WORKLOAD_CHOICE, .hint = "mul or add, default mul",                     \
    .default_text = "mul", .choices = LADDER_OPERATIONS, .text = text_                             \
  }

/* Limits of what makes sense to ask for; each keeps products within their types. */
#define COPIES_MAX WORKLOAD_MODELS_MAX
#define RATE_MIN 0.000001
#define RATE_MAX 10000000
#define SLO_MIN 0.001
#define SLO_MAX 1000000
#define PERIOD_MAX_S 1000000
#define FACTOR_MAX 10000000
#define CLOSED_MAX 1000000

static uint32_t config_uint(const struct workload_config *config, uint32_t parameter) {
  return (uint32_t)config->numbers[parameter];
}

static const char *config_choice(const struct workload_config *config, uint32_t parameter) {
  return config->kind->parameters[parameter].choices[config_uint(config, parameter)];
}

static bool config_is_fixed(const struct workload_config *config, uint32_t parameter) {
  return strcmp(config_choice(config, parameter), "fixed") == 0;
}

static bool config_is_sum(const struct workload_config *config, uint32_t parameter) {
  return strcmp(config_choice(config, parameter), "add") == 0;
}

static struct duration period_of(double seconds) {
  return duration_ns((int64_t)(seconds * (double)NS_PER_S + 0.5));
}

static enum err check_ladder(const struct ladder_config *ladder, const char *names,
                             struct text_builder *text) {
  if (ladder_step_count(ladder) > 0) {
    return ERR_OK;
  }
  text_append(text, names);
  text_append(text, ": from ");
  text_append_decimal(text, ladder->start);
  text_append(text, ladder->is_sum ? " by adding " : " by multiplying with ");
  text_append_decimal(text, ladder->factor);
  text_append(text, " the end ");
  text_append_decimal(text, ladder->end);
  text_append(text, " is not reached within 10000 steps; change one of them");
  return ERR_RANGE;
}

/* ---- azure ---- */

enum {
  AZURE_WORKERS,
  AZURE_ALL_MODELS,
  AZURE_LOAD,
  AZURE_MEMORY,
  AZURE_INTERVAL,
  AZURE_TRACE,
  AZURE_RANDOMISE,
};

#define MEMORY_LOAD_FACTOR_                                                                        \
  {                                                                                                \
    .name = "memory_load_factor", .type = WORKLOAD_INT, .hint = "1, 2, 3, or 4; default 4",        \
    .default_text = "4", .min = 1, .max = 4,                                                       \
    .text = ":\n1: loads approx. 200 models\n2: loads approx. 800 models\n"                        \
            "3: loads approx. 1800 models\n4: loads approx. 4000 models"                           \
  }

static const struct workload_parameter AZURE_PARAMETERS[] = {
    INT_("num_workers", "1", 1, 10000, "the number of workers you're using"),
    {.name = "use_all_models",
     .type = WORKLOAD_BOOL,
     .hint = "bool, default 1",
     .default_text = "1",
     .text = "load all models or just resnet50_v2"},
    FLOAT_("load_factor", "1.0", RATE_MIN, 10000,
           "the workload will generate approximately this much load to the system.  e.g. 0.5 will "
           "load by approximately 1/2; 2.0 will overload by a factor of 2"),
    MEMORY_LOAD_FACTOR_,
    INT_("interval", "60", 1, 86400, "interval duration in seconds"),
    {.name = "trace",
     .type = WORKLOAD_INT,
     .hint = "int, 1 to 13 inclusive, default 1",
     .default_text = "1",
     .min = 1,
     .max = TRACE_ID_MAX,
     .text = "trace ID to replay"},
    {.name = "randomise",
     .type = WORKLOAD_BOOL,
     .hint = "bool, default false",
     .default_text = "false",
     .text = "randomize each client's starting point in the trace"},
};

static void azure_plan(const struct workload_config *config, struct plan *plan) {
  azure_add_models(plan, config->numbers[AZURE_ALL_MODELS] != 0, config_uint(config, AZURE_MEMORY));
  const double scale =
      config->numbers[AZURE_LOAD] * AZURE_WORKER_SHARE * config->numbers[AZURE_WORKERS];
  plan_add_functions(plan, scale, duration_s((int64_t)config->numbers[AZURE_INTERVAL]),
                     config->numbers[AZURE_RANDOMISE] != 0);
}

/* ---- azure_scalability_exp ---- */

enum {
  AZURE_SCALING_WORKERS,
  AZURE_SCALING_MIN,
  AZURE_SCALING_MAX,
  AZURE_SCALING_INC,
  AZURE_SCALING_PERIOD,
  AZURE_SCALING_MEMORY,
};

static const struct workload_parameter AZURE_SCALING_PARAMETERS[] = {
    INT_("num_workers", "1", 1, 10000, "the number of workers you're using"),
    FLOAT_("load_factor_min", "0.1", RATE_MIN, 10000, "the load factor at the start"),
    FLOAT_("load_factor_max", "4.0", RATE_MIN, 10000, "the workload ends above this load factor"),
    FLOAT_("load_factor_inc", "1.5", RATE_MIN, FACTOR_MAX,
           "the load factor is multiplied by this each period"),
    INT_("load_factor_period", "60", 1, PERIOD_MAX_S, "length of a period in seconds"),
    MEMORY_LOAD_FACTOR_,
};

static struct ladder_config azure_scaling_ladder(const struct workload_config *config) {
  return (struct ladder_config){.start = config->numbers[AZURE_SCALING_MIN],
                                .end = config->numbers[AZURE_SCALING_MAX],
                                .factor = config->numbers[AZURE_SCALING_INC],
                                .period =
                                    duration_s((int64_t)config->numbers[AZURE_SCALING_PERIOD])};
}

static enum err azure_scaling_check(const struct workload_config *config,
                                    struct text_builder *text) {
  const struct ladder_config ladder = azure_scaling_ladder(config);
  return check_ladder(&ladder, "load_factor_min, load_factor_max, load_factor_inc", text);
}

static void azure_scaling_plan(const struct workload_config *config, struct plan *plan) {
  azure_add_models(plan, true, config_uint(config, AZURE_SCALING_MEMORY));
  plan->has_rate = true;
  plan->rate = azure_scaling_ladder(config);
  plan_add_functions(plan, AZURE_WORKER_SHARE * config->numbers[AZURE_SCALING_WORKERS],
                     duration_s(60), false);
}

/* ---- bursty_experiment ---- */

#define BURSTY_MINOR_RATE 200
#define BURSTY_MAJOR_RATE 1000

enum { BURSTY_MODELS, BURSTY_LOAD, BURSTY_ALONE, BURSTY_PERIOD };

static const struct workload_parameter BURSTY_PARAMETERS[] = {
    INT_("num_models", "3600", 1, COPIES_MAX - 1, "number of 'major' workload models"),
    FLOAT_("load_factor", "1.0", RATE_MIN, 10000, "both rates are multiplied by this"),
    INT_("alone", "900", 0, PERIOD_MAX_S, "seconds before the first 'major' model joins"),
    FLOAT_("period", "1.0", 0.001, PERIOD_MAX_S, "seconds from one that joins to the next"),
};

static void bursty_plan(const struct workload_config *config, struct plan *plan) {
  const uint32_t majors = config_uint(config, BURSTY_MODELS);
  const double load = config->numbers[BURSTY_LOAD];
  const uint32_t first = plan_add_model(plan, MODEL_DEFAULT, majors + 1);
  plan_add_open(plan, BURSTY_MINOR_RATE * load, 0, first);
  /* Poisson processes of equal rates are one of the summed rate that picks among them. */
  struct source *major = plan_add_open(plan, BURSTY_MAJOR_RATE * load, 1, first + 1);
  major->model_count = majors & SOURCE_MODELS_MASK;
  major->is_growing = true;
  major->growth_start = (struct instant){(int64_t)config->numbers[BURSTY_ALONE] * NS_PER_S};
  major->growth_period = period_of(config->numbers[BURSTY_PERIOD]);
}

/* ---- closed loops ---- */

static void simple_plan(const struct workload_config *config, struct plan *plan) {
  (void)config;
  const uint32_t first = plan_add_model(plan, MODEL_DEFAULT, 2);
  plan_add_closed(plan, 1, 0, first, 0);
  plan_add_closed(plan, 1, 1, first + 1, 0);
}

static void simple_slo_plan(const struct workload_config *config, struct plan *plan) {
  (void)config;
  plan->has_slo = true;
  plan->slo = (struct ladder_config){
      .start = 4, .end = 128, .factor = 2, .repeats = true, .period = duration_s(10)};
  const uint32_t first = plan_add_model(plan, MODEL_DEFAULT, 3);
  for (uint32_t i = 0; i < 3; i++) {
    struct source *source = plan_add_source(plan, SOURCE_CLOSED);
    source->client = plan_add_client(plan, 0);
    source->user_id = i;
    source->model_first = first + i;
    source->has_slo_ladder = true;
  }
}

enum { PARAMETRIC_MODELS, PARAMETRIC_CLIENTS, PARAMETRIC_CONCURRENCY, PARAMETRIC_REQUESTS };

static const struct workload_parameter PARAMETRIC_PARAMETERS[] = {
    INT_("models", "1", 1, COPIES_MAX, "number of copies of resnet50_v2"),
    INT_("clients", "1", 1, CLOSED_MAX, "number of clients; each asks the models in turn"),
    INT_("concurrency", "1", 1, CLOSED_MAX, "requests that a client keeps outstanding"),
    INT_("requests", "1000", 0, 4000000000.0,
         "requests that a client sends before it ends; 0: it never ends"),
};

static enum err parametric_check(const struct workload_config *config, struct text_builder *text) {
  if (config->numbers[PARAMETRIC_CLIENTS] * config->numbers[PARAMETRIC_CONCURRENCY] <= CLOSED_MAX) {
    return ERR_OK;
  }
  text_append(text, "clients times concurrency is above 1000000; lower one of them");
  return ERR_RANGE;
}

static void parametric_plan(const struct workload_config *config, struct plan *plan) {
  const uint32_t models = config_uint(config, PARAMETRIC_MODELS);
  const uint32_t first = plan_add_model(plan, MODEL_DEFAULT, models);
  for (uint32_t user = 0; user < config_uint(config, PARAMETRIC_CLIENTS); user++) {
    const uint32_t client = plan_add_client(plan, config_uint(config, PARAMETRIC_REQUESTS));
    for (uint32_t i = 0; i < config_uint(config, PARAMETRIC_CONCURRENCY); i++) {
      struct source *source = plan_add_source(plan, SOURCE_CLOSED);
      source->client = client;
      source->user_id = user;
      source->model_first = first;
      source->model_count = models & SOURCE_MODELS_MASK;
    }
  }
}

static void example_plan(const struct workload_config *config, struct plan *plan) {
  (void)config;
  const uint32_t first = plan_add_model(plan, MODEL_DEFAULT, 4);
  plan_add_closed(plan, 1, 0, first, 0);
  plan_add_closed(plan, 4, 1, first + 1, 50);
  plan_add_open(plan, 50, 2, first + 2);
  plan_add_open(plan, 50, 3, first + 3)->is_fixed = true;
}

/* A default 32 GB card has 1,376 pages of 16 MiB: 196 copies of resnet50_v2 at 7 pages. */
#define FILL_COPIES 400
#define FILL_RATE 400.0

static void fill_memory_plan(const struct workload_config *config, struct plan *plan) {
  (void)config;
  const uint32_t first = plan_add_model(plan, MODEL_DEFAULT, FILL_COPIES);
  for (uint32_t i = 0; i < FILL_COPIES; i++) {
    plan_add_open(plan, FILL_RATE / FILL_COPIES, i, first + i);
  }
}

#define SPAM_COPIES 100
#define SPAM_CONCURRENCY 100

static const struct workload_parameter SPAM_PARAMETERS[] = {
    MODEL_("model", "which model to load 100 copies of"),
};

static void closed_plan(struct plan *plan, const char *model, uint32_t copies,
                        uint32_t concurrency) {
  const uint32_t first = plan_add_model(plan, model, copies);
  for (uint32_t i = 0; i < copies; i++) {
    plan_add_closed(plan, concurrency, i, first + i, 0);
  }
}

static void spam_plan(const struct workload_config *config, struct plan *plan) {
  closed_plan(plan, config->texts[0], SPAM_COPIES, SPAM_CONCURRENCY);
}

static void single_spam_plan(const struct workload_config *config, struct plan *plan) {
  (void)config;
  closed_plan(plan, MODEL_DEFAULT, 1, SPAM_CONCURRENCY);
}

static const struct workload_parameter COMPARISON2_PARAMETERS[] = {
    INT_("num_models", "15", 1, COPIES_MAX, "number of copies of resnet50_v2"),
    INT_("concurrency", "16", 1, 10000, "closed-loop clients of each copy"),
};

static enum err comparison2_check(const struct workload_config *config, struct text_builder *text) {
  if (config->numbers[0] * config->numbers[1] <= CLOSED_MAX) {
    return ERR_OK;
  }
  text_append(text, "num_models times concurrency is above 1000000; lower one of them");
  return ERR_RANGE;
}

static void comparison2_plan(const struct workload_config *config, struct plan *plan) {
  closed_plan(plan, MODEL_DEFAULT, config_uint(config, 0), config_uint(config, 1));
}

/* ---- open loops ---- */

static void open_plan(struct plan *plan, uint32_t copies, double total_rate) {
  const uint32_t first = plan_add_model(plan, MODEL_DEFAULT, copies);
  for (uint32_t i = 0; i < copies; i++) {
    plan_add_open(plan, total_rate / copies, i, first + i);
  }
}

static const struct workload_parameter POISSON_PARAMETERS[] = {
    INT_("num_models", "1", 1, COPIES_MAX, "number of copies of resnet50_v2"),
    FLOAT_("rate", "100", RATE_MIN, RATE_MAX, "requests a second, of all copies together"),
};

static const struct workload_parameter COMPARISON_PARAMETERS[] = {
    INT_("num_models", "15", 1, COPIES_MAX, "number of copies of resnet50_v2"),
    FLOAT_("total_requests", "500", RATE_MIN, RATE_MAX,
           "requests a second, of all copies together"),
};

static void poisson_plan(const struct workload_config *config, struct plan *plan) {
  open_plan(plan, config_uint(config, 0), config->numbers[1]);
}

enum { SCALING_MODELS, SCALING_MIN, SCALING_MAX, SCALING_FACTOR, SCALING_OP, SCALING_PERIOD };

static const struct workload_parameter SCALING_PARAMETERS[] = {
    INT_("num-models", "100", 1, COPIES_MAX, "number of copies of resnet50_v2"),
    FLOAT_("rate-min", "100", RATE_MIN, RATE_MAX,
           "requests a second of all copies together, at the start"),
    FLOAT_("rate-max", "10000", RATE_MIN, RATE_MAX, "the workload ends beyond this rate"),
    FLOAT_("rate-factor", "1.5", -FACTOR_MAX, FACTOR_MAX, "how the rate changes each period"),
    OPERATION_("rate-op", "whether the rate is multiplied by rate-factor or it is added"),
    FLOAT_("period", "60", 0.001, PERIOD_MAX_S, "length of a period in seconds"),
};

static struct ladder_config scaling_ladder(const struct workload_config *config) {
  return (struct ladder_config){.start = config->numbers[SCALING_MIN],
                                .end = config->numbers[SCALING_MAX],
                                .factor = config->numbers[SCALING_FACTOR],
                                .is_sum = config_is_sum(config, SCALING_OP),
                                .period = period_of(config->numbers[SCALING_PERIOD])};
}

static enum err scaling_check(const struct workload_config *config, struct text_builder *text) {
  const struct ladder_config ladder = scaling_ladder(config);
  return check_ladder(&ladder, "rate-min, rate-max, rate-factor, rate-op", text);
}

static void scaling_plan(const struct workload_config *config, struct plan *plan) {
  plan->has_rate = true;
  plan->rate = scaling_ladder(config);
  open_plan(plan, config_uint(config, SCALING_MODELS), 1);
}

/* ---- SLO ladders ---- */

enum {
  SLO_MODEL,
  SLO_COPIES,
  SLO_DIST,
  SLO_RATE,
  SLO_START,
  SLO_END,
  SLO_FACTOR,
  SLO_OP,
  SLO_PERIOD,
  /* slo-exp-2 only */
  SLO_BACKGROUND_COPIES,
  SLO_BACKGROUND_CONCURRENCY,
  SLO_BACKGROUND_SLO,
};

#define SLO_FOREGROUND_(copies_, rate_)                                                            \
  MODEL_("model", "which model to load"),                                                          \
      INT_("copies", copies_, 1, COPIES_MAX, "number of copies"),                                  \
      ARRIVALS_("dist", "arrival times: a Poisson process, or evenly spaced for each copy"),       \
      FLOAT_("rate", rate_, RATE_MIN, RATE_MAX, "requests a second, of all copies together"),      \
      FLOAT_("slo-start", "1", SLO_MIN, SLO_MAX,                                                   \
             "SLO factor at the start: times the model's batch-1 execution time"),                 \
      FLOAT_("slo-end", "100", SLO_MIN, SLO_MAX, "the workload ends beyond this SLO factor"),      \
      FLOAT_("slo-factor", "1.5", -FACTOR_MAX, FACTOR_MAX,                                         \
             "how the SLO factor changes each period"),                                            \
      OPERATION_("slo-op", "whether the SLO factor is multiplied by slo-factor or it is added"),   \
      FLOAT_("period", "30", 0.001, PERIOD_MAX_S, "length of a period in seconds")

static const struct workload_parameter SLO1_PARAMETERS[] = {SLO_FOREGROUND_("12", "600")};

static const struct workload_parameter SLO2_PARAMETERS[] = {
    SLO_FOREGROUND_("6", "1200"),
    INT_("copies-bg", "12", 1, COPIES_MAX / 2, "number of copies for the background"),
    INT_("concurrency-bg", "16", 1, 10000, "closed-loop clients of each background copy"),
    FLOAT_("slo-bg", "1000", SLO_MIN, SLO_MAX, "SLO factor of the background"),
};

static struct ladder_config slo_ladder(const struct workload_config *config) {
  return (struct ladder_config){.start = config->numbers[SLO_START],
                                .end = config->numbers[SLO_END],
                                .factor = config->numbers[SLO_FACTOR],
                                .is_sum = config_is_sum(config, SLO_OP),
                                .period = period_of(config->numbers[SLO_PERIOD])};
}

static enum err slo1_check(const struct workload_config *config, struct text_builder *text) {
  const struct ladder_config ladder = slo_ladder(config);
  return check_ladder(&ladder, "slo-start, slo-end, slo-factor, slo-op", text);
}

static enum err slo2_check(const struct workload_config *config, struct text_builder *text) {
  if (config->numbers[SLO_COPIES] + config->numbers[SLO_BACKGROUND_COPIES] > COPIES_MAX) {
    text_append(text, "copies plus copies-bg is above 100000; lower one of them");
    return ERR_RANGE;
  }
  if (config->numbers[SLO_BACKGROUND_COPIES] * config->numbers[SLO_BACKGROUND_CONCURRENCY] >
      CLOSED_MAX) {
    text_append(text, "copies-bg times concurrency-bg is above 1000000; lower one of them");
    return ERR_RANGE;
  }
  return slo1_check(config, text);
}

static void slo1_plan(const struct workload_config *config, struct plan *plan) {
  const uint32_t copies = config_uint(config, SLO_COPIES);
  plan->has_slo = true;
  plan->slo = slo_ladder(config);
  const uint32_t first = plan_add_model(plan, config->texts[SLO_MODEL], copies);
  for (uint32_t i = 0; i < copies; i++) {
    struct source *source = plan_add_open(plan, config->numbers[SLO_RATE] / copies, i, first + i);
    source->is_fixed = config_is_fixed(config, SLO_DIST);
    source->has_slo_ladder = true;
  }
}

static void slo2_plan(const struct workload_config *config, struct plan *plan) {
  slo1_plan(config, plan);
  const uint32_t copies = config_uint(config, SLO_BACKGROUND_COPIES);
  const uint32_t first = plan_add_model(plan, config->texts[SLO_MODEL], copies);
  for (uint32_t i = 0; i < copies; i++) {
    plan_add_closed(plan, config_uint(config, SLO_BACKGROUND_CONCURRENCY), first + i, first + i,
                    (float)config->numbers[SLO_BACKGROUND_SLO]);
  }
}

/* ---- the registry ---- */

#define PARAMETERS_(table)                                                                         \
  .parameters = table, .parameter_count = sizeof(table) / sizeof((table)[0])

static const struct workload_kind KINDS[] = {
    {.name = "azure",
     .description =
         "replay an azure workload trace.  Can be run with no arguments, in which case default "
         "values are used.\nThe defaults will load 4026 models and replay a trace that will give "
         "approximately the total load the system can handle.\nAll models are 61 varieties: those "
         "of the profiles but winograd_resnet50_v2, winograd_resnet101_v2 and "
         "winograd_resnet152_v2.\nReads $AZURE_TRACE_DIR/invocations_per_function_md.anon.dNN.csv; "
         "without AZURE_TRACE_DIR a synthetic day of 46000 functions.",
     PARAMETERS_(AZURE_PARAMETERS),
     .needs_trace = true,
     .trace_parameter = AZURE_TRACE,
     .plan = azure_plan},
    {.name = "azure_scalability_exp",
     .description = "replay the first azure trace with all models and a load factor that grows "
                    "each period; ends above load_factor_max.",
     PARAMETERS_(AZURE_SCALING_PARAMETERS),
     .needs_trace = true,
     .trace_parameter = UINT32_MAX,
     .check = azure_scaling_check,
     .plan = azure_scaling_plan},
    {.name = "bursty_experiment",
     .description =
         "steady load over a growing set of models.  One 'minor' copy of resnet50_v2 at 200 r/s; "
         "after 15 minutes\n'major' copies join, one each second, that share 1000 r/s.  Poisson; "
         "does not end.",
     PARAMETERS_(BURSTY_PARAMETERS),
     .plan = bursty_plan},
    {.name = "simple",
     .description = "2 copies of resnet50_v2, a closed-loop client with 1 request each.",
     .plan = simple_plan},
    {.name = "simple-slo-factor",
     .description = "3 copies of resnet50_v2, a closed-loop client with 1 request each; the SLO "
                    "factor changes every 10 s:\n4, 8, 16, 32, 64, 128, and from 4 again.",
     .plan = simple_slo_plan},
    {.name = "simple-parametric",
     .description = "closed-loop clients on copies of resnet50_v2.",
     PARAMETERS_(PARAMETRIC_PARAMETERS),
     .check = parametric_check,
     .plan = parametric_plan},
    {.name = "example",
     .description =
         "4 copies of resnet50_v2, one of each sort of load: closed loop with 1 request, closed "
         "loop with 4 requests\nand SLO factor 50, Poisson at 50 r/s, evenly spaced at 50 r/s.",
     .plan = example_plan},
    {.name = "fill_memory",
     .description = "400 copies of resnet50_v2, twice what fits in a 32 GB GPU, each Poisson at 1 "
                    "r/s: weights come and go.",
     .plan = fill_memory_plan},
    {.name = "spam",
     .description = "100 copies of a model, each with 100 closed-loop clients.",
     PARAMETERS_(SPAM_PARAMETERS),
     .plan = spam_plan},
    {.name = "single-spam",
     .description = "1 copy of resnet50_v2 with 100 closed-loop clients.",
     .plan = single_spam_plan},
    {.name = "poisson-open-loop",
     .description = "copies of resnet50_v2 share a Poisson load evenly.",
     PARAMETERS_(POISSON_PARAMETERS),
     .plan = poisson_plan},
    {.name = "scalability-exp-1",
     .description = "copies of resnet50_v2 share a Poisson load whose rate changes each period; "
                    "ends beyond rate-max.",
     PARAMETERS_(SCALING_PARAMETERS),
     .check = scaling_check,
     .plan = scaling_plan},
    {.name = "slo-exp-1",
     .description = "copies of a model share an open-loop load whose SLO factor changes each "
                    "period; ends beyond slo-end.",
     PARAMETERS_(SLO1_PARAMETERS),
     .check = slo1_check,
     .plan = slo1_plan},
    {.name = "slo-exp-2",
     .description =
         "slo-exp-1 as the foreground, and closed-loop clients with a relaxed SLO in the "
         "background, on copies of their own.",
     PARAMETERS_(SLO2_PARAMETERS),
     .check = slo2_check,
     .plan = slo2_plan},
    {.name = "comparison_experiment",
     .description = "copies of resnet50_v2 share a Poisson load, to compare serving systems.",
     PARAMETERS_(COMPARISON_PARAMETERS),
     .plan = poisson_plan},
    {.name = "comparison_experiment2",
     .description = "closed-loop clients on copies of resnet50_v2, to compare serving systems.",
     PARAMETERS_(COMPARISON2_PARAMETERS),
     .check = comparison2_check,
     .plan = comparison2_plan},
};

enum { KINDS_COUNT = sizeof(KINDS) / sizeof(KINDS[0]) };

uint32_t workload_kind_count(void) {
  return KINDS_COUNT;
}

const struct workload_kind *workload_kind_at(uint32_t index) {
  CHECK_LT(index, KINDS_COUNT);
  return &KINDS[index];
}

const char *workload_kind_name(const struct workload_kind *kind) {
  return kind->name;
}

const char *workload_kind_description(const struct workload_kind *kind) {
  return kind->description;
}

const struct workload_parameter *workload_kind_parameters(const struct workload_kind *kind,
                                                          uint32_t *ret_count) {
  *ret_count = kind->parameter_count;
  return kind->parameters;
}

const struct workload_kind *workload_find(const char *name, struct workload_fault *ret_fault) {
  for (uint32_t i = 0; i < KINDS_COUNT; i++) {
    if (strcmp(KINDS[i].name, name) == 0) {
      return &KINDS[i];
    }
  }
  struct text_builder fault = fault_begin(ret_fault);
  text_append(&fault, "there is no workload ");
  text_append_quoted(&fault, name, strlen(name));
  text_append(&fault, "; give one of");
  for (uint32_t i = 0; i < KINDS_COUNT; i++) {
    text_append(&fault, i == 0 ? " " : ", ");
    text_append(&fault, KINDS[i].name);
  }
  return NULL;
}

bool workload_needs_trace(const struct workload_config *config, uint32_t *ret_trace_id) {
  const struct workload_kind *kind = config->kind;
  if (!kind->needs_trace) {
    return false;
  }
  *ret_trace_id =
      kind->trace_parameter == UINT32_MAX ? 1 : config_uint(config, kind->trace_parameter);
  return true;
}
