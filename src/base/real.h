/* Logarithm, exponential and cosine, the same to the last bit on every machine.
 *
 * A C library's own are within an ulp or two of the truth, but which one differs from library to
 * library and release to release, and a simulated run would differ with it. These use additions,
 * multiplications and divisions only, which IEEE 754 rounds in one way (the build switches
 * contraction off). Errors stay below 1e-15 of the result; of a logarithm near 0, and of sine and
 * cosine, below 1e-15.
 *
 * Thread: any. Cost: 5 to 15 ns.
 */
#ifndef CLOCKWORK_BASE_REAL_H
#define CLOCKWORK_BASE_REAL_H

/* Natural logarithm of a normal number above 0 (CHECK). */
double real_log(double x);

/* e to the power of x. 0 below -700, CHECK that x <= 700. */
double real_exp(double x);

/* x to the power of y, by the two above: errors grow with |y log x|. x >= 0, y > 0 where x is 0. */
double real_pow(double x, double y);

/* Cosine and sine of `turns` full circles, 0 <= turns < 2^52 (CHECK). */
double real_cos_turns(double turns);
double real_sin_turns(double turns);

#endif
