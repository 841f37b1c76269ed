/* Which buffers of the workspace hold images in groups of eight channels.
 *
 * A buffer can, if all its tensors are images (rank 4, single precision) of one size, whole or
 * slices of channels that begin at a multiple of eight. It does, if at least as many operations
 * that gain from it touch it as such that could not read it.
 */
#include <stdlib.h>

#include "backend/cpu/builder.h"

struct ballot {
  uint64_t pixels; /* of the images in it; 0: none seen yet */
  uint32_t batch;
  uint64_t pitch;
  uint64_t bytes;
  bool is_impossible;
  uint32_t blocked; /* operations that gain */
  uint32_t plain;   /* operations that would need a conversion */
};

static void look_at(const struct plan_tensor *tensor, const struct plan_buffer *buffer,
                    struct ballot *ballot) {
  const bool is_image = tensor->rank == 4 && tensor->type == PLAN_F32;
  if (buffer->place != PLAN_WORKSPACE || !is_image) {
    ballot->is_impossible = true;
    return;
  }
  const uint64_t pixels = (uint64_t)tensor->dims[2] * tensor->dims[3];
  const bool has_pitch = tensor->layout == PLAN_CHANNELS_LAST;
  const uint64_t pitch = has_pitch ? tensor->pitch : tensor->dims[1];
  const uint64_t first = tensor->offset_bytes / sizeof(float);
  const bool is_slice = has_pitch && first < pitch && first % BLOCK == 0;
  if (first != 0 && !is_slice) {
    ballot->is_impossible = true;
  }
  if (ballot->pixels == 0) {
    ballot->pixels = pixels;
    ballot->batch = tensor->dims[0];
    ballot->pitch = pitch;
  }
  ballot->is_impossible = ballot->is_impossible || ballot->pixels != pixels ||
                          ballot->batch != tensor->dims[0] || ballot->pitch != pitch;
  /* Channels that do not fill their last group share it with nobody. */
  const bool is_last = first + tensor->dims[1] == pitch;
  ballot->is_impossible = ballot->is_impossible || (tensor->dims[1] % BLOCK != 0 && !is_last);
}

enum wish { WISH_NONE, WISH_BLOCKED, WISH_PLAIN };

static enum wish wish_of(const struct builder *builder, const struct plan_op *op, bool is_input) {
  switch (op->kind) {
  case PLAN_OP_CONV:
    /* So few channels are read as they come. */
    return is_input && op->conv.groups == 1 &&
                   builder_tensor(builder, op->inputs[0])->dims[1] < BLOCK
               ? WISH_NONE
               : WISH_BLOCKED;
  case PLAN_OP_POOL:
  case PLAN_OP_LRN:
    return WISH_BLOCKED;
  case PLAN_OP_CONV_TRANSPOSE:
  case PLAN_OP_RESIZE:
  case PLAN_OP_POINTWISE:
  case PLAN_OP_REDUCE:
  case PLAN_OP_CONCAT:
  case PLAN_OP_SLICE:
    return WISH_NONE;
  default:
    return WISH_PLAIN;
  }
}

static void vote(const struct builder *builder, struct ballot *ballots, uint32_t tensor,
                 enum wish wish) {
  if (tensor != PLAN_NONE) {
    struct ballot *ballot = &ballots[builder_tensor(builder, tensor)->buffer];
    ballot->blocked += wish == WISH_BLOCKED;
    ballot->plain += wish == WISH_PLAIN;
  }
}

static void count_votes(const struct builder *builder, struct ballot *ballots) {
  const struct plan_batch *batch = builder->batch;
  for (uint32_t i = 0; i < batch->tensors_count; i++) {
    const struct plan_tensor *tensor = &batch->tensors[i];
    look_at(tensor, &batch->buffers[tensor->buffer], &ballots[tensor->buffer]);
  }
  for (uint32_t i = 0; i < batch->ops_count; i++) {
    const struct plan_op *op = &batch->ops[i];
    for (uint32_t j = 0; j < op->inputs_count; j++) {
      vote(builder, ballots, op->inputs[j], wish_of(builder, op, true));
    }
    for (uint32_t j = 0; j < op->outputs_count; j++) {
      vote(builder, ballots, op->outputs[j], wish_of(builder, op, false));
    }
  }
}

static uint32_t storage_for(struct builder *builder, const struct ballot *ballot, bool is_blocked,
                            const struct plan_buffer *buffer) {
  struct storage *storage = &builder->storages[builder->storages_count];
  const uint64_t channels = (ballot->pitch + BLOCK - 1) / BLOCK * BLOCK;
  *storage = (struct storage){.bytes = is_blocked ? ballot->batch * channels * ballot->pixels *
                                                        sizeof(float)
                                                  : buffer->bytes};
  return builder->storages_count++;
}

void builder_choose_homes(struct builder *builder) {
  const struct plan_batch *batch = builder->batch;
  /* Storages grow at powers of two (builder.c): room for the homes up to the next one. */
  uint32_t capacity = 1;
  while (capacity < batch->buffers_count + 1) {
    capacity *= 2;
  }
  struct ballot *ballots = calloc(batch->buffers_count + 1, sizeof(*ballots));
  builder->homes = calloc(batch->buffers_count + 1, sizeof(*builder->homes));
  builder->storages = calloc(capacity, sizeof(*builder->storages));
  if (ballots == NULL || builder->homes == NULL || builder->storages == NULL) {
    builder->error = ERR_NO_MEMORY;
    free(ballots);
    return;
  }
  count_votes(builder, ballots);
  for (uint32_t i = 0; i < batch->buffers_count; i++) {
    const struct ballot *ballot = &ballots[i];
    struct buffer_home *home = &builder->homes[i];
    home->storage = PLAN_NONE;
    if (batch->buffers[i].place != PLAN_WORKSPACE) {
      continue;
    }
    home->is_blocked =
        !ballot->is_impossible && ballot->blocked > 0 && ballot->blocked >= ballot->plain;
    home->storage = storage_for(builder, ballot, home->is_blocked, &batch->buffers[i]);
  }
  free(ballots);
}
