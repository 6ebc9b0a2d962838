#include "engine/page_identity.h"

#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/attention/distances.h"

namespace keyhole {
namespace {

std::string Describe(const Distances& distances) {
  return absl::StrJoin(std::tuple(distances.selected,
                                  distances.initial,
                                  distances.far_bias,
                                  distances.local,
                                  distances.budget),
                       ",");
}

// Only one set of maps lives in a process; their sizes tell its forms apart.
std::string Describe(const DigestMaps* maps) {
  if (maps == nullptr) return "none";
  return absl::StrCat(static_cast<int>(maps->form), ",", maps->n_groups, ",", maps->rank);
}

}  // namespace

std::string PageIdentity(const EngineConfig& config,
                         const ModelInfo& model,
                         const AttentionSettings& attention,
                         const PolicyParts& policy) {
  const DistanceSettings& distances = attention.distances;
  const SelectionSizes& sizes = attention.sizes;
  return absl::StrJoin(
      std::vector<std::string>{
          absl::StrCat("revision=", model.revision),
          absl::StrCat("rope: ", DescribeRope(model.config)),
          absl::StrCat("weights=", static_cast<int>(config.model.weights)),
          absl::StrCat("kv_type=", static_cast<int>(config.kv.type)),
          absl::StrCat("page_size=", config.kv.page_size),
          absl::StrCat("chunk_size=", config.scheduler.chunk_size),
          absl::StrCat("policy=", config.selection.policy),
          absl::StrCat("sizes=", sizes.initial, ",", sizes.local, ",", sizes.selected),
          absl::StrCat("prefill_local=", attention.prefill_local),
          absl::StrCat("positions=", static_cast<int>(model.positions)),
          absl::StrCat("recall=", Describe(distances.recall)),
          absl::StrCat("prose=", Describe(distances.prose)),
          absl::StrCat("paper=", Describe(distances.paper)),
          absl::StrCat("default_profile=", static_cast<int>(distances.default_profile)),
          absl::StrCat("tail=", distances.tail),
          absl::StrCat("query_distance=", policy.query_distance),
          absl::StrCat("proximity=", policy.proximity),
          absl::StrCat("probes=", policy.probes, ",", policy.single_queries),
          absl::StrCat("coarse=", config.selection.coarse_dims, ",", policy.fine_rows),
          absl::StrCat("maps=", Describe(policy.maps.get())),
      },
      "\n");
}

PrefixRules PrefixRulesOf(const AttentionSettings& attention, const Chunking& chunking) {
  const DistanceSettings& distances = attention.distances;
  return {.chunk_size = distances.chunk_size,
          .positions = attention.positions,
          .tail = distances.tail,
          .tail_reads_other_rows =
              chunking.tail_chunk > 0 || attention.prefill_local < attention.sizes.local,
          .default_profile = distances.default_profile,
          .before_tail = distances.ProfileBeforeTail()};
}

}  // namespace keyhole
