/* The package's two files. */
#ifndef CLOCKWORK_TOOLS_COMPILE_MODEL_WRITE_PACKAGE_H
#define CLOCKWORK_TOOLS_COMPILE_MODEL_WRITE_PACKAGE_H

#include "base/error.h"
#include "compiler/compiler.h"
#include "os/error_text.h"

/* Into a folder that is there. Weights first, the plan last and atomically: a folder with a
 * plan that fits its weights is whole. ERR_IO, ERR_NO_MEMORY. */
MUST_USE enum err write_package(const char *folder, const struct compile_result *result,
                                struct error_text *ret_error);

#endif
