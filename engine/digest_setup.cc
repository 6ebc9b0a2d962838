#include "engine/digest_setup.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/calibration/load_or_make.h"
#include "engine/model/synthetic_source.h"
#include "engine/selection_setup.h"
#include "engine/status_macros.h"

namespace keyhole {
namespace {

// What the figures of the layers come to.
std::string Summary(const CalibratedForm& form) {
  double overlap = 0;
  double mass = 0;
  int n = 0;
  for (std::size_t i = 0; i < form.quality.size(); ++i) {
    if (!form.maps.layers[i].selects) continue;
    overlap += form.quality[i].overlap;
    mass += form.quality[i].mass;
    ++n;
  }
  return fmt::format(
      "calibration: {} of {} layers select, {} codes a token and layer, overlap with the exact "
      "rows {:.3f}, mass carried {:.3f}",
      n,
      form.maps.layers.size(),
      form.maps.n_groups * form.maps.rank,
      overlap / std::max(n, 1),
      mass / std::max(n, 1));
}

// Tells of each new stage and then of every tenth of it.
CalibrationProgress Reporter(EngineObserver* observer) {
  return [observer, told = std::string()](std::string_view stage, double done) mutable {
    const std::string text =
        fmt::format("calibrating, {}: {} %", stage, static_cast<int>(done * 10) * 10);
    if (text == told) return;
    told = text;
    observer->OnNotice(text);
  };
}

}  // namespace

absl::StatusOr<std::shared_ptr<const DigestMaps>> LoadDigestMaps(
    const EngineConfig& config,
    const PolicyTraits& traits,
    const std::shared_ptr<const WeightSource>& source,
    EngineObserver* observer) {
  if (!traits.digests) return nullptr;
  if (config.model.path.starts_with(kSyntheticPrefix)) {
    return std::make_shared<const DigestMaps>(TruncatingMaps(source->config(), *traits.digests));
  }
  const std::string path = config.selection.calibration.empty()
                               ? DefaultCalibrationPath(config.model.path)
                               : config.selection.calibration;
  CalibrationSettings settings;
  settings.source = source;
  settings.weights = config.model.weights;
  settings.threads = config.threads;
  const auto warn = [observer](std::string_view text) {
    if (observer != nullptr) observer->OnWarning(text);
  };
  KEYHOLE_ASSIGN_OR_RETURN(
      Calibration calibration,
      LoadOrMakeCalibration(
          path, settings, observer == nullptr ? CalibrationProgress() : Reporter(observer), warn));
  std::optional<CalibratedForm>& form = *traits.digests == DigestForm::kPerKvHead
                                            ? calibration.per_kv_head
                                            : calibration.concatenated;
  if (!form) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the calibration ", path, " has no maps for policy ", std::string(traits.name)));
  }
  if (observer != nullptr) observer->OnNotice(Summary(*form));
  return std::make_shared<const DigestMaps>(std::move(form->maps));
}

}  // namespace keyhole
