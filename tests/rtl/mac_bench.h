// What the parts of the MAC tile's bench share.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "Vmac_bench.h"
#include "verilated.h"

using Bench = Vmac_bench;

int run_tile(Bench &bench, int bits, int form, const char *mode, int64_t cycles, int64_t seed);
int run_leaves(Bench &bench);
int run_cascade(Bench &bench, int bits, int longer, int links);

// Products that a cascade may sum.
inline int cascade_links(int bits) { return bits == 8 ? 1 : bits == 7 ? 2 : bits == 6 ? 4 : bits == 5 ? 8 : 16; }
