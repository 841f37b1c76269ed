/* A program's options, read one after another by getopt_long(), which takes any beginning of a long
 * option's name for the option: `--gpu 2` would run today and be refused, or mean something else,
 * once there is another option that begins so. Here only whole names are options.
 *
 * Thread: one, as of getopt_long(). */
#ifndef CLOCKWORK_OS_ARGUMENTS_H
#define CLOCKWORK_OS_ARGUMENTS_H

#include <getopt.h>

/* As getopt_long(); an abbreviated name is '?', as any unknown one, and words[optind - 1] is it.
 * Then no more may be asked for. Set opterr to 0 before and report by yourself. */
int arguments_next(int count, char *const *words, const char *short_options,
                   const struct option *long_options);

#endif
