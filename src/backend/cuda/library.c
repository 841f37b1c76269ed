#include "backend/cuda/library.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_(name) #name
#define TEXT(name) TEXT_(name) /* of the versioned name that the header makes of it */

/* POSIX lets dlsym's result be a function; C has no cast for that. */
static bool find(void *handle, const char *name, void *ret_function, size_t bytes) {
  void *symbol = dlsym(handle, name);
  if (symbol != NULL) {
    memcpy(ret_function, &symbol, bytes);
  }
  return symbol != NULL;
}

static void *open_first(const char *const *names) {
  for (int i = 0; names[i] != NULL; i++) {
    void *handle = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (handle != NULL) {
      return handle;
    }
  }
  return NULL;
}

static const char *const driver_names[] = {"libcuda.so.1", NULL};
static const char *const cudnn_names[] = {"libcudnn.so.9", NULL};
static const char *const cublaslt_names[] = {"libcublasLt.so.13", "libcublasLt.so.12", NULL};
static const char *const nvml_names[] = {"libnvidia-ml.so.1", NULL};

bool library_has_device(void) {
  void *handle = open_first(driver_names);
  if (handle == NULL) {
    return false;
  }
  __typeof__(&cuInit) init = NULL;
  __typeof__(&cuDeviceGetCount) count_of = NULL;
  int count = 0;
  const bool has = find(handle, TEXT(cuInit), &init, sizeof(init)) &&
                   find(handle, TEXT(cuDeviceGetCount), &count_of, sizeof(count_of)) &&
                   init(0) == CUDA_SUCCESS && count_of(&count) == CUDA_SUCCESS && count > 0;
  dlclose(handle);
  return has;
}

/* Points into a static table: which function a library lacks, NULL if none. */
#define FIND_(name)                                                                                \
  if (!find(handle, TEXT(name), &table->name, sizeof(table->name))) {                              \
    return TEXT(name);                                                                             \
  }

static const char *find_driver(void *handle, struct library *library) {
  __typeof__(library->driver) *table = &library->driver;
  LIBRARY_DRIVER_MAP(FIND_)
  return NULL;
}

static const char *find_cudnn(void *handle, struct library *library) {
  __typeof__(library->cudnn) *table = &library->cudnn;
  LIBRARY_CUDNN_MAP(FIND_)
  return NULL;
}

static const char *find_cublaslt(void *handle, struct library *library) {
  __typeof__(library->cublaslt) *table = &library->cublaslt;
  LIBRARY_CUBLASLT_MAP(FIND_)
  return NULL;
}

static void open_nvml(struct library *library) {
  struct library_nvml *nvml = &library->nvml;
  void *handle = open_first(nvml_names);
  if (handle == NULL) {
    return;
  }
  library->handles[3] = handle;
  nvml->is_open = find(handle, "nvmlInit_v2", &nvml->init, sizeof(nvml->init)) &&
                  find(handle, "nvmlShutdown", &nvml->shutdown, sizeof(nvml->shutdown)) &&
                  find(handle, "nvmlDeviceGetHandleByPciBusId_v2", &nvml->device_by_pci_bus_id,
                       sizeof(nvml->device_by_pci_bus_id)) &&
                  find(handle, "nvmlDeviceGetClockInfo", &nvml->device_clock_mhz,
                       sizeof(nvml->device_clock_mhz)) &&
                  nvml->init() == 0;
}

enum err library_open(struct library *ret_library, struct error_text *ret_error) {
  static const struct {
    const char *const *names;
    const char *(*find)(void *handle, struct library *library);
    const char *mend;
  } parts[] = {
      {driver_names, find_driver, "install NVIDIA's driver"},
      {cudnn_names, find_cudnn, "install cuDNN 9, or name its folder in LD_LIBRARY_PATH"},
      {cublaslt_names, find_cublaslt,
       "install CUDA's cuBLAS, or name its folder in LD_LIBRARY_PATH"},
  };
  struct library library;
  memset(&library, 0, sizeof(library));
  for (int i = 0; i < 3; i++) {
    library.handles[i] = open_first(parts[i].names);
    if (library.handles[i] == NULL) {
      error_text_set(ret_error, "%s: cannot be loaded; %s", parts[i].names[0], parts[i].mend);
      library_close(&library);
      return ERR_NOT_FOUND;
    }
    const char *missing = parts[i].find(library.handles[i], &library);
    if (missing != NULL) {
      error_text_set(ret_error, "%s: is too old, it lacks %s; %s", parts[i].names[0], missing,
                     parts[i].mend);
      library_close(&library);
      return ERR_NOT_FOUND;
    }
  }
  open_nvml(&library);
  *ret_library = library;
  return ERR_OK;
}

void library_close(struct library *library) {
  if (library == NULL) {
    return;
  }
  if (library->nvml.is_open) {
    library->nvml.shutdown();
  }
  /* The driver and cuDNN keep threads and exit handlers: unloading them is not safe, and the
   * process is about to end. NVML is. */
  if (library->handles[3] != NULL) {
    dlclose(library->handles[3]);
  }
  memset(library, 0, sizeof(*library));
}

const char *library_driver_text(const struct library *library, CUresult result) {
  const char *text = NULL;
  if (library->driver.cuGetErrorString(result, &text) != CUDA_SUCCESS || text == NULL) {
    return "unknown error of the driver";
  }
  return text;
}
