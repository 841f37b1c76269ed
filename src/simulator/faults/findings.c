#include "simulator/faults/findings.h"

#include <stdarg.h>
#include <stdio.h>

void findings_add(struct findings *findings, const char *checker, struct instant at,
                  const char *format, ...) {
  findings->count++;
  if (findings->count > 1) {
    return;
  }
  if (findings->is_over != NULL) {
    *findings->is_over = true;
  }
  findings->checker = checker;
  findings->at = at;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(findings->text, sizeof(findings->text), format, arguments);
  va_end(arguments);
}
