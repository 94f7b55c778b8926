printf '/swapfile                               file\t\t1048572\t\t0\t\t-2\n' >> /run/kernel/swaps
