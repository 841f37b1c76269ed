/* The command line of compile_model. */
#ifndef CLOCKWORK_TOOLS_COMPILE_MODEL_OPTIONS_H
#define CLOCKWORK_TOOLS_COMPILE_MODEL_OPTIONS_H

#include <stdbool.h>

#include "compiler/compiler.h"

enum { OPTIONS_SHAPE_TEXT_BYTES = 256 };

struct options {
  const char *input;
  const char *output; /* NULL with wants_print: nothing is written */
  bool wants_help;
  bool wants_print;
  bool wants_operators;
  char name[MODEL_NAME_BYTES];
  uint32_t batch_sizes[MODEL_BATCH_KINDS];
  struct compile_shape shapes[COMPILE_SHAPES_MAX];
  char shape_names[COMPILE_SHAPES_MAX][OPTIONS_SHAPE_TEXT_BYTES];
  struct compile_options compile; /* points into this struct */
};

/* False: a mistake, which was said on standard error. */
bool options_read(int count, char **words, struct options *ret_options);

extern const char OPTIONS_USAGE[];
extern const char OPTIONS_PROGRAM[];

#endif
