#include "loader/loader.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/arena.h"
#include "os/memory.h"
#include "package/format.h"

enum { PATH_BYTES = MODEL_PATH_BYTES + 32 };

/* Far above any plan: 2^18 tensors are some 20 MiB. */
#define PLAN_BYTES_MAX ((size_t)1 << 30)
#define WEIGHTS_BYTES_MAX ((size_t)1 << 40)

static enum err name_file(const char *folder, const char *file, char ret_path[PATH_BYTES],
                          struct error_text *ret_error) {
  const int length = snprintf(ret_path, PATH_BYTES, "%s/%s", folder, file);
  if (folder[0] == '\0' || length < 0 || length >= PATH_BYTES) {
    error_text_set(ret_error, "'%.100s': not the path of a folder that compile_model wrote",
                   folder);
    return ERR_NOT_FOUND;
  }
  return ERR_OK;
}

static enum err refuse_plan(const char *path, enum err error, const struct plan_fault *fault,
                            struct error_text *ret_error) {
  const bool is_of_batch = fault->batch_size != 0;
  if (error == ERR_VERSION) {
    error_text_set(ret_error, "%.120s: written by another version; compile the model anew", path);
  } else if (fault->text[0] == '\0') {
    error_text_set(ret_error, "%.120s: %s; compile the model anew", path, err_text(error));
  } else if (is_of_batch && fault->op != PLAN_NONE) {
    error_text_set(ret_error, "%.120s: batch size %u, operation %u: %s; compile the model anew",
                   path, fault->batch_size, fault->op, fault->text);
  } else {
    error_text_set(ret_error, "%.120s: %s; compile the model anew", path, fault->text);
  }
  return error;
}

static enum err decode_plan(const char *path, const struct file_map *file,
                            struct loaded_package *package, uint64_t *ret_checksum,
                            struct error_text *ret_error) {
  struct plan_fault fault = {.op = PLAN_NONE};
  enum err error = format_decoded_bytes(file->bytes, file->size_bytes, &package->memory_bytes);
  if (error != ERR_OK) {
    return refuse_plan(path, error, &fault, ret_error);
  }
  package->memory = os_memory_take(package->memory_bytes);
  if (package->memory == NULL) {
    error_text_set(ret_error, "%.120s: out of memory: its plan takes %zu bytes", path,
                   package->memory_bytes);
    return ERR_NO_MEMORY;
  }
  struct arena arena;
  arena_init(&arena, package->memory, package->memory_bytes);
  error =
      format_decode(file->bytes, file->size_bytes, &arena, &package->plan, ret_checksum, &fault);
  return error == ERR_OK ? ERR_OK : refuse_plan(path, error, &fault, ret_error);
}

static enum err open_plan(const char *folder, struct loaded_package *package,
                          uint64_t *ret_checksum, struct error_text *ret_error) {
  char path[PATH_BYTES];
  struct file_map file;
  enum err error = name_file(folder, FORMAT_PLAN_FILE, path, ret_error);
  if (error == ERR_OK) {
    error = file_map_open(path, PLAN_BYTES_MAX, &file, ret_error);
  }
  if (error != ERR_OK) {
    return error;
  }
  error = decode_plan(path, &file, package, ret_checksum, ret_error);
  file_map_close(&file);
  return error;
}

static enum err open_weights(const char *folder, struct loaded_package *package, uint64_t checksum,
                             struct error_text *ret_error) {
  char path[PATH_BYTES];
  enum err error = name_file(folder, FORMAT_WEIGHTS_FILE, path, ret_error);
  if (error == ERR_OK) {
    error = file_map_open(path, WEIGHTS_BYTES_MAX, &package->weights_file, ret_error);
  }
  if (error != ERR_OK) {
    return error;
  }
  const struct file_map *file = &package->weights_file;
  const uint64_t page = MODEL_PAGE_BYTES;
  const uint64_t wanted = (package->plan->weights_bytes + page - 1) / page * page;
  if (file->size_bytes != wanted) {
    error_text_set(ret_error,
                   "%.120s: has %zu bytes, its plan says %" PRIu64
                   "; copy both files again, or compile the model anew",
                   path, file->size_bytes, wanted);
    return ERR_MALFORMED;
  }
  if (format_checksum(0, file->bytes, file->size_bytes) != checksum) {
    error_text_set(ret_error,
                   "%.120s: its checksum is not the plan's; copy both files again, or "
                   "compile the model anew",
                   path);
    return ERR_MALFORMED;
  }
  package->weights = file->bytes;
  return ERR_OK;
}

enum err loader_open(const char *folder, struct loaded_package *ret_package,
                     struct error_text *ret_error) {
  struct loaded_package package = {.plan = NULL};
  uint64_t checksum = 0;
  enum err error = open_plan(folder, &package, &checksum, ret_error);
  if (error == ERR_OK) {
    error = open_weights(folder, &package, checksum, ret_error);
  }
  if (error != ERR_OK) {
    loader_close(&package);
    return error;
  }
  *ret_package = package;
  return ERR_OK;
}

void loader_close(struct loaded_package *package) {
  if (package == NULL) {
    return;
  }
  file_map_close(&package->weights_file);
  os_memory_give(package->memory, package->memory_bytes);
  *package = (struct loaded_package){.plan = NULL};
}
