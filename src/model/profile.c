#include "model/profile.h"

#include <stdbool.h>
#include <string.h>

enum {
  FIXED_COLUMNS = 5,
  COLUMNS_MAX = FIXED_COLUMNS + MODEL_BATCH_KINDS,
  /* Digits of a millisecond behind the point that are nanoseconds. */
  MS_DECIMALS = 6,
};

/* Part of the text; not NUL terminated. */
struct slice {
  const char *at;
  size_t bytes;
};

struct parser {
  struct slice rest;
  uint32_t line;
  uint32_t clock_mhz;
  uint32_t columns_count; /* 0 until the header was read */
  uint32_t batch_kinds;
  uint32_t batch_sizes[MODEL_BATCH_KINDS];
  const char *message; /* why parsing stopped */
};

static bool slice_equals(struct slice slice, const char *text) {
  return slice.bytes == strlen(text) && memcmp(slice.at, text, slice.bytes) == 0;
}

/* Cut `from` at the first `separator`: what is before it is returned, what is after it stays. */
static struct slice slice_cut(struct slice *from, char separator) {
  const char *found = from->bytes == 0 ? NULL : memchr(from->at, separator, from->bytes);
  const size_t bytes = found == NULL ? from->bytes : (size_t)(found - from->at);
  const struct slice head = {from->at, bytes};
  const size_t skipped = found == NULL ? bytes : bytes + 1;
  from->at += skipped;
  from->bytes -= skipped;
  return head;
}

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

static bool parse_whole(struct slice text, uint64_t max, uint64_t *ret_value) {
  uint64_t value = 0;
  if (text.bytes == 0) {
    return false;
  }
  for (size_t i = 0; i < text.bytes; i++) {
    if (!is_digit(text.at[i])) {
      return false;
    }
    value = value * 10 + (uint64_t)(text.at[i] - '0');
    if (value > max) {
      return false;
    }
  }
  *ret_value = value;
  return true;
}

/* Milliseconds, "8.32", as nanoseconds; decimals past the sixth are dropped. Own code, because
 * strtod() follows the locale and rounds. */
static bool parse_ms(struct slice text, struct duration *ret_duration) {
  const uint64_t ms_max = 3600 * 1000;
  uint64_t whole_ms = 0;
  const bool has_point = text.bytes > 0 && memchr(text.at, '.', text.bytes) != NULL;
  if (!parse_whole(slice_cut(&text, '.'), ms_max, &whole_ms) || (has_point && text.bytes == 0)) {
    return false;
  }
  int64_t fraction_ns = 0;
  for (size_t i = 0; i < text.bytes || i < MS_DECIMALS; i++) {
    const char c = i < text.bytes ? text.at[i] : '0';
    if (!is_digit(c)) {
      return false;
    }
    if (i < MS_DECIMALS) {
      fraction_ns = fraction_ns * 10 + (c - '0');
    }
  }
  ret_duration->ns = (int64_t)whole_ms * NS_PER_MS + fraction_ns;
  return ret_duration->ns > 0;
}

/* "bN_ms" as N; 0 if it is something else. */
static uint32_t batch_of_column(struct slice name) {
  const size_t suffix_bytes = strlen("_ms");
  uint64_t batch = 0;
  if (name.bytes < 2 + suffix_bytes || name.at[0] != 'b' ||
      memcmp(name.at + name.bytes - suffix_bytes, "_ms", suffix_bytes) != 0) {
    return 0;
  }
  const struct slice digits = {name.at + 1, name.bytes - 1 - suffix_bytes};
  return parse_whole(digits, MODEL_BATCH_MAX, &batch) ? (uint32_t)batch : 0;
}

static bool parse_header(struct parser *parser, struct slice line) {
  static const char *const fixed[FIXED_COLUMNS] = {"model", "input_bytes", "output_bytes",
                                                   "weights_bytes", "load_ms"};
  for (int i = 0; i < FIXED_COLUMNS; i++) {
    if (!slice_equals(slice_cut(&line, '\t'), fixed[i])) {
      parser->message = "the header must begin with the columns model, input_bytes, output_bytes, "
                        "weights_bytes, load_ms, separated by tabs";
      return false;
    }
  }
  while (line.bytes > 0) {
    const uint32_t batch = batch_of_column(slice_cut(&line, '\t'));
    const uint32_t kinds = parser->batch_kinds;
    if (batch == 0 || (kinds == 0 ? batch != 1 : batch <= parser->batch_sizes[kinds - 1])) {
      parser->message = "columns after load_ms must be b1_ms and then further bN_ms with N rising "
                        "to at most 64";
      return false;
    }
    if (kinds == MODEL_BATCH_KINDS) {
      parser->message = "more than 8 batch columns: leave some out";
      return false;
    }
    parser->batch_sizes[parser->batch_kinds++] = batch;
  }
  if (parser->batch_kinds == 0) {
    parser->message = "column b1_ms is missing";
    return false;
  }
  parser->columns_count = FIXED_COLUMNS + parser->batch_kinds;
  return true;
}

static bool parse_comment(struct parser *parser, struct slice line) {
  while (line.bytes > 0 && (line.at[0] == '#' || line.at[0] == ' ')) {
    line.at++;
    line.bytes--;
  }
  if (!slice_equals(slice_cut(&line, ':'), "clock_mhz")) {
    return true;
  }
  while (line.bytes > 0 && line.at[0] == ' ') {
    line.at++;
    line.bytes--;
  }
  uint64_t clock_mhz = 0;
  if (!parse_whole(line, MODEL_CLOCK_MAX_MHZ, &clock_mhz) || clock_mhz == 0) {
    parser->message = "clock_mhz must be a whole number from 1 to 100000";
    return false;
  }
  parser->clock_mhz = (uint32_t)clock_mhz;
  return true;
}

static bool parse_sizes(struct parser *parser, const struct slice *fields,
                        struct model_spec *spec) {
  if (!parse_whole(fields[1], UINT32_MAX, &spec->input_bytes)) {
    parser->message = "input_bytes must be a whole number below 4294967296";
    return false;
  }
  if (!parse_whole(fields[2], UINT32_MAX, &spec->output_bytes)) {
    parser->message = "output_bytes must be a whole number below 4294967296";
    return false;
  }
  /* A million pages: 16 TiB. */
  if (!parse_whole(fields[3], (uint64_t)MODEL_PAGE_BYTES << 20, &spec->weights_bytes) ||
      spec->weights_bytes == 0) {
    parser->message = "weights_bytes must be a whole number from 1 to 17592186044416";
    return false;
  }
  spec->weights_pages = model_pages_of(spec->weights_bytes);
  return true;
}

static bool parse_row(struct parser *parser, struct slice line, struct model_spec *ret_spec) {
  struct slice fields[COLUMNS_MAX];
  for (uint32_t i = 0; i < parser->columns_count; i++) {
    fields[i] = slice_cut(&line, '\t');
    const bool is_last = i + 1 == parser->columns_count;
    if (fields[i].bytes == 0 || (is_last && line.bytes > 0)) {
      parser->message = "a row must have as many tab separated fields as the header, none empty";
      return false;
    }
  }
  struct model_spec spec = {.batch_kinds = parser->batch_kinds, .clock_mhz = parser->clock_mhz};
  if (fields[0].bytes >= MODEL_NAME_BYTES || memchr(fields[0].at, '\0', fields[0].bytes) != NULL) {
    parser->message = "model must be a name of at most 63 characters";
    return false;
  }
  memcpy(spec.name, fields[0].at, fields[0].bytes);
  if (!parse_sizes(parser, fields, &spec)) {
    return false;
  }
  if (!parse_ms(fields[4], &spec.load)) {
    parser->message = "load_ms must be a decimal number above 0 and at most an hour";
    return false;
  }
  for (uint32_t i = 0; i < parser->batch_kinds; i++) {
    spec.batch_sizes[i] = parser->batch_sizes[i];
    if (!parse_ms(fields[FIXED_COLUMNS + i], &spec.execute[i])) {
      parser->message = "every bN_ms must be a decimal number above 0 and at most an hour";
      return false;
    }
  }
  if (!model_spec_is_valid(&spec)) {
    parser->message = "a value is out of range: durations may be at most an hour";
    return false;
  }
  *ret_spec = spec;
  return true;
}

static enum err add_row(struct parser *parser, struct slice line, struct model_spec *specs,
                        uint32_t capacity, uint32_t *count) {
  struct model_spec spec;
  if (!parse_row(parser, line, &spec)) {
    return ERR_MALFORMED;
  }
  if (profile_find(specs, *count, spec.name) != NULL) {
    parser->message = "model stands here a second time: names must differ";
    return ERR_MALFORMED;
  }
  if (*count == capacity) {
    parser->message = "more rows than there is room for";
    return ERR_FULL;
  }
  specs[(*count)++] = spec;
  return ERR_OK;
}

static enum err parse_line(struct parser *parser, struct slice line, struct model_spec *specs,
                           uint32_t capacity, uint32_t *count) {
  if (line.bytes > 0 && line.at[line.bytes - 1] == '\r') {
    line.bytes--;
  }
  if (line.bytes == 0) {
    return ERR_OK;
  }
  if (line.at[0] == '#') {
    return parse_comment(parser, line) ? ERR_OK : ERR_MALFORMED;
  }
  if (parser->columns_count == 0) {
    return parse_header(parser, line) ? ERR_OK : ERR_MALFORMED;
  }
  return add_row(parser, line, specs, capacity, count);
}

enum err profile_parse(const char *text, size_t text_bytes, struct model_spec *ret_specs,
                       uint32_t capacity, uint32_t *ret_count, struct profile_fault *ret_fault) {
  struct parser parser = {.rest = {text, text_bytes}, .clock_mhz = PROFILE_CLOCK_MHZ};
  uint32_t count = 0;
  enum err error = ERR_OK;
  while (error == ERR_OK && parser.rest.bytes > 0) {
    parser.line++;
    error = parse_line(&parser, slice_cut(&parser.rest, '\n'), ret_specs, capacity, &count);
  }
  if (error == ERR_OK && count == 0) {
    parser.line++;
    parser.message = parser.columns_count == 0 ? "the header row is missing"
                                               : "there is no row below the header";
    error = ERR_MALFORMED;
  }
  if (error != ERR_OK) {
    *ret_fault = (struct profile_fault){.line = parser.line, .message = parser.message};
    return error;
  }
  *ret_count = count;
  return ERR_OK;
}

const struct model_spec *profile_find(const struct model_spec *specs, uint32_t count,
                                      const char *name) {
  for (uint32_t i = 0; i < count; i++) {
    if (strcmp(specs[i].name, name) == 0) {
      return &specs[i];
    }
  }
  return NULL;
}
