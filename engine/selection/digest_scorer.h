// Scores candidates by their digests: compressed queries against compressed keys.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/ops/append_digests.h"
#include "engine/ops/rank_blocks.h"
#include "engine/ops/score_rows.h"
#include "engine/ops/top_k.h"
#include "engine/selection/policy_parts.h"
#include "engine/selection/query_probes.h"
#include "engine/selection/row_scorer.h"

namespace keyhole {

// A vote takes the chunk's probes, a shift every query of it.
struct DigestRule {
  DigestForm form = DigestForm::kPerKvHead;
  ScoreRule score = ScoreRule::kVote;
};

// Digests are written at append, by page, and never again. Compressed queries are int8 with one
// scale per head. A vote over many rows is taken from coarse to fine: the first dimensions, which
// tell most, rank blocks of rows; the rows of the best blocks are scored by all. Source: ESA
// section 3.1 (arXiv 2502.14477); the vote is TokenSelect's (arXiv 2411.02886).
class DigestScorer final : public RowScorer {
 public:
  // Errors: INVALID_ARGUMENT where the parts lack maps or digests, or their sizes do not fit.
  static absl::StatusOr<std::unique_ptr<RowScorer>> Create(const PolicyParts& parts,
                                                           const DigestRule& rule);

  std::unique_ptr<RowScorer> Clone() const override;
  bool Selects(std::int32_t layer) const override { return slots_[layer] >= 0; }
  Candidates Prepare(Device& device,
                     const SelectionContext& context,
                     RowRange middle,
                     LayerSelection& times) override;
  void Score(Device& device,
             const SelectionContext& context,
             const Candidates& candidates,
             LayerSelection& times,
             std::span<float> scores) override;
  void OnAppend(Device& device, std::span<const AppendContext> sequences) override;

 private:
  DigestScorer(const PolicyParts& parts, const DigestRule& rule);

  // Queries of one probe that have scores of their own: concatenated heads are one.
  std::int32_t QueriesPerProbe() const;
  void Compress(const SelectionContext& context);
  Candidates BestBlocks(Device& device,
                        const SelectionContext& context,
                        RowRange middle,
                        std::int32_t n_blocks);

  PolicyParts parts_;
  DigestRule rule_;
  ProbeRule probe_rule_;
  float softmax_scale_;
  std::vector<std::int32_t> slots_;  // by layer; -1: the layer selects nothing

  // Reused from call to call.
  QueryProbes probes_;
  std::vector<float> compressed_;   // [rank], of one query
  std::vector<std::int8_t> codes_;  // [n_probes, heads, rank]
  std::vector<float> scales_;       // [n_probes, heads]
  std::vector<AppendDigestsParams> appends_;
  ScoreWorkspace workspace_;
  RankWorkspace rank_workspace_;
  std::vector<float> ranks_;          // of whole blocks
  std::vector<std::int32_t> blocks_;  // the best ones, by number
  TopKWorkspace top_k_;
};

}  // namespace keyhole
