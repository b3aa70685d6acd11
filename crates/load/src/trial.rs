//! A trial: one run of the load generator against one packet relay, ours or another.
//!
//! A [`Target`] sets up calls at the relay and hands out their two [`End`]s. The engine sends media from each end, takes
//! what the relay forwards to the other, checks its content, and measures. It shows a [`Snapshot`] every quarter of a
//! second and ends with a [`Report`].
//!
//! - [`plan`]: what is to be run
//! - [`target`]: the relay under test; [`end`]: one end of a call at it
//! - [`engine`]: the threads that send, receive and measure
//! - [`progress`]: live figures
//! - [`report`]: everything that was measured, and the verdict
//! - [`table`], [`html`], [`compare`]: a report for people to read, and two side by side

pub mod compare;
pub mod end;
pub mod engine;
pub mod html;
pub mod plan;
pub mod progress;
pub mod report;
#[cfg(test)]
mod sample;
pub mod table;
pub mod target;
pub mod unit;
mod words;

pub use end::{End, Keeper, Protection};
pub use engine::run;
pub use plan::{Plan, PlanError, RawPlan};
pub use progress::Snapshot;
pub use report::{Report, Verdict};
pub use target::{Target, TargetError};
