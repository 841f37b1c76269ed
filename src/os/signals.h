/* SIGINT and SIGTERM as events of a loop; SIGPIPE ignored.
 *
 * Thread: that of the loop. One per process.
 */
#ifndef CLOCKWORK_OS_SIGNALS_H
#define CLOCKWORK_OS_SIGNALS_H

#include <uv.h>

#include "base/error.h"

/* Called from the loop for each signal that came; `signal_number` is SIGINT or SIGTERM. */
typedef void signals_callback(void *user, int signal_number);

struct signals {
  uv_signal_t handles[2];
  signals_callback *on_signal;
  void *user;
  int handles_count; /* initialised ones */
};

/* From here on a write to a peer that is gone fails with EPIPE instead of killing the process.
 * Thread: any, at start. */
void signals_ignore_pipe(void);

/* Does not keep uv_run going. Ignores SIGPIPE too.
 * ERR_IO; `signals` may then be finished but not used. */
MUST_USE enum err signals_init(struct signals *signals, uv_loop_t *loop,
                               signals_callback *on_signal, void *user);

/* The memory may be reused after the loop's next iteration. Accepts NULL, zeroed, a second call. */
void signals_finish(struct signals *signals);

#endif
