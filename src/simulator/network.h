/* The network: machines with a port each, and channels of messages between them.
 *
 * A message leaves when the messages before it have left the sender's port (bytes / bandwidth),
 * takes the latency, enters when those before it have entered the receiver's port, and is then
 * delayed by a seeded draw, uniform in [0, jitter], which stands for hosts and switches. Messages
 * of one channel never overtake each other, as on a TCP connection. Nothing is sent twice. Nothing
 * is lost by itself: TCP repeats what a network loses, so all that its users see is that messages
 * are late (channel_hold) or that a connection ends with the last of them undelivered
 * (channel_drop).
 *
 * Thread: one owner. Cost: O(log sources) a message (simulator/events.h).
 */
#ifndef CLOCKWORK_SIMULATOR_NETWORK_H
#define CLOCKWORK_SIMULATOR_NETWORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/prng.h"
#include "simulator/events.h"

/* Messages under way of which their receivers were told: a ring. */
enum { NETWORK_NOTICES = 64 };

struct channel;

struct network_notice {
  const struct channel *channel;
  uint32_t number; /* of the message in its channel */
};

struct network {
  struct duration latency;
  struct duration jitter;
  uint64_t ps_per_byte; /* picoseconds; 0: the bandwidth has no limit */
  uint64_t seed;
  struct network_notice notices[NETWORK_NOTICES];
  uint64_t notices_count; /* ever */
};

/* A machine's network card: one direction does not hold up the other. */
struct port {
  struct instant out_free;
  struct instant in_free;
};

/* By cache lines, where it is aligned to them: what delivering needs, then what sending needs. */
struct channel {
  struct event event;
  unsigned char *slots; /* capacity of them; each an instant and a message */
  void (*deliver)(void *self, struct instant now, const void *message);
  void *self;
  struct instant held_until; /* nothing is delivered before */
  uint32_t first;
  uint32_t count;
  uint32_t delivered_count; /* wraps around */
  uint16_t slot_bytes;
  uint8_t capacity_bits; /* slots are 2 to the power of it */
  bool is_delivering;
  struct network *network;
  struct port *from;
  struct port *to;
  struct instant last_arrival;
  struct prng prng;
  /* NULL, or asked about each message while it is under way, as long as that is: a few times, each
   * time one `step` further (from 0 on) and with other events in between. The receiver may bring
   * into the processor's caches what the message will touch: in each step what the step before has
   * led to (base/prefetch.h). */
  void (*expect)(const void *self, const void *message, uint32_t step);
};

/* `message_bytes`: of the struct that stands for every message of this channel. `deliver` may use
 * the message until it returns and must not send into the same channel (CHECK). */
void channel_init(struct channel *channel, struct events *events, struct network *network,
                  struct port *from, struct port *to, size_t message_bytes,
                  void (*deliver)(void *self, struct instant now, const void *message), void *self);

/* Accepts NULL and a zeroed one. */
void channel_finish(struct channel *channel);

/* Send a message that takes `wire_bytes` on the wire; returns where it is to be written at once,
 * room for message_bytes. The queue grows as needed; a machine without memory ends the program
 * (CHECK). */
void *channel_send(struct channel *channel, uint64_t wire_bytes);

/* What is under way and what is sent from now on arrives at `until` at the earliest. */
void channel_hold(struct channel *channel, struct instant until);

/* Of what is under way, only the first `kept_count` messages will arrive. */
void channel_drop(struct channel *channel, uint32_t kept_count);

#endif
