// The engine: runs a program, one descriptor after the other, on memories that live on chip.
#pragma once

#include "gemm.hpp"
#include "layer_norm.hpp"
#include "load.hpp"
#include "mean_tokens.hpp"
#include "softmax.hpp"
#include "store.hpp"

namespace qvit {

// Run `layers` descriptors. Every layer's result goes to `trace` when trace_enable is not 0. Where image_words is 0,
// the image is here already: the frame before took it with its next_image_words, which is 0 where no image follows.
template <class C>
void engine(hls::stream<uint32_t> &program, uint32_t layers, hls::stream<word_t> (&weights)[C::PORTS],
            hls::stream<word_t> &image, uint32_t image_words, uint32_t next_image_words,
            hls::stream<int16_t> &result, hls::stream<int16_t> &trace, uint32_t trace_enable) {
#pragma HLS INLINE off
    static Memories<C> memory;
#pragma HLS ARRAY_PARTITION variable=memory.activation complete dim=2
#pragma HLS ARRAY_PARTITION variable=memory.activation complete dim=3
#pragma HLS ARRAY_PARTITION variable=memory.digit complete dim=2
#pragma HLS ARRAY_PARTITION variable=memory.digit complete dim=3
#pragma HLS ARRAY_PARTITION variable=memory.wide complete dim=2
#pragma HLS ARRAY_PARTITION variable=memory.row_maximum complete dim=0
#pragma HLS ARRAY_PARTITION variable=memory.normalizer complete dim=1
#pragma HLS ARRAY_PARTITION variable=memory.table complete dim=1
#pragma HLS ARRAY_PARTITION variable=memory.exponent complete dim=1
#pragma HLS BIND_STORAGE variable=memory.wide type=ram_2p impl=bram
#pragma HLS BIND_STORAGE variable=memory.activation type=ram_2p impl=bram
#pragma HLS BIND_STORAGE variable=memory.digit type=ram_2p impl=bram
#pragma HLS BIND_STORAGE variable=memory.table type=ram_1p impl=lutram
#pragma HLS BIND_STORAGE variable=memory.exponent type=ram_1p impl=lutram
#pragma HLS BIND_STORAGE variable=memory.norm_shift type=ram_1p impl=lutram
    Descriptor image_layer = Descriptor();
layer:
    for (uint32_t i = 0; i < layers; ++i) {
#pragma HLS LOOP_TRIPCOUNT min=32 max=512
        const Descriptor d = read_descriptor(program);
        switch (d.unit) {
        case LOAD_IMAGE:
            image_layer = d;
            if (image_words != 0) load_image<C>(d, image, memory);
            break;
        case LOAD_RESIDUAL:
            load_residual<C>(d, weights, memory);
            break;
        case GEMM:
            if (C::TABLE_BITS > 0 && d.table_entries != 0) load_table<C>(weights, d.table_entries, memory.table);
            gemm<C>(d, weights, memory);
            break;
        case LAYER_NORM:
            if (C::HAS_LAYER_NORM) layer_norm<C>(d, weights, memory);
            break;
        case SOFTMAX:
            if (C::HAS_SOFTMAX) softmax<C>(d, weights, memory);
            break;
        case MEAN_TOKENS:
            if (C::HAS_MEAN_TOKENS) mean_tokens<C>(d, memory);
            break;
        default:
            store_result<C>(d, memory, result);
            break;
        }
        if (trace_enable != 0) store_trace<C>(d, memory, trace);
    }
    if (next_image_words != 0) load_image<C>(image_layer, image, memory);
}

}  // namespace qvit
