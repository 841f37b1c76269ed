/* Reading a workload's positional parameters, and telling users what they are. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "workload/kinds.h"
#include "workload/workload.h"

enum { NUMBER_BYTES_MAX = 40 };

static bool is_made_of(const char *text, const char *allowed) {
  while (*text != '\0' && strchr(allowed, *text) != NULL) {
    text++;
  }
  return *text == '\0';
}

/* Digits, sign, point and exponent only: strtod() would also take "nan", "inf" and hexadecimal. */
static bool number_read(const char *text, double *ret_number) {
  const size_t bytes = strlen(text);
  if (bytes == 0 || bytes > NUMBER_BYTES_MAX || !is_made_of(text, "0123456789+-.eE")) {
    return false;
  }
  char *end = NULL;
  const double number = strtod(text, &end);
  if (end != text + bytes || !isfinite(number)) {
    return false;
  }
  *ret_number = number;
  return true;
}

static bool bool_read(const char *text, double *ret_value) {
  const bool is_true = strcmp(text, "1") == 0 || strcmp(text, "true") == 0;
  const bool is_false = strcmp(text, "0") == 0 || strcmp(text, "false") == 0;
  *ret_value = is_true ? 1 : 0;
  return is_true || is_false;
}

static bool choice_read(const struct workload_parameter *parameter, const char *text,
                        double *ret_index) {
  for (uint32_t i = 0; parameter->choices[i] != NULL; i++) {
    if (strcmp(parameter->choices[i], text) == 0) {
      *ret_index = i;
      return true;
    }
  }
  return false;
}

static bool value_is_well_formed(const struct workload_parameter *parameter, const char *text,
                                 double *ret_number) {
  switch (parameter->type) {
  case WORKLOAD_INT:
    return number_read(text, ret_number) && floor(*ret_number) == *ret_number;
  case WORKLOAD_FLOAT:
    return number_read(text, ret_number);
  case WORKLOAD_BOOL:
    return bool_read(text, ret_number);
  case WORKLOAD_CHOICE:
    return choice_read(parameter, text, ret_number);
  case WORKLOAD_TEXT:
    *ret_number = 0;
    return text[0] != '\0' && strlen(text) <= (size_t)parameter->max;
  }
  CHECK(false);
  return false;
}

/* "a whole number from 1 to 4" */
static void text_append_expected(struct text_builder *text,
                                 const struct workload_parameter *parameter) {
  switch (parameter->type) {
  case WORKLOAD_INT:
  case WORKLOAD_FLOAT:
    text_append(text, parameter->type == WORKLOAD_INT ? "a whole number from " : "a number from ");
    text_append_decimal(text, parameter->min);
    text_append(text, " to ");
    text_append_decimal(text, parameter->max);
    return;
  case WORKLOAD_BOOL:
    text_append(text, "0, 1, false or true");
    return;
  case WORKLOAD_CHOICE:
    for (uint32_t i = 0; parameter->choices[i] != NULL; i++) {
      text_append(text, i == 0 ? "" : " or ");
      text_append(text, parameter->choices[i]);
    }
    return;
  case WORKLOAD_TEXT:
    text_append(text, "the name of a model");
    return;
  }
}

static enum err value_read(const struct workload_kind *kind,
                           const struct workload_parameter *parameter, const char *text,
                           double *ret_number, struct workload_fault *ret_fault) {
  const bool is_number = parameter->type == WORKLOAD_INT || parameter->type == WORKLOAD_FLOAT;
  enum err error = ERR_OK;
  if (!value_is_well_formed(parameter, text, ret_number)) {
    error = ERR_MALFORMED;
  } else if (is_number && (*ret_number < parameter->min || *ret_number > parameter->max)) {
    error = ERR_RANGE;
  }
  if (error != ERR_OK) {
    struct text_builder fault = fault_begin(ret_fault);
    text_append(&fault, kind->name);
    text_append(&fault, ": ");
    text_append(&fault, parameter->name);
    text_append(&fault, " is ");
    text_append_quoted(&fault, text, strlen(text));
    text_append(&fault, "; give ");
    text_append_expected(&fault, parameter);
  }
  return error;
}

enum err workload_parse(const struct workload_kind *kind, const char *const *arguments,
                        uint32_t argument_count, struct workload_config *ret_config,
                        struct workload_fault *ret_fault) {
  CHECK_LE(kind->parameter_count, WORKLOAD_PARAMETERS_MAX);
  struct workload_config config = {.kind = kind, .seed = WORKLOAD_SEED};
  if (argument_count > kind->parameter_count) {
    struct text_builder fault = fault_begin(ret_fault);
    const char *extra = arguments[kind->parameter_count];
    text_append(&fault, kind->name);
    text_append(&fault, " takes at most ");
    text_append_number(&fault, kind->parameter_count);
    text_append(&fault,
                kind->parameter_count == 1 ? " parameter; leave out " : " parameters; leave out ");
    text_append_quoted(&fault, extra, strlen(extra));
    return ERR_MALFORMED;
  }
  for (uint32_t i = 0; i < kind->parameter_count; i++) {
    const struct workload_parameter *parameter = &kind->parameters[i];
    const char *text = i < argument_count ? arguments[i] : parameter->default_text;
    const enum err error = value_read(kind, parameter, text, &config.numbers[i], ret_fault);
    if (error != ERR_OK) {
      return error;
    }
    config.texts[i] = parameter->type == WORKLOAD_TEXT ? text : NULL;
  }
  if (kind->check != NULL) {
    struct text_builder fault = fault_begin(ret_fault);
    text_append(&fault, kind->name);
    text_append(&fault, ": ");
    const enum err error = kind->check(&config, &fault);
    if (error != ERR_OK) {
      return error;
    }
  }
  *ret_config = config;
  return ERR_OK;
}

/* The lines of `text`, all but the first on lines of their own behind `indent`. */
static void text_append_indented(struct text_builder *builder, const char *text,
                                 const char *indent) {
  char line[512];
  while (*text != '\0') {
    const char *newline = strchr(text, '\n');
    const size_t bytes = newline != NULL ? (size_t)(newline - text) : strlen(text);
    CHECK_LT(bytes, sizeof(line));
    memcpy(line, text, bytes);
    line[bytes] = '\0';
    text_append(builder, line);
    text_append(builder, "\n");
    text += bytes;
    if (*text == '\n') {
      text++;
      text_append(builder, indent);
    }
  }
}

static void usage_append(struct text_builder *builder, const struct workload_kind *kind) {
  text_append(builder, "\t");
  text_append(builder, kind->name);
  text_append(builder, "\n\t\t Description: ");
  text_append_indented(builder, kind->description, "\t\t ");
  if (kind->parameter_count > 0) {
    text_append(builder, "\t\t Workload parameters:\n");
  }
  for (uint32_t i = 0; i < kind->parameter_count; i++) {
    const struct workload_parameter *parameter = &kind->parameters[i];
    text_append(builder, "\t\t\t ");
    text_append(builder, parameter->name);
    text_append(builder, ": (");
    text_append(builder, parameter->hint);
    text_append(builder, parameter->text[0] == ':' ? ")" : ") ");
    text_append_indented(builder, parameter->text, "\t\t\t\t ");
  }
}

size_t workload_kind_usage(const struct workload_kind *kind, char *buffer, size_t capacity_bytes) {
  struct text_builder builder;
  text_begin(&builder, buffer, capacity_bytes);
  usage_append(&builder, kind);
  return builder.needed_bytes;
}

size_t workload_usage(char *buffer, size_t capacity_bytes) {
  struct text_builder builder;
  text_begin(&builder, buffer, capacity_bytes);
  for (uint32_t i = 0; i < workload_kind_count(); i++) {
    usage_append(&builder, workload_kind_at(i));
  }
  return builder.needed_bytes;
}
