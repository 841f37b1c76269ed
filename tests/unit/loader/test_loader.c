#include "loader/loader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "package/format.h"
#include "support/cmocka.h"
#include "support/plan_maker.h"

static char folder[64];
static char path[128];

static struct plan_maker *make_plan(void) {
  struct plan_maker *maker = plan_maker_create("small", 3);
  for (uint32_t batch_size = 1; batch_size <= 2; batch_size++) {
    plan_maker_begin(maker, batch_size);
    const uint32_t x = plan_maker_input(maker, 2, (uint32_t[]){batch_size, 8});
    const uint32_t w = plan_maker_weights(maker, PLAN_ROW_MAJOR, 2, (uint32_t[]){8, 4}, 1.0);
    const uint32_t y = plan_maker_output(maker, 2, (uint32_t[]){batch_size, 4});
    struct plan_op *op = plan_maker_op(maker, PLAN_OP_MATMUL, 2, (uint32_t[]){x, w}, y);
    op->matmul = (struct plan_matmul){.alpha = 1.0F};
    plan_maker_end(maker);
  }
  return maker;
}

static int open_folder(void **state) {
  (void)state;
  snprintf(folder, sizeof(folder), "/tmp/test_loader.XXXXXX");
  assert_non_null(mkdtemp(folder));
  struct plan_maker *maker = make_plan();
  plan_maker_write(maker, folder);
  plan_maker_destroy(maker);
  return 0;
}

static int close_folder(void **state) {
  (void)state;
  const char *const files[] = {FORMAT_PLAN_FILE, FORMAT_WEIGHTS_FILE};
  for (int i = 0; i < 2; i++) {
    snprintf(path, sizeof(path), "%s/%s", folder, files[i]);
    unlink(path);
  }
  rmdir(folder);
  return 0;
}

static void assert_refused(enum err wanted, const char *file, const char *words) {
  struct loaded_package package = {.plan = NULL};
  struct error_text error = {.text = ""};
  assert_int_equal(loader_open(folder, &package, &error), wanted);
  assert_null(package.plan);
  assert_non_null(strstr(error.text, file));
  assert_non_null(strstr(error.text, words));
  assert_null(strchr(error.text, '\n'));
}

/* One byte of a file is not what it was. */
static void flip(const char *file, long at) {
  snprintf(path, sizeof(path), "%s/%s", folder, file);
  FILE *stream = fopen(path, "r+b");
  assert_non_null(stream);
  assert_int_equal(fseek(stream, at, SEEK_SET), 0);
  const int byte = fgetc(stream);
  assert_int_equal(fseek(stream, at, SEEK_SET), 0);
  assert_int_equal(fputc(byte ^ 0x40, stream), byte ^ 0x40);
  assert_int_equal(fclose(stream), 0);
}

static void what_was_written_is_read(void **state) {
  (void)state;
  struct loaded_package package;
  struct error_text error;
  assert_int_equal(loader_open(folder, &package, &error), ERR_OK);
  assert_string_equal(package.plan->name, "small");
  assert_int_equal(package.plan->batch_kinds, 2);
  struct plan_maker *maker = make_plan();
  assert_memory_equal(package.weights, maker->weights, maker->plan.weights_bytes);
  plan_maker_destroy(maker);
  loader_close(&package);
  loader_close(&package);
  loader_close(NULL);
}

static void a_damaged_plan_is_named(void **state) {
  (void)state;
  flip(FORMAT_PLAN_FILE, 60);
  assert_refused(ERR_MALFORMED, FORMAT_PLAN_FILE, "anew");
}

static void damaged_weights_are_named(void **state) {
  (void)state;
  flip(FORMAT_WEIGHTS_FILE, 17);
  assert_refused(ERR_MALFORMED, FORMAT_WEIGHTS_FILE, "checksum");
}

static void cut_weights_are_named(void **state) {
  (void)state;
  snprintf(path, sizeof(path), "%s/%s", folder, FORMAT_WEIGHTS_FILE);
  assert_int_equal(truncate(path, 4096), 0);
  assert_refused(ERR_MALFORMED, FORMAT_WEIGHTS_FILE, "4096");
}

static void absent_files_are_named(void **state) {
  (void)state;
  snprintf(path, sizeof(path), "%s/%s", folder, FORMAT_WEIGHTS_FILE);
  assert_int_equal(unlink(path), 0);
  assert_refused(ERR_NOT_FOUND, FORMAT_WEIGHTS_FILE, "");
  snprintf(path, sizeof(path), "%s/%s", folder, FORMAT_PLAN_FILE);
  assert_int_equal(unlink(path), 0);
  assert_refused(ERR_NOT_FOUND, FORMAT_PLAN_FILE, "");
  struct loaded_package package;
  assert_int_not_equal(loader_open("", &package, NULL), ERR_OK);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(what_was_written_is_read, open_folder, close_folder),
      cmocka_unit_test_setup_teardown(a_damaged_plan_is_named, open_folder, close_folder),
      cmocka_unit_test_setup_teardown(damaged_weights_are_named, open_folder, close_folder),
      cmocka_unit_test_setup_teardown(cut_weights_are_named, open_folder, close_folder),
      cmocka_unit_test_setup_teardown(absent_files_are_named, open_folder, close_folder),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
