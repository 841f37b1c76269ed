/* The inputs of a batch: used where they were received if raw, decompressed in another thread if
 * not. */
#include <lz4.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/check.h"
#include "worker/worker.h"

void inputs_release(struct worker *worker, struct action_inputs *inputs) {
  if (inputs == NULL) {
    return;
  }
  body_release(inputs->received);
  body_release(inputs->decoded);
  pool_give(&worker->inputs, inputs);
}

/* What each input says of itself must fit the model and, together, the body. */
static enum action_status check_sizes(const struct wire_action *message,
                                      const struct wire_action_input *descriptors,
                                      const struct model_spec *spec, const struct body *body,
                                      uint32_t *ret_compressed_count) {
  uint64_t stored_bytes = 0;
  uint32_t compressed_count = 0;
  if (message->inputs_count > message->batch_size) {
    return ACTION_INPUT_BATCH_SIZE;
  }
  for (uint32_t i = 0; i < message->inputs_count; i++) {
    const struct wire_action_input *input = &descriptors[i];
    const bool is_compressed = input->encoding == WIRE_LZ4 && input->input_bytes > 0;
    if (input->input_bytes != 0 && input->input_bytes != spec->input_bytes) {
      return ACTION_INPUT_BAD_SIZES;
    }
    if (is_compressed ? input->stored_bytes == 0 : input->stored_bytes != input->input_bytes) {
      return ACTION_INPUT_BAD_SIZES;
    }
    compressed_count += is_compressed;
    stored_bytes += input->stored_bytes;
  }
  if (stored_bytes != (body == NULL ? 0 : body->bytes)) {
    return ACTION_INPUT_BAD_SIZES;
  }
  *ret_compressed_count = compressed_count;
  return ACTION_SUCCESS;
}

enum action_status inputs_take(struct worker *worker, const struct wire_action *message,
                               const struct wire_action_input *descriptors,
                               const struct model_spec *spec, struct body *body,
                               struct action_inputs **ret_inputs) {
  uint32_t compressed_count = 0;
  const enum action_status status =
      check_sizes(message, descriptors, spec, body, &compressed_count);
  if (status != ACTION_SUCCESS) {
    return status;
  }
  struct body *decoded = NULL;
  if (compressed_count > 0) {
    const uint64_t decoded_bytes = compressed_count * spec->input_bytes;
    decoded = decoded_bytes > FRAME_BODY_BYTES_MAX
                  ? NULL
                  : body_create(&worker->decoded_bytes, (uint32_t)decoded_bytes);
    if (decoded == NULL) {
      return ACTION_INPUT_HOST_MEMORY;
    }
  }
  struct action_inputs *inputs = pool_take(&worker->inputs);
  CHECK(inputs != NULL); /* as many as actions */
  inputs->received = body == NULL ? NULL : body_retain(body);
  inputs->decoded = decoded;
  inputs->input_bytes = (uint32_t)spec->input_bytes;
  const unsigned char *source = body == NULL ? NULL : body->data;
  for (uint32_t i = 0; i < message->inputs_count; i++) {
    const struct wire_action_input *input = &descriptors[i];
    if (input->input_bytes == 0) {
      continue;
    }
    if (input->encoding == WIRE_RAW) {
      inputs->pointers[i] = source;
      inputs->has_raw = true;
    } else {
      struct compressed_input *compressed = &inputs->compressed[inputs->compressed_count];
      *compressed = (struct compressed_input){
          .source = source,
          .stored_bytes = input->stored_bytes,
          .index = i,
          .target = decoded->data + (size_t)inputs->input_bytes * inputs->compressed_count,
      };
      inputs->compressed_count++;
      inputs->pointers[i] = compressed->target;
    }
    source += input->stored_bytes;
  }
  *ret_inputs = inputs;
  return ACTION_SUCCESS;
}

/* In a thread of libuv's pool: touches only what `inputs` points to. */
static void decompress(uv_work_t *work) {
  static _Thread_local bool is_named;
  if (!is_named) {
    pthread_setname_np(pthread_self(), "decompress");
    is_named = true;
  }
  struct action_inputs *inputs = work->data;
  /* When it is too late already, the executor says so; the time is better spent on the next one. */
  if (instant_after(os_now(), inputs->waiting.latest)) {
    return;
  }
  for (uint32_t i = 0; i < inputs->compressed_count; i++) {
    const struct compressed_input *input = &inputs->compressed[i];
    const int bytes = LZ4_decompress_safe((const char *)input->source, (char *)input->target,
                                          (int)input->stored_bytes, (int)inputs->input_bytes);
    if (bytes < 0 || (uint32_t)bytes != inputs->input_bytes) {
      /* Go on: the controller is told of all bad ones at once. */
      inputs->status = bytes < 0 ? ACTION_INPUT_BAD_DECOMPRESSION : ACTION_INPUT_BAD_SIZES;
      inputs->bad_inputs |= UINT64_C(1) << input->index;
    }
  }
}

static void on_decompressed(uv_work_t *work, int status) {
  CHECK_EQ(status, 0); /* nobody cancels */
  struct action_inputs *inputs = work->data;
  if (!inputs->has_raw) {
    body_release(inputs->received);
    inputs->received = NULL;
  }
  actions_on_decompressed(inputs->action, inputs);
}

void inputs_decompress(struct worker *worker, struct action_inputs *inputs) {
  inputs->work.data = inputs;
  inputs->status = ACTION_SUCCESS;
  inputs->bad_inputs = 0;
  CHECK_EQ(uv_queue_work(&worker->loop, &inputs->work, decompress, on_decompressed), 0);
}
