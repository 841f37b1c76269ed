/* Programs of this project as child processes of a test: started from the folder that the test was
 * built in, their standard output and error read line by line. */
#ifndef CLOCKWORK_TESTS_SUPPORT_PROGRAM_H
#define CLOCKWORK_TESTS_SUPPORT_PROGRAM_H

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"

struct program {
  pid_t pid;
  FILE *output;
};

/* "BUILD/tests/this_test" is beside "BUILD/name". */
static inline void program_path(const char *name, size_t capacity, char *ret_path) {
  char self[1024];
  const ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
  CHECK_GT(length, 0);
  self[length] = '\0';
  *strrchr(self, '/') = '\0';
  *strrchr(self, '/') = '\0';
  CHECK_LT(snprintf(ret_path, capacity, "%s/%s", self, name), (int)capacity);
}

/* `arguments`: as for execv, from argv[1] on, NULL at the end. The child ends with this process. */
static inline struct program program_start(const char *name, const char *const *arguments) {
  char path[1200];
  program_path(name, sizeof(path), path);
  const char *argv[32] = {path};
  for (size_t i = 0; arguments[i] != NULL; i++) {
    CHECK_LT(i + 2, sizeof(argv) / sizeof(argv[0]));
    argv[i + 1] = arguments[i];
  }
  int pipe_ends[2];
  CHECK_EQ(pipe(pipe_ends), 0);
  /* Nobody reads while the test runs, and a full pipe would stop the program. */
  fcntl(pipe_ends[1], F_SETPIPE_SZ, 1 << 20);
  fflush(NULL);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  CHECK_GE(pid, 0);
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
      _exit(126);
    }
    dup2(pipe_ends[1], STDOUT_FILENO);
    dup2(pipe_ends[1], STDERR_FILENO);
    close(pipe_ends[0]);
    close(pipe_ends[1]);
    execv(path, (char *const *)(const void *)argv);
    _exit(127);
  }
  close(pipe_ends[1]);
  fcntl(pipe_ends[0], F_SETFD, FD_CLOEXEC);
  return (struct program){.pid = pid, .output = fdopen(pipe_ends[0], "r")};
}

/* The next line that has `text` in it; false: the output ended before. */
static inline bool program_wait_for_line(struct program *program, const char *text, size_t capacity,
                                         char *ret_line) {
  while (fgets(ret_line, (int)capacity, program->output) != NULL) {
    if (strstr(ret_line, text) != NULL) {
      return true;
    }
  }
  return false;
}

/* Read what it still says, the last of it into `ret_output`, and wait for its end. Returns its exit
 * status, or -1 if a signal ended it. */
static inline int program_wait(struct program *program, size_t capacity, char *ret_output) {
  size_t used = 0;
  char line[1024];
  ret_output[0] = '\0';
  while (fgets(line, sizeof(line), program->output) != NULL) {
    const size_t length = strlen(line);
    CHECK_LT(length, capacity);
    if (used + length >= capacity) {
      const size_t dropped = used + length + 1 - capacity;
      memmove(ret_output, ret_output + dropped, used - dropped);
      used -= dropped;
    }
    memcpy(ret_output + used, line, length + 1);
    used += length;
  }
  fclose(program->output);
  int status = 0;
  CHECK_EQ(waitpid(program->pid, &status, 0), program->pid);
  *program = (struct program){.pid = -1};
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#endif
