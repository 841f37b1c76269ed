#include "os/signals.h"

#include <signal.h>
#include <stddef.h>

#include "base/check.h"

static void signals_on_signal(uv_signal_t *handle, int signal_number) {
  struct signals *signals = handle->data;
  signals->on_signal(signals->user, signal_number);
}

void signals_ignore_pipe(void) {
  CHECK(signal(SIGPIPE, SIG_IGN) != SIG_ERR); /* fails for unknown signals only */
}

enum err signals_init(struct signals *signals, uv_loop_t *loop, signals_callback *on_signal,
                      void *user) {
  static const int NUMBERS[2] = {SIGINT, SIGTERM};
  *signals = (struct signals){.on_signal = on_signal, .user = user};
  for (int i = 0; i < 2; i++) {
    uv_signal_t *handle = &signals->handles[i];
    if (uv_signal_init(loop, handle) != 0) {
      return ERR_IO;
    }
    signals->handles_count++;
    handle->data = signals;
    if (uv_signal_start(handle, signals_on_signal, NUMBERS[i]) != 0) {
      return ERR_IO;
    }
    uv_unref((uv_handle_t *)handle);
  }
  signals_ignore_pipe();
  return ERR_OK;
}

void signals_finish(struct signals *signals) {
  if (signals == NULL) {
    return;
  }
  for (int i = 0; i < signals->handles_count; i++) {
    uv_close((uv_handle_t *)&signals->handles[i], NULL);
  }
  signals->handles_count = 0;
}
