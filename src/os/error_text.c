#include "os/error_text.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

void error_text_set(struct error_text *error, const char *format, ...) {
  if (error == NULL) {
    return;
  }
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(error->text, sizeof(error->text), format, arguments);
  va_end(arguments);
}
