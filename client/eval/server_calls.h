// The calls of one server that an evaluation needs.
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "client/eval/document.h"
#include "client/eval/row.h"
#include "client/generation_client.h"

namespace keyhole::eval {

// Ids by a server's Tokenize.
class ServerTokenizer : public TextTokenizer {
 public:
  ServerTokenizer(GenerationClient* client, CallOptions call)
      : client_(client), call_(std::move(call)) {}
  absl::StatusOr<TokenIds> Tokenize(const std::string& text, Options options) override;

 private:
  GenerationClient* client_;
  CallOptions call_;
};

// Asks questions about documents. Every call of one document begins with the document's ids, so
// that a server with a prefix cache reads it once.
// Thread: one owner. Errors: the server's, its reason in brackets.
class Examiner {
 public:
  // Of the prompt that is being read.
  using ReadingCallback = std::function<void(int done, int total)>;

  Examiner(GenerationClient* client, CallOptions call, int max_scored, ReadingCallback reading)
      : client_(client),
        call_(std::move(call)),
        max_scored_(max_scored),
        reading_(std::move(reading)) {}

  // The answer's log-probabilities while it stands in the prompt.
  absl::Status Score(const Document& document,
                     const Question& question,
                     const std::string& profile,
                     Row* row);
  // What the model writes after the question.
  absl::Status Write(const Document& document,
                     const Question& question,
                     const std::string& profile,
                     Row* row);
  // What the model answers in a chat; exact: the answer occurs in it.
  absl::Status Chat(const Document& document,
                    const Question& question,
                    const std::string& profile,
                    Row* row);

 private:
  absl::StatusOr<v1::GenerateResponse> Call(const v1::GenerateRequest& request);

  GenerationClient* client_;
  CallOptions call_;
  int max_scored_;
  ReadingCallback reading_;
};

absl::Status ToStatus(const grpc::Status& status);

}  // namespace keyhole::eval
