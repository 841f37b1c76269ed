/* The backends that check_model can drive, each with one device and one model. */
#ifndef CLOCKWORK_CHECK_MODEL_OPEN_H
#define CLOCKWORK_CHECK_MODEL_OPEN_H

#include <stdint.h>

#include "backend/backend.h"
#include "os/error_text.h"

struct open_request {
  const char *name;    /* "cuda", "cpu", "emulated"; "auto": the first of these that runs here */
  const char *profile; /* for emulated; NULL: none given */
  uint32_t cores;      /* for cpu; 0: all */
  uint32_t pages;      /* weights cache */
  void (*notify)(void *user);
  void *notify_user;
};

struct opened {
  struct backend backend;
  struct model_spec *profile; /* that an emulated backend reads */
  void *memory;
  size_t memory_bytes;
};

/* The names, for the help and for messages. */
extern const char OPEN_NAMES[];

/* ERR_NOT_FOUND, ERR_MALFORMED, ERR_NO_MEMORY, ERR_IO: `ret_error` says what is wrong in one line.
 */
MUST_USE enum err open_backend(const struct open_request *request, struct opened *ret_opened,
                               struct error_text *ret_error);

/* Accepts a zeroed one. */
void open_close(struct opened *opened);

#endif
