#include "scheduler/offers.h"

#include "base/check.h"
#include "base/prefetch.h"
#include "base/prng.h"

void offers_init(struct offers *offers, struct arena *arena, struct scheduler *scheduler) {
  const struct scheduler_limits *limits = &scheduler->config.limits;
  offers->scheduler = scheduler;
  offers->models = arena_take(arena, limits->models, sizeof(struct offers_model));
  offers->holders = arena_take(arena, limits->residencies, sizeof(struct offers_holder));
}

void offers_on_model_added(struct offers *offers, const struct model *model) {
  struct offers_model *of_model = &offers->models[model->model_id];
  of_model->offered_count = 0;
  list_init(&of_model->offered);
  list_init(&of_model->waiting);
}

void offers_expect(const struct offers *offers, uint32_t model_id, uint32_t step) {
  const struct offers_model *of_model = &offers->models[model_id];
  if (step == 0) {
    prefetch(of_model, sizeof(*of_model));
  } else if (step == 1) {
    prefetch(of_model->offered.next, sizeof(struct offers_holder));
    prefetch(of_model->waiting.next, sizeof(struct offers_holder));
  } else if (step == 2 && !list_is_empty(&of_model->waiting)) {
    const struct offers_holder *waiting =
        LIST_ENTRY(of_model->waiting.next, const struct offers_holder, of_model);
    prefetch(waiting->gpu, PREFETCH_LINE_BYTES);
  }
}

void offers_on_loaded(struct offers *offers, struct residency *residency) {
  struct offers_model *of_model = &offers->models[residency->model->model_id];
  struct offers_holder *holder = offers_holder_of(offers, residency);
  CHECK(!holder->offer.is_linked);
  holder->gpu = residency->gpu;
  /* Workers join one after another with the same models: if all models had their GPUs in that order
   * they would all turn to the same few at once. */
  const uint64_t hash =
      prng_mix((uint64_t)residency->model->model_id << 32 | residency->gpu->gpu_id);
  for (uint64_t turns = hash % 4; turns > 0 && !list_is_empty(&of_model->waiting); turns--) {
    struct list *first = list_first(&of_model->waiting);
    list_remove(first);
    list_append(&of_model->waiting, first);
  }
  list_append(&of_model->waiting, &holder->of_model);
}

void offers_on_unloaded(struct offers *offers, const struct residency *residency) {
  struct offers_holder *holder = offers_holder_of(offers, residency);
  if (list_is_linked(&holder->of_model)) {
    CHECK(!holder->offer.is_linked);
    list_remove(&holder->of_model);
  }
}

void offers_make(struct offers *offers, const struct model *model, struct offers_holder *holder) {
  struct offers_model *of_model = &offers->models[model->model_id];
  CHECK(!holder->offer.is_linked);
  of_model->offered_count++;
  list_remove(&holder->of_model);
  list_append(&of_model->offered, &holder->of_model);
}

void offers_withdraw(struct offers *offers, const struct model *model,
                     struct offers_holder *holder) {
  struct offers_model *of_model = &offers->models[model->model_id];
  CHECK(!holder->offer.is_linked);
  of_model->offered_count--;
  list_remove(&holder->of_model);
  list_append(&of_model->waiting, &holder->of_model);
}

static struct offers_holder *holder_of(struct list *link) {
  return LIST_ENTRY(link, struct offers_holder, of_model);
}

struct offers_holder *offers_next(const struct offers *offers, const struct model *model) {
  struct list *first = list_first(&offers->models[model->model_id].waiting);
  return first == NULL ? NULL : holder_of(first);
}

struct offers_holder *offers_next_ready(struct offers *offers, const struct model *model,
                                        bool (*takes_at_once)(const void *self,
                                                              const struct model *model,
                                                              const struct gpu *gpu),
                                        const void *self) {
  struct offers_model *of_model = &offers->models[model->model_id];
  struct list *first = NULL;
  for (int i = 0; i < OFFERS && (first = list_first(&of_model->waiting)) != NULL; i++) {
    struct offers_holder *holder = holder_of(first);
    if (takes_at_once(self, model, holder->gpu)) {
      return holder;
    }
    list_remove(first);
    list_append(&of_model->waiting, first);
    if (list_first(&of_model->waiting) == first) {
      break; /* the only one */
    }
  }
  return NULL;
}

struct offers_holder *offers_first(const struct offers *offers, const struct model *model) {
  struct list *first = list_first(&offers->models[model->model_id].offered);
  return first == NULL ? NULL : holder_of(first);
}

struct offers_holder *offers_after(const struct offers *offers, const struct model *model,
                                   const struct offers_holder *holder) {
  struct list *next = holder->of_model.next;
  return next == &offers->models[model->model_id].offered ? NULL : holder_of(next);
}

void offers_validate(const struct offers *offers) {
  const struct pool *residencies = &offers->scheduler->residencies;
  for (uint32_t i = 0; i < residencies->capacity; i++) {
    const struct residency *residency = pool_at(residencies, i);
    const struct offers_holder *holder = &offers->holders[i];
    const bool is_loaded = residency != NULL && residency->state == RESIDENCY_LOADED;
    CHECK_EQ(list_is_linked(&holder->of_model), is_loaded);
    CHECK(!holder->offer.is_linked || is_loaded);
    CHECK(!is_loaded || holder->gpu == residency->gpu);
  }
  for (uint32_t i = 0; i < offers->scheduler->config.limits.models; i++) {
    const struct offers_model *of_model = &offers->models[i];
    uint32_t offered = 0;
    for (const struct list *at = of_model->offered.next; at != NULL && at != &of_model->offered;
         at = at->next) {
      CHECK(LIST_ENTRY(at, const struct offers_holder, of_model)->offer.is_linked);
      offered++;
    }
    CHECK_EQ(offered, of_model->offered_count);
  }
}
