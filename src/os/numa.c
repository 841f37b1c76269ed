#include "os/numa.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/file.h"

enum { TEXT_BYTES_MAX = 16384, PATH_BYTES = 256 };

/* Digits at `*at`, which is moved behind them; false: none, or too large. */
static bool parse_number(const char **at, uint32_t *ret_number) {
  uint32_t number = 0;
  const char *begin = *at;
  while (**at >= '0' && **at <= '9') {
    number = number * 10 + (uint32_t)(**at - '0');
    if (number >= CPU_SETSIZE) {
      return false;
    }
    (*at)++;
  }
  *ret_number = number;
  return *at > begin;
}

static bool parse_range(const char **at, cpu_set_t *cpus) {
  uint32_t first = 0;
  if (!parse_number(at, &first)) {
    return false;
  }
  uint32_t last = first;
  if (**at == '-') {
    (*at)++;
    if (!parse_number(at, &last) || last < first) {
      return false;
    }
  }
  for (uint32_t i = first; i <= last; i++) {
    CPU_SET(i, cpus);
  }
  return true;
}

bool numa_parse_list(const char *text, cpu_set_t *ret_cpus) {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  const char *at = text;
  bool has_more = *at >= '0' && *at <= '9';
  while (has_more) {
    if (!parse_range(&at, &cpus)) {
      return false;
    }
    has_more = *at == ',';
    at += has_more;
  }
  if (at[strspn(at, " \n")] != '\0') {
    return false;
  }
  *ret_cpus = cpus;
  return true;
}

/* NULL: no such file, or it can't be read. The caller frees it. */
static char *read_text(const char *sysfs, const char *path) {
  char name[PATH_BYTES];
  char *text = NULL;
  size_t bytes = 0;
  if ((size_t)snprintf(name, sizeof(name), "%s/%s", sysfs, path) >= sizeof(name) ||
      file_read(name, TEXT_BYTES_MAX, &text, &bytes, NULL) != ERR_OK) {
    return NULL;
  }
  return text;
}

static enum err read_list(const char *sysfs, const char *path, cpu_set_t *ret_list) {
  char *text = read_text(sysfs, path);
  const bool is_right = text != NULL && numa_parse_list(text, ret_list);
  const enum err error = text == NULL ? ERR_NOT_FOUND : is_right ? ERR_OK : ERR_MALFORMED;
  free(text);
  return error;
}

/* The kernel writes -1 where the firmware did not say. */
static enum err read_node(const char *sysfs, const char *pci_bus_id, uint32_t *ret_node) {
  char path[PATH_BYTES];
  const int length = snprintf(path, sizeof(path), "bus/pci/devices/%.64s/numa_node", pci_bus_id);
  for (int i = 0; i < length; i++) {
    path[i] = (char)tolower((unsigned char)path[i]);
  }
  char *text = read_text(sysfs, path);
  if (text == NULL || strncmp(text, "-1", 2) == 0) {
    free(text);
    return ERR_NOT_FOUND;
  }
  const char *at = text;
  const bool is_right = parse_number(&at, ret_node) && at[strspn(at, " \n")] == '\0';
  free(text);
  return is_right ? ERR_OK : ERR_MALFORMED;
}

enum err numa_place_of_pci(const char *sysfs, const char *pci_bus_id,
                           struct numa_place *ret_place) {
  cpu_set_t nodes;
  struct numa_place place;
  enum err error = read_list(sysfs, "devices/system/node/online", &nodes);
  if (error != ERR_OK || CPU_COUNT(&nodes) < 2) {
    return error == ERR_OK ? ERR_NOT_FOUND : error;
  }
  error = read_node(sysfs, pci_bus_id, &place.node);
  if (error != ERR_OK) {
    return error;
  }
  char path[PATH_BYTES];
  snprintf(path, sizeof(path), "devices/system/node/node%u/cpulist", place.node);
  error = read_list(sysfs, path, &place.cpus);
  if (error == ERR_OK) {
    *ret_place = place;
  }
  return error;
}

bool numa_enter(const struct numa_place *place, cpu_set_t *ret_before) {
  cpu_set_t before;
  cpu_set_t both;
  if (sched_getaffinity(0, sizeof(before), &before) != 0) {
    return false;
  }
  CPU_AND(&both, &before, &place->cpus);
  if (CPU_COUNT(&both) == 0 || sched_setaffinity(0, sizeof(both), &both) != 0) {
    return false;
  }
  *ret_before = before;
  return true;
}

void numa_leave(const cpu_set_t *before) {
  /* It ran there before; should the machine have taken these processors away, the node is left. */
  (void)sched_setaffinity(0, sizeof(*before), before);
}
