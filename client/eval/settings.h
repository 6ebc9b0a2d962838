// What is asked of an evaluation, and the documents that follow from it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "client/eval/document.h"

namespace keyhole::eval {

enum class Task { kPasskey, kNeedles, kRetrieveKv, kPerplexity };

struct EvalSettings {
  Task task = Task::kNeedles;
  std::string facts = "diverse";  // of needles: diverse or look-alikes
  std::vector<int> lengths = {4096};
  std::vector<std::uint64_t> seeds = {1};
  int questions = 16;               // of a document; passkey: documents, each with its own depth
  int planted = 0;                  // facts in a document; 0: as many as are asked for
  std::vector<double> depths = {};  // empty: even, with jitter
  std::vector<std::string> profiles = {"default"};  // as ParseProfile takes them
  int scored_tokens = 1024;                         // perplexity
  bool generate = false;                            // also let the model write each answer
  bool chat = false;  // by Chat, with the model's template; written answers alone
  QuestionFormat format = {.before = "", .after = "\n\n{question} {prime}"};
  std::string haystack_file = {};  // empty: the filler
};

const char* TaskName(Task task);

// Errors: INVALID_ARGUMENT for counts that cannot be met and profiles that do not exist.
absl::Status CheckSettings(const EvalSettings& settings);

// One document to make.
struct DocumentSpec {
  int length = 0;
  std::uint64_t seed = 0;
  int index = 0;  // passkey: which of the depths
};
std::vector<DocumentSpec> ListDocuments(const EvalSettings& settings);

// Errors: as for the builders in document.h.
absl::StatusOr<Document> MakeDocument(const EvalSettings& settings,
                                      const DocumentSpec& spec,
                                      const Haystack& haystack,
                                      Pieces* pieces);

}  // namespace keyhole::eval
