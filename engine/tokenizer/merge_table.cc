#include "engine/tokenizer/merge_table.h"

#include <algorithm>
#include <array>
#include <limits>

namespace keyhole {
namespace {

// Up to here, looking through all pairs for the lowest rank beats a heap.
constexpr std::size_t kShort = 32;
constexpr std::uint32_t kNoMerge = std::numeric_limits<std::uint32_t>::max();

struct Node {
  Symbol symbol;
  std::int32_t previous;  // -1: none
  std::int32_t next;      // -1: none
  bool alive;
};

struct Candidate {
  std::uint32_t rank;
  std::int32_t place;  // node of the left symbol
  Symbol left;         // the pair as it was when found; another by now: out of date
  Symbol right;
  TokenId result;
};

struct Later {
  bool operator()(const Candidate& a, const Candidate& b) const {
    return a.rank != b.rank ? a.rank > b.rank : a.place > b.place;
  }
};

// The symbols as a linked list, with the pairs that join in a heap.
class MergeQueue {
 public:
  MergeQueue(const MergeTable& table, const std::vector<Symbol>& symbols) : table_(table) {
    const auto n = static_cast<std::int32_t>(symbols.size());
    nodes_.reserve(n);
    for (std::int32_t i = 0; i < n; ++i) {
      nodes_.push_back({symbols[i], i - 1, i + 1 < n ? i + 1 : -1, true});
    }
    for (std::int32_t i = 0; i < n; ++i) Consider(i, /*ordered=*/false);
    std::make_heap(heap_.begin(), heap_.end(), Later());
  }

  void Run() {
    while (!heap_.empty()) {
      std::pop_heap(heap_.begin(), heap_.end(), Later());
      const Candidate top = heap_.back();
      heap_.pop_back();
      if (IsCurrent(top)) Join(top);
    }
  }

  void CopyTo(std::vector<Symbol>* symbols) const {
    symbols->clear();
    for (std::int32_t i = 0; i != -1; i = nodes_[i].next) symbols->push_back(nodes_[i].symbol);
  }

 private:
  bool IsCurrent(const Candidate& candidate) const {
    const Node& left = nodes_[candidate.place];
    return left.alive && left.symbol == candidate.left && left.next != -1 &&
           nodes_[left.next].symbol == candidate.right;
  }

  void Join(const Candidate& candidate) {
    Node& left = nodes_[candidate.place];
    Node& right = nodes_[left.next];
    left.symbol = candidate.result;
    right.alive = false;
    left.next = right.next;
    if (left.next != -1) nodes_[left.next].previous = candidate.place;
    if (left.previous != -1) Consider(left.previous, /*ordered=*/true);
    Consider(candidate.place, /*ordered=*/true);
  }

  void Consider(std::int32_t place, bool ordered) {
    const Node& left = nodes_[place];
    if (left.next == -1) return;
    const Symbol right = nodes_[left.next].symbol;
    const MergeTable::Merge* merge = table_.Find(left.symbol, right);
    if (merge == nullptr) return;
    heap_.push_back({merge->rank, place, left.symbol, right, merge->result});
    if (ordered) std::push_heap(heap_.begin(), heap_.end(), Later());
  }

  const MergeTable& table_;
  std::vector<Node> nodes_;
  std::vector<Candidate> heap_;
};

}  // namespace

void MergeTable::Apply(std::vector<Symbol>* symbols) const {
  if (symbols->size() < 2) return;
  symbols->size() <= kShort ? ApplyShort(symbols) : ApplyLong(symbols);
}

void MergeTable::ApplyShort(std::vector<Symbol>* symbols) const {
  std::array<Merge, kShort> merges{};  // [i]: of symbols i and i + 1
  std::size_t n = symbols->size();
  Symbol* const symbol = symbols->data();
  const auto look_up = [&](std::size_t i) {
    const Merge* merge = Find(symbol[i], symbol[i + 1]);
    merges[i] = merge != nullptr ? *merge : Merge{kNoMerge, 0};
  };
  for (std::size_t i = 0; i + 1 < n; ++i) look_up(i);
  while (n > 1) {
    std::size_t best = 0;
    for (std::size_t i = 1; i + 1 < n; ++i) {
      if (merges[i].rank < merges[best].rank) best = i;
    }
    if (merges[best].rank == kNoMerge) break;
    symbol[best] = merges[best].result;
    for (std::size_t i = best + 1; i + 1 < n; ++i) {
      symbol[i] = symbol[i + 1];
      merges[i] = merges[i + 1];
    }
    --n;
    if (best > 0) look_up(best - 1);
    if (best + 1 < n) look_up(best);
  }
  symbols->resize(n);
}

void MergeTable::ApplyLong(std::vector<Symbol>* symbols) const {
  MergeQueue queue(*this, *symbols);
  queue.Run();
  queue.CopyTo(symbols);
}

}  // namespace keyhole
