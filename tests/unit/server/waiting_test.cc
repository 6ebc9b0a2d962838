// What threads of the server wait for: events and the end of calls.
#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "server/event.h"
#include "server/live_calls.h"

namespace keyhole {
namespace {

TEST(EventTest, HappensOnceForAll) {
  Event event;
  EXPECT_FALSE(event.happened());
  EXPECT_FALSE(event.WaitFor(absl::ZeroDuration()));
  int written = 0;  // before the event, read after it
  {
    std::vector<std::jthread> waiting;
    for (int i = 0; i < 4; ++i) {
      waiting.emplace_back([&] {
        event.Wait();
        EXPECT_EQ(written, 1);
      });
    }
    written = 1;
    event.Notify();
    event.Notify();
  }
  EXPECT_TRUE(event.happened());
  EXPECT_TRUE(event.WaitFor(absl::InfiniteDuration()));
}

TEST(EventTest, MayGoAsSoonAsItHappened) {
  for (int i = 0; i < 200; ++i) {
    auto event = std::make_unique<Event>();
    std::jthread notifier([raw = event.get()] { raw->Notify(); });
    EXPECT_TRUE(event->WaitFor(absl::InfiniteDuration()));
    event.reset();
  }
}

TEST(LiveCallsTest, WaitsForTheLastCall) {
  LiveCalls calls;
  EXPECT_TRUE(calls.WaitNone(absl::Now()));
  auto first = std::make_unique<LiveCalls::Token>(&calls);
  LiveCalls::Token second(&calls);
  EXPECT_FALSE(calls.WaitNone(absl::Now()));
  first.reset();
  EXPECT_FALSE(calls.WaitNone(absl::Now()));
  std::jthread end(
      [moved = std::move(second)]() mutable { const LiveCalls::Token last = std::move(moved); });
  EXPECT_TRUE(calls.WaitNone(absl::Now() + absl::Seconds(60)));
}

}  // namespace
}  // namespace keyhole
