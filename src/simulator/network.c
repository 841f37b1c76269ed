#include "simulator/network.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/prefetch.h"

/* Few, so that thousands of channels stay in the processor's caches; most have one under way. */
enum { CHANNEL_CAPACITY_BITS_FIRST = 2, CHANNEL_CAPACITY_BITS_MAX = 30 };

/* Each slot begins with the arrival; the message follows, aligned to 8 bytes. Slots are cache
 * lines. */
enum { SLOT_HEAD_BYTES = 8 };

static uint32_t last_index(const struct channel *channel) {
  return (UINT32_C(1) << channel->capacity_bits) - 1;
}

static unsigned char *slot_at(const struct channel *channel, uint32_t index) {
  return channel->slots +
         (size_t)((channel->first + index) & last_index(channel)) * channel->slot_bytes;
}

static unsigned char *slots_take(uint32_t capacity_bits, size_t slot_bytes) {
  unsigned char *slots = aligned_alloc(PREFETCH_LINE_BYTES, slot_bytes << capacity_bits);
  CHECK(slots != NULL);
  return slots;
}

static struct instant arrival_of(const unsigned char *slot) {
  struct instant at;
  memcpy(&at, slot, sizeof(at));
  return at;
}

static struct instant channel_run(void *self, struct instant now) {
  struct channel *channel = self;
  CHECK_GT(channel->count, 0);
  if (instant_before(now, channel->held_until)) {
    return channel->held_until;
  }
  const unsigned char *slot = slot_at(channel, 0);
  channel->is_delivering = true;
  channel->deliver(channel->self, now, slot + SLOT_HEAD_BYTES);
  channel->is_delivering = false;
  channel->count--;
  channel->delivered_count++;
  if (channel->count == 0) {
    channel->first = 0; /* the slot that is in the cache */
    return INSTANT_NEVER;
  }
  channel->first = (channel->first + 1) & last_index(channel);
  slot = slot_at(channel, 0);
  return arrival_of(slot);
}

void channel_init(struct channel *channel, struct events *events, struct network *network,
                  struct port *from, struct port *to, size_t message_bytes,
                  void (*deliver)(void *self, struct instant now, const void *message),
                  void *self) {
  const size_t slot_bytes = (SLOT_HEAD_BYTES + message_bytes + PREFETCH_LINE_BYTES - 1) /
                            PREFETCH_LINE_BYTES * PREFETCH_LINE_BYTES;
  CHECK_LE(slot_bytes, UINT16_MAX);
  *channel = (struct channel){.network = network,
                              .from = from,
                              .to = to,
                              .slot_bytes = (uint16_t)slot_bytes,
                              .capacity_bits = CHANNEL_CAPACITY_BITS_FIRST,
                              .last_arrival = events->now,
                              .deliver = deliver,
                              .self = self};
  event_init(&channel->event, events, channel_run, channel);
  prng_init(&channel->prng, network->seed, channel->event.number);
  channel->slots = slots_take(channel->capacity_bits, channel->slot_bytes);
}

void channel_finish(struct channel *channel) {
  if (channel != NULL) {
    free(channel->slots);
    channel->slots = NULL;
  }
}

static void grow(struct channel *channel) {
  CHECK_LT(channel->capacity_bits, CHANNEL_CAPACITY_BITS_MAX);
  unsigned char *slots = slots_take(channel->capacity_bits + 1U, channel->slot_bytes);
  for (uint32_t i = 0; i < channel->count; i++) {
    memcpy(slots + (size_t)i * channel->slot_bytes, slot_at(channel, i), channel->slot_bytes);
  }
  free(channel->slots);
  channel->slots = slots;
  channel->capacity_bits++;
  channel->first = 0;
}

/* When a message handed over now arrives. */
static struct instant arrival(struct channel *channel, struct instant now, uint64_t wire_bytes) {
  const struct network *network = channel->network;
  struct instant at = now;
  if (network->ps_per_byte == 0) {
    at = instant_add(at, network->latency);
  } else {
    const struct duration transmission =
        duration_ns((int64_t)(wire_bytes * network->ps_per_byte / 1000));
    at = instant_add(instant_max(at, channel->from->out_free), transmission);
    channel->from->out_free = at;
    at = instant_max(instant_add(at, network->latency),
                     instant_add(channel->to->in_free, transmission));
    channel->to->in_free = at;
  }
  if (network->jitter.ns > 0) {
    /* 32 random bits as a fraction: a draw without a division. */
    const uint64_t fraction = prng_next(&channel->prng) >> 32;
    at.ns += (int64_t)(fraction * (uint64_t)(network->jitter.ns + 1) >> 32);
  }
  return instant_max(at, channel->last_arrival);
}

/* After how many messages more the receiver of one is asked to expect it: time for memory to come,
 * not for it to be driven out of the second-level cache again. */
static const uint32_t NOTICE_AFTER[] = {1, 9, 17, 25};

/* A message is about to be written: those before it are complete. */
static void give_notices(struct network *network, const struct channel *channel) {
  const uint64_t last = network->notices_count++;
  network->notices[last % NETWORK_NOTICES] = (struct network_notice){
      .channel = channel, .number = channel->delivered_count + channel->count};
  for (uint32_t step = 0; step < sizeof(NOTICE_AFTER) / sizeof(NOTICE_AFTER[0]); step++) {
    if (last < NOTICE_AFTER[step]) {
      break;
    }
    const struct network_notice *notice =
        &network->notices[(last - NOTICE_AFTER[step]) % NETWORK_NOTICES];
    const struct channel *of = notice->channel;
    const uint32_t ahead = notice->number - of->delivered_count; /* huge: it has arrived */
    if (ahead < of->count) {
      of->expect(of->self, slot_at(of, ahead) + SLOT_HEAD_BYTES, step);
    }
  }
}

void *channel_send(struct channel *channel, uint64_t wire_bytes) {
  CHECK(!channel->is_delivering);
  if (channel->count > last_index(channel)) {
    grow(channel);
  }
  if (channel->expect != NULL) {
    give_notices(channel->network, channel);
  }
  const struct instant at = arrival(channel, channel->event.events->now, wire_bytes);
  channel->last_arrival = at;
  unsigned char *slot = slot_at(channel, channel->count);
  memcpy(slot, &at, sizeof(at));
  channel->count++;
  if (channel->count == 1) {
    event_set(&channel->event, at);
  }
  return slot + SLOT_HEAD_BYTES;
}

void channel_hold(struct channel *channel, struct instant until) {
  channel->held_until = instant_max(channel->held_until, until);
}

void channel_drop(struct channel *channel, uint32_t kept_count) {
  CHECK(!channel->is_delivering);
  if (kept_count < channel->count) {
    channel->count = kept_count;
  }
  if (channel->count == 0) {
    event_set(&channel->event, INSTANT_NEVER);
  }
}
