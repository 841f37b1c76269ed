#include "model/profile.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "support/cmocka.h"

enum { ROWS = 100 };

#define HEADER "model\tinput_bytes\toutput_bytes\tweights_bytes\tload_ms\tb1_ms\tb2_ms\n"
#define ROW "m\t10\t20\t30\t1.5\t2\t3.25\n"

static struct model_spec specs[ROWS];

static enum err parse(const char *text, uint32_t capacity, uint32_t *ret_count,
                      struct profile_fault *ret_fault) {
  /* A copy of the exact size, so that ASan sees a read past the end. */
  const size_t bytes = strlen(text);
  char *copy = malloc(bytes + (bytes == 0));
  assert_non_null(copy);
  memcpy(copy, text, bytes);
  const enum err error = profile_parse(copy, bytes, specs, capacity, ret_count, ret_fault);
  free(copy);
  return error;
}

static void assert_fault(const char *text, uint32_t line, const char *message_part) {
  uint32_t count = 77;
  struct profile_fault fault = {.line = 0};
  assert_int_equal(parse(text, ROWS, &count, &fault), ERR_MALFORMED);
  assert_int_equal(count, 77);
  assert_int_equal(fault.line, line);
  if (strstr(fault.message, message_part) == NULL) {
    fail_msg("\"%s\" does not say \"%s\"", fault.message, message_part);
  }
}

static void a_row_is_read(void **state) {
  (void)state;
  uint32_t count = 0;
  struct profile_fault fault;
  assert_int_equal(parse("# a comment\n" HEADER "\n" ROW "# clock_mhz: 1530\n"
                         "n\t1\t0\t16777217\t0.000001\t0.1234567\t1.\r\n",
                         ROWS, &count, &fault),
                   ERR_MALFORMED);
  assert_int_equal(parse("# a comment\n" HEADER "\n" ROW "# clock_mhz: 1530\n"
                         "n\t1\t0\t16777217\t0.000001\t0.1234567\t1.0\r\n",
                         ROWS, &count, &fault),
                   ERR_OK);
  assert_int_equal(count, 2);
  assert_string_equal(specs[0].name, "m");
  assert_int_equal(specs[0].input_bytes, 10);
  assert_int_equal(specs[0].output_bytes, 20);
  assert_int_equal(specs[0].weights_bytes, 30);
  assert_int_equal(specs[0].weights_pages, 1);
  assert_int_equal(specs[0].load.ns, 1500000);
  assert_int_equal(specs[0].batch_kinds, 2);
  assert_int_equal(specs[0].batch_sizes[1], 2);
  assert_int_equal(specs[0].execute[0].ns, 2000000);
  assert_int_equal(specs[0].execute[1].ns, 3250000);
  assert_int_equal(specs[0].clock_mhz, PROFILE_CLOCK_MHZ);
  assert_int_equal(specs[1].clock_mhz, 1530);
  assert_int_equal(specs[1].weights_pages, 2);
  assert_int_equal(specs[1].load.ns, 1);
  assert_int_equal(specs[1].execute[0].ns, 123456);
  assert_ptr_equal(profile_find(specs, count, "n"), &specs[1]);
  assert_null(profile_find(specs, count, "o"));
  assert_null(profile_find(specs, 1, "n"));
}

static void any_rising_batches_are_allowed(void **state) {
  (void)state;
  uint32_t count = 0;
  struct profile_fault fault;
  assert_int_equal(parse("model\tinput_bytes\toutput_bytes\tweights_bytes\tload_ms\tb1_ms\tb3_ms\t"
                         "b64_ms\nm\t1\t1\t1\t1\t1\t1\t1",
                         ROWS, &count, &fault),
                   ERR_OK);
  assert_int_equal(specs[0].batch_sizes[1], 3);
  assert_int_equal(specs[0].batch_sizes[2], 64);
}

static void faults_name_line_and_field(void **state) {
  (void)state;
  const char *const fixed = "model\tinput_bytes\toutput_bytes\tweights_bytes\tload_ms";
  char text[512];
  assert_fault("", 1, "header row is missing");
  assert_fault("# nothing\n\n", 3, "header row is missing");
  assert_fault(HEADER, 2, "no row");
  assert_fault("name\tinput_bytes\n", 1, "header must begin");
  const char *const bad_columns[] = {"",
                                     "\tb2_ms",
                                     "\tb1_ms\tb1_ms",
                                     "\tb1_ms\tb65_ms",
                                     "\tb1_ms\tb_ms",
                                     "\tb1_ms\tb2",
                                     "\tb1_ms\tx2_ms"};
  for (size_t i = 0; i < sizeof(bad_columns) / sizeof(bad_columns[0]); i++) {
    snprintf(text, sizeof(text), "%s%s\n", fixed, bad_columns[i]);
    assert_fault(text, 1, i == 0 ? "b1_ms is missing" : "N rising");
  }
  snprintf(text, sizeof(text),
           "%s\tb1_ms\tb2_ms\tb3_ms\tb4_ms\tb5_ms\tb6_ms\tb7_ms\tb8_ms\tb9_ms\n", fixed);
  assert_fault(text, 1, "more than 8");
  assert_fault(HEADER "m\t10\t20\t30\t1.5\t2\n", 2, "as many");
  assert_fault(HEADER "m\t10\t20\t30\t1.5\t2\t3\t4\n", 2, "as many");
  assert_fault(HEADER ROW "\t10\t20\t30\t1.5\t2\t3\n", 3, "as many");
  assert_fault(HEADER "m\t-1\t20\t30\t1.5\t2\t3\n", 2, "input_bytes");
  assert_fault(HEADER "m\t4294967296\t20\t30\t1.5\t2\t3\n", 2, "input_bytes");
  assert_fault(HEADER "m\t1\t2x\t30\t1.5\t2\t3\n", 2, "output_bytes");
  assert_fault(HEADER "m\t1\t2\t0\t1.5\t2\t3\n", 2, "weights_bytes");
  assert_fault(HEADER "m\t1\t2\t99999999999999999999\t1.5\t2\t3\n", 2, "weights_bytes");
  const char *const bad_ms[] = {"0", "0.0000001", "-1", "1e3", ".5", "1.2.3", "3600000.1", "nan"};
  for (size_t i = 0; i < sizeof(bad_ms) / sizeof(bad_ms[0]); i++) {
    snprintf(text, sizeof(text), HEADER "m\t1\t2\t3\t%s\t2\t3\n", bad_ms[i]);
    assert_fault(text, 2, i == 6 ? "hour" : "load_ms");
    snprintf(text, sizeof(text), HEADER "m\t1\t2\t3\t1\t2\t%s\n", bad_ms[i]);
    assert_fault(text, 2, i == 6 ? "hour" : "bN_ms");
  }
  assert_fault(HEADER ROW ROW, 3, "second time");
  assert_fault("# clock_mhz: fast\n" HEADER ROW, 1, "clock_mhz");
  assert_fault("# clock_mhz: 0\n" HEADER ROW, 1, "clock_mhz");
  assert_fault(HEADER "0123456789012345678901234567890123456789012345678901234567890123\t1\t2\t3\t1"
                      "\t1\t1\n",
               2, "63");
}

static void more_rows_than_room(void **state) {
  (void)state;
  uint32_t count = 5;
  struct profile_fault fault;
  assert_int_equal(parse(HEADER ROW "n\t1\t2\t3\t1\t1\t1\n", 1, &count, &fault), ERR_FULL);
  assert_int_equal(count, 5);
  assert_int_equal(fault.line, 3);
}

/* Tests run in the repository's root. */
#define ZOO_PROFILES "zoo/profiles/"

static size_t read_file(const char *path, char *text, size_t capacity) {
  FILE *file = fopen(path, "rb");
  assert_non_null(file);
  const size_t bytes = fread(text, 1, capacity, file);
  fclose(file);
  return bytes;
}

static size_t read_v100(char *text, size_t capacity) {
  return read_file(ZOO_PROFILES "v100.tsv", text, capacity);
}

static void the_zoo_parses(void **state) {
  (void)state;
  static char text[65536];
  const size_t bytes = read_v100(text, sizeof(text));
  uint32_t count = 0;
  struct profile_fault fault;
  assert_int_equal(profile_parse(text, bytes, specs, ROWS, &count, &fault), ERR_OK);
  assert_int_equal(count, 64);
  const struct model_spec *resnet = profile_find(specs, count, "resnet50_v2");
  assert_non_null(resnet);
  assert_int_equal(resnet->weights_pages, 7);
  assert_int_equal(resnet->load.ns, 8320000);
  assert_int_equal(resnet->execute[0].ns, 2730000);
  assert_int_equal(resnet->execute[4].ns, 17300000);
  assert_int_equal(resnet->batch_sizes[4], 16);
}

/* Of whatever machine: the 61 models of the experiment, which go by the same names everywhere. */
static void every_profile_of_the_zoo_parses(void **state) {
  (void)state;
  static char text[65536];
  static struct model_spec v100[ROWS];
  uint32_t v100_count = 0;
  struct profile_fault fault;
  const size_t v100_bytes = read_v100(text, sizeof(text));
  assert_int_equal(profile_parse(text, v100_bytes, v100, ROWS, &v100_count, &fault), ERR_OK);
  DIR *folder = opendir(ZOO_PROFILES);
  assert_non_null(folder);
  uint32_t files = 0;
  for (const struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
    const char *ending = strrchr(entry->d_name, '.');
    if (ending == NULL || strcmp(ending, ".tsv") != 0) {
      continue;
    }
    char path[sizeof(ZOO_PROFILES) + sizeof(entry->d_name)];
    snprintf(path, sizeof(path), "%s%s", ZOO_PROFILES, entry->d_name);
    const size_t bytes = read_file(path, text, sizeof(text));
    assert_in_range(bytes, 1, sizeof(text) - 1);
    uint32_t count = 0;
    assert_int_equal(profile_parse(text, bytes, specs, ROWS, &count, &fault), ERR_OK);
    assert_in_range(count, 61, 64);
    for (uint32_t i = 0; i < count; i++) {
      assert_non_null(profile_find(v100, v100_count, specs[i].name));
      assert_int_equal(specs[i].batch_kinds, 5);
    }
    files++;
  }
  closedir(folder);
  assert_in_range(files, 3, UINT32_MAX);
}

/* Random damage to a good file: an answer, never a crash, and a spec that is accepted is valid. */
static void damage_is_survived(void **state) {
  (void)state;
  static char text[65536];
  static char damaged[65536];
  const size_t bytes = read_v100(text, sizeof(text));
  struct prng prng;
  prng_init(&prng, 12, 0);
  for (int round = 0; round < 3000; round++) {
    const size_t length = 1 + prng_below(&prng, 600);
    memcpy(damaged, text, length < bytes ? length : bytes);
    const uint64_t hits = prng_below(&prng, 6);
    for (uint64_t i = 0; i < hits; i++) {
      static const char bytes_of_interest[] = "\t\n\r#.0-9b_\0 \xff";
      damaged[prng_below(&prng, length)] =
          bytes_of_interest[prng_below(&prng, sizeof(bytes_of_interest) - 1)];
    }
    uint32_t count = 0;
    struct profile_fault fault = {.message = NULL};
    if (profile_parse(damaged, length, specs, ROWS, &count, &fault) == ERR_OK) {
      for (uint32_t i = 0; i < count; i++) {
        assert_true(model_spec_is_valid(&specs[i]));
      }
    } else {
      assert_non_null(fault.message);
      assert_true(fault.line > 0);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_row_is_read),
      cmocka_unit_test(any_rising_batches_are_allowed),
      cmocka_unit_test(faults_name_line_and_field),
      cmocka_unit_test(more_rows_than_room),
      cmocka_unit_test(the_zoo_parses),
      cmocka_unit_test(every_profile_of_the_zoo_parses),
      cmocka_unit_test(damage_is_survived),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
