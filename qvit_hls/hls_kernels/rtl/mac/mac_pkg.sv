// The shape of the MAC tile: how long its DSP cascades are, how its adder trees are built, how late its sums
// come. All functions are evaluated at elaboration.
package mac_pkg;

    // Distance of the products that share a DSP48E2, in bits.
    localparam int FIELD = 11;

    // Adders made of LUT6_2 and CARRY8; as `+` they simulate faster, but no synthesis finds the ternary form.
`ifdef SYNTHESIS
    localparam bit STRUCTURAL_ADDERS = 1;
`else
    localparam bit STRUCTURAL_ADDERS = 0;
`endif

    // Products that a cascade sums before a field could leave -1024..1023, T_K at most.
    function automatic int cascade_links(input int a, input int t_k);
        int links;
        links = a == 8 ? 1 : a == 7 ? 2 : a == 6 ? 4 : a == 5 ? 8 : 16;
        cascade_links = links < t_k ? links : t_k;
    endfunction

    // An adder tree reduces its terms three at a time to one or two, which the accumulator's own ternary
    // adder takes. Nodes that find no partners pass to the next level; they are the last ones of a level.
    // Terms pass without a register: the tree takes such a term so many cycles later (term_level).

    // Nodes at the input of a level.
    function automatic int tree_nodes(input int terms, input int level);
        int nodes;
        nodes = terms;
        for (int l = 0; l < level; l = l + 1) nodes = nodes / 3 + nodes % 3;
        tree_nodes = nodes;
    endfunction

    // How many of them are terms that no adder has taken yet; they are the last ones.
    function automatic int tree_terms(input int terms, input int level);
        int nodes;
        int left;
        nodes = terms;
        left = terms;
        for (int l = 0; l < level; l = l + 1) begin
            if (nodes % 3 < left) left = nodes % 3;
            nodes = nodes / 3 + nodes % 3;
        end
        tree_terms = left;
    endfunction

    // Levels before the accumulator. Five cover any T_K up to 32.
    function automatic int tree_levels(input int terms);
        int nodes;
        int levels;
        nodes = terms;
        levels = 0;
        for (int l = 0; l < 5; l = l + 1) begin
            if (nodes > 2) begin
                nodes = nodes / 3 + nodes % 3;
                levels = levels + 1;
            end
        end
        tree_levels = levels;
    endfunction

    // The level that takes a term, which is also by how many cycles the term comes later than term 0.
    function automatic int term_level(input int terms, input int term);
        int level;
        level = 0;
        for (int l = 0; l < tree_levels(terms); l = l + 1)
            if (terms - term <= tree_terms(terms, l + 1)) level = l + 1;
        term_level = level;
    endfunction

    // Ternary adders of the levels below `level`; with the accumulator's: tree_adders(terms, levels) + 1.
    function automatic int tree_adders(input int terms, input int level);
        int adders;
        adders = 0;
        for (int l = 0; l < level; l = l + 1) adders = adders + tree_nodes(terms, l) / 3;
        tree_adders = adders;
    endfunction

    // The level of an adder, counted from 0 through the levels; the accumulator's is tree_levels(terms).
    function automatic int adder_level(input int terms, input int adder);
        int level;
        level = 0;
        for (int l = 0; l < tree_levels(terms); l = l + 1)
            if (tree_adders(terms, l + 1) <= adder) level = l + 1;
        adder_level = level;
    endfunction

    // Bits of a node at the input of a level, for terms of `bits` bits.
    function automatic int node_bits(input int terms, input int bits, input int level);
        int summed;
        summed = 1;
        for (int l = 0; l < level; l = l + 1) summed = 3 * summed;
        node_bits = bits + $clog2(summed < terms ? summed : terms);
    endfunction

    // Cycles from a step's operands to its effect in the sums: packing, three registers in the first slice,
    // one for each further link, the tree, the accumulator.
    function automatic int mac_latency(input int a, input int t_k);
        mac_latency = cascade_links(a, t_k) + tree_levels(t_k / cascade_links(a, t_k)) + 4;
    endfunction

endpackage
