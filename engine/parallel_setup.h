// What the ranks of a model agree on before they load it.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/engine_config.h"
#include "engine/engine_dependencies.h"
#include "engine/parallel/process_group.h"
#include "engine/selection/digest_maps.h"
#include "engine/selection/selection_policy.h"

namespace keyhole {

// Null with one rank. Errors: those of ProcessGroup::Connect.
absl::StatusOr<std::unique_ptr<ProcessGroup>> JoinRanks(const TensorParallelSettings& settings);

// What one rank does at a time: rank 0 passes before the others, which may find what it made (a
// calibration file). Errors: those of ProcessGroup::Exchange.
absl::Status LetRootGoFirst(ProcessGroup* group, bool before);

// Errors: INVALID_ARGUMENT for a policy that reads whole keys of all heads, which no rank has.
absl::Status CheckPolicy(const PolicyTraits& traits);

// All that must be the same on every rank, for Agree. `maps` may be null; `processor` tells those
// apart that round otherwise.
std::string RankIdentity(const EngineDependencies& parts,
                         const DigestMaps* maps,
                         std::string_view processor);

// `identity`: one line, name=value, for each thing that results depend on. Errors:
// INVALID_ARGUMENT, on every rank, with the rank and the line that differ from rank 0's.
absl::Status Agree(ProcessGroup& group, const std::string& identity);

}  // namespace keyhole
