/* zoo/profiles/v100.tsv, put into the program by the build so that it runs from any folder. */
#ifndef CLOCKWORK_SIMULATOR_DEFAULT_PROFILE_H
#define CLOCKWORK_SIMULATOR_DEFAULT_PROFILE_H

#include <stddef.h>

extern const char default_profile[];
extern const size_t default_profile_bytes;

#endif
