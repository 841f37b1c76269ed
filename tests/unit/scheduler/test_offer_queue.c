#include "scheduler/offer_queue.h"

#include "base/prng.h"
#include "support/cmocka.h"
#include "support/death.h"
#include "support/memory.h"

enum { HOLDERS = 2 * OFFER_QUEUE_PLACES, MODEL_OF_FIRST = 1000 };

struct fixture {
  struct offer_queue queue;
  struct offers offers;
  struct offers_holder holders[HOLDERS];
};

static struct fixture *open_fixture(void) {
  struct fixture *fixture = test_memory_take(sizeof(*fixture));
  fixture->offers.holders = fixture->holders;
  offer_queue_init(&fixture->queue);
  return fixture;
}

/* The last of them has the lowest. */
static uint32_t model_of(uint32_t holder) {
  return MODEL_OF_FIRST - holder;
}

static const struct offers_holder *scan(const struct fixture *fixture) {
  const struct offers_holder *first = NULL;
  for (uint32_t i = 0; i < HOLDERS; i++) {
    const struct pairing_node *offer = &fixture->holders[i].offer;
    if (offer->is_linked && (first == NULL || offer->key < first->offer.key ||
                             (offer->key == first->offer.key && offer->tie < first->offer.tie))) {
      first = &fixture->holders[i];
    }
  }
  return first;
}

static void change_one(struct fixture *fixture, struct prng *prng, uint32_t below) {
  struct offer_queue *queue = &fixture->queue;
  /* Half of the changes are at the head, as a policy's are. */
  struct offers_holder *holder = offer_queue_first(queue, &fixture->offers);
  if (holder == NULL || prng_below(prng, 2) == 0) {
    holder = &fixture->holders[prng_below(prng, below)];
  }
  const int64_t key = (int64_t)prng_below(prng, 60) - 30;
  if (!holder->offer.is_linked) {
    const uint32_t model_id = model_of((uint32_t)(holder - fixture->holders));
    offer_queue_insert(queue, &fixture->offers, holder, key, model_id);
    assert_int_equal(holder->offer.tie, model_id);
    assert_int_equal(holder->offer.key, key);
  } else if (prng_below(prng, 3) == 0) {
    offer_queue_remove(queue, &fixture->offers, holder);
  } else {
    offer_queue_move(queue, &fixture->offers, holder, key);
    assert_int_equal(holder->offer.key, key);
  }
}

/* As few as a GPU usually has, and so many that some stand behind. */
static void random_changes_match_a_scan(void **state) {
  (void)state;
  static const uint32_t counts[] = {3, 40, OFFER_QUEUE_PLACES, HOLDERS};
  for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
    struct fixture *fixture = open_fixture();
    struct prng prng;
    uint32_t behind_most = 0;
    prng_init(&prng, 7, c);
    for (int step = 0; step < 8000; step++) {
      change_one(fixture, &prng, counts[c]);
      assert_ptr_equal(offer_queue_first(&fixture->queue, &fixture->offers), scan(fixture));
      behind_most =
          fixture->queue.behind.count > behind_most ? fixture->queue.behind.count : behind_most;
      if (step % 16 == 0) {
        offer_queue_validate(&fixture->queue, &fixture->offers);
      }
    }
    assert_int_equal(behind_most > 0, counts[c] > OFFER_QUEUE_PLACES);
    free(fixture);
  }
}

static void all_leave_in_order(void **state) {
  (void)state;
  struct fixture *fixture = open_fixture();
  for (uint32_t i = 0; i < HOLDERS; i++) {
    offer_queue_insert(&fixture->queue, &fixture->offers, &fixture->holders[i], i % 5, model_of(i));
  }
  int64_t key = 0;
  uint32_t model_id = 0;
  for (uint32_t i = 0; i < HOLDERS; i++) {
    struct offers_holder *first = offer_queue_first(&fixture->queue, &fixture->offers);
    assert_true(first->offer.key > key || (first->offer.key == key && first->offer.tie > model_id));
    key = first->offer.key;
    model_id = (uint32_t)first->offer.tie;
    offer_queue_remove(&fixture->queue, &fixture->offers, first);
  }
  assert_null(offer_queue_first(&fixture->queue, &fixture->offers));
  free(fixture);
}

static void insert_again(void *context) {
  struct fixture *fixture = context;
  offer_queue_insert(&fixture->queue, &fixture->offers, &fixture->holders[0], 1, 1);
}

static void remove_it(void *context) {
  struct fixture *fixture = context;
  offer_queue_remove(&fixture->queue, &fixture->offers, &fixture->holders[1]);
}

static void what_stands_in_it_cant_come_and_what_does_not_cant_leave(void **state) {
  (void)state;
  struct fixture *fixture = open_fixture();
  offer_queue_insert(&fixture->queue, &fixture->offers, &fixture->holders[0], 1, 1);
  assert_true(test_dies(insert_again, fixture));
  assert_true(test_dies(remove_it, fixture));
  free(fixture);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(random_changes_match_a_scan),
      cmocka_unit_test(all_leave_in_order),
      cmocka_unit_test(what_stands_in_it_cant_come_and_what_does_not_cant_leave),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
