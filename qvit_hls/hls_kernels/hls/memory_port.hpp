// The processes between memory ports and the engine's streams; each runs beside the engine.
#pragma once

#include "types.hpp"

namespace qvit {

// Copy one port's memory, `units` times UNIT elements, into its stream, in one burst that runs ahead of the engine.
template <int UNIT, class T> inline void fetch(const T *port, uint32_t units, hls::stream<T> &stream) {
#pragma HLS INLINE off
    const uint32_t elements = units * UNIT;
fetch_element:
    for (uint32_t i = 0; i < elements; ++i) {
#pragma HLS LOOP_TRIPCOUNT min=1024 max=1048576
#pragma HLS PIPELINE II=1
        stream.write(port[i]);
    }
}

// A frame's numbers as a word of a stream, for an engine that takes no scalars: layers in the low half, trace words in
// the high one.
inline void announce_frame(uint32_t layers, uint32_t trace_words, hls::stream<uint64_t> &frame) {
#pragma HLS INLINE off
    frame.write((static_cast<uint64_t>(trace_words) << 32) | layers);
}

// Copy the engine's results to memory: first the trace, then the logits, which come last. One process does both, so
// that both can share a memory port.
inline void store(hls::stream<int16_t> &trace_stream, int16_t *trace, uint32_t trace_words,
                  hls::stream<int16_t> &result_stream, int16_t *result, uint32_t result_words) {
#pragma HLS INLINE off
store_trace_word:
    for (uint32_t i = 0; i < trace_words; ++i) {
#pragma HLS LOOP_TRIPCOUNT min=0 max=16777216
#pragma HLS PIPELINE II=1
        trace[i] = trace_stream.read();
    }
store_result_word:
    for (uint32_t i = 0; i < result_words; ++i) {
#pragma HLS LOOP_TRIPCOUNT min=10 max=1000
#pragma HLS PIPELINE II=1
        result[i] = result_stream.read();
    }
}

}  // namespace qvit
