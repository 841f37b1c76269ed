/* --policy of simulate, plan and simulate_faults: the registry's policies by name, in any case. */
#ifndef CLOCKWORK_SIMULATOR_POLICY_OPTION_H
#define CLOCKWORK_SIMULATOR_POLICY_OPTION_H

/* The name as the registry spells it, static; NULL: there is none, and one line on standard error
 * names `program`, --policy and the policies that there are. */
const char *policy_option_parse(const char *program, const char *text);

/* For -h: each policy with its summary, one a line. */
void policy_option_print(void);

#endif
