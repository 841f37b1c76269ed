/* The CPU backend in real time: two devices of one core with few pages, two small networks. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "backend/cpu/cpu.h"
#include "conformance/subject.h"
#include "os/clock.h"
#include "os/thread.h"
#include "support/memory.h"
#include "support/plan_maker.h"

enum { DEVICE_PAGES = 9 };

struct real_time {
  struct os_event event;
  char folder[64];
  char paths[2][96];
};

/* A convolution over a small image, all of its pixels into one product whose weights fill more than
 * a page. */
static void add_wide(struct plan_maker *maker, uint32_t batch_size) {
  plan_maker_begin(maker, batch_size);
  const uint32_t x = plan_maker_input(maker, 4, (uint32_t[]){batch_size, 3, 16, 16});
  const uint32_t w =
      plan_maker_weights(maker, PLAN_CHANNELS_LAST, 4, (uint32_t[]){32, 3, 3, 3}, 0.3);
  const uint32_t bias = plan_maker_weights(maker, PLAN_ROW_MAJOR, 1, (uint32_t[]){32}, 0.1);
  const uint32_t image =
      plan_maker_tensor(maker, PLAN_CHANNELS_LAST, 4, (uint32_t[]){batch_size, 3, 16, 16});
  const uint32_t y =
      plan_maker_tensor(maker, PLAN_CHANNELS_LAST, 4, (uint32_t[]){batch_size, 32, 16, 16});
  const uint32_t rows =
      plan_maker_tensor(maker, PLAN_ROW_MAJOR, 4, (uint32_t[]){batch_size, 32, 16, 16});
  const uint32_t flat =
      plan_maker_view(maker, rows, PLAN_ROW_MAJOR, 2, (uint32_t[]){batch_size, 8192}, 0, 0);
  const uint32_t product =
      plan_maker_weights(maker, PLAN_ROW_MAJOR, 2, (uint32_t[]){8192, 600}, 0.01);
  const uint32_t out = plan_maker_output(maker, 2, (uint32_t[]){batch_size, 600});
  const struct plan_step copy = {
      .scalar = PLAN_S_COPY, .type = PLAN_F32, .a = {.kind = PLAN_OPERAND_INPUT}};
  struct plan_op *op = plan_maker_op(maker, PLAN_OP_POINTWISE, 1, &x, image);
  op->pointwise.steps_count = 1;
  ((struct plan_step *)(uintptr_t)op->pointwise.steps)[0] = copy;
  op = plan_maker_op(maker, PLAN_OP_CONV, 3, (uint32_t[]){image, w, bias}, y);
  op->conv = (struct plan_conv){.spatial = 2,
                                .groups = 1,
                                .strides = {1, 1, 1},
                                .dilations = {1, 1, 1},
                                .pads_before = {1, 1},
                                .pads_after = {1, 1},
                                .activation = {.kind = PLAN_ACT_RELU}};
  op = plan_maker_op(maker, PLAN_OP_POINTWISE, 1, &y, rows);
  op->pointwise.steps_count = 1;
  ((struct plan_step *)(uintptr_t)op->pointwise.steps)[0] = copy;
  op = plan_maker_op(maker, PLAN_OP_MATMUL, 2, (uint32_t[]){flat, product}, out);
  op->matmul = (struct plan_matmul){.alpha = 1.0F};
  plan_maker_end(maker);
}

/* Two layers and a softmax; far below a page. */
static void add_narrow(struct plan_maker *maker, uint32_t batch_size) {
  plan_maker_begin(maker, batch_size);
  const uint32_t x = plan_maker_input(maker, 2, (uint32_t[]){batch_size, 256});
  const uint32_t first = plan_maker_weights(maker, PLAN_ROW_MAJOR, 2, (uint32_t[]){256, 64}, 0.1);
  const uint32_t second = plan_maker_weights(maker, PLAN_ROW_MAJOR, 2, (uint32_t[]){64, 10}, 0.3);
  const uint32_t hidden = plan_maker_tensor(maker, PLAN_ROW_MAJOR, 2, (uint32_t[]){batch_size, 64});
  const uint32_t sums = plan_maker_tensor(maker, PLAN_ROW_MAJOR, 2, (uint32_t[]){batch_size, 10});
  const uint32_t out = plan_maker_output(maker, 2, (uint32_t[]){batch_size, 10});
  struct plan_op *op = plan_maker_op(maker, PLAN_OP_MATMUL, 2, (uint32_t[]){x, first}, hidden);
  op->matmul = (struct plan_matmul){.alpha = 1.0F, .activation = {.kind = PLAN_ACT_TANH}};
  op = plan_maker_op(maker, PLAN_OP_MATMUL, 2, (uint32_t[]){hidden, second}, sums);
  op->matmul = (struct plan_matmul){.alpha = 1.0F};
  op = plan_maker_op(maker, PLAN_OP_SOFTMAX, 1, &sums, out);
  op->softmax = (struct plan_softmax){.axis = 1};
  plan_maker_end(maker);
}

static void write_packages(const struct real_time *time) {
  struct plan_maker *wide = plan_maker_create("wide", 1);
  struct plan_maker *narrow = plan_maker_create("narrow", 2);
  for (uint32_t batch_size = 1; batch_size <= 4; batch_size *= 2) {
    add_wide(wide, batch_size);
    add_narrow(narrow, batch_size);
  }
  plan_maker_write(wide, time->paths[0]);
  plan_maker_write(narrow, time->paths[1]);
  plan_maker_destroy(wide);
  plan_maker_destroy(narrow);
}

static void remove_packages(const struct real_time *time) {
  char name[160];
  for (int i = 0; i < 2; i++) {
    snprintf(name, sizeof(name), "%s/model.plan", time->paths[i]);
    unlink(name);
    snprintf(name, sizeof(name), "%s/model.weights", time->paths[i]);
    unlink(name);
    rmdir(time->paths[i]);
  }
  rmdir(time->folder);
}

static struct instant real_now(struct conformance_subject *subject) {
  (void)subject;
  return os_now();
}

static void on_notify(void *user) {
  struct real_time *time = user;
  os_event_set(&time->event);
}

static void real_wait(struct conformance_subject *subject, struct instant until) {
  struct real_time *time = subject->state;
  const struct instant next =
      instant_min(until, subject->backend.ops->wakeup(subject->backend.self));
  const struct duration left =
      next.ns == INT64_MAX ? duration_s(60) : instant_since(next, os_now());
  if (left.ns > 0) {
    (void)os_event_wait(&time->event, left);
  }
}

static void real_close(struct conformance_subject *subject) {
  struct real_time *time = subject->state;
  subject->backend.ops->destroy(subject->backend.self);
  remove_packages(time);
  os_event_finish(&time->event);
  free(time);
}

bool conformance_open_cpu(struct conformance_subject *ret_subject) {
  if (!cpu_is_usable()) {
    return false;
  }
  struct real_time *time = calloc(1, sizeof(*time));
  CHECK(time != NULL);
  snprintf(time->folder, sizeof(time->folder), "/tmp/conformance_cpu.XXXXXX");
  CHECK(mkdtemp(time->folder) != NULL);
  snprintf(time->paths[0], sizeof(time->paths[0]), "%s/wide", time->folder);
  snprintf(time->paths[1], sizeof(time->paths[1]), "%s/narrow", time->folder);
  write_packages(time);
  CHECK_EQ(os_event_init(&time->event), ERR_OK);
  const struct cpu_config config = {.devices = 2,
                                    .cores = 1,
                                    .pages = DEVICE_PAGES,
                                    .io_bytes = 4 << 20,
                                    .workspace_bytes = 16 << 20,
                                    .models_max = 1024,
                                    .notify = on_notify,
                                    .notify_user = time};
  struct backend backend;
  struct error_text error;
  CHECK_EQ(cpu_create(&config, &backend, &error), ERR_OK);
  *ret_subject = (struct conformance_subject){.backend = backend,
                                              .paths = {time->paths[0], time->paths[1]},
                                              .models_max = config.models_max,
                                              .output_tolerance = 1e-5F,
                                              .now = real_now,
                                              .wait = real_wait,
                                              .close = real_close,
                                              .state = time};
  return true;
}
