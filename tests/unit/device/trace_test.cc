#include "engine/device/trace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

namespace keyhole {
namespace {

class TraceTest : public testing::Test {
 protected:
  ~TraceTest() override { std::filesystem::remove(path_); }

  std::unique_ptr<Trace> Create(std::int64_t n_steps) { return *Trace::Create(path_, n_steps); }

  static void Step(Trace& trace, std::int64_t layer) {
    {
      const TraceSpan outer(&trace, "layer", layer);
      const TraceSpan inner(&trace, "score");
    }
    EXPECT_TRUE(trace.EndStep().ok());
  }

  std::string Text() const {
    std::ifstream file(path_);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  const std::string path_ = testing::TempDir() + "trace-" + std::to_string(getpid()) + ".json";
};

TEST_F(TraceTest, InnerSpansLieInOuterOnes) {
  const auto trace = Create(1);
  Step(*trace, 7);
  const nlohmann::json events = nlohmann::json::parse(Text());
  ASSERT_EQ(events.size(), 2);
  const auto& inner = events[0];
  const auto& outer = events[1];
  EXPECT_EQ(inner["name"], "score");
  EXPECT_FALSE(inner.contains("args"));
  EXPECT_EQ(outer["name"], "layer");
  EXPECT_EQ(outer["args"]["n"], 7);
  EXPECT_EQ(outer["ph"], "X");
  const auto end = [](const nlohmann::json& span) {
    return span["ts"].get<double>() + span["dur"].get<double>();
  };
  EXPECT_GE(inner["ts"].get<double>(), outer["ts"].get<double>());
  EXPECT_LE(end(inner), end(outer) + 0.002);  // both are rounded to 0.001
}

TEST_F(TraceTest, ThreadsHaveTracksOfTheirOwn) {
  const auto trace = Create(1);
  const auto add = [&trace] { const TraceSpan span(trace.get(), "score"); };
  add();
  std::thread(add).join();
  add();
  EXPECT_TRUE(trace->EndStep().ok());
  const nlohmann::json events = nlohmann::json::parse(Text());
  ASSERT_EQ(events.size(), 3);
  EXPECT_EQ(events[0]["tid"], events[2]["tid"]);
  EXPECT_NE(events[0]["tid"], events[1]["tid"]);
}

TEST_F(TraceTest, EndsAfterItsSteps) {
  const auto trace = Create(2);
  for (int step = 0; step < 5; ++step) Step(*trace, step);
  EXPECT_FALSE(trace->is_open());
  EXPECT_EQ(nlohmann::json::parse(Text()).size(), 4);
}

TEST_F(TraceTest, StepsSoFarAreInTheFileAtOnce) {
  const auto trace = Create(10);
  Step(*trace, 0);
  EXPECT_EQ(nlohmann::json::parse(Text() + "]").size(), 2);
}

TEST_F(TraceTest, NoTraceNoSpan) { const TraceSpan span(nullptr, "layer", 1); }

TEST_F(TraceTest, FolderThatIsNotThereIsTold) {
  const absl::Status status = Trace::Create("/no/such/folder/trace.json", 1).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("/no/such/folder/trace.json"));
}

TEST(FullDiskTest, EndsTheTraceWithOneError) {
  const auto trace = *Trace::Create("/dev/full", 10);
  { const TraceSpan span(trace.get(), "layer"); }
  EXPECT_EQ(trace->EndStep().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_FALSE(trace->is_open());
  EXPECT_TRUE(trace->EndStep().ok());
}

}  // namespace
}  // namespace keyhole
