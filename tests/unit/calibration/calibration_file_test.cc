#include "engine/calibration/calibration_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>

#include "tests/unit/calibration/some_calibration.h"
#include "tests/unit/model_files/temporary_directory.h"

namespace keyhole {
namespace {

using ::testing::HasSubstr;

void ExpectEqual(const CalibratedForm& a, const CalibratedForm& b) {
  EXPECT_EQ(a.maps.form, b.maps.form);
  EXPECT_EQ(a.maps.n_groups, b.maps.n_groups);
  EXPECT_EQ(a.maps.rank, b.maps.rank);
  EXPECT_EQ(a.maps.in_dim, b.maps.in_dim);
  EXPECT_EQ(a.maps.query_distance, b.maps.query_distance);
  ASSERT_EQ(a.maps.layers.size(), b.maps.layers.size());
  ASSERT_EQ(a.quality.size(), b.quality.size());
  for (std::size_t i = 0; i < a.maps.layers.size(); ++i) {
    EXPECT_EQ(a.maps.layers[i].query, b.maps.layers[i].query);
    EXPECT_EQ(a.maps.layers[i].key, b.maps.layers[i].key);
    EXPECT_EQ(a.maps.layers[i].selects, b.maps.layers[i].selects);
    EXPECT_FLOAT_EQ(a.quality[i].score_error, b.quality[i].score_error);
    EXPECT_FLOAT_EQ(a.quality[i].overlap, b.quality[i].overlap);
    EXPECT_FLOAT_EQ(a.quality[i].mass, b.quality[i].mass);
    EXPECT_FLOAT_EQ(a.quality[i].needed_mass, b.quality[i].needed_mass);
    EXPECT_FLOAT_EQ(a.quality[i].peak, b.quality[i].peak);
  }
}

class CalibrationFileTest : public ::testing::Test {
 protected:
  std::string Written(const Calibration& calibration) const {
    const std::string path = directory_.path() + "/written.safetensors";
    EXPECT_TRUE(WriteCalibration(calibration, path).ok());
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  absl::StatusOr<Calibration> Read(std::string_view bytes) const {
    return ReadCalibration(directory_.Write("bent.safetensors", bytes));
  }

  void ExpectRefused(std::string_view bytes, const std::string& reason) const {
    const auto read = Read(bytes);
    ASSERT_FALSE(read.ok()) << reason;
    EXPECT_EQ(read.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(read.status().message()), HasSubstr(reason));
    EXPECT_THAT(std::string(read.status().message()), HasSubstr("bent.safetensors"));
  }

  // The file with the first `from` of its header replaced by as many bytes.
  void ExpectRefusedWith(const std::string& from, std::string to, const std::string& reason) const {
    std::string bytes = Written(SomeCalibration());
    const std::size_t at = bytes.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    ASSERT_EQ(from.size(), to.size());
    ExpectRefused(bytes.replace(at, from.size(), to), reason);
  }

  TemporaryDirectory directory_;
};

TEST_F(CalibrationFileTest, RoundTrip) {
  const Calibration written = SomeCalibration();
  const auto read = Read(Written(written));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->model_hash, written.model_hash);
  EXPECT_EQ(read->rope, written.rope);
  ExpectEqual(*read->per_kv_head, *written.per_kv_head);
  ExpectEqual(*read->concatenated, *written.concatenated);
}

TEST_F(CalibrationFileTest, OneFormAlone) {
  Calibration written = SomeCalibration();
  written.concatenated.reset();
  const auto read = Read(Written(written));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(read->per_kv_head.has_value());
  EXPECT_FALSE(read->concatenated.has_value());
}

TEST_F(CalibrationFileTest, OneThatDoesNotTellItsRotation) {
  std::string bytes = Written(SomeCalibration());
  const std::string name = R"("rope":)";
  bytes.replace(bytes.find(name), name.size(), R"("pore":)");
  const auto read = Read(bytes);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->rope, "");
}

TEST_F(CalibrationFileTest, WritingReplacesAndLeavesNothingBeside) {
  const std::string path = directory_.path() + "/c.safetensors";
  Calibration calibration = SomeCalibration();
  ASSERT_TRUE(WriteCalibration(calibration, path).ok());
  calibration.model_hash = "other";
  ASSERT_TRUE(WriteCalibration(calibration, path).ok());
  EXPECT_EQ(ReadCalibration(path)->model_hash, "other");
  const std::filesystem::directory_iterator files(directory_.path());
  EXPECT_EQ(std::distance(begin(files), end(files)), 1);
}

TEST_F(CalibrationFileTest, WritingIntoNoFolderFails) {
  const auto status =
      WriteCalibration(SomeCalibration(), directory_.path() + "/none/c.safetensors");
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
}

TEST_F(CalibrationFileTest, NoFile) {
  EXPECT_EQ(ReadCalibration(directory_.path() + "/none").status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(CalibrationFileTest, TruncatedAnywhere) {
  const std::string whole = Written(SomeCalibration());
  for (std::size_t size = 0; size < whole.size(); size += 7) {
    EXPECT_FALSE(Read(std::string_view(whole).substr(0, size)).ok()) << size;
  }
}

TEST_F(CalibrationFileTest, MetadataThatDoesNotFit) {
  ExpectRefusedWith("keyhole-calibration", "keyhole-colibration", "format");
  ExpectRefusedWith(R"("version":"1")", R"("version":"2")", "version");
  ExpectRefusedWith(R"("version":"1")", R"("virsion":"1")", "has no version");
  ExpectRefusedWith(R"("model_hash")", R"("nodel_hash")", "has no model_hash");
  ExpectRefusedWith(R"("n_layers":"3")", R"("n_layers":"4")", "not F32 [4");
  ExpectRefusedWith(R"("n_layers":"3")", R"("n_layers":"0")", "n_layers of '0'");
  ExpectRefusedWith(R"("n_layers":"3")", R"("n_layers":"x")", "n_layers of 'x'");
  ExpectRefusedWith(R"(head.rank":"4")", R"(head.rank":"8")", "not F32");
  ExpectRefusedWith(R"(head.rank":"4")", R"(head.rank":"5")", "multiple of 4");
  ExpectRefusedWith(R"(head.rank":"4")", R"(head.rank":"0")", "rank of '0'");
  ExpectRefusedWith(R"(head.n_groups":"2")", R"(head.n_groups":"1")", "not F32");
}

TEST_F(CalibrationFileTest, TensorsThatDoNotFit) {
  ExpectRefusedWith(
      "per_kv_head.selects\":{\"dtype\"", "per_kv_head.salects\":{\"dtype\"", "selects is missing");
  ExpectRefusedWith(R"("shape":[3,2,4,8])", R"("shape":[3,4,2,8])", "not F32 [3, 2, 4, 8]");
}

TEST_F(CalibrationFileTest, ASafetensorsFileOfSomethingElse) {
  const std::string header = R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}} )";
  const std::uint64_t length = header.size();
  std::string bytes(reinterpret_cast<const char*>(&length), sizeof(length));
  ExpectRefused(bytes + header + "1234", "no metadata");
}

TEST_F(CalibrationFileTest, ValuesThatAreNoNumbers) {
  const std::string whole = Written(SomeCalibration());
  for (const float value :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    std::string bytes = whole;
    std::memcpy(bytes.data() + bytes.size() - sizeof(value), &value, sizeof(value));
    ExpectRefused(bytes, "no number");
  }
}

}  // namespace
}  // namespace keyhole
