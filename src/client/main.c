/* client: replays a workload against a controller (client/run.h), or asks one model
 * (client/infer.h). */
#include "client/infer.h"
#include "client/run.h"

int main(int argc, char **argv) {
  return client_wants_infer(argc, argv) ? client_infer(argc, argv) : client_run(argc, argv);
}
