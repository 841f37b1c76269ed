/* client: replays a workload against a controller. What it does is in client/run.h. */
#include "client/run.h"

int main(int argc, char **argv) {
  return client_run(argc, argv);
}
