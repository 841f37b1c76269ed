#include "client/infer.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/check.h"
#include "client/options.h"
#include "client_library/clockwork_client.h"
#include "model/scores.h"
#include "model/status.h"
#include "os/arguments.h"
#include "os/file.h"
#include "os/log.h"
#include "os/signals.h"
#include "transport/connection.h"

static const char PROGRAM[] = "client";

enum {
  COPIES_MAX = 4096,
  COUNT_MAX = 1000000,
  CONCURRENCY_MAX = 1024,
  CONCURRENCY_DEFAULT = 64,
  INPUT_BYTES_MAX = 256 << 20,
  RETRY_MS = 250,
};

/* Batches round otherwise than single requests; more than this is another answer. */
#define TOLERANCE 1e-3F

struct infer {
  const char *model;
  const char *input_path;
  const char *output_path;
  struct address controller;
  uint64_t copies;
  uint64_t count;
  uint64_t concurrency; /* requests under way at once */
  double slo_ms;
  struct duration connect_timeout;

  uv_loop_t loop;
  uv_timer_t give_up;
  uv_timer_t again;
  struct signals signals;
  struct transport *transport;
  struct body_budget outputs;
  struct clockwork_client *client;

  char *input;
  size_t input_bytes;
  uint32_t ids[COPIES_MAX];
  uint32_t ids_count;
  uint64_t model_input_bytes;
  struct duration execute_one;
  uint64_t sent_count;
  uint64_t answered_count;
  uint64_t served_count;
  uint64_t different_count;
  int64_t slowest_ns;
  int64_t fastest_ns;
  unsigned char *first; /* the first answer's output; all others must be like it */
  uint32_t first_bytes;
  bool is_over;
  int exit_code;
};

bool client_wants_infer(int argc, char *const *argv) {
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "infer") == 0) {
      return i <= 2;
    }
  }
  return false;
}

static void end(struct infer *infer, int exit_code) {
  if (infer->is_over) {
    return;
  }
  infer->is_over = true;
  infer->exit_code = exit_code;
  clockwork_client_close(infer->client);
  transport_close(infer->transport);
  uv_close((uv_handle_t *)&infer->give_up, NULL);
  uv_close((uv_handle_t *)&infer->again, NULL);
  signals_finish(&infer->signals);
}

/* ---- requests -------------------------------------------------------------------------------- */

static void send_more(struct infer *infer);

/* As floats, which is what nearly all models answer; a first answer of another length is another.
 */
static bool is_like_first(const struct infer *infer, const struct body *output) {
  if (output->bytes != infer->first_bytes) {
    return false;
  }
  const uint32_t count = output->bytes / (uint32_t)sizeof(float);
  float largest = 0.0F;
  float difference = 0.0F;
  for (uint32_t i = 0; i < count; i++) {
    float a = 0.0F;
    float b = 0.0F;
    memcpy(&a, infer->first + i * sizeof(float), sizeof(a));
    memcpy(&b, output->data + i * sizeof(float), sizeof(b));
    largest = fmaxf(largest, fabsf(a));
    difference = fmaxf(difference, fabsf(a - b));
  }
  return difference <= largest * TOLERANCE;
}

static void take_output(struct infer *infer, const struct body *output) {
  if (infer->first != NULL) {
    infer->different_count += !is_like_first(infer, output);
    return;
  }
  infer->first = malloc(output->bytes + 1);
  CHECK(infer->first != NULL);
  memcpy(infer->first, output->data, output->bytes);
  infer->first_bytes = output->bytes;
}

static void print_top(const struct infer *infer) {
  struct scores scores;
  scores_read(infer->first, infer->first_bytes, &scores);
  if (scores.nans_count > 0) {
    log_warning("%" PRIu64 " of the answer's %" PRIu64 " scores are no numbers (NaN)",
                scores.nans_count, scores.classes);
  }
  for (uint32_t i = 0; i < scores.count; i++) {
    log_info("Top %u: class %" PRIu64 " (%g)", i + 1, scores.top[i].class_index,
             (double)scores.top[i].value);
  }
}

static void finish(struct infer *infer) {
  log_info(
      "%llu requests: %llu served, %llu answers unlike the first; execution predicted %.2f ms, "
      "in the controller %.2f to %.2f ms",
      (unsigned long long)infer->answered_count, (unsigned long long)infer->served_count,
      (unsigned long long)infer->different_count, (double)infer->execute_one.ns / 1e6,
      (double)infer->fastest_ns / 1e6, (double)infer->slowest_ns / 1e6);
  bool is_right = infer->served_count > 0 && infer->different_count == 0;
  if (infer->first != NULL) {
    print_top(infer);
    struct error_text error;
    if (infer->output_path != NULL && file_write_atomically(infer->output_path, infer->first,
                                                            infer->first_bytes, &error) != ERR_OK) {
      log_warning("%s", error.text);
      is_right = false;
    }
  }
  end(infer, is_right ? CLIENT_EXIT_OK : CLIENT_EXIT_FAILED);
}

static void on_inferred(void *user, const struct clockwork_inferred *answer) {
  struct infer *infer = user;
  if (infer->is_over) {
    return;
  }
  infer->answered_count++;
  if (answer->error == ERR_OK && answer->result == REQUEST_SUCCESS) {
    infer->served_count++;
    infer->slowest_ns =
        answer->within.ns > infer->slowest_ns ? answer->within.ns : infer->slowest_ns;
    infer->fastest_ns = infer->served_count == 1 || answer->within.ns < infer->fastest_ns
                            ? answer->within.ns
                            : infer->fastest_ns;
    if (answer->output != NULL) {
      take_output(infer, answer->output);
    }
  } else {
    log_warning("Request %llu: %s", (unsigned long long)infer->answered_count,
                answer->error != ERR_OK ? err_text(answer->error)
                                        : request_result_text((int)answer->result));
  }
  if (infer->answered_count == infer->count) {
    finish(infer);
  } else {
    send_more(infer);
  }
}

static void send_more(struct infer *infer) {
  while (infer->sent_count < infer->count &&
         infer->sent_count - infer->answered_count < infer->concurrency) {
    const struct clockwork_infer request = {
        .model_id = infer->ids[infer->sent_count % infer->ids_count],
        .slo_factor = infer->slo_ms * 1e6 / (double)infer->execute_one.ns,
        .input_bytes = (uint32_t)infer->input_bytes,
        .encoding = WIRE_RAW,
        .input = {.data = infer->input, .count_bytes = infer->input_bytes},
        .wants_output = true,
        .retry_within = duration_s(10),
        .on_inferred = on_inferred,
        .user = infer};
    if (clockwork_client_infer(infer->client, &request) != ERR_OK) {
      return;
    }
    infer->sent_count++;
  }
}

/* What has come by then is summed up; what is under way is left. */
static void on_signal(void *user, int signal_number) {
  struct infer *infer = user;
  if (infer->is_over) {
    return;
  }
  log_info("Signal %d: stopping, %llu requests under way", signal_number,
           (unsigned long long)(infer->sent_count - infer->answered_count));
  finish(infer);
}

/* ---- the model ------------------------------------------------------------------------------- */

static void begin_requests(struct infer *infer) {
  uv_timer_stop(&infer->give_up);
  if (infer->input != NULL && infer->input_bytes != infer->model_input_bytes) {
    log_usage_error(PROGRAM, "%s: has %zu bytes, the model's input has %llu", infer->input_path,
                    infer->input_bytes, (unsigned long long)infer->model_input_bytes);
    end(infer, CLIENT_EXIT_USAGE);
    return;
  }
  send_more(infer);
}

/* A controller that still waits for its workers says so; it is asked again. */
static void on_again(uv_timer_t *timer);

static void on_loaded(void *user, const struct clockwork_loaded *answer) {
  struct infer *infer = user;
  if (infer->is_over || answer->error != ERR_OK) {
    return; /* connecting again begins anew */
  }
  if (answer->result == REQUEST_INITIALIZING) {
    uv_timer_start(&infer->again, on_again, RETRY_MS, 0);
    return;
  }
  if (answer->result != REQUEST_SUCCESS) {
    log_warning("Model %s can't be loaded: %s", infer->model, answer->message);
    end(infer, CLIENT_EXIT_FAILED);
    return;
  }
  for (uint32_t i = 0; i < answer->copies && infer->ids_count < infer->copies; i++) {
    infer->ids[infer->ids_count++] = answer->first_model_id + i;
  }
  infer->model_input_bytes = answer->input_bytes;
  infer->execute_one = answer->execute_one;
  begin_requests(infer);
}

static const char *last_component(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash == NULL ? path : slash + 1;
}

static void on_model(void *user, const struct wire_list_entry *model) {
  struct infer *infer = user;
  if (strcmp(model->name, last_component(infer->model)) == 0 && infer->ids_count < infer->copies) {
    infer->ids[infer->ids_count++] = model->model_id;
    infer->model_input_bytes = model->input_bytes;
    infer->execute_one = duration_ns(model->execute_one_ns);
  }
}

static void ask_for_load(struct infer *infer) {
  if (clockwork_client_load(infer->client, infer->model, (uint32_t)infer->copies - infer->ids_count,
                            on_loaded, infer) != ERR_OK) {
    log_warning("The controller takes no request");
    end(infer, CLIENT_EXIT_FAILED);
  }
}

static void on_again(uv_timer_t *timer) {
  ask_for_load(timer->data);
}

static void on_listed(void *user, enum err error) {
  struct infer *infer = user;
  if (infer->is_over || error != ERR_OK) {
    return;
  }
  if (infer->ids_count == infer->copies) {
    begin_requests(infer);
    return;
  }
  ask_for_load(infer);
}

static void on_connected(void *owner) {
  struct infer *infer = owner;
  infer->ids_count = 0;
  if (clockwork_client_list(infer->client, on_model, on_listed, infer) != ERR_OK) {
    end(infer, CLIENT_EXIT_FAILED);
  }
}

static void on_disconnected(void *owner, const char *reason, uint32_t lost_count) {
  struct infer *infer = owner;
  if (!infer->is_over) {
    log_warning("Lost the controller at %s: %s; requests lost: %u", infer->controller.text, reason,
                lost_count);
    end(infer, CLIENT_EXIT_FAILED);
  }
}

static void on_give_up(uv_timer_t *timer) {
  struct infer *infer = timer->data;
  log_warning("No controller with this model at %s within %g s: start one, or give a longer "
              "--connect-timeout",
              infer->controller.text, (double)infer->connect_timeout.ns / 1e9);
  end(infer, CLIENT_EXIT_FAILED);
}

/* ---- the command line ------------------------------------------------------------------------ */

static void print_help(void) {
  printf(
      "Usage: client ADDRESS infer MODEL [options]\n"
      "MODEL is the path of a compiled model on the workers.\n"
      "  --input FILE          one request's inputs, raw and without gaps, in the order, types "
      "and\n"
      "                        shapes that check_model lists (default: the controller makes them)\n"
      "  --output FILE         where the answer's raw bytes go\n"
      "  --copies N            how many instances of it, at most %d (default 1)\n"
      "  --count N             how often it is asked, in turn over its instances (default 1)\n"
      "  --concurrency N       how many requests are under way at once (default %d)\n"
      "  --slo-ms MS           within what time (default 5000)\n"
      "  --connect-timeout S   how long to wait for controller and model (default %d)\n",
      COPIES_MAX, CONCURRENCY_DEFAULT, CLIENT_CONNECT_TIMEOUT_S);
}

static bool parse_number(const char *name, const char *text, double min, double max,
                         double *ret_number) {
  char *end = NULL;
  const double number = strtod(text, &end);
  if (end == text || *end != '\0' || !(number >= min && number <= max)) {
    log_usage_error(PROGRAM, "--%s: '%.40s' is no number from %g to %g", name, text, min, max);
    return false;
  }
  *ret_number = number;
  return true;
}

static bool parse(int argc, char *const *argv, struct infer *infer) {
  static const struct option OPTIONS[] = {{"input", required_argument, NULL, 'i'},
                                          {"output", required_argument, NULL, 'o'},
                                          {"copies", required_argument, NULL, 'c'},
                                          {"count", required_argument, NULL, 'n'},
                                          {"slo-ms", required_argument, NULL, 's'},
                                          {"connect-timeout", required_argument, NULL, 't'},
                                          {"help", no_argument, NULL, 'h'},
                                          {"concurrency", required_argument, NULL, 'w'},
                                          {NULL, 0, NULL, 0}};
  double copies = 1;
  double count = 1;
  double concurrency = CONCURRENCY_DEFAULT;
  double timeout_s = CLIENT_CONNECT_TIMEOUT_S;
  bool is_right = true;
  int option = 0;
  infer->slo_ms = 5000;
  infer->exit_code = CLIENT_EXIT_USAGE;
  opterr = 0;
  optind = 0;
  while (is_right && (option = arguments_next(argc, argv, ":h", OPTIONS)) != -1) {
    switch (option) {
    case 'i':
      infer->input_path = optarg;
      break;
    case 'o':
      infer->output_path = optarg;
      break;
    case 'c':
      is_right = parse_number("copies", optarg, 1, COPIES_MAX, &copies);
      break;
    case 'n':
      is_right = parse_number("count", optarg, 1, COUNT_MAX, &count);
      break;
    case 'w':
      is_right = parse_number("concurrency", optarg, 1, CONCURRENCY_MAX, &concurrency);
      break;
    case 's':
      is_right = parse_number("slo-ms", optarg, 0.001, 1e9, &infer->slo_ms);
      break;
    case 't':
      is_right = parse_number("connect-timeout", optarg, 0, 1e6, &timeout_s);
      break;
    case 'h':
      print_help();
      infer->exit_code = CLIENT_EXIT_OK;
      return false;
    default:
      log_usage_error(PROGRAM, "infer: '%.60s': %s; see client ADDRESS infer -h", argv[optind - 1],
                      option == ':' ? "needs a value" : "unknown option");
      return false;
    }
  }
  if (!is_right) {
    return false;
  }
  if (argc - optind != 3 || strlen(argv[optind + 2]) >= MODEL_PATH_BYTES ||
      argv[optind + 2][0] == '\0') {
    log_usage_error(PROGRAM, "infer: give the controller's address, 'infer', and one model's path");
    return false;
  }
  infer->copies = (uint64_t)copies;
  infer->count = (uint64_t)count;
  infer->concurrency = (uint64_t)concurrency;
  infer->connect_timeout = duration_ns((int64_t)(timeout_s * 1e9));
  infer->model = argv[optind + 2];
  struct error_text error;
  if (address_parse(argv[optind], CLIENT_CONTROLLER_PORT, &infer->controller, &error) != ERR_OK ||
      (infer->input_path != NULL && file_read(infer->input_path, INPUT_BYTES_MAX, &infer->input,
                                              &infer->input_bytes, &error) != ERR_OK)) {
    log_usage_error(PROGRAM, "%s", error.text);
    return false;
  }
  return true;
}

static void run(struct infer *infer) {
  CHECK_EQ(uv_loop_init(&infer->loop), 0);
  CHECK_EQ(uv_timer_init(&infer->loop, &infer->give_up), 0);
  CHECK_EQ(uv_timer_init(&infer->loop, &infer->again), 0);
  infer->give_up.data = infer;
  infer->again.data = infer;
  body_budget_init(&infer->outputs, INPUT_BYTES_MAX);
  infer->transport = transport_create(&infer->loop);
  const struct clockwork_client_options options = {.on_connected = on_connected,
                                                   .on_disconnected = on_disconnected,
                                                   .owner = infer,
                                                   .calls_max = (uint32_t)infer->concurrency + 8,
                                                   .queue_bytes_max = (size_t)INPUT_BYTES_MAX * 2,
                                                   .outputs = &infer->outputs};
  if (infer->transport != NULL) {
    infer->client =
        clockwork_client_create(&infer->loop, infer->transport, &infer->controller, &options);
  }
  if (signals_init(&infer->signals, &infer->loop, on_signal, infer) != ERR_OK ||
      infer->client == NULL) {
    log_warning("The machine gives no memory or no file descriptors for a client");
    end(infer, CLIENT_EXIT_FAILED);
  } else {
    const uint64_t ms = (uint64_t)(infer->connect_timeout.ns / NS_PER_MS);
    uv_timer_start(&infer->give_up, on_give_up, ms, 0);
  }
  uv_run(&infer->loop, UV_RUN_DEFAULT);
  clockwork_client_destroy(infer->client);
  transport_destroy(infer->transport);
  body_budget_finish(&infer->outputs);
  CHECK_EQ(uv_loop_close(&infer->loop), 0);
}

int client_infer(int argc, char *const *argv) {
  struct infer *infer = calloc(1, sizeof(*infer));
  CHECK(infer != NULL);
  if (parse(argc, argv, infer)) {
    run(infer);
  }
  const int exit_code = infer->exit_code;
  free(infer->first);
  free(infer->input);
  free(infer);
  return exit_code;
}
