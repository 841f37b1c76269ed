/* What this process has used so far, for the summary lines. Thread: any. Cost: microseconds. */
#ifndef CLOCKWORK_OS_USAGE_H
#define CLOCKWORK_OS_USAGE_H

#include <stdint.h>

struct usage {
  int64_t cpu_ns;    /* user and system time of all threads */
  int64_t rss_bytes; /* resident now */
};

/* A value that the system does not tell is 0. */
void os_usage(struct usage *ret_usage);

#endif
