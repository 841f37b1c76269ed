/* The client from command line to exit code: connect, load, replay, sum up. */
#ifndef CLOCKWORK_CLIENT_RUN_H
#define CLOCKWORK_CLIENT_RUN_H

/* What main() does; returns the exit code. */
int client_run(int argc, char *const *argv);

#endif
