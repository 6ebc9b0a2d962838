#include "client/eval/settings.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "client/eval/profile.h"

namespace keyhole::eval {
namespace {

constexpr std::uint64_t kFactStream = 2;
constexpr std::uint64_t kDepthStream = 3;
// What a written answer may take beyond the expected one; in a chat the template's share, too.
constexpr int kWrittenTokens = 4;
constexpr int kChatTokens = 128;

int AskedCount(const EvalSettings& settings) {
  return settings.depths.empty() ? settings.questions : static_cast<int>(settings.depths.size());
}

int PlantedCount(const EvalSettings& settings) {
  const bool more = settings.depths.empty() && settings.planted > 0;
  return more ? settings.planted : AskedCount(settings);
}

// By rising depth; drawn near even places unless they are given.
std::vector<double> Depths(const EvalSettings& settings, int count, std::uint64_t seed) {
  std::vector<double> depths = settings.depths;
  if (depths.empty()) {
    Random random(seed, kDepthStream);
    for (int i = 0; i < count; ++i) depths.push_back((i + 0.1 + 0.8 * random.Share()) / count);
  }
  std::sort(depths.begin(), depths.end());
  return depths;
}

DocumentPlan PlanNeedles(const EvalSettings& settings, DocumentPlan plan) {
  const int count = PlantedCount(settings);
  Random random(plan.seed, kFactStream);
  const auto facts =
      settings.facts == "diverse" ? DiverseFacts(count, &random) : LookAlikeFacts(count, &random);
  const auto depths = Depths(settings, count, plan.seed);
  const int asked = AskedCount(settings);
  for (int i = 0; i < count; ++i) {
    // Evenly spread among the planted ones.
    const bool ask = (i + 1) * asked / count > i * asked / count;
    plan.facts.push_back({.fact = facts[i], .depth = depths[i], .asked = ask});
  }
  return plan;
}

DocumentPlan PlanPasskey(const EvalSettings& settings, int index, DocumentPlan plan) {
  const int count = AskedCount(settings);
  Random random(plan.seed + 1'000'003u * index, kFactStream);
  plan.facts.push_back(
      {.fact = PassKey(&random), .depth = Depths(settings, count, plan.seed)[index]});
  return plan;
}

}  // namespace

const char* TaskName(Task task) {
  switch (task) {
    case Task::kPasskey:
      return "passkey";
    case Task::kNeedles:
      return "needles";
    case Task::kRetrieveKv:
      return "retrieve-kv";
    case Task::kPerplexity:
      return "perplexity";
  }
  return "";
}

absl::Status CheckSettings(const EvalSettings& settings) {
  for (const std::string& profile : settings.profiles) {
    if (auto parsed = ParseProfile(profile); !parsed.ok()) return parsed.status();
  }
  if (settings.task == Task::kNeedles) {
    const int most = settings.facts == "diverse" ? kMaxDiverse : kMaxLookAlikes;
    const int planted = PlantedCount(settings);
    if (planted > most) {
      return absl::InvalidArgumentError(
          absl::StrCat("there are ", most, " ", settings.facts, " facts: cannot plant ", planted));
    }
    if (planted < AskedCount(settings)) {
      return absl::InvalidArgumentError("more questions than planted facts");
    }
  }
  if (settings.chat && settings.task == Task::kPerplexity) {
    return absl::InvalidArgumentError("perplexity has no question to ask in a chat");
  }
  return absl::OkStatus();
}

std::vector<DocumentSpec> ListDocuments(const EvalSettings& settings) {
  const int each = settings.task == Task::kPasskey ? AskedCount(settings) : 1;
  std::vector<DocumentSpec> specs;
  for (const int length : settings.lengths) {
    for (const std::uint64_t seed : settings.seeds) {
      for (int i = 0; i < each; ++i) specs.push_back({.length = length, .seed = seed, .index = i});
    }
  }
  return specs;
}

absl::StatusOr<Document> MakeDocument(const EvalSettings& settings,
                                      const DocumentSpec& spec,
                                      const Haystack& haystack,
                                      Pieces* pieces) {
  DocumentPlan plan{.length = spec.length, .seed = spec.seed, .format = settings.format};
  if (settings.generate) plan.spare_tokens = kWrittenTokens;
  if (settings.chat) plan.spare_tokens = kChatTokens;
  switch (settings.task) {
    case Task::kPasskey:
      return BuildProse(PlanPasskey(settings, spec.index, plan), haystack, pieces);
    case Task::kNeedles:
      return BuildProse(PlanNeedles(settings, plan), haystack, pieces);
    case Task::kRetrieveKv:
      return BuildKeyValues(plan, Depths(settings, AskedCount(settings), spec.seed), pieces);
    case Task::kPerplexity:
      return BuildScoredProse(plan, settings.scored_tokens, haystack, pieces);
  }
  return absl::InternalError("no such task");
}

}  // namespace keyhole::eval
