#include "client/tally.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

#include "model/status.h"

void tally_on_sent(struct tally *tally, struct duration lag) {
  tally->due_count++;
  tally->sent_count++;
  histogram_record(&tally->lag, lag.ns);
}

void tally_on_not_sent(struct tally *tally) {
  tally->due_count++;
  tally->not_sent_count++;
}

void tally_on_lost(struct tally *tally) {
  tally->lost_count++;
}

void tally_on_answered(struct tally *tally, uint32_t result, struct duration latency,
                       struct duration slo) {
  tally->results[result < TALLY_RESULTS ? result : TALLY_RESULTS - 1]++;
  if (result == REQUEST_SUCCESS) {
    histogram_record(&tally->latency, latency.ns);
    if (latency.ns <= slo.ns) {
      tally->good_count++;
    }
  }
}

uint64_t tally_answered_count(const struct tally *tally) {
  uint64_t count = 0;
  for (uint32_t i = 0; i < TALLY_RESULTS; i++) {
    count += tally->results[i];
  }
  return count;
}

void tally_merge(struct tally *into, const struct tally *from) {
  into->due_count += from->due_count;
  into->sent_count += from->sent_count;
  into->not_sent_count += from->not_sent_count;
  into->lost_count += from->lost_count;
  for (uint32_t i = 0; i < TALLY_RESULTS; i++) {
    into->results[i] += from->results[i];
  }
  into->good_count += from->good_count;
  into->wrong_count += from->wrong_count;
  histogram_merge(&into->latency, &from->latency);
  histogram_merge(&into->lag, &from->lag);
}

/* ---- text ------------------------------------------------------------------------------------ */

/* A text that is cut when it is full. */
struct text {
  char *bytes;
  size_t capacity_bytes;
  size_t used_bytes; /* without the NUL */
};

__attribute__((format(printf, 2, 3))) static void add(struct text *text, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const size_t left_bytes = text->capacity_bytes - text->used_bytes;
  const int wanted = vsnprintf(text->bytes + text->used_bytes, left_bytes, format, arguments);
  va_end(arguments);
  if (wanted > 0) {
    text->used_bytes += (size_t)wanted < left_bytes ? (size_t)wanted : left_bytes - 1;
  }
}

static double ms(int64_t ns) {
  return (double)ns / 1e6;
}

static double us(int64_t ns) {
  return (double)ns / 1e3;
}

static double quantile_ms(const struct histogram *histogram, double quantile) {
  return ms(histogram_quantile(histogram, quantile));
}

static double quantile_us(const struct histogram *histogram, double quantile) {
  return us(histogram_quantile(histogram, quantile));
}

static double percent(uint64_t part, uint64_t whole) {
  return whole == 0 ? 0 : 100.0 * (double)part / (double)whole;
}

/* "success 10, timed out 2, lost 1", leaving out what did not happen; "none" if nothing did. */
static void add_results(struct text *text, const struct tally *tally) {
  const char *separator = "";
  for (uint32_t i = 0; i < TALLY_RESULTS; i++) {
    if (tally->results[i] > 0) {
      const char *name = i == TALLY_RESULTS - 1 ? "unknown result" : request_result_text((int)i);
      add(text, "%s%s %llu", separator, name, (unsigned long long)tally->results[i]);
      separator = ", ";
    }
  }
  const struct {
    const char *name;
    uint64_t count;
  } others[] = {{"lost", tally->lost_count},
                {"not sent", tally->not_sent_count},
                {"wrong output", tally->wrong_count}};
  for (uint32_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
    if (others[i].count > 0) {
      add(text, "%s%s %llu", separator, others[i].name, (unsigned long long)others[i].count);
      separator = ", ";
    }
  }
  if (separator[0] == '\0') {
    add(text, "none");
  }
}

void tally_write_line(const struct tally *tally, double seconds, uint32_t under_way_count,
                      char *ret_text, size_t capacity_bytes) {
  struct text text = {.bytes = ret_text, .capacity_bytes = capacity_bytes};
  const struct histogram *latency = &tally->latency;
  add(&text, "throughput=%.1f/s goodput=%.1f/s sent=%.1f/s",
      (double)tally->results[REQUEST_SUCCESS] / seconds, (double)tally->good_count / seconds,
      (double)tally->sent_count / seconds);
  add(&text, "  latency ms min=%.3f mean=%.3f p50=%.3f p99=%.3f max=%.3f", ms(latency->min),
      histogram_mean(latency) / 1e6, quantile_ms(latency, 0.5), quantile_ms(latency, 0.99),
      ms(latency->max));
  add(&text, "  send lag us p99=%.0f max=%.0f", quantile_us(&tally->lag, 0.99), us(tally->lag.max));
  add(&text, "  under way %u  results: ", under_way_count);
  add_results(&text, tally);
}

bool tally_write_total(const struct tally *tally, double seconds, uint32_t line, char *ret_text,
                       size_t capacity_bytes) {
  struct text text = {.bytes = ret_text, .capacity_bytes = capacity_bytes};
  const struct histogram *latency = &tally->latency;
  switch (line) {
  case 0:
    add(&text, "Summary of %.3f s: %llu requests were due, %llu sent (%.1f/s), %llu answered",
        seconds, (unsigned long long)tally->due_count, (unsigned long long)tally->sent_count,
        (double)tally->sent_count / seconds, (unsigned long long)tally_answered_count(tally));
    return true;
  case 1:
    add(&text, "Results: ");
    add_results(&text, tally);
    return true;
  case 2:
    add(&text, "Throughput %.1f/s, goodput %.1f/s; %.4f %% of the requests met their SLO",
        (double)tally->results[REQUEST_SUCCESS] / seconds, (double)tally->good_count / seconds,
        percent(tally->good_count, tally->due_count));
    return true;
  case 3:
    add(&text,
        "Latency of successes, ms: min %.3f, mean %.3f, p50 %.3f, p99 %.3f, p99.99 %.3f, max %.3f",
        ms(latency->min), histogram_mean(latency) / 1e6, quantile_ms(latency, 0.5),
        quantile_ms(latency, 0.99), quantile_ms(latency, 0.9999), ms(latency->max));
    return true;
  case 4:
    add(&text, "Lag from due to sent, us: p50 %.0f, p99 %.0f, max %.0f",
        quantile_us(&tally->lag, 0.5), quantile_us(&tally->lag, 0.99), us(tally->lag.max));
    return true;
  default:
    return false;
  }
}
