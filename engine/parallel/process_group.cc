#include "engine/parallel/process_group.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <torch/csrc/distributed/c10d/Work.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "engine/parallel/gloo_backend.h"
#include "engine/parallel/rendezvous.h"
#include "engine/parallel/tensor_room.h"
#include "engine/status_macros.h"

namespace keyhole {
namespace {

// Sums of fewer values are one exchange of everything instead of two of parts.
constexpr std::int64_t kSmallSum = 16384;
// The first frame of a broadcast: a length, then as much of the message as fits.
constexpr std::uint64_t kFrameBytes = 4096;
constexpr std::uint64_t kFrameRoom = kFrameBytes - sizeof(std::uint64_t);

// Without the stack that LibTorch adds to its errors.
std::string CauseOf(const std::exception& error) {
  const auto* of_torch = dynamic_cast<const c10::Error*>(&error);
  return of_torch != nullptr ? of_torch->what_without_backtrace() : error.what();
}

at::Tensor ByteTensor(std::uint64_t n) {
  return at::empty({static_cast<std::int64_t>(n)}, at::TensorOptions().dtype(at::kByte));
}

char* BytesOf(at::Tensor& bytes) {
  return reinterpret_cast<char*>(bytes.mutable_data_ptr<std::uint8_t>());
}

template <typename Call>
absl::Status AsStatus(Call call) {
  try {
    call();
    return absl::OkStatus();
  } catch (const std::exception& error) {
    return absl::UnavailableError(error.what());
  }
}

std::vector<std::int64_t> WithSize(std::int64_t size, at::IntArrayRef shape) {
  std::vector<std::int64_t> sizes = {size};
  sizes.insert(sizes.end(), shape.begin(), shape.end());
  return sizes;
}

}  // namespace

struct ProcessGroup::State {
  Shard shard;
  std::chrono::milliseconds timeout;
  std::chrono::milliseconds running_timeout;
  Rendezvous meeting;
  c10::intrusive_ptr<c10d::Backend> backend;

  // Reused from call to call.
  at::Tensor gathered;
  at::Tensor pieces;

  // Starts a collective and waits for its end; `name` is for the error.
  template <typename Start>
  void Run(const char* name, Start start) {
    if (backend == nullptr) throw std::runtime_error("this rank has left its group");
    try {
      start()->wait();
    } catch (const std::exception& error) {
      throw std::runtime_error(absl::StrCat("tensor parallel: rank ",
                                            shard.rank,
                                            " of ",
                                            shard.size,
                                            ": ",
                                            name,
                                            " failed: ",
                                            CauseOf(error)));
    }
  }

  void Broadcast(at::Tensor& x) {
    Run("a broadcast", [&] {
      std::vector<at::Tensor> tensors = {x};
      return backend->broadcast(tensors, {.timeout = timeout});
    });
  }

  void AllGather(at::Tensor& out, at::Tensor& in) {
    Run("an all-gather", [&] { return backend->_allgather_base(out, in, {.timeout = timeout}); });
  }

  // Part r of `in` goes to rank r; part r of `out` comes from it.
  void AllToAll(at::Tensor& out, at::Tensor& in) {
    Run("an all-to-all", [&] {
      std::vector<std::int64_t> even;
      return backend->alltoall_base(out, in, even, even, {.timeout = timeout});
    });
  }

  // `in` of every rank to rank 0, where `out` has room for each.
  void Gather(std::vector<std::vector<at::Tensor>>& out, std::vector<at::Tensor>& in) {
    Run("a gather", [&] { return backend->gather(out, in, {.rootRank = 0, .timeout = timeout}); });
  }

  // parts [size, n] -> sum [n], in the order of ranks.
  void Sum(const at::Tensor& parts, at::Tensor& sum) const {
    sum.copy_(parts.select(0, 0));
    for (std::int32_t rank = 1; rank < shard.size; ++rank) sum.add_(parts.select(0, rank));
  }
};

ProcessGroup::ProcessGroup(std::unique_ptr<State> state) : state_(std::move(state)) {}
ProcessGroup::~ProcessGroup() = default;

absl::StatusOr<std::unique_ptr<ProcessGroup>> ProcessGroup::Connect(
    const TensorParallelSettings& settings) {
  std::signal(SIGPIPE, SIG_IGN);  // Gloo writes to connections that may have gone
  auto state = std::make_unique<State>();
  state->shard = {settings.rank, settings.size};
  state->timeout = absl::ToChronoMilliseconds(settings.start_timeout);
  state->running_timeout = absl::ToChronoMilliseconds(settings.timeout);
  try {
    KEYHOLE_ASSIGN_OR_RETURN(state->meeting, Meet(settings));
    state->backend = MakeGlooBackend(state->meeting, state->shard, settings.start_timeout);
  } catch (const std::exception& error) {
    return absl::UnavailableError(absl::StrCat("tensor parallel: rank ",
                                               settings.rank,
                                               " cannot join the others at ",
                                               settings.address,
                                               ": ",
                                               CauseOf(error)));
  }
  return std::unique_ptr<ProcessGroup>(new ProcessGroup(std::move(state)));
}

const Shard& ProcessGroup::shard() const { return state_->shard; }

void ProcessGroup::EndStart() { state_->timeout = state_->running_timeout; }

void ProcessGroup::Leave() {
  state_->backend.reset();
  state_->meeting.store.reset();
}

absl::Status ProcessGroup::Broadcast(std::string& message) {
  at::Tensor frame = ByteTensor(kFrameBytes);
  std::uint64_t size = message.size();
  if (shard().is_root()) {
    std::memcpy(BytesOf(frame), &size, sizeof(size));
    std::copy_n(message.data(), std::min(size, kFrameRoom), BytesOf(frame) + sizeof(size));
  }
  return AsStatus([&] {
    state_->Broadcast(frame);
    std::memcpy(&size, BytesOf(frame), sizeof(size));
    message.resize(size);
    const std::uint64_t first = std::min(size, kFrameRoom);
    std::copy_n(BytesOf(frame) + sizeof(size), first, message.data());
    if (first == size) return;
    at::Tensor rest = ByteTensor(size - first);
    std::copy_n(message.data() + first, size - first, BytesOf(rest));
    state_->Broadcast(rest);
    std::copy_n(BytesOf(rest), size - first, message.data() + first);
  });
}

absl::StatusOr<std::vector<std::int64_t>> ProcessGroup::Exchange(std::int64_t value) {
  at::Tensor own = at::empty({1}, at::TensorOptions().dtype(at::kLong));
  at::Tensor all = at::empty({shard().size}, at::TensorOptions().dtype(at::kLong));
  *own.mutable_data_ptr<std::int64_t>() = value;
  KEYHOLE_RETURN_IF_ERROR(AsStatus([&] { state_->AllGather(all, own); }));
  const auto* values = all.const_data_ptr<std::int64_t>();
  return std::vector<std::int64_t>(values, values + shard().size);
}

absl::StatusOr<std::int64_t> ProcessGroup::Smallest(std::int64_t own) {
  KEYHOLE_ASSIGN_OR_RETURN(const std::vector<std::int64_t> all, Exchange(own));
  return *std::ranges::min_element(all);
}

void ProcessGroup::AllReduce(at::Tensor& x) {
  const std::int64_t n = x.numel();
  const std::int64_t size = shard().size;
  at::Tensor flat = x.view({n});
  if (n < kSmallSum || n % size != 0) {
    at::Tensor all = RoomFor(state_->gathered, size * n);
    state_->AllGather(all, flat);
    state_->Sum(all.view({size, n}), flat);
    return;
  }
  at::Tensor parts = RoomFor(state_->gathered, n);
  state_->AllToAll(parts, flat);
  at::Tensor sum = RoomFor(state_->pieces, n / size);
  state_->Sum(parts.view({size, n / size}), sum);
  state_->AllGather(flat, sum);
}

at::Tensor ProcessGroup::AllGather(const at::Tensor& x) {
  at::Tensor flat = x.view({x.numel()});
  at::Tensor all = RoomFor(state_->gathered, shard().size * x.numel());
  state_->AllGather(all, flat);
  return all.view(WithSize(shard().size, x.sizes()));
}

at::Tensor ProcessGroup::Gather(const at::Tensor& x) {
  std::vector<at::Tensor> in = {x.view({x.numel()})};
  std::vector<std::vector<at::Tensor>> out;
  at::Tensor all;
  if (shard().is_root()) {
    all = RoomFor(state_->gathered, shard().size * x.numel()).view({shard().size, x.numel()});
    auto& parts = out.emplace_back();
    for (std::int32_t rank = 0; rank < shard().size; ++rank) parts.push_back(all.select(0, rank));
  }
  state_->Gather(out, in);
  return all.defined() ? all.view(WithSize(shard().size, x.sizes())) : all;
}

}  // namespace keyhole
