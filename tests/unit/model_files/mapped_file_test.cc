#include "engine/model/mapped_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <utility>

#include "engine/model/weight_source.h"
#include "tests/unit/model_files/temporary_directory.h"

namespace keyhole {
namespace {

TEST(MappedFileTest, KeepsItsBytesWhenMoved) {
  const TemporaryDirectory directory;
  auto file = MappedFile::Open(directory.Write("f", "content"));
  ASSERT_TRUE(file.ok()) << file.status();
  const auto* address = file->bytes().data();
  const MappedFile moved = *std::move(file);
  EXPECT_EQ(moved.bytes().data(), address);
  EXPECT_EQ(moved.text(), "content");
}

TEST(MappedFileTest, RefusesWhatIsNoFileWithContent) {
  const TemporaryDirectory directory;
  EXPECT_TRUE(absl::IsNotFound(MappedFile::Open(directory.path() + "/none").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(MappedFile::Open(directory.path()).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(MappedFile::Open(directory.Write("e", "")).status()));
  const std::string fifo = directory.path() + "/fifo";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_TRUE(absl::IsInvalidArgument(MappedFile::Open(fifo).status()));
}

TEST(OpenModelTest, PathsThatAreNoModel) {
  const TemporaryDirectory directory;
  EXPECT_TRUE(absl::IsNotFound(OpenModel(directory.path() + "/none.gguf", {}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(OpenModel(directory.Write("m.bin", "text"), {}).status()));
  EXPECT_TRUE(
      absl::IsInvalidArgument(OpenModel(directory.Write("m.safetensors", "text"), {}).status()));
}

}  // namespace
}  // namespace keyhole
