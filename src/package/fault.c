#include "package/fault.h"

#include <stdarg.h>
#include <string.h>

#include "base/check.h"

struct text {
  char *at;
  size_t left; /* without the NUL */
};

static void put_text(struct text *text, const char *words) {
  size_t bytes = strlen(words);
  bytes = bytes < text->left ? bytes : text->left;
  memcpy(text->at, words, bytes);
  text->at += bytes;
  text->left -= bytes;
}

static void put_number(struct text *text, unsigned long long number) {
  char digits[24];
  char *begin = &digits[sizeof(digits) - 1];
  *begin = '\0';
  do {
    *--begin = (char)('0' + number % 10);
    number /= 10;
  } while (number > 0);
  put_text(text, begin);
}

void plan_fault_set(struct plan_fault *ret_fault, uint32_t batch_size, uint32_t op,
                    const char *format, ...) {
  *ret_fault = (struct plan_fault){.batch_size = batch_size, .op = op};
  struct text text = {ret_fault->text, sizeof(ret_fault->text) - 1};
  va_list arguments;
  va_start(arguments, format);
  for (const char *at = format; *at != '\0';) {
    if (*at != '%') {
      const char letter[2] = {*at++, '\0'};
      put_text(&text, letter);
    } else if (strncmp(at, "%s", 2) == 0) {
      put_text(&text, va_arg(arguments, const char *));
      at += 2;
    } else if (strncmp(at, "%u", 2) == 0) {
      put_number(&text, va_arg(arguments, unsigned));
      at += 2;
    } else {
      CHECK_EQ(strncmp(at, "%llu", 4), 0);
      put_number(&text, va_arg(arguments, unsigned long long));
      at += 4;
    }
  }
  va_end(arguments);
}
