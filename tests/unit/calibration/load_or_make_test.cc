#include "engine/calibration/load_or_make.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "engine/calibration/calibration_file.h"
#include "tests/unit/calibration/some_calibration.h"
#include "tests/unit/model_files/temporary_directory.h"

namespace keyhole {
namespace {

using ::testing::HasSubstr;

class LoadOrMakeTest : public ::testing::Test {
 protected:
  LoadOrMakeTest() {
    settings_.source = *OpenModel("synthetic:tiny", {});
    settings_.n_tokens = 600;
    settings_.threads = 1;
  }

  static std::unique_ptr<WeightSource> WithTheta(double theta) {
    ModelFileOptions options;
    options.rope_theta = theta;
    return *OpenModel("synthetic:tiny", options);
  }

  absl::StatusOr<Calibration> Run(const std::string& path) {
    made_ = false;
    warnings_.clear();
    return LoadOrMakeCalibration(
        path,
        settings_,
        [this](std::string_view, double) { made_ = true; },
        [this](std::string_view text) { warnings_.emplace_back(text); });
  }

  TemporaryDirectory directory_;
  const std::string path_ = directory_.path() + "/c.safetensors";
  CalibrationSettings settings_;
  bool made_ = false;
  std::vector<std::string> warnings_;
};

TEST_F(LoadOrMakeTest, MakesOneAndFindsItAgain) {
  const auto first = Run(path_);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_TRUE(made_);
  const auto second = Run(path_);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_FALSE(made_);
  EXPECT_EQ(second->per_kv_head->maps.layers[1].key, first->per_kv_head->maps.layers[1].key);
}

TEST_F(LoadOrMakeTest, WithoutAPathNothingIsStored) {
  EXPECT_TRUE(Run("").ok());
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path()));
}

TEST_F(LoadOrMakeTest, AFolderThatCannotBeWrittenIsNoError) {
  EXPECT_TRUE(Run(directory_.path() + "/none/c.safetensors").ok());
  EXPECT_TRUE(made_);
  ASSERT_EQ(warnings_.size(), 1);
  EXPECT_THAT(warnings_[0], HasSubstr("made again at the next start"));
}

TEST_F(LoadOrMakeTest, RefusesThatOfAnotherModel) {
  ASSERT_TRUE(WriteCalibration(SomeCalibration(), path_).ok());
  const auto refused = Run(path_);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("another model"));
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr(path_));
  EXPECT_FALSE(made_);
}

TEST_F(LoadOrMakeTest, RefusesThatOfOtherRotarySettings) {
  ASSERT_TRUE(Run(path_).ok());
  settings_.source = WithTheta(12345);
  const auto refused = Run(path_);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("the model has theta=12345"));
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr(path_));
  EXPECT_FALSE(made_);
}

TEST_F(LoadOrMakeTest, OneThatDoesNotTellItsRotationIsOfTheFilesOwn) {
  auto old = Run("");
  ASSERT_TRUE(old.ok()) << old.status();
  old->rope.clear();
  EXPECT_TRUE(CheckCalibration(*old, *settings_.source).ok());
  const double own = settings_.source->config().rope_theta;
  EXPECT_TRUE(CheckCalibration(*old, *WithTheta(own)).ok()) << "given by hand";
  EXPECT_THAT(std::string(CheckCalibration(*old, *WithTheta(12345)).message()),
              HasSubstr("of the model's file"));
}

TEST_F(LoadOrMakeTest, RefusesOtherSizes) {
  Calibration other = SomeCalibration();
  other.model_hash = settings_.source->content_hash();
  other.rope.clear();
  EXPECT_THAT(std::string(CheckCalibration(other, *settings_.source).message()),
              HasSubstr("3 layers and 2 groups of 8, the model 2 layers and 2 KV heads of 16"));
}

TEST_F(LoadOrMakeTest, RefusesADamagedFile) {
  directory_.Write("c.safetensors", "no calibration");
  EXPECT_EQ(Run(path_).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(made_);
}

TEST_F(LoadOrMakeTest, DefaultPaths) {
  EXPECT_EQ(DefaultCalibrationPath("a/b.Q4_1.gguf"), "a/b.Q4_1.calibration.safetensors");
  EXPECT_EQ(DefaultCalibrationPath(directory_.path()),
            directory_.path() + "/calibration.safetensors");
  EXPECT_EQ(DefaultCalibrationPath("synthetic:tiny"), "");
}

}  // namespace
}  // namespace keyhole
