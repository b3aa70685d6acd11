//! Packets through the relay core, from the bytes that arrive to the bytes that leave: one by one, and 32 together.
//!
//! 172-byte RTP packets (20 ms of G.711), one call, in a single thread and without any input or output:
//! `cargo bench -p stox-relay --bench forward`. What the kernel adds to it is several microseconds.

#[path = "../crates/relay/tests/spine/fixture.rs"]
mod fixture;
mod measure;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use fixture::{BATCH, Fixture};
use model::SrtpSuite::{AeadAes128Gcm, AesCm128Sha1_80};

fn forward(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("forward");
    group.throughput(Throughput::Elements(1));
    for (name, near, far) in [
        ("plain to plain", None, None),
        ("AES-CM to plain", Some(AesCm128Sha1_80), None),
        ("plain to AES-CM", None, Some(AesCm128Sha1_80)),
        ("AES-CM to AES-CM", Some(AesCm128Sha1_80), Some(AesCm128Sha1_80)),
        ("AES-GCM to plain", Some(AeadAes128Gcm), None),
        ("AES-GCM to AES-GCM", Some(AeadAes128Gcm), Some(AeadAes128Gcm)),
    ] {
        let fixture = std::cell::RefCell::new(Fixture::new(near, far));
        measure::each(
            &mut group,
            name,
            BatchSize::SmallInput,
            || fixture.borrow_mut().next_packet(),
            |packet| fixture.borrow_mut().forward(packet),
        );
        group.throughput(Throughput::Elements(BATCH as u64));
        measure::each(
            &mut group,
            format!("{name}, {BATCH} together"),
            BatchSize::SmallInput,
            || fixture.borrow_mut().next_batch(),
            |batch| fixture.borrow_mut().forward_batch(batch).len(),
        );
        group.throughput(Throughput::Elements(1));
    }
    group.finish();
}

criterion_group!(benches, forward);
criterion_main!(benches);
