#include "os/address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum {
  ADDRESS_HOST_MAX = 255, /* a DNS name's longest */
  ADDRESS_ITEM_MAX = ADDRESS_HOST_MAX + sizeof("[]:65535"),
};

static enum err address_fail(struct error_text *ret_error, const char *text, const char *why) {
  error_text_set(ret_error, "address \"%.100s\": %s; expected host:port, like 10.0.0.1:12345", text,
                 why);
  return ERR_MALFORMED;
}

enum err address_from_socket(const struct sockaddr *socket, struct address *ret_address) {
  struct address address = {.port = 0};
  char host[INET6_ADDRSTRLEN];
  if (socket->sa_family == AF_INET) {
    struct sockaddr_in four;
    memcpy(&four, socket, sizeof(four));
    memcpy(&address.socket, &four, sizeof(four));
    address.port = ntohs(four.sin_port);
    inet_ntop(AF_INET, &four.sin_addr, host, sizeof(host));
    snprintf(address.text, sizeof(address.text), "%s:%u", host, address.port);
  } else if (socket->sa_family == AF_INET6) {
    struct sockaddr_in6 six;
    memcpy(&six, socket, sizeof(six));
    memcpy(&address.socket, &six, sizeof(six));
    address.port = ntohs(six.sin6_port);
    inet_ntop(AF_INET6, &six.sin6_addr, host, sizeof(host));
    snprintf(address.text, sizeof(address.text), "[%s]:%u", host, address.port);
  } else {
    return ERR_UNSUPPORTED;
  }
  *ret_address = address;
  return ERR_OK;
}

/* 1 to 5 digits, at most 65535. */
static bool address_parse_port(const char *text, uint16_t *ret_port) {
  const size_t length = strlen(text);
  if (length == 0 || length > 5 || strspn(text, "0123456789") != length) {
    return false;
  }
  uint32_t port = 0;
  for (size_t i = 0; i < length; i++) {
    port = port * 10 + (uint32_t)(text[i] - '0');
  }
  if (port > UINT16_MAX) {
    return false;
  }
  *ret_port = (uint16_t)port;
  return true;
}

/* Cut `text` into host and port text (NULL: none given). NULL if fine, else why not. */
static const char *address_split(char *text, char **ret_host, char **ret_port) {
  char *port = NULL;
  char *host = text;
  if (text[0] == '[') {
    char *close = strchr(text, ']');
    if (close == NULL) {
      return "no ] after [";
    }
    host = text + 1;
    *close = '\0';
    if (close[1] == ':') {
      port = close + 2;
    } else if (close[1] != '\0') {
      return "characters after ]";
    }
  } else {
    char *colon = strchr(text, ':');
    if (colon != NULL && strchr(colon + 1, ':') == NULL) {
      *colon = '\0';
      port = colon + 1;
    } /* more than one colon: an IPv6 address without port */
  }
  *ret_host = host;
  *ret_port = port;
  return NULL;
}

static enum err address_resolve(const char *text, const char *host, uint16_t port,
                                struct address *ret_address, struct error_text *ret_error) {
  char port_text[8];
  snprintf(port_text, sizeof(port_text), "%u", port);
  const struct addrinfo hints = {
      .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
  struct addrinfo *answers = NULL;
  const int error = getaddrinfo(host, port_text, &hints, &answers);
  if (error != 0) {
    error_text_set(ret_error, "address \"%.100s\": cannot find host \"%.100s\": %s", text, host,
                   gai_strerror(error));
    return ERR_NOT_FOUND;
  }
  const struct addrinfo *best = answers;
  for (const struct addrinfo *answer = answers; answer != NULL; answer = answer->ai_next) {
    if (answer->ai_family == AF_INET) {
      best = answer;
      break;
    }
  }
  const enum err err = address_from_socket(best->ai_addr, ret_address);
  freeaddrinfo(answers);
  if (err != ERR_OK) {
    error_text_set(ret_error, "address \"%.100s\": neither IPv4 nor IPv6", text);
  }
  return err;
}

enum err address_parse(const char *text, uint16_t default_port, struct address *ret_address,
                       struct error_text *ret_error) {
  char copy[ADDRESS_ITEM_MAX + 1];
  const size_t length = strlen(text);
  if (length == 0) {
    return address_fail(ret_error, text, "empty");
  }
  if (length > ADDRESS_ITEM_MAX) {
    return address_fail(ret_error, text, "too long");
  }
  if (strpbrk(text, " \t\r\n/,") != NULL) {
    return address_fail(ret_error, text, "a character that no address has");
  }
  memcpy(copy, text, length + 1);
  char *host;
  char *port_text;
  const char *why = address_split(copy, &host, &port_text);
  if (why != NULL) {
    return address_fail(ret_error, text, why);
  }
  uint16_t port = default_port;
  if (port_text != NULL && !address_parse_port(port_text, &port)) {
    return address_fail(ret_error, text, "the port is no number from 0 to 65535");
  }
  if (host[0] == '\0' && port_text == NULL) {
    return address_fail(ret_error, text, "no host");
  }
  const bool is_any = host[0] == '\0' || strcmp(host, "*") == 0;
  return address_resolve(text, is_any ? "0.0.0.0" : host, port, ret_address, ret_error);
}

enum err address_parse_list(const char *text, uint16_t default_port, size_t capacity,
                            struct address *ret_addresses, size_t *ret_count,
                            struct error_text *ret_error) {
  size_t count = 0;
  const char *at = text;
  for (;;) {
    const size_t length = strcspn(at, ",");
    char item[ADDRESS_ITEM_MAX + 1];
    if (length > ADDRESS_ITEM_MAX) {
      return address_fail(ret_error, at, "too long");
    }
    if (length == 0) {
      error_text_set(ret_error, "address list \"%.100s\": item %zu is empty", text, count + 1);
      return ERR_MALFORMED;
    }
    memcpy(item, at, length);
    item[length] = '\0';
    if (count == capacity) {
      error_text_set(ret_error, "address list \"%.100s\": more than %zu addresses", text, capacity);
      return ERR_FULL;
    }
    const enum err err = address_parse(item, default_port, &ret_addresses[count], ret_error);
    if (err != ERR_OK) {
      return err;
    }
    count++;
    if (at[length] == '\0') {
      break;
    }
    at += length + 1;
  }
  *ret_count = count;
  return ERR_OK;
}
