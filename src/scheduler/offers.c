#include "scheduler/offers.h"

#include "base/check.h"
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

void offers_on_loaded(struct offers *offers, struct residency *residency) {
  struct offers_model *of_model = &offers->models[residency->model->model_id];
  struct offers_holder *holder = offers_holder_of(offers, residency);
  holder->residency = residency;
  holder->is_offered = false;
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
    CHECK(!holder->is_offered);
    list_remove(&holder->of_model);
  }
}

void offers_make(struct offers *offers, const struct residency *residency) {
  struct offers_model *of_model = &offers->models[residency->model->model_id];
  struct offers_holder *holder = offers_holder_of(offers, residency);
  CHECK(!holder->is_offered);
  holder->is_offered = true;
  of_model->offered_count++;
  list_remove(&holder->of_model);
  list_append(&of_model->offered, &holder->of_model);
}

void offers_withdraw(struct offers *offers, const struct residency *residency) {
  struct offers_model *of_model = &offers->models[residency->model->model_id];
  struct offers_holder *holder = offers_holder_of(offers, residency);
  CHECK(holder->is_offered);
  holder->is_offered = false;
  of_model->offered_count--;
  list_remove(&holder->of_model);
  list_append(&of_model->waiting, &holder->of_model);
}

static struct residency *residency_of(const struct list *link) {
  return LIST_ENTRY(link, const struct offers_holder, of_model)->residency;
}

struct residency *offers_next(const struct offers *offers, const struct model *model) {
  const struct list *first = list_first(&offers->models[model->model_id].waiting);
  return first == NULL ? NULL : residency_of(first);
}

struct residency *offers_next_ready(struct offers *offers, const struct model *model,
                                    bool (*takes_at_once)(const void *self,
                                                          const struct residency *residency),
                                    const void *self) {
  struct offers_model *of_model = &offers->models[model->model_id];
  struct list *first = NULL;
  for (int i = 0; i < OFFERS && (first = list_first(&of_model->waiting)) != NULL; i++) {
    struct residency *residency = residency_of(first);
    if (takes_at_once(self, residency)) {
      return residency;
    }
    list_remove(first);
    list_append(&of_model->waiting, first);
    if (list_first(&of_model->waiting) == first) {
      break; /* the only one */
    }
  }
  return NULL;
}

struct residency *offers_first(const struct offers *offers, const struct model *model) {
  const struct list *first = list_first(&offers->models[model->model_id].offered);
  return first == NULL ? NULL : residency_of(first);
}

struct residency *offers_after(const struct offers *offers, const struct residency *residency) {
  const struct list *next = offers_holder_of(offers, residency)->of_model.next;
  return next == &offers->models[residency->model->model_id].offered ? NULL : residency_of(next);
}

void offers_validate(const struct offers *offers) {
  const struct pool *residencies = &offers->scheduler->residencies;
  for (uint32_t i = 0; i < residencies->capacity; i++) {
    const struct residency *residency = pool_at(residencies, i);
    const struct offers_holder *holder = &offers->holders[i];
    const bool is_loaded = residency != NULL && residency->state == RESIDENCY_LOADED;
    CHECK_EQ(list_is_linked(&holder->of_model), is_loaded);
    CHECK(!holder->is_offered || is_loaded);
    CHECK(!is_loaded || holder->residency == residency);
  }
  for (uint32_t i = 0; i < offers->scheduler->config.limits.models; i++) {
    const struct offers_model *of_model = &offers->models[i];
    uint32_t offered = 0;
    for (const struct list *at = of_model->offered.next; at != NULL && at != &of_model->offered;
         at = at->next) {
      CHECK(LIST_ENTRY(at, const struct offers_holder, of_model)->is_offered);
      offered++;
    }
    CHECK_EQ(offered, of_model->offered_count);
  }
}
