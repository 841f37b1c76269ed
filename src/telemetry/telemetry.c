#include "telemetry/telemetry.h"

#include <string.h>

/* Rows are formatted at the rate of requests, so numbers are printed here, two digits a step, and
 * not by printf, which is several times dearer and follows the locale. */

static const char DIGIT_PAIRS[200] = {
    "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
    "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
    "8081828384858687888990919293949596979899"};

static const uint64_t POWERS_OF_TEN[20] = {1,
                                           10,
                                           100,
                                           1000,
                                           10000,
                                           100000,
                                           1000000,
                                           10000000,
                                           100000000,
                                           1000000000,
                                           10000000000,
                                           100000000000,
                                           1000000000000,
                                           10000000000000,
                                           100000000000000,
                                           1000000000000000,
                                           10000000000000000,
                                           100000000000000000,
                                           1000000000000000000,
                                           10000000000000000000u};

static unsigned telemetry_count_digits(uint64_t value) {
  const unsigned bits = 64 - (unsigned)__builtin_clzll(value | 1);
  const unsigned digits = bits * 1233 >> 12; /* 1233 / 4096 is log10(2): right or one too small */
  return digits + (value >= POWERS_OF_TEN[digits]);
}

/* `digits` characters, zeros in front. */
static char *telemetry_put_digits(char *at, uint64_t value, unsigned digits) {
  char *const end = at + digits;
  char *position = end;
  while (position - at >= 2) {
    const uint64_t rest = value / 100;
    position -= 2;
    memcpy(position, &DIGIT_PAIRS[(value - rest * 100) * 2], 2);
    value = rest;
  }
  if (position != at) {
    *at = (char)('0' + value % 10);
  }
  return end;
}

static char *telemetry_put_u64(char *at, uint64_t value) {
  if (value < 10) { /* most columns of a row */
    *at = (char)('0' + value);
    return at + 1;
  }
  return telemetry_put_digits(at, value, telemetry_count_digits(value));
}

static char *telemetry_put_u32(char *at, uint32_t value) {
  return telemetry_put_u64(at, value);
}

static char *telemetry_put_i64(char *at, int64_t value) {
  if (value < 0) {
    *at++ = '-';
    return telemetry_put_u64(at, 0 - (uint64_t)value);
  }
  return telemetry_put_u64(at, (uint64_t)value);
}

static char *telemetry_put_text(char *at, const char *text) {
  const size_t length = strlen(text);
  memcpy(at, text, length);
  return at + length;
}

/* 0 < value < 2^53, not an integer. Whole numbers below 10^15 and powers of ten up to 10^18 are
 * exact doubles, so `scaled / power` is the correctly rounded value of what is printed: comparing
 * it with `value` tells whether the text reads back the same. */
static char *telemetry_put_fraction(char *at, double value) {
  uint64_t scaled = 0;
  unsigned decimals = 0;
  for (unsigned tried = 1; tried <= 18; tried++) {
    const double power = (double)POWERS_OF_TEN[tried];
    if (value * power >= 1e15) {
      break;
    }
    scaled = (uint64_t)(value * power + 0.5);
    decimals = tried;
    if ((double)scaled / power == value) {
      break;
    }
  }
  if (decimals == 0) { /* 16 digits before the point already */
    scaled = (uint64_t)(value + 0.5);
  }
  while (decimals > 0 && scaled % 10 == 0) {
    scaled /= 10;
    decimals--;
  }
  at = telemetry_put_u64(at, scaled / POWERS_OF_TEN[decimals]);
  if (decimals > 0) {
    *at++ = '.';
    at = telemetry_put_digits(at, scaled % POWERS_OF_TEN[decimals], decimals);
  }
  return at;
}

static char *telemetry_put_real(char *at, double value) {
  if (value != value) {
    return telemetry_put_text(at, "nan");
  }
  if (value >= 0x1p63 || value <= -0x1p63) {
    return telemetry_put_text(at, value > 0 ? "inf" : "-inf");
  }
  const int64_t whole = (int64_t)value;
  if ((double)whole == value) {
    return telemetry_put_i64(at, whole);
  }
  if (value < 0) {
    *at++ = '-';
    value = -value;
  }
  return telemetry_put_fraction(at, value);
}

#define EVENT_BEGIN(event, file)                                                                   \
  const char *telemetry_file_##event(void) {                                                       \
    return file;                                                                                   \
  }
#define COLUMN(event, type, name)
#define EVENT_END(event)
#include "telemetry/events.def"
#undef EVENT_BEGIN
#undef COLUMN
#undef EVENT_END

/* Each column brings the tab before it; the first tab is skipped. */
#define EVENT_BEGIN(event, file)                                                                   \
  const char *telemetry_header_##event(void) {                                                     \
    static const char text[] = ""
#define COLUMN(event, type, name) "\t" #name
#define EVENT_END(event)                                                                           \
  "\n";                                                                                            \
  return text + 1;                                                                                 \
  }
#include "telemetry/events.def"
#undef EVENT_BEGIN
#undef COLUMN
#undef EVENT_END

#define EVENT_BEGIN(event, file)                                                                   \
  size_t telemetry_format_##event(const struct telemetry_##event *row, char *ret_text,             \
                                  size_t capacity_bytes) {                                         \
    if (capacity_bytes < TELEMETRY_ROW_BYTES_MAX_##event) {                                        \
      return 0;                                                                                    \
    }                                                                                              \
    char *at = ret_text;
#define COLUMN(event, type, name)                                                                  \
  at = telemetry_put_##type(at, row->name);                                                        \
  *at++ = '\t';
#define EVENT_END(event)                                                                           \
  at[-1] = '\n';                                                                                   \
  return (size_t)(at - ret_text);                                                                  \
  }
#include "telemetry/events.def"
#undef EVENT_BEGIN
#undef COLUMN
#undef EVENT_END
