//! What a benchmark says of an operation: its time, by criterion, and how often it allocates, in a line below that.

mod allocations;

use criterion::{BatchSize, BenchmarkGroup, measurement::WallTime};

/// Allocations are counted over so many operations.
const COUNTED: u32 = 1000;

/// Measures an operation that wants a fresh input each time; making that is not measured.
#[allow(dead_code, reason = "not every benchmark has operations of both kinds")]
pub(crate) fn each<I, O>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: impl Into<String>,
    size: BatchSize,
    mut input: impl FnMut() -> I,
    mut operation: impl FnMut(&mut I) -> O,
) {
    let mut selected = false;
    group.bench_function(name.into(), |bencher| {
        selected = true;
        bencher.iter_batched_ref(&mut input, &mut operation, size);
    });
    if selected {
        print((0..COUNTED).map(|_| {
            let mut input = input();
            allocations::during(|| operation(&mut input))
        }));
    }
}

/// Measures an operation that can be done again and again.
#[allow(dead_code, reason = "not every benchmark has operations of both kinds")]
pub(crate) fn again<O>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: impl Into<String>,
    mut operation: impl FnMut() -> O,
) {
    let mut selected = false;
    group.bench_function(name.into(), |bencher| {
        selected = true;
        bencher.iter(&mut operation);
    });
    if selected {
        print((0..COUNTED).map(|_| allocations::during(&mut operation)));
    }
}

/// Prints the mean, below the columns of criterion.
fn print(allocations: impl Iterator<Item = u32>) {
    let mean = f64::from(allocations.sum::<u32>()) / f64::from(COUNTED);
    println!("{:24}allocations: {mean}", "");
}
