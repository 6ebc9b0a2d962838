// Scores candidates by their whole keys, as the KV pages hold them: the measure of all compression.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/selection/policy_parts.h"
#include "engine/selection/query_probes.h"
#include "engine/selection/row_scorer.h"

namespace keyhole {

// The soft vote in f32 over un-compressed keys. In native positions the pages' keys are turned back
// first. Slow and meant to be: for the policy without compression and for recall samples.
class ExactScorer final : public RowScorer {
 public:
  explicit ExactScorer(const PolicyParts& parts);

  std::unique_ptr<RowScorer> Clone() const override {
    return std::make_unique<ExactScorer>(parts_);
  }

  // Needs no Prepare.
  void Score(Device& device,
             const SelectionContext& context,
             const Candidates& candidates,
             LayerSelection& times,
             std::span<float> scores) override;

 private:
  // One probe's logits, [n_heads, n] in logits_, and each tile's maximum per head.
  void Logits(Device& device,
              const SelectionContext& context,
              const Candidates& candidates,
              const float* probe);
  void LoadKey(const SelectionContext& context, std::int32_t row, std::span<float> key) const;

  // scores[j] = max(scores[j], sum over heads of the softmax of logits_).
  void Vote(Device& device, std::span<float> scores);

  PolicyParts parts_;
  ProbeRule probe_rule_;

  // Reused from call to call.
  QueryProbes probes_;
  std::vector<float> logits_;     // [n_heads, n]
  std::vector<float> tile_max_;   // [n_heads, tiles]
  std::vector<double> tile_sum_;  // [n_heads, tiles]
};

}  // namespace keyhole
