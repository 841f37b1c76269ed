/* Whether a call aborts: the test of a CHECK. */
#ifndef CLOCKWORK_TESTS_SUPPORT_DEATH_H
#define CLOCKWORK_TESTS_SUPPORT_DEATH_H

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"

/* Run `call(argument)` in a child process, with its standard error thrown away. True if it ended by
 * SIGABRT. */
static inline bool test_dies(void (*call)(void *), void *argument) {
  const pid_t child = fork();
  CHECK_GE(child, 0);
  if (child == 0) {
    const struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    signal(SIGABRT, SIG_DFL);
    const int nowhere = open("/dev/null", O_WRONLY);
    dup2(nowhere, STDERR_FILENO);
    call(argument);
    _exit(0);
  }
  int status = 0;
  CHECK_EQ(waitpid(child, &status, 0), child);
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

#endif
