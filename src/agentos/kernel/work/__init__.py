"""The work order's life in the kernel: contract, evidence, gate, cost, trust."""
