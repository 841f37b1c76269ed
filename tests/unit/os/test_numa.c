/* Where a device is near, as made-up folders say. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/file.h"
#include "os/numa.h"
#include "support/cmocka.h"

static char root[64];

static int make_root(void **state) {
  (void)state;
  snprintf(root, sizeof(root), "/tmp/clockwork_numa_XXXXXX");
  return mkdtemp(root) == NULL;
}

static int remove_root(void **state) {
  (void)state;
  char command[96];
  snprintf(command, sizeof(command), "rm -r %s", root);
  return system(command);
}

static void put(const char *folder, const char *name, const char *text) {
  char path[256];
  snprintf(path, sizeof(path), "%s/%s", root, folder);
  assert_int_equal(os_make_directories(path, NULL), ERR_OK);
  snprintf(path, sizeof(path), "%s/%s/%s", root, folder, name);
  assert_int_equal(file_write_atomically(path, text, strlen(text), NULL), ERR_OK);
}

static void put_nodes(const char *online, const char *cpus_of_1) {
  put("devices/system/node", "online", online);
  put("devices/system/node/node1", "cpulist", cpus_of_1);
}

#define GPU "bus/pci/devices/0000:c1:00.0"

static void lists_are_read(void **state) {
  (void)state;
  static const struct {
    const char *text;
    int count;
    int has;
    int lacks;
  } right[] = {{"", 0, -1, 0},
               {"\n", 0, -1, 0},
               {"0\n", 1, 0, 1},
               {"0-3\n", 4, 3, 4},
               {"0-1,8,10-11", 5, 8, 9},
               {"5-5", 1, 5, 4},
               {"64-127,192-255\n", 128, 255, 128},
               {"1023", 1, 1023, 0}};
  for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++) {
    cpu_set_t cpus;
    assert_true(numa_parse_list(right[i].text, &cpus));
    assert_int_equal(CPU_COUNT(&cpus), right[i].count);
    assert_true(right[i].has < 0 || CPU_ISSET((size_t)right[i].has, &cpus));
    assert_false(CPU_ISSET((size_t)right[i].lacks, &cpus));
  }
  static const char *const wrong[] = {"-1",  "x",           "0-",     "0,",   "0,,1",
                                      "3-1", "1024",        "0-1024", "0 1",  "0-1-2",
                                      "0x1", "99999999999", ",",      "0-1,y"};
  for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(7, &cpus);
    assert_false(numa_parse_list(wrong[i], &cpus));
    assert_int_equal(CPU_COUNT(&cpus), 1);
  }
}

static void a_device_has_a_place(void **state) {
  (void)state;
  struct numa_place place;
  put_nodes("0-1\n", "16-31,48-63\n");
  put(GPU, "numa_node", "1\n");
  assert_int_equal(numa_place_of_pci(root, "0000:C1:00.0", &place), ERR_OK);
  assert_int_equal(place.node, 1);
  assert_int_equal(CPU_COUNT(&place.cpus), 32);
  assert_true(CPU_ISSET(48, &place.cpus));
  assert_false(CPU_ISSET(15, &place.cpus));
}

static void what_is_not_said_is_not_found(void **state) {
  (void)state;
  struct numa_place place = {.node = 77};
  put(GPU, "numa_node", "1\n");
  put_nodes("0\n", "0-63\n"); /* one node: nothing to choose */
  assert_int_equal(numa_place_of_pci(root, "0000:c1:00.0", &place), ERR_NOT_FOUND);
  put_nodes("0-1\n", "16-31\n");
  assert_int_equal(numa_place_of_pci(root, "0000:c2:00.0", &place), ERR_NOT_FOUND);
  put(GPU, "numa_node", "-1\n");
  assert_int_equal(numa_place_of_pci(root, "0000:c1:00.0", &place), ERR_NOT_FOUND);
  put(GPU, "numa_node", "3\n"); /* a node that has no folder */
  assert_int_equal(numa_place_of_pci(root, "0000:c1:00.0", &place), ERR_NOT_FOUND);
  assert_int_equal(numa_place_of_pci("/no/such/folder", "0000:c1:00.0", &place), ERR_NOT_FOUND);
  assert_int_equal(place.node, 77);
}

static void nonsense_is_refused(void **state) {
  (void)state;
  struct numa_place place = {.node = 77};
  put_nodes("0-1\n", "16-31\n");
  put(GPU, "numa_node", "one\n");
  assert_int_equal(numa_place_of_pci(root, "0000:c1:00.0", &place), ERR_MALFORMED);
  put(GPU, "numa_node", "1\n");
  put_nodes("0-1\n", "16-\n");
  assert_int_equal(numa_place_of_pci(root, "0000:c1:00.0", &place), ERR_MALFORMED);
  put_nodes("all\n", "16-31\n");
  assert_int_equal(numa_place_of_pci(root, "0000:c1:00.0", &place), ERR_MALFORMED);
  assert_int_equal(place.node, 77);
}

/* The first processor that this thread may use, then back. */
static void a_thread_goes_there_and_back(void **state) {
  (void)state;
  cpu_set_t all;
  cpu_set_t now;
  cpu_set_t before;
  assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
  size_t first = 0;
  while (!CPU_ISSET(first, &all)) {
    first++;
  }
  struct numa_place place = {.node = 1};
  CPU_SET(first, &place.cpus);
  assert_true(numa_enter(&place, &before));
  assert_int_equal(sched_getaffinity(0, sizeof(now), &now), 0);
  assert_int_equal(CPU_COUNT(&now), 1);
  numa_leave(&before);
  assert_int_equal(sched_getaffinity(0, sizeof(now), &now), 0);
  assert_true(CPU_EQUAL(&now, &all));
  CPU_ZERO(&place.cpus); /* a container may have none of a node's */
  assert_false(numa_enter(&place, &before));
  assert_int_equal(sched_getaffinity(0, sizeof(now), &now), 0);
  assert_true(CPU_EQUAL(&now, &all));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(lists_are_read),
      cmocka_unit_test_setup_teardown(a_device_has_a_place, make_root, remove_root),
      cmocka_unit_test_setup_teardown(what_is_not_said_is_not_found, make_root, remove_root),
      cmocka_unit_test_setup_teardown(nonsense_is_refused, make_root, remove_root),
      cmocka_unit_test(a_thread_goes_there_and_back),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
