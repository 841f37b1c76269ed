#include "workload/fault.h"

#include <string.h>

enum { QUOTED_BYTES_MAX = 40 };

void text_begin(struct text_builder *builder, char *buffer, size_t capacity_bytes) {
  *builder = (struct text_builder){.buffer = buffer, .capacity_bytes = capacity_bytes};
  if (capacity_bytes > 0) {
    buffer[0] = '\0';
  }
}

static void text_append_bytes(struct text_builder *builder, const char *bytes, size_t count) {
  if (builder->needed_bytes + 1 < builder->capacity_bytes) {
    size_t room = builder->capacity_bytes - 1 - builder->needed_bytes;
    if (room > count) {
      room = count;
    }
    memcpy(builder->buffer + builder->needed_bytes, bytes, room);
    builder->buffer[builder->needed_bytes + room] = '\0';
  }
  builder->needed_bytes += count;
}

void text_append(struct text_builder *builder, const char *text) {
  text_append_bytes(builder, text, strlen(text));
}

void text_append_quoted(struct text_builder *builder, const char *text, size_t text_bytes) {
  const size_t shown = text_bytes < QUOTED_BYTES_MAX ? text_bytes : QUOTED_BYTES_MAX;
  text_append(builder, "'");
  for (size_t i = 0; i < shown; i++) {
    const char c = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
    text_append_bytes(builder, &c, 1);
  }
  text_append(builder, shown < text_bytes ? "...'" : "'");
}

void text_append_number(struct text_builder *builder, int64_t number) {
  char digits[24];
  size_t at = sizeof(digits);
  uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
  do {
    digits[--at] = (char)('0' + rest % 10);
    rest /= 10;
  } while (rest != 0);
  if (number < 0) {
    digits[--at] = '-';
  }
  text_append_bytes(builder, digits + at, sizeof(digits) - at);
}

void text_append_decimal(struct text_builder *builder, double number) {
  if (number < 0) {
    text_append(builder, "-");
    number = -number;
  }
  int64_t micro = (int64_t)(number * 1e6 + 0.5);
  text_append_number(builder, micro / 1000000);
  micro %= 1000000;
  if (micro == 0) {
    return;
  }
  char digits[8] = ".";
  size_t count = 7;
  for (size_t i = 6; i > 0; i--) {
    digits[i] = (char)('0' + micro % 10);
    micro /= 10;
  }
  while (digits[count - 1] == '0') {
    count--;
  }
  text_append_bytes(builder, digits, count);
}

struct text_builder fault_begin(struct workload_fault *fault) {
  struct text_builder builder;
  text_begin(&builder, fault->text, sizeof(fault->text));
  return builder;
}
