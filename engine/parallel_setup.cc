#include "engine/parallel_setup.h"

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "engine/parallel/step_message.h"
#include "engine/sha256.h"
#include "engine/status_macros.h"

namespace keyhole {
namespace {

constexpr std::int64_t kSame = -1;

// The first line of `root` that `own` lacks, by number; kSame if there is none.
std::int64_t FirstDifference(const std::vector<std::string>& root,
                             const std::vector<std::string>& own) {
  for (std::size_t i = 0; i < root.size(); ++i) {
    if (i >= own.size() || own[i] != root[i]) return static_cast<std::int64_t>(i);
  }
  return root.size() == own.size() ? kSame : 0;
}

std::string HashOf(const DigestMaps* maps) {
  std::string hashes;
  if (maps == nullptr) return hashes;
  for (const LayerDigestMaps& layer : maps->layers) {
    absl::StrAppend(&hashes,
                    Sha256Hex(std::as_bytes(std::span(layer.query))),
                    Sha256Hex(std::as_bytes(std::span(layer.key))),
                    layer.selects);
  }
  return Sha256Hex(hashes);
}

}  // namespace

absl::StatusOr<std::unique_ptr<ProcessGroup>> JoinRanks(const TensorParallelSettings& settings) {
  if (settings.size == 1) return nullptr;
  return ProcessGroup::Connect(settings);
}

absl::Status LetRootGoFirst(ProcessGroup* group, bool before) {
  if (group == nullptr || group->shard().is_root() == before) return absl::OkStatus();
  return group->Exchange(0).status();
}

absl::Status CheckPolicy(const PolicyTraits& traits) {
  if (traits.middle != MiddleRule::kBudget || traits.digests) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("policy ",
                   std::string(traits.name),
                   " reads whole keys of all heads, and with tensor-parallel-size above 1 no rank "
                   "has them: choose a policy with digests"));
}

// Where processors round otherwise, what ranks compute alike would drift apart.
std::string RankIdentity(const EngineDependencies& parts,
                         const DigestMaps* maps,
                         std::string_view processor) {
  return absl::StrCat(parts.cache_salt,
                      "\nmax_context=",
                      parts.model.max_context,
                      "\ncalibration=",
                      HashOf(maps),
                      "\nstep_message=",
                      kStepMessageVersion,
                      "\nprocessor=",
                      std::string(processor));
}

absl::Status Agree(ProcessGroup& group, const std::string& identity) {
  std::string of_root = identity;
  KEYHOLE_RETURN_IF_ERROR(group.Broadcast(of_root));
  const std::vector<std::string> root = absl::StrSplit(of_root, '\n');
  const std::vector<std::string> own = absl::StrSplit(identity, '\n');
  KEYHOLE_ASSIGN_OR_RETURN(const std::vector<std::int64_t> differences,
                           group.Exchange(FirstDifference(root, own)));
  for (std::size_t rank = 0; rank < differences.size(); ++rank) {
    if (differences[rank] == kSame) continue;
    const auto line = static_cast<std::size_t>(differences[rank]);
    std::string text =
        absl::StrCat("tensor parallel: rank ",
                     rank,
                     " was started with another model or other settings: rank 0 has ",
                     root[std::min(line, root.size() - 1)]);
    if (rank == static_cast<std::size_t>(group.shard().rank) && line < own.size()) {
      absl::StrAppend(&text, ", rank ", rank, " has ", own[line]);
    }
    return absl::InvalidArgumentError(text);
  }
  return absl::OkStatus();
}

}  // namespace keyhole
