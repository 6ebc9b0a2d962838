// Measures maps on text that they were not made from.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/calibration/calibration.h"
#include "engine/calibration/samples.h"
#include "engine/model/model_config.h"
#include "engine/ops/rope.h"
#include "engine/selection/selection.h"

namespace keyhole {

// One segment of text: keys of all of its tokens, queries of some of them.
struct HeldOutText {
  const ModelConfig* config = nullptr;
  RopeRows table;                    // covers the segment and the query distance
  SelectionSizes sizes;              // how the segment is cut; `selected` rows are chosen
  std::vector<std::int32_t> probes;  // positions of the queries
};

// What a layer's figures are measured against: it does not depend on the maps.
class ExactLayer {
 public:
  // `text` and `sample` outlive this object. Thread: one owner; uses LibTorch.
  ExactLayer(const HeldOutText& text, std::int32_t query_distance, const LayerSample& sample);

  // Of one form's maps, int8 rounding of both sides included. For the per-head form the rows are
  // chosen by the vote, for the concatenated one by the raw sum; the mass of both is that of the
  // heads' softmaxes over the middle.
  LayerQuality Measure(const DigestMaps& shape, const LayerDigestMaps& maps) const;

 private:
  struct Probe {
    RowRange middle;
    std::vector<float> logits;  // [n_heads, middle.size()], queries at the query distance
    std::vector<double> mass;   // [middle.size()], summed over heads
  };

  // The attention of the model itself, every row at its own position.
  void MeasureNative();

  const HeldOutText& text_;
  std::int32_t query_distance_;
  const LayerSample& sample_;
  std::vector<Probe> probes_;
  double needed_mass_ = 0;
  double peak_ = 0;
};

// Sets `selects` of every layer. The first layers, before any of them has looked a token up, need
// no selection: their heads spread what they give to the middle so thinly that no row matters. A
// layer counts as one of them when neither it nor an earlier one has a peak worth selecting.
void DecideSelection(const std::vector<LayerQuality>& quality, DigestMaps& maps);

}  // namespace keyhole
