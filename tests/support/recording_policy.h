// A selection policy that remembers what another one chose.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "engine/selection/selection_policy.h"

namespace keyhole {

struct SelectionRecord {
  RequestId id = 0;
  std::int32_t layer = 0;
  std::int32_t past = 0;
  Selection selection;

  bool operator==(const SelectionRecord&) const = default;
};

class RecordingPolicy final : public SelectionPolicy {
 public:
  // `records` outlives this object.
  RecordingPolicy(std::unique_ptr<SelectionPolicy> policy, std::vector<SelectionRecord>* records)
      : policy_(std::move(policy)), records_(records) {}

  PolicyTraits traits() const override { return policy_->traits(); }
  absl::StatusOr<Selection> Select(Device& device, const SelectionContext& context) override;
  void OnAppend(Device& device, std::span<const AppendContext> sequences) override {
    policy_->OnAppend(device, sequences);
  }
  void OnSequenceEnd(RequestId id) override { policy_->OnSequenceEnd(id); }

 private:
  std::unique_ptr<SelectionPolicy> policy_;
  std::vector<SelectionRecord>* records_;
};

}  // namespace keyhole
