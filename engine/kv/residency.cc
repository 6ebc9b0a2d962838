#include "engine/kv/residency.h"

#include <algorithm>
#include <limits>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/status_macros.h"

namespace keyhole {
namespace {

absl::Status TooLittle(Residency mode, std::size_t needed, std::size_t given) {
  return absl::InvalidArgumentError(absl::StrCat("residency ",
                                                 std::string(ResidencyName(mode)),
                                                 " needs ",
                                                 needed,
                                                 " bytes of the device for KV rows and has ",
                                                 given));
}

absl::Status Check(const ResidencySettings& settings,
                   const KvLayout& layout,
                   std::int32_t n_pages) {
  if (layout.page_bytes() == 0 || n_pages <= 0) {
    return absl::InvalidArgumentError("residency of no KV pages");
  }
  if (settings.device_bytes == 0) return TooLittle(settings.mode, layout.page_bytes(), 0);
  if (settings.mode != Residency::kDevice &&
      (settings.held_pages <= 0 || settings.fetched_rows <= 0)) {
    return absl::InvalidArgumentError(absl::StrCat("a step that holds ",
                                                   settings.held_pages,
                                                   " pages and fetches ",
                                                   settings.fetched_rows,
                                                   " rows cannot run: both must be positive"));
  }
  return absl::OkStatus();
}

// Rows on either side are named by 32-bit numbers.
absl::Status CheckNumbers(const ResidencyPlan& plan, const KvLayout& layout, std::int32_t n_pages) {
  const std::int64_t per_page = std::int64_t{layout.n_layers} * layout.page_size;
  const std::int64_t on_device =
      per_page * plan.n_page_slots + std::int64_t{layout.n_layers} * plan.n_hot_rows;
  if (std::max(per_page * n_pages, on_device) > std::numeric_limits<std::int32_t>::max()) {
    return absl::InvalidArgumentError(
        absl::StrCat(n_pages, " KV pages have more rows, over all layers, than can be numbered"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Residency> ParseResidency(std::string_view name) {
  for (const Residency mode : {Residency::kHost, Residency::kDevice, Residency::kAuto}) {
    if (name == ResidencyName(mode)) return mode;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("residency \"", std::string(name), "\": expected host, device or auto"));
}

absl::StatusOr<ResidencyPlan> PlanResidency(const ResidencySettings& settings,
                                            const KvLayout& layout,
                                            std::int32_t n_pages) {
  KEYHOLE_RETURN_IF_ERROR(Check(settings, layout, n_pages));
  const std::size_t page_bytes = layout.page_bytes();
  const std::size_t hot_bytes = layout.row_bytes() * layout.n_layers;  // one row of every layer
  const std::size_t n_fit = settings.device_bytes / page_bytes;
  ResidencyPlan plan = {.n_page_slots = n_pages};
  if (settings.mode == Residency::kHost || n_fit < static_cast<std::size_t>(n_pages)) {
    if (settings.mode == Residency::kDevice) {
      return TooLittle(settings.mode, page_bytes * n_pages, settings.device_bytes);
    }
    const std::int64_t all_rows = std::int64_t{n_pages} * layout.page_size;
    const std::int32_t held = std::min(settings.held_pages, n_pages);
    const std::int64_t fetched = std::min<std::int64_t>(settings.fetched_rows, all_rows);
    const std::size_t least = held * page_bytes + fetched * hot_bytes;
    if (settings.device_bytes < least) {
      return TooLittle(settings.mode, least, settings.device_bytes);
    }
    const std::size_t rest = settings.device_bytes - least;
    const bool to_pages = settings.mode == Residency::kAuto;
    plan.n_page_slots = held + static_cast<std::int32_t>(to_pages ? rest / page_bytes : 0);
    plan.n_hot_rows = static_cast<std::int32_t>(std::min<std::int64_t>(
        fetched + (to_pages ? 0 : static_cast<std::int64_t>(rest / hot_bytes)), all_rows));
  }
  plan.spills = plan.n_page_slots < n_pages;
  if (!plan.spills) plan.n_hot_rows = 0;
  KEYHOLE_RETURN_IF_ERROR(CheckNumbers(plan, layout, n_pages));
  return plan;
}

}  // namespace keyhole
