/* The CUDA backend on every GPU of this machine, in real time, with few pages each. */
#include <stdio.h>
#include <stdlib.h>

#include "conformance/subject.h"

#ifdef CLOCKWORK_HAS_CUDA

#include "backend/cuda/cuda.h"
#include "backend/cuda/kernel_parameters.h"
#include "backend/cuda/library.h"
#include "backend/cuda/module.h"
#include "base/check.h"
#include "os/clock.h"
#include "os/thread.h"
#include "support/model_packages.h"

enum { PAGES = 64 };

struct cuda_subject {
  struct test_packages packages;
  struct os_event event;
};

static struct instant real_now(struct conformance_subject *subject) {
  (void)subject;
  return os_now();
}

static void on_notify(void *user) {
  os_event_set(&((struct cuda_subject *)user)->event);
}

/* The event is kept when it was set before the wait; the limit on one wait is for `until` alone. */
static void real_wait(struct conformance_subject *subject, struct instant until) {
  struct cuda_subject *its = subject->state;
  struct duration timeout = instant_since(until, os_now());
  timeout = duration_min(timeout, duration_s(1));
  if (timeout.ns > 0) {
    os_event_wait(&its->event, timeout);
  }
}

/* A kernel of ours writes to an address where nothing is mapped, in this process's context of the
 * GPU: CUDA is dead to this process from then on, the GPU itself and other processes are not
 * touched. */
static void real_lose(struct conformance_subject *subject, uint32_t gpu_index) {
  (void)subject;
  struct library library;
  struct error_text error;
  CUdevice device = 0;
  CUcontext context = NULL;
  CUmodule module = NULL;
  CUfunction fill = NULL;
  CUdeviceptr nowhere = 0;
  CHECK_EQ(library_open(&library, &error), ERR_OK);
  CHECK_EQ(library.driver.cuDeviceGet(&device, (int)gpu_index), CUDA_SUCCESS);
  CHECK_EQ(library.driver.cuDevicePrimaryCtxRetain(&context, device), CUDA_SUCCESS);
  CHECK_EQ(library.driver.cuCtxSetCurrent(context), CUDA_SUCCESS);
  CHECK_EQ(library.driver.cuModuleLoadData(&module, cuda_kernels_module), CUDA_SUCCESS);
  CHECK_EQ(library.driver.cuModuleGetFunction(&fill, module, "fill"), CUDA_SUCCESS);
  CHECK_EQ(library.driver.cuMemAddressReserve(&nowhere, 64 << 20, 0, 0, 0), CUDA_SUCCESS);
  struct kernel_fill parameters = {.address = nowhere, .bytes = 4096};
  void *arguments[1] = {&parameters};
  CHECK_EQ(
      library.driver.cuLaunchKernel(fill, 1, 1, 1, KERNEL_THREADS, 1, 1, 0, NULL, arguments, NULL),
      CUDA_SUCCESS);
}

static void real_close(struct conformance_subject *subject) {
  struct cuda_subject *its = subject->state;
  subject->backend.ops->destroy(subject->backend.self);
  os_event_finish(&its->event);
  test_packages_remove(&its->packages);
  free(its);
}

bool conformance_open_cuda(struct conformance_subject *ret_subject) {
  if (!cuda_is_usable()) {
    printf("skipped: no CUDA device\n");
    return false;
  }
  struct cuda_subject *its = calloc(1, sizeof(*its));
  CHECK(its != NULL);
  CHECK_EQ(os_event_init(&its->event), ERR_OK);
  test_packages_create(&its->packages);
  struct cuda_config config;
  cuda_config_defaults(&config);
  for (int i = 0; i < CUDA_GPUS_MAX; i++) {
    config.pages[i] = PAGES;
  }
  config.io_bytes = 64 << 20;
  config.workspace_bytes = 64 << 20;
  config.models_max = 1024;
  config.notify = on_notify;
  config.notify_user = its;
  struct backend backend = {.ops = NULL};
  struct error_text error = {.text = ""};
  if (cuda_create(&config, &backend, &error) != ERR_OK) {
    fprintf(stderr, "%s\n", error.text);
    CHECK(false); /* there is a device, so this is a failure */
  }
  *ret_subject = (struct conformance_subject){
      .backend = backend,
      .paths = {its->packages.paths[0], its->packages.paths[1]},
      .models_max = config.models_max,
      .output_tolerance = 1e-3F, /* of single precision: batch sizes sum in other orders */
      .now = real_now,
      .wait = real_wait,
      .lose = real_lose,
      .loses_together = true,
      .close = real_close,
      .state = its};
  return true;
}

#else

bool conformance_open_cuda(struct conformance_subject *ret_subject) {
  (void)ret_subject;
  printf("skipped: no CUDA device (and built without the CUDA backend)\n");
  return false;
}

#endif
