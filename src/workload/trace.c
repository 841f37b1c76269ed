#include "workload/trace.h"

#include <string.h>

#include "base/arena.h"
#include "base/check.h"

/* ---- building ---- */

static uint32_t varint_bytes(uint32_t value) {
  uint32_t bytes = 1;
  while (value >= 0x80) {
    value >>= 7;
    bytes++;
  }
  return bytes;
}

static uint32_t varint_write(unsigned char *at, uint32_t value) {
  uint32_t bytes = 0;
  while (value >= 0x80) {
    at[bytes++] = (unsigned char)(value | 0x80);
    value >>= 7;
  }
  at[bytes++] = (unsigned char)value;
  return bytes;
}

static uint32_t varint_read(const unsigned char *at, uint32_t *ret_value) {
  uint32_t bytes = 0;
  uint32_t value = 0;
  uint32_t shift = 0;
  while (at[bytes] >= 0x80) {
    value |= (uint32_t)(at[bytes++] & 0x7f) << shift;
    shift += 7;
  }
  *ret_value = value | (uint32_t)at[bytes++] << shift;
  return bytes;
}

/* The trace and its functions; the pairs follow. */
static struct trace *trace_carve(struct arena *arena, uint32_t function_count) {
  struct trace *trace = arena_take(arena, 1, sizeof(*trace));
  struct trace_function *functions =
      arena_take(arena, function_count, sizeof(struct trace_function));
  if (trace != NULL) {
    *trace = (struct trace){.functions = functions,
                            .pairs = arena->memory + arena->used_bytes,
                            .function_count = function_count};
  }
  return trace;
}

static size_t trace_head_bytes(uint32_t function_count) {
  struct arena arena;
  arena_init_counting(&arena);
  trace_carve(&arena, function_count);
  return arena.used_bytes;
}

void trace_builder_init_measuring(struct trace_builder *builder) {
  *builder = (struct trace_builder){.trace = NULL, .pairs_bytes_max = UINT32_MAX};
}

size_t trace_builder_bytes(const struct trace_builder *builder) {
  return trace_head_bytes(builder->function_count) + builder->pairs_bytes;
}

void trace_builder_init(struct trace_builder *builder, void *memory, uint32_t function_count,
                        uint32_t pairs_bytes) {
  struct arena arena;
  arena_init(&arena, memory, trace_head_bytes(function_count));
  *builder = (struct trace_builder){.trace = trace_carve(&arena, function_count),
                                    .pairs_bytes_max = pairs_bytes};
}

void trace_builder_begin_function(struct trace_builder *builder) {
  builder->row_begin = builder->pairs_bytes;
  builder->row_calls_count = 0;
  builder->next_minute = 0;
}

void trace_builder_add(struct trace_builder *builder, uint32_t minute, uint32_t count) {
  CHECK_GE(minute, builder->next_minute);
  CHECK_LT(minute, TRACE_MINUTES);
  if (count == 0) {
    return;
  }
  const uint32_t gap = minute - builder->next_minute;
  const uint32_t bytes = varint_bytes(gap) + varint_bytes(count);
  CHECK_LE(bytes, builder->pairs_bytes_max - builder->pairs_bytes);
  if (builder->trace != NULL) {
    unsigned char *at = builder->trace->pairs + builder->pairs_bytes;
    at += varint_write(at, gap);
    varint_write(at, count);
  }
  builder->pairs_bytes += bytes;
  builder->row_calls_count += count;
  builder->next_minute = minute + 1;
}

void trace_builder_end_function(struct trace_builder *builder) {
  if (builder->trace != NULL) {
    CHECK_LT(builder->function_count, builder->trace->function_count);
    builder->trace->functions[builder->function_count] =
        (struct trace_function){.calls_count = builder->row_calls_count,
                                .begin = builder->row_begin,
                                .end = builder->pairs_bytes};
  }
  builder->calls_count += builder->row_calls_count;
  builder->function_count++;
}

const struct trace *trace_builder_finish(struct trace_builder *builder) {
  CHECK_EQ(builder->function_count, builder->trace->function_count);
  builder->trace->pairs_bytes = builder->pairs_bytes;
  builder->trace->calls_count = builder->calls_count;
  return builder->trace;
}

/* ---- walking ---- */

struct trace_cursor trace_first(const struct trace *trace, uint32_t function) {
  CHECK_LT(function, trace->function_count);
  /* One before minute 0: the first gap counts from there. */
  return (struct trace_cursor){.at = trace->functions[function].begin, .minute = UINT32_MAX};
}

bool trace_next(const struct trace *trace, uint32_t function, struct trace_cursor *cursor) {
  if (cursor->at == trace->functions[function].end) {
    return false;
  }
  uint32_t gap = 0;
  cursor->at += varint_read(trace->pairs + cursor->at, &gap);
  cursor->at += varint_read(trace->pairs + cursor->at, &cursor->count);
  cursor->minute += gap + 1;
  return true;
}

/* ---- reading ---- */

enum {
  NAME_FIELDS = 4,
  /* A gap below 1,440 fills two bytes, a count below 2^28 four. */
  ROW_PAIRS_BYTES_MAX = TRACE_MINUTES * 6,
};

static const char *const FIELD_NAMES[NAME_FIELDS] = {"HashOwner", "HashApp", "HashFunction",
                                                     "Trigger"};

struct reader {
  const char *at;
  const char *end;
  uint32_t line; /* from 1 */
  struct workload_fault *fault;
};

/* Field `field` of the row, counted from 0, in the words of the file's header. */
static void reader_name_place(const struct reader *reader, struct text_builder *text,
                              uint32_t field) {
  text_append(text, "line ");
  text_append_number(text, reader->line);
  if (field < NAME_FIELDS) {
    text_append(text, ", field ");
    text_append(text, FIELD_NAMES[field]);
  } else {
    text_append(text, ", minute ");
    text_append_number(text, (int64_t)field - NAME_FIELDS + 1);
  }
  text_append(text, ": ");
}

static enum err reader_fail(const struct reader *reader, uint32_t field, const char *message) {
  struct text_builder text = fault_begin(reader->fault);
  reader_name_place(reader, &text, field);
  text_append(&text, message);
  return ERR_MALFORMED;
}

static enum err reader_fail_value(const struct reader *reader, uint32_t field, const char *value,
                                  const char *value_end, const char *message) {
  struct text_builder text = fault_begin(reader->fault);
  reader_name_place(reader, &text, field);
  text_append_quoted(&text, value, (size_t)(value_end - value));
  text_append(&text, message);
  return ERR_MALFORMED;
}

/* The row ends here: at a newline, before a carriage return and newline, or at the end. */
static bool reader_is_at_row_end(const struct reader *reader) {
  return reader->at == reader->end || *reader->at == '\n' ||
         (*reader->at == '\r' && (reader->at + 1 == reader->end || reader->at[1] == '\n'));
}

static void reader_skip_row_end(struct reader *reader) {
  if (reader->at < reader->end && *reader->at == '\r') {
    reader->at++;
  }
  if (reader->at < reader->end && *reader->at == '\n') {
    reader->at++;
  }
  reader->line++;
}

/* Read one field, quoted or not, up to the comma or the row's end. */
static enum err reader_take_field(struct reader *reader, uint32_t field, const char **ret_begin,
                                  const char **ret_end) {
  if (reader->at < reader->end && *reader->at == '"') {
    *ret_begin = ++reader->at;
    while (reader->at < reader->end && *reader->at != '"' && *reader->at != '\n') {
      reader->at++;
    }
    if (reader->at == reader->end || *reader->at != '"') {
      return reader_fail(reader, field, "the quote is not closed; add the closing '\"'");
    }
    *ret_end = reader->at++;
    if (!reader_is_at_row_end(reader) && *reader->at != ',') {
      return reader_fail(reader, field, "text after the closing quote; end the field with ','");
    }
    return ERR_OK;
  }
  *ret_begin = reader->at;
  while (!reader_is_at_row_end(reader) && *reader->at != ',') {
    reader->at++;
  }
  *ret_end = reader->at;
  return ERR_OK;
}

/* Step over the comma between two fields; `field` is the one that comes next. */
static enum err reader_take_comma(struct reader *reader, uint32_t field) {
  if (reader->at == reader->end || *reader->at != ',') {
    return reader_fail(reader, field,
                       "missing; a row has 4 names and 1440 counts, parted by commas");
  }
  reader->at++;
  return ERR_OK;
}

static enum err reader_take_header(struct reader *reader) {
  for (uint32_t field = 0; field < NAME_FIELDS + TRACE_MINUTES; field++) {
    if (field > 0) {
      const enum err error = reader_take_comma(reader, field);
      if (error != ERR_OK) {
        return error;
      }
    }
    const char *begin = NULL;
    const char *end = NULL;
    const enum err error = reader_take_field(reader, field, &begin, &end);
    if (error != ERR_OK) {
      return error;
    }
    char expected_buffer[16];
    struct text_builder expected;
    text_begin(&expected, expected_buffer, sizeof(expected_buffer));
    if (field < NAME_FIELDS) {
      text_append(&expected, FIELD_NAMES[field]);
    } else {
      text_append_number(&expected, (int64_t)field - NAME_FIELDS + 1);
    }
    if (expected.needed_bytes != (size_t)(end - begin) ||
        memcmp(expected_buffer, begin, expected.needed_bytes) != 0) {
      return reader_fail_value(reader, field, begin, end,
                               " is not the header HashOwner,HashApp,HashFunction,Trigger,1,...,"
                               "1440 of a file of calls per function and minute");
    }
  }
  if (!reader_is_at_row_end(reader)) {
    return reader_fail(reader, NAME_FIELDS + TRACE_MINUTES - 1,
                       "more columns follow; the header ends with 1440");
  }
  reader_skip_row_end(reader);
  return ERR_OK;
}

/* A count the slow way: quoted, or faulty. */
static enum err reader_take_odd_count(struct reader *reader, uint32_t field, uint32_t *ret_count) {
  const char *begin = NULL;
  const char *end = NULL;
  const enum err error = reader_take_field(reader, field, &begin, &end);
  if (error != ERR_OK) {
    return error;
  }
  uint64_t count = 0;
  for (const char *c = begin; c < end; c++) {
    if (*c < '0' || *c > '9') {
      return reader_fail_value(reader, field, begin, end,
                               " is not a number of calls; give a whole number from 0");
    }
    count = count * 10 + (uint64_t)(*c - '0');
    if (count > TRACE_COUNT_MAX) {
      return reader_fail_value(reader, field, begin, end,
                               " is too large; at most 60000000 calls a minute are allowed");
    }
  }
  *ret_count = (uint32_t)count;
  return ERR_OK;
}

static enum err reader_take_count(struct reader *reader, uint32_t field, uint32_t *ret_count) {
  /* Nearly every field is a digit or a few; eight digits can't overflow. */
  const char *at = reader->at;
  uint32_t count = 0;
  uint32_t digits = 0;
  while (at < reader->end && *at >= '0' && *at <= '9' && digits < 7) {
    count = count * 10 + (uint32_t)(*at - '0');
    at++;
    digits++;
  }
  if (digits > 0 && at < reader->end && (*at == ',' || *at == '\n')) {
    reader->at = at;
    *ret_count = count;
    return ERR_OK;
  }
  return reader_take_odd_count(reader, field, ret_count);
}

static enum err reader_take_row(struct reader *reader, struct trace_builder *builder) {
  trace_builder_begin_function(builder);
  for (uint32_t field = 0; field < NAME_FIELDS + TRACE_MINUTES; field++) {
    if (field > 0) {
      const enum err error = reader_take_comma(reader, field);
      if (error != ERR_OK) {
        return error;
      }
    }
    if (field < NAME_FIELDS) {
      const char *begin = NULL;
      const char *end = NULL;
      const enum err error = reader_take_field(reader, field, &begin, &end);
      if (error != ERR_OK) {
        return error;
      }
      continue;
    }
    uint32_t count = 0;
    const enum err error = reader_take_count(reader, field, &count);
    if (error != ERR_OK) {
      return error;
    }
    if (count > 0) {
      trace_builder_add(builder, field - NAME_FIELDS, count);
    }
  }
  if (!reader_is_at_row_end(reader)) {
    return reader_fail(reader, NAME_FIELDS + TRACE_MINUTES - 1,
                       "more fields follow; a row has 4 names and 1440 counts");
  }
  trace_builder_end_function(builder);
  reader_skip_row_end(reader);
  return ERR_OK;
}

/* Empty lines are allowed only where nothing but empty lines follows. */
static bool reader_is_at_trailing_space(const struct reader *reader) {
  for (const char *at = reader->at; at < reader->end; at++) {
    if (*at != '\n' && *at != '\r') {
      return false;
    }
  }
  return true;
}

static enum err reader_take_all(struct reader *reader, struct trace_builder *builder) {
  static const char BYTE_ORDER_MARK[3] = {'\xef', '\xbb', '\xbf'};
  if (reader->end - reader->at >= 3 && memcmp(reader->at, BYTE_ORDER_MARK, 3) == 0) {
    reader->at += 3;
  }
  enum err error = reader_take_header(reader);
  while (error == ERR_OK && reader->at < reader->end) {
    if (reader_is_at_row_end(reader) && reader_is_at_trailing_space(reader)) {
      break;
    }
    if (builder->function_count == TRACE_FUNCTIONS_MAX ||
        builder->pairs_bytes > UINT32_MAX - ROW_PAIRS_BYTES_MAX) {
      struct text_builder text = fault_begin(reader->fault);
      reader_name_place(reader, &text, 0);
      text_append(&text,
                  "too large: at most 1000000 functions and 4 GB of counts fit; split the file");
      return ERR_TOO_LARGE;
    }
    error = reader_take_row(reader, builder);
  }
  if (error == ERR_OK && builder->calls_count == 0) {
    struct text_builder text = fault_begin(reader->fault);
    text_append(&text, "no calls: give at least one function with a count above 0");
    return ERR_MALFORMED;
  }
  return error;
}

static enum err trace_read(const char *text, size_t text_bytes, struct trace_builder *builder,
                           struct workload_fault *ret_fault) {
  struct reader reader = {.at = text, .end = text + text_bytes, .line = 1, .fault = ret_fault};
  return reader_take_all(&reader, builder);
}

enum err trace_measure(const char *text, size_t text_bytes, size_t *ret_bytes,
                       struct workload_fault *ret_fault) {
  struct trace_builder builder;
  trace_builder_init_measuring(&builder);
  const enum err error = trace_read(text, text_bytes, &builder, ret_fault);
  if (error == ERR_OK) {
    *ret_bytes = trace_builder_bytes(&builder);
  }
  return error;
}

const struct trace *trace_init(void *memory, const char *text, size_t text_bytes) {
  struct workload_fault fault;
  struct trace_builder measured;
  trace_builder_init_measuring(&measured);
  CHECK_EQ(trace_read(text, text_bytes, &measured, &fault), ERR_OK);
  struct trace_builder builder;
  trace_builder_init(&builder, memory, measured.function_count, measured.pairs_bytes);
  CHECK_EQ(trace_read(text, text_bytes, &builder, &fault), ERR_OK);
  return trace_builder_finish(&builder);
}

void trace_file_name(uint32_t trace_id, char ret_name[TRACE_FILE_NAME_BYTES]) {
  CHECK_LT(trace_id, 100);
  struct text_builder text;
  text_begin(&text, ret_name, TRACE_FILE_NAME_BYTES);
  text_append(&text, "invocations_per_function_md.anon.d");
  text_append(&text, trace_id < 10 ? "0" : "");
  text_append_number(&text, trace_id);
  text_append(&text, ".csv");
}
