#include "engine/runtime/available_memory.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>

#include "absl/status/status.h"

namespace keyhole {
namespace {

namespace fs = std::filesystem;

// A file with one number; nothing for "max" or a missing file.
std::optional<std::int64_t> ReadNumber(const fs::path& path) {
  std::ifstream file(path);
  std::int64_t value = 0;
  if (file >> value) return value;
  return std::nullopt;
}

std::optional<std::int64_t> MachineMemory(const fs::path& root) {
  std::ifstream file(root / "proc/meminfo");
  std::string line;
  while (std::getline(file, line)) {
    constexpr std::string_view kName = "MemAvailable:";
    if (!line.starts_with(kName)) continue;
    std::int64_t kibibytes = 0;
    try {
      kibibytes = std::stoll(line.substr(kName.size()));
    } catch (const std::exception&) {
      return std::nullopt;
    }
    return kibibytes * 1024;
  }
  return std::nullopt;
}

// The process's group in the unified hierarchy, as a relative path; empty: the root group.
std::string GroupOfProcess(const fs::path& root) {
  std::ifstream file(root / "proc/self/cgroup");
  std::string line;
  while (std::getline(file, line)) {
    if (line.starts_with("0::/")) return line.substr(4);
  }
  return "";
}

std::int64_t LeftBy(std::optional<std::int64_t> limit, std::optional<std::int64_t> used) {
  if (!limit) return std::numeric_limits<std::int64_t>::max();
  return std::max<std::int64_t>(0, *limit - used.value_or(0));
}

// What the groups from the process's own up to the top leave.
std::int64_t GroupMemory(const fs::path& root) {
  const fs::path top = root / "sys/fs/cgroup";
  // Version 1 counts no group above the one that is mounted.
  std::int64_t left = LeftBy(ReadNumber(top / "memory/memory.limit_in_bytes"),
                             ReadNumber(top / "memory/memory.usage_in_bytes"));
  for (fs::path group = GroupOfProcess(root);; group = group.parent_path()) {
    left = std::min(
        left,
        LeftBy(ReadNumber(top / group / "memory.max"), ReadNumber(top / group / "memory.current")));
    if (group.empty()) return left;
  }
}

}  // namespace

absl::StatusOr<std::int64_t> AvailableMemory(const std::string& root) {
  const std::optional<std::int64_t> machine = MachineMemory(root);
  if (!machine) return absl::InternalError("the available memory cannot be read");
  return std::min(*machine, GroupMemory(root));
}

}  // namespace keyhole
