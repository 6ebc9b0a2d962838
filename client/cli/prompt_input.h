// Where a command's text comes from: an argument, a file, or standard input.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace keyhole::cli {

struct PromptInput {
  std::string text;  // the argument
  std::string file;  // "-" for standard input
};

// The argument if there is one, else the file, else standard input when it is not a terminal.
// Errors: INVALID_ARGUMENT for both at once, for neither, for an unreadable file or text that is
// not UTF-8.
absl::StatusOr<std::string> ReadPrompt(const PromptInput& input);

// The same after the document that it is about, a file or "-", if there is one.
// Errors: as above; INVALID_ARGUMENT also where both would come from standard input.
absl::StatusOr<std::string> ReadQuestion(const PromptInput& question, const std::string& document);

// Errors: INVALID_ARGUMENT as above.
absl::StatusOr<std::string> ReadTextFile(const std::string& path);

}  // namespace keyhole::cli
