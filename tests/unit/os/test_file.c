#include "os/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/cmocka.h"

struct folder {
  char path[64];
  char file[96];
};

static int make_folder(void **state) {
  struct folder *folder = calloc(1, sizeof(*folder));
  snprintf(folder->path, sizeof(folder->path), "/tmp/clockwork-test-XXXXXX");
  if (mkdtemp(folder->path) == NULL) {
    return -1;
  }
  snprintf(folder->file, sizeof(folder->file), "%s/file", folder->path);
  *state = folder;
  return 0;
}

static int remove_folder(void **state) {
  struct folder *folder = *state;
  unlink(folder->file);
  const int result = rmdir(folder->path); /* fails if anything was left beside the file */
  free(folder);
  return result;
}

static void what_was_written_is_read_and_mapped(void **state) {
  const struct folder *folder = *state;
  static const char CONTENT[] = "one\0two\n";
  assert_int_equal(file_write_atomically(folder->file, "old content", 11, NULL), ERR_OK);
  assert_int_equal(file_write_atomically(folder->file, CONTENT, sizeof(CONTENT), NULL), ERR_OK);
  char *content = NULL;
  size_t bytes = 0;
  assert_int_equal(file_read(folder->file, 1000, &content, &bytes, NULL), ERR_OK);
  assert_int_equal(bytes, sizeof(CONTENT));
  assert_memory_equal(content, CONTENT, bytes);
  assert_int_equal(content[bytes], 0);
  free(content);
  struct file_map map;
  assert_int_equal(file_map_open(folder->file, sizeof(CONTENT), &map, NULL), ERR_OK);
  assert_int_equal(map.size_bytes, sizeof(CONTENT));
  assert_memory_equal(map.bytes, CONTENT, sizeof(CONTENT));
  file_map_close(&map);
  file_map_close(&map);
  file_map_close(NULL);
  struct stat status;
  assert_int_equal(stat(folder->file, &status), 0);
  assert_int_equal(status.st_mode & 0777, 0644);
}

static void long_and_empty_files_are_read_whole(void **state) {
  const struct folder *folder = *state;
  static const size_t SIZES[] = {0, 1, 16382, 16383, 16384, 16385, 1000000};
  unsigned char *written = malloc(1000000);
  for (size_t i = 0; i < 1000000; i++) {
    written[i] = (unsigned char)(i * 31);
  }
  for (size_t i = 0; i < sizeof(SIZES) / sizeof(SIZES[0]); i++) {
    assert_int_equal(file_write_atomically(folder->file, written, SIZES[i], NULL), ERR_OK);
    char *content = NULL;
    size_t bytes = 99;
    assert_int_equal(file_read(folder->file, SIZES[i], &content, &bytes, NULL), ERR_OK);
    assert_int_equal(bytes, SIZES[i]);
    assert_memory_equal(content, written, bytes);
    free(content);
    struct file_map map;
    assert_int_equal(file_map_open(folder->file, SIZES[i], &map, NULL), ERR_OK);
    assert_int_equal(map.size_bytes, SIZES[i]);
    file_map_close(&map);
  }
  free(written);
}

static void failures_name_the_file(void **state) {
  const struct folder *folder = *state;
  char *content = NULL;
  size_t bytes = 0;
  struct file_map map;
  struct error_text error;
  assert_int_equal(file_read(folder->file, 10, &content, &bytes, &error), ERR_NOT_FOUND);
  assert_non_null(strstr(error.text, folder->file));
  assert_int_equal(file_map_open(folder->file, 10, &map, &error), ERR_NOT_FOUND);
  assert_int_equal(file_write_atomically(folder->file, "12345678901", 11, NULL), ERR_OK);
  assert_int_equal(file_read(folder->file, 10, &content, &bytes, &error), ERR_TOO_LARGE);
  assert_non_null(strstr(error.text, "10 bytes"));
  assert_int_equal(file_map_open(folder->file, 10, &map, &error), ERR_TOO_LARGE);
  assert_int_equal(file_map_open(folder->path, 10, &map, &error), ERR_IO);
  assert_non_null(strstr(error.text, "not a regular file"));
  assert_int_equal(file_read(folder->path, 10, &content, &bytes, &error), ERR_IO);
  assert_int_equal(file_write_atomically("/no-such-folder/x", "", 0, &error), ERR_NOT_FOUND);
  assert_null(content);
}

static void a_pipe_is_refused_and_not_waited_for(void **state) {
  const struct folder *folder = *state;
  struct file_map map;
  struct error_text error;
  assert_int_equal(mkfifo(folder->file, 0600), 0); /* nobody ever writes to it */
  assert_int_equal(file_map_open(folder->file, 10, &map, &error), ERR_IO);
  assert_non_null(strstr(error.text, "not a regular file"));
}

static void files_without_a_size_are_read(void **state) {
  (void)state;
  char *content = NULL;
  size_t bytes = 0;
  assert_int_equal(file_read("/proc/self/status", 100000, &content, &bytes, NULL), ERR_OK);
  assert_non_null(strstr(content, "Pid:"));
  free(content);
}

static void folders_are_known(void **state) {
  const struct folder *folder = *state;
  assert_true(os_directory_is_writable(folder->path));
  assert_false(os_directory_is_writable(folder->file));
  assert_int_equal(file_write_atomically(folder->file, "", 0, NULL), ERR_OK);
  assert_false(os_directory_is_writable(folder->file));
  assert_false(os_directory_is_writable("/proc/self/fd/nothing"));
}

static void logs_grow_by_blocks(void **state) {
  const struct folder *folder = *state;
  struct file_log log;
  assert_int_equal(file_write_atomically(folder->file, "old", 3, NULL), ERR_OK);
  assert_int_equal(file_log_open(folder->file, &log, NULL), ERR_OK);
  assert_int_equal(file_log_append(&log, "one\n", 4, NULL), ERR_OK);
  assert_int_equal(file_log_append(&log, "two\n", 4, NULL), ERR_OK);
  assert_int_equal(log.size_bytes, 8);
  file_log_close(&log);
  file_log_close(&log);
  file_log_close(NULL);
  char *content = NULL;
  size_t bytes = 0;
  assert_int_equal(file_read(folder->file, 100, &content, &bytes, NULL), ERR_OK);
  assert_string_equal(content, "one\ntwo\n");
  free(content);
  struct error_text error;
  assert_int_equal(file_log_open("/no-such-folder/x", &log, &error), ERR_NOT_FOUND);
  assert_int_equal(file_log_open("/dev/full", &log, &error), ERR_OK);
  assert_int_equal(file_log_append(&log, "x", 1, &error), ERR_IO);
  assert_non_null(strstr(error.text, "No space"));
  file_log_close(&log);
}

static void folders_are_made_with_those_above(void **state) {
  const struct folder *folder = *state;
  char above[96];
  char deep[128];
  struct error_text error;
  snprintf(above, sizeof(above), "%s/a", folder->path);
  snprintf(deep, sizeof(deep), "%s/b/", above);
  assert_int_equal(os_make_directories(deep, &error), ERR_OK);
  assert_int_equal(os_make_directories(deep, &error), ERR_OK);
  assert_true(os_directory_is_writable(deep));
  assert_int_equal(rmdir(deep), 0);
  assert_int_equal(rmdir(above), 0);
  assert_int_equal(file_write_atomically(folder->file, "x", 1, NULL), ERR_OK);
  snprintf(deep, sizeof(deep), "%s/below", folder->file);
  assert_int_equal(os_make_directories(deep, &error), ERR_IO);
  assert_non_null(strstr(error.text, folder->file));
  assert_non_null(strstr(error.text, "Not a directory"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(what_was_written_is_read_and_mapped, make_folder,
                                      remove_folder),
      cmocka_unit_test_setup_teardown(long_and_empty_files_are_read_whole, make_folder,
                                      remove_folder),
      cmocka_unit_test_setup_teardown(failures_name_the_file, make_folder, remove_folder),
      cmocka_unit_test_setup_teardown(a_pipe_is_refused_and_not_waited_for, make_folder,
                                      remove_folder),
      cmocka_unit_test(files_without_a_size_are_read),
      cmocka_unit_test_setup_teardown(folders_are_known, make_folder, remove_folder),
      cmocka_unit_test_setup_teardown(logs_grow_by_blocks, make_folder, remove_folder),
      cmocka_unit_test_setup_teardown(folders_are_made_with_those_above, make_folder,
                                      remove_folder),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
