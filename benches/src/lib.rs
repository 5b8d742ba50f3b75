//! Benchmarks of zdm, beside what else there is. See `benches/`.
