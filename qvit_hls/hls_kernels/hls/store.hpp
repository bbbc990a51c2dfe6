// What goes out: the logits, and on request every layer's result (the trace), for C-simulation, RTL simulation and
// bring-up on the board alike.
#pragma once

#include "gemm_drain.hpp"

namespace qvit {

template <class C> void store_result(const Descriptor &d, const Memories<C> &memory, hls::stream<int16_t> &result) {
#pragma HLS INLINE off
logit:
    for (uint32_t c = 0; c < d.k; ++c) {
#pragma HLS LOOP_TRIPCOUNT min=10 max=1000
#pragma HLS PIPELINE II=1
        result.write(static_cast<int16_t>(memory.wide[d.x_base + c][0]));
    }
}

// The layer's result [trace_tokens][trace_channels], token by token.
template <class C> void store_trace(const Descriptor &d, const Memories<C> &memory, hls::stream<int16_t> &trace) {
#pragma HLS INLINE off
    if (d.trace_memory == MEMORY_NONE) return;
token:
    for (uint32_t t = 0; t < d.trace_tokens; ++t) {
#pragma HLS LOOP_TRIPCOUNT min=1 max=577
        const uint32_t lane = t % C::T_N;
        const uint32_t address = d.trace_base + t / C::T_N * d.trace_stride;
    channel:
        for (uint32_t c = 0; c < d.trace_channels; ++c) {
#pragma HLS LOOP_TRIPCOUNT min=10 max=3072
#pragma HLS PIPELINE II=1
            int16_t value;
            if (d.trace_memory == MEMORY_ACTIVATION)
                value = static_cast<int16_t>(memory.activation[(address + c) / C::T_K][(address + c) % C::T_K][lane]);
            else if (d.trace_memory == MEMORY_DIGIT)
                value = static_cast<int16_t>(memory.digit[(address + c) / C::T_K][(address + c) % C::T_K][lane]);
            else
                value = static_cast<int16_t>(memory.wide[address + c][lane]);
            trace.write(value);
        }
    }
}

}  // namespace qvit
