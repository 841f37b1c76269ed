#include "workload/synthetic_day.h"

#include <math.h>
#include <string.h>

#include "base/check.h"
#include "base/prng.h"
#include "base/real.h"

/* ---- what was fitted: scripts/plot_trace_fit.py --constants prints these from real days ---- */

/* Calls a day of functions that are no timers: a share `above` of them has more than `calls`. */
struct quantile {
  double above;
  double calls;
};

static const struct quantile CALLS_QUANTILES[] = {
    {0.00029, 738140}, {0.00086, 216057}, {0.00144, 128684}, {0.00259, 86285}, {0.00547, 48502},
    {0.01123, 33500},  {0.02, 20976.7},   {0.04, 11344.9},   {0.08, 4771.8},   {0.15, 1335.7},
    {0.25, 447.5},     {0.35, 179.8},     {0.5, 51},         {0.65, 15},       {0.75, 7},
    {0.85, 2},         {1.0, 0.7},
};

/* The real days at hand are of a sample of this many functions. */
#define SAMPLE_FUNCTIONS 2022.0

/* A sample lacks the heaviest functions of its population: the full trace has 23 times as many
 * functions but 212 times as many calls (12.5e9 in 14 days). So the upper TAIL_ABOVE of a larger
 * fleet is raised by ((TAIL_ABOVE + TAIL_KNEE) / (above + TAIL_KNEE)) ^ TAIL_RAISE, in full at
 * SYNTHETIC_DAY_FUNCTIONS and in proportion to the logarithm of the fleet's size between, and
 * beyond the sample's heaviest function the quantiles go on with slope TAIL_SLOPE. The four were
 * chosen so that 46,000 functions make 893 million calls a day, the upper 18.6 % of functions make
 * 99.6 % of calls (Shahrad et al., ATC 2020, section 3), and the ten heaviest as large a share of
 * all calls as in the sample (0.38). */
#define TAIL_ABOVE 0.3
#define TAIL_KNEE 2e-4
#define TAIL_RAISE 0.4995
#define TAIL_SLOPE 0.3

/* Share of all functions that are timers of that period. Down to three hours as found in the real
 * days; the rarer ones can't be told from chance there and fill up to the 15.6 % of functions with
 * a timer as their trigger (Shahrad et al., section 3). */
struct timer_share {
  uint32_t period_minutes;
  double share;
};

static const struct timer_share TIMER_SHARES[] = {
    {1, 0.0250},   {5, 0.0410},   {10, 0.0180},   {15, 0.0150},  {20, 0.0025},
    {30, 0.0075},  {60, 0.0230},  {120, 0.0040},  {180, 0.0025}, {240, 0.0020},
    {360, 0.0025}, {720, 0.0030}, {1440, 0.0100},
};

enum { TIMER_SHARES_COUNT = sizeof(TIMER_SHARES) / sizeof(TIMER_SHARES[0]) };

#define TIMER_ON_THE_HOUR                                                                          \
  0.85                         /* fire at multiples of their period, not at a phase of their own   \
                                */
#define TIMER_LATE 0.30        /* have firings that are counted in the next minute ... */
#define TIMER_LATE_FIRINGS 0.2 /* ... so many of them */
#define TIMER_SEVERAL_CALLS                                                                        \
  0.13 /* call more than once a firing: 2 to TIMER_CALLS_MAX, log-uniform */
#define TIMER_CALLS_MAX 100.0

/* How much the rate of a function that is no timer varies over the day: the squared coefficient of
 * variation c of its rate by the minute. A share STEADY_BASE + STEADY_SLOPE log10(calls) does not
 * vary; of the others, log10(c) is normal with mean VARIES_BASE + VARIES_SLOPE log10(calls). */
#define STEADY_BASE 0.0
#define STEADY_SLOPE 0.065
#define VARIES_BASE 1.5
#define VARIES_SLOPE (-0.36)
#define VARIES_DEVIATION 0.95
#define VARIES_MAX 400.0

/* Up to this c a function only swings with the day, as 1 + a cos: then c = a^2 / 2. */
#define DAILY_VARIES_MAX 0.5
/* Of those that vary more: fire at regular times, if c allows; work only in a window of the day,
 * often from midnight; of the others: also swing with the day. */
#define REGULAR_SHARE 0.28
#define REGULAR_VARIES_MIN 1.5
#define REGULAR_VARIES_MAX 8.0
#define WINDOW_SHARE 0.5
#define WINDOW_MINUTES_MIN 20.0
#define WINDOW_MINUTES_MAX 1000.0
#define WINDOW_AT_MIDNIGHT 0.2
#define DAILY_SHARE 0.5
/* When the swing is highest: for a part of the functions in the afternoon (UTC), else anywhere. */
#define PEAK_SHARE 0.4
#define PEAK_MINUTE (15.0 * 60)
#define PEAK_DEVIATION (3.0 * 60)
/* Length of bursts in minutes: its logarithm is normal. The rate of a burst varies too. */
#define BURST_MEDIAN_MINUTES 5.0
#define BURST_DEVIATION 1.5
#define BURST_LEVEL_VARIES 0.3

#define LOG_10 2.30258509299404568402

/* Below this many calls a day, calls are thrown onto minutes one by one. */
#define SPARSE_CALLS 200.0

/* Applications have one function (54 %) or more, 95 % at most ten (Shahrad et al., section 3). They
 * are made of neighbours within blocks, so that a function's application needs no table. */
enum { APP_BLOCK = 64 };
#define APP_SINGLE 0.54
#define APP_MORE_MEAN 3.2
#define OWNER_NEW 0.7

/* Share of functions by trigger, for those that are no timers, and of the heaviest HEAVY_ABOVE the
 * share of calls by trigger (Shahrad et al., section 3). In the order of enum synthetic_trigger. */
static const double TRIGGER_SHARES[SYNTHETIC_TRIGGERS] = {55.0, 0, 15.2, 2.2, 2.8, 6.9, 2.2};
static const double TRIGGER_SHARES_HEAVY[SYNTHETIC_TRIGGERS] = {35.9, 0, 33.5, 24.7, 0.7, 2.3, 1.0};
#define HEAVY_ABOVE 0.005

static const char *const TRIGGER_NAMES[SYNTHETIC_TRIGGERS] = {
    "http", "timer", "queue", "event", "storage", "orchestration", "others"};

/* ---- random streams ---- */

enum stream {
  STREAM_SHAPE,    /* what a function is: the same every day */
  STREAM_APP,      /* a block's applications */
  STREAM_HASH,     /* names */
  STREAM_DAYS = 8, /* + day: what it does on that day */
};

static void stream_init(struct prng *prng, const struct synthetic_day_config *config,
                        uint32_t stream, uint32_t index) {
  prng_init(prng, config->seed, (uint64_t)stream << 32 | index);
}

/* ---- distributions ---- */

/* log(n!) by Stirling's series; the error is below 1e-6 from n = 4. */
static double log_factorial(double n) {
  const double x = n + 1;
  return (x - 0.5) * real_log(x) - x + 0.91893853320467274 + 1 / (12 * x) - 1 / (360 * x * x * x);
}

/* Poisson by transformed rejection with squeeze (Hoermann 1993, algorithm PTRS), mean >= 10. */
static double poisson_large(struct prng *prng, double mean) {
  const double b = 0.931 + 2.53 * sqrt(mean);
  const double a = -0.059 + 0.02483 * b;
  const double inverse_alpha = 1.1239 + 1.1328 / (b - 3.4);
  const double v_r = 0.9277 - 3.6224 / (b - 2);
  for (;;) {
    const double u = prng_unit(prng) - 0.5;
    const double v = prng_unit(prng) + 0x1.0p-54; /* never 0 */
    const double us = 0.5 - fabs(u);
    const double k = floor((2 * a / us + b) * u + mean + 0.43);
    if (us >= 0.07 && v <= v_r) {
      return k;
    }
    if (k < 0 || (us < 0.013 && v > us)) {
      continue;
    }
    if (real_log(v * inverse_alpha / (a / (us * us) + b)) <=
        k * real_log(mean) - mean - log_factorial(k)) {
      return k;
    }
  }
}

static double poisson(struct prng *prng, double mean) {
  if (mean >= 10) {
    return poisson_large(prng, mean);
  }
  if (mean <= 0) {
    return 0;
  }
  double below = prng_unit(prng);
  double probability = real_exp(-mean);
  double k = 0;
  /* At mean 10 a hundred is beyond the last bit of `below`. */
  while (below >= probability && k < 100) {
    below -= probability;
    k++;
    probability *= mean / k;
  }
  return k;
}

/* 1, 2, ... with that mean >= 1. */
static double geometric(struct prng *prng, double mean) {
  if (mean <= 1) {
    return 1;
  }
  return 1 + floor(prng_exponential(prng) / -real_log(1 - 1 / mean));
}

/* An index below `count` with probability in proportion to its weight. */
static uint32_t weighted_pick(struct prng *prng, const double *weights, uint32_t count) {
  double sum = 0;
  for (uint32_t i = 0; i < count; i++) {
    sum += weights[i];
  }
  double at = prng_unit(prng) * sum;
  for (uint32_t i = 0; i + 1 < count; i++) {
    if (at < weights[i]) {
      return i;
    }
    at -= weights[i];
  }
  return count - 1;
}

static uint32_t count_of(double calls) {
  return calls < TRACE_COUNT_MAX ? (uint32_t)calls : TRACE_COUNT_MAX;
}

/* ---- which function is how heavy ---- */

static uint64_t common_divisor(uint64_t a, uint64_t b) {
  while (b != 0) {
    const uint64_t rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

/* A seeded permutation of the fleet: each quantile is taken exactly once, so the day's total does
 * not hang on whether chance drew the heaviest function. */
static uint32_t permuted(const struct synthetic_day_config *config, uint32_t index) {
  const uint64_t count = config->function_count;
  const uint64_t draw = prng_mix(config->seed ^ UINT64_C(0x5bd1e995));
  uint64_t step = count * 618 / 1000 + draw % (count / 8 + 1);
  step = step > 0 ? step : 1;
  while (common_divisor(step, count) != 1) {
    step++;
  }
  return (uint32_t)((index * step + (draw >> 20) % count) % count);
}

static double quantile_of(double above) {
  const struct quantile *at = CALLS_QUANTILES;
  if (above < at[0].above) {
    return at[0].calls * real_pow(at[0].above / above, TAIL_SLOPE);
  }
  while (above > at[1].above) {
    at++;
  }
  const double share = real_log(above / at[0].above) / real_log(at[1].above / at[0].above);
  return at[0].calls * real_pow(at[1].calls / at[0].calls, share);
}

static double expected_calls(const struct synthetic_day_config *config, double above) {
  double calls = quantile_of(above);
  if (above < TAIL_ABOVE && config->function_count > SAMPLE_FUNCTIONS) {
    double size = real_log(config->function_count / SAMPLE_FUNCTIONS) /
                  real_log(SYNTHETIC_DAY_FUNCTIONS / SAMPLE_FUNCTIONS);
    size = size < 1 ? size : 1;
    calls *= real_pow((TAIL_ABOVE + TAIL_KNEE) / (above + TAIL_KNEE), TAIL_RAISE * size);
  }
  return calls;
}

/* ---- timers ---- */

static void make_timer(const struct synthetic_day_config *config, double position,
                       struct prng *shape, struct prng *day, struct synthetic_function *function) {
  double share = 0;
  for (uint32_t i = 0; i < TIMER_SHARES_COUNT; i++) {
    share += TIMER_SHARES[i].share;
  }
  position *= share;
  uint32_t kind = 0;
  while (kind + 1 < TIMER_SHARES_COUNT && position >= TIMER_SHARES[kind].share) {
    position -= TIMER_SHARES[kind].share;
    kind++;
  }
  const uint32_t period = TIMER_SHARES[kind].period_minutes;
  const bool has_own_phase = prng_unit(shape) >= TIMER_ON_THE_HOUR;
  const uint32_t own_phase = (uint32_t)prng_below(shape, period);
  const bool is_late = prng_unit(shape) < TIMER_LATE && period > 1;
  const bool is_several = prng_unit(shape) < TIMER_SEVERAL_CALLS;
  const double several = floor(2 * real_pow(TIMER_CALLS_MAX / 2, prng_unit(shape)));
  const double calls = (is_several ? several : 1) * config->load_scale;

  for (uint32_t minute = has_own_phase ? own_phase : 0; minute < TRACE_MINUTES; minute += period) {
    const bool slips = prng_unit(day) < TIMER_LATE_FIRINGS && is_late;
    const double extra = prng_unit(day) < calls - floor(calls) ? 1 : 0;
    const uint32_t at = slips && minute + 1 < TRACE_MINUTES ? minute + 1 : minute;
    function->counts[at] = count_of(floor(calls) + extra);
  }
  function->trigger = SYNTHETIC_TIMER;
}

/* ---- functions that are no timers ---- */

/* How the rate moves over the day, up to a factor. */
struct rhythm {
  double daily;       /* a of 1 + a cos, 0 to 1 */
  double peak_minute; /* where that is highest */
  double varies;      /* c of the bursts; 0: none */
  uint32_t period;    /* > 0: bursts are single minutes at this period */
  uint32_t phase;
  double burst_minutes;
  uint32_t window_begin;
  uint32_t window_minutes; /* TRACE_MINUTES: all day */
};

/* Periods that timers don't have: those are counted among TIMER_SHARES. */
static const uint32_t REGULAR_PERIODS[] = {3, 4};

enum { REGULAR_PERIODS_COUNT = sizeof(REGULAR_PERIODS) / sizeof(REGULAR_PERIODS[0]) };

/* A window no shorter than c allows: within it the rate varies too. */
static void rhythm_set_window(struct rhythm *rhythm, double varies, double length, double begin,
                              bool is_at_midnight) {
  const double shortest = TRACE_MINUTES / (1 + varies);
  const double low = shortest > WINDOW_MINUTES_MIN ? shortest : WINDOW_MINUTES_MIN;
  if (low >= WINDOW_MINUTES_MAX) {
    return;
  }
  rhythm->window_minutes = (uint32_t)(low * real_pow(WINDOW_MINUTES_MAX / low, length));
  rhythm->window_begin = is_at_midnight ? 0 : (uint32_t)(begin * 24) * 60;
}

/* Every draw is made whatever the outcome, so that the stream stays aligned. */
static struct rhythm rhythm_make(struct prng *shape, double calls) {
  const double magnitude = real_log(calls > 1 ? calls : 1) / LOG_10;
  const bool is_steady = prng_unit(shape) < STEADY_BASE + STEADY_SLOPE * magnitude;
  double varies =
      real_pow(10, VARIES_BASE + VARIES_SLOPE * magnitude + VARIES_DEVIATION * prng_normal(shape));
  varies = varies < VARIES_MAX ? varies : VARIES_MAX;
  const bool swings = prng_unit(shape) < DAILY_SHARE;
  const double swing = prng_unit(shape);
  const double anywhere = prng_unit(shape) * TRACE_MINUTES;
  const double afternoon = PEAK_MINUTE + PEAK_DEVIATION * prng_normal(shape);
  const bool peaks_afternoon = prng_unit(shape) < PEAK_SHARE;
  const bool is_regular = prng_unit(shape) < REGULAR_SHARE;
  const double own_phase = prng_unit(shape);
  const bool has_own_phase = prng_unit(shape) >= TIMER_ON_THE_HOUR;
  const double burst = BURST_MEDIAN_MINUTES * real_exp(BURST_DEVIATION * prng_normal(shape));
  const bool has_window = prng_unit(shape) < WINDOW_SHARE;
  const double length = prng_unit(shape);
  const double begin = prng_unit(shape);
  const bool is_at_midnight = prng_unit(shape) < WINDOW_AT_MIDNIGHT;

  struct rhythm rhythm = {.peak_minute = peaks_afternoon ? afternoon : anywhere,
                          .window_minutes = TRACE_MINUTES};
  if (is_steady) {
    return rhythm;
  }
  if (varies <= DAILY_VARIES_MAX) {
    rhythm.daily = sqrt(2 * varies);
    return rhythm;
  }
  if (is_regular && varies >= REGULAR_VARIES_MIN && varies <= REGULAR_VARIES_MAX) {
    uint32_t i = 0;
    while (i + 1 < REGULAR_PERIODS_COUNT && REGULAR_PERIODS[i + 1] <= 1 + varies) {
      i++;
    }
    rhythm.period = REGULAR_PERIODS[i];
    rhythm.phase = has_own_phase ? (uint32_t)(own_phase * rhythm.period) : 0;
    return rhythm;
  }
  /* Independent factors: 1 + c of the product is the product of theirs. */
  if (has_window) {
    rhythm_set_window(&rhythm, varies, length, begin, is_at_midnight);
    varies = (1 + varies) * rhythm.window_minutes / TRACE_MINUTES - 1;
  } else if (swings) {
    rhythm.daily = swing;
    varies = (1 + varies) / (1 + swing * swing / 2) - 1;
  }
  rhythm.varies = varies > 0 ? varies : 0;
  rhythm.burst_minutes = burst > 1 ? burst : 1;
  return rhythm;
}

/* On for a share q of the time with 1 + c = (1 + level's c) / q, in runs of geometric length. */
static void bursts_make(const struct rhythm *rhythm, struct prng *day, double *weights) {
  const double level_varies =
      rhythm->varies < BURST_LEVEL_VARIES ? rhythm->varies : BURST_LEVEL_VARIES;
  const double on_share = (1 + level_varies) / (1 + rhythm->varies);
  const double deviation = sqrt(real_log(1 + level_varies));
  double on_minutes = rhythm->burst_minutes;
  if (on_minutes > on_share * rhythm->window_minutes) {
    on_minutes = on_share * rhythm->window_minutes;
  }
  const double off_minutes = on_minutes * (1 - on_share) / on_share;
  bool is_on = prng_unit(day) < on_share;
  double minute = 0;
  while (minute < TRACE_MINUTES) {
    const double end = minute + geometric(day, is_on ? on_minutes : off_minutes);
    const double level = is_on ? real_exp(deviation * prng_normal(day)) : 0;
    for (; minute < end && minute < TRACE_MINUTES; minute++) {
      weights[(uint32_t)minute] *= level;
    }
    is_on = !is_on || off_minutes < 0.5;
  }
}

/* 1 + a cos(x). cos(x + d) from cos(x) and sin(x): a rotation a minute costs less than a cosine. */
static void daily_make(const struct rhythm *rhythm, double *weights) {
  /* A peak before midnight is that of the day before. */
  const double peak_turns = 1 + rhythm->peak_minute / TRACE_MINUTES;
  const double cos_step = real_cos_turns(1.0 / TRACE_MINUTES);
  const double sin_step = real_sin_turns(1.0 / TRACE_MINUTES);
  double c = real_cos_turns(peak_turns);
  double s = -real_sin_turns(peak_turns);
  for (uint32_t i = 0; i < TRACE_MINUTES; i++) {
    /* A little more than 0 at the lowest: a single burst may fall there. */
    weights[i] *= 1.0001 + rhythm->daily * c;
    const double next = c * cos_step - s * sin_step;
    s = s * cos_step + c * sin_step;
    c = next;
  }
}

static bool window_has(const struct rhythm *rhythm, uint32_t minute) {
  return (minute + TRACE_MINUTES - rhythm->window_begin) % TRACE_MINUTES < rhythm->window_minutes;
}

/* Fill `weights`; returns their sum, above 0. */
static double rhythm_play(const struct rhythm *rhythm, struct prng *day, double *weights) {
  for (uint32_t i = 0; i < TRACE_MINUTES; i++) {
    weights[i] = 1;
  }
  if (rhythm->varies > 0) {
    bursts_make(rhythm, day, weights);
  }
  if (rhythm->daily > 0) {
    daily_make(rhythm, weights);
  }
  double sum = 0;
  for (uint32_t i = 0; i < TRACE_MINUTES; i++) {
    const bool is_off = (rhythm->period > 0 && i % rhythm->period != rhythm->phase) ||
                        (rhythm->window_minutes < TRACE_MINUTES && !window_has(rhythm, i));
    weights[i] = is_off ? 0 : weights[i];
    sum += weights[i];
  }
  if (sum > 0) {
    return sum;
  }
  /* No burst fell into this day, or into its window. */
  const uint32_t first = (uint32_t)prng_below(day, rhythm->window_minutes);
  uint32_t length = (uint32_t)ceil(rhythm->burst_minutes);
  length = length < rhythm->window_minutes - first ? length : rhythm->window_minutes - first;
  for (uint32_t i = 0; i < length; i++) {
    weights[(rhythm->window_begin + first + i) % TRACE_MINUTES] = 1;
  }
  return length;
}

/* The first minute whose share of the cumulated weights lies above `at`. */
static uint32_t minute_above(const double *cumulated, double at) {
  uint32_t low = 0;
  uint32_t high = TRACE_MINUTES - 1;
  while (low < high) {
    const uint32_t middle = (low + high) / 2;
    if (cumulated[middle] > at) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

/* Makes `weights` cumulative. */
static void throw_calls(double calls, struct prng *day, double *weights, uint32_t *counts) {
  double sum = 0;
  for (uint32_t i = 0; i < TRACE_MINUTES; i++) {
    sum += weights[i];
    weights[i] = sum;
  }
  for (double i = 0; i < calls; i++) {
    /* The product may round up to the sum itself, beyond the last minute with weight. */
    const double at = prng_unit(day) * sum * (1 - 1e-12);
    counts[minute_above(weights, at)]++;
  }
}

static void make_aperiodic(const struct synthetic_day_config *config, double above,
                           struct prng *shape, struct prng *day,
                           struct synthetic_function *function) {
  const double calls = expected_calls(config, above) * config->load_scale;
  const bool is_heavy = above < HEAVY_ABOVE;
  function->trigger = (enum synthetic_trigger)weighted_pick(
      shape, is_heavy ? TRIGGER_SHARES_HEAVY : TRIGGER_SHARES, SYNTHETIC_TRIGGERS);
  const struct rhythm rhythm = rhythm_make(shape, calls);
  double weights[TRACE_MINUTES];
  const double sum = rhythm_play(&rhythm, day, weights);
  if (calls < SPARSE_CALLS) {
    const double drawn = poisson(day, calls);
    throw_calls(drawn > 1 ? drawn : 1, day, weights, function->counts);
    return;
  }
  for (uint32_t i = 0; i < TRACE_MINUTES; i++) {
    function->counts[i] = count_of(poisson(day, calls * weights[i] / sum));
  }
}

/* ---- names ---- */

static void hash_make(const struct synthetic_day_config *config, uint64_t kind, uint64_t id,
                      uint64_t ret_hash[4]) {
  struct prng prng;
  stream_init(&prng, config, STREAM_HASH, 0);
  const uint64_t key = prng_next(&prng) ^ prng_mix(id << 2 | kind);
  for (uint64_t i = 0; i < 4; i++) {
    ret_hash[i] = prng_mix(key + i * UINT64_C(0x9e3779b97f4a7c15));
  }
}

static void make_names(const struct synthetic_day_config *config, uint32_t index,
                       struct synthetic_function *function) {
  const uint32_t block = index / APP_BLOCK * APP_BLOCK;
  struct prng prng;
  stream_init(&prng, config, STREAM_APP, block);
  uint32_t owner = block;
  uint32_t app = block;
  for (;;) {
    const bool is_single = prng_unit(&prng) < APP_SINGLE;
    const double more = 2 + floor(APP_MORE_MEAN * prng_exponential(&prng));
    const bool is_new_owner = prng_unit(&prng) < OWNER_NEW;
    owner = is_new_owner ? app : owner;
    const uint32_t size = is_single ? 1 : (uint32_t)more;
    if (index < app + size) {
      break;
    }
    app += size;
  }
  hash_make(config, 0, owner, function->owner_hash);
  hash_make(config, 1, app, function->app_hash);
  hash_make(config, 2, index, function->function_hash);
}

/* ---- the day ---- */

struct synthetic_day_config synthetic_day_default(uint32_t day) {
  return (struct synthetic_day_config){.function_count = SYNTHETIC_DAY_FUNCTIONS,
                                       .day = day,
                                       .seed = SYNTHETIC_DAY_SEED,
                                       .load_scale = 1};
}

const char *synthetic_trigger_name(enum synthetic_trigger trigger) {
  CHECK_LT(trigger, SYNTHETIC_TRIGGERS);
  return TRIGGER_NAMES[trigger];
}

void synthetic_day_make_function(const struct synthetic_day_config *config, uint32_t index,
                                 struct synthetic_function *ret_function) {
  CHECK_LT(index, config->function_count);
  CHECK_LE(config->function_count, TRACE_FUNCTIONS_MAX);
  CHECK(config->load_scale >= SYNTHETIC_SCALE_MIN && config->load_scale <= SYNTHETIC_SCALE_MAX);
  *ret_function = (struct synthetic_function){.calls_count = 0};
  struct prng shape;
  struct prng day;
  stream_init(&shape, config, STREAM_SHAPE, index);
  stream_init(&day, config, STREAM_DAYS + config->day, index);

  double timers_share = 0;
  for (uint32_t i = 0; i < TIMER_SHARES_COUNT; i++) {
    timers_share += TIMER_SHARES[i].share;
  }
  const double timers = floor(timers_share * config->function_count + 0.5);
  const double position = permuted(config, index);
  if (position < timers) {
    make_timer(config, (position + 0.5) / timers, &shape, &day, ret_function);
  } else {
    const double above = (position - timers + 0.5) / (config->function_count - timers);
    make_aperiodic(config, above, &shape, &day, ret_function);
  }
  for (uint32_t i = 0; i < TRACE_MINUTES; i++) {
    ret_function->calls_count += ret_function->counts[i];
  }
  if (ret_function->calls_count == 0) {
    ret_function->counts[prng_below(&day, TRACE_MINUTES)] = 1;
    ret_function->calls_count = 1;
  }
  make_names(config, index, ret_function);
}

static void synthetic_day_build(const struct synthetic_day_config *config,
                                struct trace_builder *builder) {
  struct synthetic_function function;
  for (uint32_t index = 0; index < config->function_count; index++) {
    synthetic_day_make_function(config, index, &function);
    trace_builder_begin_function(builder);
    for (uint32_t minute = 0; minute < TRACE_MINUTES; minute++) {
      trace_builder_add(builder, minute, function.counts[minute]);
    }
    trace_builder_end_function(builder);
  }
}

size_t synthetic_day_bytes(const struct synthetic_day_config *config) {
  struct trace_builder builder;
  trace_builder_init_measuring(&builder);
  synthetic_day_build(config, &builder);
  return trace_builder_bytes(&builder);
}

const struct trace *synthetic_day_init(void *memory, const struct synthetic_day_config *config) {
  struct trace_builder builder;
  /* The same rows as those measured: the limit can't be passed. */
  trace_builder_init(&builder, memory, config->function_count, UINT32_MAX);
  synthetic_day_build(config, &builder);
  return trace_builder_finish(&builder);
}
