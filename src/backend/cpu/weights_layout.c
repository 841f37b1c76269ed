/* The plan's weights in the forms that the programs want them. */
#include <stdlib.h>
#include <string.h>

#include "backend/cpu/builder.h"
#include "backend/cpu/packed_product.h"

void weights_layout_finish(struct weights_layout *layout) {
  free(layout->entries);
  *layout = (struct weights_layout){.count = 0};
}

/* Several groups side by side in one: (K, C/groups, R, S) as rows of (K, merge * C/groups, R, S),
 * of which each output channel keeps only the inputs of its own group. */
static void merge_groups(const struct weights_entry *entry, const unsigned char *from,
                         float *target) {
  const dnnl_dim_t *dims = entry->from.dims; /* groups, K, C, R, S after merging */
  uint64_t strides[PLAN_RANK_MAX];
  plan_tensor_strides(&entry->source, strides);
  const uint64_t outputs = (uint64_t)(dims[0] * dims[1]);
  const uint64_t own_outputs = (uint64_t)dims[1] / entry->merge;
  const uint64_t own_inputs = (uint64_t)dims[2] / entry->merge;
  const uint64_t rows = (uint64_t)dims[3];
  const uint64_t columns = (uint64_t)dims[4];
  for (uint64_t k = 0; k < outputs; k++) {
    const uint64_t group = k / own_outputs % entry->merge;
    for (uint64_t c = 0; c < own_inputs; c++) {
      float *to = target + (k * (uint64_t)dims[2] + group * own_inputs + c) * rows * columns;
      for (uint64_t r = 0; r < rows; r++) {
        for (uint64_t s = 0; s < columns; s++) {
          const uint64_t at = k * strides[0] + c * strides[1] + r * strides[2] + s * strides[3];
          memcpy(&to[r * columns + s], from + at * sizeof(float), sizeof(float));
        }
      }
    }
  }
}

static enum err convert(const struct weights_entry *entry, dnnl_engine_t engine, void *from,
                        void *to) {
  dnnl_memory_t source = NULL;
  dnnl_memory_t target = NULL;
  dnnl_primitive_desc_t description = NULL;
  dnnl_primitive_t reorder = NULL;
  dnnl_stream_t stream = NULL;
  bool is_done = dnnl_memory_create(&source, &entry->from, engine, from) == dnnl_success &&
                 dnnl_memory_create(&target, &entry->to, engine, to) == dnnl_success &&
                 dnnl_reorder_primitive_desc_create(&description, &entry->from, engine, &entry->to,
                                                    engine, NULL) == dnnl_success &&
                 dnnl_primitive_create(&reorder, description) == dnnl_success &&
                 dnnl_stream_create(&stream, engine, dnnl_stream_default_flags) == dnnl_success;
  if (is_done) {
    const dnnl_exec_arg_t arguments[2] = {{.arg = DNNL_ARG_FROM, .memory = source},
                                          {.arg = DNNL_ARG_TO, .memory = target}};
    is_done = dnnl_primitive_execute(reorder, stream, 2, arguments) == dnnl_success &&
              dnnl_stream_wait(stream) == dnnl_success;
  }
  dnnl_stream_destroy(stream);
  dnnl_primitive_destroy(reorder);
  dnnl_primitive_desc_destroy(description);
  dnnl_memory_destroy(target);
  dnnl_memory_destroy(source);
  return is_done ? ERR_OK : ERR_NO_MEMORY;
}

static enum err merge_and_convert(const struct weights_entry *entry, dnnl_engine_t engine,
                                  const unsigned char *from, void *to) {
  float *merged = calloc(1, dnnl_memory_desc_get_size(&entry->from));
  if (merged == NULL) {
    return ERR_NO_MEMORY;
  }
  merge_groups(entry, from, merged);
  const enum err error = convert(entry, engine, merged, to);
  free(merged);
  return error;
}

/* A matrix for each row of the kernel: element (c, s K + k) of matrix r is (c, k, r, s). */
static void pack_kernel_rows(const struct weights_entry *entry, const float *from, float *to) {
  const struct plan_tensor *w = &entry->source;
  const size_t depth = w->dims[0];
  const size_t channels = w->dims[1];
  const size_t width = w->dims[3];
  const size_t columns = channels * width;
  const size_t padded = (columns + PACKED_PANEL - 1) / PACKED_PANEL * PACKED_PANEL;
  uint64_t strides[PLAN_RANK_MAX];
  plan_tensor_strides(w, strides);
  memset(to, 0, entry->bytes);
  for (size_t r = 0; r < w->dims[2]; r++) {
    for (size_t c = 0; c < depth; c++) {
      for (size_t column = 0; column < columns; column++) {
        const size_t at = c * strides[0] + column % channels * strides[1] + r * strides[2] +
                          column / channels * strides[3];
        to[r * padded * depth + column / PACKED_PANEL * PACKED_PANEL * depth + c * PACKED_PANEL +
           column % PACKED_PANEL] = from[at];
      }
    }
  }
}

enum err weights_layout_fill(const struct weights_layout *layout, dnnl_engine_t engine,
                             const unsigned char *weights, unsigned char *target) {
  enum err error = ERR_OK;
  for (uint32_t i = 0; i < layout->count && error == ERR_OK; i++) {
    const struct weights_entry *entry = &layout->entries[i];
    const unsigned char *from = weights + entry->source_bytes;
    unsigned char *to = target + entry->offset_bytes;
    if (entry->is_verbatim) {
      memcpy(to, from, entry->bytes);
    } else if (entry->are_kernel_rows) {
      pack_kernel_rows(entry, (const void *)from, (void *)to);
    } else if (entry->is_bias_row) {
      const size_t bytes = plan_tensor_elements(&entry->source) * sizeof(float);
      for (size_t at = 0; at < entry->bytes; at += bytes) {
        memcpy(to + at, from, bytes);
      }
    } else if (entry->merge > 1) {
      error = merge_and_convert(entry, engine, from, to);
    } else {
      /* oneDNN reads it only, but has one kind of pointer. */
      error = convert(entry, engine, (void *)(uintptr_t)from, to);
    }
  }
  return error;
}
