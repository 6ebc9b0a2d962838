#include "engine/runtime/available_memory.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace keyhole {
namespace {

class AvailableMemoryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = std::filesystem::path(::testing::TempDir()) /
            ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(root_);
    Write("proc/meminfo", "MemTotal: 2000 kB\nMemAvailable:    1000 kB\n");
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  void Write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }

  std::int64_t Available() { return AvailableMemory(root_.string()).value_or(-1); }

  std::filesystem::path root_;
};

TEST_F(AvailableMemoryTest, IsTheMachinesWithoutALimit) {
  EXPECT_EQ(Available(), 1000 * 1024);
  Write("sys/fs/cgroup/memory.max", "max\n");
  EXPECT_EQ(Available(), 1000 * 1024);
}

TEST_F(AvailableMemoryTest, IsWhatTheGroupLeaves) {
  Write("sys/fs/cgroup/memory.max", "500000\n");
  Write("sys/fs/cgroup/memory.current", "100000\n");
  EXPECT_EQ(Available(), 400000);
}

TEST_F(AvailableMemoryTest, IsTheLeastOfTheGroupsAbove) {
  Write("proc/self/cgroup", "0::/a/b\n");
  Write("sys/fs/cgroup/a/b/memory.max", "800000\n");
  Write("sys/fs/cgroup/a/memory.max", "300000\n");
  EXPECT_EQ(Available(), 300000);
}

TEST_F(AvailableMemoryTest, KnowsTheOldHierarchy) {
  Write("sys/fs/cgroup/memory/memory.limit_in_bytes", "200000\n");
  Write("sys/fs/cgroup/memory/memory.usage_in_bytes", "250000\n");
  EXPECT_EQ(Available(), 0);
}

TEST_F(AvailableMemoryTest, NothingToReadIsAnError) {
  Write("proc/meminfo", "MemAvailable: many\n");
  EXPECT_EQ(Available(), -1);
}

TEST(AvailableMemoryHereTest, IsSomething) { EXPECT_GT(*AvailableMemory(), 0); }

}  // namespace
}  // namespace keyhole
