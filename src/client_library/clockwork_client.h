/* What a program needs to use a controller: load models, infer, list and evict, by callback, in a
 * libuv loop. The client program is built on it.
 *
 * Guarantees:
 *  - every call that was accepted (ERR_OK) is answered exactly once, by its callback: with the
 *    controller's answer, or with ERR_CLOSED when the connection ended before that (also when it
 * was clockwork_client_close() that ended it);
 *  - a call that was not accepted is never answered;
 *  - no callback comes from within a function of this header, but for ERR_CLOSED answers, which may
 *    come from within uv_run only. All functions but clockwork_client_destroy() are safe inside
 * every callback;
 *  - it connects again by itself after the connection ended. Nothing is sent twice: a call that was
 *    lost may have been served or not;
 *  - bytes that are no answer end that one connection, with a reason in words; an answer to a call
 *    that isn't under way is counted and ignored;
 *  - memory is the sum of the limits: `calls_max` calls, `queue_bytes_max` of unsent frames.
 * Nothing is allocated per call.
 *
 * Thread: all functions and callbacks belong to the loop's thread.
 */
#ifndef CLOCKWORK_CLIENT_LIBRARY_CLOCKWORK_CLIENT_H
#define CLOCKWORK_CLIENT_LIBRARY_CLOCKWORK_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "base/time.h"
#include "os/address.h"
#include "transport/body.h"
#include "transport/connection.h"
#include "wire/messages.h"

struct clockwork_client;

/* ---- life ------------------------------------------------------------------------------------ */

struct clockwork_client_options {
  /* Each may be NULL. `owner` is their first argument. */
  void (*on_connected)(void *owner);
  /* After the lost calls have been answered; `reason` is valid during the call. */
  void (*on_disconnected)(void *owner, const char *reason, uint32_t lost_count);
  /* An attempt to connect failed; the next one comes by itself. */
  void (*on_unreachable)(void *owner, const char *reason);
  void *owner;

  uint32_t calls_max;          /* accepted and not yet answered; 0: 262,144 */
  size_t queue_bytes_max;      /* 0: the transport's default */
  struct body_budget *outputs; /* what outputs are received into; outlives the client. NULL: an
                                  answer with an output ends the connection */
  struct duration lost_after; /* a controller from which the network delivers nothing for so long is
                                 taken for lost; 0: 10 s */
};

/* Begins to connect. `transport` belongs to `loop` and outlives the client. NULL: out of memory or
 * descriptors. */
struct clockwork_client *clockwork_client_create(uv_loop_t *loop, struct transport *transport,
                                                 const struct address *controller,
                                                 const struct clockwork_client_options *options);

/* Disconnect and stay so; the answers ERR_CLOSED follow from the loop. Accepts NULL and a second
 * call. */
void clockwork_client_close(struct clockwork_client *client);

/* Free it: after clockwork_client_close(), once the loop has run until nothing of it was left
 * (CHECK). Accepts NULL. */
void clockwork_client_destroy(struct clockwork_client *client);

bool clockwork_client_is_connected(const struct clockwork_client *client);

/* Calls accepted and not yet answered. */
uint32_t clockwork_client_calls_count(const struct clockwork_client *client);

/* Answers to calls that weren't under way: a fault of the controller. */
uint64_t clockwork_client_unexpected_count(const struct clockwork_client *client);

/* ---- calls -----------------------------------------------------------------------------------
 *
 * All return ERR_CLOSED when not connected, ERR_FULL when calls_max are under way or the connection
 * has queue_bytes_max of unsent frames, ERR_TOO_LARGE for a body above the protocol's maximum,
 * ERR_NO_MEMORY (the connection then ends). Cost: O(1), no system call.
 */

struct clockwork_inferred {
  enum err error;         /* ERR_OK or ERR_CLOSED; the rest is 0 unless ERR_OK */
  uint32_t result;        /* enum request_result, or a number that this version doesn't know */
  uint32_t batch_size;    /* in which it ran; 0 if it did not */
  struct duration within; /* the time that it spent in the controller */
  struct body *output;    /* NULL: none. Valid during the call; body_retain() keeps it */
};

struct clockwork_infer {
  uint32_t model_id;
  uint32_t user_id;     /* stands in telemetry */
  double slo_factor;    /* times the model's batch-1 execution time; 0: the controller's default */
  uint32_t input_bytes; /* decoded; 0: no input is given */
  enum wire_encoding encoding;
  struct body_slice input; /* the input as it is sent; references to its body are taken for as long
                              as they are needed, bytes without body outlive the transport */
  bool wants_output;
  /* How long to try again, every 100 ms, when the controller answers that it is still initializing;
   * 0: give the answer as it comes. */
  struct duration retry_within;
  void (*on_inferred)(void *user, const struct clockwork_inferred *answer);
  void *user;
};

MUST_USE enum err clockwork_client_infer(struct clockwork_client *client,
                                         const struct clockwork_infer *infer);

struct clockwork_loaded {
  enum err error;  /* as above */
  uint32_t result; /* enum request_result: REQUEST_INITIALIZING asks to try again later */
  uint32_t first_model_id;
  uint32_t copies; /* > 0 on success, and the ids don't overflow */
  uint64_t input_bytes;
  uint64_t output_bytes;
  struct duration execute_one; /* batch size 1 */
  const char *message;         /* never NULL; why, when result is not success */
};

typedef void clockwork_on_loaded(void *user, const struct clockwork_loaded *answer);

/* `path` is one on the workers, shorter than MODEL_PATH_BYTES (CHECK); it is copied. */
MUST_USE enum err clockwork_client_load(struct clockwork_client *client, const char *path,
                                        uint32_t copies, clockwork_on_loaded *on_loaded,
                                        void *user);

/* What wire_list_entry says: name is NUL terminated. Ids rise from call to call. */
typedef void clockwork_on_model(void *user, const struct wire_list_entry *model);

/* ERR_CLOSED: the listing broke off; disregard what on_model was told. */
typedef void clockwork_on_listed(void *user, enum err error);

/* All models, however many parts the answer takes: on_model for each, then on_listed. */
MUST_USE enum err clockwork_client_list(struct clockwork_client *client,
                                        clockwork_on_model *on_model,
                                        clockwork_on_listed *on_listed, void *user);

struct clockwork_evicted {
  enum err error;
  uint32_t result;        /* enum request_result */
  uint32_t evicted_count; /* GPUs that it left */
};

typedef void clockwork_on_evicted(void *user, const struct clockwork_evicted *answer);

MUST_USE enum err clockwork_client_evict(struct clockwork_client *client, uint32_t model_id,
                                         clockwork_on_evicted *on_evicted, void *user);

#endif
