/* "host:port" in text and as the kernel wants it.
 *
 * Accepted: "host:port", "host" (default port), "1.2.3.4:5", "[::1]:5", "::1" (default port), and
 * ":5" or "*:5" for all IPv4 interfaces (listening). Names are resolved once, here; IPv4 answers
 * are preferred, because the cluster scripts of users write IPv4 addresses into their host files.
 *
 * Thread: any. Cost: a name may ask the network and block for seconds: at start only.
 */
#ifndef CLOCKWORK_OS_ADDRESS_H
#define CLOCKWORK_OS_ADDRESS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/error.h"
#include "os/error_text.h"

struct address {
  struct sockaddr_storage socket; /* AF_INET or AF_INET6 */
  char text[64];                  /* numeric, with port: "127.0.0.1:12345", "[::1]:12345" */
  uint16_t port;
};

/* ERR_MALFORMED: the text is no address (bad port, empty, stray characters); ERR_NOT_FOUND: the
 * name does not resolve. `ret_error` (may be NULL) names the text and what was expected. */
MUST_USE enum err address_parse(const char *text, uint16_t default_port,
                                struct address *ret_address, struct error_text *ret_error);

/* Comma-separated; at least one, empty items are malformed. ERR_FULL: more than `capacity`. */
MUST_USE enum err address_parse_list(const char *text, uint16_t default_port, size_t capacity,
                                     struct address *ret_addresses, size_t *ret_count,
                                     struct error_text *ret_error);

/* From what accept() or getsockname() gave. ERR_UNSUPPORTED: neither IPv4 nor IPv6. */
MUST_USE enum err address_from_socket(const struct sockaddr *socket, struct address *ret_address);

#endif
