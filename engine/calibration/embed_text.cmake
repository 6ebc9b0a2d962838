# Writes text files as one C++ array: cmake -DOUT=... -DFILES=a,b,... -P embed_text.cmake
string(REPLACE "," ";" files "${FILES}")
set(bytes "")
foreach(file ${files})
  file(READ "${file}" hex HEX)
  string(APPEND bytes "${hex}")
endforeach()
string(REGEX REPLACE "(................................)" "\\1\n" bytes "${bytes}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
file(WRITE "${OUT}" "#include \"engine/calibration/bundled_text.h\"

namespace keyhole {
namespace {

constexpr unsigned char kText[] = {
${bytes}
};

}  // namespace

std::string_view BundledText() { return {reinterpret_cast<const char*>(kText), sizeof(kText)}; }

}  // namespace keyhole
")
