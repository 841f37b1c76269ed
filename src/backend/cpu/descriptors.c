/* oneDNN's descriptions: of memory, and of what follows a sum. */
#include <math.h>
#include <string.h>

#include "backend/cpu/builder.h"
#include "backend/cpu/packed_product.h"
#include "base/check.h"

/* ---- memory ---------------------------------------------------------------------------------- */

static dnnl_data_type_t data_type_of(enum plan_type type) {
  switch (type) {
  case PLAN_F32:
    return dnnl_f32;
  case PLAN_I32:
    return dnnl_s32;
  case PLAN_I8:
    return dnnl_s8;
  case PLAN_U8:
  case PLAN_BOOL:
    return dnnl_u8;
  default:
    return dnnl_data_type_undef;
  }
}

bool desc_has_type(enum plan_type type) {
  return data_type_of(type) != dnnl_data_type_undef;
}

void desc_dims(const struct plan_tensor *tensor, dnnl_dims_t ret_dims) {
  for (uint32_t i = 0; i < tensor->rank; i++) {
    ret_dims[i] = tensor->dims[i];
  }
}

dnnl_memory_desc_t desc_plain(const struct plan_tensor *tensor) {
  dnnl_dims_t dims = {1};
  dnnl_dims_t strides = {1};
  uint64_t distances[PLAN_RANK_MAX];
  desc_dims(tensor, dims);
  plan_tensor_strides(tensor, distances);
  for (uint32_t i = 0; i < tensor->rank; i++) {
    strides[i] = (dnnl_dim_t)distances[i];
  }
  dnnl_memory_desc_t desc;
  const int rank = tensor->rank == 0 ? 1 : (int)tensor->rank; /* a scalar is a row of one */
  CHECK_EQ(dnnl_memory_desc_init_by_strides(&desc, rank, dims, data_type_of(tensor->type), strides),
           dnnl_success);
  return desc;
}

dnnl_memory_desc_t desc_rows(uint32_t rank, const dnnl_dim_t *dims, dnnl_data_type_t type) {
  dnnl_dims_t strides;
  dnnl_dim_t distance = 1;
  for (uint32_t i = rank; i-- > 0;) {
    strides[i] = distance;
    distance *= dims[i];
  }
  dnnl_memory_desc_t desc;
  CHECK_EQ(dnnl_memory_desc_init_by_strides(&desc, (int)rank, dims, type, strides), dnnl_success);
  return desc;
}

dnnl_memory_desc_t desc_blocked(const dnnl_dim_t *dims) {
  dnnl_memory_desc_t desc;
  CHECK_EQ(dnnl_memory_desc_init_by_tag(&desc, 4, dims, dnnl_f32, dnnl_nChw8c), dnnl_success);
  return desc;
}

dnnl_memory_desc_t desc_panels(dnnl_dim_t depth, dnnl_dim_t columns, dnnl_dim_t count) {
  dnnl_memory_desc_t desc;
  const dnnl_dims_t dims = {depth, columns, count};
  CHECK_EQ(dnnl_memory_desc_init_by_tag(&desc, 3, dims, dnnl_f32, dnnl_aBc16b), dnnl_success);
  /* Panel after panel instead of row after row. */
  desc.format_desc.blocking.strides[0] = PACKED_PANEL;
  desc.format_desc.blocking.strides[1] = PACKED_PANEL * depth;
  desc.format_desc.blocking.strides[2] = desc.padded_dims[1] * depth;
  return desc;
}

/* One in rows of channels, one in groups of them: the same where there is one pixel. */
static bool is_one_pixel(const dnnl_memory_desc_t *plain, const dnnl_memory_desc_t *blocked) {
  const dnnl_blocking_desc_t *p = &plain->format_desc.blocking;
  const dnnl_blocking_desc_t *b = &blocked->format_desc.blocking;
  if (p->inner_nblks != 0 || b->inner_nblks != 1 || b->inner_idxs[0] != 1 ||
      b->inner_blks[0] != BLOCK || plain->dims[1] % BLOCK != 0) {
    return false;
  }
  for (int i = 2; i < plain->ndims; i++) {
    if (plain->dims[i] != 1) {
      return false;
    }
  }
  return (plain->dims[1] == 1 || p->strides[1] == 1) &&
         (plain->dims[1] == BLOCK || b->strides[1] == BLOCK) &&
         (plain->dims[0] == 1 || p->strides[0] == b->strides[0]);
}

bool desc_is_same_layout(const dnnl_memory_desc_t *a, const dnnl_memory_desc_t *b) {
  if (dnnl_memory_desc_equal(a, b)) {
    return true;
  }
  if (a->format_kind != dnnl_blocked || b->format_kind != dnnl_blocked || a->ndims != b->ndims ||
      a->data_type != b->data_type || a->offset0 != b->offset0 ||
      memcmp(a->dims, b->dims, sizeof(a->dims[0]) * (size_t)a->ndims) != 0) {
    return false;
  }
  const dnnl_blocking_desc_t *x = &a->format_desc.blocking;
  const dnnl_blocking_desc_t *y = &b->format_desc.blocking;
  if (x->inner_nblks != y->inner_nblks) {
    return a->ndims >= 2 && (is_one_pixel(a, b) || is_one_pixel(b, a));
  }
  for (int i = 0; i < x->inner_nblks; i++) {
    if (x->inner_blks[i] != y->inner_blks[i] || x->inner_idxs[i] != y->inner_idxs[i]) {
      return false;
    }
  }
  for (int i = 0; i < a->ndims; i++) {
    if (a->padded_dims[i] != b->padded_dims[i] ||
        (a->padded_dims[i] > 1 && x->strides[i] != y->strides[i])) {
      return false;
    }
  }
  return true;
}

bool primitive_is_reference(const_dnnl_primitive_desc_t primitive) {
  const char *name = "";
  (void)dnnl_primitive_desc_query(primitive, dnnl_query_impl_info_str, 0, &name);
  return strncmp(name, "ref", 3) == 0;
}

/* ---- what follows a sum ---------------------------------------------------------------------- */

void post_open(struct post *post) {
  *post = (struct post){.attr = NULL};
  post->has_failed = dnnl_primitive_attr_create(&post->attr) != dnnl_success ||
                     dnnl_post_ops_create(&post->ops) != dnnl_success ||
                     dnnl_primitive_attr_set_scratchpad_mode(
                         post->attr, dnnl_scratchpad_mode_user) != dnnl_success;
}

void post_add_function(struct post *post, dnnl_alg_kind_t kind, float alpha, float beta) {
  post->has_failed = post->has_failed || dnnl_post_ops_append_eltwise(post->ops, 1.0F, kind, alpha,
                                                                      beta) != dnnl_success;
  post->count++;
}

bool activation_of(const struct plan_activation *activation, dnnl_alg_kind_t *ret_kind,
                   float *ret_alpha, float *ret_beta) {
  *ret_alpha = 0.0F;
  *ret_beta = 0.0F;
  switch (activation->kind) {
  case PLAN_ACT_RELU:
    *ret_kind = dnnl_eltwise_relu;
    return true;
  case PLAN_ACT_CLIP:
    *ret_kind = dnnl_eltwise_clip;
    *ret_alpha = activation->alpha;
    *ret_beta = activation->beta;
    return true;
  case PLAN_ACT_LEAKY_RELU:
    *ret_kind = dnnl_eltwise_relu;
    *ret_alpha = activation->alpha;
    return true;
  case PLAN_ACT_SIGMOID:
    *ret_kind = dnnl_eltwise_logistic;
    return true;
  case PLAN_ACT_SWISH:
    *ret_kind = dnnl_eltwise_swish;
    *ret_alpha = 1.0F;
    return true;
  case PLAN_ACT_HARD_SWISH:
    *ret_kind = dnnl_eltwise_hardswish;
    return true;
  case PLAN_ACT_TANH:
    *ret_kind = dnnl_eltwise_tanh;
    return true;
  case PLAN_ACT_GELU_ERF:
    *ret_kind = dnnl_eltwise_gelu_erf;
    return true;
  case PLAN_ACT_GELU_TANH:
    *ret_kind = dnnl_eltwise_gelu_tanh;
    return true;
  case PLAN_ACT_ELU:
    *ret_kind = dnnl_eltwise_elu;
    *ret_alpha = activation->alpha;
    return true;
  default:
    return false;
  }
}

bool post_add_activation(struct post *post, const struct plan_activation *activation) {
  dnnl_alg_kind_t kind;
  float alpha = 0.0F;
  float beta = 0.0F;
  if (activation->kind == PLAN_ACT_NONE) {
    return true;
  }
  if (activation->kind == PLAN_ACT_HARD_SIGMOID) {
    post_add_linear(post, activation->alpha, activation->beta);
    post_add_function(post, dnnl_eltwise_clip, 0.0F, 1.0F);
    return true;
  }
  if (!activation_of(activation, &kind, &alpha, &beta)) {
    return false;
  }
  post_add_function(post, kind, alpha, beta);
  return true;
}

void post_add_linear(struct post *post, float scale, float shift) {
  post_add_function(post, dnnl_eltwise_linear, scale, shift);
}

void post_add_sum(struct post *post) {
  post->has_failed = post->has_failed || dnnl_post_ops_append_sum(post->ops, 1.0F) != dnnl_success;
  post->count++;
}

void post_scale(struct post *post, float scale) {
  if (scale != 1.0F) {
    post->has_failed = post->has_failed || dnnl_primitive_attr_set_output_scales(
                                               post->attr, 1, 0, &scale) != dnnl_success;
  }
}

int post_add_binary(struct post *post, dnnl_alg_kind_t kind, const dnnl_memory_desc_t *desc) {
  post->has_failed =
      post->has_failed || dnnl_post_ops_append_binary(post->ops, kind, desc) != dnnl_success;
  return DNNL_ARG_ATTR_MULTIPLE_POST_OP((int)post->count++) | DNNL_ARG_SRC_1;
}

dnnl_primitive_attr_t post_close(struct post *post) {
  post->has_failed =
      post->has_failed || dnnl_primitive_attr_set_post_ops(post->attr, post->ops) != dnnl_success;
  return post->has_failed ? NULL : post->attr;
}

void post_finish(struct post *post) {
  if (post->ops != NULL) {
    dnnl_post_ops_destroy(post->ops);
  }
  if (post->attr != NULL) {
    dnnl_primitive_attr_destroy(post->attr);
  }
}
