/* One GPU: its context, its memory and its kernels. What runs on it stands in engines.h.
 *
 * Memory is taken whole at start: `pages` physical pages of MODEL_PAGE_BYTES for weights, the io
 * slots, where graphs find their inputs and leave their outputs, their workspace, and the same once
 * more for the thread that loads models, which measures beside what is served.
 *
 * Thread: created and destroyed by the owner of the backend. Between these the loader's thread uses
 * stream, cudnn, cublaslt and `bench`, and lets others ask cublaslt's heuristics (proposals.h); the
 * engines' threads use what engines.h says.
 */
#ifndef CLOCKWORK_BACKEND_CUDA_DEVICE_H
#define CLOCKWORK_BACKEND_CUDA_DEVICE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "backend/backend.h"
#include "backend/cuda/kernel_parameters.h"
#include "backend/cuda/library.h"

#define DEVICE_KERNEL_MAP(X)                                                                       \
  X(graph_begin)                                                                                   \
  X(graph_copy_in)                                                                                 \
  X(graph_copy_out)                                                                                \
  X(graph_end)                                                                                     \
  X(ping)                                                                                          \
  X(fill)                                                                                          \
  X(copy_any)                                                                                      \
  X(pad_any)                                                                                       \
  X(gather_any)                                                                                    \
  X(gather_places)                                                                                 \
  X(scatter_begin)                                                                                 \
  X(scatter_find)                                                                                  \
  X(scatter_put)                                                                                   \
  X(trilu_any)                                                                                     \
  X(pointwise_float)                                                                               \
  X(pointwise_float_chain)                                                                         \
  X(pointwise_float4)                                                                              \
  X(pointwise_float4_chain)                                                                        \
  X(pointwise_any)                                                                                 \
  X(reduce_any)                                                                                    \
  X(reduce_columns)                                                                                \
  X(softmax_rows)                                                                                  \
  X(normalize_rows)                                                                                \
  X(lrn_any)                                                                                       \
  X(topk_any)                                                                                      \
  X(cumsum_any)                                                                                    \
  X(recurrent_f32)                                                                                 \
  X(recurrent_f32_by_4)                                                                            \
  X(recurrent_f16)                                                                                 \
  X(recurrent_f16_by_4)                                                                            \
  X(recurrent_f64)                                                                                 \
  X(recurrent_f64_by_4)                                                                            \
  X(matmul_any)                                                                                    \
  X(pool_any)                                                                                      \
  X(pool_packed_f32)                                                                               \
  X(pool_packed_f16)                                                                               \
  X(conv_any)                                                                                      \
  X(conv_transpose_any)                                                                            \
  X(conv_depthwise_f32)                                                                            \
  X(conv_depthwise_f16)                                                                            \
  X(epilogue)                                                                                      \
  X(resize_any)                                                                                    \
  X(stem_f32)                                                                                      \
  X(stem_f16)

enum device_kernel {
#define DEVICE_KERNEL_ENUM_(name) KERNEL_##name,
  DEVICE_KERNEL_MAP(DEVICE_KERNEL_ENUM_)
#undef DEVICE_KERNEL_ENUM_
      DEVICE_KERNELS
};

enum {
  DEVICE_IO_ALIGN_BYTES = 256,
  DEVICE_GUARD_BYTES = 2 << 20, /* the smallest that can be mapped */
  /* Of one copy of a LOAD. An input waits for the two that are queued; the gap behind each costs a
   * LOAD 2 %. Measured on an H100 beside executions: with 4 MiB LOADs took 8 % longer, with 16 MiB
   * the p99 of when executions end was off by 2.0 ms instead of 0.4 ms. */
  DEVICE_COPY_BYTES = 8 << 20,
  /* For libraries, behind a plan's own workspace: four times what cuBLAS advises for Hopper,
   * because some of cuDNN's fast engines ask for that. */
  DEVICE_SCRATCH_BYTES = 256 << 20,
};

/* Where a graph works. */
struct device_area {
  CUdeviceptr input;
  CUdeviceptr output;
  CUdeviceptr workspace; /* workspace_bytes, then DEVICE_SCRATCH_BYTES */
  CUdeviceptr places;    /* a struct kernel_places */
  struct kernel_cell *cell;
  CUdeviceptr cell_address;
};

struct device_limits {
  uint32_t pages; /* 0: all that the card has free after everything else */
  uint64_t io_bytes;
  uint64_t workspace_bytes;
  uint64_t reserve_bytes; /* left free for graphs and for the libraries' code; with pages == 0 */
};

struct device {
  const struct library *library;
  _Atomic(int) failure; /* CUDA_SUCCESS: it lives; else what it was lost with, for ever */
  CUdevice handle;
  CUcontext context;
  CUmodule module;
  CUfunction kernels[DEVICE_KERNELS];
  char name[64];
  char pci_bus_id[32];
  uint32_t multiprocessors;
  uint32_t shared_bytes_max; /* of a block that asks for it */
  bool has_clusters;         /* blocks that reach each other's shared memory */
  uint32_t pages_count;
  CUmemGenericAllocationHandle *pages;
  CUdeviceptr pool; /* every page once more, for ever, one behind the other: for copies into them */
  uint32_t pool_pages_count;          /* of which are mapped there */
  CUmemGenericAllocationHandle guard; /* see models.c; DEVICE_GUARD_BYTES */
  uint64_t slot_bytes; /* of one io slot, and of each of an area's input and output */
  uint64_t workspace_bytes;
  CUdeviceptr slots[BACKEND_IO_SLOTS];
  void *staging_in[BACKEND_IO_SLOTS]; /* pinned, slot_bytes each */
  void *staging_out[BACKEND_IO_SLOTS];
  struct device_area serve;
  struct device_area bench;
  /* The loader's. */
  CUstream stream;
  CUevent events[2];
  cudnnHandle_t cudnn;
  cublasLtHandle_t cublaslt;
};

/* ERR_NO_MEMORY, ERR_IO: `ret_error` says what the device lacks. On failure nothing is held. */
MUST_USE enum err device_create(const struct library *library, uint32_t device_index,
                                const struct device_limits *limits, struct device **ret_device,
                                struct error_text *ret_error);

/* Accepts NULL and a half-built one. Every stream must be idle, or the device lost: what such a one
 * holds goes with the process, because calls into its libraries may not come back. */
void device_destroy(struct device *device);

/* Let kernels and copies of this device use what is mapped at `at`. */
CUresult device_allow_access(const struct device *device, CUdeviceptr at, size_t bytes);

/* Where copies into page `page` go, whichever windows it is mapped into. */
CUdeviceptr device_page(const struct device *device, uint32_t page);

/* Make the device this thread's. One that can't be entered is lost: the thread's calls would then
 * reach whichever it entered before, so whoever goes on looks first. */
void device_enter(struct device *device);

/* The device is lost, of `failure`; later failures change nothing. Any thread. */
void device_lose(struct device *device, CUresult failure);

static inline bool device_is_lost(const struct device *device) {
  return atomic_load_explicit(&device->failure, memory_order_acquire) != CUDA_SUCCESS;
}

/* After a call that failed: whether the device still answers. One that does not is lost. Any
 * thread, which enters the device. Cost: tens of microseconds. */
bool device_still_lives(struct device *device);

/* Launch on `stream`: `threads` x `blocks`, one argument. */
CUresult device_launch(const struct device *device, enum device_kernel kernel, CUstream stream,
                       uint32_t blocks, uint32_t threads, const void *parameters);

/* The same with a second dimension of blocks and shared memory whose size is known at launch only.
 */
CUresult device_launch_shared(const struct device *device, enum device_kernel kernel,
                              CUstream stream, uint32_t blocks, uint32_t blocks_y, uint32_t threads,
                              uint32_t shared_bytes, const void *parameters);

/* The same for `blocks` in clusters of `cluster` blocks each, which divides them; 1 where
 * !has_clusters. */
CUresult device_launch_clusters(const struct device *device, enum device_kernel kernel,
                                CUstream stream, uint32_t blocks, uint32_t cluster,
                                uint32_t threads, uint32_t shared_bytes, const void *parameters);

/* Enough blocks of KERNEL_THREADS for `count` threads, at most what fills the device a few times.
 */
uint32_t device_blocks(const struct device *device, uint64_t count);

/* %globaltimer - os_now(), now, and how far it may be off: of `rounds` exchanges the shortest. */
MUST_USE enum err device_compare_clocks(const struct device *device, uint32_t rounds,
                                        int64_t *ret_offset_ns, int64_t *ret_error_ns);

#endif
