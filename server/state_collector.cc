#include "server/state_collector.h"

#include <dirent.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>
#include <utility>

#include "absl/time/time.h"

namespace keyhole {
namespace {

using prometheus::MetricFamily;
using prometheus::MetricType;

MetricFamily Family(std::string name, std::string help, MetricType type) {
  MetricFamily family;
  family.name = std::move(name);
  family.help = std::move(help);
  family.type = type;
  family.metric.emplace_back();
  return family;
}

MetricFamily OneValue(std::string name, std::string help, double value) {
  MetricFamily family = Family(std::move(name), std::move(help), MetricType::Gauge);
  family.metric.back().gauge.value = value;
  return family;
}

MetricFamily OneCount(std::string name, std::string help, std::int64_t value) {
  MetricFamily family = Family(std::move(name), std::move(help), MetricType::Counter);
  family.metric.back().counter.value = static_cast<double>(value);
  return family;
}

// One more series of the family, told apart by a label.
prometheus::ClientMetric& AddSeries(MetricFamily& family, std::string label, std::string value) {
  prometheus::ClientMetric& metric = family.metric.emplace_back();
  metric.label.push_back({.name = std::move(label), .value = std::move(value)});
  return metric;
}

void AddTier(MetricFamily& family, std::string tier, double value) {
  AddSeries(family, "tier", std::move(tier)).gauge.value = value;
}

// Every page that requests can have is of the host's tier, though with an accelerator its rows may
// lie there alone.
void AppendPages(const EngineSnapshot& state, std::vector<MetricFamily>& families) {
  MetricFamily all = Family("keyhole_kv_pages",
                            "KV pages there are; tier device: that fit on the accelerator at once.",
                            MetricType::Gauge);
  MetricFamily used = Family("keyhole_kv_pages_used",
                             "KV pages that requests hold; tier device: that lie on the "
                             "accelerator, those of cached prefixes included.",
                             MetricType::Gauge);
  all.metric.clear();
  used.metric.clear();
  AddTier(all, "host", static_cast<double>(state.kv_pages));
  AddTier(used, "host", static_cast<double>(state.kv_pages_used));
  if (state.device_pages) {
    AddTier(all, "device", static_cast<double>(state.device_pages->pages));
    AddTier(used, "device", static_cast<double>(state.device_pages->pages_used));
  }
  families.push_back(std::move(all));
  families.push_back(std::move(used));
}

// Without an accelerator nothing moves: zeros, so that panels show that and not a lack of data.
void AppendTransfers(const DevicePagesSnapshot& device, std::vector<MetricFamily>& families) {
  MetricFamily rows = Family("keyhole_kv_read_rows_total",
                             "Selected rows that attention read where pages can leave the "
                             "accelerator; from: a page on it, a row fetched before, the host.",
                             MetricType::Counter);
  rows.metric.clear();
  const auto add = [&rows](std::string from, std::int64_t n) {
    AddSeries(rows, "from", std::move(from)).counter.value = static_cast<double>(n);
  };
  add("page", device.page_rows);
  add("hot", device.hot_rows);
  add("host", device.fetched_rows);
  families.push_back(std::move(rows));
  families.push_back(OneCount("keyhole_kv_fetched_bytes_total",
                              "Bytes of KV rows and pages that came from the host.",
                              device.fetched_bytes));
  families.push_back(OneCount("keyhole_kv_spilled_pages_total",
                              "KV pages that gave up their place on the accelerator.",
                              device.spilled_pages));
}

std::int64_t HostPages(const EngineSnapshot& state) {
  return state.device_pages ? state.device_pages->host_pages : state.kv_pages;
}

void AppendPrefixCache(const PrefixCacheStats& cache, std::vector<MetricFamily>& families) {
  families.push_back(OneCount("keyhole_prefix_cache_queries_tokens_total",
                              "Prompt tokens of requests that started and could use the cache.",
                              cache.queried_tokens));
  families.push_back(OneCount("keyhole_prefix_cache_hit_tokens_total",
                              "Prompt tokens that were taken from the prefix cache.",
                              cache.hit_tokens));
  families.push_back(OneValue("keyhole_prefix_cache_pages",
                              "KV pages that the prefix cache holds, in use by requests or not.",
                              static_cast<double>(cache.pages)));
  families.push_back(OneCount("keyhole_prefix_cache_evicted_pages_total",
                              "KV pages that the prefix cache gave up.",
                              cache.evicted_pages));
}

// Entries of a folder under /proc, less "." and "..".
int CountEntries(const char* path) {
  DIR* folder = opendir(path);
  if (folder == nullptr) return 0;
  int count = -2;
  while (readdir(folder) != nullptr) ++count;
  closedir(folder);
  return count;
}

// What /proc/self/stat says, in seconds and bytes.
struct ProcessState {
  double cpu_seconds = 0;
  double start_seconds = 0;  // since boot
  double virtual_bytes = 0;
  double resident_bytes = 0;
};

ProcessState ReadProcessState() {
  std::ifstream file("/proc/self/stat");
  std::string line;
  std::getline(file, line);
  const auto name_end = line.rfind(')');  // the name may hold spaces
  if (name_end == std::string::npos) return {};
  std::istringstream fields(line.substr(name_end + 1));
  std::string text;
  for (int field = 3; field < 14; ++field) fields >> text;
  double user = 0;
  double system = 0;
  fields >> user >> system;
  for (int field = 16; field < 22; ++field) fields >> text;
  double start = 0;
  double virtual_bytes = 0;
  double resident_pages = 0;
  fields >> start >> virtual_bytes >> resident_pages;
  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  return {.cpu_seconds = (user + system) / ticks,
          .start_seconds = start / ticks,
          .virtual_bytes = virtual_bytes,
          .resident_bytes = resident_pages * static_cast<double>(sysconf(_SC_PAGESIZE))};
}

double BootTime() {
  std::ifstream file("/proc/stat");
  std::string word;
  double seconds = 0;
  while (file >> word) {
    if (word == "btime") {
      file >> seconds;
      break;
    }
    std::getline(file, word);
  }
  return seconds;
}

}  // namespace

std::vector<MetricFamily> EngineStateCollector::Collect() const {
  const Engine* engine = slot_->engine();
  std::vector<MetricFamily> families;
  families.push_back(OneValue(
      "keyhole_ready",
      "1 while new requests are taken: the model is loaded and the server is not draining.",
      slot_->serving() ? 1 : 0));
  if (engine == nullptr) return families;
  const EngineSnapshot state = engine->Snapshot();
  families.push_back(OneValue("keyhole_scheduler_running_requests",
                              "Requests in prefill or decode.",
                              state.running_requests));
  families.push_back(OneValue("keyhole_scheduler_waiting_requests",
                              "Requests that wait for their first work.",
                              state.waiting_requests));
  families.push_back(OneValue("keyhole_scheduler_waiting_tokens",
                              "Prompt tokens of waiting requests.",
                              static_cast<double>(state.waiting_tokens)));
  AppendPages(state, families);
  AppendTransfers(state.device_pages.value_or(DevicePagesSnapshot{}), families);
  AppendPrefixCache(state.prefix_cache, families);
  families.push_back(OneValue("keyhole_kv_host_pool_bytes",
                              "Host memory reserved for KV pages.",
                              static_cast<double>(HostPages(state) * state.kv_page_bytes)));
  families.push_back(OneValue("keyhole_engine_heartbeat_timestamp_seconds",
                              "When the engine's thread last came round.",
                              absl::ToDoubleSeconds(state.heartbeat - absl::UnixEpoch())));
  return families;
}

std::vector<MetricFamily> ProcessCollector::Collect() const {
  const ProcessState state = ReadProcessState();
  std::vector<MetricFamily> families;
  MetricFamily cpu =
      Family("process_cpu_seconds_total", "User and system CPU time.", MetricType::Counter);
  cpu.metric.back().counter.value = state.cpu_seconds;
  families.push_back(std::move(cpu));
  families.push_back(
      OneValue("process_resident_memory_bytes", "Resident memory.", state.resident_bytes));
  families.push_back(
      OneValue("process_virtual_memory_bytes", "Virtual memory.", state.virtual_bytes));
  families.push_back(
      OneValue("process_open_fds", "Open file descriptors.", CountEntries("/proc/self/fd")));
  families.push_back(OneValue("process_max_fds",
                              "Most file descriptors that may be open.",
                              static_cast<double>(sysconf(_SC_OPEN_MAX))));
  families.push_back(
      OneValue("process_threads", "Threads of the process.", CountEntries("/proc/self/task")));
  families.push_back(OneValue("process_start_time_seconds",
                              "Start of the process, Unix time.",
                              BootTime() + state.start_seconds));
  return families;
}

}  // namespace keyhole
