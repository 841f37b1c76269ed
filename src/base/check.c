#include "base/check.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One write(2) of one line: stdio may itself be what is broken, and two threads that fail together
 * must not mix their lines. */
struct line {
  char text[512];
  size_t length;
};

static void line_append(struct line *line, const char *text) {
  size_t length = strlen(text);
  const size_t room = sizeof(line->text) - 1 - line->length;
  if (length > room) {
    length = room;
  }
  memcpy(line->text + line->length, text, length);
  line->length += length;
}

static void line_append_number(struct line *line, int64_t value) {
  char digits[24];
  size_t at = sizeof(digits) - 1;
  digits[at] = '\0';
  uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
  do {
    digits[--at] = (char)('0' + rest % 10);
    rest /= 10;
  } while (rest != 0);
  if (value < 0) {
    digits[--at] = '-';
  }
  line_append(line, digits + at);
}

_Noreturn static void line_abort(struct line *line) {
  line->text[line->length++] = '\n';
  const ssize_t written = write(STDERR_FILENO, line->text, line->length);
  (void)written;
  abort();
}

static struct line line_begin(const char *file, int at, const char *expression) {
  struct line line = {.length = 0};
  line_append(&line, "CHECK failed at ");
  line_append(&line, file);
  line_append(&line, ":");
  line_append_number(&line, at);
  line_append(&line, ": ");
  line_append(&line, expression);
  return line;
}

_Noreturn void check_failed(const char *file, int line_number, const char *expression) {
  struct line line = line_begin(file, line_number, expression);
  line_abort(&line);
}

_Noreturn void check_failed_compare(const char *file, int line_number, const char *expression,
                                    int64_t left, int64_t right) {
  struct line line = line_begin(file, line_number, expression);
  line_append(&line, " (");
  line_append_number(&line, left);
  line_append(&line, " against ");
  line_append_number(&line, right);
  line_append(&line, ")");
  line_abort(&line);
}
