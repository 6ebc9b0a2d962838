#include "client/cli/progress_line.h"

#include <unistd.h>

#include "fmt/format.h"

namespace keyhole::cli {

ProgressLine::ProgressLine() : terminal_(isatty(STDERR_FILENO) != 0) {}

void ProgressLine::Show(const std::string& text, bool milestone) {
  if (terminal_) {
    fmt::print(stderr, "\r\033[K{}", text);
    shown_ = true;
  } else if (milestone) {
    fmt::print(stderr, "{}\n", text);
  }
}

void ProgressLine::Clear() {
  if (shown_) fmt::print(stderr, "\r\033[K");
  shown_ = false;
}

}  // namespace keyhole::cli
