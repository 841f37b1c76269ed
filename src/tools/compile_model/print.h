/* A plan as text, for people and for golden files. */
#ifndef CLOCKWORK_TOOLS_COMPILE_MODEL_PRINT_H
#define CLOCKWORK_TOOLS_COMPILE_MODEL_PRINT_H

#include <stdio.h>

#include "package/plan.h"

/* Every batch size's operations, one a line, with the tensors that they read and write. */
void print_plan(FILE *file, const struct plan *plan);

/* A tensor's element type and dims: "float32 1x3x224x224". */
void print_dims(FILE *file, enum plan_type type, uint32_t rank, const uint32_t *dims);

#endif
