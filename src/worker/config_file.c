#include "worker/config_file.h"

#include <libconfig.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "os/file.h"

enum { CONFIG_BYTES_MAX = 1 << 20 };

static bool is_number(const config_setting_t *setting) {
  const int type = config_setting_type(setting);
  return type == CONFIG_TYPE_INT || type == CONFIG_TYPE_INT64;
}

/* A negative number becomes a very large one, which no setting allows. */
static uint64_t number_of(const config_setting_t *setting) {
  return (uint64_t)config_setting_get_int64(setting);
}

static enum err apply_list(const struct setting *setting, const config_setting_t *value,
                           struct options *options, struct error_text *ret_error) {
  uint64_t numbers[WORKER_GPUS_MAX];
  const int count = config_setting_length(value);
  if (count > WORKER_GPUS_MAX) {
    error_text_set(ret_error, "has %d numbers, may have %d", count, WORKER_GPUS_MAX);
    return ERR_RANGE;
  }
  for (int i = 0; i < count; i++) {
    const config_setting_t *element = config_setting_get_elem(value, (unsigned)i);
    if (!is_number(element)) {
      error_text_set(ret_error, "must be numbers only");
      return ERR_MALFORMED;
    }
    numbers[i] = number_of(element);
  }
  return setting_apply_numbers(setting, numbers, (size_t)count, options, ret_error);
}

static enum err apply_value(const struct setting *setting, const config_setting_t *value,
                            struct options *options, struct error_text *ret_error) {
  if (config_setting_is_array(value) || config_setting_is_list(value)) {
    return apply_list(setting, value, options, ret_error);
  }
  if (is_number(value)) {
    const uint64_t number = number_of(value);
    return setting_apply_numbers(setting, &number, 1, options, ret_error);
  }
  if (config_setting_type(value) == CONFIG_TYPE_STRING &&
      (setting->kind == SETTING_TEXT || setting->kind == SETTING_ADDRESS)) {
    return setting_apply_text(setting, config_setting_get_string(value), options, ret_error);
  }
  error_text_set(ret_error, "must be %s",
                 setting->kind == SETTING_TEXT || setting->kind == SETTING_ADDRESS
                     ? "text in double quotes"
                     : "a whole number");
  return ERR_MALFORMED;
}

static enum err apply_group(const char *path, const config_setting_t *group,
                            struct options *options, struct error_text *ret_error) {
  for (int i = 0; i < config_setting_length(group); i++) {
    const config_setting_t *value = config_setting_get_elem(group, (unsigned)i);
    const char *field = config_setting_name(value);
    const unsigned line = config_setting_source_line(value);
    const struct setting *setting = setting_of_field(field);
    if (setting == NULL) {
      char fields[256];
      settings_list_fields(sizeof(fields), fields);
      error_text_set(ret_error, "%.80s:%u: worker.%.40s: no such field; there are %s", path, line,
                     field, fields);
      return ERR_MALFORMED;
    }
    struct error_text fault;
    if (apply_value(setting, value, options, &fault) != ERR_OK) {
      error_text_set(ret_error, "%.80s:%u: worker.%s: %s", path, line, field, fault.text);
      return ERR_MALFORMED;
    }
  }
  return ERR_OK;
}

static enum err apply_root(const char *path, const config_setting_t *root, struct options *options,
                           struct error_text *ret_error) {
  for (int i = 0; i < config_setting_length(root); i++) {
    const config_setting_t *group = config_setting_get_elem(root, (unsigned)i);
    const char *name = config_setting_name(group);
    if (strcmp(name, "controller") == 0 || strcmp(name, "client") == 0) {
      continue;
    }
    if (strcmp(name, "worker") != 0 || !config_setting_is_group(group)) {
      error_text_set(ret_error, "%.80s:%u: %.40s: only a group 'worker: { ... }' is read here",
                     path, config_setting_source_line(group), name);
      return ERR_MALFORMED;
    }
    const enum err error = apply_group(path, group, options, ret_error);
    if (error != ERR_OK) {
      return error;
    }
  }
  return ERR_OK;
}

/* ---- numbers that libconfig would cut -------------------------------------------------------- */

/* Behind a comment or a text that begins at `at`; `at` itself if neither does. */
static const char *skip_comment_or_text(const char *at) {
  if (*at == '#' || (at[0] == '/' && at[1] == '/')) {
    return at + strcspn(at, "\n");
  }
  if (at[0] == '/' && at[1] == '*') {
    const char *end = strstr(at + 2, "*/");
    return end == NULL ? at + strlen(at) : end + 2;
  }
  if (*at == '"') {
    for (at++; *at != '\0' && *at != '"'; at++) {
      at += at[0] == '\\' && at[1] != '\0';
    }
    return *at == '\0' ? at : at + 1;
  }
  return at;
}

/* libconfig 1.5 silently keeps 32 bits of a larger number without an L behind it. True: `text` has
 * such a number. */
static bool has_cut_number(const char *text, unsigned *ret_line, int *ret_length,
                           const char **ret_number) {
  unsigned line = 1;
  while (*text != '\0') {
    const char *next = skip_comment_or_text(text);
    if (next == text) {
      const size_t word = strspn(text, "0123456789abcdefghijklmnopqrstuvwxyz"
                                       "ABCDEFGHIJKLMNOPQRSTUVWXYZ_.-+*");
      const size_t digits = strspn(text, "0123456789");
      if (digits > 0 && digits == word && strtoull(text, NULL, 10) > INT32_MAX) {
        *ret_line = line;
        *ret_length = (int)digits;
        *ret_number = text;
        return true;
      }
      next = text + (word > 0 ? word : 1);
    }
    for (; text < next; text++) {
      line += *text == '\n';
    }
  }
  return false;
}

enum err config_file_apply(const char *path, struct options *options,
                           struct error_text *ret_error) {
  char *content = NULL;
  size_t content_bytes = 0;
  struct error_text fault;
  enum err error = file_read(path, CONFIG_BYTES_MAX, &content, &content_bytes, &fault);
  if (error != ERR_OK) {
    error_text_set(ret_error, "CLOCKWORK_CONFIG_FILE: %s", fault.text);
    return error;
  }
  config_t config;
  config_init(&config);
  unsigned line = 0;
  int length = 0;
  const char *number = NULL;
  if (memchr(content, '\0', content_bytes) != NULL) {
    error_text_set(ret_error, "%.80s: is no text file", path);
    error = ERR_MALFORMED;
  } else if (has_cut_number(content, &line, &length, &number)) {
    error_text_set(ret_error, "%.80s:%u: %.*s: a number this large needs an L behind it", path,
                   line, length > 40 ? 40 : length, number);
    error = ERR_MALFORMED;
  } else if (config_read_string(&config, content) != CONFIG_TRUE) {
    error_text_set(ret_error, "%.80s:%d: %s; a setting is written  name = value;", path,
                   config_error_line(&config), config_error_text(&config));
    error = ERR_MALFORMED;
  } else {
    error = apply_root(path, config_root_setting(&config), options, ret_error);
  }
  config_destroy(&config);
  free(content);
  return error;
}
