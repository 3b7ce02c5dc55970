"""What the programs that measure speed share: options, clocks, results, networks and peers."""
