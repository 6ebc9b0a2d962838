#include "engine/calibration/calibrate.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <new>
#include <utility>
#include <vector>

#include "engine/calibration/bundled_text.h"
#include "engine/calibration/closed_form.h"
#include "engine/calibration/digest_scales.h"
#include "engine/calibration/form_rows.h"
#include "engine/calibration/moments.h"
#include "engine/calibration/plan.h"
#include "engine/calibration/quality.h"
#include "engine/calibration/recorded_model.h"
#include "engine/calibration/refine.h"
#include "engine/calibration/samples.h"
#include "engine/calibration/tensor_tasks.h"
#include "engine/model/model_tokenizer.h"
#include "engine/model/rope_table.h"
#include "engine/status_macros.h"

namespace keyhole {
namespace {

absl::StatusOr<std::vector<TokenId>> Tokenize(const CalibrationSettings& settings) {
  KEYHOLE_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer,
                           LoadModelTokenizer(*settings.source));
  const std::string_view text = settings.text.empty() ? BundledText() : settings.text;
  // What looks like a special token in the text is text.
  KEYHOLE_ASSIGN_OR_RETURN(
      std::vector<TokenId> tokens,
      tokenizer->Encode(text, {.add_special_tokens = true, .parse_special_tokens = false}));
  const std::size_t most = std::max(settings.n_tokens, 0);
  if (tokens.size() > most) tokens.resize(most);
  return tokens;
}

// The columns of one group in rows of [heads, dim]: [n_rows * heads_of_group, dim].
std::vector<float> GroupRows(std::span<const float> rows,
                             std::int64_t row_size,
                             std::int64_t begin,
                             std::int64_t size) {
  std::vector<float> columns;
  for (std::size_t at = begin; at < rows.size(); at += row_size) {
    const auto from = rows.subspan(at, size);
    columns.insert(columns.end(), from.begin(), from.end());
  }
  return columns;
}

class Run {
 public:
  Run(const CalibrationSettings& settings, const CalibrationProgress& progress)
      : settings_(settings),
        progress_(progress),
        config_(settings.source->config()),
        device_(settings.threads) {}

  absl::StatusOr<Calibration> Do() {
    KEYHOLE_ASSIGN_OR_RETURN(const std::vector<TokenId> tokens, Tokenize(settings_));
    KEYHOLE_ASSIGN_OR_RETURN(plan_,
                             PlanCalibration(settings_, static_cast<std::int64_t>(tokens.size())));
    rope_.emplace(config_, std::max<std::int64_t>(plan_.segment, plan_.query_distance + 1));
    KEYHOLE_ASSIGN_OR_RETURN(
        const std::unique_ptr<RecordedModel> model,
        RecordedModel::Load({.source = settings_.source,
                             .weights = settings_.weights,
                             .device = &device_,
                             .max_segment = static_cast<std::int32_t>(plan_.segment),
                             .progress = [this](double done) { Tell("loading", done); }}));
    Calibration calibration;
    calibration.model_hash = settings_.source->content_hash();
    calibration.rope = DescribeRope(config_);
    calibration.per_kv_head = EmptyForm(DigestForm::kPerKvHead);
    if (plan_.concatenated_rank > 0) {
      calibration.concatenated = EmptyForm(DigestForm::kConcatenated);
    }
    KEYHOLE_RETURN_IF_ERROR(Fit(tokens, *model, calibration));
    KEYHOLE_RETURN_IF_ERROR(Measure(tokens, *model, calibration));
    return calibration;
  }

 private:
  void Tell(std::string_view stage, double done) const {
    if (progress_) progress_(stage, done);
  }

  Rotation FarRotation() const {
    return RotationTo(
        rope_->rows(), static_cast<std::int32_t>(config_.head_dim), plan_.query_distance);
  }

  CalibratedForm EmptyForm(DigestForm form) const {
    const bool split = form == DigestForm::kPerKvHead;
    CalibratedForm empty;
    empty.maps.form = form;
    empty.maps.n_groups = split ? static_cast<std::int32_t>(config_.n_kv_heads) : 1;
    empty.maps.rank = split ? plan_.rank : plan_.concatenated_rank;
    empty.maps.in_dim = static_cast<std::int32_t>(split ? config_.head_dim : config_.kv_size());
    empty.maps.query_distance = plan_.query_distance;
    empty.maps.layers.resize(config_.n_layers);
    empty.quality.resize(config_.n_layers);
    return empty;
  }

  // Segments of about one size.
  absl::Status ReadFitted(const std::vector<TokenId>& tokens, RecordedModel& model) {
    const std::int64_t n_segments = (plan_.n_fitted + plan_.segment - 1) / plan_.segment;
    const std::int64_t size = (plan_.n_fitted + n_segments - 1) / n_segments;
    for (std::int64_t first = 0; first < plan_.n_fitted; first += size) {
      const std::span segment(tokens.data() + first, std::min(size, plan_.n_fitted - first));
      KEYHOLE_RETURN_IF_ERROR(Read(segment, first, model));
    }
    return absl::OkStatus();
  }

  absl::Status Read(std::span<const TokenId> segment, std::int64_t first, RecordedModel& model) {
    return model.Read(segment, first, [this](std::int32_t n_tokens) {
      n_read_ += n_tokens;
      Tell("reading", static_cast<double>(n_read_) / static_cast<double>(plan_.n_tokens));
    });
  }

  absl::Status Fit(const std::vector<TokenId>& tokens,
                   RecordedModel& model,
                   Calibration& calibration) {
    MomentRecorder moments(config_, FarRotation(), plan_.concatenated_rank > 0);
    SampleRecorder sample(config_, settings_.refine ? plan_.ranges : TokenChoice{}, plan_.ranges);
    model.SetSinks({&moments, &sample});
    KEYHOLE_RETURN_IF_ERROR(ReadFitted(tokens, model));
    // Layer by layer, so that a long fit can tell how far it is.
    for (std::int32_t layer = 0; layer < config_.n_layers; layer += device_.pool().n_threads()) {
      const std::int32_t end = std::min<std::int32_t>(static_cast<std::int32_t>(config_.n_layers),
                                                      layer + device_.pool().n_threads());
      ParallelTensorTasks(device_, end - layer, [&](std::int64_t i) {
        FitLayer(layer + i, moments, sample, calibration);
      });
      Tell("fitting", static_cast<double>(end) / static_cast<double>(config_.n_layers));
    }
    return absl::OkStatus();
  }

  void FitLayer(std::int64_t layer,
                const MomentRecorder& moments,
                const SampleRecorder& sample,
                Calibration& calibration) const {
    const LayerMoments means = moments.Layer(static_cast<std::int32_t>(layer));
    const LayerSample& rows = sample.Layer(static_cast<std::int32_t>(layer));
    const auto fit = [&](CalibratedForm& form, const FormMoments& form_moments) {
      FactorMaps maps = ClosedForm(form_moments, form.maps.rank);
      if (settings_.refine) RefineForm(form.maps.form, rows, maps);
      form.maps.layers[layer] = FitToInt8(maps, rows.keys);
    };
    fit(*calibration.per_kv_head, means.per_kv_head);
    if (calibration.concatenated) fit(*calibration.concatenated, means.concatenated);
  }

  void RefineForm(DigestForm form, const LayerSample& rows, FactorMaps& maps) const {
    const std::vector<float> queries = FormQueries(config_, form, FarRotation(), rows);
    const std::int64_t q_size = std::int64_t{1} * FormHeads(config_, form) * maps.dim;
    const std::int64_t q_columns = q_size / maps.n_groups;
    const std::int64_t k_size = std::int64_t{1} * maps.n_groups * maps.dim;
    for (std::int32_t group = 0; group < maps.n_groups; ++group) {
      const std::vector<float> q = GroupRows(queries, q_size, group * q_columns, q_columns);
      const std::vector<float> k =
          GroupRows(rows.keys, k_size, std::int64_t{1} * group * maps.dim, maps.dim);
      Refine({q, k}, {}, group, maps);
    }
  }

  absl::Status Measure(const std::vector<TokenId>& tokens,
                       RecordedModel& model,
                       Calibration& calibration) {
    const TokenChoice all = {.begin = plan_.n_fitted, .end = plan_.n_tokens};
    SampleRecorder sample(config_, plan_.probes, all);
    model.SetSinks({&sample});
    KEYHOLE_RETURN_IF_ERROR(Read(std::span(tokens).subspan(plan_.n_fitted), plan_.n_fitted, model));
    HeldOutText text;
    text.config = &config_;
    text.table = rope_->rows();
    text.sizes = plan_.sizes;
    for (std::int64_t token = plan_.probes.begin; token < plan_.n_tokens; ++token) {
      if (plan_.probes.Has(token)) {
        text.probes.push_back(static_cast<std::int32_t>(token - plan_.n_fitted));
      }
    }
    Tell("measuring", 0);
    ParallelTensorTasks(device_, config_.n_layers, [&](std::int64_t layer) {
      const ExactLayer exact(
          text, plan_.query_distance, sample.Layer(static_cast<std::int32_t>(layer)));
      for (auto* form : {&calibration.per_kv_head, &calibration.concatenated}) {
        if (!form->has_value()) continue;
        const DigestMaps& maps = (*form)->maps;
        (*form)->quality[layer] = exact.Measure(maps, maps.layers[layer]);
      }
    });
    for (auto* form : {&calibration.per_kv_head, &calibration.concatenated}) {
      if (form->has_value()) DecideSelection((*form)->quality, (*form)->maps);
    }
    Tell("measuring", 1);
    return absl::OkStatus();
  }

  const CalibrationSettings& settings_;
  const CalibrationProgress& progress_;
  const ModelConfig& config_;
  Device device_;
  CalibrationPlan plan_;
  std::optional<RopeTable> rope_;
  std::int64_t n_read_ = 0;
};

}  // namespace

absl::StatusOr<Calibration> Calibrate(const CalibrationSettings& settings,
                                      const CalibrationProgress& progress) {
  try {
    return Run(settings, progress).Do();
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("there is not enough memory to calibrate the model");
  } catch (const std::exception& error) {
    return absl::InternalError(fmt::format("calibration failed: {}", error.what()));
  }
}

}  // namespace keyhole
