// The outcome of one question, and the servers it came from.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace keyhole::eval {

struct Row {
  std::string policy = {};  // the server's name in this evaluation
  std::string profile = {};
  std::string task = {};
  std::string facts = {};  // of needles; else empty
  int length = 0;
  std::uint64_t seed = 0;
  double depth = 0;
  std::string id = {};
  // Teacher-forced: the answer stands in the prompt. Empty where only a written answer was asked
  // for.
  std::optional<bool> exact = {};      // every token of the answer is the most likely one
  std::optional<double> logprob = {};  // mean of the answer's tokens, natural logarithm
  int answer_tokens = 0;
  // Written by the model.
  std::optional<bool> generated_exact = {};  // it begins with the answer
  std::string generated = {};
  // Of the first call about this question.
  int prompt_tokens = 0;
  int cached_tokens = 0;
  double prefill_seconds = 0;
  std::string error = {};  // not empty: the call failed and nothing above but its name holds
};

struct ServerInfo {
  std::string name = {};
  std::string address = {};
  std::string model = {};
  std::string revision = {};
  std::string version = {};
  std::string policy = {};
  std::string positions = {};
  int initial_tokens = 0;
  int local_tokens = 0;
  int selected_tokens = 0;
  int max_context_tokens = 0;
};

}  // namespace keyhole::eval
