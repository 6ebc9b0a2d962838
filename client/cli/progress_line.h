// How far a long command is, on standard error.
#pragma once

#include <string>

namespace keyhole::cli {

// On a terminal one line that is written over; elsewhere a line for each milestone.
// Thread: one owner.
class ProgressLine {
 public:
  ProgressLine();
  ~ProgressLine() { Clear(); }

  void Show(const std::string& text, bool milestone);
  void Clear();

 private:
  bool terminal_;
  bool shown_ = false;
};

}  // namespace keyhole::cli
