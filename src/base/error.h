/* Failures of peers, files and machines: negative codes that every caller must look at.
 *
 * 0 is success. What is expected in normal service (a late action, a refused request) is not an
 * error but a value in the result: see model/status.h.
 */
#ifndef CLOCKWORK_BASE_ERROR_H
#define CLOCKWORK_BASE_ERROR_H

#define ERR_MAP(X)                                                                                 \
  X(ERR_MALFORMED, -1, "malformed bytes")                                                          \
  X(ERR_VERSION, -2, "unknown version")                                                            \
  X(ERR_TOO_LARGE, -3, "larger than its limit")                                                    \
  X(ERR_FULL, -4, "full")                                                                          \
  X(ERR_NOT_FOUND, -5, "not found")                                                                \
  X(ERR_EXISTS, -6, "already there")                                                               \
  X(ERR_NO_MEMORY, -7, "out of memory")                                                            \
  X(ERR_IO, -8, "input or output failed")                                                          \
  X(ERR_CLOSED, -9, "connection closed")                                                           \
  X(ERR_RANGE, -10, "out of range")                                                                \
  X(ERR_UNSUPPORTED, -11, "not supported")

enum err {
  ERR_OK = 0,
#define ERR_ENUM_(name, code, text) name = code,
  ERR_MAP(ERR_ENUM_)
#undef ERR_ENUM_
};

#define MUST_USE __attribute__((warn_unused_result))

/* A short English text, never NULL, static storage. */
const char *err_text(enum err error);

#endif
