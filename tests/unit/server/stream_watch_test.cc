#include "server/stream_watch.h"

#include <chrono>

#include "gtest/gtest.h"

namespace keyhole {
namespace {

class FixedStall final : public WatchedStream {
 public:
  explicit FixedStall(absl::Duration stall) : stall_(stall) {}
  absl::Duration CheckStall(Instant) override { return stall_; }

 private:
  absl::Duration stall_;
};

TEST(StreamWatchTest, CountsStreamsThatStallForMoreThanASecond) {
  StreamWatch watch;
  FixedStall fast(absl::Milliseconds(10));
  FixedStall slow(absl::Seconds(2));
  watch.Add(&fast);
  watch.Add(&slow);
  EXPECT_EQ(watch.Check(std::chrono::steady_clock::now()), 1);
  watch.Remove(&slow);
  EXPECT_EQ(watch.Check(std::chrono::steady_clock::now()), 0);
}

}  // namespace
}  // namespace keyhole
