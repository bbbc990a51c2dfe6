// What the bench can be asked for:
//
//   bench tile A form mode cycles seed   one tile against plain products; see mac_tile.cpp
//   bench adders                         the leaf modules against plain arithmetic
//   bench cascade A longer links         one cascade against plain products
//
// Each prints numbers, the last of which count what was wrong.
#include "mac_bench.h"

#include <cstring>

int main(int argc, char **argv) {
    auto context = std::make_unique<VerilatedContext>();
    Bench bench(context.get());
    if (argc == 7 && std::strcmp(argv[1], "tile") == 0)
        return run_tile(bench, std::atoi(argv[2]), std::atoi(argv[3]), argv[4], std::atoll(argv[5]),
                        std::atoll(argv[6]));
    if (argc == 2 && std::strcmp(argv[1], "adders") == 0) return run_leaves(bench);
    if (argc == 5 && std::strcmp(argv[1], "cascade") == 0)
        return run_cascade(bench, std::atoi(argv[2]), std::atoi(argv[3]), std::atoi(argv[4]));
    return 2;
}
