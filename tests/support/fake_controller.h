/* A controller for tests of clients: answers what it is told to answer, counts what it was asked,
 * and can be told to misbehave. Lives in the test's own loop.
 */
#ifndef CLOCKWORK_TESTS_SUPPORT_FAKE_CONTROLLER_H
#define CLOCKWORK_TESTS_SUPPORT_FAKE_CONTROLLER_H

#include <lz4.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "backend/emulated/emulated.h"
#include "base/check.h"
#include "model/status.h"
#include "transport/connection.h"
#include "wire/messages.h"

enum {
  FAKE_MODELS_MAX = 4096,
  FAKE_INFERS_KEPT = 65536,
  FAKE_INPUT_BYTES = 12288,
  FAKE_OUTPUT_BYTES = 40,
  FAKE_EXECUTE_ONE_NS = 2730000,
  FAKE_LIST_PART_MAX = 16, /* entries in a part: lists of a few models take several */
  FAKE_META_BYTES = 16 * 1024,
};

struct fake_controller {
  struct transport *transport;
  struct listener *listener;
  struct body_budget budget;
  struct connection *connection; /* the newest; NULL: none */

  char names[FAKE_MODELS_MAX][MODEL_NAME_BYTES]; /* by model id */
  uint32_t models_count;

  /* What it is to do; 0: nothing special. */
  uint32_t initializing_loads; /* so many LOADs are answered with REQUEST_INITIALIZING */
  uint32_t initializing_infers;
  uint32_t refused_infers; /* answered with REQUEST_CANNOT_START */
  bool fails_loads;        /* with a message */
  bool corrupts_outputs;
  bool keeps_silent;           /* INFERs are not answered */
  uint32_t close_after_infers; /* close the connection instead of answering this one, once */
  const char *garbage;         /* sent as the meta of an answer, instead of the right one ... */
  size_t garbage_bytes;
  uint16_t garbage_for;         /* ... to requests of this wire_type ... */
  uint32_t garbage_count;       /* ... so many times */
  uint16_t garbage_type;        /* ... in a frame of this type */
  bool answers_twice;           /* INFERs */
  uint32_t signal_after_infers; /* then `on_infers` is called, once */
  void (*on_infers)(struct fake_controller *fake);
  void *user;

  /* What it saw. */
  uint32_t connections_count;
  uint32_t loads_count; /* that were granted */
  uint32_t lists_count; /* parts */
  uint32_t evicts_count;
  uint32_t infers_count;
  uint32_t inputs_count; /* INFERs that had one, decoded to the right size */
  uint32_t infer_models[FAKE_INFERS_KEPT];
  uint32_t infer_users[FAKE_INFERS_KEPT];
  char last_path[MODEL_PATH_BYTES];
};

static inline void fake_send(struct connection *connection, uint16_t type,
                             const struct wire_writer *writer, const struct body_slice *slice) {
  CHECK(!writer->has_failed);
  CHECK_EQ(connection_send(connection, type, writer->start, writer->used_bytes, slice,
                           slice == NULL ? 0 : 1),
           ERR_OK);
}

static inline uint32_t fake_add_model(struct fake_controller *fake, const char *name) {
  CHECK_LT(fake->models_count, FAKE_MODELS_MAX);
  snprintf(fake->names[fake->models_count], MODEL_NAME_BYTES, "%.63s", name);
  return fake->models_count++;
}

/* True if garbage was sent instead of an answer. */
static inline bool fake_sends_garbage(struct fake_controller *fake, struct connection *connection,
                                      uint16_t request_type) {
  if (fake->garbage_count == 0 || fake->garbage_for != request_type) {
    return false;
  }
  fake->garbage_count--;
  CHECK_EQ(
      connection_send(connection, fake->garbage_type, fake->garbage, fake->garbage_bytes, NULL, 0),
      ERR_OK);
  return true;
}

static inline void fake_on_load(struct fake_controller *fake, struct connection *connection,
                                struct wire_reader *reader) {
  struct wire_load_request request;
  CHECK_EQ(wire_decode_load_request(reader, &request), ERR_OK);
  CHECK_EQ(wire_reader_finish(reader), ERR_OK);
  struct wire_load_answer answer = {.request_id = request.request_id};
  if (fake->initializing_loads > 0) {
    fake->initializing_loads--;
    answer.result = REQUEST_INITIALIZING;
  } else if (fake->fails_loads) {
    answer.result = REQUEST_ERROR;
    snprintf(answer.message, sizeof(answer.message), "no such package");
  } else {
    fake->loads_count++;
    memcpy(fake->last_path, request.path, sizeof(fake->last_path));
    const char *slash = strrchr(request.path, '/');
    answer.first_model_id = fake->models_count;
    for (uint32_t i = 0; i < request.copies; i++) {
      fake_add_model(fake, slash == NULL ? request.path : slash + 1);
    }
    answer.copies = request.copies;
    answer.input_bytes = FAKE_INPUT_BYTES;
    answer.output_bytes = FAKE_OUTPUT_BYTES;
    answer.execute_one_ns = FAKE_EXECUTE_ONE_NS;
  }
  unsigned char meta[WIRE_META_BYTES_SMALL];
  struct wire_writer writer = wire_writer_over(meta, sizeof(meta));
  wire_encode_load_answer(&writer, &answer);
  fake_send(connection, WIRE_LOAD_ANSWER, &writer, NULL);
}

static inline void fake_on_list(struct fake_controller *fake, struct connection *connection,
                                struct wire_reader *reader) {
  struct wire_list_request request;
  CHECK_EQ(wire_decode_list_request(reader, &request), ERR_OK);
  CHECK_EQ(wire_reader_finish(reader), ERR_OK);
  fake->lists_count++;
  const uint32_t left =
      request.first_model_id < fake->models_count ? fake->models_count - request.first_model_id : 0;
  const uint32_t count = left < FAKE_LIST_PART_MAX ? left : FAKE_LIST_PART_MAX;
  const struct wire_list_answer answer = {
      .request_id = request.request_id,
      .next_model_id = count < left ? request.first_model_id + count : MODEL_ID_NONE,
      .entries_count = count};
  unsigned char meta[FAKE_META_BYTES];
  struct wire_writer writer = wire_writer_over(meta, sizeof(meta));
  wire_encode_list_answer(&writer, &answer);
  for (uint32_t i = 0; i < count; i++) {
    struct wire_list_entry entry = {.model_id = request.first_model_id + i,
                                    .input_bytes = FAKE_INPUT_BYTES,
                                    .output_bytes = FAKE_OUTPUT_BYTES,
                                    .execute_one_ns = FAKE_EXECUTE_ONE_NS};
    memcpy(entry.name, fake->names[entry.model_id], sizeof(entry.name));
    wire_encode_list_entry(&writer, &entry);
  }
  fake_send(connection, WIRE_LIST_ANSWER, &writer, NULL);
}

static inline void fake_on_evict(struct fake_controller *fake, struct connection *connection,
                                 struct wire_reader *reader) {
  struct wire_evict_request request;
  CHECK_EQ(wire_decode_evict_request(reader, &request), ERR_OK);
  fake->evicts_count++;
  const struct wire_evict_answer answer = {
      .request_id = request.request_id, .result = REQUEST_SUCCESS, .evicted_count = 2};
  unsigned char meta[WIRE_META_BYTES_SMALL];
  struct wire_writer writer = wire_writer_over(meta, sizeof(meta));
  wire_encode_evict_answer(&writer, &answer);
  fake_send(connection, WIRE_EVICT_ANSWER, &writer, NULL);
}

/* What an emulated worker would say. NULL: no output is wanted. */
static inline struct body *fake_run(struct fake_controller *fake,
                                    const struct wire_infer_request *request, struct body *body) {
  unsigned char input[FAKE_INPUT_BYTES];
  const void *decoded = NULL;
  if (request->input_bytes > 0) {
    CHECK_EQ(request->input_bytes, FAKE_INPUT_BYTES);
    CHECK(body != NULL);
    if (request->encoding == WIRE_LZ4) {
      CHECK_EQ(LZ4_decompress_safe((const char *)body->data, (char *)input, (int)body->bytes,
                                   FAKE_INPUT_BYTES),
               FAKE_INPUT_BYTES);
      decoded = input;
    } else {
      CHECK_EQ(body->bytes, FAKE_INPUT_BYTES);
      decoded = body->data;
    }
    fake->inputs_count++;
  }
  if (!request->wants_output) {
    return NULL;
  }
  struct body *output = body_create(&fake->budget, FAKE_OUTPUT_BYTES);
  CHECK(output != NULL);
  emulated_output(fake->names[request->model_id], decoded, request->input_bytes, output->data,
                  FAKE_OUTPUT_BYTES);
  if (fake->corrupts_outputs) {
    output->data[0] ^= 1;
  }
  return output;
}

static inline void fake_answer_infer(struct fake_controller *fake, struct connection *connection,
                                     const struct wire_infer_request *request, struct body *body) {
  struct wire_infer_answer answer = {
      .request_id = request->request_id, .model_id = request->model_id, .batch_size = 1};
  struct body *output = NULL;
  if (fake->initializing_infers > 0) {
    fake->initializing_infers--;
    answer.result = REQUEST_INITIALIZING;
  } else if (fake->refused_infers > 0) {
    fake->refused_infers--;
    answer.result = REQUEST_CANNOT_START;
  } else {
    CHECK_LT(request->model_id, fake->models_count);
    output = fake_run(fake, request, body);
    answer.output_bytes = output == NULL ? 0 : output->bytes;
  }
  unsigned char meta[WIRE_META_BYTES_SMALL];
  struct wire_writer writer = wire_writer_over(meta, sizeof(meta));
  wire_encode_infer_answer(&writer, &answer);
  const struct body_slice slice = {.body = output, .count_bytes = answer.output_bytes};
  for (int i = 0; i < (fake->answers_twice ? 2 : 1); i++) {
    fake_send(connection, WIRE_INFER_ANSWER, &writer, output == NULL ? NULL : &slice);
  }
  body_release(output);
}

static inline void fake_on_infer(struct fake_controller *fake, struct connection *connection,
                                 struct wire_reader *reader, struct body *body) {
  struct wire_infer_request request;
  CHECK_EQ(wire_decode_infer_request(reader, &request), ERR_OK);
  CHECK_EQ(wire_reader_finish(reader), ERR_OK);
  CHECK_EQ(request.batch_size, 1);
  if (fake->infers_count < FAKE_INFERS_KEPT) {
    fake->infer_models[fake->infers_count] = request.model_id;
    fake->infer_users[fake->infers_count] = request.user_id;
  }
  fake->infers_count++;
  if (fake->infers_count == fake->signal_after_infers) {
    fake->on_infers(fake);
  }
  if (fake->infers_count == fake->close_after_infers) {
    connection_close(connection);
  } else if (!fake->keeps_silent) {
    fake_answer_infer(fake, connection, &request, body);
  }
}

static inline void fake_on_frame(struct connection *connection, uint16_t type,
                                 const unsigned char *meta, size_t meta_bytes, struct body *body) {
  struct fake_controller *fake = connection_owner(connection);
  struct wire_reader reader = wire_reader_over(meta, meta_bytes);
  if (fake_sends_garbage(fake, connection, type)) {
    return;
  }
  switch (type) {
  case WIRE_LOAD_REQUEST:
    fake_on_load(fake, connection, &reader);
    break;
  case WIRE_LIST_REQUEST:
    fake_on_list(fake, connection, &reader);
    break;
  case WIRE_EVICT_REQUEST:
    fake_on_evict(fake, connection, &reader);
    break;
  default:
    CHECK_EQ(type, WIRE_INFER_REQUEST);
    fake_on_infer(fake, connection, &reader, body);
    break;
  }
}

static inline void fake_on_opened(struct connection *connection) {
  struct fake_controller *fake = connection_owner(connection);
  fake->connections_count++;
  fake->connection = connection;
}

static inline void fake_on_closed(struct connection *connection, const char *reason) {
  (void)reason;
  struct fake_controller *fake = connection_owner(connection);
  if (fake->connection == connection) {
    fake->connection = NULL;
  }
}

/* Listen on a free port of the loopback. */
static inline struct fake_controller *fake_controller_create(uv_loop_t *loop) {
  struct fake_controller *fake = calloc(1, sizeof(*fake));
  CHECK(fake != NULL);
  body_budget_init(&fake->budget, 64 << 20);
  fake->transport = transport_create(loop);
  CHECK(fake->transport != NULL);
  struct address any;
  CHECK_EQ(address_parse("127.0.0.1:0", 0, &any, NULL), ERR_OK);
  const struct listener_options options = {.connection = {.handlers = {.on_opened = fake_on_opened,
                                                                       .on_frame = fake_on_frame,
                                                                       .on_closed = fake_on_closed},
                                                          .owner = fake,
                                                          .budget = &fake->budget}};
  CHECK_EQ(transport_listen(fake->transport, &any, &options, &fake->listener, NULL), ERR_OK);
  return fake;
}

static inline const struct address *fake_controller_address(const struct fake_controller *fake) {
  return listener_address(fake->listener);
}

/* The loop ends when nothing else is in it. */
static inline void fake_controller_close(struct fake_controller *fake) {
  transport_close(fake->transport);
}

static inline void fake_controller_destroy(struct fake_controller *fake) {
  transport_destroy(fake->transport);
  body_budget_finish(&fake->budget);
  free(fake);
}

#endif
