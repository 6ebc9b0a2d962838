#include "client/profile_names.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "google/protobuf/descriptor.h"

namespace keyhole {
namespace {

constexpr char kPrefix[] = "ATTENTION_PROFILE_";

}  // namespace

std::vector<std::string> ProfileNames() {
  const google::protobuf::EnumDescriptor* profiles = v1::AttentionProfile_descriptor();
  std::vector<std::string> names;
  for (int i = 0; i < profiles->value_count(); ++i) {
    if (profiles->value(i)->number() == v1::ATTENTION_PROFILE_UNSPECIFIED) continue;
    names.push_back(absl::AsciiStrToLower(absl::StripPrefix(profiles->value(i)->name(), kPrefix)));
  }
  return names;
}

v1::AttentionProfile FindProfile(const std::string& name) {
  v1::AttentionProfile profile = v1::ATTENTION_PROFILE_UNSPECIFIED;
  v1::AttentionProfile_Parse(absl::StrCat(kPrefix, absl::AsciiStrToUpper(name)), &profile);
  return profile;
}

}  // namespace keyhole
