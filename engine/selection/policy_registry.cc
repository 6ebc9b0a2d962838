#include "engine/selection/policy_registry.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "absl/status/status.h"
#include "engine/selection/policies/esa.h"
#include "engine/selection/policies/esa_exact.h"
#include "engine/selection/policies/esa_individual.h"
#include "engine/selection/policies/esa_paper.h"
#include "engine/selection/policies/full.h"
#include "engine/selection/policies/sink_recent.h"

namespace keyhole {
namespace {

using MadePolicy = absl::StatusOr<std::unique_ptr<SelectionPolicy>>;

struct Entry {
  PolicyTraits traits;
  MadePolicy (*make)(const PolicyParts& parts);
};

template <typename Policy>
MadePolicy Make(const PolicyParts&) {
  return std::make_unique<Policy>();
}

// A policy's one line.
constexpr Entry kPolicies[] = {
    {kEsaTraits, MakeEsaPolicy},
    {kEsaPaperTraits, MakeEsaPaperPolicy},
    {kEsaIndividualTraits, MakeEsaIndividualPolicy},
    {kEsaExactTraits, MakeEsaExactPolicy},
    {kFullTraits, Make<FullPolicy>},
    {kSinkRecentTraits, Make<SinkRecentPolicy>},
};

absl::StatusOr<const Entry*> Find(std::string_view name) {
  for (const Entry& entry : kPolicies) {
    if (entry.traits.name == name) return &entry;
  }
  return absl::InvalidArgumentError(fmt::format("unknown selection policy '{}': use one of {}",
                                                name,
                                                fmt::join(SelectionPolicyNames(), ", ")));
}

}  // namespace

absl::StatusOr<PolicyTraits> FindSelectionPolicy(std::string_view name) {
  const absl::StatusOr<const Entry*> entry = Find(name);
  if (!entry.ok()) return entry.status();
  return (*entry)->traits;
}

MadePolicy MakeSelectionPolicy(std::string_view name, const PolicyParts& parts) {
  const absl::StatusOr<const Entry*> entry = Find(name);
  if (!entry.ok()) return entry.status();
  return (*entry)->make(parts);
}

std::vector<std::string_view> SelectionPolicyNames() {
  std::vector<std::string_view> names;
  for (const Entry& entry : kPolicies) names.push_back(entry.traits.name);
  return names;
}

}  // namespace keyhole
