/* The WEIGHTS place of a package: every distinct constant once, whichever batch sizes use it. */
#ifndef CLOCKWORK_COMPILER_WEIGHTS_H
#define CLOCKWORK_COMPILER_WEIGHTS_H

#include <stdint.h>

#include "compiler/context.h"

struct weight_table;

/* Its memory is kept memory of the context. `lasting_bytes`: constants below this mark of the arena
 * stay where they are; others are copied. */
struct weight_table *weights_create(struct context *context, size_t lasting_bytes);

/* Returns the constant's offset in the place. `data` outside the arena must outlive the table. */
uint64_t weights_add(struct weight_table *table, const void *data, uint64_t bytes);

/* The parts by rising offset, and the place's size. */
const struct compile_weight *weights_list(const struct weight_table *table, uint32_t *ret_count,
                                          uint64_t *ret_bytes);

#endif
