#include "workload/azure.h"

#include "base/check.h"

/* The models of zoo/profiles/v100.tsv in its order, but for winograd_resnet50_v2,
 * winograd_resnet101_v2 and winograd_resnet152_v2: the published experiment has 61 varieties, the
 * table 64, and these three differ least from a model that stays. */
static const char *const VARIETIES[AZURE_VARIETIES] = {
    "densenet121",
    "densenet161",
    "densenet169",
    "densenet201",
    "dla34",
    "googlenet",
    "inceptionv3",
    "xception",
    "mobile_pose_mobilenet1.0",
    "mobile_pose_mobilenetv3",
    "mobile_pose_resnet18_v1",
    "mobile_pose_resnet50_v1",
    "simple_pose_resnet18_v1b",
    "resnest14",
    "resnest26",
    "resnest50",
    "resnest101",
    "resnet18_v1",
    "resnet18_v1b",
    "resnet34_v1",
    "resnet34_v1b",
    "resnet50_v1",
    "resnet50_v1b",
    "resnet50_v1c",
    "resnet50_v1d",
    "resnet50_v1s",
    "resnet50_tuned_1.8x",
    "resnet101_v1",
    "resnet101_v1b",
    "resnet101_v1c",
    "resnet101_v1d",
    "resnet101_v1s",
    "resnet101_tuned_1.9x",
    "resnet101_tuned_2.2x",
    "resnet152_v1",
    "resnet152_v1b",
    "resnet152_v1c",
    "resnet152_v1d",
    "resnet152_v1s",
    "resnet18_v2",
    "resnet34_v2",
    "resnet50_v2",
    "resnet101_v2",
    "resnet152_v2",
    "resnext50_32x4d",
    "resnext101_32x4d",
    "resnext101_64x4d",
    "se_resnext50_32x4d",
    "se_resnext101_32x4d",
    "se_resnext101_64x4d",
    "tsn_inceptionv1_kinetics400",
    "tsn_inceptionv3_kinetics400",
    "tsn_resnet18_v1b_kinetics400",
    "tsn_resnet34_v1b_kinetics400",
    "tsn_resnet50_v1b_kinetics400",
    "tsn_resnet101_v1b_kinetics400",
    "tsn_resnet152_v1b_kinetics400",
    "cifar_wideresnet16_10",
    "cifar_wideresnet28_10",
    "cifar_wideresnet40_8",
    "winograd_resnet18_v2",
};

/* Copies by memory load factor 1 to 4, as in the published experiment. */
static const uint32_t COPIES_OF_ALL[4] = {3, 13, 29, 66};
static const uint32_t COPIES_OF_ONE[4] = {200, 800, 1800, 3600};

const char *azure_variety(uint32_t index) {
  CHECK_LT(index, AZURE_VARIETIES);
  return VARIETIES[index];
}

void azure_add_models(struct plan *plan, bool use_all_models, uint32_t memory_load_factor) {
  CHECK_GE(memory_load_factor, 1);
  CHECK_LE(memory_load_factor, 4);
  if (!use_all_models) {
    plan_add_model(plan, "resnet50_v2", COPIES_OF_ONE[memory_load_factor - 1]);
    return;
  }
  for (uint32_t i = 0; i < AZURE_VARIETIES; i++) {
    plan_add_model(plan, VARIETIES[i], COPIES_OF_ALL[memory_load_factor - 1]);
  }
}
