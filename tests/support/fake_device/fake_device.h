// A device for tests, behind the interfaces of engine/device: memory of a chosen size, streams
// whose work is done when it is told or waited for, copies that fail.
//
// Linked as objects, it stands for the implementation that the build has. Work of a stream runs in
// order; streams run in any order that their events allow. What is waited for runs, and nothing
// else: a wait that is missing shows as work that comes too late. Thread: one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "engine/device/stream.h"

namespace keyhole::fake_device {

// A device of `bytes`, without failures to come. REQUIRES: no objects of the one before are left.
void Reset(std::size_t bytes);

// Work of a test's own, as a kernel would be.
void Enqueue(const Stream& stream, std::function<void()> work);

// Runs up to `n` pieces of queued work; each time the next one of a stream that `choose` picks
// among those that can go on: choose(k) is in [0, k). Returns how many ran.
int Run(int n, const std::function<int(int)>& choose);

enum class Call { kAllocate, kCreate, kCopy, kRecord, kWait };

// The call of this kind after the next `after` ones is refused with `status` and queues nothing.
void FailCall(Call call, absl::Status status, int after = 0);
// The copy that runs after the next `after` ones stops half way; what waits for it is told.
void FailRunningCopy(absl::Status status, int after = 0);
// Whether all that were asked for have happened. Those that have not are off after ClearFailures.
bool AllFailuresHappened();
void ClearFailures();

std::int64_t CopyCount();  // queued since Reset
std::size_t BytesInUse();

}  // namespace keyhole::fake_device
