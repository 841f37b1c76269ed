/* What no scheduler could beat: an upper bound on the requests that were served in time.
 *
 * Guarantee: given the requests that arrived in some span of time, with arrival and deadline of
 * each, and the GPU time there was for them, bound_served() is never below the number that any
 * schedule of batches serves by their deadlines, whether it knew the future or not. It reckons with
 *  - batching: a batch starts after the last arrival of its requests and ends before the first of
 *    their deadlines, runs as long as its size takes, and holds requests of one model;
 *  - work conservation: all executions together take no more GPU time than there is.
 * It leaves out, so all of these are free here: that a batch runs on one GPU at one moment (GPU
 * time is one fluid), LOADs (links at full rate move a GPU's whole memory several times within a
 * minute) and memory, the network, inputs and outputs, idle gaps, not knowing what comes.
 *
 * Why it is one. Let p >= 0 be a price for GPU time. Of any schedule,
 *   served <= served - p * (GPU time used) + p * (GPU time there is)
 *          <= p * (GPU time there is) + sum over models of V(p),
 * V(p) being the most that one model's requests are worth: over all sets of batches, requests
 * served less p times their execution time. This holds for every p; the least over p is returned
 * (the Lagrangian dual, a convex function of p).
 *
 * V(p) by dynamic programming over the model's requests in order of arrival. Deadlines are taken to
 * be in the same order; one that is earlier than an earlier request's is put off to it, which only
 * raises the bound. If two batches overlap in that order and neither lies within a gap of the
 * other, the elements of both can be exchanged so that one comes wholly before the other, both
 * still in time; the same if the inner one is the smaller. So batches are consecutive runs, but for
 * larger ones (which must start sooner before their deadlines) within the gap of a smaller one.
 * Such a family, n requests within the reach of its outermost batch of size b, is taken as a run of
 * n that costs execute(b) and, for the other n - b, the least that larger batches cost a request. A
 * batch may be padded: requests of it that are late, or belong to another span, don't count, and
 * cost.
 *
 * Requests of a longer time are bounded span by span: those that arrived in [a, b) can only use the
 * GPU time of [a, b + the longest SLO), so spans overlap by one SLO, counted in both.
 *
 * Pure. Cost of bound_served(): O(prices x requests x batch sizes), and more for requests with many
 * others within the difference of two execution times.
 */
#ifndef CLOCKWORK_BOUND_BOUND_H
#define CLOCKWORK_BOUND_BOUND_H

#include <stddef.h>
#include <stdint.h>

#include "base/time.h"
#include "model/model.h"

/* Batch sizes of a model, and the least GPU time that a batch of up to that size takes. */
struct bound_batches {
  uint32_t kinds;
  uint32_t sizes[MODEL_BATCH_KINDS];     /* rising */
  int64_t execute_ns[MODEL_BATCH_KINDS]; /* not falling */
};

struct bound_request {
  int64_t arrived_ns;
  int64_t deadline_ns; /* from the same origin */
};

/* One model's requests, in order of arrival (CHECK). */
struct bound_model {
  const struct bound_batches *batches;
  const struct bound_request *requests;
  size_t requests_count;
};

/* What the scheduler would use of a model: batch sizes up to `max_batch` that take at most
 * `max_exec`, and always the first. Executions may be shorter than in the profile by up to
 * `shorter_ppm` millionths (noise). */
void bound_batches_init(struct bound_batches *batches, const struct model_spec *spec,
                        struct duration max_exec, uint32_t max_batch, uint32_t shorter_ppm);

/* Doubles that bound_served() needs as `scratch`, for at most so many requests of one model. */
size_t bound_scratch_count(size_t requests_max);

/* Requests served in time, at most, with that much GPU time of all GPUs together. */
double bound_served(const struct bound_model *models, size_t models_count, struct duration gpu_time,
                    double *scratch);

/* Requests of this model that a GPU can serve in a second if there are always enough of them: the
 * best batch size that ends within `slo`. The bound of closed loops, whose requests depend on the
 * answers. */
double bound_rate_per_gpu(const struct bound_batches *batches, struct duration slo);

#endif
