// Loading from outside: the image, cut into patches on the way in, and the residual stream's constant part
// (position embedding, class token).
#pragma once

#include "gemm_drain.hpp"

namespace qvit {

// Image codes [channels][height][width], 16 in a word, to the activation memory as [patch][c, y, x]; patch
// p becomes token first_token + p. PIXELS neighbours share a patch row, so they share a lane.
template <class C> void load_image(const Descriptor &d, hls::stream<word_t> &image, Memories<C> &memory) {
#pragma HLS INLINE off
    const int patch = static_cast<int>(d.patch);
    const int patches_per_row = static_cast<int>(d.width) / patch;
    const int channels = static_cast<int>(d.k);
    const int rows_of_patches = static_cast<int>(d.height) / patch;
    sint<8> pixel[16];
#pragma HLS ARRAY_PARTITION variable=pixel complete
    int position = 16;  // in the current word
image_channel:
    for (int c = 0; c < channels; ++c) {
#pragma HLS LOOP_TRIPCOUNT min=1 max=3
    patch_row:
        for (int row = 0; row < rows_of_patches; ++row) {
#pragma HLS LOOP_TRIPCOUNT min=4 max=24
        line:
            for (int y = 0; y < patch; ++y) {
#pragma HLS LOOP_TRIPCOUNT min=2 max=16
            patch_column:
                for (int column = 0; column < patches_per_row; ++column) {
#pragma HLS LOOP_TRIPCOUNT min=4 max=24
                    const int token = static_cast<int>(d.first_token) + row * patches_per_row + column;
                    const int lane = token % C::T_N;
                    const int address = static_cast<int>(d.y_base) + token / C::T_N * static_cast<int>(d.y_stride) +
                                        (c * patch + y) * patch;
                pixels:
                    for (int x = 0; x < patch; x += C::PIXELS) {
#pragma HLS LOOP_TRIPCOUNT min=1 max=8
#pragma HLS PIPELINE II=1
                        if (position == 16) {
                            unpack_bytes(image.read(), pixel);
                            position = 0;
                        }
                        for (int kk = 0; kk < C::T_K; ++kk) {
#pragma HLS UNROLL
                            if (kk / C::PIXELS == (address + x) % C::T_K / C::PIXELS)
                                memory.activation[(address + x) / C::T_K][kk][lane] = pixel[position + kk % C::PIXELS];
                        }
                        position += C::PIXELS;
                    }
                }
            }
        }
    }
}

// The constant part of the residual stream: 16-bit codes, for each token tile and channel all lanes.
template <class C>
void load_residual(const Descriptor &d, hls::stream<word_t> (&stream)[C::PORTS], Memories<C> &memory) {
#pragma HLS INLINE off
    constexpr int PER_BEAT = 8 * C::PORTS;
token_tile:
    for (int tile = 0; tile * C::T_N < static_cast<int>(d.tokens); ++tile) {
#pragma HLS LOOP_TRIPCOUNT min=1 max=16
    channel:
        for (int c = 0; c < static_cast<int>(d.k); ++c) {
#pragma HLS LOOP_TRIPCOUNT min=64 max=1024
        beat:
            for (int first = 0; first < C::T_N; first += PER_BEAT) {
#pragma HLS PIPELINE II=1
                for (int p = 0; p < C::PORTS; ++p) {
#pragma HLS UNROLL
                    const word_t word = stream[p].read();
                    for (int i = 0; i < 8; ++i) {
#pragma HLS UNROLL
                        const int lane = first + p * 8 + i;
                        if (lane < C::T_N)
                            memory.wide[d.y_base + tile * d.y_stride + c][lane] =
                                static_cast<int16_t>(word.range(16 * i + 15, 16 * i).to_uint());
                    }
                }
            }
        }
    }
}

}  // namespace qvit
