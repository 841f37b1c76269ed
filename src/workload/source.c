#include "workload/source.h"

#include "base/check.h"

/* Later than any run: 146 years. */
#define SOURCE_HORIZON_NS (INT64_MAX / 2)

/* A stretch of time over which the rate is constant. */
struct piece {
  double rate_per_ns;
  int64_t end_ns;
};

/* Find the piece in which `from_ns` lies; false if no request can come any more. */
static bool source_open_piece(const struct source *source,
                              const struct source_environment *environment, int64_t from_ns,
                              struct piece *ret_piece) {
  if (source->is_growing && from_ns < source->growth_start.ns) {
    *ret_piece = (struct piece){.rate_per_ns = 0, .end_ns = source->growth_start.ns};
    return true;
  }
  double rate = source->rate / (double)NS_PER_S;
  int64_t end_ns = INT64_MAX;
  if (environment->rate != NULL) {
    const uint32_t step = ladder_step_at(environment->rate, (struct instant){from_ns});
    if (step == environment->rate->step_count) {
      return false;
    }
    rate *= environment->rate->values[step];
    end_ns = (from_ns / environment->rate->period_ns + 1) * environment->rate->period_ns;
  }
  *ret_piece = (struct piece){.rate_per_ns = rate, .end_ns = end_ns};
  return true;
}

/* Calls in a minute of the trace to requests a nanosecond. */
static double trace_rate_per_ns(const struct source_environment *environment, double calls) {
  return calls * environment->trace_scale / (60.0 * (double)NS_PER_S);
}

/* On to the next day; whole days that `mass` outlasts are taken from it at once, so that a function
 * of one call a day at a thousandth of its rate costs no thousand days of steps. */
static void source_wrap_trace(struct source *source, const struct source_environment *environment,
                              double *mass) {
  const struct trace *trace = environment->trace;
  const uint32_t function = source->trace.function;
  source->trace.base += TRACE_MINUTES;
  if (environment->rate == NULL) {
    const double day_mass =
        trace_rate_per_ns(environment, (double)trace->functions[function].calls_count) *
        (double)environment->interval.ns;
    if (*mass > day_mass) {
      double days = *mass / day_mass;
      /* A day is never shorter than 24 minutes: beyond this lies the horizon anyway. */
      days = days < 1e8 ? (double)(int64_t)days : 1e8;
      *mass -= days * day_mass;
      source->trace.base += (int64_t)days * TRACE_MINUTES;
    }
  }
  source->trace.cursor = trace_first(trace, function);
  CHECK(trace_next(trace, function, &source->trace.cursor));
}

static bool source_trace_piece(struct source *source, const struct source_environment *environment,
                               int64_t from_ns, double *mass, struct piece *ret_piece) {
  const int64_t interval_ns = environment->interval.ns;
  const int64_t horizon = SOURCE_HORIZON_NS / interval_ns;
  int64_t at = source->trace.base + source->trace.cursor.minute;
  while ((at + 1) * interval_ns <= from_ns) {
    if (!trace_next(environment->trace, source->trace.function, &source->trace.cursor)) {
      source_wrap_trace(source, environment, mass);
    }
    at = source->trace.base + source->trace.cursor.minute;
    if (at >= horizon) {
      return false;
    }
  }
  const int64_t begin_ns = at * interval_ns;
  double calls = source->trace.cursor.count;
  int64_t end_ns = begin_ns + interval_ns;
  if (from_ns < begin_ns) {
    calls = 0;
    end_ns = begin_ns;
  }
  if (environment->rate != NULL) {
    const uint32_t step = ladder_step_at(environment->rate, (struct instant){from_ns});
    if (step == environment->rate->step_count) {
      return false;
    }
    calls *= environment->rate->values[step];
    const int64_t step_end_ns =
        (from_ns / environment->rate->period_ns + 1) * environment->rate->period_ns;
    end_ns = end_ns < step_end_ns ? end_ns : step_end_ns;
  }
  *ret_piece =
      (struct piece){.rate_per_ns = trace_rate_per_ns(environment, calls), .end_ns = end_ns};
  return true;
}

void source_begin_trace(struct source *source, const struct source_environment *environment,
                        uint32_t function, uint32_t offset) {
  CHECK_LT(offset, TRACE_MINUTES);
  source->trace.function = function;
  source->trace.base = -(int64_t)offset;
  source->trace.cursor = trace_first(environment->trace, function);
  CHECK(trace_next(environment->trace, function, &source->trace.cursor));
}

/* Where the integral of the rate from `from` reaches `mass`. */
static struct instant source_next_after(struct source *source,
                                        const struct source_environment *environment,
                                        struct instant from, double mass) {
  int64_t from_ns = from.ns;
  double carry_ns = source->carry_ns;
  while (from_ns < SOURCE_HORIZON_NS) {
    struct piece piece = {.rate_per_ns = 0};
    const bool goes_on = source->type == SOURCE_TRACE
                             ? source_trace_piece(source, environment, from_ns, &mass, &piece)
                             : source_open_piece(source, environment, from_ns, &piece);
    if (!goes_on) {
      break;
    }
    const double span_ns = (double)(piece.end_ns - from_ns) - carry_ns;
    if (piece.rate_per_ns > 0) {
      const double needed_ns = mass / piece.rate_per_ns;
      if (needed_ns < span_ns && needed_ns < (double)SOURCE_HORIZON_NS) {
        const double step_ns = carry_ns + needed_ns;
        const int64_t whole_ns = (int64_t)step_ns;
        source->carry_ns = step_ns - (double)whole_ns;
        return (struct instant){from_ns + whole_ns};
      }
      mass -= piece.rate_per_ns * span_ns;
      mass = mass > 0 ? mass : 0;
    }
    from_ns = piece.end_ns;
    carry_ns = 0;
  }
  return INSTANT_NEVER;
}

struct instant source_first(struct source *source, const struct source_environment *environment) {
  const double mass = source->is_fixed ? prng_unit(&source->prng) : prng_exponential(&source->prng);
  return source_next_after(source, environment, INSTANT_ZERO, mass);
}

struct instant source_next(struct source *source, const struct source_environment *environment,
                           struct instant from) {
  const double mass = source->is_fixed ? 1 : prng_exponential(&source->prng);
  return source_next_after(source, environment, from, mass);
}

uint32_t source_pick_model(struct source *source, struct instant at) {
  uint64_t count = source->model_count;
  if (source->is_growing) {
    const uint64_t joined =
        1 + (uint64_t)((at.ns - source->growth_start.ns) / source->growth_period.ns);
    count = joined < count ? joined : count;
  }
  return count > 1 ? (uint32_t)prng_below(&source->prng, count) : 0;
}
