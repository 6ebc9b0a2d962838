// Dependencies point down only: reads the #include lines of every source file and checks them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

namespace keyhole {
namespace {

namespace fs = std::filesystem;
using ::testing::IsEmpty;

struct Include {
  std::string file;    // relative to the repository
  std::string target;  // as written
};

// Folders of engine/ that a folder may include, besides itself and the files of engine/ that stand
// in no folder. What is not here may include every folder of engine/.
const std::map<std::string, std::set<std::string>> kAllowedFolders = {
    {"device", {}},
    {"ops", {"device", "kv"}},
    {"kv", {"device"}},
    {"request", {"kv"}},
    {"tokenizer", {"request"}},
    {"batch", {"request", "scheduler", "kv"}},
    {"scheduler", {"request", "kv"}},
    {"sampling", {"request"}},
    {"selection", {"ops", "device", "kv", "request", "batch"}},
    {"attention", {"selection", "kv", "ops", "device", "request", "batch", "model"}},
    {"model", {"attention", "selection", "kv", "ops", "device", "request", "batch", "tokenizer"}},
    {"telemetry", {"request", "batch"}},
};

// Parts that build and test without LibTorch: folders, and single files of mixed folders.
const std::vector<std::string> kWithoutTorch = {
    "engine/batch/",
    "engine/kv/invariants",
    "engine/kv/page_pool",
    "engine/kv/page_table",
    "engine/kv/reservation",
    "engine/request/",
    "engine/sampling/",
    "engine/scheduler/",
    "engine/telemetry/",
    "engine/tokenizer/",
    "tests/simulation/",
    "tests/unit/batch/",
    "tests/unit/kv_pages/",
    "tests/unit/request/",
    "tests/unit/runtime/",
    "tests/unit/scheduler/",
};

// What the server may use of the engine.
const std::set<std::string> kEngineDoor = {
    "engine/check.h",
    "engine/engine.h",
    "engine/engine_config.h",
    "engine/status_macros.h",
    "engine/types.h",
};

bool StartsWithAny(const std::string& text, const std::vector<std::string>& prefixes) {
  return std::any_of(prefixes.begin(), prefixes.end(), [&](const std::string& prefix) {
    return text.starts_with(prefix);
  });
}

// "engine/kv/page_pool.h" -> "kv"; "" for files that stand in no folder of engine/.
std::string FolderOf(const std::string& path) {
  const std::string prefix = "engine/";
  const std::size_t slash = path.find('/', prefix.size());
  if (!path.starts_with(prefix) || slash == std::string::npos) return "";
  return path.substr(prefix.size(), slash - prefix.size());
}

std::vector<Include> AllIncludes() {
  const fs::path root = KEYHOLE_SOURCE_DIR;
  const std::regex pattern(R"(^\s*#\s*include\s*["<]([^">]+)[">])");
  std::vector<Include> includes;
  for (const char* part : {"engine", "server", "client", "tests"}) {
    for (const auto& entry : fs::recursive_directory_iterator(root / part)) {
      const std::string extension = entry.path().extension().string();
      if (extension != ".h" && extension != ".cc" && extension != ".cu" && extension != ".cuh") {
        continue;
      }
      std::ifstream file(entry.path());
      std::string line;
      std::smatch match;
      while (std::getline(file, line)) {
        if (!std::regex_search(line, match, pattern)) continue;
        includes.push_back({fs::relative(entry.path(), root).generic_string(), match[1].str()});
      }
    }
  }
  return includes;
}

class IncludeRulesTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { includes_ = new std::vector<Include>(AllIncludes()); }
  static void TearDownTestSuite() { delete includes_; }

  // The includes for which `forbidden` holds, as "file includes target".
  template <class Forbidden>
  static std::vector<std::string> Find(Forbidden forbidden) {
    std::vector<std::string> found;
    for (const Include& include : *includes_) {
      if (forbidden(include)) found.push_back(include.file + " includes " + include.target);
    }
    return found;
  }

  static std::vector<Include>* includes_;
};

std::vector<Include>* IncludeRulesTest::includes_ = nullptr;

bool IsTorch(const std::string& target) {
  return StartsWithAny(target, {"ATen/", "c10/", "caffe2/", "torch/"});
}

TEST_F(IncludeRulesTest, ThereIsSomethingToCheck) { EXPECT_GT(includes_->size(), 500); }

TEST_F(IncludeRulesTest, FoldersOfTheEngineIncludeOnlyWhatIsBelow) {
  EXPECT_THAT(Find([](const Include& include) {
                const std::string from = FolderOf(include.file);
                const std::string to = FolderOf(include.target);
                const auto allowed = kAllowedFolders.find(from);
                return !to.empty() && to != from && allowed != kAllowedFolders.end() &&
                       !allowed->second.contains(to);
              }),
              IsEmpty());
}

TEST_F(IncludeRulesTest, PartsWithoutTensorsDoNotIncludeLibTorch) {
  EXPECT_THAT(Find([](const Include& include) {
                return StartsWithAny(include.file, kWithoutTorch) && IsTorch(include.target);
              }),
              IsEmpty());
}

TEST_F(IncludeRulesTest, TheEngineKnowsNoServiceLibrary) {
  EXPECT_THAT(
      Find([](const Include& include) {
        return include.file.starts_with("engine/") &&
               StartsWithAny(
                   include.target,
                   {"grpc", "google/protobuf", "prometheus/", "proto/", "server/", "client/"});
      }),
      IsEmpty());
}

TEST_F(IncludeRulesTest, ProductCodeDoesNotIncludeTests) {
  EXPECT_THAT(Find([](const Include& include) {
                return !include.file.starts_with("tests/") &&
                       StartsWithAny(include.target, {"tests/", "gtest/", "gmock/"});
              }),
              IsEmpty());
}

TEST_F(IncludeRulesTest, TheServerUsesTheEnginesDoorOnly) {
  EXPECT_THAT(
      Find([](const Include& include) {
        return include.file.starts_with("server/") && include.target.starts_with("engine/") &&
               !kEngineDoor.contains(include.target) &&
               !StartsWithAny(
                   include.target,
                   {"engine/request/", "engine/telemetry/", "engine/tokenizer/tokenizer.h"});
      }),
      IsEmpty());
}

TEST_F(IncludeRulesTest, TheClientKnowsTheApiOnly) {
  EXPECT_THAT(Find([](const Include& include) {
                return include.file.starts_with("client/") &&
                       StartsWithAny(include.target, {"engine/", "server/"});
              }),
              IsEmpty());
}

TEST_F(IncludeRulesTest, CudaKernelsIncludeNothingFromOutsideTheirFolder) {
  const std::string folder = "engine/ops/cuda/kernels/";
  EXPECT_THAT(Find([&](const Include& include) {
                return include.file.starts_with(folder) && !include.target.starts_with(folder) &&
                       StartsWithAny(include.target,
                                     {"engine/", "absl/", "ATen/", "c10/", "torch/", "fmt/"});
              }),
              IsEmpty());
}

}  // namespace
}  // namespace keyhole
