/* The messages between clients, controller and workers: their fields, encoded into a frame's meta.
 *
 * Every message has encode (into a wire_writer) and decode (from a frame's meta). Decode is safe on
 * any bytes: ERR_MALFORMED, and the output untouched or harmless. Fields that must lie in a range
 * to be usable are checked here, what they mean is checked by who uses them.
 *
 * All times are nanoseconds on the sender's clock unless a field says otherwise; a controller
 * corrects them with the offset it learnt from PING and PONG. Texts are at most their array's size
 * less one, without NUL on the wire.
 */
#ifndef CLOCKWORK_WIRE_MESSAGES_H
#define CLOCKWORK_WIRE_MESSAGES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "model/model.h"
#include "wire/cursor.h"

enum wire_type {
  /* client -> controller, and the answers */
  WIRE_LOAD_REQUEST = 1,
  WIRE_LOAD_ANSWER = 2,
  WIRE_INFER_REQUEST = 3, /* body: the input, if given */
  WIRE_INFER_ANSWER = 4,  /* body: the output, if wanted */
  WIRE_LIST_REQUEST = 5,
  WIRE_LIST_ANSWER = 6,
  WIRE_EVICT_REQUEST = 7,
  WIRE_EVICT_ANSWER = 8,
  /* controller -> worker, and the answers */
  WIRE_PING = 32,
  WIRE_PONG = 33,
  WIRE_LOAD_MODEL = 34, /* LoadModelFromDisk */
  WIRE_MODEL_LOADED = 35,
  WIRE_ACTION = 36, /* LoadWeights, Infer, EvictWeights; body: inputs */
  WIRE_RESULT = 37, /* body: outputs */
  WIRE_GET_STATE = 38,
  WIRE_STATE = 39,
  WIRE_CLEAR_CACHE = 40,
  WIRE_CACHE_CLEARED = 41,
  /* worker -> controller, unasked */
  WIRE_GPU_LOST = 42,
};

enum {
  WIRE_MESSAGE_TEXT_BYTES = 160,
  /* No message without a list is longer than this. */
  WIRE_META_BYTES_SMALL = 2048,
};

/* ---- client and controller --------------------------------------------------------------------
 */

/* "path" is one on the workers. */
struct wire_load_request {
  uint64_t request_id;
  uint32_t copies;
  char path[MODEL_PATH_BYTES];
};

struct wire_load_answer {
  uint64_t request_id;
  uint32_t result; /* enum request_result */
  uint32_t first_model_id;
  uint32_t copies;
  uint64_t input_bytes;
  uint64_t output_bytes;
  int64_t execute_one_ns;                /* batch 1 */
  char message[WIRE_MESSAGE_TEXT_BYTES]; /* why, when result is not success */
};

/* How an input or output stands in a body. */
enum wire_encoding {
  WIRE_RAW = 0,
  WIRE_LZ4 = 1, /* one LZ4 block */
};

struct wire_infer_request {
  uint64_t request_id;
  uint32_t user_id;
  uint32_t model_id;
  uint32_t batch_size;
  double slo_factor;
  uint32_t input_bytes; /* decoded; 0: no input given */
  uint8_t encoding;     /* of the body */
  bool wants_output;
};

struct wire_infer_answer {
  uint64_t request_id;
  uint32_t result; /* enum request_result */
  uint32_t model_id;
  uint32_t batch_size;
  uint32_t output_bytes; /* 0: none */
  int64_t latency_ns;    /* within the controller */
};

struct wire_list_request {
  uint64_t request_id;
  uint32_t first_model_id; /* list from here on */
};

/* Followed in the same meta by entries_count wire_list_entry. A long list comes in parts: the next
 * one is asked for with next_model_id, which is MODEL_ID_NONE in the last part. */
struct wire_list_answer {
  uint64_t request_id;
  uint32_t next_model_id;
  uint32_t entries_count;
};

struct wire_list_entry {
  uint32_t model_id;
  uint64_t input_bytes;
  uint64_t output_bytes;
  int64_t execute_one_ns;
  char name[MODEL_NAME_BYTES];
};

struct wire_evict_request {
  uint64_t request_id;
  uint32_t model_id;
};

struct wire_evict_answer {
  uint64_t request_id;
  uint32_t result; /* enum request_result */
  uint32_t evicted_count;
};

/* ---- controller and worker --------------------------------------------------------------------
 */

struct wire_ping {
  int64_t sent_ns;
};

struct wire_pong {
  int64_t ping_sent_ns;
  int64_t received_ns; /* worker's clock */
  int64_t answered_ns; /* worker's clock */
};

struct wire_load_model {
  uint64_t action_id;
  uint32_t first_model_id;
  uint32_t copies;
  uint32_t max_batch;
  int64_t max_execute_ns;
  char path[MODEL_PATH_BYTES];
};

struct wire_model_loaded {
  uint64_t action_id;
  uint32_t status;        /* enum action_status */
  struct model_spec spec; /* when status is success */
};

/* The times are on the worker's clock: the controller has converted them. */
struct wire_action {
  uint64_t action_id;
  uint8_t type; /* enum action_type */
  uint32_t gpu_index;
  uint32_t model_id;
  uint32_t batch_size;
  int64_t earliest_ns;
  int64_t latest_ns;
  bool wants_outputs;
  /* INFER: how the inputs stand in the body, one after another; 0: none, the worker makes them. */
  uint32_t inputs_count;
};

/* inputs_count of these follow a wire_action in the same meta. */
struct wire_action_input {
  uint32_t input_bytes;  /* decoded; 0: this one has no input */
  uint32_t stored_bytes; /* in the body */
  uint8_t encoding;
};

/* Times on the worker's clock; 0 for steps that did not happen. */
struct wire_result {
  uint64_t action_id;
  uint8_t type;
  uint32_t status;
  uint32_t gpu_index;
  uint32_t model_id;
  uint32_t batch_size;
  int64_t input_begin_ns;
  int64_t input_end_ns;
  int64_t run_begin_ns;
  int64_t run_end_ns;
  int64_t output_begin_ns;
  int64_t output_end_ns;
  uint32_t clock_before_mhz;
  uint32_t clock_after_mhz;
  int64_t received_ns;
  int64_t sent_ns;
  /* Bit i: the batch's input i can't be used, which is why the INFER failed. */
  uint64_t bad_inputs;
};

struct wire_get_state {
  uint64_t action_id;
};

/* Followed in the same meta by gpus_count wire_state_gpu, each directly followed by its resident
 * model ids (u32), then by models_count wire_state_model. */
struct wire_state {
  uint64_t action_id;
  uint32_t gpus_count;
  uint32_t models_count;
};

struct wire_state_gpu {
  char name[64];
  uint32_t pages; /* 0: it is lost */
  uint32_t clock_mhz;
  uint32_t resident_count;
};

/* A package and the ids of its copies. */
struct wire_state_model {
  uint32_t first_model_id;
  uint32_t copies;
  char path[MODEL_PATH_BYTES];
  struct model_spec spec;
};

struct wire_clear_cache {
  uint64_t action_id;
};

struct wire_cache_cleared {
  uint64_t action_id;
  uint32_t pages_freed;
};

/* That GPU of the worker has failed for good: what was under way there is answered with
 * ACTION_GPU_LOST, in RESULTs that may follow. Every STATE from now on gives it no pages. */
struct wire_gpu_lost {
  uint32_t gpu_index;
  char reason[WIRE_MESSAGE_TEXT_BYTES]; /* for a log */
};

/* ---- encode and decode ------------------------------------------------------------------------
 */

/* Every message M, as struct wire_M, has
 *   void wire_encode_M(struct wire_writer *writer, const struct wire_M *message);
 *   enum err wire_decode_M(struct wire_reader *reader, struct wire_M *ret_message);
 * Decode reads just this message's fields, so that lists may follow; finish with
 * wire_reader_finish(). */
#define WIRE_MESSAGES(X)                                                                           \
  X(load_request)                                                                                  \
  X(load_answer)                                                                                   \
  X(infer_request)                                                                                 \
  X(infer_answer)                                                                                  \
  X(list_request)                                                                                  \
  X(list_answer)                                                                                   \
  X(list_entry)                                                                                    \
  X(evict_request)                                                                                 \
  X(evict_answer)                                                                                  \
  X(ping)                                                                                          \
  X(pong)                                                                                          \
  X(load_model)                                                                                    \
  X(model_loaded)                                                                                  \
  X(action)                                                                                        \
  X(action_input)                                                                                  \
  X(result)                                                                                        \
  X(get_state)                                                                                     \
  X(state)                                                                                         \
  X(state_gpu)                                                                                     \
  X(state_model)                                                                                   \
  X(clear_cache)                                                                                   \
  X(cache_cleared)                                                                                 \
  X(gpu_lost)

#define WIRE_DECLARE_(name)                                                                        \
  void wire_encode_##name(struct wire_writer *writer, const struct wire_##name *message);          \
  MUST_USE enum err wire_decode_##name(struct wire_reader *reader, struct wire_##name *ret_message);
WIRE_MESSAGES(WIRE_DECLARE_)
#undef WIRE_DECLARE_

#endif
