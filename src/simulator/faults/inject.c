#include "simulator/faults/inject.h"

#include "base/check.h"
#include "simulator/device.h"

/* What a worker's kernel takes at most to find out that a controller is gone that it can't hear
 * from any more (PEER_LOST_AFTER of worker/). */
enum { PEER_LOST_AFTER_MS = 10000 };

static struct worker_node *worker_of(const struct inject *inject, const struct fault *fault) {
  return simulation_worker(inject->simulation, fault->worker);
}

static struct controller_peer *peer_of(const struct inject *inject, const struct fault *fault) {
  return &simulation_controller(inject->simulation)->peers[fault->worker];
}

/* Bytes that the kernels had not delivered are gone: all, or those from some byte on. */
static void drop_some(struct inject *inject, struct channel *channel) {
  channel_drop(channel, (uint32_t)prng_below(&inject->prng, (uint64_t)channel->count + 1));
}

static void break_connection(struct inject *inject, const struct fault *fault, struct instant now) {
  struct worker_node *worker = worker_of(inject, fault);
  drop_some(inject, &peer_of(inject, fault)->to_worker);
  drop_some(inject, &worker->to_controller);
  if (worker->is_running) {
    worker_node_on_broken(worker);
  }
  controller_node_on_broken(simulation_controller(inject->simulation), now, fault->worker);
}

static void partition(struct inject *inject, const struct fault *fault, struct instant until) {
  struct controller_peer *peer = peer_of(inject, fault);
  channel_hold(&peer->to_worker, until);
  channel_hold(&worker_of(inject, fault)->to_controller, until);
  /* If the controller gives the connection up meanwhile, its kernel may never get to say so. */
  peer->unseen_end = prng_below(&inject->prng, 2) == 0
                         ? DURATION_ZERO
                         : duration_ms((int64_t)prng_below(&inject->prng, PEER_LOST_AFTER_MS));
}

static void hang_controller(struct inject *inject, struct instant until) {
  struct simulation *simulation = inject->simulation;
  controller_node_freeze(simulation_controller(simulation), until);
  channel_hold(&simulation_client(simulation)->to_controller, until);
  for (uint32_t i = 0; i < inject->plan->workers; i++) {
    channel_hold(&simulation_worker(simulation, i)->to_controller, until);
  }
}

static void partition_client(struct inject *inject, struct instant until) {
  struct simulation *simulation = inject->simulation;
  channel_hold(&simulation_client(simulation)->to_controller, until);
  channel_hold(&simulation_controller(simulation)->to_client, until);
}

static void begin(struct inject *inject, const struct fault *fault, struct instant now) {
  struct simulation *simulation = inject->simulation;
  struct worker_node *worker = worker_of(inject, fault);
  const struct instant until = instant_add(now, fault->lasts);
  switch (fault->kind) {
  case FAULT_CRASH:
  case FAULT_CRASH_MACHINE:
    worker_node_crash(worker, fault->kind == FAULT_CRASH_MACHINE);
    break;
  case FAULT_HANG:
    worker_node_freeze(worker, until);
    break;
  case FAULT_PAUSE:
    if (worker->is_running) {
      channel_hold(&peer_of(inject, fault)->to_worker, until);
      worker_node_pause(worker, now, until);
    }
    break;
  case FAULT_LEAP:
    worker_node_leap(worker, duration_ms(fault->amount));
    break;
  case FAULT_BREAK:
    break_connection(inject, fault, now);
    break;
  case FAULT_PARTITION:
    partition(inject, fault, until);
    break;
  case FAULT_SLOW:
    device_set_speed(&worker->backend, fault->gpu, fault->amount);
    break;
  case FAULT_CLOCK:
    worker_node_set_clock(worker, fault->gpu, inject->clock_mhz * fault->amount / 100);
    break;
  case FAULT_STALL:
    device_stall_load(&worker->backend, fault->gpu, duration_ms(fault->amount));
    break;
  case FAULT_BAD_LOADS:
    device_set_failing(&worker->backend, fault->gpu, BACKEND_ENGINE_LOAD, true);
    break;
  case FAULT_BAD_RUNS:
    device_set_failing(&worker->backend, fault->gpu, BACKEND_ENGINE_EXECUTE, true);
    break;
  case FAULT_GPU_LOST:
    worker_node_lose_gpu(worker, now, fault->gpu);
    break;
  case FAULT_CONTROLLER:
    controller_node_crash(simulation_controller(simulation));
    break;
  case FAULT_CONTROLLER_HANG:
    hang_controller(inject, until);
    break;
  case FAULT_VANISH:
    client_node_vanish(simulation_client(simulation), now, until);
    break;
  case FAULT_FLOOD:
    client_node_flood(simulation_client(simulation), now, until, fault->amount);
    break;
  case FAULT_CLIENT_PARTITION:
    partition_client(inject, until);
    break;
  case FAULT_KINDS_COUNT:
    break;
  }
}

/* What does not end by itself. */
static void end(struct inject *inject, const struct fault *fault, struct instant now) {
  struct worker_node *worker = worker_of(inject, fault);
  switch ((int)fault->kind) {
  case FAULT_CRASH:
  case FAULT_CRASH_MACHINE:
    worker_node_start(worker, now);
    break;
  case FAULT_SLOW:
    device_set_speed(&worker->backend, fault->gpu, 1000);
    break;
  case FAULT_CLOCK:
    worker_node_set_clock(worker, fault->gpu, inject->clock_mhz);
    break;
  case FAULT_BAD_LOADS:
    device_set_failing(&worker->backend, fault->gpu, BACKEND_ENGINE_LOAD, false);
    break;
  case FAULT_BAD_RUNS:
    device_set_failing(&worker->backend, fault->gpu, BACKEND_ENGINE_EXECUTE, false);
    break;
  case FAULT_GPU_LOST: /* mended: who supervises the worker starts it anew */
    if (worker_node_has_lost(worker)) {
      worker_node_crash(worker, false);
    }
    worker_node_start(worker, now);
    break;
  case FAULT_CONTROLLER:
    controller_node_start(simulation_controller(inject->simulation), now);
    break;
  case FAULT_PARTITION:
    peer_of(inject, fault)->unseen_end = DURATION_ZERO;
    break;
  default:
    break;
  }
}

static struct instant on_step(void *self, struct instant now) {
  struct inject *inject = self;
  const struct inject_step *step = &inject->steps[inject->next_step++];
  const struct fault *fault = &inject->plan->faults[step->fault_index];
  inject->injected(inject->self, now, fault, step->begins);
  if (step->begins) {
    begin(inject, fault, now);
  } else {
    end(inject, fault, now);
  }
  return inject->next_step < inject->steps_count ? inject->steps[inject->next_step].at
                                                 : INSTANT_NEVER;
}

/* Few: insertion, behind those of the same time. */
static void add_step(struct inject *inject, struct instant at, uint32_t fault_index, bool begins) {
  uint32_t i = inject->steps_count++;
  for (; i > 0 && instant_after(inject->steps[i - 1].at, at); i--) {
    inject->steps[i] = inject->steps[i - 1];
  }
  inject->steps[i] = (struct inject_step){.at = at, .fault_index = fault_index, .begins = begins};
}

void inject_init(struct inject *inject, struct simulation *simulation,
                 const struct fault_plan *plan, uint32_t clock_mhz, injected_fn *injected,
                 void *self) {
  *inject = (struct inject){.simulation = simulation,
                            .plan = plan,
                            .clock_mhz = clock_mhz,
                            .injected = injected,
                            .self = self};
  prng_init(&inject->prng, plan->seed, UINT64_C(0x1e7));
  event_init(&inject->event, simulation_events(simulation), on_step, inject);
  for (uint32_t i = 0; i < plan->faults_count; i++) {
    const struct fault *fault = &plan->faults[i];
    const struct instant at = instant_add(simulation_start(simulation), fault->at);
    add_step(inject, at, i, true);
    add_step(inject, instant_add(at, fault->lasts), i, false);
  }
  if (inject->steps_count > 0) {
    event_set(&inject->event, inject->steps[0].at);
  }
}
