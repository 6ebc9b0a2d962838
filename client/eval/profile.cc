#include "client/eval/profile.h"

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace keyhole::eval {

absl::StatusOr<Profile> ParseProfile(absl::string_view text) {
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(text, absl::MaxSplits(':', 1));
  Profile profile;
  profile.name = std::string(parts.first);
  const absl::string_view names[] = {"default", "recall", "prose", "paper"};
  if (std::find(std::begin(names), std::end(names), parts.first) == std::end(names)) {
    return absl::InvalidArgumentError(
        absl::StrCat("a profile is default, recall, prose or paper, not \"", profile.name, "\""));
  }
  if (parts.first.size() == text.size()) return profile;
  int selected = 0;
  if (!absl::SimpleAtoi(parts.second, &selected) || selected < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("behind a profile stands a number of tokens, as in recall:64, not \"",
                     std::string(parts.second),
                     "\""));
  }
  profile.selected_tokens = selected;
  return profile;
}

}  // namespace keyhole::eval
