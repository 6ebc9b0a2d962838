#include "engine/calibration/load_or_make.h"

#include <fmt/format.h>

#include <filesystem>
#include <system_error>

#include "engine/calibration/calibration_file.h"
#include "engine/model/file_error.h"
#include "engine/model/synthetic_source.h"
#include "engine/status_macros.h"

namespace keyhole {
namespace {

absl::Status CheckForm(const std::optional<CalibratedForm>& form, const ModelConfig& config) {
  if (!form) return absl::OkStatus();
  const DigestMaps& maps = form->maps;
  const bool split = maps.form == DigestForm::kPerKvHead;
  if (maps.layers.size() == config.n_layers && maps.n_groups == (split ? config.n_kv_heads : 1) &&
      maps.in_dim == (split ? config.head_dim : config.kv_size())) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      fmt::format("the calibration has {} layers and {} groups of {}, the model {} layers and {} "
                  "KV heads of {}",
                  maps.layers.size(),
                  maps.n_groups,
                  maps.in_dim,
                  config.n_layers,
                  config.n_kv_heads,
                  config.head_dim));
}

// Keys are compared after a rotation: maps of one serve no other.
absl::Status CheckRope(const Calibration& calibration, const ModelConfig& config) {
  const std::string rope = DescribeRope(config);
  if (calibration.rope.empty() ? config.own_rope : calibration.rope == rope) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      fmt::format("the calibration was made with the rotary settings {}, the model has {}: remove "
                  "the file, or name another with calibration, which is made where there is none",
                  calibration.rope.empty() ? "of the model's file" : Printable(calibration.rope),
                  rope));
}

}  // namespace

std::string DefaultCalibrationPath(const std::string& model_path) {
  if (model_path.starts_with(kSyntheticPrefix)) return "";
  std::error_code ignored;
  if (std::filesystem::is_directory(model_path, ignored)) {
    return (std::filesystem::path(model_path) / "calibration.safetensors").string();
  }
  std::string stem = model_path;
  if (stem.ends_with(".gguf")) stem.resize(stem.size() - std::string_view(".gguf").size());
  return stem + ".calibration.safetensors";
}

absl::Status CheckCalibration(const Calibration& calibration, const WeightSource& source) {
  if (calibration.model_hash != source.content_hash()) {
    return absl::InvalidArgumentError(
        fmt::format("the calibration was made from another model (SHA-256 {}, this one has {}): "
                    "remove the file, or make it anew with keyhole-calibrate",
                    Printable(calibration.model_hash),
                    source.content_hash()));
  }
  KEYHOLE_RETURN_IF_ERROR(CheckRope(calibration, source.config()));
  KEYHOLE_RETURN_IF_ERROR(CheckForm(calibration.per_kv_head, source.config()));
  return CheckForm(calibration.concatenated, source.config());
}

absl::StatusOr<Calibration> LoadOrMakeCalibration(const std::string& path,
                                                  const CalibrationSettings& settings,
                                                  const CalibrationProgress& progress,
                                                  const CalibrationWarning& warn) {
  if (!path.empty()) {
    absl::StatusOr<Calibration> stored = ReadCalibration(path);
    if (stored.ok()) {
      const absl::Status status = CheckCalibration(*stored, *settings.source);
      if (!status.ok()) return InContext(path, status);
    }
    if (!absl::IsNotFound(stored.status())) return stored;
  }
  KEYHOLE_ASSIGN_OR_RETURN(Calibration made, Calibrate(settings, progress));
  if (path.empty()) return made;
  const absl::Status written = WriteCalibration(made, path);
  if (!written.ok() && warn) {
    warn(fmt::format("the calibration is not stored and will be made again at the next start: {}",
                     std::string(written.message())));
  }
  return made;
}

}  // namespace keyhole
