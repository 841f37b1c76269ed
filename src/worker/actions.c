/* Actions from their frame to their result.
 *
 * An INFER whose inputs came compressed goes to the executor only when they are decompressed; what
 * came later may overtake it. That breaks nothing: a controller sends an EVICT only when no work of
 * that model is outstanding, an INFER only when the LOAD before it is confirmed, and among INFERs
 * the executor orders by `earliest`. What comes too late for its window is refused, as ever.
 */
#include <stddef.h>

#include "base/check.h"
#include "worker/worker.h"

enum { RESULTS_AT_ONCE = 64 };

void action_release(struct worker *worker, struct action *action) {
  inputs_release(worker, action->inputs);
  body_release(action->outputs);
  pool_give(&worker->actions, action);
}

/* ---- results --------------------------------------------------------------------------------- */

static void send_result(struct peer *peer, const struct wire_result *result,
                        const struct body_slice *outputs) {
  unsigned char meta[WIRE_META_BYTES_SMALL];
  struct wire_writer writer = wire_writer_over(meta, sizeof(meta));
  wire_encode_result(&writer, result);
  peer_send(peer, WIRE_RESULT, &writer, outputs);
}

/* Whether a controller believes that it knows what is on the GPUs. */
static bool is_known(const struct worker *worker) {
  for (uint32_t i = 0; i < WORKER_PEERS_MAX; i++) {
    const struct peer *peer = pool_at(&worker->peers, i);
    if (peer != NULL && peer->has_state) {
      return true;
    }
  }
  return false;
}

/* A LOAD of a controller that is gone succeeded after the next one was told what is here: nobody
 * knows of these weights, so nobody would ever evict them. If the next one asked for them meanwhile
 * and runs them, the executor refuses; if it has yet to, it is told that they are missing. */
static void evict_unknown(struct worker *worker, struct instant now,
                          const struct executor_result *result) {
  struct action *action = pool_take(&worker->actions);
  CHECK(action != NULL); /* the LOAD's has just been given back */
  action->worker = worker;
  action->peer_id = 0; /* no peer has it */
  action->received = now;
  const struct executor_action eviction = {.action_id = pool_id(&worker->actions, action),
                                           .type = ACTION_EVICT,
                                           .gpu_index = result->gpu_index,
                                           .model_id = result->model_id,
                                           .earliest = INSTANT_ZERO,
                                           .latest = INSTANT_NEVER};
  CHECK(executor_on_action(worker->executor, now, &eviction));
}

static void send_executor_result(struct worker *worker, struct instant now,
                                 const struct executor_result *result) {
  struct action *action = pool_find(&worker->actions, result->action_id);
  CHECK(action != NULL);
  summary_on_result(worker, result);
  struct peer *peer = pool_find(&worker->peers, action->peer_id);
  if (peer == NULL) {
    worker->orphan_changes_count -= action->is_change;
    action_release(worker, action);
    if (result->type == ACTION_LOAD && result->status == ACTION_SUCCESS && is_known(worker)) {
      evict_unknown(worker, now, result);
    }
    return;
  }
  peer->changes_count -= action->is_change;
  const struct wire_result message = {
      .action_id = action->action_id,
      .type = (uint8_t)result->type,
      .status = result->status,
      .gpu_index = result->gpu_index,
      .model_id = result->model_id,
      .batch_size = result->batch_size,
      .input_begin_ns = result->input.begin.ns,
      .input_end_ns = result->input.end.ns,
      .run_begin_ns = result->run.begin.ns,
      .run_end_ns = result->run.end.ns,
      .output_begin_ns = result->output.begin.ns,
      .output_end_ns = result->output.end.ns,
      .clock_before_mhz = result->clock_before_mhz,
      .clock_after_mhz = result->clock_after_mhz,
      .received_ns = action->received.ns,
      .sent_ns = now.ns,
  };
  const struct body_slice outputs = {.body = action->outputs, .count_bytes = action->output_bytes};
  const bool has_outputs = action->outputs != NULL && result->status == ACTION_SUCCESS;
  send_result(peer, &message, has_outputs ? &outputs : NULL);
  action_release(worker, action);
}

void actions_send_results(struct worker *worker, struct instant now) {
  struct executor_result results[RESULTS_AT_ONCE];
  uint32_t count = 0;
  do {
    count = executor_next_results(worker->executor, results, RESULTS_AT_ONCE);
    for (uint32_t i = 0; i < count; i++) {
      send_executor_result(worker, now, &results[i]);
    }
  } while (count == RESULTS_AT_ONCE);
}

/* Answer without asking the executor. */
static void refuse(struct worker *worker, struct peer *peer, struct instant received,
                   const struct wire_action *message, enum action_status status,
                   uint64_t bad_inputs) {
  const struct executor_result result = {
      .type = (enum action_type)message->type, .status = status, .gpu_index = message->gpu_index};
  summary_on_result(worker, &result);
  send_result(peer,
              &(struct wire_result){.action_id = message->action_id,
                                    .type = message->type,
                                    .status = status,
                                    .gpu_index = message->gpu_index,
                                    .model_id = message->model_id,
                                    .batch_size = message->batch_size,
                                    .received_ns = received.ns,
                                    .sent_ns = received.ns,
                                    .bad_inputs = bad_inputs},
              NULL);
}

/* ---- in -------------------------------------------------------------------------------------- */

/* Times that no clock shows become the nearest one, so that windows can be computed with. */
static struct instant instant_of_wire(int64_t ns) {
  return (struct instant){ns < 0 ? 0 : ns};
}

/* Inputs and room for outputs of an INFER that the executor can be expected to accept. */
static enum action_status take_io(struct worker *worker, const struct wire_action *message,
                                  const struct wire_action_input *descriptors,
                                  const struct model_spec *spec, struct body *body,
                                  struct action *action) {
  if (message->wants_outputs) {
    const uint64_t bytes = message->batch_size * spec->output_bytes;
    if (bytes > FRAME_BODY_BYTES_MAX) {
      return ACTION_OUTPUT_HOST_MEMORY;
    }
    if (bytes > 0) {
      action->outputs = body_create(&worker->output_bytes, (uint32_t)bytes);
      if (action->outputs == NULL) {
        return ACTION_OUTPUT_HOST_MEMORY;
      }
      action->output_bytes = (uint32_t)bytes;
    }
  }
  if (message->inputs_count == 0) {
    return body == NULL ? ACTION_SUCCESS : ACTION_INPUT_BAD_SIZES;
  }
  return inputs_take(worker, message, descriptors, spec, body, &action->inputs);
}

/* The model of an INFER that has bytes to be looked at; NULL if there are none, or if the executor
 * will refuse it anyway. */
static const struct model_spec *spec_for_io(const struct worker *worker, struct instant now,
                                            const struct wire_action *message) {
  const struct model_spec *spec = executor_model(worker->executor, message->model_id);
  if (message->type != ACTION_INFER || spec == NULL || worker->is_stopping ||
      message->gpu_index >= worker->gpus_count || worker->is_gpu_lost[message->gpu_index] ||
      message->latest_ns < now.ns ||
      model_batch_kind(spec, message->batch_size) == MODEL_BATCH_KINDS) {
    return NULL;
  }
  return spec;
}

void actions_on_frame(struct worker *worker, struct peer *peer, struct instant now,
                      const struct wire_action *message, const struct wire_action_input *inputs,
                      struct body *body) {
  if (message->type != ACTION_INFER && (body != NULL || message->inputs_count > 0)) {
    refuse(worker, peer, now, message, ACTION_INVALID, 0);
    return;
  }
  struct action *action = pool_take(&worker->actions);
  if (action == NULL) {
    refuse(worker, peer, now, message, ACTION_RUNTIME_ERROR, 0);
    return;
  }
  action->worker = worker;
  action->peer_id = pool_id(&worker->peers, peer);
  action->action_id = message->action_id;
  action->received = now;
  const struct model_spec *spec = spec_for_io(worker, now, message);
  if (spec != NULL) {
    const enum action_status status = take_io(worker, message, inputs, spec, body, action);
    if (status != ACTION_SUCCESS) {
      refuse(worker, peer, now, message, status, 0);
      action_release(worker, action);
      return;
    }
  }
  action->is_change = message->type != ACTION_INFER;
  peer->changes_count += action->is_change;
  const struct executor_action taken = {
      .action_id = pool_id(&worker->actions, action),
      .type = (enum action_type)message->type,
      .gpu_index = message->gpu_index,
      .model_id = message->model_id,
      .batch_size = message->batch_size,
      .earliest = instant_of_wire(message->earliest_ns),
      .latest = instant_of_wire(message->latest_ns),
      .io = {.inputs = action->inputs == NULL ? NULL : action->inputs->pointers,
             .outputs = action->outputs == NULL ? NULL : action->outputs->data},
  };
  if (action->inputs != NULL && action->inputs->compressed_count > 0) {
    action->inputs->action = action;
    action->inputs->waiting = taken;
    inputs_decompress(worker, action->inputs);
    return;
  }
  /* Every action of the executor has a record here, and both have the same limit. */
  CHECK(executor_on_action(worker->executor, now, &taken));
}

void actions_on_decompressed(struct action *action, struct action_inputs *inputs) {
  struct worker *worker = action->worker;
  const struct executor_action *waiting = &inputs->waiting;
  const struct instant now = os_now();
  if (inputs->status == ACTION_SUCCESS) {
    CHECK(executor_on_action(worker->executor, now, waiting));
    return;
  }
  struct peer *peer = pool_find(&worker->peers, action->peer_id);
  if (peer != NULL) {
    refuse(worker, peer, action->received,
           &(struct wire_action){.action_id = action->action_id,
                                 .type = (uint8_t)waiting->type,
                                 .gpu_index = waiting->gpu_index,
                                 .model_id = waiting->model_id,
                                 .batch_size = waiting->batch_size},
           inputs->status, inputs->bad_inputs);
  }
  action_release(worker, action);
}
