#include "base/error.h"

const char *err_text(enum err error) {
  switch (error) {
  case ERR_OK:
    return "ok";
#define ERR_CASE_(name, code, text)                                                                \
  case name:                                                                                       \
    return text;
    ERR_MAP(ERR_CASE_)
#undef ERR_CASE_
  }
  return "unknown error";
}
