/* What a small frame costs through transport/, against the same bytes written to and read from a
 * socket without any framing, in the same run. Both ends live in one thread, so the CPU time is
 * that of sending and receiving together, the kernel's share included.
 *
 * usage: bench_transport [FRAMES]      frames each way and batch size (default 1,000,000)
 *
 * Budget: at least 200,000 frames/s each way on one core when frames come in batches of 8 or more.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "os/clock.h"
#include "os/usage.h"
#include "transport/connection.h"
#include "wire/frame.h"

enum {
  META_BYTES = 80, /* about an action or a result */
  FRAME_BYTES = FRAME_HEADER_BYTES + META_BYTES,
  BODY_BYTES = 602112, /* an image of ImageNet's size as floats */
};

struct cost {
  double cpu_ns;       /* per frame, sent and received */
  double frames_per_s; /* each way */
};

struct stopwatch {
  struct usage usage;
  struct instant at;
};

static struct stopwatch stopwatch_start(void) {
  struct stopwatch watch;
  os_usage(&watch.usage);
  watch.at = os_now();
  return watch;
}

static struct cost stopwatch_stop(const struct stopwatch *watch, uint64_t frames_each_way) {
  struct usage now;
  os_usage(&now);
  const double seconds = (double)instant_since(os_now(), watch->at).ns / 1e9;
  return (struct cost){.cpu_ns = (double)(now.cpu_ns - watch->usage.cpu_ns) /
                                 (2.0 * (double)frames_each_way),
                       .frames_per_s = (double)frames_each_way / seconds};
}

/* ---- through transport/ ---------------------------------------------------------------------- */

struct end {
  struct connection *connection;
  uint64_t received_count;
  uint64_t received_bytes;
};

static void on_opened(struct connection *connection) {
  struct end *end = connection_owner(connection);
  end->connection = connection;
}

static void on_frame(struct connection *connection, uint16_t type, const unsigned char *meta,
                     size_t meta_bytes, struct body *body) {
  (void)type;
  (void)meta;
  struct end *end = connection_owner(connection);
  end->received_count++;
  end->received_bytes += meta_bytes + (body != NULL ? body->bytes : 0);
}

struct pair {
  uv_loop_t loop;
  struct transport *transport;
  struct body_budget budget;
  struct end ends[2];
};

static void pair_open(struct pair *pair) {
  *pair = (struct pair){.transport = NULL};
  CHECK_EQ(uv_loop_init(&pair->loop), 0);
  pair->transport = transport_create(&pair->loop);
  CHECK(pair->transport != NULL);
  body_budget_init(&pair->budget, 64 * 1024 * 1024);
  struct listener_options listening = {
      .connection = {.handlers = {.on_opened = on_opened, .on_frame = on_frame},
                     .owner = &pair->ends[0],
                     .budget = &pair->budget}};
  struct dialer_options dialling = {.connection = listening.connection};
  dialling.connection.owner = &pair->ends[1];
  struct address any;
  struct listener *listener;
  CHECK_EQ(address_parse("127.0.0.1:0", 0, &any, NULL), ERR_OK);
  CHECK_EQ(transport_listen(pair->transport, &any, &listening, &listener, NULL), ERR_OK);
  CHECK(transport_dial(pair->transport, listener_address(listener), &dialling) != NULL);
  while (pair->ends[0].connection == NULL || pair->ends[1].connection == NULL) {
    uv_run(&pair->loop, UV_RUN_ONCE);
  }
}

static void pair_close(struct pair *pair) {
  transport_close(pair->transport);
  CHECK_EQ(uv_run(&pair->loop, UV_RUN_DEFAULT), 0);
  transport_destroy(pair->transport);
  body_budget_finish(&pair->budget);
  CHECK_EQ(uv_loop_close(&pair->loop), 0);
}

/* `batch` frames from each end in each iteration of the loop. */
static struct cost measure_frames(uint64_t frames, uint64_t batch) {
  struct pair pair;
  pair_open(&pair);
  const unsigned char meta[META_BYTES] = {0};
  const struct stopwatch watch = stopwatch_start();
  uint64_t sent = 0;
  while (pair.ends[0].received_count < frames || pair.ends[1].received_count < frames) {
    for (uint64_t i = 0; i < batch && sent < frames; i++, sent++) {
      CHECK_EQ(connection_send(pair.ends[0].connection, 1, meta, sizeof(meta), NULL, 0), ERR_OK);
      CHECK_EQ(connection_send(pair.ends[1].connection, 1, meta, sizeof(meta), NULL, 0), ERR_OK);
    }
    uv_run(&pair.loop, UV_RUN_NOWAIT);
  }
  const struct cost cost = stopwatch_stop(&watch, frames);
  pair_close(&pair);
  return cost;
}

/* Bodies one way, the next one when the last has left: with the kernel's buffers full this would
 * measure the cache. */
static struct cost measure_bodies(uint64_t frames) {
  struct pair pair;
  pair_open(&pair);
  unsigned char *data = calloc(1, BODY_BYTES);
  CHECK(data != NULL);
  const struct body_slice slice = {.data = data, .count_bytes = BODY_BYTES};
  const struct stopwatch watch = stopwatch_start();
  uint64_t sent = 0;
  while (pair.ends[0].received_count < frames) {
    while (sent < frames && connection_queued_bytes(pair.ends[1].connection) == 0) {
      CHECK_EQ(connection_send(pair.ends[1].connection, 1, NULL, 0, &slice, 1), ERR_OK);
      sent++;
    }
    uv_run(&pair.loop, UV_RUN_ONCE);
  }
  struct cost cost = stopwatch_stop(&watch, frames);
  cost.cpu_ns *= 2; /* one way only */
  pair_close(&pair);
  free(data);
  return cost;
}

/* ---- bare sockets ---------------------------------------------------------------------------- */

static void bare_open(int ret_fds[2]) {
  const int listening = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t address_bytes = sizeof(address);
  const int one = 1;
  CHECK_EQ(bind(listening, (struct sockaddr *)&address, sizeof(address)), 0);
  CHECK_EQ(listen(listening, 1), 0);
  CHECK_EQ(getsockname(listening, (struct sockaddr *)&address, &address_bytes), 0);
  ret_fds[1] = socket(AF_INET, SOCK_STREAM, 0);
  CHECK_EQ(connect(ret_fds[1], (struct sockaddr *)&address, sizeof(address)), 0);
  ret_fds[0] = accept(listening, NULL, NULL);
  CHECK_GE(ret_fds[0], 0);
  close(listening);
  for (int i = 0; i < 2; i++) {
    CHECK_EQ(setsockopt(ret_fds[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)), 0);
    CHECK_EQ(fcntl(ret_fds[i], F_SETFL, O_NONBLOCK), 0);
  }
}

static size_t bare_write(int fd, const unsigned char *bytes, size_t count) {
  const ssize_t written = write(fd, bytes, count);
  CHECK(written >= 0 || errno == EAGAIN);
  return written > 0 ? (size_t)written : 0;
}

static size_t bare_read(int fd, unsigned char *buffer, size_t count) {
  const ssize_t got = read(fd, buffer, count);
  CHECK(got >= 0 || errno == EAGAIN);
  return got > 0 ? (size_t)got : 0;
}

/* The same bytes in the same portions, `ways` 1 or 2. */
static struct cost measure_bare(uint64_t frames, size_t portion_bytes, size_t total_bytes,
                                int ways) {
  enum { BUFFER_BYTES = 1024 * 1024 };
  int fds[2];
  bare_open(fds);
  unsigned char *out = calloc(1, portion_bytes);
  unsigned char *in = malloc(BUFFER_BYTES);
  CHECK(out != NULL);
  CHECK(in != NULL);
  size_t sent[2] = {0, ways == 2 ? 0 : total_bytes};
  size_t received[2] = {ways == 2 ? 0 : total_bytes, 0};
  const struct stopwatch watch = stopwatch_start();
  while (received[0] < total_bytes || received[1] < total_bytes) {
    for (int i = 0; i < 2; i++) {
      const size_t left = total_bytes - sent[i];
      if (left > 0) {
        sent[i] += bare_write(fds[i], out, left < portion_bytes ? left : portion_bytes);
      }
    }
    for (int i = 0; i < 2; i++) {
      if (received[i] < total_bytes) {
        received[i] += bare_read(fds[i], in, BUFFER_BYTES);
      }
    }
  }
  struct cost cost = stopwatch_stop(&watch, frames);
  cost.cpu_ns *= ways == 2 ? 1 : 2;
  free(out);
  free(in);
  close(fds[0]);
  close(fds[1]);
  return cost;
}

int main(int argc, char **argv) {
  char *end = NULL;
  const uint64_t frames = argc > 1 ? strtoull(argv[1], &end, 10) : 1000000;
  if (argc > 2 || frames == 0 || (end != NULL && *end != '\0')) {
    fprintf(stderr, "usage: bench_transport [FRAMES]\n");
    return 2;
  }
  static const uint64_t BATCHES[] = {1, 8, 64, 512};
  for (size_t i = 0; i < sizeof(BATCHES) / sizeof(BATCHES[0]); i++) {
    const uint64_t batch = BATCHES[i];
    const uint64_t count = batch == 1 ? frames / 4 + 1 : frames;
    const struct cost bare = measure_bare(count, batch * FRAME_BYTES, count * FRAME_BYTES, 2);
    const struct cost framed = measure_frames(count, batch);
    printf("batch_%" PRIu64 "_frames_per_s: %.0f\n", batch, framed.frames_per_s);
    printf("batch_%" PRIu64 "_cpu_ns_per_frame: %.0f\n", batch, framed.cpu_ns);
    printf("batch_%" PRIu64 "_cpu_ns_per_frame_bare: %.0f\n", batch, bare.cpu_ns);
    printf("batch_%" PRIu64 "_ratio: %.2f\n", batch, framed.cpu_ns / bare.cpu_ns);
  }
  const uint64_t bodies = frames / 100 + 1;
  const struct cost bare = measure_bare(bodies, BODY_BYTES, bodies * BODY_BYTES, 1);
  const struct cost framed = measure_bodies(bodies);
  printf("body_%d_bytes_per_s: %.0f\n", BODY_BYTES, framed.frames_per_s * BODY_BYTES);
  printf("body_%d_cpu_us: %.1f\n", BODY_BYTES, framed.cpu_ns / 1000);
  printf("body_%d_cpu_us_bare: %.1f\n", BODY_BYTES, bare.cpu_ns / 1000);
  printf("body_%d_ratio: %.2f\n", BODY_BYTES, framed.cpu_ns / bare.cpu_ns);
  return 0;
}
