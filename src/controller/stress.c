/* STRESS: the controller is its own client, a closed loop over copies of one model. */
#include <stdio.h>

#include "controller/controller.h"
#include "os/log.h"

static void ask_to_load(struct controller *controller) {
  struct wire_load_request request = {.copies = controller->options.stress_copies};
  snprintf(request.path, sizeof(request.path), "%s", controller->options.stress_model);
  controller->stress.has_asked = true;
  packages_on_request(controller, 0, &request);
}

/* Every tick fills the loop up to its concurrency: so refusals, which come back at once, can't turn
 * into a spin. */
void stress_tick(struct controller *controller) {
  struct stress *stress = &controller->stress;
  if (!stress->has_asked) {
    ask_to_load(controller);
  }
  while (stress->copies > 0 && stress->under_way < controller->options.stress_concurrency) {
    stress->under_way++;
    const uint32_t model_id = stress->first_model_id + stress->next_copy;
    stress->next_copy = (stress->next_copy + 1) % stress->copies;
    const uint32_t before = stress->under_way;
    if (!clients_make_request(controller, model_id)) {
      stress->under_way--;
      return;
    }
    if (stress->under_way < before) {
      return; /* answered at once, so refused: wait for the next tick */
    }
  }
}

void stress_on_loaded(struct controller *controller, const struct wire_load_answer *answer) {
  struct stress *stress = &controller->stress;
  if (answer->result == REQUEST_SUCCESS) {
    stress->first_model_id = answer->first_model_id;
    stress->copies = answer->copies;
    log_info("STRESS: %u copies of %s, %u requests under way", answer->copies,
             controller->options.stress_model, controller->options.stress_concurrency);
  } else if (answer->result == REQUEST_INITIALIZING) {
    stress->has_asked = false;
  } else {
    log_warning("STRESS: %s", answer->message);
  }
}

/* A success makes room for the next request at once; after a refusal the tick does. */
void stress_on_answer(struct controller *controller, bool is_success) {
  struct stress *stress = &controller->stress;
  stress->under_way--;
  stress->wants_refill = stress->wants_refill || is_success;
}
