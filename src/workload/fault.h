/* One line that tells a user what is wrong with what they typed or with a file, and how to mend it.
 *
 * The library writes the line, the program prints it: nothing here knows standard error.
 */
#ifndef CLOCKWORK_WORKLOAD_FAULT_H
#define CLOCKWORK_WORKLOAD_FAULT_H

#include <stddef.h>
#include <stdint.h>

enum { WORKLOAD_FAULT_BYTES = 512 };

/* Always NUL terminated, never a newline; a longer text is cut. */
struct workload_fault {
  char text[WORKLOAD_FAULT_BYTES];
};

/* A text that grows in a caller's buffer and counts what it would have needed. */
struct text_builder {
  char *buffer;
  size_t capacity_bytes; /* with room for the NUL */
  size_t needed_bytes;   /* without the NUL; may pass the capacity */
};

/* `buffer` may be NULL when `capacity_bytes` is 0: then it only counts. */
void text_begin(struct text_builder *builder, char *buffer, size_t capacity_bytes);
void text_append(struct text_builder *builder, const char *text);

/* At most `text_bytes` of a text from a user or a file: control characters and what is not ASCII
 * become '?', and more than 40 bytes are cut with "...". */
void text_append_quoted(struct text_builder *builder, const char *text, size_t text_bytes);
void text_append_number(struct text_builder *builder, int64_t number);

/* Below 10^12; up to six digits after the point, as few as it needs. */
void text_append_decimal(struct text_builder *builder, double number);

/* A builder over `fault`. */
struct text_builder fault_begin(struct workload_fault *fault);

#endif
