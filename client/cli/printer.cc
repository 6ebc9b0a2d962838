#include "client/cli/printer.h"

#include <unistd.h>

#include <cstdio>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "fmt/format.h"
#include "google/protobuf/util/json_util.h"

namespace keyhole::cli {
namespace {

double Seconds(const google::protobuf::Duration& duration) {
  return duration.seconds() + duration.nanos() * 1e-9;
}

// "FINISH_REASON_END_OF_SEQUENCE" -> "end of sequence"
std::string ReasonText(v1::FinishReason reason) {
  std::string name = v1::FinishReason_Name(reason);
  return absl::StrReplaceAll(absl::AsciiStrToLower(name.substr(name.find("REASON_") + 7)),
                             {{"_", " "}});
}

std::string TimingsLine(const v1::Finished& finished) {
  const auto& usage = finished.usage();
  const double prefill = Seconds(finished.timings().prefill());
  const double decode = Seconds(finished.timings().decode());
  const int computed = usage.prompt_token_count() - usage.cached_prompt_token_count();
  std::string line =
      fmt::format("prompt {} tokens in {:.2f} s", usage.prompt_token_count(), prefill);
  if (prefill > 0) line += fmt::format(" ({:.0f} tokens/s)", computed / prefill);
  line += fmt::format(", answer {} tokens in {:.2f} s", usage.output_token_count(), decode);
  if (usage.output_token_count() > 1) {
    line += fmt::format(" ({:.1f} ms a token)", decode * 1e3 / (usage.output_token_count() - 1));
  }
  return line + fmt::format(", queue {:.2f} s; ended by {}",
                            Seconds(finished.timings().queue()),
                            ReasonText(finished.finish_reason()));
}

}  // namespace

std::string ToJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string json;
  (void)google::protobuf::util::MessageToJsonString(message, &json, options);
  return json;
}

AnswerPrinter::AnswerPrinter(bool json, bool quiet)
    : json_(json), quiet_(quiet), show_progress_(!json && !quiet && isatty(STDERR_FILENO)) {}

template <typename Event>
void AnswerPrinter::PrintEvent(const Event& event) {
  if (event.has_finished()) finished_ = event.finished();
  if (json_) {
    fmt::print("{}\n", ToJson(event));
  } else if (event.has_progress()) {
    PrintProgress(event.progress());
  } else if (event.has_chunk() && !event.chunk().text().empty()) {
    ClearProgress();
    fmt::print("{}", event.chunk().text());
    text_ended_line_ = absl::EndsWith(event.chunk().text(), "\n");
  }
  std::fflush(stdout);
}

template void AnswerPrinter::PrintEvent(const v1::StreamGenerateResponse&);
template void AnswerPrinter::PrintEvent(const v1::StreamChatResponse&);

void AnswerPrinter::PrintProgress(const v1::Progress& progress) {
  if (!show_progress_) return;
  fmt::print(stderr,
             "\rreading the prompt: {} of {} tokens ({:.0f}%) ",
             progress.done_token_count(),
             progress.total_token_count(),
             100.0 * progress.done_token_count() / std::max(1, progress.total_token_count()));
  progress_shown_ = true;
}

void AnswerPrinter::ClearProgress() {
  if (progress_shown_) fmt::print(stderr, "\r\033[K");
  progress_shown_ = false;
}

int AnswerPrinter::Finish(const grpc::Status& status) {
  ClearProgress();
  if (!text_ended_line_) fmt::print("\n");
  std::fflush(stdout);
  if (!status.ok()) return ReportFailure(status);
  if (!json_ && !quiet_) fmt::print(stderr, "{}\n", TimingsLine(finished_));
  return kOk;
}

int ReportFailure(const grpc::Status& status) {
  const CallError error = DescribeError(status);
  // With another reason it was not this side that cancelled.
  if (error.code == grpc::StatusCode::CANCELLED &&
      (error.reason.empty() || error.reason == "CANCELLED")) {
    fmt::print(stderr, "keyhole: cancelled\n");
    return kInterrupted;
  }
  // Without a reason it is not the server that speaks, but the connection.
  const bool no_connection = error.code == grpc::StatusCode::UNAVAILABLE && error.reason.empty();
  fmt::print(stderr,
             "keyhole: {}{}{}\n",
             no_connection ? "no connection to the server: " : "",
             error.message,
             error.reason.empty() ? "" : absl::StrCat(" [", error.reason, "]"));
  return ExitCodeOf(error.code);
}

int ReportUsage(const absl::Status& status) {
  fmt::print(stderr, "keyhole: {}\n", std::string(status.message()));
  return kUsage;
}

}  // namespace keyhole::cli
