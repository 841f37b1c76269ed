#include "workload/trace_text.h"

#include <string.h>

static char *append_text(char *at, const char *text) {
  const size_t bytes = strlen(text);
  memcpy(at, text, bytes);
  return at + bytes;
}

static char *append_hash(char *at, const uint64_t hash[4]) {
  for (int word = 0; word < 4; word++) {
    for (int shift = 60; shift >= 0; shift -= 4) {
      *at++ = "0123456789abcdef"[(hash[word] >> shift) & 15];
    }
  }
  *at++ = ',';
  return at;
}

static char *append_count(char *at, uint32_t count) {
  char digits[10];
  int first = sizeof(digits);
  do {
    digits[--first] = (char)('0' + count % 10);
    count /= 10;
  } while (count != 0);
  const size_t bytes = sizeof(digits) - (size_t)first;
  memcpy(at, digits + first, bytes);
  return at + bytes;
}

size_t trace_text_write_header(char ret_text[TRACE_TEXT_HEADER_BYTES_MAX]) {
  char *at = append_text(ret_text, "HashOwner,HashApp,HashFunction,Trigger");
  for (uint32_t minute = 1; minute <= TRACE_MINUTES; minute++) {
    *at++ = ',';
    at = append_count(at, minute);
  }
  *at++ = '\n';
  return (size_t)(at - ret_text);
}

size_t trace_text_write_row(const struct synthetic_function *function,
                            char ret_text[TRACE_TEXT_ROW_BYTES_MAX]) {
  char *at = append_hash(ret_text, function->owner_hash);
  at = append_hash(at, function->app_hash);
  at = append_hash(at, function->function_hash);
  at = append_text(at, synthetic_trigger_name(function->trigger));
  for (uint32_t minute = 0; minute < TRACE_MINUTES; minute++) {
    *at++ = ',';
    at = append_count(at, function->counts[minute]);
  }
  *at++ = '\n';
  return (size_t)(at - ret_text);
}
