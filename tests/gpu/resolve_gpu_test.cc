// Rows resolved on the device, call after call, against the clock algorithm written out for one
// thread; and what was fetched against the host's pages.
#include <algorithm>
#include <cstring>
#include <map>
#include <numeric>
#include <random>
#include <set>

#include "engine/kv/device_arena.h"
#include "engine/ops/cuda/hot_row_memory.h"
#include "engine/ops/cuda/resolve_rows.h"
#include "tests/gpu/gpu_fixture.h"

namespace keyhole {
namespace {

constexpr std::int32_t kPage = 16;
constexpr std::int32_t kPages = 800;
constexpr std::int32_t kOftenRead = 200;  // of these pages
constexpr KvLayout kLayout = {
    .n_layers = 2, .n_kv_heads = 1, .head_dim = 8, .page_size = kPage, .type = KvType::kBF16};

// One layer's hot rows.
class Clock {
 public:
  explicit Clock(std::int32_t n_slots) : rows_(n_slots, -1), marks_(n_slots, 0) {}

  // The slot of each row; `fetched` gets those that were missing.
  std::map<std::int32_t, std::int32_t> Resolve(const std::vector<std::int32_t>& rows,
                                               std::vector<std::int32_t>& fetched) {
    ++batch_;
    std::map<std::int32_t, std::int32_t> slots;
    for (const std::int32_t row : rows) {
      const auto found = std::find(rows_.begin(), rows_.end(), row);
      if (found == rows_.end()) continue;
      slots[row] = static_cast<std::int32_t>(found - rows_.begin());
      marks_[slots[row]] = batch_;
    }
    for (const std::int32_t row : rows) {
      if (slots.contains(row)) continue;
      while (marks_[hand_] != 0) {
        if (marks_[hand_] != batch_) marks_[hand_] = 0;
        Advance();
      }
      slots[row] = hand_;
      rows_[hand_] = row;
      marks_[hand_] = batch_;
      Advance();
      fetched.push_back(row);
    }
    return slots;
  }

  void ForgetPage(PageId page) {
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      if (rows_[i] < 0 || rows_[i] / (kPage * kLayout.n_layers) != page) continue;
      rows_[i] = -1;
      marks_[i] = 0;
    }
  }

 private:
  void Advance() { hand_ = (hand_ + 1) % static_cast<std::int32_t>(rows_.size()); }

  std::vector<std::int32_t> rows_;
  std::vector<std::int32_t> marks_;
  std::int32_t hand_ = 0;
  std::int32_t batch_ = 0;
};

class ResolveGpuTest : public GpuTest {
 protected:
  // An arena of `n_slots` page slots and `n_hot` hot rows of each layer; random bytes on the host.
  void Make(std::int32_t n_slots, std::int32_t n_hot) {
    plan_ = {.n_page_slots = n_slots, .n_hot_rows = n_hot, .spills = n_hot > 0};
    arena_.emplace(DeviceArena::Allocate(stream(), kLayout, plan_).value());
    tables_.emplace(stream(), *arena_, plan_, kPages);
    std::vector<std::byte> bytes(kLayout.page_bytes() * kPages);
    for (std::byte& b : bytes) b = static_cast<std::byte>(random_());
    host_ = ToPinned(bytes.data(), bytes.size());
    page_slots_.assign(kPages, -1);
    for (std::int32_t i = 0; i < n_slots; ++i) {
      PlacePage(static_cast<PageId>((7 * i + 3) % kPages), i);
    }
    tables_->SetPageSlots(page_slots_);
  }

  void PlacePage(PageId page, std::int32_t slot) {
    page_slots_[page] = slot;
    EXPECT_TRUE(
        CopyAsync(
            stream(), arena_->Page(slot), host_ + page * kLayout.page_bytes(), kLayout.page_bytes())
            .ok());
  }
  struct Batch {
    std::vector<std::vector<PageId>> pages;
    std::vector<std::vector<std::int32_t>> rows;
    std::vector<std::vector<std::int32_t>> places;  // out

    std::int32_t n() const {
      return std::accumulate(rows.begin(), rows.end(), 0, [](std::int32_t sum, const auto& r) {
        return sum + static_cast<std::int32_t>(r.size());
      });
    }
  };

  // Sequences over pages that they may share; at most `most` rows together.
  Batch RandomBatch(std::int32_t n_sequences, std::int32_t most) {
    Batch batch;
    for (std::int32_t s = 0; s < n_sequences; ++s) {
      std::vector<PageId>& pages = batch.pages.emplace_back(6 + random_() % 5);
      for (PageId& page : pages) page = static_cast<PageId>(random_() % kOftenRead);
      std::vector<std::int32_t>& rows = batch.rows.emplace_back(random_() % (most / n_sequences));
      for (std::int32_t& row : rows) {
        row = static_cast<std::int32_t>(random_() % (pages.size() * kPage));
      }
    }
    return batch;
  }

  // Every row of many pages, in order, and some of few.
  Batch WideBatch() {
    Batch batch = RandomBatch(1, 600);
    std::vector<PageId> pages(kPages);
    std::iota(pages.begin(), pages.end(), 0);
    std::shuffle(pages.begin(), pages.end(), random_);
    pages.resize(300);
    std::vector<std::int32_t> rows(pages.size() * kPage);
    std::iota(rows.begin(), rows.end(), 0);
    batch.pages.push_back(std::move(pages));
    batch.rows.push_back(std::move(rows));
    return batch;
  }

  // Resolves and fetches; returns how many rows were fetched.
  std::int32_t Fetch(std::int32_t layer, Batch& batch) {
    std::vector<cuda::ResolveRowsParams> params;
    for (std::size_t s = 0; s < batch.rows.size(); ++s) {
      params.push_back({.pages = Pages(batch.pages[s]),
                        .rows = ToDevice(batch.rows[s]),
                        .places = Take<std::int32_t>(batch.rows[s].size()),
                        .n = static_cast<std::int32_t>(batch.rows[s].size())});
    }
    cuda::Workspace gather(stream());
    const std::int32_t bound = batch.n() + 7;
    const cuda::FetchPath path = {.from = host_,
                                  .to = arena_->base(),
                                  .row_bytes = kLayout.row_bytes(),
                                  .scratch = TakeBytes(cuda::FetchScratchBytes(bound))};
    const cuda::FetchRowsArgs args =
        cuda::PlanFetchRows(tables_->tables(), path, params, bound, workspace(), gather);
    cuda::FetchRows(layer, args, stream());
    for (const cuda::ResolveRowsParams& p : params) {
      batch.places.push_back(FromDevice(p.places, p.n));
    }
    return plan_.spills ? FromDevice(args.resolve.n_moves, 1)[0] : 0;
  }

  // Every place holds the bytes of its row, and those outside pages are where the clock puts them.
  void Check(std::int32_t layer, const Batch& batch, Clock& clock, std::int32_t n_fetched) {
    std::vector<std::int32_t> outside;
    for (std::size_t s = 0; s < batch.rows.size(); ++s) {
      for (const std::int32_t row : batch.rows[s]) {
        const PageId page = batch.pages[s][row / kPage];
        if (page_slots_[page] >= 0) continue;
        outside.push_back(kLayout.row_number(page, layer, row % kPage));
      }
    }
    std::vector<std::int32_t> fetched;
    const std::map<std::int32_t, std::int32_t> slots = clock.Resolve(outside, fetched);
    ASSERT_EQ(n_fetched, fetched.size());
    counts_.n_rows += batch.n();
    counts_.n_in_pages += batch.n() - static_cast<std::int32_t>(outside.size());
    counts_.n_fetched += n_fetched;
    for (std::size_t s = 0; s < batch.rows.size(); ++s) {
      for (std::size_t i = 0; i < batch.rows[s].size(); ++i) {
        const std::int32_t row = batch.rows[s][i];
        const PageId page = batch.pages[s][row / kPage];
        const std::int32_t number = kLayout.row_number(page, layer, row % kPage);
        const std::int32_t expected =
            page_slots_[page] >= 0 ? arena_->PlaceInPage(page_slots_[page], layer, row % kPage)
                                   : arena_->PlaceOfHotRow(layer, slots.at(number));
        ASSERT_EQ(batch.places[s][i], expected) << "sequence " << s << " row " << row;
        const std::vector<std::byte> got =
            FromDevice(arena_->base() + expected * kLayout.row_bytes(), kLayout.row_bytes());
        const std::byte* from = host_ + number * kLayout.row_bytes();
        ASSERT_EQ(std::memcmp(got.data(), from, got.size()), 0) << "row " << row;
      }
    }
  }

  ResidencyPlan plan_;
  std::optional<DeviceArena> arena_;
  std::optional<cuda::HotRowMemory> tables_;
  // What was read since the last time: the device's counts are those of the calls.
  std::vector<std::int32_t> TakeRead() {
    std::vector<std::int32_t> read(tables_->read_words());
    EXPECT_TRUE(tables_->TakeRead(read.data()).ok());
    EXPECT_TRUE(stream().Synchronize().ok());
    const cuda::ResolveCounts counts = tables_->ReadCounts(read.data());
    EXPECT_EQ(counts.n_rows, counts_.n_rows);
    EXPECT_EQ(counts.n_in_pages, counts_.n_in_pages);
    EXPECT_EQ(counts.n_fetched, counts_.n_fetched);
    counts_ = {};
    return read;
  }

  std::byte* host_ = nullptr;
  cuda::ResolveCounts counts_ = {};
  std::vector<std::int32_t> page_slots_;
  std::mt19937 random_{41};
};

TEST_F(ResolveGpuTest, RowsGoWhereTheClockPutsThem) {
  std::int32_t n_in_pages = 0;
  for (const std::int32_t n_hot : {40, 61, 300, 1500}) {
    Make(5, n_hot);
    std::vector<Clock> clocks(kLayout.n_layers, Clock(n_hot));
    int hits = 0;
    for (int step = 0; step < 12; ++step) {
      const std::int32_t n_sequences = 1 + step % 3;
      for (std::int32_t layer = 0; layer < kLayout.n_layers; ++layer) {
        Batch batch = RandomBatch(n_sequences, n_hot);
        const std::int32_t n = Fetch(layer, batch);
        hits += static_cast<int>(n < batch.n());
        Check(layer, batch, clocks[layer], n);
        if (HasFatalFailure()) return;
      }
      if (step % 4 != 3) continue;
      n_in_pages += counts_.n_in_pages;
      TakeRead();
    }
    EXPECT_GT(hits, 10);
  }
  EXPECT_GT(n_in_pages, 0);
}

// More rows and slots than a block looks at in one turn.
TEST_F(ResolveGpuTest, ManyRowsGoWhereTheClockPutsThem) {
  constexpr std::int32_t kHot = 5000;
  Make(kPages / 2, kHot);
  Clock clock(kHot);
  for (int step = 0; step < 4; ++step) {
    Batch batch = WideBatch();
    const std::int32_t n = Fetch(1, batch);
    EXPECT_GT(n, 0);
    Check(1, batch, clock, n);
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(counts_.n_in_pages, 0);
  TakeRead();
}

TEST_F(ResolveGpuTest, WherePagesDoNotSpillManyRowsAreInPages) {
  Make(kPages, 0);
  Clock clock(1);
  Batch batch = WideBatch();
  Check(0, batch, clock, Fetch(0, batch));
  TakeRead();
}

TEST_F(ResolveGpuTest, MorePagesThanAGridIsWideAreForgotten) {
  Make(3, 64);
  Batch batch = {{{0, 1}}, {{3, 4, 5, 20}}, {}};
  EXPECT_EQ(Fetch(1, batch), 4);
  std::vector<PageId> pages(70'000, 7);
  cuda::ForgetPages(tables_->tables(), pages, workspace());
  EXPECT_EQ(Fetch(1, batch), 0);
  pages.back() = 0;
  cuda::ForgetPages(tables_->tables(), pages, workspace());
  EXPECT_EQ(Fetch(1, batch), 3) << "of page 0";
}

TEST_F(ResolveGpuTest, RowsOfPagesThatAreForgottenAreFetchedAgain) {
  Make(3, 64);
  Clock clock(64);
  Batch batch = {{{0, 1, 2, 4}}, {{}}, {}};
  for (std::int32_t row = 0; row < 4 * kPage; row += 2) batch.rows[0].push_back(row);
  Check(0, batch, clock, Fetch(0, batch));
  // The host's bytes are others now.
  for (std::size_t i = 0; i < kLayout.page_bytes(); ++i) {
    host_[2 * kLayout.page_bytes() + i] ^= std::byte{0x5A};
  }
  const std::vector<PageId> pages = {2, 7};
  cuda::ForgetPages(tables_->tables(), pages, workspace());
  for (const PageId page : pages) clock.ForgetPage(page);
  batch.places.clear();
  const std::int32_t n = Fetch(0, batch);
  EXPECT_EQ(n, kPage / 2);
  Check(0, batch, clock, n);
}

TEST_F(ResolveGpuTest, AfterAResetNothingIsHot) {
  Make(3, 64);
  Batch batch = {{{0, 1}}, {{3, 4, 5, 20}}, {}};
  EXPECT_EQ(Fetch(1, batch), 4);
  EXPECT_EQ(Fetch(1, batch), 0);
  tables_->Reset();
  EXPECT_EQ(Fetch(1, batch), 4);
}

TEST_F(ResolveGpuTest, PagesThatAreReadAreNoted) {
  Make(4, 32);  // pages 3, 10, 17 and 24
  Batch batch = {{{0, 10, 17}}, {{1, 2, kPage + 3, kPage + 4}}, {}};
  Fetch(0, batch);
  EXPECT_EQ(FromDevice(tables_->tables().read_pages, 4), (std::vector<std::int32_t>{0, 1, 0, 0}));
}

TEST_F(ResolveGpuTest, WherePagesDoNotSpillRowsAreInPages) {
  Make(kPages, 0);
  Clock clock(1);
  Batch batch = RandomBatch(2, 100);
  const std::int32_t n = Fetch(1, batch);
  EXPECT_EQ(n, 0);
  Check(1, batch, clock, n);
}

TEST_F(ResolveGpuTest, MoreRowsThanPlannedAreRefused) {
  Make(3, 64);
  cuda::Workspace gather(stream());
  const cuda::ResolveRowsParams params = {
      .pages = Pages({0}), .rows = Take<std::int32_t>(5), .places = Take<std::int32_t>(5), .n = 5};
  EXPECT_THROW(cuda::PlanFetchRows(tables_->tables(), {}, {&params, 1}, 4, workspace(), gather),
               std::logic_error);
}

}  // namespace
}  // namespace keyhole
