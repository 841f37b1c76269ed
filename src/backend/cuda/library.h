/* NVIDIA's libraries, found when the program runs: the driver, cuDNN, cuBLASLt, NVML.
 *
 * Nothing here is linked, so one worker binary runs on machines without any of them. Each function
 * of theirs is a member of a table under its own name: `library->driver.cuInit(0)`. The headers
 * come from the toolkit at build time; cuDNN's ABI is stable within a major version, so a cuDNN 9
 * older or newer than the headers serves too.
 *
 * Thread: opened once, then read by all. Cost of opening: some 100 ms, most of it cuDNN's.
 */
#ifndef CLOCKWORK_BACKEND_CUDA_LIBRARY_H
#define CLOCKWORK_BACKEND_CUDA_LIBRARY_H

#include <cublasLt.h>
#include <cuda.h>
#include <cudnn.h>
#include <stdbool.h>

#include "base/error.h"
#include "os/error_text.h"

#define LIBRARY_DRIVER_MAP(X)                                                                      \
  X(cuInit)                                                                                        \
  X(cuDriverGetVersion)                                                                            \
  X(cuGetErrorString)                                                                              \
  X(cuDeviceGetCount)                                                                              \
  X(cuDeviceGet)                                                                                   \
  X(cuDeviceGetName)                                                                               \
  X(cuDeviceGetAttribute)                                                                          \
  X(cuDeviceGetPCIBusId)                                                                           \
  X(cuDevicePrimaryCtxRetain)                                                                      \
  X(cuDevicePrimaryCtxRelease)                                                                     \
  X(cuDevicePrimaryCtxSetFlags)                                                                    \
  X(cuCtxSetCurrent)                                                                               \
  X(cuCtxGetStreamPriorityRange)                                                                   \
  X(cuMemGetInfo)                                                                                  \
  X(cuMemAlloc)                                                                                    \
  X(cuMemFree)                                                                                     \
  X(cuMemHostAlloc)                                                                                \
  X(cuMemFreeHost)                                                                                 \
  X(cuMemHostGetDevicePointer)                                                                     \
  X(cuMemHostRegister)                                                                             \
  X(cuMemHostUnregister)                                                                           \
  X(cuMemAddressReserve)                                                                           \
  X(cuMemAddressFree)                                                                              \
  X(cuMemCreate)                                                                                   \
  X(cuMemRelease)                                                                                  \
  X(cuMemMap)                                                                                      \
  X(cuMemUnmap)                                                                                    \
  X(cuMemSetAccess)                                                                                \
  X(cuMemcpyHtoDAsync)                                                                             \
  X(cuMemcpyDtoHAsync)                                                                             \
  X(cuStreamCreateWithPriority)                                                                    \
  X(cuStreamDestroy)                                                                               \
  X(cuStreamSynchronize)                                                                           \
  X(cuStreamQuery)                                                                                 \
  X(cuStreamWriteValue32)                                                                          \
  X(cuStreamBeginCapture)                                                                          \
  X(cuStreamEndCapture)                                                                            \
  X(cuEventCreate)                                                                                 \
  X(cuEventDestroy)                                                                                \
  X(cuEventRecord)                                                                                 \
  X(cuEventSynchronize)                                                                            \
  X(cuEventElapsedTime)                                                                            \
  X(cuModuleLoadData)                                                                              \
  X(cuModuleUnload)                                                                                \
  X(cuModuleGetFunction)                                                                           \
  X(cuFuncSetAttribute)                                                                            \
  X(cuLaunchKernel)                                                                                \
  X(cuLaunchKernelEx)                                                                              \
  X(cuGraphInstantiate)                                                                            \
  X(cuGraphUpload)                                                                                 \
  X(cuGraphLaunch)                                                                                 \
  X(cuGraphExecDestroy)                                                                            \
  X(cuGraphDestroy)

#define LIBRARY_CUDNN_MAP(X)                                                                       \
  X(cudnnGetVersion)                                                                               \
  X(cudnnGetErrorString)                                                                           \
  X(cudnnCreate)                                                                                   \
  X(cudnnDestroy)                                                                                  \
  X(cudnnSetStream)                                                                                \
  X(cudnnBackendCreateDescriptor)                                                                  \
  X(cudnnBackendDestroyDescriptor)                                                                 \
  X(cudnnBackendFinalize)                                                                          \
  X(cudnnBackendSetAttribute)                                                                      \
  X(cudnnBackendGetAttribute)                                                                      \
  X(cudnnBackendExecute)

#define LIBRARY_CUBLASLT_MAP(X)                                                                    \
  X(cublasLtGetVersion)                                                                            \
  X(cublasLtGetStatusString)                                                                       \
  X(cublasLtCreate)                                                                                \
  X(cublasLtDestroy)                                                                               \
  X(cublasLtMatmul)                                                                                \
  X(cublasLtMatmulDescCreate)                                                                      \
  X(cublasLtMatmulDescDestroy)                                                                     \
  X(cublasLtMatmulDescSetAttribute)                                                                \
  X(cublasLtMatrixLayoutCreate)                                                                    \
  X(cublasLtMatrixLayoutDestroy)                                                                   \
  X(cublasLtMatrixLayoutSetAttribute)                                                              \
  X(cublasLtMatmulPreferenceCreate)                                                                \
  X(cublasLtMatmulPreferenceDestroy)                                                               \
  X(cublasLtMatmulPreferenceSetAttribute)                                                          \
  X(cublasLtMatmulAlgoGetHeuristic)

#define LIBRARY_MEMBER_(name) __typeof__(&name) name;

/* NVML: a few functions of its stable C interface, which the toolkit ships no header for where only
 * the compiler is installed. Return codes: 0 is success. */
typedef void *library_nvml_device;
enum {
  LIBRARY_NVML_CLOCK_SM = 1,
  LIBRARY_NVML_GPU_IS_LOST = 15, /* it fell off the bus, or is inaccessible otherwise */
};

struct library_nvml {
  bool is_open;
  int (*init)(void);
  int (*shutdown)(void);
  int (*device_by_pci_bus_id)(const char *pci_bus_id, library_nvml_device *ret_device);
  int (*device_clock_mhz)(library_nvml_device device, int clock, unsigned *ret_mhz);
};

struct library {
  void *handles[4];
  struct {
    LIBRARY_DRIVER_MAP(LIBRARY_MEMBER_)
  } driver;
  struct {
    LIBRARY_CUDNN_MAP(LIBRARY_MEMBER_)
  } cudnn;
  struct {
    LIBRARY_CUBLASLT_MAP(LIBRARY_MEMBER_)
  } cublaslt;
  struct library_nvml nvml; /* may be missing: clocks are then those that the driver declares */
};

/* The driver alone, and whether it sees a device: what decides if CUDA can be used here. */
bool library_has_device(void);

/* All of them. ERR_NOT_FOUND: `ret_error` names the library that lacks and what would bring it. */
MUST_USE enum err library_open(struct library *ret_library, struct error_text *ret_error);

/* Accepts NULL and a zeroed one. */
void library_close(struct library *library);

/* A short English text for a code of the driver; never NULL. */
const char *library_driver_text(const struct library *library, CUresult result);

#endif
