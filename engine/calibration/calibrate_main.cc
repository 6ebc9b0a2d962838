// keyhole-calibrate: model -> digest maps beside it, and how good they are.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>

#include "CLI/App.hpp"
#include "CLI/Config.hpp"
#include "CLI/Formatter.hpp"
#include "engine/calibration/calibrate.h"
#include "engine/calibration/calibration_file.h"
#include "engine/calibration/load_or_make.h"

namespace keyhole {
namespace {

constexpr int kFailed = 1;
constexpr int kWrongUse = 2;

struct Flags {
  std::string model;
  std::string out;
  std::string text_path;
  CalibrationSettings settings;
};

// Empty if the program is to go on; otherwise its exit code.
std::optional<int> ParseFlags(int argc, const char* const* argv, Flags* flags) {
  CLI::App app("Finds the maps that compress a model's keys and queries for selection",
               "keyhole-calibrate");
  app.option_defaults()->always_capture_default();
  CalibrationSettings& settings = flags->settings;
  app.add_option("--model", flags->model, "GGUF file, Hugging Face directory, or synthetic:SHAPE")
      ->required();
  app.add_option("--out", flags->out, "File to write (default: beside the model)");
  app.add_option("--text", flags->text_path, "UTF-8 text to calibrate on (default: built in)");
  app.add_option("--tokens", settings.n_tokens, "Tokens of the text, at most")
      ->check(CLI::PositiveNumber);
  app.add_option("--rank", settings.rank, "Dimensions per KV head (0: half of the head's)")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--concatenated-rank",
                 settings.concatenated_rank,
                 "Dimensions of the form for all heads (0: a third of theirs, at most 64)")
      ->check(CLI::NonNegativeNumber);
  app.add_flag("--refine", settings.refine, "Improve the maps by gradient descent (slow)");
  app.add_option("--threads", settings.threads, "Compute threads (0: all cores)")
      ->check(CLI::NonNegativeNumber);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help
    return app.exit(success);
  } catch (const CLI::Error& error) {
    fmt::print(stderr, "keyhole-calibrate: {}. See --help.\n", error.what());
    return kWrongUse;
  }
  return std::nullopt;
}

int Fail(const absl::Status& status) {
  fmt::print(stderr, "keyhole-calibrate: {}\n", std::string(status.message()));
  return kFailed;
}

absl::StatusOr<std::string> ReadText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(file)), {});
  if (file.bad() || !file.is_open()) {
    return absl::NotFoundError(fmt::format("cannot read {}", path));
  }
  if (text.empty()) return absl::InvalidArgumentError(fmt::format("{} is empty", path));
  return text;
}

// One line that is drawn over; nothing where nobody watches.
CalibrationProgress ProgressBar() {
  if (isatty(STDERR_FILENO) == 0) return {};
  return [](std::string_view stage, double done) {
    constexpr int kWidth = 40;
    const int filled = static_cast<int>(done * kWidth);
    fmt::print(
        stderr, "\r{:<10} [{:<{}}] {:3.0f}%", stage, std::string(filled, '#'), kWidth, 100 * done);
    std::fflush(stderr);
  };
}

void PrintForm(std::string_view name, const CalibratedForm& form) {
  const DigestMaps& maps = form.maps;
  fmt::print("{}: {} x {} of {} dimensions, queries at distance {}\n",
             name,
             maps.n_groups,
             maps.rank,
             maps.in_dim,
             maps.query_distance);
  fmt::print("{:>5} {:>12} {:>8} {:>8} {:>12} {:>8} {:>8}\n",
             "layer",
             "score error",
             "overlap",
             "mass",
             "needed mass",
             "peak",
             "selects");
  LayerQuality mean;
  const auto n_layers = static_cast<double>(form.quality.size());
  const auto print = [](std::string_view layer, const LayerQuality& q, std::string_view selects) {
    fmt::print("{:>5} {:>12.4f} {:>8.4f} {:>8.4f} {:>12.4f} {:>8.4f} {:>8}\n",
               layer,
               q.score_error,
               q.overlap,
               q.mass,
               q.needed_mass,
               q.peak,
               selects);
  };
  for (std::size_t i = 0; i < form.quality.size(); ++i) {
    const LayerQuality& layer = form.quality[i];
    print(fmt::to_string(i), layer, maps.layers[i].selects ? "yes" : "no");
    mean.score_error += layer.score_error / n_layers;
    mean.overlap += layer.overlap / n_layers;
    mean.mass += layer.mass / n_layers;
    mean.needed_mass += layer.needed_mass / n_layers;
    mean.peak += layer.peak / n_layers;
  }
  print("mean", mean, "");
}

int Main(Flags flags) {
  if (flags.out.empty()) flags.out = DefaultCalibrationPath(flags.model);
  if (flags.out.empty()) {
    return Fail(absl::InvalidArgumentError("a synthetic model has no folder: give --out"));
  }
  if (!flags.text_path.empty()) {
    absl::StatusOr<std::string> text = ReadText(flags.text_path);
    if (!text.ok()) return Fail(text.status());
    flags.settings.text = *std::move(text);
  }
  auto source = OpenModel(flags.model, {});
  if (!source.ok()) return Fail(source.status());
  flags.settings.source = *std::move(source);
  const CalibrationProgress progress = ProgressBar();
  const absl::StatusOr<Calibration> calibration = Calibrate(flags.settings, progress);
  if (progress) fmt::print(stderr, "\n");
  if (!calibration.ok()) return Fail(calibration.status());
  const absl::Status written = WriteCalibration(*calibration, flags.out);
  if (!written.ok()) return Fail(written);
  PrintForm("per KV head", *calibration->per_kv_head);
  if (calibration->concatenated) {
    PrintForm("all heads together", *calibration->concatenated);
  } else {
    fmt::print(stderr,
               "keyhole-calibrate: the form for all heads together is left out: too large\n");
  }
  fmt::print("written to {}\n", flags.out);
  return 0;
}

}  // namespace
}  // namespace keyhole

int main(int argc, char** argv) {
  keyhole::Flags flags;
  if (const std::optional<int> exit_code = keyhole::ParseFlags(argc, argv, &flags)) {
    return *exit_code;
  }
  return keyhole::Main(std::move(flags));
}
