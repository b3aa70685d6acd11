//! HMAC-SHA1 of many packets, side by side and one after the other: 172-byte packets of one key each.
//!
//! `cargo bench -p stox-lanes --bench lanes`

mod measure;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lanes::{Key, Lanes, Message};

const LENGTH: usize = 172;

fn authenticate(criterion: &mut Criterion) {
    let keys: Vec<Key> = (0..64).map(|fill| Key::new(&[fill; 20])).collect();
    let packets = [[0x5A; LENGTH]; 64];
    let messages: Vec<Option<Message<'_>>> =
        keys.iter().zip(&packets).map(|(key, bytes)| Some(Message { key, bytes, trailer: [0; 4] })).collect();
    for lanes in Lanes::all() {
        let mut group = criterion.benchmark_group(lanes.reason());
        for count in [1, 2, 3, 4, 5, 6, 8, 12, 16, 32, 64] {
            group.throughput(Throughput::Elements(count as u64));
            let mut codes = [[0; 20]; 64];
            measure::again(&mut group, count.to_string(), || {
                lanes.authenticate(std::hint::black_box(&messages[..count]), &mut codes)
            });
        }
    }
}

criterion_group!(benches, authenticate);
criterion_main!(benches);
