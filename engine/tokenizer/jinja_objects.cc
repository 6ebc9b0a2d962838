// Items, members, slices and membership of template values.
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "engine/tokenizer/jinja_builtins.h"
#include "engine/tokenizer/jinja_text.h"

namespace keyhole::jinja {
namespace {

absl::Status Error(const std::string& message) { return absl::InvalidArgumentError(message); }

// Places that Python's slice with these bounds takes of a sequence of length `n`.
struct Range {
  std::int64_t from;
  std::int64_t to;
  std::int64_t step;
};

absl::StatusOr<Range> SliceRange(const Value (&bounds)[3], std::int64_t n) {
  for (const Value& bound : bounds) {
    if (!bound.is<None>() && !bound.is_integer()) return Error("a slice needs integers");
  }
  const std::int64_t step = bounds[2].is<None>() ? 1 : bounds[2].integer();
  if (step == 0 || step == std::numeric_limits<std::int64_t>::min()) {
    return Error("a slice's step cannot be 0");
  }
  const auto clamp = [&](const Value& bound, std::int64_t fallback) {
    if (bound.is<None>()) return fallback;
    std::int64_t place = bound.integer();
    if (place < 0) place += n;
    return step > 0 ? std::clamp<std::int64_t>(place, 0, n)
                    : std::clamp<std::int64_t>(place, -1, n - 1);
  };
  return Range{clamp(bounds[0], step > 0 ? 0 : n - 1), clamp(bounds[1], step > 0 ? n : -1), step};
}

template <typename Visit>
void ForEachPlace(Range range, Visit visit) {
  const std::int64_t distance = range.step > 0 ? range.to - range.from : range.from - range.to;
  const std::int64_t size = range.step > 0 ? range.step : -range.step;
  for (std::int64_t done = 0; done < distance; done += size) {
    visit(range.step > 0 ? range.from + done : range.from - done);
    if (size > distance) break;
  }
}

}  // namespace

absl::StatusOr<List> Items(const Value& value, Heap* heap) {
  if (value.is_list()) return value.list();
  List items;
  if (value.is_dict()) {
    for (const auto& [key, unused] : value.dict()) items.push_back(heap->String(key));
    return items;
  }
  if (value.is_string()) {
    heap->Charge(value.text().size() * sizeof(std::string));
    if (!heap->within_bound()) return items;
    for (const std::string_view character : Characters(value.text())) {
      items.push_back(heap->String(std::string(character)));
    }
    return items;
  }
  if (value.is<Undefined>()) return items;
  return Error(fmt::format("{} cannot be looped over", TypeName(value)));
}

absl::StatusOr<Value> GetItem(const Value& object, const Value& index, Heap* heap) {
  if (object.is<Undefined>()) {
    const std::string* name = object.get<Undefined>().name;
    return Error(fmt::format("'{}' is undefined", name != nullptr ? *name : "value"));
  }
  if (index.is_string()) {
    const Dict* members = object.is_dict()         ? &object.dict()
                          : object.is<Namespace>() ? object.get<Namespace>().members
                                                   : nullptr;
    const Value* member = members != nullptr ? FindMember(*members, index.text()) : nullptr;
    return member != nullptr ? *member : Value{Undefined{&index.text()}};
  }
  if (!index.is_integer() || (!object.is_list() && !object.is_string())) return Value{};
  std::int64_t place = index.integer();
  if (object.is_list()) {
    const auto n = static_cast<std::int64_t>(object.list().size());
    if (place < 0) place += n;
    return place >= 0 && place < n ? object.list()[place] : Value{};
  }
  heap->Charge(object.text().size());
  const std::int64_t n = CountCharacters(object.text());
  if (place < 0) place += n;
  if (place < 0 || place >= n) return Value{};
  std::string_view rest = object.text();
  std::size_t at = 0;
  for (std::int64_t passed = 0; at < rest.size(); ++at) {
    const bool starts = (static_cast<unsigned char>(rest[at]) & 0xC0) != 0x80;
    if (starts && passed++ == place) break;
  }
  std::size_t end = at + 1;
  while (end < rest.size() && (static_cast<unsigned char>(rest[end]) & 0xC0) == 0x80) ++end;
  return heap->String(std::string(rest.substr(at, end - at)));
}

absl::StatusOr<Value> GetSlice(const Value& object, const Value (&bounds)[3], Heap* heap) {
  if (!object.is_list() && !object.is_string()) {
    return Error(fmt::format("{} cannot be sliced", TypeName(object)));
  }
  std::vector<std::string_view> characters;
  if (object.is_string()) {
    heap->Charge(object.text().size() * sizeof(std::string_view));
    if (!heap->within_bound()) return Value{};
    characters = Characters(object.text());
  }
  const std::size_t n = object.is_list() ? object.list().size() : characters.size();
  const absl::StatusOr<Range> range = SliceRange(bounds, static_cast<std::int64_t>(n));
  if (!range.ok()) return range.status();
  if (object.is_list()) {
    List out;
    ForEachPlace(*range, [&](std::int64_t place) { out.push_back(object.list()[place]); });
    return heap->NewList(std::move(out), object.get<const ListObject*>()->is_tuple);
  }
  std::string out;
  ForEachPlace(*range, [&](std::int64_t place) { out += characters[place]; });
  return heap->String(std::move(out));
}

absl::StatusOr<bool> Contains(const Value& container, const Value& item) {
  if (container.is<Undefined>()) return false;
  if (container.is_string()) {
    if (item.is_string()) return container.text().find(item.text()) != std::string::npos;
    return Error(fmt::format("'in' a string needs a string, not {}", TypeName(item)));
  }
  if (container.is_dict()) {
    return item.is_string() && FindMember(container.dict(), item.text()) != nullptr;
  }
  if (container.is_list()) {
    for (const Value& member : container.list()) {
      if (AreEqual(member, item)) return true;
    }
    return false;
  }
  return Error(fmt::format("'in' cannot look into {}", TypeName(container)));
}

}  // namespace keyhole::jinja
