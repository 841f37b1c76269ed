/* The controller's shell: sockets, clocks and files around one scheduler.
 *
 * Everything here belongs to the one thread of the event loop; the recorder's thread only gets
 * rows. A turn of the loop: frames come in and become events of the scheduler; before the loop
 * sleeps again, controller_turn() asks the scheduler for actions, sends them, and sets the timer to
 * its wakeup().
 */
#ifndef CLOCKWORK_CONTROLLER_CONTROLLER_H
#define CLOCKWORK_CONTROLLER_CONTROLLER_H

#include <uv.h>

#include "base/clock_offset.h"
#include "base/histogram.h"
#include "base/list.h"
#include "base/pool.h"
#include "controller/options.h"
#include "os/clock.h"
#include "os/signals.h"
#include "os/usage.h"
#include "os/wakeup.h"
#include "recorder/recorder.h"
#include "scheduler/scheduler.h"
#include "transport/connection.h"
#include "wire/frame.h"
#include "wire/messages.h"

enum {
  CONTROLLER_CLIENTS_MAX = 4096,
  /* Packages that may be loaded, and loads asked for and not answered. */
  CONTROLLER_PACKAGES_MAX = 65536,
  /* Variants of a made-up input per size: enough that no cache in between serves one for all. */
  CONTROLLER_INPUT_VARIANTS = 8,
  CONTROLLER_INPUT_SIZES_MAX = 64,
  /* Actions asked of the scheduler at a time. */
  CONTROLLER_ACTIONS_AT_ONCE = 64,
};

/* Inputs that clients sent and that wait for their turn; outputs on their way back. */
#define CONTROLLER_INPUT_BUDGET_BYTES ((size_t)4 << 30)
#define CONTROLLER_OUTPUT_BUDGET_BYTES ((size_t)1 << 30)

struct controller;

/* ---- inputs.c: made-up inputs -----------------------------------------------------------------
 */

struct made_input {
  unsigned char *bytes; /* an LZ4 block */
  uint32_t stored_bytes;
};

struct inputs_of_size {
  uint32_t input_bytes;
  uint32_t next_variant;
  struct made_input variants[CONTROLLER_INPUT_VARIANTS];
};

struct inputs {
  struct inputs_of_size sizes[CONTROLLER_INPUT_SIZES_MAX];
  uint32_t sizes_count;
};

/* Make the variants for this size, unless they are there. False: out of memory, or too many sizes.
 */
bool inputs_prepare(struct inputs *inputs, uint32_t input_bytes);
/* The next variant of that size; NULL if it was not prepared. */
const struct made_input *inputs_next(struct inputs *inputs, uint32_t input_bytes);
void inputs_finish(struct inputs *inputs);

/* ---- packages.c: which models there are -------------------------------------------------------
 */

enum package_state { PACKAGE_LOADING, PACKAGE_READY, PACKAGE_FAILED };

/* One LoadModelFromDisk: a path and the ids of its copies. */
struct package {
  enum package_state state;
  char path[MODEL_PATH_BYTES];
  uint32_t first_model_id;
  uint32_t copies;
  struct model_spec spec; /* from the first worker that answered */
  bool has_spec;
  bool may_be_on_a_worker;
  uint32_t workers_waiting; /* asked and not answered */
  char failure[WIRE_MESSAGE_TEXT_BYTES];
  /* Who wants to know; 0: nobody. */
  uint64_t session_id;
  uint64_t request_id;
};

struct packages {
  struct package *items;
  uint32_t count;
  uint32_t next_model_id;
};

/* Whether clients should come again later: workers, and models that they hold, are still coming. */
bool packages_are_initializing(const struct controller *controller);
/* A client (or STRESS, with session_id 0) wants copies of a path. Answers the client, now or when
 * all workers have answered. */
void packages_on_request(struct controller *controller, uint64_t session_id,
                         const struct wire_load_request *request);
/* A worker has it already. False: its ids belong to another package here. */
bool packages_adopt(struct controller *controller, const struct wire_state_model *model,
                    uint32_t *ret_package_index);
/* A worker answered, or will not any more (`loaded` NULL). */
void packages_on_answer(struct controller *controller, uint32_t package_index,
                        const struct wire_model_loaded *loaded, const char *worker_name);
void packages_finish(struct packages *packages);

/* ---- workers.c --------------------------------------------------------------------------------
 */

enum worker_phase {
  WORKER_ABSENT,  /* not connected */
  WORKER_GREETED, /* clocks are being compared, the state is asked for */
  WORKER_SYNCING, /* state known, models that it lacks are being loaded */
  WORKER_UP,      /* its GPUs take part */
  WORKER_REFUSED, /* connected, but it can't serve our models */
};

/* Why it is not connected, as far as it was logged: each is said once, not with every attempt. */
enum worker_trouble {
  WORKER_TROUBLE_NONE,
  WORKER_TROUBLE_UNREACHABLE,
  WORKER_TROUBLE_STRANGER, /* what listens there ends the connection before its first message */
  WORKER_TROUBLE_SILENT,   /* or says nothing */
};

struct remote_worker {
  struct controller *controller;
  uint32_t worker_id;
  char name[64];
  struct dialer *dialer;
  struct connection *connection; /* NULL while not connected */
  enum worker_phase phase;
  struct clock_offset clock;
  uint32_t pings_answered;
  struct instant heard; /* when the last frame came */
  struct wire_state_gpu *gpus;
  uint32_t gpus_count;
  uint32_t **resident_models;
  unsigned char *asked;        /* by package index: 1 asked, 2 loaded */
  uint32_t asked_count;        /* asked and not answered */
  bool was_heard;              /* on this connection */
  bool is_given_up;            /* for its silence: the connection is about to end */
  enum worker_trouble trouble; /* NONE once it was heard */
};

void workers_start(struct controller *controller);
/* Every so often: pings, and silent workers are given up. */
void workers_tick(struct controller *controller, struct instant now);
/* Ask all connected workers for this package; returns how many were asked. */
uint32_t workers_load_package(struct controller *controller, uint32_t package_index);
/* The package failed or became ready: workers that waited for it may be up now. */
void workers_on_package_settled(struct controller *controller, uint32_t package_index);
/* Nobody has it and its index is given to another one. */
void workers_forget_package(struct controller *controller, uint32_t package_index);
void workers_send_action(struct controller *controller, const struct scheduler_action *action);
uint32_t workers_up_count(const struct controller *controller);
void workers_finish(struct controller *controller);

/* ---- clients.c --------------------------------------------------------------------------------
 */

/* A connected client. */
struct session {
  struct controller *controller;
  struct connection *connection;
};

/* A request between a client and the scheduler; its pool id is the scheduler's tag. */
struct pending {
  uint64_t session_id; /* pool id; 0: STRESS */
  uint64_t request_id; /* the client's */
  uint32_t model_id;
  uint32_t input_bytes; /* decoded; 0: no input came */
  struct body *input;   /* NULL: no input came */
  uint8_t encoding;
  bool wants_output;
};

extern const struct connection_handlers clients_handlers;

void clients_on_answer(struct controller *controller, const struct scheduler_answer *answer);
void clients_send_load_answer(struct controller *controller, uint64_t session_id,
                              const struct wire_load_answer *answer);
struct pending *clients_pending(struct controller *controller, uint64_t tag);
/* Make one request of our own (STRESS). False: too many are under way. */
bool clients_make_request(struct controller *controller, uint32_t model_id);

/* ---- stress.c ---------------------------------------------------------------------------------
 */

struct stress {
  bool has_asked;
  uint32_t first_model_id;
  uint32_t copies; /* 0: not loaded yet */
  uint32_t next_copy;
  uint32_t under_way;
  bool wants_refill; /* a request succeeded: make the next one in this turn */
};

void stress_tick(struct controller *controller);
void stress_on_loaded(struct controller *controller, const struct wire_load_answer *answer);
void stress_on_answer(struct controller *controller, bool is_success);

/* ---- summary.c --------------------------------------------------------------------------------
 */

struct summary {
  struct instant since;
  struct scheduler_counts counts;
  struct usage usage;
  struct histogram latency; /* of successes, since `since` */
};

void summary_print(struct controller *controller);

/* ---- main.c -----------------------------------------------------------------------------------
 */

struct controller {
  struct options options;
  uv_loop_t loop;
  uv_prepare_t prepare;
  uv_timer_t tick;
  uint64_t ticks_count;
  struct signals signals;
  struct wakeup wakeup;
  struct transport *transport;
  struct listener *listener;
  struct body_budget inputs_budget;
  struct body_budget outputs_budget;
  struct recorder *recorder;
  void *scheduler_memory;
  size_t scheduler_memory_bytes;
  struct scheduler *scheduler;
  struct remote_worker *workers;
  struct packages packages;
  void *pools_memory;
  size_t pools_memory_bytes;
  struct pool sessions; /* of struct session */
  struct pool pendings; /* of struct pending */
  struct inputs inputs;
  struct stress stress;
  struct summary summary;
  struct instant started;
  struct instant ticked;         /* workers_tick() last came */
  uint64_t telemetry_request_id; /* counts requests, for telemetry */
  /* The outputs that came with the result being handled; NULL if none. */
  struct body *result_outputs;
  uint32_t result_output_bytes; /* of one request */
  bool is_stopping;
};

#endif
