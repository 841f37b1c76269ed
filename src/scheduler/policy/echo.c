/* ECHO answers every request at once and uses no GPU: it measures the way there and back. */
#include "scheduler/policy.h"

struct echo {
  struct scheduler *scheduler;
  struct list waiting;  /* of `entries`, in the order of arrival */
  struct list *entries; /* by request pool index */
};

static void *echo_init(struct arena *arena, struct scheduler *scheduler) {
  struct echo *echo = arena_take(arena, 1, sizeof(*echo));
  struct list *entries = arena_take(arena, scheduler->config.limits.requests, sizeof(struct list));
  if (!arena_is_counting(arena)) {
    *echo = (struct echo){.scheduler = scheduler, .entries = entries};
    list_init(&echo->waiting);
  }
  return echo;
}

static struct list *entry_of(const struct echo *echo, const struct request *request) {
  return &echo->entries[pool_index(&echo->scheduler->requests, request)];
}

static void echo_on_queued(void *self, struct request *request) {
  struct echo *echo = self;
  list_append(&echo->waiting, entry_of(echo, request));
}

static void echo_on_dequeued(void *self, struct request *request) {
  list_remove(entry_of(self, request));
}

static void echo_plan(void *self) {
  struct echo *echo = self;
  const struct list *first = NULL;
  while ((first = list_first(&echo->waiting)) != NULL) {
    struct request *request =
        pool_at(&echo->scheduler->requests, (uint32_t)(first - echo->entries));
    policy_answer(echo->scheduler, request, REQUEST_SUCCESS);
  }
}

static struct instant echo_wakeup(const void *self) {
  const struct echo *echo = self;
  return list_is_empty(&echo->waiting) ? INSTANT_NEVER : echo->scheduler->now;
}

const struct policy policy_echo = {
    .name = "echo",
    .summary = "answers every request at once without running it",
    .keeps_deadlines = false,
    .init = echo_init,
    .on_queued = echo_on_queued,
    .on_dequeued = echo_on_dequeued,
    .plan = echo_plan,
    .wakeup = echo_wakeup,
};
