// What calibration finds for one model. Plain data.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/selection/digest_maps.h"

namespace keyhole {

// How well the maps of one form do in one layer, measured on text that they were not made from.
struct LayerQuality {
  double score_error = 0;  // relative: |q'.k' - q.k| against |q.k|, root mean squares
  double overlap = 0;      // share of the exact top rows that the compressed scores choose too
  double mass = 0;  // exact attention mass of the chosen rows, against that of the exact ones
  double needed_mass = 0;  // share of all attention that middle rows hold: what selection is for
  double peak = 0;         // most of its attention that any head gave to one middle row
};

struct CalibratedForm {
  DigestMaps maps;
  std::vector<LayerQuality> quality;  // by layer
};

struct Calibration {
  std::string model_hash;  // WeightSource::content_hash()
  std::string rope;        // DescribeRope of its config; empty: as the file declares it
  std::optional<CalibratedForm> per_kv_head;
  std::optional<CalibratedForm> concatenated;
};

}  // namespace keyhole
