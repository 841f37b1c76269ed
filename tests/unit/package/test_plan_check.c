#include "package/plan.h"

#include <math.h>
#include <stdlib.h>

#include "support/cmocka.h"
#include "support/memory.h"
#include "support/small_plan.h"

static bool check(const struct plan *plan, struct plan_fault *ret_fault) {
  void *scratch = test_memory_take(plan_check_bytes(plan));
  const bool is_good = plan_check(plan, scratch, ret_fault);
  free(scratch);
  return is_good;
}

static void accepts_the_small_plan(void **state) {
  (void)state;
  struct small_plan small;
  struct plan_fault fault = {.text = ""};
  small_plan_init(&small);
  if (!check(&small.plan, &fault)) {
    fail_msg("batch %u, operation %u: %s", fault.batch_size, fault.op, fault.text);
  }
}

/* Each spoils one thing, in batch size 2 where it is one of a batch. */
#define SPOIL(name, ...)                                                                           \
  static void name(struct small_plan *small) {                                                     \
    struct small_batch *two = &small->batches[1];                                                  \
    (void)two;                                                                                     \
    __VA_ARGS__;                                                                                   \
  }
SPOIL(no_name, small->plan.name[0] = '\0')
SPOIL(name_with_newline, small->plan.name[1] = '\n')
SPOIL(name_without_end, memset(small->plan.name, 'a', sizeof(small->plan.name)))
SPOIL(odd_precision, small->plan.precision = (enum plan_precision)9)
SPOIL(no_weights, small->plan.weights_bytes = 0)
SPOIL(odd_weights, small->plan.weights_bytes = 1281)
SPOIL(no_batches, small->plan.batch_kinds = 0)
SPOIL(batches_fall, small->heads[1].batch_size = 1)
SPOIL(no_inputs, small->plan.inputs_count = 0)
SPOIL(request_of_other_size, small->plan.input_bytes = 196)
SPOIL(port_of_other_size, small->x.bytes_per_request = 188)
SPOIL(huge_port, small->x.dims[0] = UINT32_MAX)
SPOIL(unbatched_port, small->y.batched = false)
SPOIL(no_ops, small->heads[1].ops_count = 0)
SPOIL(buffer_outside, two->buffers[SMALL_BUFFER_IMAGE].offset_bytes = 1024)
SPOIL(buffer_wraps, two->buffers[SMALL_BUFFER_IMAGE].offset_bytes = UINT64_MAX - 255)
SPOIL(buffer_not_aligned, two->buffers[SMALL_BUFFER_BIAS].offset_bytes = 516)
SPOIL(buffer_of_nowhere, two->buffers[SMALL_BUFFER_BIAS].place = (enum plan_place)7)
SPOIL(buffer_dies_unborn, two->buffers[SMALL_BUFFER_IMAGE].last_op = 0)
SPOIL(buffers_overlap, two->buffers[SMALL_BUFFER_LOGITS].offset_bytes = 512)
SPOIL(buffer_dies_early, two->buffers[SMALL_BUFFER_PIXELS].last_op = SMALL_OP_TURN)
SPOIL(tensor_of_no_type, two->tensors[SMALL_BIAS].type = (enum plan_type)99)
SPOIL(tensor_of_rank_9, two->tensors[SMALL_BIAS].rank = 9)
SPOIL(tensor_with_dim_0, two->tensors[SMALL_X].dims[1] = 0)
SPOIL(tensor_with_odd_layout, two->tensors[SMALL_X].layout = (enum plan_layout)3)
SPOIL(tensor_with_small_pitch, two->tensors[SMALL_LOW].pitch = 3)
SPOIL(tensor_outside, two->tensors[SMALL_HIGH].offset_bytes = 1024 - 12)
SPOIL(tensor_overflows, two->tensors[SMALL_LOW].pitch = UINT32_MAX)
SPOIL(tensor_between_elements, two->tensors[SMALL_FLAT].offset_bytes = 2)
SPOIL(tensor_of_no_buffer, two->tensors[SMALL_X].buffer = SMALL_BUFFERS)
SPOIL(port_is_no_tensor, two->x = SMALL_TENSORS)
SPOIL(port_elsewhere, two->y = SMALL_LOGITS)
SPOIL(unknown_op, two->ops[SMALL_OP_CONV].kind = PLAN_OPS_END)
SPOIL(op_with_odd_name, memset(two->ops[0].name, 'a', PLAN_NAME_BYTES))
SPOIL(op_lacks_input, two->ops[SMALL_OP_CONV].inputs_count = 1)
SPOIL(op_lacks_needed_input, two->inputs[SMALL_OP_CONV][1] = PLAN_NONE)
SPOIL(op_reads_no_tensor, two->inputs[SMALL_OP_CONV][2] = SMALL_TENSORS)
SPOIL(op_without_output, two->outputs[SMALL_OP_CONV][0] = PLAN_NONE)
SPOIL(types_differ, two->tensors[SMALL_BIAS].type = PLAN_I32)
SPOIL(conv_without_groups, two->ops[SMALL_OP_CONV].conv.groups = 0)
SPOIL(conv_with_odd_groups, two->ops[SMALL_OP_CONV].conv.groups = 2)
SPOIL(conv_of_other_axes, two->ops[SMALL_OP_CONV].conv.spatial = 3)
SPOIL(conv_without_stride, two->ops[SMALL_OP_CONV].conv.strides[0] = 0)
SPOIL(conv_with_wide_stride, two->ops[SMALL_OP_CONV].conv.strides[1] = 2)
SPOIL(conv_with_huge_pad, two->ops[SMALL_OP_CONV].conv.pads_before[0] = UINT32_MAX)
SPOIL(conv_act_unknown, two->ops[SMALL_OP_CONV].conv.activation.kind = PLAN_ACTS_END)
SPOIL(conv_act_nan, two->ops[SMALL_OP_CONV].conv.activation.alpha = NAN)
SPOIL(step_unknown, two->steps[SMALL_OP_TURN].scalar = PLAN_SCALARS_END)
SPOIL(step_of_other_type, two->steps[SMALL_OP_TURN].type = PLAN_I32)
SPOIL(step_lacks_operand, two->steps[SMALL_OP_DOUBLE].b.kind = PLAN_OPERAND_NONE)
SPOIL(step_takes_too_much, two->steps[SMALL_OP_TURN].b.kind = PLAN_OPERAND_NUMBER)
SPOIL(step_of_no_input, two->steps[SMALL_OP_TURN].a.index = 1)
SPOIL(step_takes_itself, two->steps[SMALL_OP_TURN].a.kind = PLAN_OPERAND_STEP)
SPOIL(step_gives_bool, two->steps[SMALL_OP_DOUBLE].scalar = PLAN_S_LESS)
SPOIL(no_steps, two->ops[SMALL_OP_TURN].pointwise.steps_count = 0)
SPOIL(no_broadcast, two->tensors[SMALL_HIGH].dims[1] = 2)
SPOIL(reduces_other_axes, two->ops[SMALL_OP_MEAN].reduce.axes = 4)
SPOIL(reduces_axis_of_none, two->ops[SMALL_OP_MEAN].reduce.axes = 16 + 12)
SPOIL(matmul_turned, two->ops[SMALL_OP_MATMUL].matmul.transpose_b = true)
SPOIL(softmax_of_axis_2, two->ops[SMALL_OP_SOFTMAX].softmax.axis = 2)
SPOIL(reads_unwritten, two->inputs[SMALL_OP_DOUBLE][0] = SMALL_HIGH)
SPOIL(writes_input, two->outputs[SMALL_OP_TURN][0] = SMALL_X)
SPOIL(conv_over_its_input, two->inputs[SMALL_OP_CONV][0] = SMALL_LOW;
      two->tensors[SMALL_LOW].dims[1] = 3)
SPOIL(shares_shifted, two->tensors[SMALL_HIGH].offset_bytes = 4)
SPOIL(output_never_written, two->outputs[SMALL_OP_COPY][0] = SMALL_LOGITS)
#undef SPOIL

static const struct {
  void (*spoil)(struct small_plan *small);
  const char *says;
} CASES[] = {
    {no_name, "no proper name"},
    {name_with_newline, "no proper name"},
    {name_without_end, "no proper name"},
    {odd_precision, "precision 9"},
    {no_weights, "0 bytes of weights"},
    {odd_weights, "1281 bytes of weights"},
    {no_batches, "0 batch sizes"},
    {batches_fall, "batch size 1 in position 1"},
    {no_inputs, "0 inputs"},
    {request_of_other_size, "say 196 bytes; their sum is 192"},
    {port_of_other_size, "says 188 bytes a request; its shape has 192"},
    {huge_port, "larger than 4 GiB"},
    {unbatched_port, "output y has no batch axis"},
    {no_ops, "0 operations"},
    {buffer_outside, "buffer 7 of 1024 bytes does not lie within its place of 1536"},
    {buffer_wraps, "buffer 7 of 1024 bytes does not lie within its place"},
    {buffer_not_aligned, "byte 516, not at a multiple of 256"},
    {buffer_of_nowhere, "unknown place 7"},
    {buffer_dies_unborn, "lives from operation 1 to 0"},
    {buffers_overlap, "share bytes and live at the same time"},
    {buffer_dies_early, "which nothing has written"},
    {tensor_of_no_type, "unknown type 99"},
    {tensor_of_rank_9, "rank 9"},
    {tensor_with_dim_0, "has 0 as dim 1"},
    {tensor_with_odd_layout, "layout 3"},
    {tensor_with_small_pitch, "pitch of 3"},
    {tensor_outside, "tensor 8 does not lie within its buffer of 1024"},
    {tensor_overflows, "tensor 7 does not lie within its buffer"},
    {tensor_between_elements, "begins at byte 2"},
    {tensor_of_no_buffer, "buffer 9 of 9"},
    {port_is_no_tensor, "port x is tensor 13 of 13"},
    {port_elsewhere, "is not what port y says"},
    {unknown_op, "unknown operation 27"},
    {op_with_odd_name, "no proper text"},
    {op_lacks_input, "conv with 1 inputs"},
    {op_lacks_needed_input, "input 1 is tensor 4294967295"},
    {op_reads_no_tensor, "input 2 is tensor 13 of 13"},
    {op_without_output, "conv without an output"},
    {types_differ, "float32 and int32"},
    {conv_without_groups, "0 groups"},
    {conv_with_odd_groups, "3 channels in 2 groups"},
    {conv_of_other_axes, "over 3 axes"},
    {conv_without_stride, "stride 0"},
    {conv_with_wide_stride, "spatial axis 1 of 4, padded 6, gives 4"},
    {conv_with_huge_pad, "padding 4294967295"},
    {conv_act_unknown, "activation 12"},
    {conv_act_nan, "no number"},
    {step_unknown, "unknown function 59"},
    {step_of_other_type, "takes float32 where it needs int32"},
    {step_lacks_operand, "lacks an operand"},
    {step_takes_too_much, "takes 1 operands"},
    {step_of_no_input, "takes input 1 of 1"},
    {step_takes_itself, "takes the value of step 0"},
    {step_gives_bool, "gives bool"},
    {no_steps, "0 steps"},
    {no_broadcast, "is 4, which does not broadcast to 2"},
    {reduces_other_axes, "axis 3 of 4 becomes 1"},
    {reduces_axis_of_none, "over the axes 28"},
    {matmul_turned, "matmul of (2, 8) and (5, 8)"},
    {softmax_of_axis_2, "axis 2 of rank 2"},
    {reads_unwritten, "which nothing has written"},
    {writes_input, "writes tensor 0, whose buffer is read-only"},
    {conv_over_its_input, ""},
    {shares_shifted, "shares bytes with input tensor 7"},
    {output_never_written, "nothing writes output y"},
};

static void refuses_each_spoilt_plan(void **state) {
  (void)state;
  int wrong = 0;
  for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
    struct small_plan small;
    struct plan_fault fault = {.text = ""};
    small_plan_init(&small);
    CASES[i].spoil(&small);
    if (check(&small.plan, &fault) || strstr(fault.text, CASES[i].says) == NULL) {
      print_error("case %zu (%s): said '%s'\n", i, CASES[i].says, fault.text);
      wrong++;
    }
  }
  assert_int_equal(wrong, 0);
}

static void names_batch_and_operation(void **state) {
  (void)state;
  struct small_plan small;
  struct plan_fault fault = {.text = ""};
  small_plan_init(&small);
  small.batches[1].ops[SMALL_OP_CONV].conv.groups = 0;
  assert_false(check(&small.plan, &fault));
  assert_int_equal(fault.batch_size, 2);
  assert_int_equal(fault.op, SMALL_OP_CONV);
}

static void lets_outputs_take_the_place_of_inputs_where_a_kind_allows_it(void **state) {
  (void)state;
  struct small_plan small;
  struct plan_fault fault = {.text = ""};
  small_plan_init(&small);
  small.batches[0].outputs[SMALL_OP_DOUBLE][0] = SMALL_LOW; /* in place: allowed ... */
  assert_false(check(&small.plan, &fault)); /* ... but then nothing wrote all of the image */
  assert_non_null(strstr(fault.text, "nothing has written"));
  assert_int_equal(fault.op, SMALL_OP_MEAN);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(accepts_the_small_plan),
      cmocka_unit_test(refuses_each_spoilt_plan),
      cmocka_unit_test(names_batch_and_operation),
      cmocka_unit_test(lets_outputs_take_the_place_of_inputs_where_a_kind_allows_it),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
