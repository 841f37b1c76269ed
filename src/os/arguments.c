#include "os/arguments.h"

#include <string.h>

int arguments_next(int count, char *const *words, const char *short_options,
                   const struct option *long_options) {
  int index = -1;
  const int option = getopt_long(count, words, short_options, long_options, &index);
  if (index < 0) {
    return option; /* a short one, none, or one that getopt_long() refused */
  }
  const int at = optarg != NULL && optarg == words[optind - 1] ? optind - 2 : optind - 1;
  const char *name = words[at] + strlen("--");
  if (strlen(long_options[index].name) == strcspn(name, "=")) {
    return option;
  }
  optind = at + 1;
  return '?';
}
