/* A synthetic day as text in the public schema: what trace_measure() and trace_init() read. */
#ifndef CLOCKWORK_WORKLOAD_TRACE_TEXT_H
#define CLOCKWORK_WORKLOAD_TRACE_TEXT_H

#include <stddef.h>

#include "workload/synthetic_day.h"

enum {
  /* Four names, and 1,440 numbers of at most 4 digits with a comma each. */
  TRACE_TEXT_HEADER_BYTES_MAX = 40 + TRACE_MINUTES * 5,
  /* Three hashes of 64 digits, the trigger, and 1,440 counts of at most 8 digits. */
  TRACE_TEXT_ROW_BYTES_MAX = 3 * 65 + 32 + TRACE_MINUTES * 9,
};

/* Both write one line with its newline and without a NUL, and return its bytes. */
size_t trace_text_write_header(char ret_text[TRACE_TEXT_HEADER_BYTES_MAX]);
size_t trace_text_write_row(const struct synthetic_function *function,
                            char ret_text[TRACE_TEXT_ROW_BYTES_MAX]);

#endif
