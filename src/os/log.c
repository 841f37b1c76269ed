#include "os/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

/* One fputs of a whole line: lines of two threads don't mix, and a pipe gets it at once. */
static void log_line(FILE *file, const char *prefix, const char *format, va_list arguments) {
  char text[1024];
  vsnprintf(text, sizeof(text), format, arguments);
  char line[1200];
  snprintf(line, sizeof(line), "%s%s\n", prefix, text);
  fputs(line, file);
  fflush(file);
}

static void log_timed(FILE *file, const char *format, va_list arguments) {
  struct timespec now;
  struct tm parts;
  clock_gettime(CLOCK_REALTIME, &now);
  localtime_r(&now.tv_sec, &parts);
  char date[32];
  strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &parts);
  char prefix[48];
  snprintf(prefix, sizeof(prefix), "%s.%03ld ", date, now.tv_nsec / 1000000);
  log_line(file, prefix, format, arguments);
}

void log_info(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  log_timed(stdout, format, arguments);
  va_end(arguments);
}

void log_warning(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  log_timed(stderr, format, arguments);
  va_end(arguments);
}

void log_usage_error(const char *program, const char *format, ...) {
  char prefix[64];
  snprintf(prefix, sizeof(prefix), "%s: ", program);
  va_list arguments;
  va_start(arguments, format);
  log_line(stderr, prefix, format, arguments);
  va_end(arguments);
}
