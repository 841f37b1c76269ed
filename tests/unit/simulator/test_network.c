#include "simulator/network.h"

#include "support/cmocka.h"
#include "support/memory.h"

enum { SOURCES = 8, ARRIVALS_MAX = 1024 };

/* Two senders, one receiver. */
struct net {
  struct events events;
  void *memory;
  struct network network;
  struct port ports[3];
  struct channel channels[2];
  uint32_t steps[ARRIVALS_MAX]; /* by message: how often it was expected */
  uint32_t arrivals_count;
  struct {
    int64_t at_ns;
    uint32_t message;
  } arrivals[ARRIVALS_MAX];
};

static void on_message(void *self, struct instant now, const void *message) {
  struct net *net = self;
  assert_true(net->arrivals_count < ARRIVALS_MAX);
  net->arrivals[net->arrivals_count].at_ns = now.ns;
  net->arrivals[net->arrivals_count].message = *(const uint32_t *)message;
  net->arrivals_count++;
}

static void on_message_to(void *self, struct instant now, const void *message) {
  on_message(*(struct net **)self, now, message);
}

static void on_expected(const void *self, const void *message, uint32_t step) {
  struct net *net = *(struct net *const *)self;
  const uint32_t number = *(const uint32_t *)message;
  assert_true(number >= net->arrivals_count); /* it is still under way */
  assert_int_equal(step, net->steps[number]);
  net->steps[number]++;
}

static struct net *net_create(struct network network) {
  struct net *net = test_memory_take(sizeof(*net));
  net->memory = test_memory_take(events_bytes(SOURCES));
  net->network = network;
  events_init(&net->events, net->memory, SOURCES, INSTANT_ZERO);
  for (uint32_t i = 0; i < 2; i++) {
    channel_init(&net->channels[i], &net->events, &net->network, &net->ports[i], &net->ports[2],
                 sizeof(uint32_t), on_message, net);
  }
  return net;
}

static void net_destroy(struct net *net) {
  channel_finish(&net->channels[0]);
  channel_finish(&net->channels[1]);
  free(net->memory);
  free(net);
}

static void net_send(struct net *net, uint32_t channel, uint32_t message, uint64_t wire_bytes) {
  uint32_t *room = channel_send(&net->channels[channel], wire_bytes);
  *room = message;
}

static void a_message_takes_the_latency(void **state) {
  (void)state;
  struct net *net = net_create((struct network){.latency = duration_us(50)});
  net_send(net, 0, 7, 1000000);
  events_run(&net->events, ARRIVALS_MAX);
  assert_int_equal(net->arrivals_count, 1);
  assert_int_equal(net->arrivals[0].message, 7);
  assert_int_equal(net->arrivals[0].at_ns, 50000);
  net_destroy(net);
}

static void bandwidth_holds_up_what_comes_after(void **state) {
  (void)state;
  /* 1 ns a byte. */
  struct net *net = net_create((struct network){.latency = duration_us(50), .ps_per_byte = 1000});
  net_send(net, 0, 1, 1000);
  net_send(net, 0, 2, 500);
  events_run(&net->events, ARRIVALS_MAX);
  assert_int_equal(net->arrivals[0].at_ns, 51000);
  assert_int_equal(net->arrivals[1].at_ns, 51500);
  net_destroy(net);
}

static void senders_share_the_receivers_port(void **state) {
  (void)state;
  struct net *net = net_create((struct network){.latency = duration_us(50), .ps_per_byte = 1000});
  net_send(net, 0, 1, 1000);
  net_send(net, 1, 2, 1000);
  events_run(&net->events, ARRIVALS_MAX);
  assert_int_equal(net->arrivals[0].at_ns, 51000);
  assert_int_equal(net->arrivals[1].at_ns, 52000);
  net_destroy(net);
}

static void messages_of_a_channel_keep_their_order_under_jitter(void **state) {
  (void)state;
  struct net *net = net_create(
      (struct network){.latency = duration_us(50), .jitter = duration_us(30), .seed = 3});
  for (uint32_t i = 0; i < 1000; i++) { /* more than the first capacity, several times over */
    net_send(net, 0, i, 100);
  }
  events_run(&net->events, ARRIVALS_MAX);
  assert_int_equal(net->arrivals_count, 1000);
  for (uint32_t i = 0; i < 1000; i++) {
    assert_int_equal(net->arrivals[i].message, i);
    assert_in_range(net->arrivals[i].at_ns, 50000, 80000);
    assert_true(i == 0 || net->arrivals[i].at_ns >= net->arrivals[i - 1].at_ns);
  }
  net_destroy(net);
}

static void growing_keeps_what_is_under_way(void **state) {
  (void)state;
  struct net *net = net_create((struct network){.latency = duration_us(1)});
  uint32_t sent = 0;
  for (uint32_t round = 0; round < 8; round++) {
    for (uint32_t i = 0; i < (1U << round); i++) {
      net_send(net, 0, sent++, 100);
    }
    events_run(&net->events, 1U << round >> 1); /* half of them stay, at odd places */
  }
  events_run(&net->events, ARRIVALS_MAX);
  assert_int_equal(net->arrivals_count, sent);
  for (uint32_t i = 0; i < sent; i++) {
    assert_int_equal(net->arrivals[i].message, i);
  }
  net_destroy(net);
}

static void the_seed_alone_decides_the_jitter(void **state) {
  (void)state;
  int64_t at_ns[3];
  const uint64_t seeds[3] = {1, 1, 2};
  for (int i = 0; i < 3; i++) {
    struct net *net = net_create((struct network){.jitter = duration_ms(1), .seed = seeds[i]});
    net_send(net, 0, 1, 100);
    events_run(&net->events, ARRIVALS_MAX);
    at_ns[i] = net->arrivals[0].at_ns;
    net_destroy(net);
  }
  assert_int_equal(at_ns[0], at_ns[1]);
  assert_int_not_equal(at_ns[0], at_ns[2]);
}

static void what_is_under_way_is_expected_step_by_step(void **state) {
  (void)state;
  enum { MESSAGES = 40 };
  struct net *net = net_create((struct network){.latency = duration_us(50)});
  net->channels[0].expect = on_expected;
  net->channels[0].self = &net;
  net->channels[0].deliver = on_message_to;
  for (uint32_t i = 0; i < MESSAGES; i++) {
    net_send(net, 0, i, 100);
  }
  assert_int_equal(net->steps[MESSAGES - 1], 0); /* it may not be written yet */
  assert_int_equal(net->steps[MESSAGES - 2], 1);
  assert_int_equal(net->steps[0], 4);
  events_run(&net->events, ARRIVALS_MAX);
  assert_int_equal(net->arrivals_count, MESSAGES);
  /* What has arrived is expected no more. */
  for (uint32_t i = 0; i < MESSAGES; i++) {
    net_send(net, 0, MESSAGES + i, 100);
  }
  assert_int_equal(net->steps[MESSAGES - 1], 0);
  net_destroy(net);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_message_takes_the_latency),
      cmocka_unit_test(bandwidth_holds_up_what_comes_after),
      cmocka_unit_test(senders_share_the_receivers_port),
      cmocka_unit_test(messages_of_a_channel_keep_their_order_under_jitter),
      cmocka_unit_test(growing_keeps_what_is_under_way),
      cmocka_unit_test(what_is_under_way_is_expected_step_by_step),
      cmocka_unit_test(the_seed_alone_decides_the_jitter),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
