#include "server/log.h"

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "nlohmann/json.hpp"
#include "spdlog/async.h"
#include "spdlog/sinks/stdout_sinks.h"
#include "spdlog/spdlog.h"

namespace keyhole {
namespace {

constexpr std::size_t kQueuedLines = 8192;

}  // namespace

Log::Log(spdlog::level::level_enum level)
    : queue_(std::make_shared<spdlog::details::thread_pool>(kQueuedLines, 1)),
      logger_(
          std::make_shared<spdlog::async_logger>("keyhole",
                                                 std::make_shared<spdlog::sinks::stderr_sink_mt>(),
                                                 queue_,
                                                 spdlog::async_overflow_policy::overrun_oldest)) {
  logger_->set_level(level);
  // The message is the rest of a JSON object.
  logger_->set_pattern(R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z","level":"%l",%v)");
}

Log::~Log() = default;

void Log::Info(std::string_view event, const nlohmann::ordered_json& fields) {
  Write(spdlog::level::info, event, fields);
}

void Log::Warn(std::string_view event, const nlohmann::ordered_json& fields) {
  Write(spdlog::level::warn, event, fields);
}

void Log::Error(std::string_view event, const nlohmann::ordered_json& fields) {
  Write(spdlog::level::err, event, fields);
}

void Log::Debug(std::string_view event, const nlohmann::ordered_json& fields) {
  Write(spdlog::level::debug, event, fields);
}

void Log::Write(spdlog::level::level_enum level,
                std::string_view event,
                const nlohmann::ordered_json& fields) {
  if (!logger_->should_log(level)) return;
  nlohmann::ordered_json line;
  line["event"] = event;
  line.update(fields);
  // Bytes that are not UTF-8 are replaced rather than refused.
  const std::string text =
      line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  logger_->log(level, "{}", std::string_view(text).substr(1));
}

void Log::Flush() {
  logger_->flush();  // a message like others, behind all lines
  const absl::Time deadline = absl::Now() + absl::Seconds(1);
  while (queue_->queue_size() > 0 && absl::Now() < deadline) absl::SleepFor(absl::Milliseconds(1));
}

absl::StatusOr<spdlog::level::level_enum> ParseLogLevel(std::string_view name) {
  if (name == "debug") return spdlog::level::debug;
  if (name == "info") return spdlog::level::info;
  if (name == "warn") return spdlog::level::warn;
  if (name == "error") return spdlog::level::err;
  if (name == "off") return spdlog::level::off;
  return absl::InvalidArgumentError(
      absl::StrCat("log-level is debug, info, warn, error or off, not '", std::string(name), "'"));
}

}  // namespace keyhole
