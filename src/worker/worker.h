/* The worker's shell: sockets, clock and memory around one executor and one backend.
 *
 * One thread owns everything here, that of the event loop; libuv's pool only decompresses inputs.
 * A turn of the loop: frames come in and become actions of the executor, the timer or the backend
 * says that something is due; before the loop sleeps again, worker_turn() carries completions from
 * the backend to the executor, commands the other way, results to their connections, and sets the
 * timer.
 *
 * Memory is the sum of the limits in struct options, taken at start and resident when first used.
 */
#ifndef CLOCKWORK_WORKER_WORKER_H
#define CLOCKWORK_WORKER_WORKER_H

#include <uv.h>

#include "base/list.h"
#include "base/pool.h"
#include "executor/executor.h"
#include "os/clock.h"
#include "os/signals.h"
#include "os/usage.h"
#include "os/wakeup.h"
#include "transport/connection.h"
#include "wire/frame.h"
#include "wire/messages.h"
#include "worker/backends.h"
#include "worker/options.h"

enum {
  /* Controllers at once; the published system has one. */
  WORKER_PEERS_MAX = 64,
  /* LOAD_MODELs not answered yet: an experiment that loads its 4,026 models one by one fits. */
  WORKER_LOADS_MAX = 16384,
  ACTION_STATUS_MAX = 128,
};

struct worker;

/* A connected controller. */
struct peer {
  struct connection *connection;
  uint32_t changes_count; /* its LOADs and EVICTs under way */
  bool wants_state;
  bool has_state; /* it was told what is on the GPUs */
  uint64_t state_action_id;
  struct instant state_deadline;
};

/* ---- messages.c: what controllers say -------------------------------------------------------- */

extern const struct connection_handlers worker_handlers;

/* Send, or end the connection: a controller that misses a message must read the state anew. */
void peer_send(struct peer *peer, uint16_t type, const struct wire_writer *writer,
               const struct body_slice *slice);

/* ---- actions.c: from a frame to a result ----------------------------------------------------- */

/* An action between its frame and its result; its pool id is its name in the executor. */
struct action {
  struct worker *worker;
  uint64_t peer_id;   /* pool id; the peer may be gone */
  uint64_t action_id; /* the controller's */
  struct instant received;
  struct action_inputs *inputs; /* NULL: none were given */
  struct body *outputs;         /* NULL: not wanted */
  uint32_t output_bytes;        /* of the whole batch */
  bool is_change;               /* LOAD or EVICT */
};

void actions_on_frame(struct worker *worker, struct peer *peer, struct instant now,
                      const struct wire_action *message, const struct wire_action_input *inputs,
                      struct body *body);
/* Results of the executor that are ready leave. `now` is when. */
void actions_send_results(struct worker *worker, struct instant now);
/* Give all memory of an action back. */
void action_release(struct worker *worker, struct action *action);

/* ---- inputs.c: the bytes of a batch ---------------------------------------------------------- */

/* One input that is to be decompressed. */
struct compressed_input {
  const unsigned char *source;
  uint32_t stored_bytes;
  uint32_t index; /* in the batch */
  unsigned char *target;
};

struct action_inputs {
  const void *pointers[MODEL_BATCH_MAX]; /* what the backend reads */
  struct body *received;                 /* NULL: not needed any more */
  struct body *decoded;                  /* NULL: nothing was compressed */
  /* While decompressing: */
  struct action *action;
  struct executor_action waiting; /* goes to the executor afterwards */
  struct compressed_input compressed[MODEL_BATCH_MAX];
  uint32_t compressed_count;
  uint32_t input_bytes; /* of one request */
  bool has_raw;         /* some input is used where it was received */
  enum action_status status;
  uint64_t bad_inputs; /* bit i: input i could not be decompressed */
  uv_work_t work;
};

/* Look at the inputs of an INFER and take memory for them. On success `ret_inputs` holds them, with
 * compressed_count > 0 if inputs_decompress() must come before they can be used; else the status
 * that refuses the action, and nothing is held. */
enum action_status inputs_take(struct worker *worker, const struct wire_action *message,
                               const struct wire_action_input *descriptors,
                               const struct model_spec *spec, struct body *body,
                               struct action_inputs **ret_inputs);
/* Decompress in another thread, then hand `waiting` to the executor, or refuse the action. */
void inputs_decompress(struct worker *worker, struct action_inputs *inputs);
/* Accepts NULL. */
void inputs_release(struct worker *worker, struct action_inputs *inputs);

/* Called by inputs.c in the loop's thread when the work is done. */
void actions_on_decompressed(struct action *action, struct action_inputs *inputs);

/* ---- packages.c: models in host memory ------------------------------------------------------- */

/* A path and the ids of its copies. */
struct package {
  char path[MODEL_PATH_BYTES]; /* as the controller wrote it */
  uint32_t first_model_id;
  uint32_t copies;
  bool is_loaded; /* else the backend is at it, or will be */
  struct model_spec spec;
};

/* A LOAD_MODEL that was not answered yet. */
struct load_request {
  struct list link; /* in packages.queued or .begun */
  uint64_t peer_id;
  struct wire_load_model message;
};

struct packages {
  struct package *items; /* dense */
  uint32_t count;
  uint32_t capacity;
  uint32_t models_count; /* instances of loaded packages */
  uint32_t *of_model;    /* by model id: index of its package + 1; 0: the id is free */
  struct pool requests;  /* struct load_request */
  struct list queued;    /* the backend had no room for them yet */
  struct list begun;
};

/* Answered in a turn to come, or at once. */
void packages_on_request(struct worker *worker, uint64_t peer_id,
                         const struct wire_load_model *message);
/* What the backend has finished. */
void packages_turn(struct worker *worker, struct instant now);
/* Answer all that wait with ACTION_SHUTTING_DOWN. */
void packages_on_shutdown(struct worker *worker);

/* ---- state.c: what a controller that connects wants to know ---------------------------------- */

/* Remember to answer: at once, or when the LOADs and EVICTs of controllers that are gone have
 * ended, because pages that change hands after the answer would be counted wrong. */
void state_on_request(struct peer *peer, struct instant now, uint64_t action_id);
/* Answer what can be answered; returns when to come again. */
struct instant state_turn(struct worker *worker, struct instant now);

/* ---- lost.c: GPUs that are lost -------------------------------------------------------------- */

/* Withdraw what the backend has lost since the last turn, after its completions and before results
 * leave: a controller is told first. When no GPU is left the worker stops. */
void lost_turn(struct worker *worker);

/* ---- summary.c: the line every ten seconds --------------------------------------------------- */

struct counts {
  uint64_t done_by_type[ACTION_EVICT + 1]; /* successes */
  uint64_t refused_by_status[ACTION_STATUS_MAX];
  int64_t execute_ns; /* of all GPUs */
};

struct summary {
  struct instant since;
  struct counts counts; /* since `since` */
  struct usage usage;
};

void summary_on_result(struct worker *worker, const struct executor_result *result);
void summary_print(struct worker *worker, struct instant now);

/* ---- worker.c -------------------------------------------------------------------------------- */

struct worker {
  const struct options *options;
  uv_loop_t loop;
  uv_prepare_t prepare;
  uv_timer_t summary_timer;
  uv_timer_t stop_timer;
  uv_async_t notify;
  struct signals signals;
  struct wakeup wakeup;
  struct transport *transport;
  struct listener *listener;
  struct body_budget received_bytes; /* inputs as they came */
  struct body_budget decoded_bytes;  /* inputs decompressed */
  struct body_budget output_bytes;
  struct worker_backend backend;
  void *memory; /* of all below */
  size_t memory_bytes;
  struct executor *executor;
  uint32_t gpus_count;
  uint32_t gpus_lost_count;
  bool is_gpu_lost[WORKER_GPUS_MAX]; /* and controllers were told */
  struct pool peers;                 /* struct peer */
  struct pool actions;               /* struct action */
  struct pool inputs;                /* struct action_inputs */
  struct packages packages;
  uint32_t orphan_changes_count; /* LOADs and EVICTs under way whose controller is gone */
  uint32_t states_wanted_count;
  struct summary summary;
  bool has_loop;
  bool is_stopping; /* a signal came, or no GPU is left: nothing new is begun */
  bool has_failed;  /* it ends because no GPU is left */
  bool is_closing;  /* and all is answered */
};

/* Everything up to listening. On failure `ret_error` says why, and worker_finish() is due too. */
MUST_USE enum err worker_init(struct worker *worker, const struct options *options,
                              struct error_text *ret_error);

/* Until SIGINT, SIGTERM or the loss of the last GPU, and all results have left. */
void worker_run(struct worker *worker);

/* Refuse what has not begun, answer what is under way, then let worker_run() return. Once. */
void worker_stop(struct worker *worker);

/* Accepts a half built one. */
void worker_finish(struct worker *worker);

#endif
