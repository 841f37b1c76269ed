#include "workload/trace.h"

#include <stdio.h>

#include "base/prng.h"
#include "support/cmocka.h"
#include "support/memory.h"

struct text {
  char *bytes;
  size_t count;
  size_t capacity;
};

static void text_add(struct text *text, const char *more) {
  const size_t count = strlen(more);
  if (text->count + count + 1 > text->capacity) {
    text->capacity = (text->count + count + 1) * 2;
    text->bytes = realloc(text->bytes, text->capacity);
    CHECK(text->bytes != NULL);
  }
  memcpy(text->bytes + text->count, more, count + 1);
  text->count += count;
}

static void text_add_header(struct text *text) {
  text_add(text, "HashOwner,HashApp,HashFunction,Trigger");
  for (int minute = 1; minute <= TRACE_MINUTES; minute++) {
    char field[16];
    snprintf(field, sizeof(field), ",%d", minute);
    text_add(text, field);
  }
}

/* A row of which minutes first and second have these fields, the others "0". */
static void text_add_row(struct text *text, int first, const char *first_field, int second,
                         const char *second_field) {
  text_add(text, "o,a,f,http");
  for (int minute = 1; minute <= TRACE_MINUTES; minute++) {
    text_add(text, ",");
    text_add(text, minute == first ? first_field : minute == second ? second_field : "0");
  }
}

/* NULL when the text is faulty. */
static const struct trace *read_text(const char *bytes, size_t count,
                                     struct workload_fault *fault) {
  /* On the heap at its exact size: ASan sees a step beyond. */
  char *exact = malloc(count > 0 ? count : 1);
  CHECK(exact != NULL);
  memcpy(exact, bytes, count);
  size_t size = 0;
  const struct trace *trace = NULL;
  if (trace_measure(exact, count, &size, fault) == ERR_OK) {
    trace = trace_init(test_memory_take(size), exact, count);
  }
  free(exact);
  return trace;
}

static void trace_free(const struct trace *trace) {
  free((void *)(uintptr_t)trace);
}

static uint32_t count_at(const struct trace *trace, uint32_t function, uint32_t minute) {
  struct trace_cursor cursor = trace_first(trace, function);
  while (trace_next(trace, function, &cursor)) {
    if (cursor.minute == minute) {
      return cursor.count;
    }
  }
  return 0;
}

static void the_golden_file_is_read(void **state) {
  (void)state;
  FILE *file = fopen("tests/golden/trace_five_functions.csv", "rb");
  assert_non_null(file);
  static char bytes[64 * 1024];
  const size_t count = fread(bytes, 1, sizeof(bytes), file);
  fclose(file);
  struct workload_fault fault = {.text = ""};
  const struct trace *trace = read_text(bytes, count, &fault);
  assert_string_equal(fault.text, "");
  assert_non_null(trace);
  assert_int_equal(trace->function_count, 5);
  const uint64_t calls[5] = {24, 14400, 71500, 0, 135};
  for (uint32_t i = 0; i < 5; i++) {
    assert_int_equal(trace->functions[i].calls_count, calls[i]);
  }
  assert_int_equal(trace->calls_count, 24 + 14400 + 71500 + 135);
  assert_int_equal(count_at(trace, 0, 60), 1);
  assert_int_equal(count_at(trace, 0, 61), 0);
  assert_int_equal(count_at(trace, 2, 602), 70000);
  assert_int_equal(count_at(trace, 4, 0), 7);
  assert_int_equal(count_at(trace, 4, 1439), 128);
  /* Three pairs of the burst: gap 600 fills two bytes, counts two, two and three. */
  assert_int_equal(trace->functions[2].end - trace->functions[2].begin, 2 + 2 + 1 + 2 + 1 + 3);
  trace_free(trace);
}

static void odd_but_harmless_forms_are_tolerated(void **state) {
  (void)state;
  const char *const newlines[] = {"\n", "\r\n"};
  const char *const ends[] = {"", "\n", "\r\n", "\n\n", "\r\n\r\n\n"};
  const char *const starts[] = {"", "\xef\xbb\xbf"};
  for (size_t newline = 0; newline < 2; newline++) {
    for (size_t end = 0; end < 5; end++) {
      for (size_t start = 0; start < 2; start++) {
        struct text text = {.bytes = NULL};
        text_add(&text, starts[start]);
        text_add_header(&text);
        text_add(&text, newlines[newline]);
        text_add_row(&text, 1, "\"5\"", 1440, "17");
        text_add(&text, newlines[newline]);
        text_add(&text, "\"owner, with comma\",a,\"\",");
        text_add_row(&text, 2, "", 1440, "\"9\"");
        /* The second row begins with its own four names: take the first three off again. */
        char *extra = strstr(text.bytes, "o,a,f,http,0,,0");
        assert_non_null(extra);
        memmove(extra, extra + 6, strlen(extra + 6) + 1);
        text.count -= 6;
        text_add(&text, ends[end]);
        struct workload_fault fault = {.text = ""};
        const struct trace *trace = read_text(text.bytes, text.count, &fault);
        assert_string_equal(fault.text, "");
        assert_int_equal(trace->function_count, 2);
        assert_int_equal(count_at(trace, 0, 0), 5);
        assert_int_equal(count_at(trace, 0, 1439), 17);
        assert_int_equal(count_at(trace, 1, 1439), 9);
        assert_int_equal(trace->calls_count, 31);
        trace_free(trace);
        free(text.bytes);
      }
    }
  }
}

static void assert_fault(const struct text *text, const char *const parts[], size_t count) {
  struct workload_fault fault = {.text = ""};
  assert_null(read_text(text->bytes, text->count, &fault));
  for (size_t i = 0; i < count; i++) {
    if (strstr(fault.text, parts[i]) == NULL) {
      fail_msg("'%s' lacks '%s'", fault.text, parts[i]);
    }
  }
  assert_null(strchr(fault.text, '\n'));
}

static void faults_name_line_and_field(void **state) {
  (void)state;
  static const struct {
    int minute;
    const char *field;
    const char *parts[3];
  } CASES[] = {
      {7, "x", {"line 3", "minute 7", "'x' is not a number of calls"}},
      {1440, "-1", {"line 3", "minute 1440", "'-1'"}},
      {1, "1.5", {"line 3", "minute 1", "'1.5'"}},
      {9, "60000001", {"minute 9", "too large", "60000000"}},
      {9, "99999999999999999999999999", {"minute 9", "too large", "line 3"}},
      {9, "1 ", {"minute 9", "'1 '", "whole number"}},
      {9, "\"1", {"minute 9", "quote is not closed", "line 3"}},
      {9, "\"1\"2", {"minute 9", "after the closing quote", "line 3"}},
      {9, "\x01\xff", {"minute 9", "'?\?'", "line 3"}},
      {1440, "1,1", {"line 3", "minute 1440", "more fields follow"}},
  };
  for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
    struct text text = {.bytes = NULL};
    text_add_header(&text);
    text_add(&text, "\n");
    text_add_row(&text, 1, "3", 2, "4");
    text_add(&text, "\n");
    text_add_row(&text, CASES[i].minute, CASES[i].field, 0, "");
    text_add(&text, "\n");
    assert_fault(&text, CASES[i].parts, 3);
    free(text.bytes);
  }
}

static void short_rows_and_wrong_headers_are_faults(void **state) {
  (void)state;
  struct text text = {.bytes = NULL};
  text_add_header(&text);
  text_add(&text, "\no,a,f,http,1,2,3\n");
  const char *const lacks[] = {"line 2", "minute 4", "missing"};
  assert_fault(&text, lacks, 3);

  text.count = 0;
  text_add(&text, "HashOwner,HashApp,Function\n");
  const char *const name[] = {"line 1", "field HashFunction", "'Function'"};
  assert_fault(&text, name, 3);

  text.count = 0;
  text_add(&text, "");
  const char *const empty[] = {"line 1", "field HashOwner"};
  assert_fault(&text, empty, 2);

  text.count = 0;
  text_add_header(&text);
  text_add(&text, ",1441\n");
  const char *const more[] = {"line 1", "1440"};
  assert_fault(&text, more, 2);

  text.count = 0;
  text_add_header(&text);
  text_add(&text, "\n");
  text_add_row(&text, 0, "", 0, "");
  const char *const silent[] = {"no calls"};
  assert_fault(&text, silent, 1);

  text.count = 0;
  text_add_header(&text);
  text_add(&text, "\n\n");
  text_add_row(&text, 1, "1", 0, "");
  const char *const hole[] = {"line 2", "field HashApp", "missing"};
  assert_fault(&text, hole, 3);
  free(text.bytes);
}

static void any_cut_or_flipped_byte_is_survived(void **state) {
  (void)state;
  struct text text = {.bytes = NULL};
  text_add_header(&text);
  text_add(&text, "\r\n");
  text_add_row(&text, 3, "\"12\"", 1440, "60000000");
  text_add(&text, "\r\n");
  struct workload_fault fault;
  for (size_t count = 0; count <= text.count; count++) {
    const struct trace *trace = read_text(text.bytes, count, &fault);
    trace_free(trace);
  }
  struct prng prng;
  prng_init(&prng, 5, 0);
  for (int i = 0; i < 3000; i++) {
    const size_t at = prng_below(&prng, text.count);
    const char kept = text.bytes[at];
    text.bytes[at] = (char)prng_below(&prng, 256);
    trace_free(read_text(text.bytes, text.count, &fault));
    text.bytes[at] = kept;
  }
  free(text.bytes);
}

static void what_is_built_is_what_is_walked(void **state) {
  (void)state;
  enum { FUNCTIONS = 50 };
  static uint32_t counts[FUNCTIONS][TRACE_MINUTES];
  struct prng prng;
  prng_init(&prng, 1, 1);
  for (int i = 0; i < FUNCTIONS; i++) {
    const uint64_t density = 1 + prng_below(&prng, 100);
    for (int minute = 0; minute < TRACE_MINUTES; minute++) {
      const uint64_t size = prng_below(&prng, 26);
      counts[i][minute] =
          prng_below(&prng, density) == 0 ? (uint32_t)prng_below(&prng, UINT64_C(1) << size) : 0;
    }
  }
  counts[0][0] = TRACE_COUNT_MAX;
  memset(counts[1], 0, sizeof(counts[1]));
  struct trace_builder builder;
  trace_builder_init_measuring(&builder);
  const struct trace *trace = NULL;
  for (int pass = 0; pass < 2; pass++) {
    for (int i = 0; i < FUNCTIONS; i++) {
      trace_builder_begin_function(&builder);
      for (uint32_t minute = 0; minute < TRACE_MINUTES; minute++) {
        trace_builder_add(&builder, minute, counts[i][minute]);
      }
      trace_builder_end_function(&builder);
    }
    if (pass == 0) {
      const struct trace_builder measured = builder;
      trace_builder_init(&builder, test_memory_take(trace_builder_bytes(&measured)),
                         measured.function_count, measured.pairs_bytes);
    } else {
      trace = trace_builder_finish(&builder);
    }
  }
  for (uint32_t i = 0; i < FUNCTIONS; i++) {
    struct trace_cursor cursor = trace_first(trace, i);
    uint64_t calls = 0;
    for (uint32_t minute = 0; minute < TRACE_MINUTES; minute++) {
      if (counts[i][minute] == 0) {
        continue;
      }
      assert_true(trace_next(trace, i, &cursor));
      assert_int_equal(cursor.minute, minute);
      assert_int_equal(cursor.count, counts[i][minute]);
      calls += cursor.count;
    }
    assert_false(trace_next(trace, i, &cursor));
    assert_int_equal(trace->functions[i].calls_count, calls);
  }
  trace_free(trace);
}

static void file_names_are_the_public_ones(void **state) {
  (void)state;
  char name[TRACE_FILE_NAME_BYTES];
  trace_file_name(1, name);
  assert_string_equal(name, "invocations_per_function_md.anon.d01.csv");
  trace_file_name(14, name);
  assert_string_equal(name, "invocations_per_function_md.anon.d14.csv");
}

/* Real days are no part of the project: tested where they are at hand. */
static void a_real_day_is_read(void **state) {
  (void)state;
  const char *shared = getenv("CLOCKWORK_SHARED");
  char path[512];
  snprintf(path, sizeof(path), "%s/traces/invocations_per_function_md.anon.d01.csv.gz",
           shared != NULL ? shared : "../shared");
  FILE *probe = fopen(path, "rb");
  if (probe == NULL) {
    print_message("SKIPPED: no %s; point CLOCKWORK_SHARED at a folder with traces/\n", path);
    skip();
  }
  fclose(probe);
  char command[640];
  snprintf(command, sizeof(command), "gzip -dc '%s'", path);
  FILE *file = popen(command, "r");
  assert_non_null(file);
  enum { CAPACITY = 32 << 20 };
  char *bytes = malloc(CAPACITY);
  assert_non_null(bytes);
  const size_t count = fread(bytes, 1, CAPACITY, file);
  assert_int_equal(pclose(file), 0);
  struct workload_fault fault = {.text = ""};
  const struct trace *trace = read_text(bytes, count, &fault);
  assert_string_equal(fault.text, "");
  assert_int_equal(trace->function_count, 2022);
  assert_int_equal(trace->calls_count, 4216232);
  trace_free(trace);
  free(bytes);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_golden_file_is_read),
      cmocka_unit_test(odd_but_harmless_forms_are_tolerated),
      cmocka_unit_test(faults_name_line_and_field),
      cmocka_unit_test(short_rows_and_wrong_headers_are_faults),
      cmocka_unit_test(any_cut_or_flipped_byte_is_survived),
      cmocka_unit_test(what_is_built_is_what_is_walked),
      cmocka_unit_test(file_names_are_the_public_ones),
      cmocka_unit_test(a_real_day_is_read),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
