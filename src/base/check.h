/* CHECK: a bug in this program ends it at once, showing both values.
 *
 * Always on, in release as in debug: a scheduler that goes on with a broken invariant would answer
 * requests wrongly. Only for what the program itself must guarantee; bytes from a peer, a file or
 * a user are never CHECKed, they return an error (base/error.h).
 *
 * DCHECK is for conditions too dear for release; it is on when CLOCKWORK_DEBUG_CHECKS is defined.
 */
#ifndef CLOCKWORK_BASE_CHECK_H
#define CLOCKWORK_BASE_CHECK_H

#include <stdint.h>

/* Write one line to standard error and abort. Thread: any. */
_Noreturn void check_failed(const char *file, int line, const char *expression);
_Noreturn void check_failed_compare(const char *file, int line, const char *expression,
                                    int64_t left, int64_t right);

#define CHECK(condition)                                                                           \
  do {                                                                                             \
    if (__builtin_expect(!(condition), 0)) {                                                       \
      check_failed(__FILE__, __LINE__, #condition);                                                \
    }                                                                                              \
  } while (0)

#define CHECK_COMPARE_(left, op, right)                                                            \
  do {                                                                                             \
    const int64_t check_left_ = (int64_t)(left);                                                   \
    const int64_t check_right_ = (int64_t)(right);                                                 \
    if (__builtin_expect(!(check_left_ op check_right_), 0)) {                                     \
      check_failed_compare(__FILE__, __LINE__, #left " " #op " " #right, check_left_,              \
                           check_right_);                                                          \
    }                                                                                              \
  } while (0)

#define CHECK_EQ(left, right) CHECK_COMPARE_(left, ==, right)
#define CHECK_NE(left, right) CHECK_COMPARE_(left, !=, right)
#define CHECK_LT(left, right) CHECK_COMPARE_(left, <, right)
#define CHECK_LE(left, right) CHECK_COMPARE_(left, <=, right)
#define CHECK_GT(left, right) CHECK_COMPARE_(left, >, right)
#define CHECK_GE(left, right) CHECK_COMPARE_(left, >=, right)

#ifdef CLOCKWORK_DEBUG_CHECKS
#define DCHECK(condition) CHECK(condition)
#else
#define DCHECK(condition)                                                                          \
  do {                                                                                             \
    (void)sizeof(condition);                                                                       \
  } while (0)
#endif

#endif
