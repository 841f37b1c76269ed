/* A model package from its folder: the plan, checked, and the weights, mapped.
 *
 * Both files are read with suspicion: whatever they hold, the answer is a plan that plan_check()
 * accepted with weights of the right size and checksum, or one line that names the file and the
 * mend. Time and memory are bounded by the files' sizes.
 *
 * Thread: any. Cost: reads both files once; for a thread that serves nobody.
 */
#ifndef CLOCKWORK_LOADER_LOADER_H
#define CLOCKWORK_LOADER_LOADER_H

#include <stddef.h>

#include "base/error.h"
#include "os/error_text.h"
#include "os/file.h"
#include "package/plan.h"

struct loaded_package {
  const struct plan *plan;      /* until loader_close() */
  const unsigned char *weights; /* the plan's WEIGHTS place, padded to whole pages; read-only */
  struct file_map weights_file;
  void *memory; /* of the plan */
  size_t memory_bytes;
};

/* ERR_NOT_FOUND, ERR_MALFORMED, ERR_VERSION, ERR_TOO_LARGE, ERR_NO_MEMORY, ERR_IO: `ret_error` says
 * why, *ret_package is untouched. The weights file must not be cut while it is open. */
MUST_USE enum err loader_open(const char *folder, struct loaded_package *ret_package,
                              struct error_text *ret_error);

/* Accepts NULL and a zeroed or closed one. */
void loader_close(struct loaded_package *package);

#endif
