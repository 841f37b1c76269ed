/* Outcomes as data: what became of a request, and of an action. The numbers are a contract with the
 * telemetry files and with clients of the published system.
 */
#ifndef CLOCKWORK_MODEL_STATUS_H
#define CLOCKWORK_MODEL_STATUS_H

/* The answer to a client's request. */
#define REQUEST_RESULT_MAP(X)                                                                      \
  X(REQUEST_SUCCESS, 0, "success")                                                                 \
  X(REQUEST_ERROR, 1, "error")                                                                     \
  X(REQUEST_TIMEOUT, 4, "timed out")                                                               \
  X(REQUEST_INITIALIZING, 5, "initializing, try again")                                            \
  X(REQUEST_INVALID, 6, "invalid request")                                                         \
  X(REQUEST_SKIPPED, 7, "skipped by the controller")                                               \
  X(REQUEST_CANNOT_START, 8, "the controller could not start it in time")

enum request_result {
#define REQUEST_RESULT_ENUM_(name, code, text) name = code,
  REQUEST_RESULT_MAP(REQUEST_RESULT_ENUM_)
#undef REQUEST_RESULT_ENUM_
};

/* The result of an action on a worker. */
#define ACTION_STATUS_MAP(X)                                                                       \
  X(ACTION_SUCCESS, 0, "success")                                                                  \
  X(ACTION_CANCELLED, 1, "cancelled")                                                              \
  X(ACTION_RUNTIME_ERROR, 2, "runtime error")                                                      \
  X(ACTION_SHUTTING_DOWN, 3, "shutting down")                                                      \
  X(ACTION_UNKNOWN_MODEL, 10, "unknown model")                                                     \
  X(ACTION_COULD_NOT_START, 11, "could not start in time")                                         \
  X(ACTION_INVALID, 12, "invalid action")                                                          \
  X(ACTION_INVALID_GPU, 13, "invalid GPU")                                                         \
  X(ACTION_GPU_LOST, 14, "GPU lost")                                                               \
  X(ACTION_WEIGHTS_NOT_PRESENT, 20, "weights not present")                                         \
  X(ACTION_WEIGHTS_ALREADY_LOADED, 21, "weights already loaded")                                   \
  X(ACTION_WEIGHTS_IN_USE, 22, "weights in use")                                                   \
  X(ACTION_WEIGHTS_CHANGED, 23, "weights changed while executing")                                 \
  X(ACTION_INVALID_INPUT, 30, "invalid input")                                                     \
  X(ACTION_INVALID_BATCH_SIZE, 31, "invalid batch size")                                           \
  X(ACTION_INVALID_MODEL_ID, 40, "invalid model id")                                               \
  X(ACTION_INVALID_MODEL_PATH, 41, "invalid model path")                                           \
  X(ACTION_COULD_NOT_SEND, 45, "the controller could not send it in time")                         \
  X(ACTION_LOAD_TOO_EARLY, 50, "load weights: too early")                                          \
  X(ACTION_LOAD_TOO_LATE, 51, "load weights: too late")                                            \
  X(ACTION_LOAD_UNKNOWN_MODEL, 52, "load weights: unknown model")                                  \
  X(ACTION_LOAD_INSUFFICIENT_CACHE, 53, "load weights: insufficient cache")                        \
  X(ACTION_LOAD_CONCURRENT_CHANGE, 54, "load weights: concurrent change")                          \
  X(ACTION_EVICT_TOO_EARLY, 60, "evict weights: too early")                                        \
  X(ACTION_EVICT_TOO_LATE, 61, "evict weights: too late")                                          \
  X(ACTION_EVICT_UNKNOWN_MODEL, 62, "evict weights: unknown model")                                \
  X(ACTION_EVICT_NOT_IN_CACHE, 63, "evict weights: not in cache")                                  \
  X(ACTION_INPUT_TOO_EARLY, 70, "copy input: too early")                                           \
  X(ACTION_INPUT_TOO_LATE, 71, "copy input: too late")                                             \
  X(ACTION_INPUT_UNKNOWN_MODEL, 72, "copy input: unknown model")                                   \
  X(ACTION_INPUT_BATCH_SIZE, 73, "copy input: batch size")                                         \
  X(ACTION_INPUT_HOST_MEMORY, 74, "copy input: host memory exhausted")                             \
  X(ACTION_INPUT_INVALID, 75, "copy input: invalid input")                                         \
  X(ACTION_INPUT_IO_POOL, 76, "copy input: IO pool exhausted")                                     \
  X(ACTION_INPUT_BAD_SIZES, 77, "copy input: bad sizes")                                           \
  X(ACTION_INPUT_BAD_DECOMPRESSION, 78, "copy input: bad decompression")                           \
  X(ACTION_EXECUTE_TOO_EARLY, 80, "execute: too early")                                            \
  X(ACTION_EXECUTE_TOO_LATE, 81, "execute: too late")                                              \
  X(ACTION_EXECUTE_WEIGHTS_MISSING, 82, "execute: weights missing")                                \
  X(ACTION_EXECUTE_WORKSPACE, 83, "execute: workspace exhausted")                                  \
  X(ACTION_EXECUTE_WEIGHTS_CHANGED, 84, "execute: weights changed")                                \
  X(ACTION_OUTPUT_TOO_EARLY, 90, "copy output: too early")                                         \
  X(ACTION_OUTPUT_TOO_LATE, 91, "copy output: too late")                                           \
  X(ACTION_OUTPUT_HOST_MEMORY, 92, "copy output: host memory exhausted")

enum action_status {
#define ACTION_STATUS_ENUM_(name, code, text) name = code,
  ACTION_STATUS_MAP(ACTION_STATUS_ENUM_)
#undef ACTION_STATUS_ENUM_
};

/* What an action does. The first three numbers stand in clockwork_action_log.tsv. */
enum action_type {
  ACTION_LOAD = 1,
  ACTION_INFER = 2,
  ACTION_EVICT = 3,
};

/* Short English texts, never NULL, static storage; any int is allowed. */
const char *request_result_text(int result);
const char *action_status_text(int status);

#endif
