/* Pointwise programs: changes of layout are reorders; a chain of functions with at most one other
 * operand each is a oneDNN primitive with what follows fused in; all else is the kernels', over
 * images in groups of channels where the operands lie so. */
#include <math.h>

#include "backend/cpu/builder.h"

static bool has_dims_of(const struct plan_tensor *a, const struct plan_tensor *b) {
  bool is_same = a->rank == b->rank;
  for (uint32_t i = 0; is_same && i < a->rank; i++) {
    is_same = a->dims[i] == b->dims[i];
  }
  return is_same;
}

/* ---- copies ---------------------------------------------------------------------------------- */

static bool lower_copy(struct builder *builder, const struct plan_op *op) {
  const struct plan_step *step = &op->pointwise.steps[0];
  const struct plan_tensor *x = builder_tensor(builder, op->inputs[0]);
  const struct plan_tensor *y = builder_tensor(builder, op->outputs[0]);
  if (op->pointwise.steps_count != 1 || step->scalar != PLAN_S_COPY || op->inputs_count != 1 ||
      x->type != PLAN_F32 || y->type != PLAN_F32 || !has_dims_of(x, y) ||
      builder_is_weights(builder, op->inputs[0])) {
    return false;
  }
  struct program_area area;
  dnnl_memory_desc_t from;
  builder_home(builder, op->inputs[0], &area, &from);
  struct target target = {.tensor = op->outputs[0],
                          .memory = builder_memory(builder, &area, &from)};
  builder_settle(builder, &target);
  return true;
}

/* ---- chains ---------------------------------------------------------------------------------- */

enum { LINKS_MAX = 12 };

/* value = function(value) or value = value (operation) operand. */
struct link {
  bool is_binary;
  dnnl_alg_kind_t kind;
  float alpha;
  float beta;
  uint32_t operand; /* tensor */
  bool is_linear;   /* with a number: alpha value + beta */
};

struct chain {
  uint32_t start; /* tensor */
  struct link links[LINKS_MAX];
  uint32_t count;
};

/* oneDNN 2.6 computes a second fused function of one kind with the numbers of the first: two linear
 * ones become one, and any other such chain is not the library's. */
static bool add_link(struct chain *chain, struct link link) {
  if (chain->count == LINKS_MAX) {
    return false;
  }
  struct link *last = chain->count == 0 ? NULL : &chain->links[chain->count - 1];
  if (last != NULL && !last->is_binary && !link.is_binary && link.kind == dnnl_eltwise_linear &&
      last->kind == dnnl_eltwise_linear) {
    last->alpha *= link.alpha;
    last->beta = last->beta * link.alpha + link.beta;
    return true;
  }
  for (uint32_t i = 0; i < chain->count && !link.is_binary; i++) {
    if (!chain->links[i].is_binary && chain->links[i].kind == link.kind) {
      return false;
    }
  }
  chain->links[chain->count++] = link;
  return true;
}

static bool is_value(const struct plan_operand *operand, uint32_t step) {
  return step == 0 ? operand->kind == PLAN_OPERAND_INPUT && operand->index == 0
                   : operand->kind == PLAN_OPERAND_STEP && operand->index == step - 1;
}

static bool add_operand(struct chain *chain, const struct plan_op *op, enum plan_scalar scalar,
                        const struct plan_operand *operand) {
  struct link link = {.is_binary = true};
  if (operand->kind == PLAN_OPERAND_STEP || operand->kind == PLAN_OPERAND_NONE) {
    return false;
  }
  if (operand->kind == PLAN_OPERAND_INPUT) {
    link.operand = op->inputs[operand->index];
    switch (scalar) {
    case PLAN_S_ADD:
      link.kind = dnnl_binary_add;
      break;
    case PLAN_S_SUB:
      link.kind = dnnl_binary_sub;
      break;
    case PLAN_S_MUL:
      link.kind = dnnl_binary_mul;
      break;
    case PLAN_S_DIV:
      link.kind = dnnl_binary_div;
      break;
    case PLAN_S_MIN:
      link.kind = dnnl_binary_min;
      break;
    case PLAN_S_MAX:
      link.kind = dnnl_binary_max;
      break;
    default:
      return false;
    }
    return add_link(chain, link);
  }
  const float number = (float)operand->number;
  link = (struct link){.kind = dnnl_eltwise_linear, .alpha = 1.0F};
  switch (scalar) {
  case PLAN_S_ADD:
    link.beta = number;
    break;
  case PLAN_S_SUB:
    link.beta = -number;
    break;
  case PLAN_S_MUL:
    link.alpha = number;
    break;
  case PLAN_S_DIV:
    if (number == 0.0F) {
      return false;
    }
    link.alpha = 1.0F / number;
    break;
  case PLAN_S_MAX:
    link = (struct link){.kind = dnnl_eltwise_clip, .alpha = number, .beta = INFINITY};
    break;
  case PLAN_S_MIN:
    link = (struct link){.kind = dnnl_eltwise_clip, .alpha = -INFINITY, .beta = number};
    break;
  default:
    return false;
  }
  return add_link(chain, link);
}

static bool add_function(struct chain *chain, const struct plan_step *step) {
  struct link link = {.alpha = 0.0F};
  switch (step->scalar) {
  case PLAN_S_COPY:
    return true;
  case PLAN_S_ACTIVATION:
    if (step->activation.kind == PLAN_ACT_HARD_SIGMOID) {
      return add_link(chain, (struct link){.kind = dnnl_eltwise_linear,
                                           .alpha = step->activation.alpha,
                                           .beta = step->activation.beta}) &&
             add_link(chain, (struct link){.kind = dnnl_eltwise_clip, .alpha = 0.0F, .beta = 1.0F});
    }
    return activation_of(&step->activation, &link.kind, &link.alpha, &link.beta) &&
           add_link(chain, link);
  case PLAN_S_TANH:
    link.kind = dnnl_eltwise_tanh;
    return add_link(chain, link);
  case PLAN_S_EXP:
    link.kind = dnnl_eltwise_exp;
    return add_link(chain, link);
  case PLAN_S_SQRT:
    link.kind = dnnl_eltwise_sqrt;
    return add_link(chain, link);
  case PLAN_S_ABS:
    link.kind = dnnl_eltwise_abs;
    return add_link(chain, link);
  default:
    return false;
  }
}

/* x sigmoid(x) as two steps, a frequent pair that a chain could not hold. */
static bool read_chain(const struct plan_op *op, struct chain *ret_chain) {
  *ret_chain = (struct chain){.start = op->inputs[0]};
  for (uint32_t i = 0; i < op->pointwise.steps_count; i++) {
    const struct plan_step *step = &op->pointwise.steps[i];
    if (step->type != PLAN_F32) {
      return false;
    }
    const bool commutes = step->scalar == PLAN_S_ADD || step->scalar == PLAN_S_MUL ||
                          step->scalar == PLAN_S_MIN || step->scalar == PLAN_S_MAX;
    if (step->scalar == PLAN_S_FMA) {
      if (!is_value(&step->a, i) || !add_operand(ret_chain, op, PLAN_S_MUL, &step->b) ||
          !add_operand(ret_chain, op, PLAN_S_ADD, &step->c)) {
        return false;
      }
      continue;
    }
    if (step->b.kind == PLAN_OPERAND_NONE) {
      if (!is_value(&step->a, i) || !add_function(ret_chain, step)) {
        return false;
      }
      continue;
    }
    const bool is_first = is_value(&step->a, i);
    const struct plan_operand *other = is_first ? &step->b : &step->a;
    if ((!is_first && !(commutes && is_value(&step->b, i))) ||
        !add_operand(ret_chain, op, step->scalar, other)) {
      return false;
    }
  }
  return ret_chain->count > 0;
}

/* How the result and its operands look to the library: images in groups of channels, or rows in
 * which neighbouring axes that nobody tells apart are one. */
struct view {
  bool is_blocked;
  uint32_t rank; /* of the result and of each operand */
  dnnl_memory_desc_t layout;
  dnnl_memory_desc_t operands[LINKS_MAX];
};

/* (N or 1, C, 1, 1) or a number beside images. Not a number a channel where the last group of
 * channels has gaps: oneDNN 2.6 then leaves the destination as it was. */
static bool describe_beside_images(const struct plan_tensor *at, const struct plan_tensor *y,
                                   const dnnl_memory_desc_t *layout, dnnl_memory_desc_t *ret_desc) {
  if (has_dims_of(at, y)) {
    *ret_desc = *layout;
    return true;
  }
  if (at->rank > 4) {
    return false;
  }
  dnnl_dims_t dims = {1, 1, 1, 1};
  for (uint32_t i = 0; i < at->rank; i++) {
    dims[4 - at->rank + i] = at->dims[i];
  }
  if (dims[2] != 1 || dims[3] != 1) {
    return false;
  }
  const bool is_number = dims[0] == 1 && dims[1] == 1;
  *ret_desc = is_number ? desc_rows(4, dims, dnnl_f32) : desc_blocked(dims);
  return is_number || (dims[1] == y->dims[1] && dims[1] % BLOCK == 0);
}

/* Elements of the operand if all its axes but leading ones are the result's (`suffix`), or all its
 * axes are, but trailing ones (`prefix`); 0 if not so. A tensor in rows. */
static void measure_rows(const struct plan_tensor *at, const struct plan_tensor *y,
                         uint64_t *ret_prefix, uint64_t *ret_suffix) {
  const uint32_t ones = y->rank - at->rank;
  uint32_t first = y->rank;
  uint32_t end = 0;
  uint64_t elements = 1;
  for (uint32_t i = 0; i < y->rank; i++) {
    const uint32_t dim = i < ones ? 1 : at->dims[i - ones];
    if (dim != 1) {
      first = first < i ? first : i;
      end = i + 1;
      elements *= dim;
    }
  }
  *ret_prefix = elements;
  *ret_suffix = elements;
  for (uint32_t i = 0; i < y->rank; i++) {
    const uint32_t dim = i < ones ? 1 : at->dims[i - ones];
    if (dim != y->dims[i] && i < end) {
      *ret_prefix = 0;
    }
    if (dim != y->dims[i] && i >= first) {
      *ret_suffix = 0;
    }
  }
}

/* Rows: (A, I) with operands (1, I), or (1, A, I) with operands (1, A, 1). */
static bool describe_rows(const struct builder *builder, const struct chain *chain,
                          const struct plan_tensor *y, struct view *view) {
  const uint64_t elements = plan_tensor_elements(y);
  uint64_t prefix = 0;
  uint64_t suffix = 0;
  for (uint32_t i = 0; i < chain->count; i++) {
    if (!chain->links[i].is_binary) {
      continue;
    }
    const struct plan_tensor *at = builder_tensor(builder, chain->links[i].operand);
    const bool is_image = at->layout == PLAN_CHANNELS_LAST &&
                          plan_tensor_elements(at) != (uint64_t)at->dims[1] * at->dims[0];
    if (is_image || at->rank > y->rank) {
      return false;
    }
    uint64_t own_prefix = 0;
    uint64_t own_suffix = 0;
    measure_rows(at, y, &own_prefix, &own_suffix);
    if (own_prefix == elements || own_suffix == 1) {
      continue; /* whole, or a number */
    }
    if (own_suffix != 0 && prefix == 0 && (suffix == 0 || suffix == own_suffix)) {
      suffix = own_suffix;
    } else if (own_prefix != 0 && suffix == 0 && (prefix == 0 || prefix == own_prefix)) {
      prefix = own_prefix;
    } else {
      return false;
    }
  }
  const dnnl_dim_t a = (dnnl_dim_t)(prefix != 0 ? prefix : suffix != 0 ? elements / suffix : 1);
  const dnnl_dim_t inner = (dnnl_dim_t)elements / a;
  const dnnl_dims_t by_row = {1, a, inner};
  const dnnl_dims_t by_column = {a, inner};
  const dnnl_dims_t row_operand = {1, a, 1};
  const dnnl_dims_t column_operand = {1, inner};
  const dnnl_dims_t number = {1, 1, 1};
  view->rank = prefix != 0 ? 3 : 2;
  view->layout = desc_rows(view->rank, prefix != 0 ? by_row : by_column, dnnl_f32);
  for (uint32_t i = 0; i < chain->count; i++) {
    if (!chain->links[i].is_binary) {
      continue;
    }
    const uint64_t own = plan_tensor_elements(builder_tensor(builder, chain->links[i].operand));
    view->operands[i] =
        own == elements ? view->layout
        : own == 1      ? desc_rows(view->rank, number, dnnl_f32)
                   : desc_rows(view->rank, prefix != 0 ? row_operand : column_operand, dnnl_f32);
  }
  return true;
}

static bool is_plain_rows(const struct builder *builder, uint32_t tensor) {
  const struct plan_tensor *at = builder_tensor(builder, tensor);
  return at->type == PLAN_F32 && at->layout == PLAN_ROW_MAJOR &&
         (builder_is_weights(builder, tensor) || !builder_home_is_blocked(builder, tensor));
}

static bool describe_view(const struct builder *builder, const struct plan_op *op,
                          const struct chain *chain, struct view *view) {
  const struct plan_tensor *y = builder_tensor(builder, op->outputs[0]);
  view->is_blocked = builder_home_is_blocked(builder, op->outputs[0]);
  if (view->is_blocked) {
    dnnl_dims_t dims;
    desc_dims(y, dims);
    view->rank = 4;
    view->layout = desc_blocked(dims);
    for (uint32_t i = 0; i < chain->count; i++) {
      if (chain->links[i].is_binary) {
        const struct plan_tensor *at = builder_tensor(builder, chain->links[i].operand);
        if (at->type != PLAN_F32 ||
            !describe_beside_images(at, y, &view->layout, &view->operands[i])) {
          return false;
        }
      }
    }
    return true;
  }
  if (!is_plain_rows(builder, op->outputs[0]) || !is_plain_rows(builder, chain->start)) {
    return false;
  }
  for (uint32_t i = 0; i < chain->count; i++) {
    if (chain->links[i].is_binary && !is_plain_rows(builder, chain->links[i].operand)) {
      return false;
    }
  }
  return describe_rows(builder, chain, y, view);
}

/* The tensor in this description: rows and numbers as they lie, images as they are wanted. */
static uint32_t view_memory(struct builder *builder, const struct view *view, uint32_t tensor,
                            const dnnl_memory_desc_t *desc) {
  const struct plan_tensor *at = builder_tensor(builder, tensor);
  const bool is_weights = builder_is_weights(builder, tensor);
  if (view->is_blocked && at->rank == 4) {
    return builder_source(builder, tensor, desc);
  }
  if (view->is_blocked && is_weights) {
    const dnnl_memory_desc_t rows = desc_rows((uint32_t)desc->ndims, desc->dims, dnnl_f32);
    if (!desc_is_same_layout(&rows, desc)) {
      return builder_weights(builder, tensor, &rows, desc, 1);
    }
  }
  struct program_area area;
  if (is_weights) {
    area = builder_weights_verbatim(builder, tensor);
  } else {
    dnnl_memory_desc_t home;
    builder_home(builder, tensor, &area, &home);
  }
  return builder_memory(builder, &area, desc);
}

/* What view_memory() can't do: a computed row of channels, with gaps in groups of eight. */
static bool can_view(const struct builder *builder, const struct view *view,
                     const struct chain *chain) {
  for (uint32_t i = 0; view->is_blocked && i < chain->count; i++) {
    if (chain->links[i].is_binary && !builder_is_weights(builder, chain->links[i].operand)) {
      const struct plan_tensor *at = builder_tensor(builder, chain->links[i].operand);
      if (at->rank != 4) {
        return false;
      }
    }
  }
  return true;
}

/* With AVX-512 oneDNN 2.6 leaves eight of 24 elements without the functions that follow an
 * operation of two operands: such a chain is left to kernels. */
static bool is_served_wrongly(const struct chain *chain) {
  bool has_function = false;
  for (uint32_t i = 1; i < chain->count; i++) {
    has_function = has_function || !chain->links[i].is_binary;
  }
  return chain->links[0].is_binary && has_function &&
         dnnl_get_effective_cpu_isa() > dnnl_cpu_isa_avx2;
}

static dnnl_primitive_desc_t create_chain(dnnl_engine_t engine, const struct chain *chain,
                                          const struct view *view, int *ret_names) {
  struct post post;
  post_open(&post);
  for (uint32_t i = 1; i < chain->count; i++) {
    const struct link *link = &chain->links[i];
    if (link->is_binary) {
      ret_names[i] = post_add_binary(&post, link->kind, &view->operands[i]);
    } else {
      post_add_function(&post, link->kind, link->alpha, link->beta);
    }
  }
  const struct link *first = &chain->links[0];
  dnnl_primitive_attr_t attr = post_close(&post);
  dnnl_primitive_desc_t primitive = NULL;
  dnnl_status_t status = dnnl_unimplemented;
  dnnl_binary_desc_t binary;
  dnnl_eltwise_desc_t function;
  if (attr != NULL && first->is_binary) {
    ret_names[0] = DNNL_ARG_SRC_1;
    status = dnnl_binary_desc_init(&binary, first->kind, &view->layout, &view->operands[0],
                                   &view->layout);
  } else if (attr != NULL) {
    status = dnnl_eltwise_forward_desc_init(&function, dnnl_forward_inference, first->kind,
                                            &view->layout, first->alpha, first->beta);
  }
  const void *desc = first->is_binary ? (const void *)&binary : (const void *)&function;
  if (status != dnnl_success ||
      dnnl_primitive_desc_create(&primitive, desc, attr, engine, NULL) != dnnl_success) {
    primitive = NULL;
  }
  post_finish(&post);
  if (primitive != NULL && primitive_is_reference(primitive)) {
    dnnl_primitive_desc_destroy(primitive);
    primitive = NULL;
  }
  return primitive;
}

static bool lower_chain(struct builder *builder, const struct plan_op *op) {
  const struct plan_tensor *y = builder_tensor(builder, op->outputs[0]);
  const struct plan_tensor *x = builder_tensor(builder, op->inputs[0]);
  struct chain chain;
  struct view view;
  if (y->type != PLAN_F32 || x->type != PLAN_F32 || !has_dims_of(x, y) ||
      builder_is_weights(builder, op->inputs[0]) || !read_chain(op, &chain) ||
      is_served_wrongly(&chain) || !describe_view(builder, op, &chain, &view) ||
      !can_view(builder, &view, &chain)) {
    return false;
  }
  int names[LINKS_MAX] = {0};
  dnnl_primitive_desc_t primitive = create_chain(builder->engine, &chain, &view, names);
  if (primitive == NULL) {
    return false;
  }
  struct arguments arguments = {.count = 0};
  arguments_add(&arguments, DNNL_ARG_SRC_0, view_memory(builder, &view, chain.start, &view.layout));
  for (uint32_t i = 0; i < chain.count; i++) {
    if (chain.links[i].is_binary) {
      arguments_add(&arguments, names[i],
                    view_memory(builder, &view, chain.links[i].operand, &view.operands[i]));
    }
  }
  struct target target = {.tensor = op->outputs[0], .is_home = true};
  if (view.is_blocked) {
    target = builder_target(builder, op->outputs[0], &view.layout);
  } else {
    target.memory = view_memory(builder, &view, op->outputs[0], &view.layout);
  }
  arguments_add(&arguments, DNNL_ARG_DST, target.memory);
  builder_emit(builder, primitive, &arguments);
  builder_settle(builder, &target);
  return true;
}

/* ---- kernels over groups of channels --------------------------------------------------------- */

/* (N, C, H, W) in groups of eight channels is (N, C/8, H, W, 8) in rows. */
static struct plan_tensor as_groups(uint32_t n, uint32_t c, uint32_t h, uint32_t w) {
  return (struct plan_tensor){
      .type = PLAN_F32,
      .layout = PLAN_ROW_MAJOR,
      .rank = 5,
      .dims = {n, c == 1 ? 1 : c / BLOCK, h, w, c == 1 ? 1 : BLOCK, 1, 1, 1}};
}

/* The operand as the kernel sees it; false: it lies otherwise. */
static bool group_operand(struct builder *builder, uint32_t tensor, const struct plan_tensor *y,
                          bool is_output, struct operand *ret_operand) {
  const struct plan_tensor *at = builder_tensor(builder, tensor);
  if (at->type != PLAN_F32 || at->rank > 4) {
    return false;
  }
  uint32_t dims[4] = {1, 1, 1, 1};
  for (uint32_t i = 0; i < at->rank; i++) {
    dims[4 - at->rank + i] = at->dims[i];
  }
  const bool is_weights = builder_is_weights(builder, tensor);
  if ((dims[1] != 1 && dims[1] != y->dims[1]) || (is_weights && (dims[2] != 1 || dims[3] != 1))) {
    return false;
  }
  ret_operand->tensor = as_groups(dims[0], dims[1], dims[2], dims[3]);
  if (is_weights) {
    ret_operand->area = builder_weights_verbatim(builder, tensor);
    return at->layout == PLAN_ROW_MAJOR;
  }
  dnnl_memory_desc_t home;
  builder_home(builder, tensor, &ret_operand->area, &home);
  const dnnl_dims_t wanted_dims = {dims[0], dims[1], dims[2], dims[3]};
  if (dims[1] == 1) {
    const dnnl_memory_desc_t rows = desc_rows(4, wanted_dims, dnnl_f32);
    return at->rank == 4 && desc_is_same_layout(&home, &rows);
  }
  const dnnl_memory_desc_t wanted = desc_blocked(wanted_dims);
  if (at->rank != 4) {
    return false;
  }
  if (desc_is_same_layout(&home, &wanted)) {
    return true;
  }
  if (is_output) {
    return false;
  }
  const uint32_t copy = builder_source(builder, tensor, &wanted);
  if (copy != PLAN_NONE) {
    ret_operand->area = builder->program->memories[copy].area;
  }
  return true;
}

static bool lower_groups(struct builder *builder, const struct plan_op *op) {
  const struct plan_tensor *y = builder_tensor(builder, op->outputs[0]);
  struct operand operands[PLAN_POINTWISE_INPUTS + 1];
  if (!builder_home_is_blocked(builder, op->outputs[0]) || y->dims[1] % BLOCK != 0 ||
      op->inputs_count > PLAN_POINTWISE_INPUTS) {
    return false;
  }
  struct operand output;
  if (!group_operand(builder, op->outputs[0], y, true, &output)) {
    return false;
  }
  for (uint32_t i = 0; i < op->inputs_count; i++) {
    if (op->inputs[i] == PLAN_NONE ||
        !group_operand(builder, op->inputs[i], y, false, &operands[i])) {
      return false;
    }
  }
  operands[op->inputs_count] = output;
  builder_emit_kernel_over(builder, op, operands, op->inputs_count + 1);
  return true;
}

bool lower_pointwise(struct builder *builder, const struct plan_op *op) {
  return lower_copy(builder, op) || lower_chain(builder, op) || lower_groups(builder, op);
}
