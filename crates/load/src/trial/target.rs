//! The relay under test, as the engine sees it.
//!
//! - `ng`: a relay that speaks the ng protocol; [`channel`]: one of our own
//! - `calls`: the setting up of many calls at once, `empty`: of calls that nobody takes part in; `side`: one end of a call meanwhile

mod calls;
pub mod channel;
mod empty;
mod ng;
mod side;

use std::net::IpAddr;
use std::time::Duration;

use self::calls::Calls;
use self::channel::{Channel, RelayProcess};
use self::ng::Ng;
use super::end::End;
use super::plan::{MediaSecurity, Plan, TargetAddress};

/// The number of a call within a trial; never used twice.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CallNumber(pub u32);

/// A call that is set up: media can flow.
#[derive(Debug)]
pub struct ReadyCall {
    /// Which.
    pub number: CallNumber,
    /// Its two ends; what one sends, the relay forwards to the other.
    pub ends: [End; 2],
    /// From the first request to the relay until media could flow.
    pub took: Duration,
}

/// A relay that calls can be set up at.
pub trait Target: Send {
    /// Sets up calls, side by side where the relay can, and waits until media can flow or there is an error: one
    /// result for each number, in any order.
    fn set_up(&mut self, calls: &[CallNumber]) -> Vec<Result<ReadyCall, TargetError>>;

    /// Tears down calls. Their ends are gone by now, or go with this.
    ///
    /// # Errors
    ///
    /// The first that occurred; the other calls are torn down all the same.
    fn tear_down(&mut self, calls: &[CallNumber]) -> Result<(), TargetError>;

    /// Sets up calls that nobody takes part in, and leaves them up.
    ///
    /// # Errors
    ///
    /// One of them was refused.
    fn open(&mut self, calls: &[CallNumber]) -> Result<(), TargetError>;

    /// Sets up calls that nobody takes part in and tears each down at once, so many side by side, for a time.
    ///
    /// # Errors
    ///
    /// One of them was refused.
    fn churn(&mut self, first: CallNumber, at_once: usize, time: Duration) -> Result<Churned, TargetError>;

    /// The process under test, if the target started it itself.
    fn pid(&self) -> Option<u32> {
        None
    }

    /// Packets that the relay says it dropped since it started, by its own words for the reasons. Empty where it does
    /// not say.
    fn dropped(&mut self) -> Vec<(String, u64)> {
        Vec::new()
    }
}

/// What came of calls that nobody took part in.
#[derive(Debug, Default)]
pub struct Churned {
    /// Calls that came and went.
    pub calls: u64,
    /// How long that took.
    pub took: Duration,
    /// How long the relay took to reply to each offer, answer and end, in nanoseconds.
    pub replies: [Vec<u64>; 3],
}

/// What the two ends of every call are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ends {
    /// Where they are bound.
    pub address: IpAddr,
    /// How the media of the first end is protected; the second takes and sends RTP in clear.
    pub media: MediaSecurity,
    /// The first end uses ICE (RFC 8445); the second does not.
    pub ice: bool,
}

/// Reaches the relay of a plan, or starts it. The first end of each call is as the plan says, the second takes and sends
/// plain RTP, as with a call from Jingle to SIP.
///
/// # Errors
///
/// The relay is not there.
pub fn open(plan: &Plan, process: &RelayProcess) -> Result<Box<dyn Target>, TargetError> {
    let ends = Ends { address: plan.address, media: plan.media, ice: plan.ice };
    match &plan.target {
        TargetAddress::Ng(address) => Ok(Box::new(Calls::new(Ng::connect(address)?, &ends)?)),
        TargetAddress::Channel => {
            Ok(Box::new(Calls::new(Channel::start(process, &plan.relay.unwrap_or_default(), &ends)?, &ends)?))
        }
    }
}

/// A relay does not do as it is asked.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// It cannot be reached or started, or went away.
    #[error("the relay is not there: {0}")]
    Gone(String),
    /// It refused a request.
    #[error("the relay refused: {0}")]
    Refused(String),
    /// It did not answer, or media could not flow, in time.
    #[error("no answer in time: {0}")]
    TimedOut(String),
    /// Our side has no port, no file or no memory left.
    #[error("the generator has no {0} left")]
    Exhausted(String),
}
