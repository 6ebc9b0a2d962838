#include "client/cli/prompt_input.h"

#include <unistd.h>

#include <fstream>
#include <iostream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "google/protobuf/stubs/common.h"

namespace keyhole::cli {
namespace {

absl::StatusOr<std::string> CheckUtf8(std::string text, const std::string& origin) {
  if (!google::protobuf::internal::IsStructurallyValidUTF8(text.data(),
                                                           static_cast<int>(text.size()))) {
    return absl::InvalidArgumentError(absl::StrCat(origin, " is not valid UTF-8"));
  }
  return text;
}

absl::StatusOr<std::string> ReadAll(std::istream& stream, const std::string& origin) {
  std::string text;
  char buffer[1 << 16];
  // read() tells of errors, such as a directory's, where an iterator would throw.
  while (stream.read(buffer, sizeof(buffer)), stream.gcount() > 0) {
    text.append(buffer, static_cast<std::size_t>(stream.gcount()));
  }
  if (stream.bad()) return absl::InvalidArgumentError(absl::StrCat("cannot read ", origin));
  return CheckUtf8(std::move(text), origin);
}

}  // namespace

absl::StatusOr<std::string> ReadTextFile(const std::string& path) {
  if (path == "-") return ReadAll(std::cin, "standard input");
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::InvalidArgumentError(absl::StrCat("cannot read ", path));
  return ReadAll(file, path);
}

absl::StatusOr<std::string> ReadPrompt(const PromptInput& input) {
  if (!input.text.empty() && !input.file.empty()) {
    return absl::InvalidArgumentError("give a text or a file, not both");
  }
  if (!input.text.empty()) return CheckUtf8(input.text, "the argument");
  if (!input.file.empty()) return ReadTextFile(input.file);
  if (isatty(STDIN_FILENO))
    return absl::InvalidArgumentError("no text: give an argument, a file, or pipe it in");
  return ReadTextFile("-");
}

absl::StatusOr<std::string> ReadQuestion(const PromptInput& question, const std::string& document) {
  if (document.empty()) return ReadPrompt(question);
  if (document == "-" && question.text.empty() && (question.file.empty() || question.file == "-")) {
    return absl::InvalidArgumentError(
        "standard input is the document: give the message as an argument or a file");
  }
  auto asked = ReadPrompt(question);
  if (!asked.ok()) return asked;
  auto about = ReadTextFile(document);
  if (!about.ok()) return about;
  return absl::StrCat(*about, "\n\n", *asked);
}

}  // namespace keyhole::cli
