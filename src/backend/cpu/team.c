#include "backend/cpu/team.h"

#include <pthread.h>
#include <sched.h>

#include "base/check.h"

/* Of the OpenMP runtime that oneDNN is linked with. Called by name: clang would bring a runtime of
 * its own along, and a process can't have two. GOMP_parallel is what a parallel region is compiled
 * to, part of libgomp's stable interface. */
void omp_set_num_threads(int threads);
void omp_set_dynamic(int is_dynamic);
int omp_get_thread_num(void);
int omp_pause_resource_all(int kind);
void GOMP_parallel(void (*region)(void *data), void *data, unsigned threads, unsigned flags);

enum { OMP_PAUSE_HARD = 2 };

struct region {
  void (*part)(void *user, uint32_t part, uint32_t parts);
  void *user;
  uint32_t parts;
};

static void run_part(void *data) {
  const struct region *region = data;
  region->part(region->user, (uint32_t)omp_get_thread_num(), region->parts);
}

void team_run(void (*part)(void *user, uint32_t part, uint32_t parts), void *user, uint32_t parts) {
  if (parts == 1) {
    part(user, 0, 1);
    return;
  }
  struct region region = {.part = part, .user = user, .parts = parts};
  GOMP_parallel(run_part, &region, parts, 0);
}

void team_dismiss(void) {
  /* Refused only within a parallel region. */
  CHECK_EQ(omp_pause_resource_all(OMP_PAUSE_HARD), 0);
}

uint32_t team_cores(void) {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  if (sched_getaffinity(0, sizeof(cores), &cores) != 0) {
    return 1;
  }
  return (uint32_t)CPU_COUNT(&cores);
}

struct placement {
  cpu_set_t allowed;
  int32_t first_core;
};

static void pin_part(void *user, uint32_t part, uint32_t parts) {
  (void)parts;
  const struct placement *placement = user;
  int32_t left = placement->first_core + (int32_t)part;
  for (size_t core = 0; core < CPU_SETSIZE; core++) {
    if (CPU_ISSET(core, &placement->allowed) && left-- == 0) {
      cpu_set_t one;
      CPU_ZERO(&one);
      CPU_SET(core, &one);
      /* A core taken from the process meanwhile: it then runs where it may. */
      (void)pthread_setaffinity_np(pthread_self(), sizeof(one), &one);
      return;
    }
  }
}

void team_form(uint32_t threads, int32_t first_core) {
  CHECK_GT(threads, 0);
  omp_set_dynamic(0);
  omp_set_num_threads((int)threads);
  struct placement placement = {.first_core = first_core};
  CPU_ZERO(&placement.allowed);
  if (first_core >= 0 && sched_getaffinity(0, sizeof(placement.allowed), &placement.allowed) == 0) {
    team_run(pin_part, &placement, threads);
  }
}

void team_keep_off(uint32_t cores) {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0 ||
      cores >= (uint32_t)CPU_COUNT(&allowed)) {
    return;
  }
  for (size_t core = 0; cores > 0; core++) {
    if (CPU_ISSET(core, &allowed)) {
      CPU_CLR(core, &allowed);
      cores--;
    }
  }
  (void)pthread_setaffinity_np(pthread_self(), sizeof(allowed), &allowed);
}
