#include "simulator/faults/watch.h"

#include <inttypes.h>
#include <stdio.h>

static void on_request(void *self, struct instant now, uint64_t ticket, uint32_t model_id) {
  struct watch *watch = self;
  check_answers_on_request(watch->answers, now, ticket, model_id);
  if (watch->timeline != NULL) {
    timeline_on_request(watch->timeline, now, ticket, model_id);
  }
}

static void on_request_end(void *self, struct instant now, uint64_t ticket, enum request_end end,
                           enum request_result result) {
  struct watch *watch = self;
  check_answers_on_request_end(watch->answers, now, ticket, end, result);
  if (watch->timeline != NULL) {
    timeline_on_request_end(watch->timeline, now, ticket, end, result);
  }
}

static void on_request_taken(void *self, struct instant now, uint32_t run, uint64_t tag,
                             uint64_t ticket, uint32_t model_id) {
  struct watch *watch = self;
  check_answers_on_request_taken(watch->answers, now, run, tag, ticket, model_id);
}

static void on_answer(void *self, struct instant now, uint32_t run,
                      const struct scheduler_answer *answer, bool is_known) {
  struct watch *watch = self;
  check_answers_on_answer(watch->answers, now, run, answer, is_known);
}

static void on_action(void *self, struct instant now, uint32_t run,
                      const struct scheduler_action *action) {
  struct watch *watch = self;
  check_answers_on_action(watch->answers, now, run, action);
  check_losses_on_action(watch->losses, now, action);
  if (watch->timeline != NULL) {
    timeline_on_action(watch->timeline, run, action);
  }
}

static void on_result(void *self, struct instant now, uint32_t run, uint32_t worker_id,
                      const struct report_message *report, const struct scheduler_result *result) {
  struct watch *watch = self;
  (void)result;
  check_answers_on_result(watch->answers, now, run, worker_id, report);
}

static void on_worker_up(void *self, struct instant now, uint32_t worker_id) {
  struct watch *watch = self;
  check_losses_on_worker_up(watch->losses, worker_id);
  if (watch->timeline != NULL) {
    timeline_on_worker(watch->timeline, now, worker_id, "up");
  }
}

static void on_worker_lost(void *self, struct instant now, uint32_t worker_id, const char *why) {
  struct watch *watch = self;
  if (watch->timeline != NULL) {
    timeline_on_worker(watch->timeline, now, worker_id, why);
  }
}

static void on_gpu_forgotten(void *self, struct instant now, uint32_t worker_id,
                             uint32_t gpu_index) {
  struct watch *watch = self;
  check_losses_on_gpu_forgotten(watch->losses, worker_id, gpu_index);
  if (watch->timeline != NULL) {
    char text[24];
    snprintf(text, sizeof(text), "GPU %" PRIu32 " is lost", gpu_index);
    timeline_on_worker(watch->timeline, now, worker_id, text);
  }
}

static void on_worker_started(void *self, struct instant now, uint32_t worker_id) {
  struct watch *watch = self;
  check_results_on_worker_started(watch->results, worker_id);
  check_losses_on_worker_started(watch->losses, worker_id);
  check_pages_on_worker_started(watch->pages, worker_id);
  if (watch->timeline != NULL) {
    timeline_on_worker(watch->timeline, now, worker_id, "started");
  }
}

static void on_gpu_withdrawn(void *self, struct instant now, uint32_t worker_id,
                             uint32_t gpu_index) {
  struct watch *watch = self;
  check_losses_on_gpu_withdrawn(watch->losses, now, worker_id, gpu_index);
}

static void on_action_taken(void *self, struct instant now, uint32_t worker_id,
                            const struct executor_action *action, struct instant local) {
  struct watch *watch = self;
  (void)local;
  check_windows_on_action_taken(watch->windows, worker_id, action);
  check_results_on_action_taken(watch->results, now, worker_id, action);
}

static void on_action_done(void *self, struct instant now, uint32_t worker_id,
                           const struct executor_result *result) {
  struct watch *watch = self;
  check_windows_on_action_done(watch->windows, now, worker_id, result);
  check_results_on_action_done(watch->results, now, worker_id, result);
}

static void on_submit(void *self, struct instant now, uint32_t worker_id,
                      const struct backend_command *command) {
  struct watch *watch = self;
  check_pages_on_submit(watch->pages, now, worker_id, command);
  if (watch->timeline != NULL) {
    timeline_on_submit(watch->timeline, now, worker_id, command);
  }
}

static void on_completion(void *self, struct instant now, uint32_t worker_id,
                          const struct backend_command *command,
                          const struct backend_completion *completion) {
  struct watch *watch = self;
  check_pages_on_completion(watch->pages, worker_id, command, completion);
  if (watch->timeline != NULL) {
    timeline_on_completion(watch->timeline, now, worker_id, command, completion);
  }
}

static void on_evict(void *self, struct instant now, uint32_t worker_id, uint32_t gpu_index,
                     uint32_t model_id, const uint32_t *pages, uint32_t pages_count) {
  struct watch *watch = self;
  check_pages_on_evict(watch->pages, now, worker_id, gpu_index, model_id, pages, pages_count);
  if (watch->timeline != NULL) {
    timeline_on_evict(watch->timeline, now, worker_id, gpu_index, model_id);
  }
}

const struct observer watch_observer = {
    .on_request = on_request,
    .on_request_end = on_request_end,
    .on_request_taken = on_request_taken,
    .on_answer = on_answer,
    .on_action = on_action,
    .on_result = on_result,
    .on_worker_up = on_worker_up,
    .on_worker_lost = on_worker_lost,
    .on_gpu_forgotten = on_gpu_forgotten,
    .on_worker_started = on_worker_started,
    .on_gpu_withdrawn = on_gpu_withdrawn,
    .on_action_taken = on_action_taken,
    .on_action_done = on_action_done,
    .on_submit = on_submit,
    .on_completion = on_completion,
    .on_evict = on_evict,
};

void watch_on_request_telemetry(void *self, const struct telemetry_request *row) {
  struct watch *watch = self;
  check_answers_on_telemetry(watch->answers, *watch->now, row);
  check_goodput_on_telemetry(&watch->goodput, row);
}

void watch_on_action_telemetry(void *self, const struct telemetry_action *row) {
  struct watch *watch = self;
  check_predictions_on_telemetry(watch->predictions, *watch->now, row);
}

void watch_on_fault(void *self, struct instant now, const struct fault *fault, bool begins) {
  struct watch *watch = self;
  /* A process that begins anew has GPUs at their own speed. */
  if (fault->kind == FAULT_SLOW) {
    check_predictions_on_change(watch->predictions, now, begins ? 1 : -1);
  } else if (fault->kind == FAULT_CLOCK || fault->kind == FAULT_CRASH ||
             fault->kind == FAULT_CRASH_MACHINE || fault->kind == FAULT_GPU_LOST) {
    check_predictions_on_change(watch->predictions, now, 0);
  }
  if (watch->timeline != NULL) {
    timeline_on_fault(watch->timeline, now, fault, begins);
  }
}
