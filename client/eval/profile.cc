#include "client/eval/profile.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "client/profile_names.h"

namespace keyhole::eval {

absl::StatusOr<Profile> ParseProfile(absl::string_view text) {
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(text, absl::MaxSplits(':', 1));
  Profile profile;
  profile.name = std::string(parts.first);
  std::vector<std::string> names = ProfileNames();
  names.insert(names.begin(), Profile().name);
  if (std::find(names.begin(), names.end(), profile.name) == names.end()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a profile is one of ", absl::StrJoin(names, ", "), ", not \"", profile.name, "\""));
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
