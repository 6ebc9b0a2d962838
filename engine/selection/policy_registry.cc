#include "engine/selection/policy_registry.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "absl/status/status.h"
#include "engine/selection/policies/full.h"
#include "engine/selection/policies/sink_recent.h"

namespace keyhole {
namespace {

struct Entry {
  std::string_view name;
  std::unique_ptr<SelectionPolicy> (*make)();
};

template <typename Policy>
std::unique_ptr<SelectionPolicy> Make() {
  return std::make_unique<Policy>();
}

// A policy's one line.
constexpr Entry kPolicies[] = {
    {"full", Make<FullPolicy>},
    {"sink_recent", Make<SinkRecentPolicy>},
};

}  // namespace

absl::StatusOr<std::unique_ptr<SelectionPolicy>> MakeSelectionPolicy(std::string_view name) {
  for (const Entry& entry : kPolicies) {
    if (entry.name == name) return entry.make();
  }
  return absl::InvalidArgumentError(fmt::format("unknown selection policy '{}': use one of {}",
                                                name,
                                                fmt::join(SelectionPolicyNames(), ", ")));
}

std::vector<std::string_view> SelectionPolicyNames() {
  std::vector<std::string_view> names;
  for (const Entry& entry : kPolicies) names.push_back(entry.name);
  return names;
}

}  // namespace keyhole
