#include "os/address.h"

#include <netdb.h>
#include <netinet/in.h>
#include <string.h>

#include "support/cmocka.h"

static void expect(const char *text, const char *numeric) {
  struct address address;
  assert_int_equal(address_parse(text, 12345, &address, NULL), ERR_OK);
  assert_string_equal(address.text, numeric);
}

static void addresses_are_understood(void **state) {
  (void)state;
  expect("127.0.0.1:80", "127.0.0.1:80");
  expect("10.1.2.3", "10.1.2.3:12345");
  expect("[::1]:99", "[::1]:99");
  expect("[::1]", "[::1]:12345");
  expect("::1", "[::1]:12345");
  expect("fe80::1:2", "[fe80::1:2]:12345");
  expect(":7", "0.0.0.0:7");
  expect("*:7", "0.0.0.0:7");
  expect("*", "0.0.0.0:12345");
  expect("1.2.3.4:0", "1.2.3.4:0");
  expect("1.2.3.4:65535", "1.2.3.4:65535");
}

/* A bare container may have no names at all: then there is nothing to resolve. */
static void names_are_resolved(void **state) {
  (void)state;
  struct addrinfo *found = NULL;
  if (getaddrinfo("localhost", NULL, NULL, &found) != 0) {
    print_message("skipped: this machine can't resolve localhost (no /etc/hosts)\n");
    skip();
  }
  freeaddrinfo(found);
  expect("localhost:5", "127.0.0.1:5");
}

static void the_kernel_gets_the_same(void **state) {
  (void)state;
  struct address address;
  assert_int_equal(address_parse("1.2.3.4:258", 0, &address, NULL), ERR_OK);
  struct sockaddr_in four;
  memcpy(&four, &address.socket, sizeof(four));
  assert_int_equal(four.sin_family, AF_INET);
  assert_int_equal(ntohs(four.sin_port), 258);
  assert_int_equal(ntohl(four.sin_addr.s_addr), 0x01020304);
  assert_int_equal(address.port, 258);
  const struct sockaddr other = {.sa_family = AF_UNIX};
  assert_int_equal(address_from_socket(&other, &address), ERR_UNSUPPORTED);
}

static void nonsense_is_named(void **state) {
  (void)state;
  static const char *const BAD[] = {
      "",       "a:",     "a:b",   "a:65536",    "a:-1",    "a:1x",     "a: 1", "[::1",
      "[::1]x", "[::1]:", "a b:1", "http://x:1", "a:1,b:2", "a:123456", "[]",   "a:+5"};
  for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++) {
    struct address address = {.port = 77};
    struct error_text error;
    assert_int_equal(address_parse(BAD[i], 1, &address, &error), ERR_MALFORMED);
    assert_non_null(strstr(error.text, BAD[i]));
    assert_non_null(strstr(error.text, "expected host:port"));
    assert_int_equal(address.port, 77);
  }
  char long_text[1000];
  memset(long_text, 'a', sizeof(long_text) - 1);
  long_text[sizeof(long_text) - 1] = '\0';
  struct address address;
  assert_int_equal(address_parse(long_text, 1, &address, NULL), ERR_MALFORMED);
}

static void a_name_that_is_none_is_not_found(void **state) {
  (void)state;
  struct address address;
  struct error_text error;
  /* A label of 64 characters is no DNS name: no resolver has to be asked. */
  const char *name = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.invalid:1";
  assert_int_equal(address_parse(name, 1, &address, &error), ERR_NOT_FOUND);
  assert_non_null(strstr(error.text, "cannot find host"));
}

static void lists_are_split(void **state) {
  (void)state;
  struct address addresses[3];
  size_t count = 99;
  struct error_text error;
  assert_int_equal(
      address_parse_list("127.0.0.1,127.0.0.2:7,[::1]:8", 5, 3, addresses, &count, NULL), ERR_OK);
  assert_int_equal(count, 3);
  assert_string_equal(addresses[0].text, "127.0.0.1:5");
  assert_string_equal(addresses[1].text, "127.0.0.2:7");
  assert_string_equal(addresses[2].text, "[::1]:8");
  assert_int_equal(address_parse_list("127.0.0.1", 5, 3, addresses, &count, NULL), ERR_OK);
  assert_int_equal(count, 1);
  assert_int_equal(
      address_parse_list("1.1.1.1,1.1.1.2,1.1.1.3,1.1.1.4", 5, 3, addresses, &count, &error),
      ERR_FULL);
  assert_non_null(strstr(error.text, "more than 3"));
  static const char *const BAD[] = {"", ",", "1.1.1.1,", ",1.1.1.1", "1.1.1.1,,1.1.1.2"};
  for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++) {
    assert_int_equal(address_parse_list(BAD[i], 5, 3, addresses, &count, &error), ERR_MALFORMED);
    assert_non_null(strstr(error.text, "is empty"));
  }
  assert_int_equal(address_parse_list("1.1.1.1,x:y", 5, 3, addresses, &count, &error),
                   ERR_MALFORMED);
  assert_non_null(strstr(error.text, "\"x:y\""));
  assert_int_equal(count, 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(addresses_are_understood),         cmocka_unit_test(names_are_resolved),
      cmocka_unit_test(the_kernel_gets_the_same),         cmocka_unit_test(nonsense_is_named),
      cmocka_unit_test(a_name_that_is_none_is_not_found), cmocka_unit_test(lists_are_split),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
