/* The file that CLOCKWORK_CONFIG_FILE names, in the format of libconfig: its group `worker`.
 *
 * A file may serve all programs of a machine: groups `controller` and `client` are left alone, any
 * other name is refused, because a setting that nobody reads is a mistake that nobody sees. */
#ifndef CLOCKWORK_WORKER_CONFIG_FILE_H
#define CLOCKWORK_WORKER_CONFIG_FILE_H

#include "worker/options.h"

/* ERR_NOT_FOUND, ERR_IO: no such file or not readable; ERR_MALFORMED: not the format, or a field is
 * wrong. `ret_error` names file, line, field and what it must be; options may then be half set. */
MUST_USE enum err config_file_apply(const char *path, struct options *options,
                                    struct error_text *ret_error);

#endif
