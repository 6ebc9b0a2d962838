#include "engine/parallel/staged_collectives.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/from_blob.h>

#include <cstddef>
#include <cstring>
#include <exception>

#include "absl/status/status.h"
#include "engine/device/device_copy.h"
#include "engine/device/device_error.h"
#include "engine/device/pinned_buffer.h"

namespace keyhole {
namespace {

class StagedCollectives final : public DeviceCollectives {
 public:
  explicit StagedCollectives(ProcessGroup* group) : group_(group) {}

  const Shard& shard() const override { return group_->shard(); }

  void AllReduce(const Stream& stream, float* x, std::int64_t n) override {
    at::Tensor staged = Fetch(stream, x, n, n);
    Exchange([&] { group_->AllReduce(staged); });
    ThrowIfFailed(CopyAsync(stream, x, staged.const_data_ptr<float>(), Bytes(n)));
  }

  void AllGather(const Stream& stream, const float* x, std::int64_t n, float* out) override {
    const std::int64_t n_all = n * shard().size;
    const at::Tensor staged = Fetch(stream, x, n, n_all);
    Exchange([&] {
      const at::Tensor all = group_->AllGather(staged);
      std::memcpy(host_.data(), all.const_data_ptr<float>(), Bytes(n_all));
    });
    ThrowIfFailed(CopyAsync(stream, out, host_.data(), Bytes(n_all)));
  }

  bool capturable() const override { return false; }
  absl::Status Synchronize(const Stream& stream) override { return stream.Synchronize(); }
  absl::StatusOr<std::int64_t> Smallest(std::int64_t own) override { return group_->Smallest(own); }

 private:
  static std::size_t Bytes(std::int64_t n) { return static_cast<std::size_t>(n) * sizeof(float); }

  // x [n] in host memory with room for `n_room` values. The copy waits for that of the last call,
  // which leaves the same memory.
  at::Tensor Fetch(const Stream& stream, const float* x, std::int64_t n, std::int64_t n_room) {
    if (host_.size() < Bytes(n_room)) {
      ThrowIfFailed(stream.Synchronize());
      absl::StatusOr<PinnedBuffer> host = PinnedBuffer::Allocate(2 * Bytes(n_room));
      ThrowIfFailed(host.status());
      host_ = *std::move(host);
    }
    ThrowIfFailed(CopyAsync(stream, host_.data(), x, Bytes(n)));
    ThrowIfFailed(stream.Synchronize());
    return at::from_blob(host_.data(), {n}, at::kFloat);
  }

  template <typename Call>
  static void Exchange(Call call) {
    try {
      call();
    } catch (const std::exception& error) {
      throw DeviceError(absl::UnavailableError(error.what()));
    }
  }

  ProcessGroup* group_;
  PinnedBuffer host_;
};

}  // namespace

std::unique_ptr<DeviceCollectives> MakeStagedCollectives(ProcessGroup* group) {
  return std::make_unique<StagedCollectives>(group);
}

}  // namespace keyhole
