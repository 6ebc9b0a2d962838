#include "engine/tokenizer/special_tokens.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>

#include "engine/tokenizer/utf8.h"

namespace keyhole {
namespace {

std::uint64_t Edge(std::int32_t node, char byte) {
  return std::uint64_t{static_cast<std::uint32_t>(node)} << 8 | static_cast<std::uint8_t>(byte);
}

// Start of the last character of `text`. REQUIRES: not empty, valid UTF-8.
std::size_t LastCharacter(std::string_view text) {
  std::size_t at = text.size() - 1;
  while (at > 0 && (static_cast<std::uint8_t>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

std::size_t WhiteSpaceStart(std::string_view text) {
  std::size_t end = text.size();
  while (end > 0) {
    const std::size_t at = LastCharacter(text.substr(0, end));
    if (!IsWhiteSpace(ReadUtf8(text, at).code_point)) break;
    end = at;
  }
  return end;
}

std::size_t WhiteSpaceLength(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const Utf8Unit unit = ReadUtf8(text, at);
    if (!IsWhiteSpace(unit.code_point)) break;
    at += unit.length;
  }
  return at;
}

// \w of Unicode: letters, marks, decimal digits, connectors.
bool IsWordCharacter(char32_t code_point) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(code_point))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      return code_point == 0x200C || code_point == 0x200D;
  }
}

}  // namespace

absl::StatusOr<SpecialTokens> SpecialTokens::Build(const std::vector<AddedToken>& tokens) {
  SpecialTokens built;
  built.rule_of_node_.push_back(-1);
  for (const AddedToken& token : tokens) {
    if (token.text.empty() || token.text.size() > kMaxTokenBytes) {
      return absl::InvalidArgumentError(
          fmt::format("added token {} has {} bytes; 1 to {} are possible",
                      token.id,
                      token.text.size(),
                      kMaxTokenBytes));
    }
    std::int32_t node = 0;
    for (const char byte : token.text) {
      const auto next = static_cast<std::int32_t>(built.rule_of_node_.size());
      const auto [edge, added] = built.edges_.try_emplace(Edge(node, byte), next);
      if (added) built.rule_of_node_.push_back(-1);
      node = edge->second;
    }
    built.can_start_[static_cast<std::uint8_t>(token.text[0])] = true;
    built.rule_of_node_[node] = static_cast<std::int32_t>(built.rules_.size());
    built.rules_.push_back({token.id, token.lstrip, token.rstrip, token.single_word});
  }
  return built;
}

std::optional<SpecialTokens::Match> SpecialTokens::FindFrom(std::string_view text,
                                                            std::size_t at) const {
  for (; at < text.size(); ++at) {
    if (!can_start_[static_cast<std::uint8_t>(text[at])]) continue;
    std::optional<Match> longest;
    std::int32_t node = 0;
    for (std::size_t end = at; end < text.size(); ++end) {
      const auto edge = edges_.find(Edge(node, text[end]));
      if (edge == edges_.end()) break;
      node = edge->second;
      if (rule_of_node_[node] >= 0) longest = Match{at, end + 1, &rules_[rule_of_node_[node]]};
    }
    if (longest) return longest;
  }
  return std::nullopt;
}

bool SpecialTokens::StandsAlone(std::string_view text, const Match& match) {
  const std::string_view before = text.substr(0, match.begin);
  const bool word_before =
      !before.empty() && IsWordCharacter(ReadUtf8(before, LastCharacter(before)).code_point);
  const bool word_after =
      match.end < text.size() && IsWordCharacter(ReadUtf8(text, match.end).code_point);
  return !word_before && !word_after;
}

std::vector<SpecialTokens::Fragment> SpecialTokens::Split(std::string_view text) const {
  std::vector<Fragment> fragments;
  std::size_t done = 0;
  std::size_t at = 0;
  while (const std::optional<Match> match = rules_.empty() ? std::nullopt : FindFrom(text, at)) {
    at = match->end;
    if (match->rule->single_word && !StandsAlone(text, *match)) continue;
    std::size_t begin = match->begin;
    std::size_t end = match->end;
    if (match->rule->lstrip) {
      begin = done + WhiteSpaceStart(text.substr(done, begin - done));
    }
    if (match->rule->rstrip) end += WhiteSpaceLength(text.substr(end));
    if (begin > done) fragments.push_back({text.substr(done, begin - done), std::nullopt});
    fragments.push_back({text.substr(begin, end - begin), match->rule->id});
    done = end;
    at = std::max(at, done);
  }
  if (done < text.size()) fragments.push_back({text.substr(done), std::nullopt});
  return fragments;
}

}  // namespace keyhole
