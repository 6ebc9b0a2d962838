// What a command prints: the answer on standard output, everything about it on standard error.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "client/cli/exit_code.h"
#include "client/generation_client.h"
#include "google/protobuf/message.h"

namespace keyhole::cli {

// One line of JSON, field names as in the .proto.
std::string ToJson(const google::protobuf::Message& message);

// Prints a stream of events, text as it arrives.
// Thread: one owner.
class AnswerPrinter {
 public:
  AnswerPrinter(bool json, bool quiet);

  void Print(const v1::StreamGenerateResponse& event) { PrintEvent(event); }
  void Print(const v1::StreamChatResponse& event) { PrintEvent(event); }

  // Ends the line and prints the timings. Returns the exit code.
  int Finish(const grpc::Status& status);

 private:
  template <typename Event>
  void PrintEvent(const Event& event);
  void PrintProgress(const v1::Progress& progress);
  void ClearProgress();

  bool json_;
  bool quiet_;
  bool show_progress_;
  bool progress_shown_ = false;
  bool text_ended_line_ = true;
  v1::Finished finished_;
};

// Prints why a call failed and returns its exit code.
int ReportFailure(const grpc::Status& status);
int ReportUsage(const absl::Status& status);

}  // namespace keyhole::cli
