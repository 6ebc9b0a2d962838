// Asks every question of every document of one server after another.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "client/eval/results.h"
#include "client/eval/server_calls.h"

namespace keyhole::eval {

struct Target {
  std::string name = {};  // empty: the name of the server's policy
  std::string address = {};
  GenerationClient* client = nullptr;
};

// How far an evaluation is.
struct Progress {
  std::string text = {};
  bool new_document = false;
};

// Thread: one owner.
class Evaluation {
 public:
  struct Listener {
    std::function<void(const Progress&)> progress;
    std::function<void()> document_done;  // the results may be saved
  };

  // All must outlive the evaluation.
  Evaluation(const EvalSettings* settings, const Haystack* haystack, CallOptions call)
      : settings_(settings), haystack_(haystack), call_(std::move(call)) {}

  // Adds a row for each question, those without an answer included; notes what it leaves out.
  // Errors: the first failure of the server; CANCELLED after a stop. What was found until then
  // stays.
  absl::Status Ask(const Target& target, const Listener& listener, Results* results);

 private:
  class ServerRun;

  const EvalSettings* settings_;
  const Haystack* haystack_;
  CallOptions call_;
  std::map<std::string, std::unique_ptr<Pieces>> pieces_;  // by revision of the model
};

}  // namespace keyhole::eval
