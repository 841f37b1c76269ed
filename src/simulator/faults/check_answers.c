#include "simulator/faults/check_answers.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/check.h"

static const char NAME[] = "answers";

/* A request as its client sees it. */
struct call {
  uint64_t ticket; /* 0: none was ever here */
  uint32_t model_id;
  bool is_open;
  bool is_answered_by_scheduler;
  enum request_result result; /* the scheduler's */
};

/* A request as the controller sees it. */
struct taken {
  uint64_t tag;
  uint64_t ticket;
  struct instant at;
  uint32_t run;
  uint32_t model_id;
  bool is_open;
};

/* An INFER. */
struct carried {
  uint64_t action_id;
  uint32_t run;
  uint32_t worker_id;
  uint32_t model_id;
  uint32_t batch_size;
  uint32_t tags_count;
  bool has_succeeded;
  uint64_t tags[MODEL_BATCH_MAX];
};

struct check_answers {
  struct findings *findings;
  struct call *calls;
  struct taken *taken;
  struct carried *carried;
  uint32_t calls_max;
  uint32_t requests_max;
  uint32_t actions_max;
  uint64_t open_count; /* calls */
  bool keeps_deadlines;
  bool sends_actions;
};

struct check_answers *check_answers_create(struct findings *findings, uint32_t calls_max,
                                           uint32_t requests_max, uint32_t actions_max,
                                           bool keeps_deadlines, bool sends_actions) {
  struct check_answers *check = calloc(1, sizeof(*check));
  if (check == NULL) {
    return NULL;
  }
  *check = (struct check_answers){.findings = findings,
                                  .calls = calloc(calls_max, sizeof(struct call)),
                                  .taken = calloc(requests_max, sizeof(struct taken)),
                                  .carried = calloc(actions_max, sizeof(struct carried)),
                                  .calls_max = calls_max,
                                  .requests_max = requests_max,
                                  .actions_max = actions_max,
                                  .keeps_deadlines = keeps_deadlines,
                                  .sends_actions = sends_actions};
  if (check->calls == NULL || check->taken == NULL || check->carried == NULL) {
    check_answers_destroy(check);
    return NULL;
  }
  return check;
}

void check_answers_destroy(struct check_answers *check) {
  if (check != NULL) {
    free(check->calls);
    free(check->taken);
    free(check->carried);
    free(check);
  }
}

/* Ids of base/pool.h have their index in the lower half. */
static uint32_t index_of(uint64_t id, uint32_t max) {
  const uint32_t index = (uint32_t)id;
  CHECK_LT(index, max);
  return index;
}

/* ---- the client's side ----------------------------------------------------------------------- */

void check_answers_on_request(struct check_answers *check, struct instant now, uint64_t ticket,
                              uint32_t model_id) {
  struct call *call = &check->calls[index_of(ticket, check->calls_max)];
  if (call->is_open) {
    findings_add(check->findings, NAME, now, "ticket %" PRIx64 " was given out twice", ticket);
  }
  *call = (struct call){.ticket = ticket, .model_id = model_id, .is_open = true};
  check->open_count++;
}

void check_answers_on_request_end(struct check_answers *check, struct instant now, uint64_t ticket,
                                  enum request_end end, enum request_result result) {
  struct call *call = &check->calls[index_of(ticket, check->calls_max)];
  if (end == REQUEST_END_UNCALLED || call->ticket != ticket || !call->is_open) {
    findings_add(check->findings, NAME, now,
                 "request %" PRIx64 " for model %" PRIu32 " got one more answer: %s", ticket,
                 call->model_id, request_result_text((int)result));
    return;
  }
  call->is_open = false;
  check->open_count--;
  if (end == REQUEST_END_ANSWERED && call->is_answered_by_scheduler && call->result != result) {
    findings_add(check->findings, NAME, now,
                 "request %" PRIx64 " was told '%s' where the scheduler said '%s'", ticket,
                 request_result_text((int)result), request_result_text((int)call->result));
  }
  if (end == REQUEST_END_ANSWERED && !call->is_answered_by_scheduler &&
      result != REQUEST_INITIALIZING) {
    findings_add(check->findings, NAME, now, "request %" PRIx64 ": '%s', which no scheduler said",
                 ticket, request_result_text((int)result));
  }
}

/* ---- the controller's side ------------------------------------------------------------------- */

void check_answers_on_request_taken(struct check_answers *check, struct instant now, uint32_t run,
                                    uint64_t tag, uint64_t ticket, uint32_t model_id) {
  check->taken[index_of(tag, check->requests_max)] = (struct taken){
      .tag = tag, .ticket = ticket, .at = now, .run = run, .model_id = model_id, .is_open = true};
}

/* Whether an INFER carried that request; if not, there is a finding. */
static void check_carried(struct check_answers *check, struct instant now, uint32_t run,
                          const struct taken *taken, const struct scheduler_answer *answer) {
  const struct carried *carried = &check->carried[index_of(answer->action_id, check->actions_max)];
  if (carried->action_id != answer->action_id || carried->run != run || !carried->has_succeeded) {
    findings_add(check->findings, NAME, now,
                 "success for model %" PRIu32 " without a result of action %" PRIx64,
                 taken->model_id, answer->action_id);
  } else if (carried->model_id != taken->model_id) {
    findings_add(check->findings, NAME, now,
                 "success for model %" PRIu32 " by an INFER of model %" PRIu32, taken->model_id,
                 carried->model_id);
  } else if (answer->batch_index >= carried->tags_count ||
             carried->tags[answer->batch_index] != taken->tag) {
    findings_add(check->findings, NAME, now,
                 "success for model %" PRIu32 " from place %" PRIu32
                 " of a batch that holds another request there",
                 taken->model_id, answer->batch_index);
  }
}

void check_answers_on_answer(struct check_answers *check, struct instant now, uint32_t run,
                             const struct scheduler_answer *answer, bool is_known) {
  struct taken *taken = &check->taken[index_of(answer->tag, check->requests_max)];
  if (!is_known || taken->tag != answer->tag || !taken->is_open) {
    findings_add(check->findings, NAME, now,
                 "the scheduler answers request %" PRIu64 " for model %" PRIu32 " once more: %s",
                 answer->request_id, answer->model_id, request_result_text((int)answer->result));
    return;
  }
  taken->is_open = false;
  if (answer->model_id != taken->model_id) {
    findings_add(check->findings, NAME, now,
                 "an answer of model %" PRIu32 " to a request for model %" PRIu32, answer->model_id,
                 taken->model_id);
  }
  const int64_t took_ns = instant_since(now, taken->at).ns;
  if (answer->latency.ns != took_ns) {
    findings_add(check->findings, NAME, now,
                 "a latency of %" PRId64 " ns where it took %" PRId64 " ns", answer->latency.ns,
                 took_ns);
  }
  if (answer->result == REQUEST_SUCCESS && check->sends_actions) {
    check_carried(check, now, run, taken, answer);
  }
  struct call *call = &check->calls[index_of(taken->ticket, check->calls_max)];
  if (call->ticket == taken->ticket) {
    call->is_answered_by_scheduler = true;
    call->result = answer->result;
  }
}

void check_answers_on_action(struct check_answers *check, struct instant now, uint32_t run,
                             const struct scheduler_action *action) {
  (void)now;
  if (action->type != ACTION_INFER) {
    return;
  }
  struct carried *carried = &check->carried[index_of(action->action_id, check->actions_max)];
  carried->action_id = action->action_id;
  carried->run = run;
  carried->worker_id = action->worker_id;
  carried->model_id = action->model_id;
  carried->batch_size = action->batch_size;
  carried->tags_count = action->requests_count;
  carried->has_succeeded = false;
  for (uint32_t i = 0; i < action->requests_count; i++) {
    carried->tags[i] = action->request_tags[i];
    const struct taken *taken =
        &check->taken[index_of(action->request_tags[i], check->requests_max)];
    if (taken->tag != action->request_tags[i] || !taken->is_open) {
      findings_add(check->findings, NAME, now,
                   "an INFER of model %" PRIu32 " carries a request that was answered before",
                   action->model_id);
    }
  }
}

void check_answers_on_result(struct check_answers *check, struct instant now, uint32_t run,
                             uint32_t worker_id, const struct report_message *report) {
  if (report->type != ACTION_INFER || report->status != ACTION_SUCCESS) {
    return;
  }
  struct carried *carried = &check->carried[index_of(report->action_id, check->actions_max)];
  if (carried->action_id != report->action_id || carried->run != run) {
    return; /* of an action that is over: the scheduler must ignore it */
  }
  carried->has_succeeded = report->model_id == carried->model_id &&
                           report->batch_size == carried->batch_size &&
                           worker_id == carried->worker_id;
  if (!carried->has_succeeded) {
    findings_add(check->findings, NAME, now,
                 "action %" PRIx64 " of model %" PRIu32 " at worker %" PRIu32 ", batch %" PRIu32
                 ", has a result of model %" PRIu32 " from worker %" PRIu32 ", batch %" PRIu32,
                 report->action_id, carried->model_id, carried->worker_id, carried->batch_size,
                 report->model_id, worker_id, report->batch_size);
  }
}

void check_answers_on_telemetry(struct check_answers *check, struct instant now,
                                const struct telemetry_request *row) {
  const bool is_in_time = row->result == REQUEST_SUCCESS && row->latency <= row->deadline;
  if (is_in_time != (row->deadline_met != 0)) {
    findings_add(check->findings, NAME, now,
                 "result %d after %" PRId64 " ns of %" PRId64 " ns is marked %s", (int)row->result,
                 (int64_t)row->latency, (int64_t)row->deadline,
                 row->deadline_met ? "in time" : "late");
  }
}

/* ---- time ------------------------------------------------------------------------------------ */

void check_answers_on_tick(struct check_answers *check, struct instant now, uint32_t run) {
  const struct duration most = duration_s(ANSWER_WITHIN_S);
  for (uint32_t i = 0; check->keeps_deadlines && i < check->requests_max; i++) {
    const struct taken *taken = &check->taken[i];
    if (taken->is_open && taken->run == run && instant_before(instant_add(taken->at, most), now)) {
      findings_add(check->findings, NAME, now,
                   "a request for model %" PRIu32 " has waited for its answer for %d s",
                   taken->model_id, ANSWER_WITHIN_S);
      return;
    }
  }
}

bool check_answers_is_idle(const struct check_answers *check) {
  return check->open_count == 0;
}

void check_answers_at_end(struct check_answers *check, struct instant now, uint32_t run) {
  if (check->open_count > 0) {
    findings_add(check->findings, NAME, now, "%" PRIu64 " requests have no answer at the end",
                 check->open_count);
  }
  for (uint32_t i = 0; i < check->requests_max; i++) {
    const struct taken *taken = &check->taken[i];
    if (taken->is_open && taken->run == run) {
      findings_add(check->findings, NAME, now,
                   "a request for model %" PRIu32 " has no answer of the scheduler at the end",
                   taken->model_id);
      return;
    }
  }
}
