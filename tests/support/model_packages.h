/* Two small model packages for tests of backends that run models: written from plans made here, so
 * that these tests need no compiler.
 *
 * "wide": an image (3, 32, 32) through a convolution with bias and ReLU, a pooling, and two
 * products with bias, to 100 numbers; two pages of weights; batch sizes 1, 2, 4, 8. "narrow": 256
 * numbers through a product with bias and a softmax to 1,000; one page; batch sizes 1, 4, 16.
 * Single precision throughout, weights from a seed.
 */
#ifndef CLOCKWORK_TESTS_SUPPORT_MODEL_PACKAGES_H
#define CLOCKWORK_TESTS_SUPPORT_MODEL_PACKAGES_H

#include <stdbool.h>

enum { TEST_PACKAGE_PATH_BYTES = 128 };

struct test_packages {
  char folder[TEST_PACKAGE_PATH_BYTES / 2];
  char paths[2][TEST_PACKAGE_PATH_BYTES]; /* wide, narrow */
};

/* Into a new folder under TMPDIR. Aborts if the machine has no room for them. */
void test_packages_create(struct test_packages *packages);

/* Removes the folder and what was written into it, a backend's own files too. */
void test_packages_remove(struct test_packages *packages);

#endif
