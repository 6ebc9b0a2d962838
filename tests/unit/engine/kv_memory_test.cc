#include "engine/kv_memory.h"

#include <gtest/gtest.h>

namespace keyhole {
namespace {

TEST(KvMemoryTest, WindowsComeOutOfTheSharePastTheLongestRequest) {
  EXPECT_EQ(BytesBesideWindows(100, 0, 30), 100) << "native positions";
  EXPECT_EQ(BytesBesideWindows(100, 40, 30), 60);
  EXPECT_EQ(BytesBesideWindows(100, 80, 30), 30);
  EXPECT_EQ(BytesBesideWindows(100, 500, 30), 30);
  EXPECT_EQ(BytesBesideWindows(100, 500, 200), 100) << "not even one fits: all is its";
}

TEST(KvMemoryTest, ASettingStaysAsItIs) {
  EngineConfig config;
  config.kv.memory_bytes = 12345;
  EXPECT_EQ(*KvMemoryBytes(config), 12345);
}

}  // namespace
}  // namespace keyhole
