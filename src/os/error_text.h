/* One line for a person: which file, address or field is wrong, and what would mend it.
 *
 * Libraries fill it, programs print it. Error codes (base/error.h) are for programs to branch on.
 */
#ifndef CLOCKWORK_OS_ERROR_TEXT_H
#define CLOCKWORK_OS_ERROR_TEXT_H

struct error_text {
  char text[320]; /* no newline at the end */
};

/* printf into `error`, cut to its size; does nothing when `error` is NULL. Thread: any. */
__attribute__((format(printf, 2, 3))) void error_text_set(struct error_text *error,
                                                          const char *format, ...);

#endif
