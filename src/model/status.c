#include "model/status.h"

const char *request_result_text(int result) {
  switch (result) {
#define CASE_(name, code, text)                                                                    \
  case name:                                                                                       \
    return text;
    REQUEST_RESULT_MAP(CASE_)
  default:
    return "unknown result";
  }
}

const char *action_status_text(int status) {
  switch (status) {
    ACTION_STATUS_MAP(CASE_)
#undef CASE_
  default:
    return "unknown status";
  }
}
