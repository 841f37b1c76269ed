/* `client ADDRESS infer MODEL`: one model, an input from a file, the answer into a file.
 *
 * Loads the model if the controller does not have it, sends the same input `count` times, spread
 * over the model's copies, and holds the answers against each other. Exit codes as in options.h.
 */
#ifndef CLOCKWORK_CLIENT_INFER_H
#define CLOCKWORK_CLIENT_INFER_H

#include <stdbool.h>

/* Whether a command line is of this kind. */
bool client_wants_infer(int argc, char *const *argv);

int client_infer(int argc, char *const *argv);

#endif
