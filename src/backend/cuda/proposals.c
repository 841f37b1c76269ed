#include "backend/cuda/proposals.h"

#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "os/thread.h"

enum {
  /* Of 780 problems of three networks on an H100, 99 % were won by one of the first 10 that cuDNN
   * proposed or one of the first 8 of cuBLASLt's. */
  FUSED_PROPOSALS = 10,
  BARE_PROPOSALS = 4,
  PRODUCT_PROPOSALS = 8,
  FUSED_ENOUGH = 4, /* proposals to do all at once; with fewer also the sum alone is tried */
};

_Static_assert((int)CONVOLUTION_TEXT_BYTES == (int)PRODUCT_TEXT_BYTES, "one size of text serves");

/* --------------------------------------------------------------------------------- one operation
 */

/* What one thread asks with. */
struct asker {
  const struct emit *emit;
  cudnnHandle_t handle;
  bool compiled;
};

static void add_texts(struct proposals *proposals, enum choice_form form,
                      char (*texts)[PROPOSAL_TEXT_BYTES], uint32_t count) {
  for (uint32_t i = 0; i < count && proposals->count < PROPOSALS_MAX; i++) {
    struct proposal *proposal = &proposals->items[proposals->count++];
    proposal->form = form;
    memcpy(proposal->text, texts[i], PROPOSAL_TEXT_BYTES);
  }
}

static void add_products(const struct emit *emit, const struct plan_op *op, bool is_bare,
                         struct proposals *proposals) {
  char texts[PRODUCT_PROPOSALS][PROPOSAL_TEXT_BYTES];
  struct product_problem problem;
  struct product_addresses addresses;
  if (product_of(emit, op, is_bare, &problem, &addresses)) {
    const uint32_t count =
        product_propose(emit->device, &problem, &addresses, texts, PRODUCT_PROPOSALS);
    add_texts(proposals, is_bare ? CHOICE_PRODUCT_BARE : CHOICE_PRODUCT, texts, count);
  }
}

/* What a library leaves undone can be added afterwards: the residual was not overwritten. */
static bool may_finish_later(const struct emit *emit, const struct plan_op *op) {
  const struct plan_tensor *out = emit_tensor(emit, op->outputs[0]);
  const uint32_t residual = emit_input(op, 3);
  const bool is_planar = op->kind == PLAN_OP_CONV_TRANSPOSE && out->pitch == 0;
  return (out->layout == PLAN_CHANNELS_LAST || is_planar) &&
         (residual == PLAN_NONE ||
          emit_address(emit, residual) != emit_address(emit, op->outputs[0]));
}

static void add_part(const struct asker *asker, const struct plan_op *op, enum choice_form form,
                     struct proposals *proposals) {
  char texts[BARE_PROPOSALS][PROPOSAL_TEXT_BYTES];
  struct convolution_problem problem;
  convolution_problem_of(asker->emit, op, proposal_extent(form), &problem);
  add_texts(proposals, form, texts,
            convolution_propose(asker->emit->device, asker->handle, &problem, false, texts,
                                BARE_PROPOSALS));
}

/* cuDNN has no engine that fuses a residual without a bias, for one: then in parts. */
static void add_convolutions(const struct asker *asker, const struct plan_op *op,
                             struct proposals *proposals) {
  const struct emit *emit = asker->emit;
  char texts[FUSED_PROPOSALS][PROPOSAL_TEXT_BYTES];
  struct convolution_problem problem;
  convolution_problem_of(emit, op, CONVOLUTION_WHOLE, &problem);
  const bool has_rest =
      problem.has_bias != 0 || problem.has_residual != 0 || problem.activation != PLAN_ACT_NONE;
  const bool may_be_whole = op->kind == PLAN_OP_CONV || !has_rest;
  const uint32_t count = !may_be_whole
                             ? 0
                             : convolution_propose(emit->device, asker->handle, &problem,
                                                   asker->compiled, texts, FUSED_PROPOSALS);
  add_texts(proposals, CHOICE_CONVOLUTION, texts, count);
  /* A sum alone and a kernel behind it won only where cuDNN fuses badly: in groups. */
  const bool is_fused_well = count >= FUSED_ENOUGH && op->conv.groups == 1;
  if (has_rest && !is_fused_well && may_finish_later(emit, op)) {
    add_part(asker, op, CHOICE_CONVOLUTION_BARE, proposals);
  }
  const bool is_last = emit_tensor(emit, op->outputs[0])->layout == PLAN_CHANNELS_LAST;
  if (count == 0 && is_last && convolution_aside(emit, op) != 0) {
    add_part(asker, op, CHOICE_CONVOLUTION_ASIDE, proposals);
  }
}

static void add_own(struct proposals *proposals) {
  char none[1][PROPOSAL_TEXT_BYTES] = {"-"};
  add_texts(proposals, CHOICE_OWN, none, 1);
}

static void ask_one(const struct asker *asker, struct proposals *proposals) {
  const struct emit *emit = asker->emit;
  const struct plan_op *op = &emit->batch->ops[proposals->op_index];
  proposals->count = 0;
  if (op->kind == PLAN_OP_CONV) {
    if (emit_is_depthwise(emit, op)) {
      add_own(proposals);
    }
    add_products(emit, op, false, proposals);
    add_convolutions(asker, op, proposals);
  } else if (op->kind == PLAN_OP_CONV_TRANSPOSE) {
    add_convolutions(asker, op, proposals);
  } else {
    add_products(emit, op, false, proposals);
  }
  if (proposals->count == 0 && op->kind != PLAN_OP_CONV_TRANSPOSE &&
      plan_op_kind_gates(op->kind) == 0 &&
      (op->kind == PLAN_OP_MATMUL || may_finish_later(emit, op))) {
    add_products(emit, op, true, proposals);
  }
  if (proposals->count == 0) {
    add_own(proposals);
  }
}

/* ------------------------------------------------------------------------------ several threads
 */

/* Operations are taken one by one, as some take far longer than others. */
struct crew {
  struct proposals *asked;
  uint32_t count;
  _Atomic(uint32_t) next;
};

struct member {
  struct os_thread thread;
  struct crew *crew;
  struct asker asker;
  cudnnHandle_t *handle; /* made if there is none */
};

static void work(struct crew *crew, const struct asker *asker) {
  for (;;) {
    const uint32_t at = atomic_fetch_add_explicit(&crew->next, 1, memory_order_relaxed);
    if (at >= crew->count) {
      return;
    }
    ask_one(asker, &crew->asked[at]);
  }
}

static void *member_main(void *user) {
  struct member *member = user;
  const struct device *device = member->asker.emit->device;
  const struct library *library = device->library;
  if (library->driver.cuCtxSetCurrent(device->context) != CUDA_SUCCESS) {
    return NULL;
  }
  if (*member->handle == NULL &&
      library->cudnn.cudnnCreate(member->handle) != CUDNN_STATUS_SUCCESS) {
    *member->handle = NULL;
    return NULL;
  }
  member->asker.handle = *member->handle;
  work(member->crew, &member->asker);
  return NULL;
}

static uint32_t proposers_count(void) {
  cpu_set_t cores;
  const int count = sched_getaffinity(0, sizeof(cores), &cores) == 0 ? CPU_COUNT(&cores) / 2 : 1;
  return count < 1 ? 1 : count > PROPOSERS_MAX ? PROPOSERS_MAX : (uint32_t)count;
}

void proposals_ask(struct proposers *proposers, const struct emit *emit, bool compiled,
                   struct proposals *asked, uint32_t count) {
  struct crew crew = {.asked = asked, .count = count};
  struct member members[PROPOSERS_MAX - 1];
  const uint32_t wanted = count < proposers_count() ? count : proposers_count();
  uint32_t others = 0;
  while (others + 1 < wanted) {
    struct member *member = &members[others];
    *member = (struct member){.crew = &crew,
                              .asker = {.emit = emit, .compiled = compiled},
                              .handle = &proposers->handles[others]};
    if (os_thread_start(&member->thread, "gpu-propose", member_main, member) != ERR_OK) {
      break;
    }
    others++;
  }
  const struct asker own = {.emit = emit, .handle = emit->device->cudnn, .compiled = compiled};
  work(&crew, &own);
  while (others > 0) {
    os_thread_join(&members[--others].thread);
  }
}

void proposers_finish(struct proposers *proposers, const struct device *device) {
  for (uint32_t i = 0; i < PROPOSERS_MAX - 1; i++) {
    if (proposers->handles[i] != NULL && !device_is_lost(device)) {
      device->library->cudnn.cudnnDestroy(proposers->handles[i]);
    }
    proposers->handles[i] = NULL;
  }
}
