#include "server/request_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/request/error.h"
#include "nlohmann/json.hpp"

namespace keyhole {
namespace {

// What `action` writes to the log; one line.
template <typename Action>
nlohmann::json Logged(Action action) {
  ::testing::internal::CaptureStderr();
  {
    Metrics metrics;
    Log log(spdlog::level::info);
    RequestLog requests(&metrics, &log, absl::Seconds(10));
    action(requests);
    log.Flush();
  }
  return nlohmann::json::parse(::testing::internal::GetCapturedStderr());
}

TEST(RequestLogTest, TheCauseOfAFailureIsLogged) {
  const nlohmann::json line = Logged([](RequestLog& log) {
    log.OnSequenceFailure(7, absl::InternalError("a \"non-finite\" logit"));
  });
  EXPECT_EQ(line["event"], "sequence_failed");
  EXPECT_EQ(line["level"], "error");
  EXPECT_EQ(line["request_id"], "7");
  EXPECT_EQ(line["cause"], "a \"non-finite\" logit");
}

TEST(RequestLogTest, WarningsOfTheEngineAreLogged) {
  const nlohmann::json notice = Logged([](RequestLog& log) { log.OnNotice("calibrating"); });
  EXPECT_EQ(notice["level"], "info");
  EXPECT_EQ(notice["text"], "calibrating");
  const nlohmann::json line = Logged([](RequestLog& log) { log.OnWarning("chat is off"); });
  EXPECT_EQ(line["event"], "engine_warning");
  EXPECT_EQ(line["text"], "chat is off");
}

TEST(RequestLogTest, ASlowRequestIsAWarning) {
  const nlohmann::json line = Logged([](RequestLog& log) {
    RequestRecord record;
    record.id = 3;
    record.client_request_id = "mine";
    record.finished.decode_time = absl::Seconds(11);
    log.OnRequestEnd(record);
  });
  EXPECT_EQ(line["event"], "slow_request");
  EXPECT_EQ(line["level"], "warning");
  EXPECT_EQ(line["client_request_id"], "mine");
}

TEST(RequestLogTest, ARefusalNamesItsReason) {
  const nlohmann::json line = Logged([](RequestLog& log) {
    RequestRecord record;
    record.status = DrainingError();
    log.OnRequestEnd(record);
  });
  EXPECT_EQ(line["event"], "request");
  EXPECT_EQ(line["reason"], reason::kDraining);
}

}  // namespace
}  // namespace keyhole
