/* Which backends this worker was built with: the one place that knows more than backend.h. */
#ifndef CLOCKWORK_WORKER_BACKENDS_H
#define CLOCKWORK_WORKER_BACKENDS_H

#include <stdbool.h>
#include <stddef.h>

#include "backend/backend.h"
#include "worker/options.h"

/* A backend and the memory that it lives in. */
struct worker_backend {
  struct backend backend;
  void *memory;
  size_t memory_bytes;
  char description[160]; /* for the log: what it is and what it stands on */
};

struct backend_request {
  const struct options *options;
  /* For a backend with threads of its own: poll() has something new. From any thread. */
  void (*notify)(void *user);
  void *notify_user;
};

struct backend_kind {
  const char *name;
  const char *text;        /* for the help */
  bool (*is_usable)(void); /* on this machine */
  /* ERR_NOT_FOUND, ERR_MALFORMED, ERR_NO_MEMORY, ...: `ret_error` names what is wrong. */
  enum err (*create)(const struct backend_request *request, struct worker_backend *ret_backend,
                     struct error_text *ret_error);
};

/* Best first. */
extern const struct backend_kind backend_kinds[];
extern const size_t backend_kinds_count;

/* By name; "auto" is the first usable one. NULL: there is none of that name. */
const struct backend_kind *backend_kind_choose(const char *name);

/* All names, ", " between them. */
void backend_kinds_list(size_t capacity, char *ret_text);

/* Accepts NULL and a zeroed one. */
void worker_backend_destroy(struct worker_backend *backend);

/* cpu_setup.c */
enum err cpu_setup_create(const struct backend_request *request, struct worker_backend *ret_backend,
                          struct error_text *ret_error);

/* cuda_setup.c; only where the backend was built */
enum err cuda_setup_create(const struct backend_request *request,
                           struct worker_backend *ret_backend, struct error_text *ret_error);

/* emulated_setup.c */
enum err emulated_create(const struct backend_request *request, struct worker_backend *ret_backend,
                         struct error_text *ret_error);

#endif
