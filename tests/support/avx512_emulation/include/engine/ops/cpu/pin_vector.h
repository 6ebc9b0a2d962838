// Stands for engine/ops/cpu/pin_vector.h where vectors of 64 bytes have no register.
#pragma once

namespace keyhole {
namespace {

template <class V>
inline void Pin(V&) {}

}  // namespace
}  // namespace keyhole
