// Where KV rows live when there is an accelerator, and how its memory is divided between them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/kv/kv_layout.h"

namespace keyhole {

enum class Residency {
  kHost,    // pages on the host; on the device the pages that a step holds, and hot rows
  kDevice,  // every page on the device
  kAuto,    // pages on the device while they fit, then the most recently used of them
};

// "host", "device" or "auto". Errors: INVALID_ARGUMENT for anything else.
absl::StatusOr<Residency> ParseResidency(std::string_view name);
constexpr std::string_view ResidencyName(Residency residency) {
  switch (residency) {
    case Residency::kHost:
      return "host";
    case Residency::kDevice:
      return "device";
    case Residency::kAuto:
      break;
  }
  return "auto";
}

struct ResidencySettings {
  Residency mode = Residency::kAuto;
  std::size_t device_bytes = 0;  // for rows; digests and weights are counted elsewhere
  // What a step may need at once: pages with initial, local and new rows, of all its sequences, and
  // rows of one layer that are fetched.
  std::int32_t held_pages = 0;
  std::int32_t fetched_rows = 0;
};

struct ResidencyPlan {
  std::int32_t n_page_slots = 0;
  std::int32_t n_hot_rows = 0;  // of each layer; 0 where every page has a slot
  bool spills = false;          // there are more pages than slots
};

// `host` gives a step's pages their slots and the rest to hot rows, `auto` a step's rows and the
// rest to pages; where every page fits, `auto` is `device`.
// Errors: INVALID_ARGUMENT where a step, or with `device` a page, would have no room; it names what
// is needed and what there is.
absl::StatusOr<ResidencyPlan> PlanResidency(const ResidencySettings& settings,
                                            const KvLayout& layout,
                                            std::int32_t n_pages);

}  // namespace keyhole
