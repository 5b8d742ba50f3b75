//! Rows of a binary log, from memory: ours beside the peers, by Criterion. See
//! the crate's front page for what is compared.
//!
//! ```sh
//! cargo bench -p zdm-benches --bench binlog --features mysql_cdc
//! ```

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use zdm_benches::decode;
use zdm_benches::log::{Load, in_memory};

const CHANGES: u64 = 50_000;

fn binlog(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let schema = decode::schema().expect("a schema");
    for load in [Load::Large, Load::Small] {
        let log = runtime.block_on(in_memory(load, CHANGES)).expect("a log");
        let mut group = criterion.benchmark_group(load.name());
        group.throughput(Throughput::Elements(load.changes(CHANGES))).sample_size(20);
        for (name, decode) in decode::all() {
            assert_eq!(decode(&schema, &log).expect(name), load.changes(CHANGES), "{name}");
            group.bench_function(name, |bench| bench.iter(|| decode(&schema, &log).expect(name)));
        }
        group.finish();
    }
}

criterion_group!(benches, binlog);
criterion_main!(benches);
