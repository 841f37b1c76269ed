#include "backend/cuda/product.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cuda/views.h"

enum { PROPOSALS_MAX = 32, ALGORITHM_WORDS = 8 };

_Static_assert(sizeof(cublasLtMatmulAlgo_t) == ALGORITHM_WORDS * sizeof(uint64_t),
               "an algorithm is eight words, which its text is made of");

/* ------------------------------------------------------------------------------- the problem */

static bool is_fusable(const struct plan_activation *activation, bool residual_last) {
  const bool has_epilogue = activation->kind == PLAN_ACT_NONE ||
                            activation->kind == PLAN_ACT_RELU ||
                            activation->kind == PLAN_ACT_GELU_TANH;
  return has_epilogue && (!residual_last || activation->kind == PLAN_ACT_NONE);
}

static bool conv_of(const struct emit *emit, const struct plan_op *op,
                    struct product_problem *problem) {
  const struct plan_conv *how = &op->conv;
  const struct plan_tensor *x = emit_tensor(emit, op->inputs[0]);
  const struct plan_tensor *w = emit_tensor(emit, op->inputs[1]);
  const struct plan_tensor *y = emit_tensor(emit, op->outputs[0]);
  if (x->layout != PLAN_CHANNELS_LAST || how->groups != 1) {
    return false;
  }
  for (uint32_t i = 0; i < 2; i++) {
    if (w->dims[2 + i] != 1 || how->strides[i] != 1 || how->pads_before[i] != 0 ||
        how->pads_after[i] != 0) {
      return false;
    }
  }
  problem->m = y->dims[0] * y->dims[2] * y->dims[3];
  problem->n = y->dims[1];
  problem->k = x->dims[1];
  problem->transpose_b = 1;
  problem->batches = 1;
  problem->a_pitch = x->pitch;
  problem->b_pitch = w->pitch;
  problem->d_pitch = y->pitch;
  problem->alpha = 1.0F;
  if (emit_input(op, 3) != PLAN_NONE) {
    problem->c_pitch = emit_tensor(emit, op->inputs[3])->pitch;
  }
  return true;
}

/* Leading axes of a MATMUL as one axis of batches, or folded into M. */
static bool batches_of(const struct emit *emit, const struct plan_op *op,
                       struct product_problem *problem) {
  const struct plan_tensor *operands[3] = {emit_tensor(emit, op->outputs[0]),
                                           emit_tensor(emit, op->inputs[0]),
                                           emit_tensor(emit, op->inputs[1])};
  struct view view = {.operands = 3, .axes = operands[0]->rank - 2};
  memcpy(view.dims, operands[0]->dims, sizeof(view.dims));
  for (uint32_t i = 0; i < 3; i++) {
    uint64_t strides[PLAN_RANK_MAX];
    plan_tensor_strides(operands[i], strides);
    for (uint32_t j = 0; j + 2 < operands[i]->rank; j++) {
      const uint32_t axis = operands[0]->rank - operands[i]->rank + j;
      const bool is_broadcast = operands[i]->dims[j] == 1;
      view.strides[i][axis] = is_broadcast ? 0 : (int64_t)strides[j];
    }
  }
  view_collapse(&view);
  if (view.axes != 1) {
    return false;
  }
  problem->batches = view.dims[0];
  if (problem->batches > 1 && view.strides[2][0] == 0 && problem->transpose_a == 0 &&
      view.strides[1][0] == (int64_t)problem->m * problem->k) {
    if ((uint64_t)problem->m * problem->batches > INT32_MAX) {
      return false;
    }
    problem->m *= problem->batches;
    problem->batches = 1;
  }
  if (problem->batches > 1) {
    problem->d_stride = view.strides[0][0];
    problem->a_stride = view.strides[1][0];
    problem->b_stride = view.strides[2][0];
  }
  return true;
}

static bool matmul_of(const struct emit *emit, const struct plan_op *op,
                      struct product_problem *problem) {
  const struct plan_tensor *a = emit_tensor(emit, op->inputs[0]);
  const struct plan_tensor *b = emit_tensor(emit, op->inputs[1]);
  const struct plan_tensor *out = emit_tensor(emit, op->outputs[0]);
  problem->transpose_a = op->matmul.transpose_a;
  problem->transpose_b = op->matmul.transpose_b;
  problem->m = out->dims[out->rank - 2];
  problem->n = out->dims[out->rank - 1];
  problem->k = a->dims[a->rank - (op->matmul.transpose_a ? 2 : 1)];
  problem->a_pitch = a->dims[a->rank - 1];
  problem->b_pitch = b->dims[b->rank - 1];
  problem->d_pitch = problem->n;
  problem->c_pitch = problem->n;
  problem->alpha = op->matmul.alpha;
  return batches_of(emit, op, problem);
}

static uint32_t alignment_of(CUdeviceptr address) {
  return address == 0 ? 256 : (uint32_t)(address & (~address + 1) & 511);
}

/* Aligned so that the other direction's operands, and those of later steps, are as well. */
static bool recurrent_of(const struct emit *emit, const struct plan_op *op,
                         struct product_problem *ret_problem,
                         struct product_addresses *ret_addresses) {
  const struct plan_tensor *x = emit_tensor(emit, op->inputs[0]);
  const uint32_t element_bytes = plan_type_bytes(x->type);
  struct kernel_matmul product;
  emit_recurrent_product(emit, op, &product);
  if (x->type == PLAN_F64) {
    return false;
  }
  struct product_problem problem;
  memset(&problem, 0, sizeof(problem));
  problem.type = product.type;
  problem.precision = (uint32_t)emit->plan->precision;
  problem.m = product.m;
  problem.n = product.n;
  problem.k = product.k;
  problem.transpose_b = 1;
  problem.batches = 1;
  problem.a_pitch = product.k;
  problem.b_pitch = product.k;
  problem.d_pitch = product.n;
  problem.alpha = product.scale;
  problem.scratch_bytes_max = DEVICE_SCRATCH_BYTES / 2;
  const uint64_t steps[3] = {product.a | (uint64_t)x->dims[1] * product.k * element_bytes,
                             product.b | (uint64_t)product.n * product.k * element_bytes,
                             product.to | (uint64_t)x->dims[1] * product.n * element_bytes};
  problem.alignment_bytes = 256;
  for (int i = 0; i < 3; i++) {
    const uint32_t its = alignment_of(steps[i]);
    problem.alignment_bytes =
        its != 0 && its < problem.alignment_bytes ? its : problem.alignment_bytes;
  }
  *ret_problem = problem;
  *ret_addresses = (struct product_addresses){.a = product.a, .b = product.b, .d = product.to};
  return true;
}

bool product_of(const struct emit *emit, const struct plan_op *op, bool is_bare,
                struct product_problem *ret_problem, struct product_addresses *ret_addresses) {
  if (plan_op_kind_gates(op->kind) > 0) {
    return recurrent_of(emit, op, ret_problem, ret_addresses);
  }
  struct product_problem problem;
  memset(&problem, 0, sizeof(problem));
  problem.type = (uint32_t)emit_tensor(emit, op->inputs[0])->type;
  problem.precision = (uint32_t)emit->plan->precision;
  const bool is_conv = op->kind == PLAN_OP_CONV;
  const struct plan_activation *activation =
      is_conv ? &op->conv.activation : &op->matmul.activation;
  const bool has_residual = emit_input(op, 3) != PLAN_NONE;
  const bool residual_last = is_conv && has_residual && op->conv.residual_last;
  if (problem.type == PLAN_F64 || (!is_bare && !is_fusable(activation, residual_last)) ||
      !(is_conv ? conv_of(emit, op, &problem) : matmul_of(emit, op, &problem))) {
    return false;
  }
  /* A bare product still adds what comes right behind it. */
  const bool takes_residual = has_residual && (!is_bare || !residual_last);
  const struct product_addresses addresses = {
      .a = emit_address(emit, op->inputs[0]),
      .b = emit_address(emit, op->inputs[1]),
      .bias = is_bare ? 0 : emit_address(emit, emit_input(op, 2)),
      .residual = takes_residual ? emit_address(emit, emit_input(op, 3)) : 0,
      .d = emit_address(emit, op->outputs[0])};
  problem.has_bias = addresses.bias != 0;
  problem.has_residual = addresses.residual != 0;
  problem.scratch_bytes_max = DEVICE_SCRATCH_BYTES;
  problem.activation = is_bare ? PLAN_ACT_NONE : (uint32_t)activation->kind;
  if (!takes_residual) {
    problem.c_pitch = 0;
  }
  const CUdeviceptr all[5] = {addresses.a, addresses.b, addresses.bias, addresses.residual,
                              addresses.d};
  problem.alignment_bytes = 256;
  for (int i = 0; i < 5; i++) {
    const uint32_t its = alignment_of(all[i]);
    problem.alignment_bytes =
        its != 0 && its < problem.alignment_bytes ? its : problem.alignment_bytes;
  }
  *ret_problem = problem;
  *ret_addresses = addresses;
  return true;
}

/* -------------------------------------------------------------------- cuBLASLt's view of it */

/* Column-major, as cuBLASLt thinks: D' = B' A', where X' is X read the other way round. */
struct layouts {
  const struct library *library;
  cublasLtMatmulDesc_t how;
  cublasLtMatrixLayout_t first;  /* B */
  cublasLtMatrixLayout_t second; /* A */
  cublasLtMatrixLayout_t added;  /* C */
  cublasLtMatrixLayout_t result; /* D */
  bool has_failed;
};

static void check(struct layouts *layouts, cublasStatus_t status) {
  layouts->has_failed = layouts->has_failed || status != CUBLAS_STATUS_SUCCESS;
}

static void set_how(struct layouts *layouts, cublasLtMatmulDescAttributes_t name, const void *value,
                    size_t bytes) {
  check(layouts, layouts->library->cublaslt.cublasLtMatmulDescSetAttribute(layouts->how, name,
                                                                           value, bytes));
}

static cublasLtMatrixLayout_t make_layout(struct layouts *layouts,
                                          const struct product_problem *problem, uint64_t rows,
                                          uint64_t columns, int64_t pitch, int64_t stride) {
  const cudaDataType_t type = problem->type == PLAN_F16 ? CUDA_R_16F : CUDA_R_32F;
  cublasLtMatrixLayout_t layout = NULL;
  check(layouts,
        layouts->library->cublaslt.cublasLtMatrixLayoutCreate(&layout, type, rows, columns, pitch));
  if (problem->batches > 1 && layout != NULL) {
    const int32_t batches = (int32_t)problem->batches;
    check(layouts, layouts->library->cublaslt.cublasLtMatrixLayoutSetAttribute(
                       layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &batches, sizeof(batches)));
    check(layouts,
          layouts->library->cublaslt.cublasLtMatrixLayoutSetAttribute(
              layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &stride, sizeof(stride)));
  }
  return layout;
}

static cublasLtEpilogue_t epilogue_of(const struct product_problem *problem) {
  const bool bias = problem->has_bias != 0;
  switch (problem->activation) {
  case PLAN_ACT_RELU:
    return bias ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_RELU;
  case PLAN_ACT_GELU_TANH:
    return bias ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU;
  default:
    return bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
  }
}

static void make_layouts(const struct device *device, const struct product_problem *problem,
                         const struct product_addresses *addresses, struct layouts *layouts) {
  *layouts = (struct layouts){.library = device->library};
  const cublasComputeType_t compute = problem->type == PLAN_F32 && problem->precision != PLAN_FP32
                                          ? CUBLAS_COMPUTE_32F_FAST_TF32
                                          : CUBLAS_COMPUTE_32F;
  check(layouts,
        device->library->cublaslt.cublasLtMatmulDescCreate(&layouts->how, compute, CUDA_R_32F));
  if (layouts->has_failed) {
    return;
  }
  const cublasOperation_t first = problem->transpose_b != 0 ? CUBLAS_OP_T : CUBLAS_OP_N;
  const cublasOperation_t second = problem->transpose_a != 0 ? CUBLAS_OP_T : CUBLAS_OP_N;
  const cublasLtEpilogue_t epilogue = epilogue_of(problem);
  const void *bias = (const void *)(uintptr_t)addresses->bias;
  set_how(layouts, CUBLASLT_MATMUL_DESC_TRANSA, &first, sizeof(first));
  set_how(layouts, CUBLASLT_MATMUL_DESC_TRANSB, &second, sizeof(second));
  set_how(layouts, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof(epilogue));
  if (problem->has_bias != 0) {
    set_how(layouts, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof(bias));
  }
  const uint64_t m = problem->m;
  const uint64_t n = problem->n;
  const uint64_t k = problem->k;
  layouts->first =
      make_layout(layouts, problem, problem->transpose_b != 0 ? k : n,
                  problem->transpose_b != 0 ? n : k, problem->b_pitch, problem->b_stride);
  layouts->second =
      make_layout(layouts, problem, problem->transpose_a != 0 ? m : k,
                  problem->transpose_a != 0 ? k : m, problem->a_pitch, problem->a_stride);
  layouts->result = make_layout(layouts, problem, n, m, problem->d_pitch, problem->d_stride);
  layouts->added = make_layout(layouts, problem, n, m,
                               problem->has_residual != 0 ? problem->c_pitch : problem->d_pitch,
                               problem->d_stride);
}

static void give_layouts(struct layouts *layouts) {
  const struct library *library = layouts->library;
  library->cublaslt.cublasLtMatrixLayoutDestroy(layouts->first);
  library->cublaslt.cublasLtMatrixLayoutDestroy(layouts->second);
  library->cublaslt.cublasLtMatrixLayoutDestroy(layouts->added);
  library->cublaslt.cublasLtMatrixLayoutDestroy(layouts->result);
  library->cublaslt.cublasLtMatmulDescDestroy(layouts->how);
}

/* --------------------------------------------------------------------------------- proposals */

static void write_text(const cublasLtMatmulAlgo_t *algorithm, char *ret_text) {
  int used = snprintf(ret_text, PRODUCT_TEXT_BYTES, "a");
  for (int i = 0; i < ALGORITHM_WORDS; i++) {
    used += snprintf(ret_text + used, (size_t)(PRODUCT_TEXT_BYTES - used), "%s%" PRIx64,
                     i == 0 ? "" : ".", algorithm->data[i]);
  }
}

bool product_read(const char *text, cublasLtMatmulAlgo_t *ret_algorithm) {
  if (text[0] != 'a') {
    return false;
  }
  cublasLtMatmulAlgo_t algorithm;
  const char *at = text + 1;
  for (int i = 0; i < ALGORITHM_WORDS; i++) {
    char *rest = NULL;
    algorithm.data[i] = strtoull(at, &rest, 16);
    if (rest == at || *rest != (i + 1 < ALGORITHM_WORDS ? '.' : '\0')) {
      return false;
    }
    at = rest + 1;
  }
  *ret_algorithm = algorithm;
  return true;
}

static void set_preference(struct layouts *layouts, cublasLtMatmulPreference_t preference,
                           cublasLtMatmulPreferenceAttributes_t name, const void *value,
                           size_t bytes) {
  check(layouts, layouts->library->cublaslt.cublasLtMatmulPreferenceSetAttribute(preference, name,
                                                                                 value, bytes));
}

uint32_t product_propose(const struct device *device, const struct product_problem *problem,
                         const struct product_addresses *addresses,
                         char (*ret_texts)[PRODUCT_TEXT_BYTES], uint32_t capacity) {
  const struct library *library = device->library;
  struct layouts layouts;
  make_layouts(device, problem, addresses, &layouts);
  cublasLtMatmulPreference_t preference = NULL;
  check(&layouts, library->cublaslt.cublasLtMatmulPreferenceCreate(&preference));
  cublasLtMatmulHeuristicResult_t results[PROPOSALS_MAX];
  int count = 0;
  if (!layouts.has_failed) {
    const uint64_t scratch_bytes = problem->scratch_bytes_max;
    const uint32_t alignment = problem->alignment_bytes;
    set_preference(&layouts, preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &scratch_bytes,
                   sizeof(scratch_bytes));
    const cublasLtMatmulPreferenceAttributes_t ends[4] = {
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
    for (int i = 0; i < 4; i++) {
      set_preference(&layouts, preference, ends[i], &alignment, sizeof(alignment));
    }
    check(&layouts,
          library->cublaslt.cublasLtMatmulAlgoGetHeuristic(
              device->cublaslt, layouts.how, layouts.first, layouts.second, layouts.added,
              layouts.result, preference,
              (int)(capacity < PROPOSALS_MAX ? capacity : PROPOSALS_MAX), results, &count));
  }
  uint32_t found = 0;
  for (int i = 0; i < count && !layouts.has_failed; i++) {
    if (results[i].state == CUBLAS_STATUS_SUCCESS) {
      write_text(&results[i].algo, ret_texts[found]);
      found++;
    }
  }
  if (preference != NULL) {
    library->cublaslt.cublasLtMatmulPreferenceDestroy(preference);
  }
  give_layouts(&layouts);
  return found;
}

CUresult product_run(const struct device *device, const struct product_problem *problem,
                     const struct product_addresses *addresses,
                     const cublasLtMatmulAlgo_t *algorithm, CUdeviceptr scratch) {
  struct layouts layouts;
  make_layouts(device, problem, addresses, &layouts);
  const float alpha = problem->alpha;
  const float beta = problem->has_residual != 0 ? 1.0F : 0.0F;
  const CUdeviceptr added = problem->has_residual != 0 ? addresses->residual : addresses->d;
  if (!layouts.has_failed) {
    check(&layouts,
          device->library->cublaslt.cublasLtMatmul(
              device->cublaslt, layouts.how, &alpha, (const void *)(uintptr_t)addresses->b,
              layouts.first, (const void *)(uintptr_t)addresses->a, layouts.second, &beta,
              (const void *)(uintptr_t)added, layouts.added, (void *)(uintptr_t)addresses->d,
              layouts.result, algorithm, (void *)(uintptr_t)scratch, problem->scratch_bytes_max,
              device->stream));
  }
  give_layouts(&layouts);
  return layouts.has_failed ? CUDA_ERROR_UNKNOWN : CUDA_SUCCESS;
}

CUresult product_run_at(const struct emit *emit, const struct plan_op *op,
                        const cublasLtMatmulAlgo_t *algorithm, CUdeviceptr a, CUdeviceptr b,
                        CUdeviceptr d) {
  struct product_problem problem;
  struct product_addresses addresses;
  if (!product_of(emit, op, true, &problem, &addresses)) {
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  addresses.a = a;
  addresses.b = b;
  addresses.d = d;
  return product_run(emit->device, &problem, &addresses, algorithm, emit->scratch);
}
