#include "simulator/policy_option.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "os/log.h"
#include "scheduler/policy.h"

const char *policy_option_parse(const char *program, const char *text) {
  char names[256] = "";
  for (size_t i = 0; policy_registry[i] != NULL; i++) {
    if (strcasecmp(policy_registry[i]->name, text) == 0) {
      return policy_registry[i]->name;
    }
    const size_t used = strlen(names);
    snprintf(names + used, sizeof(names) - used, "%s%s", i == 0 ? "" : ", ",
             policy_registry[i]->name);
  }
  log_usage_error(program, "--policy: '%.40s' is not one of %s", text, names);
  return NULL;
}

void policy_option_print(void) {
  for (size_t i = 0; policy_registry[i] != NULL; i++) {
    printf("  %-10s %s\n", policy_registry[i]->name, policy_registry[i]->summary);
  }
}
