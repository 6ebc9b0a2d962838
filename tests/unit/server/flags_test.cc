#include "server/flags.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace keyhole {
namespace {

using ::testing::HasSubstr;

ParsedFlags Parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "keyhole-server");
  return ParseFlags(static_cast<int>(arguments.size()), arguments.data(), {"esa", "full"});
}

TEST(FlagsTest, DefaultsNeedOnlyAModel) {
  const ParsedFlags flags = Parse({"--model", "m.gguf"});
  ASSERT_TRUE(flags.serve);
  EXPECT_EQ(flags.config.engine.model.path, "m.gguf");
  EXPECT_EQ(flags.config.engine.kv.prefix_cache_bytes, -1);
  EXPECT_EQ(flags.config.listen, "127.0.0.1:8480");
  EXPECT_EQ(flags.config.metrics_listen, "127.0.0.1:9480");
  EXPECT_TRUE(flags.config.reflection);
  EXPECT_EQ(flags.config.drain_timeout, absl::Seconds(30));
}

TEST(FlagsTest, EveryFlagArrives) {
  const ParsedFlags flags =
      Parse({"--model",         "m",           "--model-name",     "tiny",
             "--weights",       "int8",        "--kv-type",        "f32",
             "--kv-memory",     "8GiB",        "--prefix-cache",   "1GiB",
             "--threads",       "3",           "--max-context",    "4096",
             "--chunk-size",    "256",         "--max-running",    "7",
             "--policy",        "sink_recent", "--initial",        "4",
             "--local",         "64",          "--selected",       "32",
             "--rope-theta",    "500000",      "--rope-scaling",   "yarn:4",
             "--positions",     "rectified",   "--reflection",     "off",
             "--drain-timeout", "1.5",         "--log-level",      "debug",
             "--listen",        "0.0.0.0:1",   "--metrics-listen", "0.0.0.0:2"});
  ASSERT_TRUE(flags.serve);
  const EngineConfig& engine = flags.config.engine;
  EXPECT_EQ(engine.model.name, "tiny");
  EXPECT_EQ(engine.model.weights, WeightMode::kInt8);
  EXPECT_EQ(engine.kv.type, KvType::kF32);
  EXPECT_EQ(engine.kv.memory_bytes, std::int64_t{8} << 30);
  EXPECT_EQ(engine.kv.prefix_cache_bytes, std::int64_t{1} << 30);
  EXPECT_EQ(engine.threads, 3);
  EXPECT_EQ(engine.scheduler.max_context, 4096);
  EXPECT_EQ(engine.scheduler.chunk_size, 256);
  EXPECT_EQ(engine.scheduler.max_running, 7);
  EXPECT_EQ(engine.selection.policy, "sink_recent");
  EXPECT_EQ(engine.selection.initial, 4);
  EXPECT_EQ(engine.selection.local, 64);
  EXPECT_EQ(engine.selection.selected, 32);
  EXPECT_EQ(engine.selection.positions, PositionMode::kRectified);
  EXPECT_EQ(engine.model.rope_theta, 500000);
  ASSERT_TRUE(engine.model.rope_scaling.has_value());
  EXPECT_EQ(engine.model.rope_scaling->kind, RopeScalingKind::kYarn);
  EXPECT_EQ(engine.model.rope_scaling->factor, 4);
  EXPECT_FALSE(flags.config.reflection);
  EXPECT_EQ(flags.config.drain_timeout, absl::Milliseconds(1500));
  EXPECT_EQ(flags.config.metrics_listen, "0.0.0.0:2");
}

TEST(FlagsTest, FlagsOfTheAcceleratorArrive) {
  EXPECT_EQ(Parse({"--model", "m"}).config.engine.device.compute, ComputeDevice::kCpu);
  const ParsedFlags flags = Parse({"--model",
                                   "m",
                                   "--device",
                                   "cuda",
                                   "--kv-residency",
                                   "host",
                                   "--device-kv-memory",
                                   "20GiB"});
  ASSERT_TRUE(flags.serve);
  const DeviceSettings& device = flags.config.engine.device;
  EXPECT_EQ(device.compute, ComputeDevice::kCuda);
  EXPECT_EQ(device.residency, Residency::kHost);
  EXPECT_EQ(device.kv_memory_bytes, std::int64_t{20} << 30);
}

class WrongFlagsTest : public ::testing::TestWithParam<std::vector<const char*>> {};

TEST_P(WrongFlagsTest, OneLineAndExitCodeTwo) {
  ::testing::internal::CaptureStderr();
  const ParsedFlags flags = Parse(GetParam());
  const std::string message = ::testing::internal::GetCapturedStderr();
  EXPECT_FALSE(flags.serve);
  EXPECT_EQ(flags.exit_code, 2);
  EXPECT_THAT(message, ::testing::StartsWith("keyhole-server: "));
  EXPECT_EQ(std::count(message.begin(), message.end(), '\n'), 1) << message;
}

INSTANTIATE_TEST_SUITE_P(
    All,
    WrongFlagsTest,
    ::testing::Values(
        std::vector<const char*>{},
        std::vector<const char*>{"--model"},
        std::vector<const char*>{"--model", "m", "--nonsense", "1"},
        std::vector<const char*>{"--model", "m", "--weights", "int3"},
        std::vector<const char*>{"--model", "m", "--kv-memory", "8 apples"},
        std::vector<const char*>{"--model", "m", "--device", "tpu"},
        std::vector<const char*>{"--model", "m", "--kv-residency", "host"},
        std::vector<const char*>{"--model", "m", "--device-kv-memory", "1GiB"},
        std::vector<const char*>{"--model", "m", "--device", "cuda", "--kv-residency", "disk"},
        std::vector<const char*>{"--model", "m", "--device", "cuda", "--weights", "int8"},
        std::vector<const char*>{"--model", "m", "--device", "cuda", "--trace-file", "t.json"},
        std::vector<const char*>{"--model", "m", "--prefix-cache", "some"},
        std::vector<const char*>{"--model", "m", "--threads", "-1"},
        std::vector<const char*>{"--model", "m", "--chunk-size", "65"},
        std::vector<const char*>{"--model", "m", "--rope-scaling", "yarn"},
        std::vector<const char*>{"--model", "m", "--rope-scaling", "yarn:0.5"},
        std::vector<const char*>{"--model", "m", "--rope-scaling", "magic:2"},
        std::vector<const char*>{"--model", "m", "--listen", "nowhere"},
        std::vector<const char*>{"--model", "m", "--listen", "host:99999"},
        std::vector<const char*>{"--model", "m", "--metrics-listen", "host:http"},
        std::vector<const char*>{"--model", "m", "--transport-memory", "0"},
        std::vector<const char*>{"--model", "m", "--transport-memory", "63MiB"},
        std::vector<const char*>{"--model", "m", "--recall-bias", "nan"},
        std::vector<const char*>{"--model", "m", "--log-level", "loud"},
        std::vector<const char*>{"--model", "m", "--drain-timeout", "0"},
        std::vector<const char*>{"--model", "m", "--drain-timeout", "nan"},
        std::vector<const char*>{"--model", "m", "--tls-cert", "c.pem"},
        std::vector<const char*>{"--model", "m", "--config", "/nonexistent/file"}));

class ConfigFileTest : public ::testing::Test {
 protected:
  void Write(const std::string& text) { std::ofstream(path_) << text; }

  // Tests run at once, each in a process of its own.
  const std::string path_ =
      ::testing::TempDir() + "/keyhole_flags_test-" + std::to_string(getpid()) + ".conf";
};

TEST_F(ConfigFileTest, NamesAreTheFlags) {
  Write("# comment\nmodel = \"m.gguf\"\nkv-memory = 1GiB\nreflection = off\nmax-context=128\n");
  const ParsedFlags flags = Parse({"--config", path_.c_str(), "--max-context", "256"});
  ASSERT_TRUE(flags.serve);
  EXPECT_EQ(flags.config.engine.model.path, "m.gguf");
  EXPECT_EQ(flags.config.engine.kv.memory_bytes, std::int64_t{1} << 30);
  EXPECT_FALSE(flags.config.reflection);
  EXPECT_EQ(flags.config.engine.scheduler.max_context, 256) << "the command line wins";
}

TEST_F(ConfigFileTest, UnknownNamesAreRefused) {
  Write("model = m.gguf\nkv-memmory = 1GiB\n");
  EXPECT_EQ(Parse({"--config", path_.c_str()}).exit_code, 2);
}

TEST(FlagsTest, HelpNamesEveryFlag) {
  ::testing::internal::CaptureStdout();
  const ParsedFlags flags = Parse({"--help"});
  EXPECT_FALSE(flags.serve);
  EXPECT_EQ(flags.exit_code, 0);
  const std::string help = ::testing::internal::GetCapturedStdout();
  EXPECT_THAT(help, HasSubstr("--kv-memory"));
  EXPECT_THAT(help, HasSubstr("One of esa, full"));
}

TEST(ServerConfigTest, DescribesItsSettings) {
  const std::vector<std::string> lines = Describe(Parse({"--model", "m"}).config);
  EXPECT_THAT(lines, ::testing::Contains("listen = 127.0.0.1:8480"));
  EXPECT_THAT(lines, ::testing::Contains("policy = esa"));
}

// Those without a flag are named as fields, which have underscores.
TEST(ServerConfigTest, NamesItsSettingsAsTheFlags) {
  ::testing::internal::CaptureStdout();
  Parse({"--help"});
  const std::string help = ::testing::internal::GetCapturedStdout();
  const ParsedFlags flags = Parse({"--model",
                                   "m",
                                   "--rope-theta",
                                   "500000",
                                   "--rope-scaling",
                                   "yarn:4",
                                   "--tensor-parallel-size",
                                   "2"});
  ASSERT_TRUE(flags.serve);
  const std::vector<std::string> lines = Describe(flags.config);
  EXPECT_THAT(lines, ::testing::Contains("rope-theta = 500000"));
  EXPECT_THAT(lines, ::testing::Contains("rope-scaling = yarn:4"));
  for (const std::string& line : lines) {
    const std::string name = line.substr(0, line.find(" = "));
    if (name.find('_') != std::string::npos) continue;
    EXPECT_NE(help.find("--" + name + " "), std::string::npos) << line;
  }
}

}  // namespace
}  // namespace keyhole
