//! What forwarding a media packet costs beside arithmetic: nothing.

#[path = "../../../../benches/measure/allocations.rs"]
mod allocations;
mod fixture;

use fixture::{BATCH, Fixture};
use model::SrtpSuite;
use relay::Forward;

#[test]
fn a_media_packet_is_forwarded_without_an_allocation() {
    let suites = [None, Some(SrtpSuite::AesCm128Sha1_80), Some(SrtpSuite::AeadAes128Gcm)];
    for near in suites {
        for far in suites {
            let mut fixture = Fixture::new(near, far);
            let first = fixture.next_packet();
            fixture.forward(&mut { first }); // the first one sets up what is kept of its source
            for _ in 0..1000 {
                let mut packet = fixture.next_packet();
                let allocations = allocations::during(|| fixture.forward(&mut packet));
                assert_eq!(allocations, 0, "{near:?} to {far:?}");
            }
            for _ in 0..50 {
                let mut batch = fixture.next_batch();
                let allocations = allocations::during(|| assert_eq!(fixture.forward_batch(&mut batch).len(), BATCH));
                assert_eq!(allocations, 0, "{near:?} to {far:?}, together");
            }
        }
    }
}

#[test]
fn packets_that_arrive_together_leave_as_they_do_one_by_one() {
    let suites = [None, Some(SrtpSuite::AesCm128Sha1_80), Some(SrtpSuite::AesCm128Sha1_32)];
    for (near, far) in suites.into_iter().flat_map(|near| suites.map(|far| (near, far))) {
        let (mut alone, mut together) = (Fixture::new(near, far), Fixture::new(near, far));
        for _ in 0..40 {
            let mut arrivals = alone.next_batch();
            arrivals[7] = arrivals[6].clone(); // twice
            arrivals[9].buffer[50] ^= 1; // forged, if it is protected
            arrivals.swap(20, 25);
            let mut batch = arrivals.clone();
            let leave = together.forward_batch(&mut batch).to_vec();
            let mut leave = leave.into_iter().peekable();
            for (number, arrival) in arrivals.iter_mut().enumerate() {
                let expected = alone.take(arrival).ok().flatten();
                let forward = leave.next_if(|(of, _)| *of == number).map(|(_, forward)| forward);
                assert_eq!(forward, expected, "{near:?} to {far:?}");
                if let Some(Forward { bytes, .. }) = forward {
                    assert_eq!(batch[number].buffer[bytes.clone()], arrival.buffer[bytes], "{near:?} to {far:?}");
                }
            }
            assert_eq!(leave.next(), None);
        }
    }
}
