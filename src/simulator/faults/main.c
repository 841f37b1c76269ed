/* simulate_faults: clusters in virtual time in which things fail, one for each seed, and checkers
 * that look on.
 *
 * Each seed runs in a process of its own, so that one that ends in a CHECK is told like any other,
 * by one line, and the rest go on.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/prng.h"
#include "os/arguments.h"
#include "os/log.h"
#include "simulator/faults/seed_run.h"
#include "simulator/policy_option.h"

static const char PROGRAM[] = "simulate_faults";

enum {
  EXIT_PASSED = 0,
  EXIT_FOUND = 1, /* or a file can't be written, or memory lacks */
  EXIT_USAGE = 2,
  JOBS_MAX = 64,
  /* Of the trace: enough for a thousand models, and made at once. */
  DAY_FUNCTIONS = 500,
  TRACE_ID = 1,
  /* CPU time of one seed, that takes a tenth of a second or two and some hundred times that under
   * sanitizers: more is a loop. */
  SEED_CPU_S = 60,
  ERRORS_BYTES = 2048,
};

/* What "azure 1 1 1 1" offers in a run's time on that day; loads are set by it. */
static const double DAY_LOAD_RPS = 1.78;

struct settings {
  uint64_t first;
  uint64_t last;
  uint32_t jobs;
  const char *policy;
  const char *timeline;
  const char *faults[PLAN_FAULTS_MAX];
  uint32_t faults_count;
  bool has_faults;
  bool prints_plan;
  bool is_quiet;
};

/* What a child says of its seed, through a pipe. */
struct told {
  struct seed_outcome outcome;
  char checker[32];
};

struct job {
  pid_t pid;
  uint64_t seed;
  int told_fd;
  int errors_fd;
};

struct tally {
  uint64_t passed;
  uint64_t failed;
  uint64_t requests;
  uint64_t infers;
  uint64_t hash;
};

struct session {
  struct settings settings;
  struct profile profile;
  struct day day;
  struct job jobs[JOBS_MAX]; /* in the order of their seeds, from `first_job` on */
  uint32_t first_job;
  uint32_t jobs_count;
  struct tally tally;
};

/* ---- options --------------------------------------------------------------------------------- */

static void print_help(void) {
  printf("Usage: %s [--seeds A..B | --seed N] [options]\n"
         "Runs clusters in virtual time in which machines, connections, clocks and clients fail as "
         "the\n"
         "seed says, and looks for broken promises: docs/simulation.md, \"Faults\".\n"
         "  --seeds A..B     these seeds (1..200)\n"
         "  --seed N         this one, with its plan\n"
         "  --jobs N         seeds at once, each in a process (1)\n"
         "  --policy NAME    with this policy, one of those below, whatever the seed draws\n"
         "  --fault TEXT     instead of the seed's faults; may be given several times:\n"
         "                   'KIND [worker=N] [gpu=N] [amount=N] [at=S] [for=S]'; KIND is one of\n"
         "                  ",
         PROGRAM);
  for (int i = 0; i < FAULT_KINDS_COUNT; i++) {
    printf(" %s%s", fault_kind_text((enum fault_kind)i),
           i == FAULT_KINDS_COUNT / 2 ? "\n                  " : "");
  }
  printf("\n"
         "  --no-faults      nothing fails\n"
         "  --timeline FILE  with --seed: a trace for chrome://tracing or ui.perfetto.dev\n"
         "  --quiet          only failures and the last lines\n"
         "  -h, --help       this text\n"
         "Policies:\n");
  policy_option_print();
  printf(
      "Exit codes: 0 nothing was found; 1 something was, or a file can't be written; 2 usage.\n");
}

static bool parse_seed(const char *text, char stop, uint64_t *ret_seed, const char **ret_end) {
  char *end = NULL;
  errno = 0;
  *ret_seed = strtoull(text, &end, 10);
  *ret_end = end;
  return text[0] >= '0' && text[0] <= '9' && errno == 0 && *end == stop;
}

static bool parse_seeds(const char *text, struct settings *settings) {
  const char *end = NULL;
  if (parse_seed(text, '.', &settings->first, &end) && end[1] == '.' &&
      parse_seed(end + 2, '\0', &settings->last, &end) && settings->first <= settings->last) {
    return true;
  }
  log_usage_error(PROGRAM, "--seeds: '%.40s' is no range of whole numbers like 1..200", text);
  return false;
}

static bool parse_one_seed(const char *text, struct settings *settings) {
  const char *end = NULL;
  if (!parse_seed(text, '\0', &settings->first, &end)) {
    log_usage_error(PROGRAM, "--seed: '%.40s' is no whole number", text);
    return false;
  }
  settings->last = settings->first;
  settings->prints_plan = true;
  return true;
}

static bool parse_jobs(const char *text, struct settings *settings) {
  const char *end = NULL;
  uint64_t jobs = 0;
  if (!parse_seed(text, '\0', &jobs, &end) || jobs < 1 || jobs > JOBS_MAX) {
    log_usage_error(PROGRAM, "--jobs: '%.40s' is no number from 1 to %d", text, JOBS_MAX);
    return false;
  }
  settings->jobs = (uint32_t)jobs;
  return true;
}

static bool parse_policy(const char *text, struct settings *settings) {
  settings->policy = policy_option_parse(PROGRAM, text);
  return settings->policy != NULL;
}

enum option_value {
  OPTION_SEEDS = 256,
  OPTION_SEED,
  OPTION_JOBS,
  OPTION_POLICY,
  OPTION_FAULT,
  OPTION_NO_FAULTS,
  OPTION_TIMELINE,
  OPTION_QUIET,
};

static const struct option OPTIONS[] = {
    {"seeds", required_argument, NULL, OPTION_SEEDS},
    {"seed", required_argument, NULL, OPTION_SEED},
    {"jobs", required_argument, NULL, OPTION_JOBS},
    {"policy", required_argument, NULL, OPTION_POLICY},
    {"fault", required_argument, NULL, OPTION_FAULT},
    {"no-faults", no_argument, NULL, OPTION_NO_FAULTS},
    {"timeline", required_argument, NULL, OPTION_TIMELINE},
    {"quiet", no_argument, NULL, OPTION_QUIET},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static bool apply(int option, const char *value, struct settings *settings) {
  switch (option) {
  case OPTION_SEEDS:
    return parse_seeds(value, settings);
  case OPTION_SEED:
    return parse_one_seed(value, settings);
  case OPTION_JOBS:
    return parse_jobs(value, settings);
  case OPTION_POLICY:
    return parse_policy(value, settings);
  case OPTION_FAULT:
    settings->has_faults = true;
    if (settings->faults_count == PLAN_FAULTS_MAX) {
      log_usage_error(PROGRAM, "--fault: at most %d", PLAN_FAULTS_MAX);
      return false;
    }
    settings->faults[settings->faults_count++] = value;
    return true;
  case OPTION_NO_FAULTS:
    settings->has_faults = true;
    return true;
  case OPTION_TIMELINE:
    settings->timeline = value;
    return true;
  default:
    settings->is_quiet = true;
    return true;
  }
}

/* False: the program ends with *ret_exit_code. */
static bool parse_options(int argc, char **argv, struct settings *settings, int *ret_exit_code) {
  *settings = (struct settings){.first = 1, .last = 200, .jobs = 1};
  *ret_exit_code = EXIT_USAGE;
  opterr = 0;
  int option = 0;
  while ((option = arguments_next(argc, argv, ":h", OPTIONS)) != -1) {
    if (option == 'h') {
      print_help();
      *ret_exit_code = EXIT_PASSED;
      return false;
    }
    if (option == '?' || option == ':') {
      log_usage_error(PROGRAM, "'%.60s': %s; see -h", argv[optind - 1],
                      option == ':' ? "needs a value" : "unknown option");
      return false;
    }
    if (!apply(option, optarg, settings)) {
      return false;
    }
  }
  if (optind < argc) {
    log_usage_error(PROGRAM, "'%.60s': only options are taken; see -h", argv[optind]);
    return false;
  }
  if (settings->timeline != NULL && settings->first != settings->last) {
    log_usage_error(PROGRAM, "--timeline: is of one seed; give --seed N");
    return false;
  }
  return true;
}

/* ---- a seed ---------------------------------------------------------------------------------- */

/* False: *ret_error says what is wrong with --fault. */
static bool make_plan(const struct session *session, uint64_t seed, struct fault_plan *ret_plan,
                      struct error_text *ret_error) {
  const struct settings *settings = &session->settings;
  plan_draw(ret_plan, seed, session->profile.specs, session->profile.count, DAY_LOAD_RPS,
            settings->policy);
  if (settings->has_faults) {
    ret_plan->faults_count = 0;
  }
  for (uint32_t i = 0; i < settings->faults_count; i++) {
    if (!plan_parse_fault(ret_plan, settings->faults[i],
                          &ret_plan->faults[ret_plan->faults_count++], ret_error)) {
      return false;
    }
  }
  return true;
}

static void tell_how_to_replay(const struct settings *settings, uint64_t seed, FILE *file) {
  fprintf(file, "replay: %s --seed %" PRIu64, PROGRAM, seed);
  if (settings->policy != NULL) {
    fprintf(file, " --policy %s", settings->policy);
  }
  if (settings->has_faults && settings->faults_count == 0) {
    fprintf(file, " --no-faults");
  }
  for (uint32_t i = 0; i < settings->faults_count; i++) {
    fprintf(file, " --fault '%s'", settings->faults[i]);
  }
}

/* In the child: never returns. */
_Noreturn static void run_child(const struct session *session, uint64_t seed, int told_fd) {
  const struct rlimit most = {.rlim_cur = SEED_CPU_S, .rlim_max = SEED_CPU_S};
  setrlimit(RLIMIT_CPU, &most);
  /* An abort is told by a line; a core of each would fill a disk. */
  setrlimit(RLIMIT_CORE, &(struct rlimit){.rlim_cur = 0, .rlim_max = 0});
  struct fault_plan plan;
  struct told told = {.checker = ""};
  struct error_text error;
  const struct seed_inputs inputs = {.profile = &session->profile, .day = &session->day};
  if (!make_plan(session, seed, &plan, &error) ||
      seed_run(&plan, &inputs, session->settings.timeline, &told.outcome, &error) != ERR_OK) {
    fprintf(stderr, "%s\n", error.text);
    _exit(EXIT_USAGE);
  }
  if (told.outcome.findings.count > 0) {
    snprintf(told.checker, sizeof(told.checker), "%s", told.outcome.findings.checker);
  }
  const ssize_t written = write(told_fd, &told, sizeof(told));
  _exit(written == (ssize_t)sizeof(told) ? EXIT_PASSED : EXIT_USAGE);
}

static bool start_job(struct session *session, uint64_t seed) {
  int told[2];
  int errors[2];
  if (pipe(told) != 0) {
    log_usage_error(PROGRAM, "no pipe: %s", strerror(errno));
    return false;
  }
  if (pipe(errors) != 0) {
    close(told[0]);
    close(told[1]);
    log_usage_error(PROGRAM, "no pipe: %s", strerror(errno));
    return false;
  }
  fflush(stdout);
  const pid_t pid = fork();
  if (pid == 0) {
    dup2(errors[1], STDERR_FILENO);
    run_child(session, seed, told[1]);
  }
  close(told[1]);
  close(errors[1]);
  if (pid < 0) {
    close(told[0]);
    close(errors[0]);
    log_usage_error(PROGRAM, "no process: %s", strerror(errno));
    return false;
  }
  session->jobs[(session->first_job + session->jobs_count++) % JOBS_MAX] =
      (struct job){.pid = pid, .seed = seed, .told_fd = told[0], .errors_fd = errors[0]};
  return true;
}

/* All that comes, the first `capacity_bytes - 1` of it kept, as one line. */
static void read_errors(int fd, char *ret_text, size_t capacity_bytes) {
  size_t used = 0;
  char block[512];
  ssize_t count = 0;
  while ((count = read(fd, block, sizeof(block))) > 0) {
    for (ssize_t i = 0; i < count && used + 1 < capacity_bytes; i++) {
      ret_text[used++] = block[i] == '\n' ? ' ' : block[i];
    }
  }
  while (used > 0 && ret_text[used - 1] == ' ') {
    used--;
  }
  ret_text[used] = '\0';
}

static void tell_crash(struct session *session, const struct job *job, int status,
                       const char *errors) {
  session->tally.failed++;
  printf("seed %" PRIu64 ": FAILED crash: ", job->seed);
  if (WIFSIGNALED(status)) {
    printf("%s%s%s", errors, errors[0] == '\0' ? "" : "; ", strsignal(WTERMSIG(status)));
  } else {
    printf("%s; exit code %d", errors, WEXITSTATUS(status));
  }
  printf("; ");
  tell_how_to_replay(&session->settings, job->seed, stdout);
  printf("\n");
}

static void tell_outcome(struct session *session, const struct job *job, const struct told *told) {
  const struct seed_outcome *outcome = &told->outcome;
  struct tally *tally = &session->tally;
  tally->requests += outcome->requests;
  tally->infers += outcome->infers;
  tally->hash = prng_mix(tally->hash ^ outcome->trace_hash);
  if (outcome->findings.count == 0) {
    tally->passed++;
    if (!session->settings.is_quiet) {
      printf("seed %" PRIu64 ": passed, %" PRIu64 " requests, %" PRIu64
             " succeeded, trace_hash %016" PRIx64 "\n",
             job->seed, outcome->requests, outcome->succeeded, outcome->trace_hash);
    }
    return;
  }
  tally->failed++;
  printf("seed %" PRIu64 ": FAILED %s at %.6f s: %s; ", job->seed, told->checker,
         (double)outcome->findings.at.ns / 1e9, outcome->findings.text);
  tell_how_to_replay(&session->settings, job->seed, stdout);
  printf("\n");
}

/* The oldest job: wait for it and tell. False: it could not be run at all. */
static bool finish_job(struct session *session) {
  const struct job *job = &session->jobs[session->first_job % JOBS_MAX];
  char errors[ERRORS_BYTES];
  struct told told;
  int status = 0;
  read_errors(job->errors_fd, errors, sizeof(errors));
  const ssize_t count = read(job->told_fd, &told, sizeof(told));
  close(job->errors_fd);
  close(job->told_fd);
  while (waitpid(job->pid, &status, 0) < 0 && errno == EINTR) {
  }
  bool could_run = true;
  if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_USAGE) {
    log_usage_error(PROGRAM, "%s", errors);
    could_run = false;
  } else if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && count == (ssize_t)sizeof(told)) {
    tell_outcome(session, job, &told);
  } else {
    tell_crash(session, job, status, errors);
  }
  session->first_job++;
  session->jobs_count--;
  return could_run;
}

static bool run_seeds(struct session *session) {
  const struct settings *settings = &session->settings;
  bool could_run = true;
  uint64_t seed = settings->first;
  bool has_more = true;
  while (could_run && (has_more || session->jobs_count > 0)) {
    if (has_more && session->jobs_count < settings->jobs) {
      could_run = start_job(session, seed);
      has_more = seed != settings->last;
      seed++;
    } else {
      could_run = finish_job(session);
    }
  }
  while (session->jobs_count > 0) {
    could_run = finish_job(session) && could_run;
  }
  return could_run;
}

static bool open_inputs(struct session *session) {
  struct error_text error;
  if (profile_open(&session->profile, NULL, &error) != ERR_OK ||
      day_open(&session->day, NULL, TRACE_ID, DAY_FUNCTIONS, &error) != ERR_OK) {
    log_usage_error(PROGRAM, "%s", error.text);
    return false;
  }
  return true;
}

static bool print_plan(const struct session *session) {
  struct fault_plan plan;
  struct error_text error;
  if (!make_plan(session, session->settings.first, &plan, &error)) {
    log_usage_error(PROGRAM, "--fault: %s", error.text);
    return false;
  }
  if (session->settings.prints_plan && !session->settings.is_quiet) {
    plan_print(&plan, stdout);
  }
  return true;
}

int main(int argc, char **argv) {
  int code = EXIT_USAGE;
  struct session *session = calloc(1, sizeof(*session));
  if (session == NULL) {
    log_usage_error(PROGRAM, "out of memory");
    return EXIT_FOUND;
  }
  if (parse_options(argc, argv, &session->settings, &code)) {
    code = EXIT_USAGE;
    if (open_inputs(session) && print_plan(session) && run_seeds(session)) {
      const struct tally *tally = &session->tally;
      printf("trace_hash: %016" PRIx64 "\n", tally->hash);
      printf("%" PRIu64 " requests, %" PRIu64 " INFERs\n", tally->requests, tally->infers);
      printf("%" PRIu64 " passed, %" PRIu64 " failed, 0 skipped\n", tally->passed, tally->failed);
      code = tally->failed == 0 ? EXIT_PASSED : EXIT_FOUND;
    }
    day_close(&session->day);
    profile_close(&session->profile);
  }
  free(session);
  return code;
}
