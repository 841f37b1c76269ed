/* The worker as a controller meets it: the real program on a loopback port. */
#include <lz4.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "backend/emulated/emulated.h"
#include "base/prng.h"
#include "support/cmocka.h"
#include "support/program.h"
#include "support/wire_peer.h"

enum {
  INPUT_BYTES = 602112, /* resnet50_v2 */
  OUTPUT_BYTES = 4000,
  RESNET_PAGES = 7,
  /* After this something hangs. */
  PATIENCE_S = 120,
};

static const char MODEL[] = "resnet50_v2";

struct running {
  struct program program;
  char address[64];
};

static struct running start(const char *const *more) {
  const char *arguments[24] = {"--listen", "127.0.0.1:0", "--name", "w1", "--backend", "emulated"};
  for (size_t i = 0; more != NULL && more[i] != NULL; i++) {
    arguments[6 + i] = more[i];
  }
  alarm(PATIENCE_S);
  struct running running = {.program = program_start("worker", arguments)};
  char line[512];
  const bool is_listening =
      program_wait_for_line(&running.program, "listens on ", sizeof(line), line);
  assert_true(is_listening);
  line[strcspn(line, "\n")] = '\0';
  snprintf(running.address, sizeof(running.address), "%s", strstr(line, "listens on ") + 11);
  return running;
}

/* Ends it with SIGTERM; it must end well. */
static void stop(struct running *running, size_t capacity, char *ret_output) {
  assert_int_equal(kill(running->program.pid, SIGTERM), 0);
  const int status = program_wait(&running->program, capacity, ret_output);
  if (status != 0) {
    print_message("%s", ret_output);
  }
  assert_int_equal(status, 0);
}

static void stop_quietly(struct running *running) {
  char output[8192];
  stop(running, sizeof(output), output);
  assert_non_null(strstr(output, "Exiting"));
}

/* ---- messages -------------------------------------------------------------------------------- */

static struct wire_model_loaded load_model(struct wire_peer *peer, uint32_t first_model_id,
                                           uint32_t copies, const char *path) {
  struct wire_load_model message = {
      .action_id = 77, .first_model_id = first_model_id, .copies = copies};
  snprintf(message.path, sizeof(message.path), "%s", path);
  unsigned char meta[WIRE_META_BYTES_SMALL];
  struct wire_writer writer = wire_writer_over(meta, sizeof(meta));
  wire_encode_load_model(&writer, &message);
  wire_peer_send(peer, WIRE_LOAD_MODEL, &writer, NULL, 0);
  struct wire_peer_frame frame = wire_peer_receive(peer, WIRE_MODEL_LOADED);
  struct wire_reader reader = wire_reader_over(frame.meta, frame.meta_bytes);
  struct wire_model_loaded loaded;
  assert_int_equal(wire_decode_model_loaded(&reader, &loaded), ERR_OK);
  assert_int_equal(loaded.action_id, 77);
  free(frame.meta);
  return loaded;
}

static struct wire_action action_of(enum action_type type, uint32_t model_id) {
  return (struct wire_action){
      .action_id = 1000 + model_id,
      .type = (uint8_t)type,
      .model_id = model_id,
      .batch_size = type == ACTION_INFER ? 1 : 0,
      .earliest_ns = 0,
      .latest_ns = os_now().ns + 100 * NS_PER_S,
  };
}

static void send_action(struct wire_peer *peer, const struct wire_action *action,
                        const struct wire_action_input *inputs, const void *body,
                        size_t body_bytes) {
  unsigned char meta[WIRE_META_BYTES_SMALL];
  struct wire_writer writer = wire_writer_over(meta, sizeof(meta));
  wire_encode_action(&writer, action);
  for (uint32_t i = 0; i < action->inputs_count; i++) {
    wire_encode_action_input(&writer, &inputs[i]);
  }
  wire_peer_send(peer, WIRE_ACTION, &writer, body, body_bytes);
}

static struct wire_result receive_result(struct wire_peer *peer, struct body **ret_outputs) {
  struct wire_peer_frame frame = wire_peer_receive(peer, WIRE_RESULT);
  struct wire_reader reader = wire_reader_over(frame.meta, frame.meta_bytes);
  struct wire_result result;
  assert_int_equal(wire_decode_result(&reader, &result), ERR_OK);
  assert_int_equal(wire_reader_finish(&reader), ERR_OK);
  free(frame.meta);
  if (ret_outputs != NULL) {
    *ret_outputs = frame.body;
  } else {
    assert_null(frame.body);
  }
  return result;
}

static struct wire_result run_action(struct wire_peer *peer, const struct wire_action *action) {
  send_action(peer, action, NULL, NULL, 0);
  const struct wire_result result = receive_result(peer, NULL);
  assert_int_equal(result.action_id, action->action_id);
  assert_int_equal(result.type, action->type);
  return result;
}

static uint32_t status_of(struct wire_peer *peer, const struct wire_action *action) {
  return run_action(peer, action).status;
}

struct state {
  struct wire_state head;
  struct wire_state_gpu gpus[4];
  uint32_t resident[4][64];
  struct wire_state_model models[16];
};

static void ask_state(struct wire_peer *peer) {
  unsigned char meta[WIRE_META_BYTES_SMALL];
  struct wire_writer writer = wire_writer_over(meta, sizeof(meta));
  wire_encode_get_state(&writer, &(struct wire_get_state){.action_id = 5});
  wire_peer_send(peer, WIRE_GET_STATE, &writer, NULL, 0);
}

static void get_state(struct wire_peer *peer, struct state *ret_state) {
  ask_state(peer);
  struct wire_peer_frame frame = wire_peer_receive(peer, WIRE_STATE);
  struct wire_reader reader = wire_reader_over(frame.meta, frame.meta_bytes);
  assert_int_equal(wire_decode_state(&reader, &ret_state->head), ERR_OK);
  assert_int_equal(ret_state->head.action_id, 5);
  assert_in_range(ret_state->head.gpus_count, 1, 4);
  assert_in_range(ret_state->head.models_count, 0, 16);
  for (uint32_t i = 0; i < ret_state->head.gpus_count; i++) {
    assert_int_equal(wire_decode_state_gpu(&reader, &ret_state->gpus[i]), ERR_OK);
    assert_in_range(ret_state->gpus[i].resident_count, 0, 64);
    for (uint32_t j = 0; j < ret_state->gpus[i].resident_count; j++) {
      ret_state->resident[i][j] = wire_read_u32(&reader);
    }
  }
  for (uint32_t i = 0; i < ret_state->head.models_count; i++) {
    assert_int_equal(wire_decode_state_model(&reader, &ret_state->models[i]), ERR_OK);
  }
  assert_int_equal(wire_reader_finish(&reader), ERR_OK);
  free(frame.meta);
}

static uint32_t clear_cache(struct wire_peer *peer) {
  unsigned char meta[WIRE_META_BYTES_SMALL];
  struct wire_writer writer = wire_writer_over(meta, sizeof(meta));
  wire_encode_clear_cache(&writer, &(struct wire_clear_cache){.action_id = 6});
  wire_peer_send(peer, WIRE_CLEAR_CACHE, &writer, NULL, 0);
  struct wire_peer_frame frame = wire_peer_receive(peer, WIRE_CACHE_CLEARED);
  struct wire_reader reader = wire_reader_over(frame.meta, frame.meta_bytes);
  struct wire_cache_cleared cleared;
  assert_int_equal(wire_decode_cache_cleared(&reader, &cleared), ERR_OK);
  assert_int_equal(cleared.action_id, 6);
  free(frame.meta);
  return cleared.pages_freed;
}

/* A worker with resnet50_v2 as model 0 and 1, and 0 on the GPU. */
static struct wire_peer *open_with_weights(const struct running *running) {
  struct wire_peer *peer = wire_peer_open(running->address);
  assert_int_equal(load_model(peer, 0, 2, MODEL).status, ACTION_SUCCESS);
  const struct wire_action load = action_of(ACTION_LOAD, 0);
  assert_int_equal(status_of(peer, &load), ACTION_SUCCESS);
  return peer;
}

/* ---- inputs ---------------------------------------------------------------------------------- */

static void fill_input(uint32_t seed, unsigned char *ret_input) {
  for (uint32_t i = 0; i < INPUT_BYTES; i++) {
    ret_input[i] = (unsigned char)(seed + i / 64);
  }
}

static void check_output(const struct body *outputs, uint32_t index, const void *input) {
  unsigned char expected[OUTPUT_BYTES];
  emulated_output(MODEL, input, INPUT_BYTES, expected, sizeof(expected));
  assert_memory_equal(outputs->data + (size_t)index * OUTPUT_BYTES, expected, sizeof(expected));
}

/* A batch of four: raw, compressed, none, and one that is not there at all. */
struct batch {
  unsigned char input[2][INPUT_BYTES];
  unsigned char body[2 * INPUT_BYTES];
  size_t body_bytes;
  struct wire_action_input descriptors[2 * MODEL_BATCH_MAX];
};

static struct batch *batch_create(void) {
  struct batch *batch = calloc(1, sizeof(*batch));
  assert_non_null(batch);
  fill_input(1, batch->input[0]);
  fill_input(2, batch->input[1]);
  memcpy(batch->body, batch->input[0], INPUT_BYTES);
  const int stored_bytes = LZ4_compress_default(
      (const char *)batch->input[1], (char *)batch->body + INPUT_BYTES, INPUT_BYTES, INPUT_BYTES);
  assert_in_range(stored_bytes, 1, INPUT_BYTES);
  batch->body_bytes = INPUT_BYTES + (size_t)stored_bytes;
  batch->descriptors[0] = (struct wire_action_input){
      .input_bytes = INPUT_BYTES, .stored_bytes = INPUT_BYTES, .encoding = WIRE_RAW};
  batch->descriptors[1] = (struct wire_action_input){
      .input_bytes = INPUT_BYTES, .stored_bytes = (uint32_t)stored_bytes, .encoding = WIRE_LZ4};
  return batch;
}

static struct wire_action infer_of_batch(uint32_t inputs_count) {
  struct wire_action action = action_of(ACTION_INFER, 0);
  action.batch_size = 4;
  action.wants_outputs = true;
  action.inputs_count = inputs_count;
  return action;
}

static uint32_t status_of_batch(struct wire_peer *peer, const struct batch *batch,
                                uint32_t inputs_count) {
  const struct wire_action action = infer_of_batch(inputs_count);
  send_action(peer, &action, batch->descriptors, batch->body, batch->body_bytes);
  struct body *outputs = NULL;
  const struct wire_result result = receive_result(peer, &outputs);
  assert_int_equal(outputs != NULL, result.status == ACTION_SUCCESS);
  body_release(outputs);
  return result.status;
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void state_and_clock(void **unused) {
  (void)unused;
  struct running running =
      start((const char *[]){"--gpus", "2", "--pages", "10,20", "--clock", "1000", NULL});
  struct wire_peer *peer = wire_peer_open(running.address);
  struct state *state = calloc(1, sizeof(*state));
  assert_non_null(state);
  get_state(peer, state);
  assert_int_equal(state->head.gpus_count, 2);
  assert_int_equal(state->head.models_count, 0);
  assert_int_equal(state->gpus[0].pages, 10);
  assert_int_equal(state->gpus[1].pages, 20);
  assert_int_equal(state->gpus[1].clock_mhz, 1000);
  assert_string_equal(state->gpus[1].name, "w1 GPU 1: emulated");

  const int64_t before_ns = os_now().ns;
  unsigned char meta[WIRE_META_BYTES_SMALL];
  struct wire_writer writer = wire_writer_over(meta, sizeof(meta));
  wire_encode_ping(&writer, &(struct wire_ping){.sent_ns = -4});
  wire_peer_send(peer, WIRE_PING, &writer, NULL, 0);
  struct wire_peer_frame frame = wire_peer_receive(peer, WIRE_PONG);
  struct wire_reader reader = wire_reader_over(frame.meta, frame.meta_bytes);
  struct wire_pong pong;
  assert_int_equal(wire_decode_pong(&reader, &pong), ERR_OK);
  assert_int_equal(pong.ping_sent_ns, -4);
  assert_true(before_ns <= pong.received_ns);
  assert_true(pong.received_ns <= pong.answered_ns);
  assert_true(pong.answered_ns <= os_now().ns);
  free(frame.meta);

  assert_int_equal(load_model(peer, 10, 2, MODEL).status, ACTION_SUCCESS);
  struct wire_action load = action_of(ACTION_LOAD, 11);
  load.gpu_index = 1;
  assert_int_equal(status_of(peer, &load), ACTION_SUCCESS);
  get_state(peer, state);
  assert_int_equal(state->head.models_count, 1);
  assert_int_equal(state->models[0].first_model_id, 10);
  assert_int_equal(state->models[0].copies, 2);
  assert_string_equal(state->models[0].path, MODEL);
  assert_int_equal(state->models[0].spec.weights_pages, RESNET_PAGES);
  assert_int_equal(state->gpus[0].resident_count, 0);
  assert_int_equal(state->gpus[1].resident_count, 1);
  assert_int_equal(state->resident[1][0], 11);
  free(state);
  wire_peer_close(peer);
  stop_quietly(&running);
}

static void models(void **unused) {
  (void)unused;
  struct running running = start((const char *[]){"--models", "100", NULL});
  struct wire_peer *peer = wire_peer_open(running.address);
  assert_int_equal(load_model(peer, 0, 1, "nothing").status, ACTION_INVALID_MODEL_PATH);
  const struct wire_model_loaded first = load_model(peer, 0, 3, "/some/folder/resnet50_v2/");
  assert_int_equal(first.status, ACTION_SUCCESS);
  assert_string_equal(first.spec.name, MODEL);
  assert_int_equal(first.spec.input_bytes, INPUT_BYTES);
  assert_int_equal(first.spec.output_bytes, OUTPUT_BYTES);
  assert_int_equal(first.spec.batch_kinds, 5);

  const struct wire_model_loaded again = load_model(peer, 0, 3, "/some/folder/resnet50_v2/");
  assert_int_equal(again.status, ACTION_SUCCESS);
  assert_int_equal(again.spec.load.ns, first.spec.load.ns);
  assert_int_equal(load_model(peer, 0, 3, "resnet18_v2").status, ACTION_INVALID_MODEL_ID);
  assert_int_equal(load_model(peer, 0, 2, "/some/folder/resnet50_v2/").status,
                   ACTION_INVALID_MODEL_ID);
  assert_int_equal(load_model(peer, 2, 2, MODEL).status, ACTION_INVALID_MODEL_ID);
  assert_int_equal(load_model(peer, 99, 2, MODEL).status, ACTION_INVALID_MODEL_ID);
  assert_int_equal(load_model(peer, UINT32_MAX, 1, MODEL).status, ACTION_INVALID_MODEL_ID);
  assert_int_equal(load_model(peer, 1, UINT32_MAX, MODEL).status, ACTION_INVALID_MODEL_ID);
  assert_int_equal(load_model(peer, 5, 0, MODEL).status, ACTION_INVALID_MODEL_ID);
  /* Ids of a failed load are free again. */
  assert_int_equal(load_model(peer, 10, 5, "nothing").status, ACTION_INVALID_MODEL_PATH);
  assert_int_equal(load_model(peer, 12, 88, MODEL).status, ACTION_SUCCESS);
  wire_peer_close(peer);

  /* All of it is still there for the next controller. */
  peer = wire_peer_open(running.address);
  struct state *state = calloc(1, sizeof(*state));
  assert_non_null(state);
  get_state(peer, state);
  assert_int_equal(state->head.models_count, 2);
  assert_int_equal(load_model(peer, 12, 88, MODEL).status, ACTION_SUCCESS);
  free(state);
  wire_peer_close(peer);
  stop_quietly(&running);
}

static void life_of_weights(void **unused) {
  (void)unused;
  struct running running = start((const char *[]){"--pages", "10", NULL});
  struct wire_peer *peer = wire_peer_open(running.address);
  assert_int_equal(load_model(peer, 0, 2, MODEL).status, ACTION_SUCCESS);
  struct wire_action infer = action_of(ACTION_INFER, 0);
  const struct wire_action load = action_of(ACTION_LOAD, 0);
  const struct wire_action load_other = action_of(ACTION_LOAD, 1);
  const struct wire_action evict = action_of(ACTION_EVICT, 0);

  assert_int_equal(status_of(peer, &infer), ACTION_EXECUTE_WEIGHTS_MISSING);
  const int64_t before_ns = os_now().ns;
  const struct wire_result loaded = run_action(peer, &load);
  assert_int_equal(loaded.status, ACTION_SUCCESS);
  assert_true(before_ns <= loaded.received_ns);
  assert_true(loaded.received_ns <= loaded.run_begin_ns);
  assert_true(loaded.run_begin_ns < loaded.run_end_ns);
  assert_true(loaded.run_end_ns <= loaded.sent_ns);
  assert_int_equal(status_of(peer, &load), ACTION_WEIGHTS_ALREADY_LOADED);
  assert_int_equal(status_of(peer, &load_other), ACTION_LOAD_INSUFFICIENT_CACHE);

  infer.earliest_ns = os_now().ns + 30 * NS_PER_MS;
  const struct wire_result inferred = run_action(peer, &infer);
  assert_int_equal(inferred.status, ACTION_SUCCESS);
  assert_true(inferred.run_begin_ns >= infer.earliest_ns);
  assert_true(inferred.input_begin_ns > 0);
  assert_true(inferred.input_end_ns <= inferred.run_begin_ns);
  assert_true(inferred.run_end_ns <= inferred.output_begin_ns);
  assert_true(inferred.output_end_ns <= inferred.sent_ns);
  assert_int_equal(inferred.clock_before_mhz, 1380);

  assert_int_equal(status_of(peer, &evict), ACTION_SUCCESS);
  assert_int_equal(status_of(peer, &evict), ACTION_EVICT_NOT_IN_CACHE);
  assert_int_equal(status_of(peer, &load_other), ACTION_SUCCESS);
  assert_int_equal(clear_cache(peer), RESNET_PAGES);
  assert_int_equal(clear_cache(peer), 0);
  assert_int_equal(status_of(peer, &load), ACTION_SUCCESS);
  wire_peer_close(peer);
  stop_quietly(&running);
}

static void inputs_and_outputs(void **unused) {
  (void)unused;
  struct running running = start(NULL);
  struct wire_peer *peer = open_with_weights(&running);
  struct batch *batch = batch_create();

  const struct wire_action infer = infer_of_batch(3);
  send_action(peer, &infer, batch->descriptors, batch->body, batch->body_bytes);
  struct body *outputs = NULL;
  const struct wire_result result = receive_result(peer, &outputs);
  assert_int_equal(result.status, ACTION_SUCCESS);
  assert_int_equal(result.batch_size, 4);
  assert_non_null(outputs);
  assert_int_equal(outputs->bytes, 4 * OUTPUT_BYTES);
  check_output(outputs, 0, batch->input[0]);
  check_output(outputs, 1, batch->input[1]);
  check_output(outputs, 2, NULL);
  check_output(outputs, 3, NULL);
  body_release(outputs);

  struct wire_action alone = action_of(ACTION_INFER, 0);
  alone.wants_outputs = true;
  send_action(peer, &alone, NULL, NULL, 0);
  assert_int_equal(receive_result(peer, &outputs).status, ACTION_SUCCESS);
  assert_int_equal(outputs->bytes, OUTPUT_BYTES);
  check_output(outputs, 0, NULL);
  body_release(outputs);
  alone.wants_outputs = false;
  assert_int_equal(status_of(peer, &alone), ACTION_SUCCESS);

  free(batch);
  wire_peer_close(peer);
  stop_quietly(&running);
}

static void wrong_inputs(void **unused) {
  (void)unused;
  struct running running = start(NULL);
  struct wire_peer *peer = open_with_weights(&running);
  struct batch *batch = batch_create();
  struct wire_action_input *raw = &batch->descriptors[0];
  struct wire_action_input *packed = &batch->descriptors[1];
  assert_int_equal(status_of_batch(peer, batch, 2), ACTION_SUCCESS);
  assert_int_equal(status_of_batch(peer, batch, 1), ACTION_INPUT_BAD_SIZES);
  assert_int_equal(status_of_batch(peer, batch, 0), ACTION_INPUT_BAD_SIZES);
  assert_int_equal(status_of_batch(peer, batch, 5), ACTION_INPUT_BATCH_SIZE);
  assert_int_equal(status_of_batch(peer, batch, 100), ACTION_INPUT_BATCH_SIZE);
  raw->input_bytes--;
  raw->stored_bytes--;
  assert_int_equal(status_of_batch(peer, batch, 2), ACTION_INPUT_BAD_SIZES);
  raw->input_bytes++;
  assert_int_equal(status_of_batch(peer, batch, 2), ACTION_INPUT_BAD_SIZES);
  raw->stored_bytes++;
  packed->stored_bytes = UINT32_MAX;
  assert_int_equal(status_of_batch(peer, batch, 2), ACTION_INPUT_BAD_SIZES);
  packed->stored_bytes = (uint32_t)batch->body_bytes - INPUT_BYTES;

  /* The compressed one cut short, then spoilt, then of another length than it says. */
  batch->body_bytes -= 100;
  packed->stored_bytes -= 100;
  assert_int_equal(status_of_batch(peer, batch, 2), ACTION_INPUT_BAD_DECOMPRESSION);
  memset(batch->body + INPUT_BYTES, 0xff, packed->stored_bytes);
  assert_int_equal(status_of_batch(peer, batch, 2), ACTION_INPUT_BAD_DECOMPRESSION);
  const int short_bytes =
      LZ4_compress_default((const char *)batch->input[1], (char *)batch->body + INPUT_BYTES,
                           INPUT_BYTES - 1, INPUT_BYTES);
  batch->body_bytes = INPUT_BYTES + (size_t)short_bytes;
  packed->stored_bytes = (uint32_t)short_bytes;
  assert_int_equal(status_of_batch(peer, batch, 2), ACTION_INPUT_BAD_SIZES);

  const struct wire_action plain = action_of(ACTION_INFER, 0);
  assert_int_equal(status_of(peer, &plain), ACTION_SUCCESS);
  free(batch);
  wire_peer_close(peer);
  stop_quietly(&running);
}

/* Too many bytes for the host's memory: refused, and again possible when it is less. */
static void host_memory(void **unused) {
  (void)unused;
  char path[] = "/tmp/clockwork_worker_XXXXXX";
  const int fd = mkstemp(path);
  assert_true(fd >= 0);
  static const char CONFIG[] = "worker: { host_io_pool_size = 1572864; gpus = 2; };\n";
  assert_int_equal(write(fd, CONFIG, strlen(CONFIG)), (int)strlen(CONFIG));
  close(fd);
  setenv("CLOCKWORK_CONFIG_FILE", path, 1);
  struct running running = start(NULL);
  unsetenv("CLOCKWORK_CONFIG_FILE");
  unlink(path);

  struct wire_peer *peer = open_with_weights(&running);
  struct batch *batch = batch_create();
  batch->descriptors[0] = batch->descriptors[1];
  batch->descriptors[2] = batch->descriptors[1];
  const uint32_t packed_bytes = batch->descriptors[1].stored_bytes;
  batch->body_bytes = 0;
  for (int i = 0; i < 3; i++) {
    memmove(batch->body + batch->body_bytes, batch->body + INPUT_BYTES, packed_bytes);
    batch->body_bytes += packed_bytes;
  }
  assert_int_equal(status_of_batch(peer, batch, 3), ACTION_INPUT_HOST_MEMORY);
  batch->body_bytes = packed_bytes;
  assert_int_equal(status_of_batch(peer, batch, 1), ACTION_SUCCESS);
  struct state *state = calloc(1, sizeof(*state));
  assert_non_null(state);
  get_state(peer, state);
  assert_int_equal(state->head.gpus_count, 2);
  free(state);
  free(batch);
  wire_peer_close(peer);
  stop_quietly(&running);
}

static void refusals(void **unused) {
  (void)unused;
  struct running running = start(NULL);
  struct wire_peer *peer = open_with_weights(&running);
  const enum action_type types[] = {ACTION_LOAD, ACTION_INFER, ACTION_EVICT};
  const uint32_t unknown[] = {ACTION_LOAD_UNKNOWN_MODEL, ACTION_INPUT_UNKNOWN_MODEL,
                              ACTION_EVICT_UNKNOWN_MODEL};
  const uint32_t late[] = {ACTION_LOAD_TOO_LATE, ACTION_INPUT_TOO_LATE, ACTION_EVICT_TOO_LATE};
  for (int i = 0; i < 3; i++) {
    struct wire_action action = action_of(types[i], 50);
    assert_int_equal(status_of(peer, &action), unknown[i]);
    action = action_of(types[i], 0);
    action.gpu_index = 1;
    assert_int_equal(status_of(peer, &action), ACTION_INVALID_GPU);
    action = action_of(types[i], 0);
    action.earliest_ns = action.latest_ns + 1;
    assert_int_equal(status_of(peer, &action), ACTION_INVALID);
    action = action_of(types[i], 0);
    action.latest_ns = os_now().ns - 1;
    assert_int_equal(status_of(peer, &action), late[i]);
    action.earliest_ns = INT64_MIN;
    action.latest_ns = INT64_MIN;
    assert_int_equal(status_of(peer, &action), late[i]);
  }
  struct wire_action action = action_of(ACTION_INFER, 0);
  action.batch_size = 3;
  assert_int_equal(status_of(peer, &action), ACTION_INVALID_BATCH_SIZE);
  action.batch_size = UINT32_MAX;
  assert_int_equal(status_of(peer, &action), ACTION_INVALID_BATCH_SIZE);
  action = action_of(ACTION_LOAD, 0);
  action.type = 9;
  assert_int_equal(status_of(peer, &action), ACTION_INVALID);
  action = action_of(ACTION_EVICT, 0);
  send_action(peer, &action, NULL, "body", 4);
  assert_int_equal(receive_result(peer, NULL).status, ACTION_INVALID);
  wire_peer_close(peer);
  stop_quietly(&running);
}

/* Something else's first bytes; returns when the worker has closed. */
static void send_no_frame(const char *address_text) {
  struct address address;
  assert_int_equal(address_parse(address_text, 0, &address, NULL), ERR_OK);
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  assert_true(fd >= 0);
  assert_int_equal(connect(fd, (struct sockaddr *)&address.socket, sizeof(struct sockaddr_in)), 0);
  static const char BYTES[] = "GET / HTTP/1.1\r\nHost: worker\r\n\r\n";
  assert_int_equal(send(fd, BYTES, sizeof(BYTES) - 1, MSG_NOSIGNAL), (int)sizeof(BYTES) - 1);
  char answer[16];
  assert_true(read(fd, answer, sizeof(answer)) <= 0);
  close(fd);
}

/* Whatever one connection sends, the others are served. */
static void bad_bytes(void **unused) {
  (void)unused;
  struct running running = start(NULL);
  struct wire_peer *good = open_with_weights(&running);
  for (int i = 0; i < 5; i++) {
    struct wire_peer *bad = wire_peer_open(running.address);
    unsigned char meta[WIRE_META_BYTES_SMALL] = {0};
    struct wire_writer writer = wire_writer_over(meta, sizeof(meta));
    switch (i) {
    case 0: /* unknown type */
      wire_peer_send(bad, 999, &writer, NULL, 0);
      break;
    case 1: /* too short */
      wire_peer_send(bad, WIRE_PING, &writer, NULL, 0);
      break;
    case 2: /* too long */
      wire_encode_get_state(&writer, &(struct wire_get_state){.action_id = 1});
      wire_write_u8(&writer, 0);
      wire_peer_send(bad, WIRE_GET_STATE, &writer, NULL, 0);
      break;
    case 3: /* a body where none belongs */
      wire_encode_get_state(&writer, &(struct wire_get_state){.action_id = 1});
      wire_peer_send(bad, WIRE_GET_STATE, &writer, "x", 1);
      break;
    default: { /* more inputs announced than described */
      struct wire_action action = action_of(ACTION_INFER, 0);
      action.inputs_count = UINT32_MAX;
      wire_encode_action(&writer, &action);
      wire_peer_send(bad, WIRE_ACTION, &writer, NULL, 0);
      break;
    }
    }
    wire_peer_wait_closed(bad);
    wire_peer_close(bad);
    const struct wire_action infer = action_of(ACTION_INFER, 0);
    assert_int_equal(status_of(good, &infer), ACTION_SUCCESS);
  }
  send_no_frame(running.address);
  const struct wire_action infer = action_of(ACTION_INFER, 0);
  assert_int_equal(status_of(good, &infer), ACTION_SUCCESS);
  wire_peer_close(good);
  stop_quietly(&running);
}

/* One of the messages that a worker knows, then spoilt a little. */
static void make_message(struct prng *prng, uint16_t *ret_type, struct wire_writer *writer) {
  struct wire_action action = action_of((enum action_type)prng_below(prng, 5), 0);
  struct wire_load_model load = {.first_model_id = (uint32_t)prng_below(prng, 100), .copies = 1};
  const struct wire_action_input input = {
      .input_bytes = INPUT_BYTES, .stored_bytes = 40, .encoding = WIRE_LZ4};
  memcpy(load.path, MODEL, sizeof(MODEL));
  *ret_type = (uint16_t)(WIRE_PING + prng_below(prng, 10));
  switch (*ret_type) {
  case WIRE_LOAD_MODEL:
    wire_encode_load_model(writer, &load);
    break;
  case WIRE_ACTION:
    action.batch_size = 1U << prng_below(prng, 3);
    action.latest_ns = os_now().ns + (int64_t)prng_below(prng, 20) * NS_PER_MS;
    action.wants_outputs = prng_below(prng, 2) == 1;
    action.inputs_count = (uint32_t)prng_below(prng, 3);
    wire_encode_action(writer, &action);
    for (uint32_t i = 0; i < action.inputs_count; i++) {
      wire_encode_action_input(writer, &input);
    }
    break;
  default: /* a number, which is what the others are */
    wire_encode_get_state(writer, &(struct wire_get_state){.action_id = 1});
    break;
  }
  if (prng_below(prng, 2) == 1) {
    writer->start[prng_below(prng, writer->used_bytes)] ^= (unsigned char)prng_below(prng, 256);
  }
  if (prng_below(prng, 50) == 0) {
    writer->used_bytes -= prng_below(prng, writer->used_bytes);
  }
}

static void any_messages(void **unused) {
  (void)unused;
  struct running running = start((const char *[]){"--models", "100", NULL});
  struct wire_peer *good = open_with_weights(&running);
  struct wire_peer *bad = wire_peer_open(running.address);
  struct prng prng;
  prng_init(&prng, 20201104, 0);
  static const char BODY[80] = {0x1f, 'b', 'o', 'd', 'y', 0};
  for (int i = 0; i < 3000; i++) {
    unsigned char meta[WIRE_META_BYTES_SMALL];
    struct wire_writer writer = wire_writer_over(meta, sizeof(meta));
    uint16_t type = 0;
    make_message(&prng, &type, &writer);
    const size_t body_bytes = type == WIRE_ACTION ? 40 * prng_below(&prng, 3) : 0;
    if (wire_peer_try_send(bad, type, &writer, BODY, body_bytes) != ERR_OK || bad->was_closed) {
      wire_peer_close(bad);
      bad = wire_peer_open(running.address);
    }
    uv_run(&bad->loop, UV_RUN_NOWAIT);
    wire_peer_drop_frames(bad);
  }
  wire_peer_close(bad);
  /* What that one left behind ends before the state is told; EVICTs and CLEAR_CACHEs were in it. */
  ask_state(good);
  free(wire_peer_receive(good, WIRE_STATE).meta);
  const struct wire_action load = action_of(ACTION_LOAD, 0);
  const struct wire_action infer = action_of(ACTION_INFER, 0);
  const uint32_t status = status_of(good, &load);
  assert_true(status == ACTION_SUCCESS || status == ACTION_WEIGHTS_ALREADY_LOADED);
  assert_int_equal(status_of(good, &infer), ACTION_SUCCESS);
  wire_peer_close(good);
  stop_quietly(&running);
}

/* Results go where their action came from; a controller that vanishes leaves its work behind. */
static void several_controllers(void **unused) {
  (void)unused;
  struct running running = start(NULL);
  struct wire_peer *first = open_with_weights(&running);
  struct wire_peer *second = wire_peer_open(running.address);
  const struct wire_action infer = action_of(ACTION_INFER, 0);
  for (int i = 0; i < 10; i++) {
    struct wire_action own = infer;
    own.action_id = 1;
    send_action(first, &own, NULL, NULL, 0);
    own.action_id = 2;
    send_action(second, &own, NULL, NULL, 0);
  }
  for (int i = 0; i < 10; i++) {
    assert_int_equal(receive_result(first, NULL).action_id, 1);
    assert_int_equal(receive_result(second, NULL).action_id, 2);
  }

  /* The LOAD is under way when its controller leaves and the other one asks. */
  struct wire_peer *vanishing = wire_peer_open(running.address);
  const struct wire_action load = action_of(ACTION_LOAD, 1);
  send_action(vanishing, &load, NULL, NULL, 0);
  struct wire_action refused = action_of(ACTION_INFER, 60);
  send_action(vanishing, &refused, NULL, NULL, 0);
  assert_int_equal(receive_result(vanishing, NULL).status, ACTION_INPUT_UNKNOWN_MODEL);
  wire_peer_close(vanishing);
  struct state *state = calloc(1, sizeof(*state));
  assert_non_null(state);
  get_state(second, state); /* not answered before the LOAD has ended */
  assert_int_equal(state->gpus[0].resident_count, 2);
  free(state);
  wire_peer_close(first);
  wire_peer_close(second);
  stop_quietly(&running);
}

static void ends_with_answers(void **unused) {
  (void)unused;
  struct running running = start(NULL);
  struct wire_peer *peer = open_with_weights(&running);
  struct wire_action later = action_of(ACTION_INFER, 0);
  later.action_id = 8;
  later.earliest_ns = os_now().ns + 50 * NS_PER_S;
  send_action(peer, &later, NULL, NULL, 0);
  /* Under way when the signal comes: the refusal behind it says that it was taken in. */
  const struct wire_action load = action_of(ACTION_LOAD, 1);
  send_action(peer, &load, NULL, NULL, 0);
  struct wire_action refused = action_of(ACTION_INFER, 60);
  send_action(peer, &refused, NULL, NULL, 0);
  assert_int_equal(receive_result(peer, NULL).status, ACTION_INPUT_UNKNOWN_MODEL);
  assert_int_equal(kill(running.program.pid, SIGTERM), 0);
  uint32_t shut_down_count = 0;
  for (int i = 0; i < 2; i++) {
    const struct wire_result result = receive_result(peer, NULL);
    shut_down_count += result.status == ACTION_SHUTTING_DOWN;
    if (result.action_id == load.action_id) {
      assert_int_equal(result.status, ACTION_SUCCESS);
    }
  }
  assert_int_equal(shut_down_count, 1);
  wire_peer_wait_closed(peer);
  wire_peer_close(peer);
  char output[8192];
  assert_int_equal(program_wait(&running.program, sizeof(output), output), 0);
  assert_non_null(strstr(output, "1 shutting down"));
}

/* 4,026 models, as in section 6.5 of the paper: a worker that waits holds next to nothing. */
static void memory_is_small(void **unused) {
  (void)unused;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  const bool is_sanitized = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
  const bool is_sanitized = true;
#else
  const bool is_sanitized = false;
#endif
#else
  const bool is_sanitized = false;
#endif
  if (is_sanitized) {
    print_message("skipped: a sanitizer's own memory would be measured\n");
    skip();
  }
  struct running running = start((const char *[]){"--gpus", "6", NULL});
  struct wire_peer *peer = open_with_weights(&running);
  assert_int_equal(load_model(peer, 100, 4026, MODEL).status, ACTION_SUCCESS);
  char path[64];
  snprintf(path, sizeof(path), "/proc/%d/statm", (int)running.program.pid);
  FILE *file = fopen(path, "r");
  assert_non_null(file);
  long total_pages = 0;
  long resident_pages = 0;
  assert_int_equal(fscanf(file, "%ld %ld", &total_pages, &resident_pages), 2);
  fclose(file);
  assert_in_range(resident_pages * sysconf(_SC_PAGESIZE), 1, 30 * 1000 * 1000);
  wire_peer_close(peer);
  stop_quietly(&running);
}

/* ---- how it is called -------------------------------------------------------------------------
 */

static int run_to_the_end(const char *const *arguments, size_t capacity, char *ret_output) {
  alarm(PATIENCE_S);
  struct program program = program_start("worker", arguments);
  return program_wait(&program, capacity, ret_output);
}

static void wrong_arguments(void **unused) {
  (void)unused;
  static const char *const WRONG[][4] = {
      {"--nothing"},
      {"stray"},
      {"--gpus"},
      {"--gpus", "0"},
      {"--gpus", "1e3"},
      {"--pages", "1,,2"},
      {"--pages", "1,2"},
      {"--clock", "0"},
      {"--backend", "none"},
      {"--listen", "1.2.3.4:x"},
      {"--name", ""},
      {"--profile", "/nonexistent/profile.tsv"},
      {"-x"},
      {"--seed", "-1"},
  };
  for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++) {
    char output[2048];
    const int status = run_to_the_end(WRONG[i], sizeof(output), output);
    if (status != 2 || strchr(output, '\n') != output + strlen(output) - 1) {
      print_message("%s: %d: %s", WRONG[i][0], status, output);
    }
    assert_int_equal(status, 2);
    assert_ptr_equal(strchr(output, '\n'), output + strlen(output) - 1);
    assert_memory_equal(output, "worker: ", 8);
  }
  char output[8192];
  assert_int_equal(run_to_the_end((const char *[]){"-h", NULL}, sizeof(output), output), 0);
  assert_non_null(strstr(output, "CLOCKWORK_MODEL_DIR"));
  assert_non_null(strstr(output, "CLOCKWORK_CONFIG_FILE"));
  assert_non_null(strstr(output, "--profile FILE"));
  assert_int_equal(run_to_the_end((const char *[]){"-v", NULL}, sizeof(output), output), 0);
}

static void wrong_config_files(void **unused) {
  (void)unused;
  /* With the line that the answer must name. */
  static const char *const WRONG[][2] = {
      {"worker: {\n gpuss = 1; };", ":2: worker.gpuss"},
      {"worker: {\n gpus = 0; };", ":2: worker.gpus"},
      {"worker: {\n gpus = -1; };", ":2: worker.gpus"},
      {"worker: { gpus = \"one\"; };", ":1: worker.gpus"},
      {"worker: {\n\n listen = 5; };", ":3: worker.listen"},
      {"worker: { weights_cache_page_size = 4096; };", ":1: worker.weights_cache_page_size"},
      {"# 23085449216\nworker: {\n weights_cache_size = 23085449216; };", ":3: 23085449216"},
      {"worker: { pages = [1, 2]; };", "pages"},
      {"worker: { pages = (1, \"2\"); };", ":1: worker.pages"},
      {"wroker: { };", ":1: wroker"},
      {"worker = 4;", ":1: worker"},
      {"worker: { gpus = 1;", "syntax error"},
  };
  for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++) {
    char path[] = "/tmp/clockwork_worker_XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, WRONG[i][0], strlen(WRONG[i][0])), (int)strlen(WRONG[i][0]));
    close(fd);
    setenv("CLOCKWORK_CONFIG_FILE", path, 1);
    char output[2048];
    const int status = run_to_the_end((const char *[]){NULL}, sizeof(output), output);
    unsetenv("CLOCKWORK_CONFIG_FILE");
    unlink(path);
    if (status != 2 || strstr(output, WRONG[i][1]) == NULL) {
      print_message("%s: %d: %s", WRONG[i][0], status, output);
    }
    assert_int_equal(status, 2);
    assert_non_null(strstr(output, WRONG[i][1]));
    assert_ptr_equal(strchr(output, '\n'), output + strlen(output) - 1);
  }
}

static uint32_t receive_gpu_lost(struct wire_peer *peer) {
  struct wire_peer_frame frame = wire_peer_receive(peer, WIRE_GPU_LOST);
  struct wire_reader reader = wire_reader_over(frame.meta, frame.meta_bytes);
  struct wire_gpu_lost lost;
  assert_int_equal(wire_decode_gpu_lost(&reader, &lost), ERR_OK);
  assert_int_equal(wire_reader_finish(&reader), ERR_OK);
  assert_int_not_equal(lost.reason[0], 0);
  free(frame.meta);
  return lost.gpu_index;
}

/* A controller that knows the worker is told of a lost GPU before the results that it cost; one
 * that comes later finds no pages there; when the last is lost the worker ends with status 1. */
static void lost_gpus(void **unused) {
  (void)unused;
  struct running running = start((const char *[]){"--gpus", "2", "--lose-after", "1", NULL});
  struct wire_peer *peer = open_with_weights(&running);
  struct state *state = calloc(1, sizeof(*state));
  assert_non_null(state);
  get_state(peer, state);
  assert_int_equal(state->gpus[0].resident_count, 1);
  const struct wire_action infer = action_of(ACTION_INFER, 0);
  assert_int_equal(status_of(peer, &infer), ACTION_SUCCESS);
  send_action(peer, &infer, NULL, NULL, 0);
  assert_int_equal(receive_gpu_lost(peer), 0);
  assert_int_equal(receive_result(peer, NULL).status, ACTION_GPU_LOST);
  assert_int_equal(status_of(peer, &infer), ACTION_GPU_LOST);
  const struct wire_action load = action_of(ACTION_LOAD, 1);
  assert_int_equal(status_of(peer, &load), ACTION_GPU_LOST);

  struct wire_peer *next = wire_peer_open(running.address);
  get_state(next, state);
  assert_int_equal(state->gpus[0].pages, 0);
  assert_int_equal(state->gpus[0].resident_count, 0);
  assert_int_not_equal(state->gpus[1].pages, 0);
  assert_int_equal(load_model(next, 2, 1, MODEL).status, ACTION_SUCCESS);
  struct wire_action other = action_of(ACTION_LOAD, 2);
  other.gpu_index = 1;
  assert_int_equal(status_of(next, &other), ACTION_SUCCESS);
  other = action_of(ACTION_INFER, 2);
  other.gpu_index = 1;
  assert_int_equal(status_of(next, &other), ACTION_SUCCESS);
  send_action(next, &other, NULL, NULL, 0);
  assert_int_equal(receive_gpu_lost(next), 1);
  assert_int_equal(receive_result(next, NULL).status, ACTION_GPU_LOST);
  char output[8192];
  assert_int_equal(program_wait(&running.program, sizeof(output), output), 1);
  assert_non_null(strstr(output, "No GPU is left"));
  free(state);
  wire_peer_close(peer);
  wire_peer_close(next);
}

static void right_config_file(void **unused) {
  (void)unused;
  char path[] = "/tmp/clockwork_worker_XXXXXX";
  const int fd = mkstemp(path);
  assert_true(fd >= 0);
  static const char CONFIG[] =
      "// all of it\n"
      "worker: { listen = \"127.0.0.1:1\"; gpus = 3;\n"
      "  weights_cache_size = 33554432L; pages = [4, 5, 6];\n"
      "  weights_cache_page_size = 16777216L; io_pool_size = 536870912L;\n"
      "  workspace_pool_size = 536870912L; name = \"from \\\"file\\\"\"; };\n"
      "controller: { anything = 99999999999L; };\n";
  assert_int_equal(write(fd, CONFIG, strlen(CONFIG)), (int)strlen(CONFIG));
  close(fd);
  setenv("CLOCKWORK_CONFIG_FILE", path, 1);
  struct running running = start((const char *[]){"--pages", "9", NULL});
  unsetenv("CLOCKWORK_CONFIG_FILE");
  unlink(path);
  struct wire_peer *peer = wire_peer_open(running.address);
  struct state *state = calloc(1, sizeof(*state));
  assert_non_null(state);
  get_state(peer, state);
  assert_int_equal(state->head.gpus_count, 3);
  assert_int_equal(state->gpus[2].pages, 9);
  free(state);
  wire_peer_close(peer);
  stop_quietly(&running);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(state_and_clock),   cmocka_unit_test(models),
      cmocka_unit_test(life_of_weights),   cmocka_unit_test(inputs_and_outputs),
      cmocka_unit_test(wrong_inputs),      cmocka_unit_test(host_memory),
      cmocka_unit_test(refusals),          cmocka_unit_test(bad_bytes),
      cmocka_unit_test(any_messages),      cmocka_unit_test(several_controllers),
      cmocka_unit_test(ends_with_answers), cmocka_unit_test(memory_is_small),
      cmocka_unit_test(wrong_arguments),   cmocka_unit_test(wrong_config_files),
      cmocka_unit_test(right_config_file), cmocka_unit_test(lost_gpus),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
