/* What travels between the simulated machines: the fields of wire/messages.h that decisions depend
 * on, as structs; bytes are only counted. What a kernel says by itself (a connection is accepted,
 * refused, at its end) is a message here, too.
 *
 * One channel stands for all connections that two machines have one after another: each message
 * carries the number of its connection, and what is of an earlier one is passed over.
 */
#ifndef CLOCKWORK_SIMULATOR_MESSAGES_H
#define CLOCKWORK_SIMULATOR_MESSAGES_H

#include <stdint.h>

#include "base/time.h"
#include "executor/executor.h"
#include "model/status.h"

/* Bytes on the wire, frame and TCP/IP headers included, without inputs. */
enum {
  SIGNAL_WIRE_BYTES = 60, /* a connection begins or ends */
  REQUEST_WIRE_BYTES = 120,
  ANSWER_WIRE_BYTES = 120,
  ACTION_WIRE_BYTES = 140,
  ACTION_INPUT_WIRE_BYTES = 16, /* the description of one input */
  RESULT_WIRE_BYTES = 220,
  PING_WIRE_BYTES = 100,
  LOAD_MODEL_WIRE_BYTES = 700, /* either way */
  STATE_WIRE_BYTES = 200,      /* and 4 for each model resident, 500 for each package */
  STATE_PACKAGE_WIRE_BYTES = 500,
  GPU_LOST_WIRE_BYTES = 200,
  /* An input that the controller made has shrunk by about this when it is sent: 602 kB become some
   * 10 kB (controller/inputs.c). */
  MADE_INPUT_COMPRESSION = 60,
};

/* No connection: numbers begin at 1. */
#define CONNECTION_NONE 0

enum request_kind { REQUEST_OPEN, REQUEST_CLOSE, REQUEST_INFER };

/* Client to controller. */
struct request_message {
  enum request_kind kind;
  uint32_t connection;
  struct instant due; /* when the workload wanted it sent */
  uint64_t ticket;    /* the client's, back with the answer */
  uint32_t tag;       /* the workload's, likewise */
  uint32_t user_id;
  uint32_t model_id;
  float slo_factor;
};

enum answer_kind { ANSWER_OPENED, ANSWER_REFUSED, ANSWER_CLOSED, ANSWER_INFER };

/* Controller to client. */
struct answer_message {
  enum answer_kind kind;
  uint32_t connection;
  struct instant due;
  uint64_t ticket;
  uint32_t tag;
  enum request_result result;
};

enum order_kind {
  ORDER_OPEN,
  ORDER_CLOSE,
  ORDER_PING,
  ORDER_GET_STATE,
  ORDER_LOAD_MODEL,
  ORDER_ACTION
};

/* Controller to worker. With its arrival it fills a cache line. */
struct order_message {
  uint8_t kind; /* enum order_kind */
  uint8_t type; /* ACTION: enum action_type */
  uint32_t connection;
  uint32_t package_index; /* LOAD_MODEL */
  uint32_t gpu_index;     /* ACTION, like all below without a name */
  uint32_t model_id;
  uint32_t batch_size;
  union {
    uint64_t action_id;
    struct instant sent;    /* PING: on the controller's clock */
    struct duration unseen; /* CLOSE: so much later the worker's kernel gives the connection up */
  };
  struct instant earliest; /* on the worker's clock */
  struct instant latest;
};

enum report_kind {
  REPORT_OPENED,
  REPORT_REFUSED,
  REPORT_CLOSED,
  REPORT_PONG,
  REPORT_STATE,
  REPORT_MODEL_LOADED,
  REPORT_GPU_LOST,
  REPORT_RESULT
};

/* Worker to controller. Times are on the worker's clock unless said otherwise. */
struct report_message {
  uint8_t kind;    /* enum report_kind */
  uint8_t type;    /* RESULT: enum action_type */
  uint16_t status; /* enum action_status */
  uint32_t connection;
  uint64_t action_id;
  union {
    uint32_t package_index; /* MODEL_LOADED; what STATE says lies in worker_node.state */
    uint32_t gpu_index;     /* GPU_LOST */
  };
  uint32_t model_id;
  uint32_t batch_size;
  uint32_t clock_before_mhz;
  uint32_t clock_after_mhz;
  struct executor_step run;
  struct instant output_end;
  struct instant received; /* of the ping or the action */
  struct instant sent;
  struct instant ping_sent; /* PONG: as it came, on the controller's clock */
};

#endif
