#include "os/usage.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/time.h"

void os_usage(struct usage *ret_usage) {
  *ret_usage = (struct usage){0};
  struct timespec cpu;
  if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu) == 0) {
    ret_usage->cpu_ns = (int64_t)cpu.tv_sec * NS_PER_S + cpu.tv_nsec;
  }
  FILE *file = fopen("/proc/self/statm", "re");
  if (file == NULL) {
    return;
  }
  long size_pages;
  long resident_pages;
  if (fscanf(file, "%ld %ld", &size_pages, &resident_pages) == 2) {
    ret_usage->rss_bytes = (int64_t)resident_pages * sysconf(_SC_PAGESIZE);
  }
  fclose(file);
}
