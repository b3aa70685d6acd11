//! The command numbers of Full Intra Requests (RFC 5104 §4.3.1).

/// One more for each new request, the same for a repetition.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FirSequence {
    last: Option<u8>,
    number: Option<u8>,
}

impl FirSequence {
    /// The number for one of a receiver's.
    pub(super) fn translate(&mut self, number: u8) -> u8 {
        match self.number {
            Some(ours) if self.last.replace(number) == Some(number) => ours,
            Some(_) | None => {
                self.last = Some(number);
                self.next()
            }
        }
    }

    /// The number for a request of our own.
    pub(super) fn next(&mut self) -> u8 {
        let next = self.number.map_or(0, |number| number.wrapping_add(1));
        *self.number.insert(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_anew_and_ours_among_them() {
        let mut fir = FirSequence::default();
        assert_eq!([200, 200, 201, 201, 5, 200].map(|number| fir.translate(number)), [0, 0, 1, 1, 2, 3]);
        assert_eq!((fir.next(), fir.translate(200), fir.translate(201)), (4, 4, 5), "a repetition repeats the last");
        let mut first = FirSequence::default();
        assert_eq!((first.next(), first.translate(9), first.translate(9)), (0, 1, 1));
    }
}
