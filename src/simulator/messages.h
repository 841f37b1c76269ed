/* What travels between the simulated machines: the fields of wire/messages.h that decisions depend
 * on, as structs; bytes are only counted.
 */
#ifndef CLOCKWORK_SIMULATOR_MESSAGES_H
#define CLOCKWORK_SIMULATOR_MESSAGES_H

#include <stdint.h>

#include "base/time.h"
#include "executor/executor.h"
#include "model/status.h"

/* Bytes on the wire, frame and TCP/IP headers included, without inputs. */
enum {
  REQUEST_WIRE_BYTES = 120,
  ANSWER_WIRE_BYTES = 120,
  ACTION_WIRE_BYTES = 140,
  ACTION_INPUT_WIRE_BYTES = 16, /* the description of one input */
  RESULT_WIRE_BYTES = 220,
  PING_WIRE_BYTES = 100,
  /* An input that the controller made has shrunk by about this when it is sent: 602 kB become some
   * 10 kB (controller/inputs.c). */
  MADE_INPUT_COMPRESSION = 60,
};

/* Client to controller. */
struct request_message {
  struct instant due; /* when the workload wanted it sent */
  uint32_t tag;       /* the workload's */
  uint32_t user_id;
  uint32_t model_id;
  float slo_factor;
};

/* Controller to client. */
struct answer_message {
  struct instant due;
  uint32_t tag;
  enum request_result result;
};

/* Controller to worker. */
struct order_message {
  enum { ORDER_PING, ORDER_ACTION } kind;
  struct instant sent; /* PING: on the controller's clock */
  uint64_t action_id;
  enum action_type type;
  uint32_t gpu_index;
  uint32_t model_id;
  uint32_t batch_size;
  struct instant earliest; /* on the worker's clock, like all times below */
  struct instant latest;
};

/* Worker to controller. */
struct report_message {
  enum { REPORT_PONG, REPORT_RESULT } kind;
  struct instant ping_sent; /* PONG: as it came, on the controller's clock */
  uint64_t action_id;
  enum action_status status;
  struct executor_step run;
  struct instant output_end;
  uint32_t clock_before_mhz;
  uint32_t clock_after_mhz;
  struct instant received; /* of the ping or the action */
  struct instant sent;
};

#endif
