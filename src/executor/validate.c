/* The executor's guarantees as one function, for tests and DCHECK. */
#include "base/check.h"
#include "executor/executor_private.h"

/* What one GPU's actions hold and wait for, added up. */
struct tally {
  uint32_t waiting_count[STAGE_WAIT_KINDS];
  uint32_t outputs_count;
  uint32_t running_count;
  uint32_t slots;
  uint64_t io_bytes;
};

static void tally_pending(const struct executor *executor, const struct pending *pending,
                          uint32_t gpu_index, struct tally *tally) {
  const struct executor_gpu *gpu = &executor->gpus[gpu_index];
  const bool is_waiting = pending->stage < STAGE_WAIT_KINDS;
  CHECK_EQ(pending->order.is_linked, is_waiting);
  if (is_waiting) {
    tally->waiting_count[pending->stage]++;
    const uint32_t index = pool_index(&executor->actions, pending);
    CHECK_EQ(tournament_key(&executor->expiry, index), pending->latest.ns);
  } else if (pending->stage == STAGE_WAIT_OUTPUT) {
    tally->outputs_count++;
    CHECK(list_is_linked(&pending->link));
  } else {
    const uint32_t engine = (uint32_t)pending->stage - STAGE_RUN;
    CHECK(gpu->running[engine] == pending);
    tally->running_count++;
  }
  if (pending->io_slot != IO_SLOT_NONE) {
    CHECK_EQ(tally->slots >> pending->io_slot & 1, 0);
    tally->slots |= UINT32_C(1) << pending->io_slot;
    tally->io_bytes += pending->io_bytes;
  }
}

static void validate_running(const struct executor *executor, uint32_t gpu_index) {
  const struct executor_gpu *gpu = &executor->gpus[gpu_index];
  const struct pending *executing = gpu->running[BACKEND_ENGINE_EXECUTE];
  if (executing != NULL) {
    CHECK(page_cache_is_resident(&gpu->cache, executing->result.model_id));
  }
  const struct pending *loading = gpu->running[BACKEND_ENGINE_LOAD];
  CHECK_EQ(loading != NULL, gpu->cache.loading_head != PAGE_NONE);
  if (loading != NULL) {
    CHECK_EQ(page_cache_find(&gpu->cache, loading->result.model_id), gpu->cache.loading_head);
  }
}

static void validate_gpu(const struct executor *executor, uint32_t gpu_index) {
  const struct executor_gpu *gpu = &executor->gpus[gpu_index];
  struct tally tally = {.slots = 0};
  for (uint32_t i = 0; i < executor->limits.actions; i++) {
    const struct pending *pending = pool_at(&executor->actions, i);
    if (pending != NULL && pending->stage != STAGE_DONE && pending->result.gpu_index == gpu_index) {
      tally_pending(executor, pending, gpu_index, &tally);
    }
  }
  for (int stage = 0; stage < STAGE_WAIT_KINDS; stage++) {
    CHECK_EQ(tally.waiting_count[stage], gpu->waiting[stage].count);
    CHECK_EQ(gpu->waiting_stages >> stage & 1, gpu->waiting[stage].count > 0);
  }
  uint32_t running_count = 0;
  for (int engine = 0; engine < BACKEND_ENGINES; engine++) {
    running_count += gpu->running[engine] != NULL;
  }
  CHECK_EQ(tally.running_count, running_count);
  uint32_t outputs_count = 0;
  for (const struct list *at = gpu->outputs.next; at != &gpu->outputs; at = at->next) {
    outputs_count++;
  }
  CHECK_EQ(tally.outputs_count, outputs_count);
  if (gpu->is_lost) { /* only what runs is left */
    CHECK_EQ(gpu->waiting_stages, 0);
    CHECK_EQ(outputs_count, 0);
  }
  CHECK_EQ(tally.slots ^ gpu->io_free_slots, (UINT32_C(1) << BACKEND_IO_SLOTS) - 1);
  CHECK_EQ(tally.io_bytes + gpu->io_free_bytes, gpu->io_total_bytes);
  validate_running(executor, gpu_index);
  page_cache_validate(&gpu->cache);
}

void executor_validate(const struct executor *executor) {
  uint32_t done_count = 0;
  for (uint32_t i = 0; i < executor->limits.actions; i++) {
    const struct pending *pending = pool_at(&executor->actions, i);
    if (pending != NULL && pending->stage == STAGE_DONE) {
      done_count++;
      CHECK_EQ(tournament_key(&executor->expiry, i), INT64_MAX);
      CHECK_EQ(pending->io_slot, IO_SLOT_NONE);
    }
  }
  for (const struct list *at = executor->done.next; at != &executor->done; at = at->next) {
    CHECK_GT(done_count, 0);
    done_count--;
  }
  CHECK_EQ(done_count, 0);
  for (uint32_t i = 0; i < executor->gpus_count; i++) {
    validate_gpu(executor, i);
  }
}
