// JSON log lines on standard error, one object a line. No prompt or answer text ever goes in.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "nlohmann/json_fwd.hpp"
#include "spdlog/common.h"

namespace spdlog {
class logger;
namespace details {
class thread_pool;
}
}  // namespace spdlog

namespace keyhole {

// Lines go through a bounded queue that drops the oldest, so that a blocked pipe never blocks a
// call. The destructor writes what is queued and waits for that. Thread: any.
class Log {
 public:
  explicit Log(spdlog::level::level_enum level);
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  // `fields` is an object; `event` says in one snake_case word what happened.
  void Info(std::string_view event, const nlohmann::ordered_json& fields);
  void Warn(std::string_view event, const nlohmann::ordered_json& fields);
  void Error(std::string_view event, const nlohmann::ordered_json& fields);
  void Debug(std::string_view event, const nlohmann::ordered_json& fields);

  // Waits until what was logged so far is written, a second at most.
  void Flush();

 private:
  void Write(spdlog::level::level_enum level,
             std::string_view event,
             const nlohmann::ordered_json& fields);

  std::shared_ptr<spdlog::details::thread_pool> queue_;  // the library asks for shared ownership
  std::shared_ptr<spdlog::logger> logger_;
};

// "debug", "info", "warn", "error" or "off". Errors: INVALID_ARGUMENT.
absl::StatusOr<spdlog::level::level_enum> ParseLogLevel(std::string_view name);

}  // namespace keyhole
