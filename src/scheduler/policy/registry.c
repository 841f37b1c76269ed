/* Every policy there is: its declaration and its place in the list. */
#include <string.h>

#include "scheduler/policy.h"

extern const struct policy policy_infer4;
extern const struct policy policy_priced;
extern const struct policy policy_deferred;
extern const struct policy policy_clipper;
extern const struct policy policy_fifo;
extern const struct policy policy_direct;
extern const struct policy policy_echo;

const struct policy *const policy_registry[] = {
    &policy_infer4, &policy_priced, &policy_deferred, &policy_clipper,
    &policy_fifo,   &policy_direct, &policy_echo,     NULL,
};

const struct policy *policy_find(const char *name) {
  for (size_t i = 0; policy_registry[i] != NULL; i++) {
    if (strcmp(policy_registry[i]->name, name) == 0) {
      return policy_registry[i];
    }
  }
  return NULL;
}
